"""llama.cpp as a reader of GGUF files that shares no code with tonghua: ids in, probabilities of the next token out.

with opened(file, adapter) as model:
    model.greedy(ids, 20)           the likeliest tokens
    model.log_probabilities(ids)    of every token that may come next, (vocabulary,)
    model.ids("text")               how llama.cpp itself splits a text
"""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tonghua.core.example import Example
from tonghua.core.forward import hidden_states
from tonghua.core.model import Decoder
from tonghua.core.packing import pack

LETTER = 40
"""A token that is a letter in the vocabularies of the tests."""


class LlamaCpp:
    """A file, and maybe an adapter beside it, in llama.cpp."""

    def __init__(self, file: Path, adapter: Path | None, vocabulary: int):
        import xllamacpp

        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(file)
        wanted.n_ctx, wanted.n_parallel, wanted.verbosity, wanted.ui = 512, 1, 0, False
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1
        if adapter is not None:
            wanted.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 0.0)]
        self._server = xllamacpp.Server(wanted)
        self._lora = [{"id": 0, "scale": 1.0}] if adapter is not None else []
        self._vocabulary = vocabulary

    def complete(self, ids: Sequence[int], tokens: int, **more: Any) -> dict[str, Any]:
        """Return the answer of llama.cpp to a prompt of token ids."""
        asked = {"prompt": list(ids), "max_tokens": tokens, "temperature": 0, "repeat_penalty": 1.0, "lora": self._lora}
        answer: dict[str, Any] = self._server.handle_completions({**asked, "n_probs": 1, **more})["choices"][0]
        return answer

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the likeliest tokens after these, at most `tokens`, fewer after an end."""
        return [each["id"] for each in self.complete(ids, tokens)["logprobs"]["content"]]

    def log_probabilities(self, ids: Sequence[int]) -> np.ndarray:
        """Return the logarithms of the probabilities of the next token, by its id."""
        # Only a token with a text gets an entry, so one is forced. The probabilities are those before any choice.
        (first,) = self.complete(ids, 1, n_probs=self._vocabulary, logit_bias=[[LETTER, 1000]])["logprobs"]["content"]
        found = np.full(self._vocabulary, -np.inf)
        for each in first["top_logprobs"]:
            found[each["id"]] = each["logprob"]
        return found

    def ids(self, text: str, control: bool = False) -> list[int]:
        """Return the tokens that llama.cpp makes of a text; `control`: names of control tokens are these tokens."""
        asked = json.dumps({"content": text, "add_special": False, "parse_special": control}).encode()
        request = urllib.request.Request(f"{self._server.listening_address}/tokenize", asked, method="POST")  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            found: list[int] = json.loads(answer.read())["tokens"]
        return found


@contextmanager
def opened(file: Path, adapter: Path | None = None, vocabulary: int = 448) -> Iterator[LlamaCpp]:
    """Open a file in llama.cpp."""
    model = LlamaCpp(file, adapter, vocabulary)
    yield model
    del model._server


def in_torch(decoder: Decoder, ids: Sequence[int]) -> np.ndarray:
    """Return what `LlamaCpp.log_probabilities` does, computed by tonghua in fp32."""
    (batch,) = pack([Example((*ids, 0), (False,) * len(ids) + (True,), 0)], 10_000, False)
    with torch.no_grad():
        logits = hidden_states(decoder, batch)[-1] @ decoder.head.T
    return np.asarray(logits.double().log_softmax(-1))


def divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return the KL divergence of what was found from what was wanted, in nats."""
    return float((np.exp(wanted) * (wanted - found)).sum())
