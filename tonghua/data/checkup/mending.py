"""A mended copy of a dataset: the same rows and columns, without invisible characters and exact duplicates.

    rows.csv ──fix──► OUT.csv                        the same rows and columns, mended
                      OUT.csv.changes.txt            第 3 行：去掉 1 个看不见的字符（U+200B）

The source is never written. `fix` writes both files completely or not at all, and lists every change.
"""

import csv
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic_core import to_jsonable_python

from ...errors import DataError, ResourceError, UsageError
from ...prompt.conversation import Conversation, Message
from ...system.files import rename, sync
from ...text import Language, Text, shown
from ..read import dataset as data
from ..read.conversations import stands_for_nothing
from ..read.faults import Found
from ..read.keys import MARKS, REASONING, kind_of
from ..read.roles import KNOWN, ROLE_OF, ColumnMap
from ..read.speakers import round_part
from .blemishes import mend
from .duplicates import folded
from .fixed import FIRST_CHANGES, Change, Fixed
from .places import RowPlace, numbered
from .privacy import redact as redacted

_MOST_DIGITS = 4_000


def fix(
    dataset: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    redact: bool = False,
    force: bool = False,
    language: Language = "zh",
    refusal: Callable[[Conversation], Text | None] = lambda row: None,
) -> Fixed:
    """Write a mended copy of a dataset to `out` and its changes to `out`.changes.txt, both in UTF-8; return a summary.

    JSON, JSONL, CSV and TSV keep their format, and rows keep all their columns. Parquet, Excel, folders and
    archives become one JSONL. Removes invisible characters, trailing white space, exact copies of earlier rows, and
    unusable rows; normalises text to NFC; `redact` covers personal data. Unchanged rows of a single file are copied as
    written. Memory holds one row, plus a hash and a place for each.

    `columns` is as for `data.stream_rows`, and all that it raises is raised here too. `refusal` says why a model takes
    no such row, which is then left out; None if it does. Raises UsageError if `out` is
    the dataset or in it, has the wrong suffix, has no folder, or exists without `force`. Raises ResourceError if a
    file cannot be written. Raises DataError if no row is left; then nothing is written.
    """
    stream = data.stream_rows(dataset, columns)
    kind = _kind_of_copy(dataset, stream)
    changes = out.with_name(f"{out.name}.changes.txt")
    _refuse_target(dataset, out, changes, kind, force)
    # Without a byte-order mark, Excel reads a CSV in UTF-8 as GBK.
    marked = kind in ("csv", "tsv") and stream.sources[0].encoding != "utf-8"
    with _both_or_none(out, changes, "utf-8-sig" if marked else "utf-8") as (copied, noted):
        mender = _Mender(stream, _Copy(copied, kind), noted, redact, language, refusal)
        for number, row, raw in _with_raw(stream):
            mender.add(number, row, raw)
        return mender.end(out, changes)


_CopyKind = Literal["json", "jsonl", "csv", "tsv"]


def _kind_of_copy(dataset: Path, stream: data.RowStream) -> _CopyKind:
    kind = stream.sources[0].kind
    alone = dataset.is_file() and dataset.suffix.lower() != ".zip"
    return kind if alone and kind != "parquet" and kind != "xlsx" and kind != "txt" else "jsonl"


def _refuse_target(dataset: Path, out: Path, changes: Path, kind: _CopyKind, force: bool) -> None:
    name, source = shown(str(out)), shown(str(dataset))
    suffixes = (".json", ".jsonl") if kind in ("json", "jsonl") else (f".{kind}",)
    if out.suffix.lower() not in suffixes:
        raise UsageError(
            f"修好的数据是 {kind.upper()} 格式，不能叫 {name}；请写成 {shown(out.stem)}.{kind}",
            f"the mended rows are {kind.upper()} and cannot be called {name}; write {shown(out.stem)}.{kind}",
        )
    if out.exists() and out.samefile(dataset):
        raise UsageError(
            f"{name} 就是原来的数据，不会改动它；请换一个文件名",
            f"{name} is the source itself, which is never changed; choose another name",
        )
    if dataset.is_dir() and dataset.resolve() in out.resolve().parents:
        raise UsageError(
            f"{name} 在数据文件夹 {source} 里，下次会被当成数据读；请写到别处",
            f"{name} is inside the dataset {source} and would be read as rows; write it elsewhere",
        )
    if not out.parent.is_dir():
        folder = shown(str(out.parent))
        raise UsageError(f"没有文件夹 {folder}；请先建好", f"there is no folder {folder}; make it first")
    for target in (out, changes):
        if target.is_dir() or (target.exists() and not force):
            there = shown(str(target))
            raise UsageError(
                f"{there} 已经有了；请换一个文件名，或加 --force 覆盖",
                f"{there} exists; choose another name, or add --force to replace it",
            )


@contextmanager
def _both_or_none(out: Path, changes: Path, encoding: str) -> Iterator[tuple[TextIO, TextIO]]:
    """Yield two files to write, renamed to their paths if the block succeeds. Raises ResourceError."""
    parts = [path.with_name(f".{path.name}.part") for path in (out, changes)]
    try:
        # A lone surrogate in an unused column stays as its JSON escape, \ud83d.
        with (
            parts[0].open("w", encoding=encoding, errors="backslashreplace", newline="") as copied,
            parts[1].open("w", encoding="utf-8", newline="\n") as noted,
        ):
            yield copied, noted
            sync(copied)
            sync(noted)
        rename(parts[1], changes)
        rename(parts[0], out)
    except OSError as error:
        raise ResourceError(
            f"写不进 {shown(str(out))}（{error.strerror}）；请腾出空间，或换一个地方",
            f"cannot write {shown(str(out))} ({error.strerror}); free some space, or choose another place",
        ) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


class _Copy:
    """Writes the rows of the copy in the format of its kind."""

    def __init__(self, stream: TextIO, kind: _CopyKind) -> None:
        self.kind = kind
        self.written = 0
        self._stream = stream
        self._table = csv.writer(stream, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")

    def add(self, row: str | dict[str, Any] | list[Any]) -> None:
        """Write a row, given as JSON text, as an object, or as a list of messages."""
        if self.kind in ("csv", "tsv"):
            assert isinstance(row, dict)
            if not self.written:
                self._table.writerow(row)
            self._table.writerow(row.values())
        else:
            before = "" if self.kind == "jsonl" else ",\n" if self.written else "[\n"
            text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
            self._stream.write(before + text + "\n" * (self.kind == "jsonl"))
        self.written += 1

    def end(self) -> None:
        if self.kind == "json":
            self._stream.write("\n]\n")


class _Mender:
    """Takes the rows of a dataset one at a time, and writes the mended rows and the list of changes."""

    def __init__(
        self,
        stream: data.RowStream,
        copy: _Copy,
        noted: TextIO,
        redact: bool,
        language: Language,
        refusal: Callable[[Conversation], Text | None],
    ) -> None:
        self._stream, self._copy, self._noted = stream, copy, noted
        self._redact, self._language, self._refusal = redact, language, refusal
        self._files, self._columns = stream.file_names, stream.columns
        # A single file keeps its text; several files in one copy need the same column names.
        self._as_written = len(stream.sources) == 1 and stream.sources[0].kind == copy.kind
        self._as_messages = not _fit_together(stream.mapping)
        self._first: dict[int, RowPlace] = {}
        self._dropped = self._changed = 0
        self._changes: list[Change] = []

    def add(self, number: int, row: data.ReadRow, raw: str | dict[str, Any]) -> None:
        place = RowPlace(self._files[row.source], row.line, number)
        if row.conversation is None:
            place = place._replace(row=0)  # the problems already name the row number
            self._drop(place, [Text(f"{p.what.zh}；{p.mend.zh}", f"{p.what.en}; {p.mend.en}") for p in row.problems])
            return
        mended, changes = _mended(row.conversation, self._redact)
        key = hash(tuple((message.role, folded(message.content), message.learn) for message in mended.messages))
        first = self._first.setdefault(key, place)
        if first is not place:
            self._drop(place, [Text(f"与{first.shown.zh}相同", f"a copy of {first.shown.en}")])
            return
        if why := self._refusal(mended):
            self._drop(place, [why])
            return
        columns = self._columns[row.source]
        if self._as_messages:
            self._copy.add(_as_messages(_as_object(_parsed(raw)), columns, mended))
        elif self._as_written and not changes:
            self._copy.add(raw)
        else:
            written = _parsed(raw)
            cells = _as_object(written)
            if self._stream.sources[row.source].cells_are_text:  # where the copy is JSON, such a word would be text
                cells |= {column: "" for _, column in columns.names if stands_for_nothing(cells.get(column))}
            changes = _mend_cells(cells, columns, self._redact, keep_cells=self._as_written)
            self._copy.add(cells["messages"] if isinstance(written, list) else cells)
        if changes:
            self._changed += 1
            self._note(place, Text("；".join(each.zh for each in changes), "; ".join(each.en for each in changes)))

    def _drop(self, place: RowPlace, reasons: Sequence[Text]) -> None:
        self._dropped += 1
        for why in reasons:
            self._note(place, Text(f"没有写：{why.zh}", f"left out: {why.en}"))

    def _note(self, place: RowPlace, what: Text) -> None:
        change = Change(place, what)
        self._noted.write(change.to(self._language) + "\n")
        if len(self._changes) < FIRST_CHANGES:
            self._changes.append(change)

    def end(self, out: Path, changes: Path) -> Fixed:
        self._copy.end()
        if not self._copy.written:
            name = shown(str(self._stream.path))
            raise DataError(
                f"{name} 里没有一条能用的数据，没有写；请先用 tonghua check 看看问题在哪里",
                f"{name} has no row that can be used, and nothing was written; see what is wrong with tonghua check",
            )
        kept = tuple(self._changes)
        fixed = Fixed(out, changes, self._copy.written, self._dropped, self._changed, kept)
        if not kept:
            self._noted.write(Text("没有改动", "nothing was changed").to(self._language) + "\n")
        return fixed


def _mended(conversation: Conversation, redact: bool) -> tuple[Conversation, tuple[Text, ...]]:
    messages = conversation.messages
    thinking = [index for index, message in enumerate(messages) if message.reasoning]
    # The reasoning is mended as messages of its own behind the others.
    thoughts = (Message("user", messages[index].reasoning) for index in thinking)
    whole, changes = mend(replace(conversation, messages=(*messages, *thoughts)))
    if redact:
        whole, covered = redacted(whole)
        changes += covered
    mended = list(whole.messages[: len(messages)])
    for index, thought in zip(thinking, whole.messages[len(messages) :], strict=True):
        mended[index] = replace(mended[index], reasoning=thought.content)
    return replace(conversation, messages=tuple(mended)), changes


def _fit_together(mapping: Sequence[ColumnMap]) -> bool:
    """True if rows read by these maps fit into one file: one form, and the same column for each role."""
    names = {name for columns in mapping for name in columns.names}
    return len({columns.form for columns in mapping}) == 1 and len({role for role, _ in names}) == len(names)


def _as_messages(row: Mapping[str, Any], columns: ColumnMap, conversation: Conversation) -> dict[str, Any]:
    """Return the row with its conversation as `messages`, beside the columns that are not part of it.

    Marks of the row become marks of its answers.
    """
    used = {column for _, column in columns.names}
    others = {
        key: value
        for key, value in row.items()
        if key not in used and key not in ROLE_OF and key not in REASONING and kind_of(key) not in MARKS
    }
    return {**others, "messages": [_as_written(message) for message in conversation.messages]}


def _as_written(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        written["reasoning_content"] = message.reasoning
    return written if message.learn else {**written, "loss": False}


def _as_object(row: Any) -> dict[str, Any]:
    """Return a row that is a bare list of messages as an object; any other row is one already."""
    return {"messages": row} if isinstance(row, list) else row


def _mend_cells(row: dict[str, Any], columns: ColumnMap, redact: bool, keep_cells: bool) -> tuple[Text, ...]:
    """Mend the texts of a row in place, and return the changes.

    With `keep_cells`, lists that a CSV holds as JSON text stay JSON text; else they become lists.
    """
    own = {role: role for role in KNOWN[columns.form] if role not in columns.asked}
    named = {role: column for role, column in (own | dict(columns.names)).items() if column in row}
    cells = {column: row[column] for column in named.values()}
    opened = [named[role] for role in ("history", "messages") if isinstance(row.get(named.get(role, "")), str)]
    opened = [column for column in opened if row[column].strip()]
    cells |= {column: _parsed(row[column]) for column in opened}
    slots = [slot for column in cells for slot in _slots(cells, column)]
    said = tuple(Message("user", container[key]) for container, key in slots)
    mended, changes = _mended(Conversation(said), redact)
    for (container, key), message in zip(slots, mended.messages, strict=True):
        container[key] = message.content
    if keep_cells:
        cells |= {column: json.dumps(cells[column], ensure_ascii=False) for column in opened}
    row |= cells
    return changes


_SAID = ("content", "value", "text", *REASONING)


def _slots(container: Any, key: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of each text in a cell as (container, key): the text is container[key]."""
    value = container[key]
    if isinstance(value, str):
        yield container, key
    elif isinstance(value, dict):
        yield from chain.from_iterable(_slots(value, each) for each in value if each in _SAID or round_part(each))
    elif isinstance(value, list):
        if len(value) > 1 and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            # Join the parts: white space at the end of a part is inside the whole text.
            text = "".join(part.get("text", part.get("value")) for part in value)
            container[key] = value = [{"type": "text", "text": text}]
        yield from chain.from_iterable(_slots(value, index) for index in range(len(value)))


def _with_raw(stream: data.RowStream) -> Iterator[tuple[int, data.ReadRow, str | dict[str, Any]]]:
    """Yield each row with its number and its content in the file: JSON text, or an object for the other formats."""
    found: deque[Found] = deque()  # `numbered` looks one row ahead

    def rows() -> Iterator[data.ReadRow]:
        for row, raw in stream.pairs():
            found.append(raw)
            yield row

    for number, row in numbered(rows()):
        raw = found.popleft()
        yield number, row, raw.written or to_jsonable_python(raw.value, inf_nan_mode="null")


def _parsed(raw: str | dict[str, Any]) -> Any:
    return json.loads(raw, parse_int=_integer, parse_float=_fraction) if isinstance(raw, str) else raw


def _integer(written: str) -> int | str:
    """Return the number, or its text if it has more digits than Python converts."""
    return int(written) if len(written) <= _MOST_DIGITS else written


def _fraction(written: str) -> float | str:
    value = float(written)
    return value if math.isfinite(value) else written
