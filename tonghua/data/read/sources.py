"""Find the files of a dataset; each is read once as a whole before it is used.

    rows.csv                      a file
    故事/  雪孩子.txt  月亮.txt      a folder: all its data files, or all .txt stories if it has no data file
    数据.zip                       an archive of either; nothing in it is unpacked to a path
        |
        |  find_sources: detect the kind and the encoding, compute the size and the sha256
        v
    Source(name="数据.zip/一.csv", kind="csv", encoding="gb18030", ...)
        |
        |  text(), file(): read again from the start, and verify the sha256
        v
    characters or bytes

Only regular local files are opened: no web address, no pipe, no device. A dataset that cannot be read is a
DataError; a damaged or harmful archive is a RefusedError.
"""

import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Literal, NamedTuple, TextIO

from ...errors import DataError, RefusedError
from ...text import Text, listed, shown
from .archives import HIDDEN, NOT_ROWS, OTHER_TABLES, STORY_SUFFIX, SUFFIXES, zip_origins
from .encodings import ENCODING_NAMES, candidates, decodable, look_through
from .opened import (
    CHUNK_BYTES,
    HEAD_BYTES,
    ArchiveEntry,
    Watched,
    changed,
    open_origin,
    sha256_and_size,
    stamp_of,
    unreadable,
)
from .signatures import ZIP_MARK, not_rows

FileKind = Literal["json", "jsonl", "csv", "tsv", "parquet", "xlsx", "txt"]

LINE_CHARACTERS = 1_000_000
"""Maximum characters of a first line that is looked at to tell one list a line from a JSON array."""

HEAD_CHARACTERS = 4_096

_BINARY: Mapping[str, tuple[FileKind, bytes]] = {".parquet": ("parquet", b"PAR1"), ".xlsx": ("xlsx", ZIP_MARK)}
"""Kind and first bytes of the files that are no text."""

_MESSAGE_BEGINS = re.compile(r'\s*\[\s*\{\s*"(role|from|content|value)"\s*:')

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]", re.IGNORECASE)  # at least two letters: C:\ is a drive


@dataclass(frozen=True, slots=True)
class RowSource:
    """One data file, or one sheet of a workbook. `name` is for messages; `stem` is unchanged.

    `encoding` is Python's codec name, "" for Parquet and Excel.
    """

    name: str
    stem: str
    kind: FileKind
    encoding: str
    size_bytes: int
    sha256: str
    origin: Path | ArchiveEntry
    packed_bytes: int = 0
    """Size of the compressed file that holds it, the archive or the file itself; 0 for plain text."""
    wrapper: str | None = None
    """The key of the list that holds the rows, if they stand in an object."""
    is_one_after_another: bool = False
    """True for JSON values that follow one another, not one a line."""
    stamp: tuple[int, int] | None = None
    """Size in bytes and time of the last change in ns, of a Parquet or Excel file outside an archive."""
    sheet: int = 0
    """0-based index of the sheet, of an Excel workbook."""

    @property
    def cells_are_text(self) -> bool:
        """True for a table whose cells are all text, also lists and empty ones."""
        return self.kind in ("csv", "tsv", "xlsx")

    @contextmanager
    def text(self, newline: str | None, whole: bool = True) -> Iterator[TextIO]:
        """Open as text from the start; `newline` is as for `open`.

        With `whole`, the rest is read when the block ends normally, and DataError is raised if the content has changed
        since the file was found.
        """
        with open_origin(self.origin, self.name) as file:
            watched = Watched(file)
            # No larger than the file: of many small files, the buffers would cost more than the reading.
            buffered = io.BufferedReader(watched, min(CHUNK_BYTES if whole else HEAD_BYTES, self.size_bytes + 1))
            stream = io.TextIOWrapper(buffered, self.encoding, newline=newline)
            try:
                yield stream
                while whole and buffered.read(HEAD_BYTES):
                    pass
            except UnicodeDecodeError as error:  # the whole file was decoded before
                raise changed(self.name) from error
            if whole and watched.sha256.hexdigest() != self.sha256:
                raise changed(self.name)

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Open as a seekable binary file. Raises DataError if it has changed since it was found."""
        with open_origin(self.origin, self.name) as file, ExitStack() as stack:
            if isinstance(self.origin, Path):
                yield file
                # Parquet is read here and there; its size and time tell a change without reading it all again.
                if stamp_of(file) != self.stamp:
                    raise changed(self.name)
                return
            # A file with a name, so that a child process can open it too.
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            whole = stack.enter_context((Path(folder) / "rows").open("w+b"))
            watched = Watched(file)
            shutil.copyfileobj(io.BufferedReader(watched, CHUNK_BYTES), whole)
            if watched.sha256.hexdigest() != self.sha256:
                raise changed(self.name)
            whole.flush()
            whole.seek(0)
            yield whole


class Sources(NamedTuple):
    """The files of a dataset in reading order, and notes on them for the user."""

    files: tuple[RowSource, ...]
    notes: tuple[Text, ...]
    content_sha256: str
    """Hex sha256 of the names and bytes of all files."""


def find_sources(path: Path) -> Sources:
    """Return all files of the dataset at `path`, after reading every byte of them once.

    Raises DataError if there is nothing to read, or an encoding is none of UTF-8, UTF-16 and GB18030. Raises
    RefusedError if an archive is damaged, encrypted, over a limit, or holds a link or an archive; or if a folder's
    file is a link.
    """
    origins, notes = _origins(path)
    files = tuple(_source(str(each), origin) for each, origin in origins)
    whole = hashlib.sha256()
    is_folder = path.is_dir()
    for (each, _), file in zip(origins, files, strict=True):
        name = str(PurePath(each).relative_to(path)) if is_folder else PurePath(each).name
        whole.update(f"{name}\0{file.sha256}\0".encode())
    return Sources(files, (*_encoding_notes(files), *notes), whole.hexdigest())


def packed_bytes(files: Sequence[RowSource]) -> int:
    """Return the bytes of all compressed files on disk; an archive counts once."""
    archive = max((file.packed_bytes for file in files if not isinstance(file.origin, Path)), default=0)
    return archive + sum({file.origin: file.packed_bytes for file in files if isinstance(file.origin, Path)}.values())


def find_text(path: Path) -> tuple[RowSource, tuple[Text, ...]]:
    """Return a single .txt file, which `find_sources` accepts only in a folder. Raises DataError as that does."""
    name = shown(str(path))
    mode = _mode(path, name)
    if stat.S_ISDIR(mode) or path.suffix.lower() != STORY_SUFFIX:
        raise DataError(
            f"{name} 不是 .txt 文件；请给一个纯文本：压缩包先解压，Word 或 PDF 另存为 .txt",
            f"{name} is no .txt file; give one plain text: unpack an archive, save Word or PDF as .txt",
        )
    if not stat.S_ISREG(mode):
        raise _not_regular(name)
    file = _source(name, path)
    return file, tuple(_encoding_notes((file,)))


def require_there(path: Path) -> None:
    """Raise DataError if `path` does not exist or cannot be accessed."""
    _mode(path, shown(str(path)))


def _origins(path: Path) -> tuple[list[tuple[str, Path | ArchiveEntry]], list[Text]]:
    """Return (path, origin) of each file of the dataset, and notes for the user."""
    name = shown(str(path))
    mode = _mode(path, name)
    suffix = path.suffix.lower()
    notes: list[Text] = []
    origins: list[tuple[str, Path | ArchiveEntry]]
    if stat.S_ISDIR(mode):
        origins = _rows_or_stories(_in_folder(path), name, notes)
    elif not stat.S_ISREG(mode):
        raise _not_regular(name)
    elif suffix == ".zip":
        origins = _rows_or_stories(zip_origins(path, name), name, notes)
    elif suffix in SUFFIXES:
        origins = [(str(path), path)]
    elif suffix in OTHER_TABLES:
        raise _other_table(name, suffix)
    elif suffix == STORY_SUFFIX:
        raise DataError(
            f"{name} 是一篇文字；请写出它所在的文件夹（每个 .txt 是一篇故事）",
            f"{name} is one text; give the folder that holds it (each .txt is one story)",
        )
    else:
        raise DataError(
            f"{name} 的后缀不是 .json、.jsonl、.csv、.tsv、.parquet、.xlsx 或 .zip；请另存为其中一种",
            f"{name} does not end in .json, .jsonl, .csv, .tsv, .parquet, .xlsx or .zip; save it as one of these",
        )
    return origins, notes


def _encoding_notes(files: Sequence[RowSource]) -> list[Text]:
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


def _mode(path: Path, name: str) -> int:
    if _ADDRESS.match(str(path)):
        name = re.sub(r"[/\\]+", "//", name, count=1)  # Path merges the two slashes into one
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
        raise unreadable(name, error) from error


def _in_folder(folder: Path) -> list[tuple[str, Path | ArchiveEntry]]:
    """Return the data files and stories below the folder, sorted by name; skip hidden files and folders."""
    found: list[tuple[str, Path | ArchiveEntry]] = []
    ahead = _children(str(folder))
    while ahead:  # no recursion: folders may be thousands deep
        child = ahead.pop()
        if child.is_dir(follow_symlinks=False):
            ahead += _children(child.path)
        elif (
            PurePath(child.name).suffix.lower() in (*SUFFIXES, STORY_SUFFIX, *OTHER_TABLES)
            and child.name not in NOT_ROWS
        ):
            found.append((child.path, Path(child.path)))
    return found


def _children(folder: str) -> list[os.DirEntry[str]]:
    """Return what a folder holds and does not hide, the last name first."""
    try:
        with os.scandir(folder) as scanned:
            children = [child for child in scanned if not child.name.startswith(HIDDEN)]
    except OSError as error:
        raise unreadable(shown(folder), error) from error
    return sorted(children, key=lambda child: child.name, reverse=True)


def _rows_or_stories(
    found: list[tuple[str, Path | ArchiveEntry]], name: str, notes: list[Text]
) -> list[tuple[str, Path | ArchiveEntry]]:
    tables = [each for each, _ in found if each.lower().endswith(OTHER_TABLES)]
    found = [each for each in found if not each[0].lower().endswith(OTHER_TABLES)]
    if tables and not found:
        raise _other_table(shown(tables[0]), PurePath(tables[0]).suffix)
    if tables:
        others = listed([PurePath(each).name for each in tables])
        notes.append(
            Text(
                f"没有读的表格：{others.zh}（另存为 .xlsx 才读）",
                f"spreadsheets not read: {others.en} (they are if saved as .xlsx)",
            )
        )
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
            f"{name} 里没有数据文件（.json、.jsonl、.csv、.tsv、.parquet、.xlsx 或 .txt）；请检查路径",
            f"{name} holds no file of rows (.json, .jsonl, .csv, .tsv, .parquet, .xlsx or .txt); check the path",
        )
    for each, origin in chosen:
        # A link in a folder from elsewhere could point outside of it, for example to a private key.
        if isinstance(origin, Path) and origin.is_symlink():
            raise RefusedError(
                f"{shown(each)} 是符号链接，文件夹里的链接不读；请换成文件本身",
                f"{shown(each)} is a link, and links inside a folder are not followed; put the file itself there",
            )
        if isinstance(origin, Path) and not origin.is_file():
            raise _not_regular(shown(each))
    return chosen


def _other_table(name: str, suffix: str) -> DataError:
    return DataError(
        f"{name} 是表格，但不读 {suffix}；请另存为 .xlsx 或 CSV UTF-8",
        f"{name} is a spreadsheet, but {suffix} is not read; save it as .xlsx or CSV UTF-8",
    )


def _not_regular(name: str) -> DataError:
    return DataError(
        f"{name} 不是普通文件（是管道或设备）；请先存成文件",
        f"{name} is not a regular file (a pipe or a device); save its content to a file first",
    )


def _source(path: str, origin: Path | ArchiveEntry) -> RowSource:
    name, stem, suffix = shown(path), PurePath(path).stem, PurePath(path).suffix.lower()
    with open_origin(origin, name) as file:
        start = file.read(HEAD_BYTES)
        if start.startswith(ZIP_MARK):  # the names of what is in it stand at its end
            file.seek(max(0, file.seek(0, os.SEEK_END) - HEAD_BYTES))
            start += file.read()
    foreign = not_rows(name, start)
    own = _BINARY.get(suffix)
    if foreign and not (own and start.startswith(own[1])):
        raise foreign
    if own and start:
        with open_origin(origin, name) as file:
            sha256, size_bytes = sha256_and_size(file)
            stamp = stamp_of(file) if isinstance(origin, Path) else None
        packed_bytes = size_bytes if isinstance(origin, Path) else origin.packed_bytes
        return RowSource(name, stem, own[0], "", size_bytes, sha256, origin, packed_bytes, stamp=stamp)
    look = decodable(name, lambda encoding: look_through(name, origin, encoding), candidates(start))
    if not look.first and suffix != STORY_SUFFIX:
        raise DataError(f"{name} 是空文件；请先写入数据", f"{name} is empty; write some rows first")
    kind: FileKind
    if suffix in (".json", ".jsonl"):
        kind = "json" if look.first == "[" else "jsonl"
    else:
        kind = "csv" if suffix == ".csv" else "tsv" if suffix == ".tsv" else "txt"
    packed_bytes = 0 if isinstance(origin, Path) else origin.packed_bytes
    source = RowSource(name, stem, kind, look.encoding, look.size_bytes, look.sha256, origin, packed_bytes)
    return replace(source, kind="jsonl") if kind == "json" and _has_a_list_on_each_line(source) else source


def _has_a_list_on_each_line(source: RowSource) -> bool:
    """True if the first line is a whole list of messages: each line is then a row, and the file is no JSON array."""
    with source.text(newline="\n", whole=False) as stream:
        line = next(filter(str.strip, iter(partial(stream.readline, HEAD_CHARACTERS), "")), "")
        if not _MESSAGE_BEGINS.match(line):
            return False
        line += stream.readline(LINE_CHARACTERS) if not line.endswith("\n") else ""
    try:
        first = json.loads(line) if line.rstrip().endswith("]") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(first, list) and bool(first) and all(isinstance(item, dict) and _speaks(item) for item in first)


def _speaks(item: Mapping[str, object]) -> bool:
    return any(key in item for key in ("role", "from")) and any(key in item for key in ("content", "value"))
