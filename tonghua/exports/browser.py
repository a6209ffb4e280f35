"""A folder that is a web page: the persona talks in the browser of whoever opens it, on a server of files alone.

    index.html      the page: words, looks, and the prompt made of the texts in persona.json
    persona.json    card, template, sampling and size of the model, for the page
    model.gguf      base and adapter, merged
    wllama/         llama.cpp for browsers, from this package

llama.cpp reads the prompt in a browser as one text, in which the name of a control token is that token, also where a
visitor typed it. So model.gguf puts MARK before these names; no text may hold it, and the page leaves it out.
"""

import shutil
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from ..config.schema import Persona, Sampling
from ..errors import RefusedError
from ..inference.loading import CheckedRun
from ..models.gguf_file import weight_bytes
from ..prompt.conversation import Message, with_system
from ..prompt.plain_template import plain_template
from ..system.files import write_files
from ..system.page_hashes import page_hashes
from ..text import json_text

MARK = "\ufdd0"
"""A character that Unicode keeps out of all text: a noncharacter."""

MODEL = "model.gguf"

LARGEST_BYTES = 2_000_000_000
"""Maximum size of the weights: several browsers hold no more in one piece."""

CONTEXT_TOKENS = 4096
"""Maximum tokens of a conversation: the page has memory for as many from the start."""

_POLICY = (
    "default-src 'none'; script-src {script} blob: 'wasm-unsafe-eval'; style-src {style}; worker-src blob:;"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""wllama starts its worker from a blob."""


def require_fits(source: CheckedRun, kind: str) -> None:
    """Raise RefusedError if the model with weights of this type is too large for a browser."""
    size = weight_bytes(source.base, kind)
    if size <= LARGEST_BYTES:
        return
    fits = kind != "q4_0" and weight_bytes(source.base, "q4_0") <= LARGEST_BYTES
    zh, en = ("请写 --type q4_0", "take --type q4_0") if fits else ("请换一个小模型来训练", "train a smaller model")
    raise RefusedError(
        f"这个模型存成 {kind} 有 {size / 1e9:.1f} GB，浏览器里一个文件最多 2 GB；{zh}，或导出成 --to ollama",
        f"this model has {size / 1e9:.1f} GB as {kind}, and a browser holds 2 GB in one file; {en}, or export --to"
        " ollama",
    )


def write_page(source: CheckedRun, folder: Path) -> None:
    """Write all but the model, which stands in `folder` already. Raises ResourceError on a full disk."""
    here = resources.files("tonghua.exports")
    html = (here / "page.html").read_text(encoding="utf-8")
    html = html.replace("POLICY", _POLICY.format(**page_hashes(html)), 1)
    told = json_text(_persona(source, (folder / MODEL).stat().st_size), indent=2) + "\n"
    write_files(folder, {"index.html": html.encode(), "persona.json": told.encode()})
    with resources.as_file(here / "wllama") as wllama:
        shutil.copytree(wllama, folder / "wllama")


def _persona(source: CheckedRun, size_bytes: int) -> dict[str, Any]:
    contract, renderer = source.contract, source.renderer
    card = contract.card or Persona()
    asked = with_system((Message("user", "a"),), contract.system)
    split, whole = (renderer.tokenizer.encode(text, add_special_tokens=False).ids for text in ("e\u0301", "\u00e9"))
    return {
        **card.model_dump(),
        "name": card.name or contract.persona or source.name,
        "model": MODEL,
        "size_bytes": size_bytes,
        "context_tokens": min(CONTEXT_TOKENS, source.base.config.context),
        "template": asdict(plain_template(renderer, contract, MARK)),
        "mark": MARK,
        "composes": split == whole,  # the tokenizer brings letters and accents together, which llama.cpp does not
        "lead": renderer.lead(asked, contract.thinking),
        "forgets_thoughts": renderer.has_thoughts,
        "sampling": _sampling(source.run.config.sampling),
    }


def _sampling(sampling: Sampling) -> dict[str, Any]:
    """Return what llama.cpp calls these settings, its filters in the order of `sampling.candidates_plain`."""
    found = {
        "samplers": ["penalties", "dry", "temperature", "top_k", "top_p", "min_p"],
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length,
        "dry_sequence_breakers": ["\n"],
        "max_tokens": sampling.max_new_tokens,
    }
    return found if sampling.seed is None else {**found, "seed": sampling.seed}
