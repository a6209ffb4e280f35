"""Vet a stranger's tokenizer.json. Runs in a child process with bounds; imports the tokenizers library alone.

    JSON --> steps of known kinds, whose text cannot grow without bound --> load it --> long texts of many kinds

A tokenizer is a program too: steps that replace text can double it again and again, and a regular expression can
take for ever. What passes here takes about linear time and memory on any text.
"""

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..text import Text, shown

MODELS = ("BPE", "Unigram", "WordPiece")

NORMALIZERS = (
    *("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip", "BertNormalizer", "ByteLevel"),
    *("Prepend", "Replace", "Precompiled"),
)

PRE_TOKENIZERS = (
    *("ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"),
    *("BertPreTokenizer", "UnicodeScripts", "CharDelimiterSplit", "FixedLength"),
)

POST_PROCESSORS = ("ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing")

DECODERS = (
    *("ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace", "WordPiece", "BPEDecoder"),
    "CTC",
)

INNER = ("normalizers", "pretokenizers", "processors", "decoders")
"""The keys of a "Sequence" that hold its steps."""

MOST_STEPS = 32
MOST_GROWTH = 16.0
"""Maximum factor by which all steps of one kind together may lengthen a text."""
MOST_ADDED_TOKENS = 50_000
MOST_TOKEN_CHARACTERS = 1_000
MOST_REPLACED_BYTES = 100
MOST_WORD_CHARACTERS = 1_000
MOST_IDS = 2_000_000

PROBE_CHARACTERS = 10_000
LITERAL_PROBE_CHARACTERS = 3_000
PROBE_S = 1.0
"""Maximum processor seconds for one probe; a sound tokenizer takes a hundredth of that."""

PROBES = {
    "letters": "a",
    "capitals": "AbcDEF",
    "spaces": " ",
    "line breaks": "\n",
    "line breaks and spaces": " \n\t\r\n",
    "digits": "1234567890",
    "punctuation": "!?.,;:-_=+*/\\|()[]{}<>\"'`~@#$%^&",
    "apostrophes": "'s 't",
    "han": "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能",
    "marks": "，。！？、；：“”‘’（）《》…—",
    "words": "The quick brown fox, 从前有一只小狐狸。\n",
    "accents": "e\u0301\u00e9\u1ea5\ufdfa\u3000\u200d",
    "other scripts": "при\u05e9\u05dc\u0645\u0631\u0915\u093f\U0001f98a\U00020bb7",
}


class _UnfitError(Exception):
    def __init__(self, zh: str, en: str):
        super().__init__(en)
        self.reason = Text(zh, en)


def vetted(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"fault": [zh, en]}, or {"fault": None} if the tokenizer in the file `request["path"]` is sound."""
    try:
        path = Path(request["path"])
        written = json.loads(path.read_bytes())
        _check(written)
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        _probe(tokenizer, written)
    except MemoryError:
        raise
    except _UnfitError as fault:
        return {"fault": fault.reason}
    except BaseException as error:  # a panic of the library does not derive from Exception
        words = shown(str(error), 160) or type(error).__name__
        return {"fault": Text(f"已损坏（{words}）", f"it is damaged ({words})")}
    return {"fault": None}


def _check(written: Any) -> None:
    """Raise _UnfitError unless every step is of a known kind and lengthens a text by little."""
    if not isinstance(written, dict) or not isinstance(written.get("model"), dict):
        raise _UnfitError("没有 model", "it has no model")
    _check_model(written["model"])
    _check_added(written.get("added_tokens") or [])
    _check_steps(written.get("normalizer"), "normalizer", NORMALIZERS)
    _check_steps(written.get("pre_tokenizer"), "pre_tokenizer", PRE_TOKENIZERS)
    _check_steps(written.get("post_processor"), "post_processor", POST_PROCESSORS)
    _check_steps(written.get("decoder"), "decoder", DECODERS)


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type", "BPE")  # old files do not name it
    if kind not in MODELS:
        raise _unknown("model", kind)
    if model.get("dropout"):
        raise _UnfitError("分词带随机（dropout）", "it tokenizes at random (dropout)")
    most = model.get("max_input_chars_per_word", 0)
    if not _is_count(most, MOST_WORD_CHARACTERS):
        raise _UnfitError(
            f"max_input_chars_per_word 超过 {MOST_WORD_CHARACTERS}",
            f"max_input_chars_per_word is over {MOST_WORD_CHARACTERS}",
        )
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict) and not all(_is_count(id, MOST_IDS) for id in vocabulary.values()):
        raise _UnfitError("vocab 里有不是编号的值", "a value of its vocab is no token id")


def _check_added(added: Any) -> None:
    if not isinstance(added, list) or len(added) > MOST_ADDED_TOKENS:
        raise _UnfitError(f"added_tokens 超过 {MOST_ADDED_TOKENS} 个", f"it has over {MOST_ADDED_TOKENS} added_tokens")
    for token in added:
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or not 0 < len(content) <= MOST_TOKEN_CHARACTERS:
            raise _UnfitError(
                f"added_tokens 里有一个不是 1 到 {MOST_TOKEN_CHARACTERS} 个字的文字",
                f"one of its added_tokens is no text of 1 to {MOST_TOKEN_CHARACTERS} characters",
            )
        if not _is_count(token.get("id"), MOST_IDS):
            raise _UnfitError("added_tokens 里有不是编号的 id", "an id of its added_tokens is no token id")


def _check_steps(step: Any, where: str, known: tuple[str, ...]) -> None:
    growth = 1.0
    for count, each in enumerate(_steps(step, where, 0)):
        if count >= MOST_STEPS:
            raise _UnfitError(f"{where} 有 {MOST_STEPS} 步以上", f"its {where} has over {MOST_STEPS} steps")
        if each.get("type") not in known:
            raise _unknown(where, each.get("type"))
        growth *= _growth(each, where)
        if growth > MOST_GROWTH:
            raise _UnfitError(
                f"{where} 会把文字变长 {MOST_GROWTH:g} 倍以上",
                f"its {where} can make a text more than {MOST_GROWTH:g} times as long",
            )


def _steps(step: Any, where: str, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield the steps, those within sequences in their order."""
    if step is None:
        return
    if not isinstance(step, dict) or depth > MOST_STEPS:
        raise _unknown(where, step)
    if step.get("type") != "Sequence":
        yield step
        return
    inner = next((step[key] for key in INNER if key in step), None)
    if not isinstance(inner, list):
        raise _unknown(where, inner)
    for each in inner:
        yield from _steps(each, where, depth + 1)


def _growth(step: Mapping[str, Any], where: str) -> float:
    """Return the factor by which a step can lengthen a text. What it adds once to a text must be short."""
    match step["type"]:
        case "ByteLevel" if where != "post_processor":
            return 3.0  # a character of UTF-8 has up to four bytes, a han character three
        case "NFD" | "NFKC" | "NFKD" | "StripAccents" | "Nmt" | "Lowercase" | "BertNormalizer":
            return 1.5
        case "Prepend":
            _short(step.get("prepend"), where)
        case "Precompiled":
            return _charsmap_growth(step.get("precompiled_charsmap"), where)
        case "Replace" | "Split":
            pattern = step.get("pattern")
            least = 1
            if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str):
                _check_regex(pattern["Regex"], where)
            elif isinstance(pattern, dict) and isinstance(pattern.get("String"), str) and pattern["String"]:
                least = len(pattern["String"])
            else:
                raise _UnfitError(f"{where} 里有空的 pattern", f"a pattern of its {where} is empty")
            if step["type"] == "Replace":
                return max(1.0, len(_short(step.get("content"), where)) / least)
    return 1.0


def _short(text: Any, where: str) -> str:
    if not isinstance(text, str) or len(text) > MOST_REPLACED_BYTES:
        raise _UnfitError(f"{where} 添加的文字太长", f"the text that its {where} adds is too long")
    return text


def _charsmap_growth(charsmap: Any, where: str) -> float:
    """Return 1 if no character of SentencePiece's map becomes a long text: size of a trie, the trie, texts with \\0."""
    try:
        raw = base64.b64decode(charsmap or "", validate=True)
    except (TypeError, ValueError):
        raise _unknown(where, "precompiled_charsmap") from None
    texts = raw[4 + int.from_bytes(raw[:4], "little") :]
    if max(map(len, texts.split(b"\0"))) > MOST_REPLACED_BYTES:
        raise _UnfitError(f"{where} 添加的文字太长", f"the text that its {where} adds is too long")
    return 1.5


_UNBOUNDED = re.compile(r"[*+]|\{\d*,\}|\{\d*,?\d{3,}\}")


def _check_regex(pattern: str, where: str) -> None:
    """Raise _UnfitError for what takes exponential time: a repeat of a repeat, and references to earlier text."""
    repeats = [False]  # for the pattern and each open group: does it repeat something without bound?
    at, in_class, closed = 0, 0, False
    while at < len(pattern):
        char, just_closed, closed = pattern[at], closed, False
        if char == "\\":
            if not in_class and pattern[at + 1 : at + 2] in (*"123456789", "k", "g"):
                raise _slow(where)
            at += 2
            continue
        if in_class or char == "[":
            in_class += (char == "[") - (char == "]")
        elif char == "(":
            if pattern.startswith(("(?R", "(?&", "(?P>", "(?("), at):
                raise _slow(where)
            repeats.append(False)
        elif char == ")" and len(repeats) > 1:
            inner = repeats.pop()
            closed = inner
            repeats[-1] |= inner
        elif found := _UNBOUNDED.match(pattern, at):
            if just_closed:
                raise _slow(where)
            repeats[-1] = True
            at = found.end()
            at += pattern[at : at + 1] in ("?", "+") and pattern[at : at + 1] != ""
            continue
        at += 1


def _slow(where: str) -> _UnfitError:
    return _UnfitError(f"{where} 的正则式可能要算很久", f"a regular expression of its {where} can take for ever")


def _unknown(where: str, kind: Any) -> _UnfitError:
    name = shown(kind, 40)
    return _UnfitError(f"不认识 {where} 的 {name}", f"{name} is no known kind of {where}")


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _probe(tokenizer: Tokenizer, written: Mapping[str, Any]) -> None:
    """Raise _UnfitError if a long text takes long, becomes many tokens, or is not read at all."""
    texts = {name: _long(unit) for name, unit in PROBES.items()}
    literals = {char for pattern in _patterns(written) for char in pattern if char.isascii()}
    texts |= {f"{char} ({ord(char)})": char * LITERAL_PROBE_CHARACTERS + "\0" for char in sorted(literals)}
    for name, text in texts.items():
        begun = time.process_time()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.decode(ids[: PROBE_CHARACTERS // 8])
        if time.process_time() - begun > PROBE_S:
            raise _UnfitError(f"处理长文字太慢（{name}）", f"it is too slow on a long text ({name})")
        if len(ids) > MOST_GROWTH * len(text):
            raise _UnfitError(f"把文字变得太长（{name}）", f"it makes a text too long ({name})")


def _long(unit: str) -> str:
    return (unit * (PROBE_CHARACTERS // len(unit) + 1))[:PROBE_CHARACTERS]


def _patterns(value: Any) -> Iterator[str]:
    """Yield the regular expressions of the steps."""
    for where in ("normalizer", "pre_tokenizer", "decoder"):
        for step in _steps(value.get(where), where, 0):
            pattern = step.get("pattern")
            if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str):
                yield pattern["Regex"]
