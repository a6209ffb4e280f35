"""Open one file of a dataset, on disk or in an archive, and hash it to detect changes."""

import errno
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ...errors import DataError, RefusedError

CHUNK_BYTES = 1 << 20

HEAD_BYTES = 1 << 16
"""Bytes read at a time if only the start of a file is wanted."""


class ArchiveEntry(NamedTuple):
    """One file inside a zip archive."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    packed_bytes: int
    """Size of the whole archive."""


@contextmanager
def open_origin(origin: Path | ArchiveEntry, name: str) -> Iterator[IO[bytes]]:
    """Open a file or an archive entry in binary mode.

    An error while the block runs becomes RefusedError if the archive is damaged, or DataError if reading fails.
    """
    try:
        if isinstance(origin, Path):
            with origin.open("rb") as file:
                yield file
        else:
            with origin.archive.open(origin.info) as entry:
                yield entry
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise damaged_archive(name) from error
    except OSError as error:
        raise unreadable(name, error) from error


def changed(name: str) -> DataError:
    """Return the error for a file that changed while it was read."""
    return DataError(
        f"{name} 在读取的过程中变了；请等它写完，再运行一次",
        f"{name} changed while it was being read; wait until it is complete, and run again",
    )


def unreadable(name: str, error: OSError) -> DataError:
    """Return the error for a file that cannot be opened or read."""
    if error.errno == errno.ENAMETOOLONG:
        return DataError(
            f"打不开 {name}（名字太长）；请改短文件夹或文件的名字",
            f"cannot read {name} (its name is too long); give the file or its folders shorter names",
        )
    return DataError(
        f"打不开 {name}（{error.strerror}）；请检查路径和权限",
        f"cannot read {name} ({error.strerror}); check the path and the permissions",
    )


def damaged_archive(name: str) -> RefusedError:
    """Return the error for a damaged archive."""
    return RefusedError(
        f"{name} 损坏了，或者不是 zip；请重新下载或重新打包",
        f"{name} is damaged or no zip; download or pack it again",
    )


class Watched(io.RawIOBase):
    """A raw stream that keeps the sha256 of the bytes read so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """Return True, as io.BufferedReader requires."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into `buffer`; return the number of bytes, 0 at the end."""
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self.sha256.update(content)
        return len(content)


def stamp_of(file: IO[bytes]) -> tuple[int, int]:
    """Return size in bytes and time of the last change in ns of an open file."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def sha256_and_size(file: IO[bytes]) -> tuple[str, int]:
    """Read to the end; return (hex sha256, size in bytes)."""
    sha256, size_bytes = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return sha256.hexdigest(), size_bytes
