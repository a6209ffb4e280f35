"""A stranger's tokenizer.json: those of the families pass, and what takes time or memory without bound is refused."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tonghua.errors import RefusedError
from tonghua.prompt import tokenizer_file, vetting
from tonghua.prompt.tokenizer_file import read_tokenizer

REST = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT_4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + REST
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
) + REST
DIGIT_GROUPS = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
HAN = r"[一-龥぀-ゟ゠-ヿ]+"
MARKS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"

TEXTS = ["从前有一只小狐狸，它住在山里。", "Hello world, it's 2024!", "def f(x):\n    return x"] * 5
SPECIALS = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>"]


def split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(*before: Any, normalizer: Any = None) -> Tokenizer:
    """As Qwen, Llama 3, DeepSeek, Phi, SmolLM and InternLM have it."""
    tokenizer = Tokenizer(models.BPE())
    steps = [*before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not before)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if before else steps[0]
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def fallback(normalizer: Any, pre_tokenizer: Any = None) -> Tokenizer:
    """As Llama 2, TinyLlama, Mistral, Gemma and Yi have it: SentencePiece's BPE with bytes for what it lacks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))  # noqa: S106
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[*SPECIALS, *bytes_], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 2)])
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False),  # noqa: S106
    )
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIALS, show_progress=False)
    )
    return tokenizer


SPACES = normalizers.Replace(" ", "▁")
FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": byte_level,
    "qwen": lambda: byte_level(split(GPT_4), normalizer=normalizers.NFC()),
    "llama 3": lambda: byte_level(split(GPT_4)),
    "gpt-4o": lambda: byte_level(split(GPT_4O)),
    "deepseek": lambda: byte_level(split(r"\p{N}{1,3}"), split(HAN), split(MARKS)),
    "smollm": lambda: byte_level(pre_tokenizers.Digits(individual_digits=True)),
    "bloom": lambda: byte_level(split(BLOOM)),
    "digit groups": lambda: byte_level(split(DIGIT_GROUPS), split(GPT_4)),
    "llama 2": lambda: fallback(normalizers.Sequence([normalizers.Prepend("▁"), SPACES])),
    "mistral": lambda: fallback(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "gemma": lambda: fallback(SPACES, pre_tokenizers.Split(" ", "merged_with_previous")),
    "yi": lambda: fallback(SPACES),
    "t5": unigram,
    "bert": word_piece,
}


def fault(written: dict[str, Any], path: Path) -> str | None:
    """What is found in this process: for files that do no harm."""
    path.write_text(json.dumps(written), encoding="utf-8")
    found = vetting.vetted({"path": str(path)})["fault"]
    return None if found is None else str(found[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tokenizers_of_the_families_pass(name: str, tmp_path: Path) -> None:
    assert fault(json.loads(FAMILIES[name]().to_str()), tmp_path / "tokenizer.json") is None


def test_the_tokenizer_that_ships_passes(tiny_folder: Path) -> None:
    tokenizer, sha256 = read_tokenizer(tiny_folder)
    assert tokenizer.encode("<|im_end|>", add_special_tokens=False).ids != [tokenizer.token_to_id("<|im_end|>")]
    assert len(sha256) == 64


def test_a_tokenizer_neither_pads_nor_cuts(tmp_path: Path) -> None:
    made = byte_level()
    made.enable_truncation(3)
    made.enable_padding(length=50)
    made.save(str(tmp_path / "tokenizer.json"))
    assert 3 < len(read_tokenizer(tmp_path)[0].encode("a b c d e f").ids) < 50


DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def sequence(key: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", key: list(steps)}


def regex_split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def charsmap(text: bytes) -> str:
    return base64.b64encode(struct.pack("<I", 4) + bytes(4) + text + b"\0").decode()


def added(content: object, id: object = 7) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id, "content": content, **flags}


HARMFUL = {
    "doubling": ("normalizer", sequence("normalizers", *[DOUBLE] * 10), "16 times as long"),
    "long text": ("normalizer", {**DOUBLE, "content": "a" * 101}, "too long"),
    "at every place": ("normalizer", {**DOUBLE, "pattern": {"Regex": ""}, "content": "a" * 17}, "16 times as long"),
    "empty pattern": ("normalizer", {**DOUBLE, "pattern": {"String": ""}}, "is empty"),
    "prepend": ("normalizer", {"type": "Prepend", "prepend": "a" * 10_000}, "too long"),
    "many bytes": ("normalizer", sequence("normalizers", *[BYTES] * 20), "16 times as long"),
    "many steps": ("normalizer", sequence("normalizers", *[{"type": "NFC"}] * 33), "over 32 steps"),
    "charsmap": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": charsmap(b"a" * 200)}, "too long"),
    "no charsmap": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "?"}, "precompiled_charsmap"),
    "unknown": ("normalizer", {"type": "Evil"}, "Evil is no known kind of normalizer"),
    "not a step": ("pre_tokenizer", ["Evil"], "no known kind of pre_tokenizer"),
    "doubling bytes": ("pre_tokenizer", sequence("pretokenizers", *[BYTES] * 20), "16 times as long"),
    "nested repeat": ("pre_tokenizer", regex_split("(a+)+$"), "for ever"),
    "deeper repeat": ("pre_tokenizer", regex_split("((?:x|y*)z?){2,}"), "for ever"),
    "back reference": ("pre_tokenizer", regex_split(r"(a)\1"), "for ever"),
    "broken regex": ("pre_tokenizer", regex_split("("), "damaged"),
    "decoder": ("decoder", sequence("decoders", *[DOUBLE] * 10), "16 times as long"),
    "no model": ("model", None, "it has no model"),
    "other model": ("model", {"type": "Evil"}, "Evil is no known kind of model"),
    "dropout": ("model", {"type": "BPE", "dropout": 0.5, "vocab": {"a": 0}, "merges": []}, "at random"),
    "long words": ("model", {"type": "WordPiece", "max_input_chars_per_word": 10**9}, "max_input_chars_per_word"),
    "odd id": ("model", {"type": "BPE", "vocab": {"a": 10**12}, "merges": []}, "no token id"),
    "empty token": ("added_tokens", [added("")], "1 to 1000 characters"),
    "long token": ("added_tokens", [added("a" * 1_001)], "1 to 1000 characters"),
    "token with an odd id": ("added_tokens", [added("a", -1)], "no token id"),
    "many tokens": ("added_tokens", [added("a")] * 50_001, "over 50000 added_tokens"),
    "missing vocab": ("model", {"type": "BPE"}, "damaged"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_takes_time_or_memory_without_bound_is_refused(name: str, tmp_path: Path) -> None:
    key, value, words = HARMFUL[name]
    whole = json.loads(byte_level().to_str())
    assert words in str(fault({**whole, key: value}, tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(
    "pattern", [GPT_4, GPT_4O, DIGIT_GROUPS, BLOOM, HAN, MARKS, r"[0-9][0-9][0-9]", r"\(+[)+]*x{2}"]
)
def test_the_patterns_of_the_families_repeat_no_repeat(pattern: str) -> None:
    vetting._check_regex(pattern, "pre_tokenizer")


def test_a_refusal_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "坏\x1b[2J的"
    folder.mkdir()
    whole = json.loads(byte_level().to_str())
    whole["normalizer"] = {"type": "\x1b[31m" + "e" * 5_000}
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(RefusedError) as caught:
        read_tokenizer(folder)
    for words in caught.value.text:
        assert words.isprintable()
        assert len(words) < 400
    assert caught.value.text.en.startswith("tokenizer.json in 坏\\x1b[2J的 is unfit (")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"model": 7}', b"\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(RefusedError):
        read_tokenizer(tmp_path)


def test_what_no_check_foresees_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression whose time grows with the cube of a text's length, and repeats no repeat."""
    monkeypatch.setattr(tokenizer_file, "CPU_S", 1)
    whole = json.loads(byte_level().to_str()) | {"pre_tokenizer": regex_split("(?=a*a*a*!)a")}
    vetting._check(whole)
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(RefusedError, match=r"processor time|too slow"):
        read_tokenizer(tmp_path)
