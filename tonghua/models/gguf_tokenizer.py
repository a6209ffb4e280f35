"""The tokenizer of a model as GGUF's metadata: tokens, merges, and the ids that programs treat in a special way.

    tokenizer.json          tokenizer.ggml.*
    model.vocab        ──►  tokens, by id, padded to the rows of the embedding
    added_tokens       ──►  token_type: control, or written by the user
    model.merges       ──►  merges
    pre_tokenizer      ──►  pre: llama.cpp knows how to split a text by names alone

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Tokenizer".
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator

from ..config.fields import NotAllowed
from .guarded import SIDE_FILE_LIMIT_BYTES, holds, read_object
from .model_config import UnsupportedError
from .typed import Typed, Word, read_typed
from .vocabulary import TOKENIZER, TOKENIZER_CONFIG, TOKENIZER_LIMIT_BYTES, TokenizerFile, read_tokenizer_config

if TYPE_CHECKING:
    from gguf import GGUFWriter

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"

PRE = {
    _CONTRACTIONS + _WORDS + r"|\p{N}" + _REST: "qwen2",
    # That of `tiny`, which has no token of an apostrophe and letters, so the ids are the same. llama.cpp of late
    # 2026 has a name of its own for it, "ufakzeka", with which older programs refuse the whole file.
    _WORDS + r"|\p{N}" + _REST: "qwen2",
    _CONTRACTIONS + _WORDS + r"|\p{N}{1,3}" + _REST: "llama-bpe",
}
"""Name in llama.cpp of each regular expression that splits a text before the merges."""

GPT2 = "gpt-2"
"""Name of the expression inside the byte-level step itself."""


def _merges(value: Any) -> list[str]:
    """Return merges as "a b"; tokenizers writes them so, or as ["a", "b"]."""
    try:
        made = [each if isinstance(each, str) else " ".join(each) for each in value]
    except TypeError:
        made = [""]
    if any(each.count(" ") != 1 for each in made):
        raise NotAllowed("应是一对对 token 的列表", "must list pairs of tokens")
    return made


class _MergesOfModel(Typed):
    type: Word | None = None
    merges: Annotated[list[str], PlainValidator(_merges)] = []  # noqa: RUF012


class _SplittingFile(Typed):
    """`model` and `pre_tokenizer` of tokenizer.json."""

    model: _MergesOfModel
    pre_tokenizer: Any = None
    added_tokens: Any = ()


def add_tokenizer(writer: "GGUFWriter", folder: Path, rows: int, stop_ids: Sequence[int], mark: str = "") -> None:
    """Add the tokenizer of a scanned folder to a GGUF file; `rows`: those of the embedding.

    `stop_ids`: the end of turn first; `mark` goes before the name of each control token. Raises UnsupportedError if
    llama.cpp has no name for how it splits a text.
    """
    import gguf

    value = read_object(folder / TOKENIZER, TOKENIZER_LIMIT_BYTES)
    ids = read_typed(TokenizerFile, value, TOKENIZER).ids
    split = read_typed(_SplittingFile, value, TOKENIZER)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(split))
    tokens = [f"[PAD{id}]" for id in range(rows)]
    types = [int(gguf.TokenType.UNUSED)] * rows
    for token, id in ids.items():
        tokens[id], types[id] = token, int(gguf.TokenType.NORMAL)
    for added in split.added_tokens:
        special = gguf.TokenType.CONTROL if added.get("special") else gguf.TokenType.USER_DEFINED
        types[added["id"]] = int(special)
        if special == gguf.TokenType.CONTROL:
            tokens[added["id"]] = mark + tokens[added["id"]]
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(split.model.merges)
    # The file's template, like every contract, writes the first token itself.
    writer.add_add_bos_token(False)
    told = read_object(folder / TOKENIZER_CONFIG, SIDE_FILE_LIMIT_BYTES) if holds(folder, TOKENIZER_CONFIG) else {}
    named = read_tokenizer_config(told)
    if named.bos_token in ids:
        writer.add_bos_token_id(ids[named.bos_token])
    if named.pad_token in ids:
        writer.add_pad_token_id(ids[named.pad_token])
    # Programs end an answer at any of these three, whatever its name says.
    ends = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, id in zip(ends, stop_ids, strict=False):
        add(id)


def _pre(split: _SplittingFile) -> str:
    steps = list(_steps(split.pre_tokenizer))
    kinds = [step.get("type") for step in steps]
    pattern = steps[0].get("pattern") if steps else None
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    if split.model.type in ("BPE", None) and kinds == ["Split", "ByteLevel"] and regex in PRE:
        return PRE[regex]
    if split.model.type in ("BPE", None) and kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return GPT2
    raise UnsupportedError(
        f"{TOKENIZER}：写成 GGUF 要 Qwen2、Qwen3 或 Llama 3 那样的字节级 BPE，这个分词器不是；请用 merge 导出文件夹",
        f"{TOKENIZER}: GGUF is written for a byte-level BPE as in Qwen2, Qwen3 and Llama 3, and this tokenizer is"
        " another; export a folder with merge",
    )


def _steps(pre_tokenizer: Any) -> Iterator[dict[str, Any]]:
    if isinstance(pre_tokenizer, dict):
        inner = pre_tokenizer.get("pretokenizers")
        yield from (each for each in inner if isinstance(each, dict)) if isinstance(inner, list) else (pre_tokenizer,)
