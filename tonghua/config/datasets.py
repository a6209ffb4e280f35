"""Names of rows as other trainers write them, turned into paths.

dataset: a.json,b.json                        ("a.json", "b.json"), unless a file has this very name
dataset: identity,alpaca_en_demo              the files that dataset_info.json in `dataset_dir` gives these names
datasets: [{path: a.json, type: alpaca}]      ("a.json",)
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..system.files import is_there, user_path
from ..text import shown
from .fields import NotAllowed

INFO: Final = "dataset_info.json"

USUAL_FOLDER: Final = "data"
"""Where LLaMA-Factory looks for `INFO` if `dataset_dir` is not set."""

MAX_INFO_BYTES: Final = 10_000_000

_WEIGHT: Final = re.compile(r"\*\d+(\.\d+)?$")

_PLAIN_NAME: Final = re.compile(r"[^/\\\s]+")

_ROLES: Final[Mapping[str, str]] = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "history": "history",
    "system": "system",
    "messages": "messages",
}
"""Column of dataset_info.json -> role here."""

_READ_ANYWAY: Final[Mapping[str, frozenset[str]]] = {
    "instruction": frozenset({"instruction", "prompt", "query", "question"}),
    "input": frozenset({"input"}),
    "output": frozenset({"output", "response", "answer"}),
    "history": frozenset({"history"}),
    "system": frozenset({"system"}),
    "messages": frozenset({"messages", "conversations", "conversation"}),
}
"""Names of columns that need no `columns`."""

_TAGS: Final = frozenset(
    {*("role", "content", "from", "value", "human", "user", "gpt", "assistant", "system"), "observation"}
    | {"function_call", "function", "tool"}
)
"""Tags of dataset_info.json that conversations may have here."""

_NEEDED: Final = ("images", "videos", "audios", "chosen", "rejected", "kto_tag")
"""Columns of dataset_info.json whose rows cannot be learned here."""

_LINES: Final = frozenset({"alpaca", "chat_template", "sharegpt", "chat", "messages", "openai", "instruction"})
"""Types of axolotl's rows that are recognized by their columns."""


def axolotl_paths(datasets: object) -> list[str]:
    """Return the paths in axolotl's `datasets`. Raises NotAllowed if an entry holds anything that changes the rows."""
    entries = datasets if isinstance(datasets, list | tuple) else [datasets]
    paths = []
    for entry in entries:
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        if not isinstance(path, str) or not path.strip():
            raise NotAllowed("每一项要有 path：数据文件的路径", "each entry needs a path, that of a file of rows")
        kind = entry.get("type", "alpaca") if isinstance(entry, Mapping) else "alpaca"
        if kind is not None and str(kind) not in _LINES:
            raise NotAllowed(
                f"{shown(path, 60)} 的 type 不支持；请去掉它，列名认不出时用 columns= 指明",
                f"the type of {shown(path, 60)} is not supported; leave it out, and name columns with columns=",
            )
        paths.append(path)
    return paths


def named(written: object, folder: str | None) -> tuple[object, dict[str, str] | None]:
    """Return the paths that `written` names, and their columns if these must be said.

    `written` is a validated `dataset`; `folder` is `dataset_dir`, or None. A name that is no dataset of
    dataset_info.json stays as it is. Raises NotAllowed if a dataset of that file cannot be read here.
    """
    if not isinstance(written, str | tuple):
        return written, None
    known = _info(folder)
    names = _split(written, known) if isinstance(written, str) else written
    found = [(_WEIGHT.sub("", name), name) for name in names]
    if not any(name in known and not is_there(user_path(name)) for name, _ in found):
        return (names[0] if isinstance(written, str) and len(names) == 1 else tuple(names)), None
    paths, columns = [], []
    for name, full in found:
        if name not in known or is_there(user_path(name)):
            paths.append(full)
            columns.append(dict[str, str]())
            continue
        path, roles = _read(name, known[name], user_path(folder or USUAL_FOLDER))
        paths.append(path + full.removeprefix(name))
        columns.append(roles)
    said = [roles for roles in columns if any(column not in _READ_ANYWAY[role] for role, column in roles.items())]
    if said and any(roles != said[0] for roles in columns):
        raise NotAllowed(
            f"几份数据的列名不同（{INFO} 里的 columns）；请把列名改成一样的，或一次只用一份",
            f"these datasets name their columns differently ({INFO}); rename them alike, or take one at a time",
        )
    return (paths[0] if len(paths) == 1 else tuple(paths)), (said[0] if said else None)


def _split(written: str, known: Mapping[str, object]) -> Sequence[str]:
    """Return the parts between commas if they are names of their own, else the one name."""
    parts = [part.strip() for part in written.split(",")]
    if len(parts) == 1 or not all(parts) or is_there(user_path(written)):
        return [written]
    stems = [_WEIGHT.sub("", part) for part in parts]
    # A path with a comma that is not there (yet) stays whole, so that its error names it as it was written.
    here = any(stem in known or is_there(user_path(stem)) for stem in stems)
    return parts if here or all(_PLAIN_NAME.fullmatch(stem) for stem in stems) else [written]


def _info(folder: str | None) -> Mapping[str, Any]:
    """Return the content of dataset_info.json; nothing if it is not there and no folder is named."""
    file = user_path(folder or USUAL_FOLDER) / INFO
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_INFO_BYTES + 1)
        found = json.loads(content.decode("utf-8-sig")) if len(content) <= MAX_INFO_BYTES else None
    except OSError as error:
        if folder is None:
            return {}
        raise NotAllowed(
            f"读不了 {file}（{error.strerror}）；数据请直接写文件的路径：dataset=文件.json",
            f"cannot read {file} ({error.strerror}); name the files of rows themselves: dataset=FILE.json",
        ) from None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if folder is None:
        return {}
    raise NotAllowed(
        f"{file} 不是一个 JSON 对象；数据请直接写文件的路径：dataset=文件.json",
        f"{file} is no JSON object; name the files of rows themselves: dataset=FILE.json",
    )


def _read(name: str, entry: object, folder: Path) -> tuple[str, dict[str, str]]:
    """Return the path of a dataset of dataset_info.json, and the column of each role it names."""
    file = entry.get("file_name") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(file, str) or not file:
        raise NotAllowed(
            f"{INFO} 没有给 {shown(name, 40)} 写 file_name（网上的数据不会自动下载）；请先下载，再写 dataset=文件",
            f"{INFO} gives {shown(name, 40)} no file_name (rows on a hub are not fetched); download them and write"
            " dataset=FILE",
        )
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    if not isinstance(columns, Mapping) or not isinstance(tags, Mapping):
        columns, tags = {}, {}
    unfit = [key for key in _NEEDED if columns.get(key)] + (["ranking"] if entry.get("ranking") else [])
    if unfit:
        raise NotAllowed(
            f"{shown(name, 40)} 是另一种训练的数据（{INFO} 里有 {unfit[0]}）；这里只学一问一答的文字",
            f"{shown(name, 40)} is for another kind of training ({INFO} has {unfit[0]}); only text is learned here",
        )
    strange = next((tag for tag in tags.values() if str(tag) not in _TAGS), None)
    if strange is not None:
        raise NotAllowed(
            f"{shown(name, 40)} 的对话用了 {shown(strange, 40)} 这样的名字；请改成 role、content、user、assistant",
            f"the conversations of {shown(name, 40)} use the name {shown(strange, 40)}; rename it to role, content,"
            " user or assistant",
        )
    roles = {_ROLES[key]: str(column) for key, column in columns.items() if key in _ROLES and column}
    return str(folder / file), roles
