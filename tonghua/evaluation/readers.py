"""Readers that share no code with tonghua: transformers for folders, llama.cpp for GGUF files.

with transformers_reader(folder) as reader: ...         config.json, safetensors, tokenizer and template of a folder
with llama_cpp_reader(file, adapter) as reader: ...     what stands in one GGUF file, and maybe a LoRA file beside it

llama.cpp answers over a port of this machine alone, behind a key, for as long as the block runs.
"""

import gc
import json
import secrets
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from .proof import Likely, ProofError

LIKELIEST = 1000
"""Tokens whose probabilities llama.cpp tells: all others together hold next to nothing."""

CONTEXT_TOKENS = 64
"""Places of llama.cpp's context beyond the longest prompt and answer."""


class TransformersReader:
    """A model folder in transformers, in fp32 on the CPU."""

    name = "transformers"

    def __init__(self, folder: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        self._model = model.eval()

    def prompt(self, question: str) -> list[int]:
        """Return the ids of the prompt for a question."""
        talk = [{"role": "user", "content": question}]
        return list(
            self._tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    def likely(self, ids: Sequence[int], start: int) -> Iterator[Likely]:
        """Yield the probabilities of all tokens at each place from `start` on."""
        with torch.no_grad():
            logits = self._model(torch.tensor([list(ids[:-1])])).logits[0, start - 1 :]
        for logs in logits.double().log_softmax(-1).numpy():
            yield Likely(np.arange(len(logs)), logs)


class LlamaCppReader:
    """A GGUF file in llama.cpp. `letter`: an id whose token is a plain letter."""

    name = "llama.cpp"

    def __init__(self, file: Path, adapter: Path | None, letter: int, context: int):
        import xllamacpp

        self._letter, self._key = letter, secrets.token_hex(16)
        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(file)
        wanted.n_ctx, wanted.n_parallel, wanted.verbosity = context, 1, 0
        wanted.ui, wanted.endpoint_slots, wanted.api_keys = False, False, [self._key]
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = torch.get_num_threads()
        # Named at scale 0 and switched on in each request: an empty list would mean this scale.
        wanted.lora_adapters = [] if adapter is None else [xllamacpp.CommonAdapterLoraInfo(str(adapter), 0.0)]
        self._lora = [] if adapter is None else [{"id": 0, "scale": 1.0}]
        try:
            self._server: Any = xllamacpp.Server(wanted)
        except RuntimeError as error:
            raise ProofError(
                f"llama.cpp 打不开写好的 {file.name}（{error}）；没有留下文件。请报告这个问题",
                f"llama.cpp cannot open the written {file.name} ({error}); nothing was kept. Please report it",
            ) from error

    def prompt(self, question: str) -> list[int]:
        """Return the ids of the prompt for a question."""
        told = self._ask("apply-template", {"messages": [{"role": "user", "content": question}]})
        asked = {"content": told["prompt"], "add_special": True, "parse_special": True}
        return list(self._ask("tokenize", asked)["tokens"])

    def likely(self, ids: Sequence[int], start: int) -> Iterator[Likely]:
        """Yield the likeliest tokens at each place from `start` on."""
        for place in range(start, len(ids)):
            # Only a token with a text gets an entry, so one is forced. The probabilities are those before any choice.
            asked = {
                "prompt": list(ids[:place]),
                "max_tokens": 1,
                "temperature": 0,
                "repeat_penalty": 1.0,
                "n_probs": LIKELIEST,
                "cache_prompt": True,
                "logit_bias": [[self._letter, 1000]],
                "lora": self._lora,
            }
            (entry,) = self._server.handle_completions(asked)["choices"][0]["logprobs"]["content"]
            top = entry["top_logprobs"]
            yield Likely(np.array([each["id"] for each in top]), np.array([each["logprob"] for each in top]))

    def _ask(self, what: str, values: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        address = f"{self._server.listening_address}/{what}"
        request = urllib.request.Request(address, json.dumps(values).encode(), headers)  # noqa: S310
        # Without the proxy of the environment: this is a port of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def close(self) -> None:
        """Stop llama.cpp and free its memory."""
        self._server = None
        gc.collect()


@contextmanager
def transformers_reader(folder: Path) -> Iterator[TransformersReader]:
    """Open a folder in transformers, which must be installed. Its progress bars are off inside the block."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield TransformersReader(folder)
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def llama_cpp_reader(file: Path, adapter: Path | None, letter: int, longest: int) -> Iterator[LlamaCppReader]:
    """Open a GGUF file; `longest`: tokens of the longest prompt and answer. Raises ProofError if it cannot."""
    require_llama_cpp()
    reader = LlamaCppReader(file, adapter, letter, longest + CONTEXT_TOKENS)
    try:
        yield reader
    finally:
        reader.close()


def has_transformers() -> bool:
    """True if transformers is installed."""
    return find_spec("transformers") is not None


def require_llama_cpp() -> None:
    """Raise UsageError unless llama.cpp is installed."""
    if find_spec("xllamacpp") is None:
        raise UsageError(
            '核对导出的文件要用 llama.cpp，现在没有；请运行 pip install "tonghua[fast]"',
            'an export is proven with llama.cpp, which is not here; run pip install "tonghua[fast]"',
        )
