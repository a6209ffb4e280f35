"""List the data files in a zip archive, within size limits; nothing is unpacked to a path."""

import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePath

from ...errors import RefusedError
from ...text import Text, shown
from .opened import ArchiveEntry, damaged_archive, unreadable

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".xlsx")

STORY_SUFFIX = ".txt"

OTHER_TABLES = (".xls", ".xlsm", ".xlsb", ".ods", ".et", ".numbers")
"""Spreadsheets that are not read, and told."""

HIDDEN = (".", "~$")
"""How the names of files begin that are no data; Excel writes ~$ before the name of a workbook that is open."""

# Metadata of LLaMA-Factory and Hugging Face datasets, often next to the data. They hold no rows.
NOT_ROWS = ("dataset_info.json", "dataset_infos.json")

ZIP_ENTRIES_LIMIT = 10_000
"""Maximum files in an archive."""

ZIP_UNPACKED_LIMIT_BYTES = 4_000_000_000

ZIP_RATIO_LIMIT = 200
"""Maximum ratio of the unpacked size to the size of the archive."""

ZIP_HARMLESS_BYTES = 10_000_000
"""Unpacked size allowed at any ratio, in bytes: a small file of repeated rows is no zip bomb."""

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")


def zip_origins(path: Path, name: str) -> list[tuple[str, Path | ArchiveEntry]]:
    """Return (path, entry) of each data file in an archive, sorted by path, without hidden files and metadata.

    Raises DataError if the archive cannot be opened. Raises RefusedError if it is damaged or over a limit, or if it
    holds a link, an encrypted file or another archive.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise unreadable(name, error) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged_archive(name) from error
    entries = [info for info in archive.infolist() if not info.is_dir()]
    packed_bytes = path.stat().st_size
    _refuse_bombs(name, packed_bytes, entries)
    found: list[tuple[str, Path | ArchiveEntry]] = []
    for info in entries:
        inner = _inner_name(info)
        # ".." is harmless here: no entry is unpacked to its path.
        parts = [part for part in re.split(r"[/\\]", inner) if part not in ("", ".", "..")] or [""]
        suffix = PurePath(parts[-1]).suffix.lower()
        if stat.S_ISLNK(info.external_attr >> 16):
            what = Text("是符号链接", "is a link")
        elif info.flag_bits & 1:
            what = Text("加了密码", "is encrypted")
        elif suffix in ARCHIVES:
            what = Text("是压缩包里的压缩包", "is an archive inside the archive")
        else:
            hidden = any(part.startswith(HIDDEN) or part == "__MACOSX" for part in parts)
            if suffix in (*SUFFIXES, STORY_SUFFIX, *OTHER_TABLES) and not hidden and parts[-1] not in NOT_ROWS:
                found.append((str(path / "/".join(parts)), ArchiveEntry(archive, info, packed_bytes)))
            continue
        raise RefusedError(
            f"{name} 里的 {shown(inner)} {what.zh}，不读；请解压、整理后写出文件夹的路径",
            f"{shown(inner)} in {name} {what.en} and is not read; unpack the archive, tidy up and give the folder",
        )
    return sorted(found, key=lambda each: each[0])


def _refuse_bombs(name: str, packed_bytes: int, entries: Sequence[zipfile.ZipInfo]) -> None:
    # zipfile never reads an entry past its declared size, so the sum of these sizes bounds the work.
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
    """Return the file name as its author wrote it: the format says cp437, but Windows writes GBK."""
    name = info.orig_filename
    if info.flag_bits & 0x800:  # marked as UTF-8
        return name
    for encoding in ("utf-8", "gb18030"):
        try:
            return name.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return name
