"""Rows that a script has in memory, kept as a file that is read like any other.

    [{"instruction": …, "output": …}, …]  ->  <home>/given/rows-in-memory-<hash>.jsonl, a row a line

The line of a row is its number. The file stays, so that a run on these rows can be resumed by another process.
What a library for tables holds becomes what JSON has: its numbers plain ones, its times texts, its missing values NaN.
"""

import datetime
import decimal
import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

from ...errors import ResourceError, UsageError
from ...system.environment import home
from ...system.files import replace_file
from ...text import shown


def as_named(key: str, value: Any) -> Any:
    """Return rows in memory as the path of a file with them, and any other value of a setting as it is.

    A list holds rows, and not paths, if any item is an object or a list of messages.
    """
    if key not in ("dataset", "eval_dataset"):
        return value
    if isinstance(value, list | tuple) and any(isinstance(row, Mapping | list) for row in value):
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise ResourceError(
            f"写不下内存里的数据：{path.parent}（{error.strerror}）；请腾出空间，或用环境变量 TONGHUA_HOME 换个地方",
            f"cannot keep the rows in memory in {path.parent} ({error.strerror}); make room, or name another place in"
            " the environment variable TONGHUA_HOME",
        ) from error
    return path


def _line(number: int, row: object) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, default=_plain).encode() + b"\n"
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"第 {number} 条数据不能写成 JSON（{shown(str(error), 100)}）；只能有文字、数、真假、None、列表和字典",
            f"row {number} cannot be written as JSON ({shown(str(error), 100)}); it may hold texts, numbers, booleans,"
            " None, lists and dicts",
        ) from None


_AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, PurePath)

_MISSING = ("NAType", "NaTType")
"""Names of the types of pandas.NA and pandas.NaT; no comparison tells them, and pandas need not be there."""


def _plain(value: object) -> object:
    """Return a value that JSON does not have as one that it has. Raises TypeError if there is none."""
    if isinstance(value, Mapping):  # such as a row of a library for tables
        return dict(value)
    if type(value).__name__ in _MISSING:
        return math.nan
    if isinstance(value, _AS_TEXT):
        return str(value)
    if callable(listed := getattr(value, "tolist", None)):  # a number or an array of NumPy
        return listed()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
