"""From token ids back to text: the bytes of each token, and the text of an answer as it grows.

    id   --Vocabulary.bytes_of-->  UTF-8 bytes: b"\\n\\n", b" moon", b"\\xe5\\xa5\\xbd\\xe4", ...
    ids  --TextStream-->           text: each character as soon as its last byte is there

Tokens are bytes, and a character may begin in one token and end in another. Streamed and whole answers are both
decoded here, so their texts are equal: a character without its last byte is left out, and bytes that form no
character become �.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property

from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
"""A token of SentencePiece's byte fallback."""


class Vocabulary:
    """The tokens of a tokenizer, as the bytes that they add to a text. Control tokens add none."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._controls = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        self._known: dict[tuple[int, bool], bytes] = {}

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def is_text(self, id: int) -> bool:
        """True if the id is a token, and not a control token. A model may have more ids than its tokenizer."""
        return id not in self._controls and self._tokenizer.id_to_token(id) is not None

    def bytes_of(self, id: int, first: bool = False) -> bytes:
        """Return the bytes that a token adds to a text, or those of a text that begins with it.

        The two differ in SentencePiece's vocabularies: there a text loses the space before its first word.
        """
        if (id, first) not in self._known:
            self._known[id, first] = self._bytes_of(id, first) if self.is_text(id) else b""
        return self._known[id, first]

    def _bytes_of(self, id: int, first: bool) -> bytes:
        # After another token: a decoder treats the first one of a text in its own way.
        before = [] if first else self._anchor
        whole, start = self._decode([*before, id]), self._decode(before)
        text = whole.removeprefix(start) if whole.startswith(start) else self._decode([id])
        if "\ufffd" not in text:
            return text.encode()
        raw = _raw(self._tokenizer.id_to_token(id) or "")
        # A token whose text is �, and not a part of a character, decodes to itself.
        return raw if raw is not None and raw.decode("utf-8", "replace") == text else text.encode()

    @cached_property
    def _anchor(self) -> list[int]:
        return list(self._tokenizer.encode("a", add_special_tokens=False).ids)

    @property
    def letter(self) -> int:
        """The id of a token that is a plain letter."""
        return self._anchor[0]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of the ids without control tokens and without an incomplete character at the end."""
        return "".join(map(self.stream().push, ids))

    def stream(self) -> "TextStream":
        """Return a new stream that decodes ids one at a time."""
        return TextStream(self)

    @property
    def line_breaks(self) -> "LineBreaks":
        """The ids of all tokens that hold a line break."""
        return LineBreaks(self)


class TextStream:
    """Decodes token ids one at a time. The pieces together are the text of the ids, wherever they end."""

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary, self._first = vocabulary, True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """Add an id. Return the text that is now complete, which may be empty."""
        added = self._vocabulary.bytes_of(id, self._first)
        self._first = self._first and not self._vocabulary.is_text(id)
        return self._decoder.decode(added)


class LineBreaks(AbstractSet[int]):
    """The ids of the tokens that hold a line break, looked up as they are asked for: a vocabulary has 150,000."""

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary = vocabulary

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and b"\n" in self._vocabulary.bytes_of(id)

    def __iter__(self) -> Iterator[int]:
        return (id for id in range(len(self._vocabulary)) if id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @classmethod
    def _from_iterable(cls, ids: Iterable[int]) -> frozenset[int]:  # type: ignore[override]
        return frozenset(ids)


def _raw(token: str) -> bytes | None:
    """Return the bytes that a token stands for in byte fallback or in a byte-level vocabulary, None if in neither."""
    if found := _BYTE.fullmatch(token):
        return bytes([int(found[1], 16)])
    try:
        return bytes(map(_byte_of, token))
    except ValueError:
        return None


def _byte_of(char: str) -> int:
    """Return the byte of a character of GPT-2's alphabet, which writes each byte as a printable character.

    Raises ValueError for any other character.
    """
    code = ord(char)
    if code < 0x100:
        if code in _SHOWN:
            return code
    elif code - 0x100 < len(_HIDDEN):
        return _HIDDEN[code - 0x100]
    raise ValueError(char)


_SHOWN = frozenset([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])

_HIDDEN = [byte for byte in range(0x100) if byte not in _SHOWN]
