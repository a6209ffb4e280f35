"""Tokens as bytes: line breaks counted, and the text of any ids, cut anywhere, in the families of tokenizers."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tonghua.models.shipped import tiny
from tonghua.prompt.renderer import Renderer
from tonghua.prompt.vocabulary import Vocabulary

WORDS = ("a", "▁a", "▁", "好", "▁moon", "。\n", "\n", "\ufffd", "ä")
CONTROLS = ("<unk>", "<s>", "</s>")
WHOLE = "从前，有只🦊👩‍🚀。\n\n乱\ufffd码 naïve ½，𪚥龘！ The end.\n"


def fallback(kind: str) -> Tokenizer:
    """A SentencePiece vocabulary with byte fallback, as Llama 2 and TinyLlama have it, in its two ways of spelling."""
    names = [*CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    ids = {name: id for id, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(ids, [("▁", "a")], byte_fallback=True, unk_token=CONTROLS[0]))
    if kind == "replace":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        steps = [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(list(CONTROLS))
    return tokenizer


@pytest.fixture(scope="module", params=["made", "tiny", "real", "replace", "metaspace"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param in ("replace", "metaspace"):
        return fallback(request.param)
    folders: dict[str, Callable[[], Path]] = {"made": lambda: request.getfixturevalue("tiny_folder"), "tiny": tiny}
    folder = folders.get(request.param, lambda: request.getfixturevalue("real_folder"))()
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def bytes_by_hand(tokenizer: Tokenizer, ids: Sequence[int]) -> bytes:
    """The bytes of these ids by the definition of each family, without a decoder of the library."""
    names = [tokenizer.id_to_token(id) for id in ids]
    added = {token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()}
    spoken = [name for name in names if name is not None and not added.get(name)]
    if tokenizer.token_to_id("<0xE5>") is None:
        shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        alphabet = {chr(byte): byte for byte in shown}
        alphabet |= {chr(0x100 + place): b for place, b in enumerate(b for b in range(256) if b not in shown)}
        return b"".join(name.encode() if name in added else bytes(alphabet[char] for char in name) for name in spoken)
    parts = [
        bytes([int(name[3:5], 16)]) if name.startswith("<0x") else name.replace("▁", " ").encode() for name in spoken
    ]
    whole = b"".join(parts)
    return whole[1:] if whole.startswith(b" ") and spoken[0].startswith("▁") else whole


def incomplete(raw: bytes) -> int:
    """How many bytes at the end begin a character that more bytes could complete."""
    for count in (3, 2, 1):
        last = raw[-count:]
        try:
            last.decode()
        except UnicodeDecodeError as error:
            if len(last) == count and (error.start, error.reason) == (0, "unexpected end of data"):
                return count
        # Half of a surrogate waits too: UTF-8 has none, but its last byte may be yet to come.
        if len(last) == count == 2 and last[0] == 0xED and 0xA0 <= last[1] <= 0xBF:
            return count
    return 0


def right_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    raw = bytes_by_hand(tokenizer, ids)
    return raw[: len(raw) - incomplete(raw)].decode("utf-8", "replace")


def broken_ids(vocabulary: Vocabulary, tokenizer: Tokenizer) -> list[int]:
    """Tokens that hold a part of a character."""
    return [id for id in range(len(vocabulary)) if "\ufffd" in tokenizer.decode([id])]


def random_ids(vocabulary: Vocabulary, broken: Sequence[int], count: int) -> list[list[int]]:
    """Ids of a model gone wild: half characters are as frequent as all other tokens, and some ids are no tokens."""
    draw = random.Random(0)
    beyond = len(vocabulary) + 20
    return [
        [draw.choice(broken) if draw.random() < 0.5 else draw.randrange(beyond) for _ in range(draw.randrange(12))]
        for _ in range(count)
    ]


def test_the_pieces_of_any_ids_are_their_text_wherever_they_end(tokenizer: Tokenizer) -> None:
    vocabulary = Vocabulary(tokenizer)
    broken = broken_ids(vocabulary, tokenizer)
    assert broken
    for ids in random_ids(vocabulary, broken, 400):
        stream, said = vocabulary.stream(), ""
        for place, id in enumerate(ids, 1):
            said += stream.push(id)
            assert said == vocabulary.text(ids[:place]) == right_text(tokenizer, ids[:place]), ids[:place]


def test_a_text_that_is_cut_anywhere_keeps_all_its_whole_characters(tokenizer: Tokenizer) -> None:
    vocabulary = Vocabulary(tokenizer)
    ids = tokenizer.encode(WHOLE, add_special_tokens=False).ids
    assert vocabulary.text(ids) == WHOLE
    halves = 0
    for place in range(len(ids)):
        cut = vocabulary.text(ids[:place])
        assert WHOLE.startswith(cut)
        rest = len(bytes_by_hand(tokenizer, ids[:place])) - len(cut.encode())
        assert 0 <= rest < 4
        halves += rest > 0
    assert halves, "no cut fell into a character"


def test_a_character_begun_by_the_token_of_another_loses_neither(tokenizer: Tokenizer) -> None:
    """`好` and the first byte of the next character: the one comes out, the other waits."""
    vocabulary = Vocabulary(tokenizer)
    good = tokenizer.encode("好", add_special_tokens=False).ids
    begun = next(id for id in range(len(vocabulary)) if vocabulary.bytes_of(id) == b"\xe5")
    assert vocabulary.text([*good, begun]) == "好"
    stream = vocabulary.stream()
    assert [stream.push(id) for id in [*good, begun]][-1] == ""
    assert vocabulary.text([*good, begun, *good]).replace(" ", "") == "好\ufffd好"


def test_the_library_alone_would_lose_characters(tokenizer: Tokenizer) -> None:
    """Negative control: its stream keeps a whole character back if half of the next one follows."""
    vocabulary = Vocabulary(tokenizer)
    wild = random_ids(vocabulary, broken_ids(vocabulary, tokenizer), 400)
    differing = 0
    for ids in wild:
        stream, said = decoders.DecodeStream(skip_special_tokens=True), ""
        try:
            for id in ids:
                said += stream.step(tokenizer, id) or ""
        except Exception:  # the library's own, without a class
            differing += 1
        else:
            differing += said != vocabulary.text(ids)
    assert differing > 20


# Line breaks


def holding_a_line_break(tokenizer: Tokenizer) -> set[int]:
    every = [[id] for id in range(tokenizer.get_vocab_size())]
    return {id for id, text in enumerate(tokenizer.decode_batch(every, skip_special_tokens=True)) if "\n" in text}


def test_every_token_that_holds_a_line_break_is_a_breaker(tokenizer: Tokenizer) -> None:
    found = Vocabulary(tokenizer).line_breaks
    wanted = holding_a_line_break(tokenizer)
    assert set(found) == wanted
    assert len(found) == len(wanted) > 0
    assert found & [0, *wanted] == wanted
    assert tokenizer.get_vocab_size() + 5 not in found


@pytest.mark.parametrize(
    ("kind", "names"), [("replace", {"<0x0A>", "\n", "。\n"}), ("metaspace", {"<0x0A>", "\n", "。\n"})]
)
def test_the_line_breaks_of_byte_fallback(kind: str, names: set[str]) -> None:
    tokenizer = fallback(kind)
    assert {tokenizer.id_to_token(id) for id in Vocabulary(tokenizer).line_breaks} == names


def test_the_line_breaks_of_tiny() -> None:
    assert len(Renderer(tiny()).breaker_ids()) == 11


def test_the_line_breaks_of_the_real_vocabulary(real_folder: Path) -> None:
    """2,178 of its tokens hold one; the tokens of "\\n" and "\\n\\n" are two of these."""
    renderer = Renderer(real_folder)
    breakers = renderer.breaker_ids()
    assert len(breakers) == 2178
    for text in ("她笑了。\n\n从前", "好！\n", "It ended.\n\nThe", "（完）\n\n", "  \n  x", "a\r\nb"):
        ids = renderer.tokenizer.encode(text, add_special_tokens=False).ids
        assert [id for id in ids if id in breakers] == [id for id in ids if "\n" in renderer.plain([id])] != []
    assert not breakers & renderer.tokenizer.encode("她笑了。从前 The end", add_special_tokens=False).ids


# Facts of the vocabularies that the rest relies on


@pytest.fixture(scope="module", params=["tiny", "real"])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return Renderer(tiny() if request.param == "tiny" else request.getfixturevalue("real_folder"))


def test_stop_tokens_are_control_tokens_without_text(renderer: Renderer) -> None:
    assert renderer.plain([renderer.stop_ids[0]]) == "<|im_end|>"
    for id in renderer.stop_ids:
        assert renderer.tokenizer.get_added_tokens_decoder()[id].special
        assert not renderer.vocabulary.is_text(id)
        assert renderer.vocabulary.bytes_of(id) == b""
        assert id not in renderer.breaker_ids()


def test_the_words_of_a_control_token_are_text_if_a_person_writes_them(renderer: Renderer) -> None:
    ids = renderer.tokenizer.encode("<|im_end|>", add_special_tokens=False).ids
    written = Renderer(renderer.folder).tokenizer  # reads control tokens as text
    assert renderer.decode(written.encode("<|im_end|>", add_special_tokens=False).ids) == "<|im_end|>"
    assert not set(ids) & set(renderer.stop_ids)


def test_every_token_of_text_has_the_bytes_of_its_text(renderer: Renderer) -> None:
    """Byte-level vocabularies have no prefix before a word: a token adds the same bytes everywhere."""
    vocabulary = renderer.vocabulary
    every = range(0, len(vocabulary), max(1, len(vocabulary) // 4000))
    for id in every:
        assert vocabulary.bytes_of(id) == vocabulary.bytes_of(id, first=True)
        assert vocabulary.bytes_of(id).decode("utf-8", "replace") == renderer.tokenizer.decode([id])
    assert sum(map(vocabulary.is_text, every)) > 0.9 * len(every)


@pytest.mark.parametrize("end", ["。", "。”", "！", "……", "（完）", "\n", "。\n\n", " ", "…", '?"', "👋"])
def test_an_answer_keeps_its_ending_before_the_stop_token(renderer: Renderer, end: str) -> None:
    ids = renderer.tokenizer.encode("月亮说晚安" + end, add_special_tokens=False).ids
    assert renderer.decode([*ids, renderer.stop_ids[0]]) == "月亮说晚安" + end


def test_a_token_has_about_as_many_bytes_in_chinese_as_in_english(real_folder: Path) -> None:
    """Long answers are parted by bytes, in the hope that parts of equal bytes have about equal tokens."""
    tokenizer = Renderer(real_folder).tokenizer
    root = Path(__file__).parents[2]
    chinese = "".join(row["output"] for row in json.loads((root / "dataset/fairytale.json").read_text("utf-8")))
    english = (root / "CONTRIBUTING.md").read_text("utf-8")
    per_token = [
        len(text.encode()) / len(tokenizer.encode(text, add_special_tokens=False).ids) for text in (chinese, english)
    ]
    assert 0.7 < per_token[0] / per_token[1] < 1.4
    # Negative control: by characters, the one would have a third of the other.
    assert len(chinese) / len(chinese.encode()) < 0.5
