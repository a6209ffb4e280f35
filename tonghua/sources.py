"""Where rows are: the files of a dataset, each looked through once before any of it is used.

    rows.csv                      a file
    故事/  雪孩子.txt  月亮.txt      a folder: all rows files in it, or all .txt stories where there is none
    数据.zip                       an archive of either; nothing of it is ever unpacked by name
        |
        |  find_sources: what it is, its encoding, its size and sha256
        v
    Source(name="数据.zip/一.csv", kind="csv", encoding="gb18030", ...)
        |
        |  text(), file(): read again from the start, and compared with what was looked through
        v
    characters or bytes

Only regular files of this machine are opened: no web address, no pipe, no device. A dataset that cannot be
read is a DataError; an archive that is damaged or made to do harm is a RefusedError.
"""

import codecs
import hashlib
import io
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Literal, NamedTuple, TextIO

from .errors import DataError, RefusedError
from .text import Text, shown

Kind = Literal["json", "jsonl", "csv", "tsv", "parquet", "txt"]

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")

STORY_SUFFIX = ".txt"

# A registry of other programs, often beside the rows; it holds none.
NOT_ROWS = ("dataset_info.json", "dataset_infos.json")

ZIP_ENTRIES_LIMIT = 10_000

ZIP_UNPACKED_LIMIT_BYTES = 4_000_000_000

ZIP_RATIO_LIMIT = 200

ZIP_HARMLESS_BYTES = 10_000_000
"""So much may be unpacked at any ratio: a small file of repeated rows is no bomb."""

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")

ENCODING_NAMES = {
    "utf-8-sig": "UTF-8",
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "gb18030": "GB18030",
}

_CHUNK_BYTES = 1 << 20

_PLAUSIBLE_CHARACTERS = 4_000

_REPLACED = re.compile("锟斤拷|\ufffd{2}|烫烫烫|屯屯屯")

_BEYOND_ASCII = re.compile("[^\x00-\x7f\ufffd]+")

_CHINESE = re.compile("[\u2010-\uffee]+")

_LATIN_LEAD = re.compile("[\xc2-\xf4]")

_LOOKED_AT_CHARACTERS = 60

_UTF16_MARKS = re.compile('[\n\r\t ,;:"{}\\[\\]]')

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]", re.IGNORECASE)  # two letters at least: C:\ is a drive


class _Entry(NamedTuple):
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo


@dataclass(frozen=True, slots=True)
class Source:
    """One file of rows. `encoding` is Python's name of it, "" for parquet; `name` is for people, `stem` as it is."""

    name: str
    stem: str
    kind: Kind
    encoding: str
    size_bytes: int
    sha256: str
    origin: Path | _Entry

    @contextmanager
    def text(self, newline: str | None) -> Iterator[TextIO]:
        """The characters, from the start; `newline` as for `open`.

        Raises DataError where the content is no longer what it was when the source was found; that is known
        at the end, so it is told to whoever leaves the block normally.
        """
        with _open(self.origin, self.name) as file:
            watched = _Watched(file)
            buffered = io.BufferedReader(watched, _CHUNK_BYTES)
            stream = io.TextIOWrapper(buffered, self.encoding, newline=newline)
            try:
                yield stream
                while buffered.read(_CHUNK_BYTES):
                    pass
            except UnicodeDecodeError as error:  # it was decoded as a whole before
                raise changed(self.name) from error
            if watched.sha256.hexdigest() != self.sha256:
                raise changed(self.name)

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """The bytes, in a file that can be read at any place. Raises DataError as `text` does."""
        with _open(self.origin, self.name) as file:
            if isinstance(self.origin, Path):
                yield file
            else:
                with tempfile.TemporaryFile() as whole:
                    shutil.copyfileobj(file, whole)
                    whole.seek(0)
                    yield whole
        with _open(self.origin, self.name) as file:
            if _sha256_and_size(file)[0] != self.sha256:
                raise changed(self.name)


class Sources(NamedTuple):
    """The files of a dataset in the order in which they are read, and what their user should know of them."""

    files: tuple[Source, ...]
    notes: tuple[Text, ...]


def find_sources(path: Path) -> Sources:
    """All files of the dataset at `path`; every byte of them has been read once.

    Raises DataError where there is nothing to read, or an encoding is none of UTF-8, UTF-16 and GB18030;
    RefusedError for an archive that is damaged, encrypted, or holds links, archives or far too much.
    """
    origins, notes = _origins(path)
    files = tuple(_source(str(each), origin) for each, origin in origins)
    return Sources(files, (*_encoding_notes(files), *notes))


def find_text(path: Path) -> Sources:
    """One .txt file by itself, which `find_sources` takes only as part of a folder; raises DataError as that does."""
    name = shown(str(path))
    mode = _mode(path, name)
    if stat.S_ISDIR(mode) or path.suffix.lower() != STORY_SUFFIX:
        raise DataError(
            f"{name} 不是 .txt 文件；请给一个纯文本：压缩包先解压，Word 或 PDF 另存为 .txt",
            f"{name} is no .txt file; give one plain text: unpack an archive, save Word or PDF as .txt",
        )
    if not stat.S_ISREG(mode):
        raise _not_regular(name)
    files = (_source(name, path),)
    return Sources(files, tuple(_encoding_notes(files)))


def content_sha256(path: Path) -> str:
    """One hash of the names and bytes of all that `find_sources` would read; raises as that does where nothing is."""
    whole = hashlib.sha256()
    for each, origin in _origins(path)[0]:
        name = str(Path(each).relative_to(path)) if path.is_dir() else PurePath(each).name
        with _open(origin, shown(each)) as file:
            whole.update(f"{name}\0{_sha256_and_size(file)[0]}\0".encode())
    return whole.hexdigest()


def user_path(written: str) -> Path:
    """A path as people write it, with ~ for their own folder; ~somebody stays as it is where nobody is called so."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def require_there(path: Path) -> None:
    """Raises DataError where there is nothing at `path`, or nothing that may be read."""
    _mode(path, shown(str(path)))


def _origins(path: Path) -> tuple[list[tuple[str, Path | _Entry]], list[Text]]:
    """Every file of the dataset, and what its user should know of them."""
    name = shown(str(path))
    mode = _mode(path, name)
    suffix = path.suffix.lower()
    notes: list[Text] = []
    origins: list[tuple[str, Path | _Entry]]
    if stat.S_ISDIR(mode):
        origins = _rows_or_stories(_in_folder(path), name, notes)
    elif not stat.S_ISREG(mode):
        raise _not_regular(name)
    elif suffix == ".zip":
        origins = _rows_or_stories(_in_zip(path, name), name, notes)
    elif suffix in SUFFIXES:
        origins = [(str(path), path)]
    elif suffix == STORY_SUFFIX:
        raise DataError(
            f"{name} 是一篇文字；请写出它所在的文件夹（每个 .txt 是一篇故事）",
            f"{name} is one text; give the folder that holds it (each .txt is one story)",
        )
    else:
        raise DataError(
            f"{name} 的后缀不是 .json、.jsonl、.csv、.tsv、.parquet 或 .zip；请另存为其中一种",
            f"{name} does not end in .json, .jsonl, .csv, .tsv, .parquet or .zip; save it as one of these",
        )
    return origins, notes


def _encoding_notes(files: Sequence[Source]) -> list[Text]:
    by_encoding: dict[str, list[str]] = {}
    for file in files:
        if file.encoding:
            by_encoding.setdefault(ENCODING_NAMES[file.encoding], []).append(file.name)
    notes = []
    for encoding, names in by_encoding.items():
        if encoding == "UTF-8":
            continue
        zh = f"{names[0]} " if len(names) == 1 else f"{names[0]} 等 {len(names)} 个文件"
        en = f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are"
        notes.append(Text(f"{zh}是 {encoding} 编码，已照此读取", f"{en} in {encoding}, and read as such"))
    return notes


# Files, folders and archives


def _mode(path: Path, name: str) -> int:
    if _ADDRESS.match(str(path)):
        name = re.sub(r"[/\\]+", "//", name, count=1)  # a Path keeps only one of the two
        raise DataError(
            f"{name} 是网址，只能读本机上的文件；请先下载，再写下载后的路径",
            f"{name} is a web address, and only local files can be read; download it and give its path",
        )
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(
            f"找不到文件 {name}；请检查路径和文件名", f"no such file: {name}; check the path and the spelling"
        ) from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _in_folder(folder: Path) -> list[tuple[str, Path | _Entry]]:
    """Every file below the folder by name, but for hidden ones and what is in hidden folders."""
    found: list[tuple[str, Path | _Entry]] = []
    try:
        children = sorted(folder.iterdir(), key=lambda child: child.name)
    except OSError as error:
        raise _unreadable(shown(str(folder)), error) from error
    for child in children:
        if child.name.startswith("."):
            continue
        if child.is_dir() and not child.is_symlink():
            found += _in_folder(child)
        elif child.suffix.lower() in (*SUFFIXES, STORY_SUFFIX) and child.name not in NOT_ROWS:
            found.append((str(child), child))
    return found


def _rows_or_stories(
    found: list[tuple[str, Path | _Entry]], name: str, notes: list[Text]
) -> list[tuple[str, Path | _Entry]]:
    rows = [each for each in found if not each[0].lower().endswith(STORY_SUFFIX)]
    stories = len(found) - len(rows)
    if rows and stories:
        notes.append(
            Text(
                f"{name} 里有数据文件，所以没有读其中的 {stories} 个 .txt",
                f"{name} has files of rows, so its .txt files ({stories}) were not read",
            )
        )
    chosen = rows or found
    if not chosen:
        raise DataError(
            f"{name} 里没有数据文件（.json、.jsonl、.csv、.tsv、.parquet 或 .txt）；请检查路径",
            f"{name} holds no file of rows (.json, .jsonl, .csv, .tsv, .parquet or .txt); check the path",
        )
    for each, origin in chosen:
        # A folder from a stranger must not lead out of itself, for instance to a private key.
        if isinstance(origin, Path) and origin.is_symlink():
            raise RefusedError(
                f"{shown(each)} 是符号链接，文件夹里的链接不读；请换成文件本身",
                f"{shown(each)} is a link, and links inside a folder are not followed; put the file itself there",
            )
        if isinstance(origin, Path) and not origin.is_file():
            raise _not_regular(shown(each))
    return chosen


def _in_zip(path: Path, name: str) -> list[tuple[str, Path | _Entry]]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise _unreadable(name, error) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(name) from error
    entries = [info for info in archive.infolist() if not info.is_dir()]
    _refuse_bombs(name, path.stat().st_size, entries)
    found: list[tuple[str, Path | _Entry]] = []
    for info in entries:
        inner = _inner_name(info)
        # Where it would be unpacked to does not matter, as it never is.
        parts = [part for part in re.split(r"[/\\]", inner) if part not in ("", ".", "..")] or [""]
        suffix = PurePath(parts[-1]).suffix.lower()
        if stat.S_ISLNK(info.external_attr >> 16):
            what = Text("是符号链接", "is a link")
        elif info.flag_bits & 1:
            what = Text("加了密码", "is encrypted")
        elif suffix in ARCHIVES:
            what = Text("是压缩包里的压缩包", "is an archive inside the archive")
        else:
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
            if suffix in (*SUFFIXES, STORY_SUFFIX) and not hidden and parts[-1] not in NOT_ROWS:
                found.append((str(path / "/".join(parts)), _Entry(archive, info)))
            continue
        raise RefusedError(
            f"{name} 里的 {shown(inner)} {what.zh}，不读；请解压、整理后写出文件夹的路径",
            f"{shown(inner)} in {name} {what.en} and is not read; unpack the archive, tidy up and give the folder",
        )
    return sorted(found, key=lambda each: each[0])


def _refuse_bombs(name: str, packed_bytes: int, entries: Sequence[zipfile.ZipInfo]) -> None:
    # An entry is never read past the size it declares, so the sum of these bounds the work.
    unpacked_bytes = sum(info.file_size for info in entries)
    if len(entries) > ZIP_ENTRIES_LIMIT:
        what = Text(f"里有 {len(entries)} 个文件", f"holds {len(entries)} files")
    elif unpacked_bytes > ZIP_UNPACKED_LIMIT_BYTES:
        size_gb = f"{unpacked_bytes / 1e9:.1f} GB"
        what = Text(f"解压后有 {size_gb}", f"unpacks to {size_gb}")
    elif unpacked_bytes > max(ZIP_HARMLESS_BYTES, ZIP_RATIO_LIMIT * packed_bytes):
        ratio = unpacked_bytes // max(packed_bytes, 1)
        what = Text(f"解压后是原来的 {ratio} 倍大", f"unpacks to {ratio} times its size")
    else:
        return
    raise RefusedError(
        f"{name} {what.zh}，像是有害的压缩包，没有打开；若是自己的数据，请解压后写出文件夹的路径",
        f"{name} {what.en}, as harmful archives do, and was not opened; "
        "if the rows are yours, unpack it and give the folder",
    )


def _inner_name(info: zipfile.ZipInfo) -> str:
    """The name in an archive as its maker wrote it: Windows writes GBK where the format says cp437."""
    name = info.orig_filename
    if info.flag_bits & 0x800:  # marked as UTF-8
        return name
    for encoding in ("utf-8", "gb18030"):
        try:
            return name.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return name


@contextmanager
def _open(origin: Path | _Entry, name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file or of an entry; what goes wrong with them while the block runs is told in one line."""
    try:
        if isinstance(origin, Path):
            with origin.open("rb") as file:
                yield file
        else:
            with origin.archive.open(origin.info) as entry:
                yield entry
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _damaged(name) from error
    except OSError as error:
        raise _unreadable(name, error) from error


def changed(name: str) -> DataError:
    """For a file that is not the same from the first look to the last."""
    return DataError(
        f"{name} 在读取的过程中变了；请等它写完，再运行一次",
        f"{name} changed while it was being read; wait until it is complete, and run again",
    )


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(
        f"打不开 {name}（{error.strerror}）；请检查路径和权限",
        f"cannot read {name} ({error.strerror}); check the path and the permissions",
    )


def _not_regular(name: str) -> DataError:
    return DataError(
        f"{name} 不是普通文件（是管道或设备）；请先存成文件",
        f"{name} is not a regular file (a pipe or a device); save its content to a file first",
    )


def _damaged(name: str) -> RefusedError:
    return RefusedError(
        f"{name} 损坏了，或者不是 zip；请重新下载或重新打包",
        f"{name} is damaged or no zip; download or pack it again",
    )


class _Watched(io.RawIOBase):
    """A file that keeps the sha256 of what has been read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self.sha256.update(content)
        return len(content)


# The first look


def _sha256_and_size(file: IO[bytes]) -> tuple[str, int]:
    sha256, size_bytes = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK_BYTES):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return sha256.hexdigest(), size_bytes


class _Look(NamedTuple):
    """What one pass over a file by one encoding finds; `stopped` is (line, byte offset) of what is not in it."""

    encoding: str
    sha256: str
    size_bytes: int
    first: str
    stopped: tuple[int, int] | None


def _source(path: str, origin: Path | _Entry) -> Source:
    name, stem, suffix = shown(path), PurePath(path).stem, PurePath(path).suffix.lower()
    if suffix == ".parquet":
        with _open(origin, name) as file:
            sha256, size_bytes = _sha256_and_size(file)
        return Source(name, stem, "parquet", "", size_bytes, sha256, origin)
    look = _decodable(name, lambda encoding: _look(name, origin, encoding), _candidates(name, origin))
    if not look.first and suffix != STORY_SUFFIX:
        raise DataError(f"{name} 是空文件；请先写入数据", f"{name} is empty; write some rows first")
    kind: Kind
    if suffix in (".json", ".jsonl"):
        kind = "json" if look.first == "[" else "jsonl"
    else:
        kind = "csv" if suffix == ".csv" else "tsv" if suffix == ".tsv" else "txt"
    return Source(name, stem, kind, look.encoding, look.size_bytes, look.sha256, origin)


def _decodable(name: str, look: Callable[[str], _Look], candidates: Sequence[str]) -> _Look:
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


def _candidates(name: str, origin: Path | _Entry) -> tuple[str, ...]:
    """Encodings to try, by the first bytes of the file."""
    with _open(origin, name) as file:
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


def _look(name: str, origin: Path | _Entry, encoding: str) -> _Look:
    decoder = codecs.getincrementaldecoder(encoding)()
    sha256 = hashlib.sha256()
    size_bytes, line, first, other = 0, 1, "", ""
    with _open(origin, name) as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # What the decoder had kept of the chunk before counts as part of this one.
                offset = size_bytes - (len(error.object) - len(chunk)) + error.start
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                return _Look(encoding, "", size_bytes, "", (line, offset))
            sha256.update(chunk)
            size_bytes += len(chunk)
            line += text.count("\n")
            first = first or text.lstrip()[:1]
            if encoding == "gb18030" and len(other) < _PLAUSIBLE_CHARACTERS:
                other += "".join(char for char in text if char > "\x7f")[:_PLAUSIBLE_CHARACTERS]
            if not chunk:
                break
    stopped = (1, 0) if other and not _plausible(other) else None
    return _Look(encoding, sha256.hexdigest(), size_bytes, first, stopped)


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
