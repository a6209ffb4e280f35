"""The encoding of a file of rows: UTF-8, UTF-16 or GB18030, found by decoding it; and text that was decoded wrongly."""

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


class Look(NamedTuple):
    """What one pass over a file by one encoding finds; `stopped` is (line, byte offset) of what is not in it."""

    encoding: str
    sha256: str
    size_bytes: int
    first: str
    stopped: tuple[int, int] | None


def decodable(name: str, look: Callable[[str], Look], candidates: Sequence[str]) -> Look:
    """The first look that decodes the whole file."""
    looks = []
    for encoding in candidates:
        looks.append(look(encoding))
        if looks[-1].stopped is None:
            return looks[-1]
    # The encoding that holds longest is the one it most likely was meant to be in.
    furthest = max(looks, key=lambda each: each.stopped[1] if each.stopped else 0)
    line, offset = furthest.stopped or (1, 0)
    encoding = ENCODING_NAMES[furthest.encoding]
    raise DataError(
        f"{name} 不是 UTF-8、UTF-16 或 GB18030 编码（按 {encoding} 读到第 {line} 行，字节偏移 {offset}）；"
        "请用编辑器另存为 UTF-8",
        f"{name} is not in UTF-8, UTF-16 or GB18030 (by {encoding}, readable up to line {line}, "
        f"byte offset {offset}); save it as UTF-8 in an editor",
    )


def candidates(name: str, origin: Path | ArchiveEntry) -> tuple[str, ...]:
    """Encodings to try, by the first bytes of the file."""
    with open_origin(origin, name) as file:
        start = file.read(1 << 16)
    if start.startswith(codecs.BOM_UTF8):
        return ("utf-8-sig",)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    # UTF-16 without its mark: read by the right half, it has line breaks, commas or quotes; a stray NUL is not enough.
    marks = {wide: len(_UTF16_MARKS.findall(start.decode(wide, "ignore"))) for wide in ("utf-16-le", "utf-16-be")}
    wide = max(marks, key=lambda each: marks[each])
    zeros = start.count(0)
    if marks[wide] and zeros * 20 > len(start):
        return (wide, "utf-8")
    return ("utf-8", wide, "gb18030") if marks[wide] and zeros else ("utf-8", "gb18030")


def look_through(name: str, origin: Path | ArchiveEntry, encoding: str) -> Look:
    decoder = codecs.getincrementaldecoder(encoding)()
    sha256 = hashlib.sha256()
    size_bytes, line, first, other = 0, 1, "", ""
    with open_origin(origin, name) as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # What the decoder had kept of the chunk before counts as part of this one.
                offset = size_bytes - (len(error.object) - len(chunk)) + error.start
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                return Look(encoding, "", size_bytes, "", (line, offset))
            sha256.update(chunk)
            size_bytes += len(chunk)
            line += text.count("\n")
            first = first or text.lstrip()[:1]
            if encoding == "gb18030" and len(other) < _PLAUSIBLE_CHARACTERS:
                other += "".join(char for char in text if char > "\x7f")[:_PLAUSIBLE_CHARACTERS]
            if not chunk:
                break
    stopped = (1, 0) if other and not _plausible(other) else None
    return Look(encoding, sha256.hexdigest(), size_bytes, first, stopped)


def _plausible(other: str) -> bool:
    """Whether what GB18030 makes of the bytes beyond ASCII is Chinese: nearly any bytes are something in it.

    At least half must be the 3755 commonest characters (rows B0 to D7 of GB 2312) or punctuation (A1, A3), and
    next to none from the area for private use, where much of Big5 comes to lie.
    """
    common = 0
    private = sum("\ue000" <= char <= "\uf8ff" for char in other)
    for char in other:
        code = char.encode("gb18030")
        common += len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or code[0] in (0xA1, 0xA3)) and code[1] >= 0xA1
    return common * 2 >= len(other) > private * 20


# Text that went through a wrong encoding before it came here


def find_mojibake(text: str) -> Text | None:
    """What is wrong with a text that is UTF-8 read as GBK or Latin-1, or whose characters were replaced.

    Encoded again by the wrong codec, such a text is mostly valid UTF-8, which other text practically never is.
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
        # Two-byte sequences come about by chance in GBK; three-byte ones that are Chinese do not.
        good = "".join((_CHINESE if codec == "gb18030" else _BEYOND_ASCII).findall(read))
        if len(good) >= 3 and len(good.encode()) * 2 > len(content):
            seen, meant = shown(other[:12]), shown(good[:6])
            return Text(f"{seen}… 应是 {meant}…", f"{seen}... should read {meant}...")
    return None
