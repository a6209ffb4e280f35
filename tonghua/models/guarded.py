"""Read small untrusted files within limits: regular files, bounded size, JSON without duplicate keys."""

import json
import math
from pathlib import Path
from typing import Any

from ..errors import RefusedError, UsageError
from ..text import shown

CONFIG_LIMIT_BYTES = 1_000_000
"""Maximum size of config.json, adapter_config.json and MANIFEST.json, in bytes."""

SIDE_FILE_LIMIT_BYTES = 10_000_000
"""Maximum size of the other JSON files, such as the index of the shards, in bytes."""

LFS_POINTER_START = b"version https://git-lfs"


def refused(where: str, zh: str, en: str) -> RefusedError:
    """Return a RefusedError that starts with the file or place `where`."""
    return RefusedError(f"{where}：{zh}", f"{where}: {en}")


def damaged_file(path: Path, zh: str, en: str) -> RefusedError:
    """Return the error for damage that only a broken transfer or a forged file explains."""
    return refused(
        shown(path.name, 80),
        f"{zh}，文件已损坏；请重新下载这个文件",
        f"{en}, so the file is damaged; fetch this file again",
    )


def holds(folder: Path, name: str) -> bool:
    """True if the folder has an entry of this name, of any type; the type is checked when it is read.

    Raises UsageError if the folder cannot be opened.
    """
    try:
        return any(entry.name == name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # ValueError: the path contains a NUL character.
        return False
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"打不开文件夹 {folder}（{reason}）；请检查路径和权限",
            f"the folder {folder} cannot be opened ({reason}); check the path and its permissions",
        ) from None


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises RefusedError if it is no regular file, cannot be read, is over `limit_bytes` or is a Git LFS pointer.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) > limit_bytes:
        raise too_large(shown(path.name, 80), limit_bytes)
    refuse_lfs_pointer(path, data)
    return data


def require_regular(path: Path) -> None:
    """Raise RefusedError unless the path is a regular file."""
    # Opening a pipe or a device could block forever.
    if not path.is_file():
        raise refused(
            shown(path.name, 80),
            "缺少这个文件，或者它不是普通文件；请重新下载",
            "missing, or not a plain file; fetch it again",
        )


def unreadable(path: Path, error: OSError) -> RefusedError:
    """Return the error for a file that the OS cannot read."""
    reason = error.strerror or type(error).__name__
    return refused(
        shown(path.name, 80),
        f"无法读取（{reason}）；请检查文件权限",
        f"cannot be read ({reason}); check its permissions",
    )


def too_large(where: str, limit_bytes: int) -> RefusedError:
    """Return the error for a file or text over `limit_bytes`."""
    limit = f"{limit_bytes // 1_000_000} MB" if limit_bytes >= 1_000_000 else f"{limit_bytes // 1_000} kB"
    return refused(
        where,
        f"超过 {limit}，正常的文件没有这么大；请从官方来源重新下载",
        f"over {limit}, which no sound file is; fetch it again from the official source",
    )


def refuse_lfs_pointer(path: Path, start: bytes) -> None:
    """Raise RefusedError if `start`, the first bytes of the file, begins a Git LFS pointer."""
    if start.startswith(LFS_POINTER_START):
        raise refused(
            shown(path.name, 80),
            "这只是 Git LFS 的指针，不是文件本身；请在该文件夹里运行 git lfs pull",
            "this is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder",
        )


def read_json(path: Path, limit_bytes: int) -> Any:
    """Return the content of a JSON file. Raises RefusedError unless it is UTF-8 of at most `limit_bytes`.

    Stricter than the json module: no duplicate key in an object (two readers could use different ones), no NaN,
    no infinity. JSON that is nested too deeply is refused as damage.
    """
    return parse_json(read_bounded(path, limit_bytes), path)


def parse_json(data: bytes, path: Path) -> Any:
    """Parse JSON as strictly as `read_json` does; messages name `path`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in pairs:
            key.encode("utf-8")  # a lone surrogate is not text and cannot be printed
            if key in known:
                raise damaged_file(path, f"“{shown(key, 80)}”出现了两次", f'"{shown(key, 80)}" appears twice')
            known[key] = value
        return known

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise damaged_file(path, f"{shown(text, 80)} 不是有限的数", f"{shown(text, 80)} is not a finite number")
        return number

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except json.JSONDecodeError as error:
        place = f"{error.lineno}:{error.colno}"
        raise damaged_file(path, f"不是正确的 JSON（行:列 {place}）", f"not valid JSON (line:column {place})") from None
    except UnicodeError:
        raise damaged_file(path, "不是 UTF-8 文本", "not UTF-8 text") from None
    except (RecursionError, ValueError):
        raise damaged_file(
            path, "JSON 嵌套太深或数字太长", "its JSON is nested too deeply or a number is too long"
        ) from None


def read_object(path: Path, limit_bytes: int) -> dict[str, Any]:
    """Return the JSON object in a file. Raises RefusedError as `read_json` does, and if it is not an object."""
    value = read_json(path, limit_bytes)
    if not isinstance(value, dict):
        raise damaged_file(path, "内容不是一个 JSON 对象", "it does not hold a JSON object")
    return value
