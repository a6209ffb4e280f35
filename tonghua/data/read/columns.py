"""Detect which columns of a file hold which part of a conversation.

    {"instruction", "input", "output", "system", "history"}     Alpaca, by these names or by others: query and response,
                                                                prompt and completion, 问题 and 回答
    {"messages": [{"role", "content"}, ...]}                    OpenAI; content may be a list of text parts
    [{"role", "content"}, ...]                                  the same list as a row
    {"conversations": [{"from", "value"}, ...]}                 ShareGPT
    {"conversation": [{"system", "input", "output"}, ...]}      XTuner
    {"conversation": [{"human", "assistant"}, ...]}             Firefly, ms-swift
    {"prompt": [messages], "completion": [messages]}            the two halves of a list of messages
        |
        |  find_columns: by the column names, and by which columns are filled in the first rows
        v
    ColumnMap(form="alpaca", names=(("instruction", "问题"), ("output", "回答")))
        |
        |  RowReader.messages
        v
    [Message, ...] or faults

The map is part of every result, so no column is renamed silently. If two columns fit one role, the user must choose.
"""

from collections.abc import Mapping, Sequence

from ...errors import DataError, UsageError
from ...text import Text, listed, shown
from .conversations import RowReader
from .foreign import foreign_form
from .roles import (
    KNOWN,
    OTHER_NAMES,
    ROLE_NAMES,
    ROLE_OF,
    ColumnMap,
    ColumnSample,
    Form,
    later_role,
    resembled,
    role_named,
)


def find_columns(
    sample: ColumnSample, name: str, separated: bool = False, columns: Mapping[str, str] | None = None
) -> ColumnMap:
    """Return the column map of a file; `name` is its name in messages.

    `columns` maps role to column and overrides the detection. `separated` is True for CSV and TSV. Raises
    UsageError if a role is unknown. Raises DataError if a needed column is missing, two columns fit one role, or
    every row fills a column that must not be ignored.
    """
    names = tuple(dict.fromkeys(key for row in sample.rows for key in row))
    asked = _asked(columns or {}, names, name)
    if not names:
        return ColumnMap("alpaca", ())  # no row is an object: RowReader reports each
    filled = {key for row in sample.rows for key, holds in row.items() if holds}
    candidates = _candidates(names, filled, asked)
    form = _form(candidates, names, asked)
    if form is None:
        raise _missing(candidates, names, name, separated)
    roles = [role for role in KNOWN[form] if candidates.get(role)]
    for role in roles:
        if len(candidates[role]) > 1:
            raise _ambiguous(role, candidates[role], name)
    found = ColumnMap(form, tuple((role, candidates[role][0]) for role in roles), tuple(asked))
    _refuse_everywhere(sample, RowReader(found), name)
    return found


def require_columns(
    names: Sequence[str], name: str, separated: bool = False, columns: Mapping[str, str] | None = None
) -> None:
    """Raise DataError if a table with these names in its header lacks a needed column, whatever its rows hold."""
    asked = _asked(columns or {}, names, name)
    candidates = _candidates(names, set(names), asked)
    if names and _form(candidates, names, asked) is None:
        raise _missing(candidates, names, name, separated)


def _asked(columns: Mapping[str, str], names: Sequence[str], name: str) -> dict[str, str]:
    for role, column in columns.items():
        if role not in OTHER_NAMES:
            roles = "、".join(OTHER_NAMES), ", ".join(OTHER_NAMES)
            raise UsageError(
                f"columns 里没有 {shown(role, 40)} 这一项；可用的有 {roles[0]}",
                f"columns knows no {shown(role, 40)}; there are {roles[1]}",
            )
        if column and names and column not in names:
            found = listed(names)
            raise DataError(
                f"{name} 没有 columns 里写的 {shown(column, 40)} 这一列；现有的列：{found.zh}",
                f"{name} has no column {shown(column, 40)}, which columns names; columns found: {found.en}",
            )
    return dict(columns)


def _candidates(names: Sequence[str], filled: set[str], asked: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns that fit each role: the one the user named, else all filled ones, else one empty one."""
    candidates: dict[str, list[str]] = {role: [column] for role, column in asked.items() if column}
    taken = set(asked.values())
    empty: dict[str, list[str]] = {}
    for column in names:
        role = role_named(column)
        if role and role not in asked and column not in taken:
            (candidates if column in filled else empty).setdefault(role, []).append(column)
    for role, columns in empty.items():
        if role not in candidates:
            candidates[role] = [role] if role in columns else columns[:1]
    if candidates.get("messages"):
        return candidates
    asks = bool(candidates.get("instruction") or candidates.get("input"))
    missing = {"instruction": not asks, "output": not candidates.get("output")}
    for column in names:
        role = later_role(column)
        if role and missing[role] and role not in asked and column not in taken and column in filled:
            candidates.setdefault(role, []).append(column)
    return candidates


def _form(candidates: Mapping[str, list[str]], names: Sequence[str], asked: Mapping[str, str]) -> Form | None:
    question = candidates.get("instruction") or candidates.get("input")
    answer, talk = candidates.get("output"), candidates.get("messages")
    pair = bool(question and answer)
    if not (pair and talk):
        return "messages" if talk else "alpaca" if pair else None
    assert answer and talk
    if any(asked.get(role) for role in ("messages", "instruction", "output")):
        return "messages" if asked.get("messages") else "alpaca"
    # Both forms are there: take the one whose column has the role's own name, else the one that comes first.
    own = "output" in answer, "messages" in talk
    if own[0] != own[1]:
        return "alpaca" if own[0] else "messages"
    return "alpaca" if names.index(answer[0]) < names.index(talk[0]) else "messages"


def _missing(candidates: Mapping[str, list[str]], names: Sequence[str], name: str, separated: bool) -> DataError:
    form = foreign_form(names[:100])
    if form:
        (zh, en), mend = form
        return DataError(f"{name} {zh}；{mend.zh}", f"{name} {en}; {mend.en}")
    missing = [] if candidates.get("instruction") or candidates.get("input") else ["instruction"]
    missing += [] if candidates.get("output") else ["output"]
    near = {column: resembled(column, tuple(ROLE_OF)) for column in names[:12] if not role_named(column)}
    zh = "".join(f"（{shown(column, 40)} 像是 {target} 写错了）" for column, target in near.items() if target)
    en = "".join(f' ("{shown(column, 40)}" looks like {target})' for column, target in near.items() if target)
    found, lacking = listed(list(filter(None, names))), listed(missing)
    if len(names) == 1 and separated:
        zh, en = zh + "（各列要用英文逗号隔开）", en + " (columns are separated by commas)"
    return DataError(
        f"{name} 没有 {lacking.zh} 这样的列；现有的列：{found.zh}{zh}；"
        "需要 instruction（或 input）和 output，或者 messages；列名不同时用 columns= 指明",
        f"{name} has no column {lacking.en}; columns found: {found.en}{en}; "
        "expected: instruction (or input) and output, or messages; name others with columns=",
    )


def _ambiguous(role: str, columns: Sequence[str], name: str) -> DataError:
    found, what, first = listed(columns), ROLE_NAMES[role], shown(columns[0], 40)
    return DataError(
        f"{name} 里 {found.zh} 都像是{what.zh}；请写明用哪一列，例如 columns={role}:{first}",
        f"in {name}, {found.en} could each be {what.en}; say which to use, such as columns={role}:{first}",
    )


def _refuse_everywhere(sample: ColumnSample, reader: "RowReader", name: str) -> None:
    """Raise DataError if every row fills a refused column: one error instead of one for each row."""
    for column in dict.fromkeys(key for row in sample.rows for key in row):
        refusal = reader.refusal(column)
        if refusal and all(row.get(column) for row in sample.rows):
            (what, mend), count = refusal, len(sample.rows)
            each = Text("每一条", "every row") if sample.whole else Text(f"前 {count} 条", f"each of the first {count}")
            raise DataError(f"{name}：{each.zh}都{what.zh}；{mend.zh}", f"{name}: {each.en} {what.en}; {mend.en}")
