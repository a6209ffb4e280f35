"""Detect the encoding of a file (UTF-8, UTF-16 or GB18030) by decoding it, and find text that was decoded wrongly."""

import codecs
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from ...text import Text, shown
from .opened import CHUNK_BYTES, ArchiveEntry, open_origin

ENCODING_NAMES = {
    "utf-8-sig": "UTF-8",
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "gb18030": "GB18030",
}

_PLAUSIBLE_CHARACTERS = 4_000

_REPLACED = re.compile("锟斤拷|\ufffd{2}|烫烫烫|屯屯屯")

_BEYOND_ASCII = re.compile("[^\x00-\x7f\ufffd]+")

_CHINESE = re.compile("[\u2010-\uffee]+")

_LATIN_LEAD = re.compile("[\xc2-\xf4]")

_LOOKED_AT_CHARACTERS = 60

_UTF16_MARKS = re.compile('[\n\r\t ,;:"{}\\[\\]]')


class EncodingLook(NamedTuple):
    """The result of decoding a file by one encoding. `first` is its first character that is not white space.

    `stopped` is (line, byte offset) of the first invalid bytes, (1, 0) if the text is implausible, else None.
    """

    encoding: str
    sha256: str
    size_bytes: int
    first: str
    stopped: tuple[int, int] | None


def decodable(name: str, look: Callable[[str], EncodingLook], candidates: Sequence[str]) -> EncodingLook:
    """Return the first look that decodes the whole file. Raises DataError if no candidate does."""
    looks = []
    for encoding in candidates:
        looks.append(look(encoding))
        if looks[-1].stopped is None:
            return looks[-1]
    # Report the encoding that decodes the most: the file is most likely meant to be in it.
    furthest = max(looks, key=lambda each: each.stopped[1] if each.stopped else 0)
    line, offset = furthest.stopped or (1, 0)
    encoding = ENCODING_NAMES[furthest.encoding]
    raise DataError(
        f"{name} 不是 UTF-8、UTF-16 或 GB18030 编码（按 {encoding} 读到第 {line} 行，字节偏移 {offset}）；"
        "请用编辑器另存为 UTF-8",
        f"{name} is not in UTF-8, UTF-16 or GB18030 (by {encoding}, readable up to line {line}, "
        f"byte offset {offset}); save it as UTF-8 in an editor",
    )


def candidates(start: bytes) -> tuple[str, ...]:
    """Return the encodings to try, in order, by the first bytes of the file."""
    if start.startswith(codecs.BOM_UTF8):
        return ("utf-8-sig",)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    # UTF-16 without a BOM: in the right byte order it has line breaks, commas or quotes. A stray NUL is not enough.
    marks = {wide: len(_UTF16_MARKS.findall(start.decode(wide, "ignore"))) for wide in ("utf-16-le", "utf-16-be")}
    wide = max(marks, key=lambda each: marks[each])
    zeros = start.count(0)
    if marks[wide] and zeros * 20 > len(start):
        return (wide, "utf-8")
    return ("utf-8", wide, "gb18030") if marks[wide] and zeros else ("utf-8", "gb18030")


def look_through(name: str, origin: Path | ArchiveEntry, encoding: str) -> EncodingLook:
    """Decode and hash a file by one encoding; stop at the first invalid bytes."""
    decoder = codecs.getincrementaldecoder(encoding)()
    sha256 = hashlib.sha256()
    size_bytes, line, first, other = 0, 1, "", ""
    with open_origin(origin, name) as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # error.object also holds the bytes that the decoder kept from the chunk before.
                offset = size_bytes - (len(error.object) - len(chunk)) + error.start
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                return EncodingLook(encoding, "", size_bytes, "", (line, offset))
            sha256.update(chunk)
            size_bytes += len(chunk)
            line += text.count("\n")
            first = first or text.lstrip()[:1]
            if encoding == "gb18030" and len(other) < _PLAUSIBLE_CHARACTERS:
                other += "".join(char for char in text if char > "\x7f")[:_PLAUSIBLE_CHARACTERS]
            if not chunk:
                break
    stopped = (1, 0) if other and not _is_plausible(other) else None
    return EncodingLook(encoding, sha256.hexdigest(), size_bytes, first, stopped)


def _is_plausible(other: str) -> bool:
    """True if the non-ASCII characters decoded by GB18030 are plausible Chinese: almost any bytes decode in it.

    At least half must be common characters (the 3755 in rows B0 to D7 of GB 2312) or punctuation (A1, A3). Fewer
    than 5 % may be in the private use area, to which much of Big5 decodes.
    """
    common = 0
    private = sum("\ue000" <= char <= "\uf8ff" for char in other)
    for char in other:
        code = char.encode("gb18030")
        common += len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or code[0] in (0xA1, 0xA3)) and code[1] >= 0xA1
    return common * 2 >= len(other) > private * 20


def find_mojibake(text: str) -> Text | None:
    """Return what is wrong if a text is UTF-8 decoded as GBK or Latin-1, or has replaced characters; else None.

    If such a text is encoded again by the wrong codec, most of it is valid UTF-8. Other text almost never is.
    """
    if text.isascii():
        return None
    other = "".join(_BEYOND_ASCII.findall(text))
    lost = _REPLACED.findall(text)
    if len(lost) > 1 and sum(map(len, lost)) * 20 >= len(other):
        return Text(
            f"有 {len(lost)} 处 {lost[0]}，原来的字已经丢了", f'"{lost[0]}" {len(lost)} times, the text is lost'
        )
    other = other[:_LOOKED_AT_CHARACTERS]
    for codec in ("gb18030", "cp1252", "latin-1") if _LATIN_LEAD.search(other) else ("gb18030",):
        content = other.encode(codec, "replace")
        read = content.decode("utf-8", "ignore")
        # In GBK, two-byte UTF-8 sequences occur by chance, but three-byte Chinese ones do not.
        good = "".join((_CHINESE if codec == "gb18030" else _BEYOND_ASCII).findall(read))
        if len(good) >= 3 and len(good.encode()) * 2 > len(content):
            seen, meant = shown(other[:12]), shown(good[:6])
            return Text(f"{seen}… 应是 {meant}…", f"{seen}... should read {meant}...")
    return None
