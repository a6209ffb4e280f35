"""Small files of strangers, read within bounds: regular, of limited size, plain JSON without duplicate keys."""

import json
import math
from pathlib import Path
from typing import Any

from ..errors import RefusedError, UsageError

CONFIG_LIMIT_BYTES = 1_000_000

SIDE_FILE_LIMIT_BYTES = 10_000_000

LFS_POINTER_START = b"version https://git-lfs"


def refused(where: str, zh: str, en: str) -> RefusedError:
    return RefusedError(f"{where}：{zh}", f"{where}: {en}")


def shown_value(value: object, limit: int = 80) -> str:
    """A stranger's value for a one-line message: no control characters, no endless text."""
    if isinstance(value, dict | list):
        # repr() of a deeply nested value could itself run out of stack.
        return "{…}" if isinstance(value, dict) else "[…]"
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in cut)


def damaged_file(path: Path, zh: str, en: str) -> RefusedError:
    """A fault that only a broken transfer or a forger makes."""
    return refused(
        shown_value(path.name),
        f"{zh}，文件已损坏；请重新下载这个文件",
        f"{en}, so the file is damaged; fetch this file again",
    )


def holds(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of this name, of whatever kind; what kind is told when it is read."""
    try:
        return any(entry.name == name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # ValueError: the path holds a NUL character.
        return False
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"打不开文件夹 {folder}（{reason}）；请检查路径和权限",
            f"the folder {folder} cannot be opened ({reason}); check the path and its permissions",
        ) from None


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    require_regular(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) > limit_bytes:
        raise too_large(shown_value(path.name), limit_bytes)
    refuse_lfs_pointer(path, data)
    return data


def require_regular(path: Path) -> None:
    # Opening a pipe or a device could wait for ever.
    if not path.is_file():
        raise refused(
            shown_value(path.name),
            "缺少这个文件，或者它不是普通文件；请重新下载",
            "missing, or not a plain file; fetch it again",
        )


def unreadable(path: Path, error: OSError) -> RefusedError:
    reason = error.strerror or type(error).__name__
    return refused(
        shown_value(path.name),
        f"无法读取（{reason}）；请检查文件权限",
        f"cannot be read ({reason}); check its permissions",
    )


def too_large(where: str, limit_bytes: int) -> RefusedError:
    limit = f"{limit_bytes // 1_000_000} MB" if limit_bytes >= 1_000_000 else f"{limit_bytes // 1_000} kB"
    return refused(
        where,
        f"超过 {limit}，正常的文件没有这么大；请从官方来源重新下载",
        f"over {limit}, which no sound file is; fetch it again from the official source",
    )


def refuse_lfs_pointer(path: Path, start: bytes) -> None:
    if start.startswith(LFS_POINTER_START):
        raise refused(
            shown_value(path.name),
            "这只是 Git LFS 的指针，不是文件本身；请在该文件夹里运行 git lfs pull",
            "this is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder",
        )


def read_json(path: Path, limit_bytes: int) -> Any:
    """What a json file holds; raises RefusedError unless it is a plain UTF-8 file of at most `limit_bytes`.

    Stricter than the json module: no key twice in one object (two readers could each take another one),
    no NaN or infinity; text that is nested too deeply is refused like any other damage.
    """
    return parse_json(read_bounded(path, limit_bytes), path)


def parse_json(data: bytes, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in pairs:
            key.encode("utf-8")  # half a surrogate pair is no text, and could not even be printed
            if key in known:
                raise damaged_file(path, f"“{shown_value(key)}”出现了两次", f'"{shown_value(key)}" appears twice')
            known[key] = value
        return known

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise damaged_file(path, f"{shown_value(text)} 不是有限的数", f"{shown_value(text)} is not a finite number")
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
    value = read_json(path, limit_bytes)
    if not isinstance(value, dict):
        raise damaged_file(path, "内容不是一个 JSON 对象", "it does not hold a JSON object")
    return value
