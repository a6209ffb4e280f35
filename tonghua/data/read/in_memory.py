"""Rows that a script has in memory, kept as a file that is read like any other.

    [{"instruction": …, "output": …}, …]  ->  <home>/given/rows-in-memory-<hash>.jsonl, a row a line

The line of a row is its number. The file stays, so that a run on these rows can be resumed by another process.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import ResourceError, UsageError
from ...system.environment import home
from ...system.files import rename, write_durably
from ...text import shown


def as_named(key: str, value: Any) -> Any:
    """Return rows in memory as the path of a file with them, and any other value of a setting as it is.

    A list holds rows, and not paths, if its first item is an object or a list of messages.
    """
    if key not in ("dataset", "eval_dataset"):
        return value
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping | list):
        return str(kept_rows(value))
    if value is not None and not isinstance(value, str | PathLike | list | tuple):
        raise UsageError(
            f"{key} 应是路径、几个路径，或一个列表的字典；现在是 {type(value).__name__}，请先变成列表，"
            '例如 table.to_dict("records") 或 list(rows)',
            f"{key} must be a path, several paths, or a list of dicts, not {type(value).__name__}; make a list of it,"
            ' such as table.to_dict("records") or list(rows)',
        )
    return value


def kept_rows(rows: Sequence[Any]) -> Path:
    """Write the rows to a file, unless the same rows are there, and return its path.

    Raises UsageError, with the number of the row, if one is no JSON; ResourceError if they cannot be written.
    """
    content = b"".join(_line(number, row) for number, row in enumerate(rows, 1))
    path = home() / "given" / f"rows-in-memory-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    if path.is_file() and path.stat().st_size == len(content):
        return path
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(part, content)
        rename(part, path)
    except OSError as error:
        raise ResourceError(
            f"写不下内存里的数据：{path.parent}（{error.strerror}）；请腾出空间，或用环境变量 TONGHUA_HOME 换个地方",
            f"cannot keep the rows in memory in {path.parent} ({error.strerror}); make room, or name another place in"
            " the environment variable TONGHUA_HOME",
        ) from error
    return path


def _line(number: int, row: object) -> bytes:
    try:
        return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"第 {number} 条数据不能写成 JSON（{shown(str(error), 100)}）；只能有文字、数、真假、None、列表和字典",
            f"row {number} cannot be written as JSON ({shown(str(error), 100)}); it may hold texts, numbers, booleans,"
            " None, lists and dicts",
        ) from None


def _plain(row: object) -> object:
    """Return a mapping of any kind, such as a row of a library for tables, as a dict."""
    return dict(row) if isinstance(row, Mapping) else row
