"""Files that are whole on the disk or not there at all, and how a path is typed in a shell.

    write to .name.part -> wait for the disk -> rename -> wait for the folder

A crash between any two of these leaves the old file or the new one, never a part.
"""

import errno
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import ResourceError


def user_path(written: str) -> Path:
    """A path as people write it, with ~ for their own folder; ~somebody stays as it is where nobody is called so."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def rename(old: Path, new: Path) -> None:
    """Rename, over a file that has the name; on Windows that fails while somebody reads it, mostly for a moment."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            old.replace(new)
            return
        except PermissionError:
            time.sleep(0.1)
    old.replace(new)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as opened:
        opened.write(content)
        sync(opened)


def sync(opened: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    opened.flush()
    os.fsync(opened.fileno())
    if sys.platform == "darwin":
        import fcntl

        # There fsync leaves it in the memory of the disk itself (man 2 fsync); disks of other systems know no more.
        with suppress(OSError):
            fcntl.fcntl(opened.fileno(), fcntl.F_FULLFSYNC)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; on Windows a folder cannot be asked for that."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing for folders
            raise
    finally:
        os.close(opened)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the disk refuses inside becomes a ResourceError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"写不进 {path}：{error.strerror}；请腾出空间或换一个 output_dir",
            f"cannot write {path}: {error.strerror}; free some space or set another output_dir",
        ) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all. Raises ResourceError for a full or read-only disk."""
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            write_durably(part, content)
            rename(part, path)
        finally:
            part.unlink(missing_ok=True)


def quoted(path: Path) -> str:
    """A path as it can be typed in this system's shell."""
    return shlex.quote(str(path)) if os.name == "posix" else subprocess.list2cmdline([str(path)])


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Each file whole or not at all."""
    for name, content in files.items():
        write_atomic(folder / name, content)
