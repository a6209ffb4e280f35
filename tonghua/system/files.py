"""Write files completely or not at all, and quote paths for a shell.

    write to .name.part -> fsync the file -> rename -> fsync the folder

A crash between any two steps leaves the old file or the new one, never a part.
"""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import ResourceError
from ..text import one_line


def user_path(written: str) -> Path:
    """A path as people write it, with ~ for their own folder; ~somebody stays as it is where nobody is called so."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def is_there(path: Path) -> bool:
    """True if there is a file or a folder at `path`; False too for a name that the system cannot take."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a character that no name has
        return False


def is_folder(path: Path) -> bool:
    """True if there is a folder at `path`; False too for a name that the system cannot take."""
    return is_there(path) and path.is_dir()


def rename(old: Path, new: Path) -> None:
    """Rename, replacing an existing file. Retry for 2 s on Windows, where this fails while a process reads the file."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            old.replace(new)
            return
        except PermissionError:
            time.sleep(0.1)
    old.replace(new)


def put_in_place(part: Path, target: Path) -> None:
    """Rename a finished file or folder over another one, which gets its name back if that fails, and else is removed.

    Raises OSError.
    """
    if not is_there(target):
        rename(part, target)
        return
    old = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}.old")
    rename(target, old)
    try:
        rename(part, target)
    except BaseException:
        rename(old, target)
        raise
    with suppress(OSError):  # the new one stands
        remove(old)


def remove(path: Path) -> None:
    """Delete a file or a folder with all in it, if it is there; of a link, the link. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on disk."""
    with path.open("wb") as opened:
        opened.write(content)
        sync(opened)


def sync(opened: IO[Any]) -> None:
    """Wait until the written bytes are on disk."""
    opened.flush()
    os.fsync(opened.fileno())
    if sys.platform == "darwin":
        import fcntl

        # On macOS fsync may leave data in the drive's cache (man 2 fsync). Not every file system has F_FULLFSYNC.
        with suppress(OSError):
            fcntl.fcntl(opened.fileno(), fcntl.F_FULLFSYNC)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk. Does nothing on Windows, which cannot sync a folder."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system cannot sync folders
            raise
    finally:
        os.close(opened)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError inside the block to a ResourceError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"写不进 {path}：{error.strerror}；请腾出空间或换一个 output_dir",
            f"cannot write {path}: {error.strerror}; free some space or set another output_dir",
        ) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Raises OSError if it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        write_durably(part, content)
        rename(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file of a run as `replace_file` does. Raises ResourceError if it cannot, such as on a full disk."""
    with writing(path):
        replace_file(path, content)


def quoted(path: Path) -> str:
    """Return a path quoted for the shell of this system, so that it prints: $'a\\x1bb' if a character does not."""
    written = str(path)
    if os.name != "posix":
        return subprocess.list2cmdline([written])
    if written == one_line(written):
        return shlex.quote(written)
    return "$'" + "".join(map(_in_ansi_quotes, written)) + "'"


def _in_ansi_quotes(char: str) -> str:
    """Return a character as bash and zsh read it inside $'…'."""
    if char in "\\'":
        return "\\" + char
    if "\udc80" <= char <= "\udcff":  # a byte of a name that is not UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if char == one_line(char) else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file into `folder` with `write_atomic`."""
    for name, content in files.items():
        write_atomic(folder / name, content)


@contextmanager
def replacing(path: Path, needed_bytes: int = 0) -> Iterator[Path]:
    """Yield the path of a part to write in the block; it becomes the file at `path` when the block ends well.

    After any other end, Ctrl-C too, nothing is left behind. Raises ResourceError if the disk has less than
    `needed_bytes` free, or for an OSError in the block.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < needed_bytes:
            raise ResourceError(
                f"{path.parent} 所在磁盘只剩 {free / 1e9:.2f} GB，{path.name} 要 {needed_bytes / 1e9:.2f} GB；"
                "请腾出空间或换一个地方",
                f"the disk of {path.parent} has {free / 1e9:.2f} GB left and {path.name} takes"
                f" {needed_bytes / 1e9:.2f} GB; free some space or choose another place",
            )
        yield part
        with part.open("r+b") as opened:
            sync(opened)
        rename(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(
            f"写不进 {path}：{error.strerror or error}；请腾出空间或换一个地方",
            f"cannot write {path}: {error.strerror or error}; free some space or choose another place",
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
