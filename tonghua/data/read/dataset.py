"""Read a user's file, folder or archive as conversations, and split them into train and held-out.

    path --sources--> Source --records--> (line, value) --columns--> messages
        |
        |  stream_rows: one row at a time, in constant memory
        |  read_rows: all rows at once
        v
    ReadRow(source=0, line=3, conversation=Conversation | None, problems=(RowProblem(line=3, ...),))
        |
        |  split: rows with the same question stay on the same side
        v
    train, held-out

An error in the whole dataset (no such file, a missing column) is a DataError. An error in a single row is a
RowProblem, and all of them are reported together. No row is dropped, mapped or repaired silently.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...prompt.conversation import Conversation
from ...text import Language, Text, shown
from .columns import find_columns, require_columns
from .conversations import RowReader
from .faults import ROW_CHARACTERS, Fault, Found
from .messages import is_messages
from .records import as_laid_out, header_of, records, require_harmless_files
from .remarks import Remark, Remarks, RowFaults
from .roles import ColumnMap, ColumnSample, Form, filled_columns
from .sources import FileKind, find_sources, packed_bytes
from .unpacked import Unpacked

MOST_FAULTS = 20
"""Maximum faults of one row that are told one by one."""

SAMPLE_ROWS = 1_000
"""Maximum rows of each file that are read to detect its columns."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One error in a file: the 1-based line on which the row starts, what is wrong, and how to fix it.

    For Parquet and Excel, `line` is the number of the row. `file` is "" if the dataset has only one file.
    """

    line: int
    what: Text
    mend: Text
    file: str = ""
    blocks: bool = True
    """True if training does not start before it is mended; False if the row is left out."""

    @property
    def place(self) -> Text:
        """The file, if the dataset has several, and the line: `一.csv 第 3 行`, `一.csv line 3`."""
        file = f"{self.file} " if self.file else ""
        return Text(f"{file}第 {self.line} 行", f"{file}line {self.line}")

    def as_json(self, language: Language) -> dict[str, int | str]:
        """Return the problem as JSON fields in `language`; `file` only if it is not ""."""
        where: dict[str, int | str] = {"file": self.file} if self.file else {}
        return where | {"line": self.line, "what": self.what.to(language), "mend": self.mend.to(language)}


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One row: either a conversation or problems. `source` is the 0-based index of its file."""

    source: int
    line: int
    conversation: Conversation | None
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The content of a dataset. Each of the `read` rows is either in `kept` or has problems."""

    path: Path
    kind: FileKind | Literal["mixed"]
    columns: Form | Literal["mixed"]
    read: int
    kept: tuple[Conversation, ...]
    problems: tuple[RowProblem, ...]
    remarks: tuple[Remark, ...] = ()
    """What was done with the rows that are kept: answers that are not learned, columns that are not used, and more."""
    encoding: str = "utf-8"
    """Python's codec name, "mixed" if the files differ, "" for Parquet and Excel."""
    mapping: tuple[ColumnMap, ...] = ()
    """The distinct column maps of the files, in order of appearance."""
    notes: tuple[Text, ...] = ()
    """Notes for the user: an encoding other than UTF-8, files that were not read."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """Unused columns, such as `id`, in order of appearance."""
        return ignored_columns(self.remarks)

    rows: tuple[ReadRow, ...] = field(default=(), compare=False, repr=False)
    """Every row, good or bad, in the order of the files."""
    file_names: tuple[str, ...] = field(default=("",), compare=False)
    """Names of the files, as `RowStream.file_names`."""


class RowStream:
    """Iterate over the rows of a dataset. Each iteration reads the files again from the start.

    sources          the files, in order
    notes            notes for the user on the whole dataset
    content_sha256   hex sha256 of the names and bytes of all files, with `most` if that is set
    file_names       the files' names relative to `path`; [""] if there is only one file

    With `remember`, the first complete iteration keeps the rows in memory, and later ones read nothing. With `most`,
    only so many rows are read, good or bad, from the first on.
    """

    def __init__(
        self, path: Path, columns: Mapping[str, str] | None = None, remember: bool = False, most: int | None = None
    ) -> None:
        self.path = path
        self.sources, self.notes, self.content_sha256 = find_sources(path)
        require_harmless_files(self.sources)
        self.sources, laid_out = as_laid_out(self.sources)
        self.notes = (*self.notes, *laid_out)
        self._most = most
        if len(self.sources) > 1:
            # A file that cannot be used is told before the ones before it are read.
            for source in self.sources:
                require_columns(header_of(source), source.name, source.kind != "xlsx", columns)
        if most is not None:
            name = shown(str(path))
            cut = Text(
                f"{name} 最多用前 {most} 行（max_samples）", f"{name}: at most {most} rows are used (max_samples)"
            )
            self.notes = (*self.notes, cut)
            # The first rows of a file are another dataset than the whole file.
            self.content_sha256 += f"[:{most}]"
        self._asked = columns
        self._columns: dict[int, ColumnMap] = {}
        self._remarks = Remarks()
        self._remember = remember
        self._remembered: list[ReadRow] | None = None
        start = shown(str(path))
        names = [source.name.removeprefix(start).lstrip("/\\") or source.name for source in self.sources]
        self.file_names = [""] if len(self.sources) == 1 else names

    @property
    def columns(self) -> tuple[ColumnMap, ...]:
        """The ColumnMap of each file. Reads the first rows of a file whose rows were not iterated yet."""
        for index, source in enumerate(self.sources):
            if index not in self._columns:
                with closing(records(source)) as found:
                    self._find_columns(index, found)
        return tuple(self._columns[index] for index in range(len(self.sources)))

    def _find_columns(self, index: int, found: Iterator[Found]) -> list[Found]:
        """Find the columns of a file by its first rows, which are taken out of `found` and returned."""
        source = self.sources[index]
        if source.kind == "txt":
            self._columns[index] = ColumnMap("alpaca", (("instruction", "instruction"), ("output", "output")))
            return []
        head, characters = [], 0
        for row in islice(found, SAMPLE_ROWS + 1):
            head.append(row)
            characters += row.characters
            if characters > ROW_CHARACTERS:  # memory holds as much of a file as one row may take
                break
        values = (_as_object(row.value) for row in head[:SAMPLE_ROWS])
        objects = [filled_columns(value) for value in values if isinstance(value, dict)]
        sample = ColumnSample(objects, len(head) <= SAMPLE_ROWS and characters <= ROW_CHARACTERS)
        self._columns[index] = find_columns(sample, source.name, source.kind in ("csv", "tsv"), self._asked)
        return head

    @property
    def kind(self) -> FileKind | Literal["mixed"]:
        """The kind of the files, "mixed" if they differ."""
        kinds = {source.kind for source in self.sources}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def form(self) -> Form | Literal["mixed"]:
        """The form of the columns, "mixed" if the files differ."""
        forms = {columns.form for columns in self.columns}
        return forms.pop() if len(forms) == 1 else "mixed"

    @property
    def encoding(self) -> str:
        """Python's codec name, "mixed" if the files differ, "" for Parquet and Excel."""
        encodings = {source.encoding.removesuffix("-sig") for source in self.sources}
        return encodings.pop() if len(encodings) == 1 else "mixed"

    @property
    def mapping(self) -> tuple[ColumnMap, ...]:
        """The distinct column maps, in order of appearance."""
        return tuple(dict.fromkeys(self.columns))

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was done with the rows that were kept in the last iteration so far."""
        return self._remarks.found()

    def __iter__(self) -> Iterator[ReadRow]:
        if self._remembered is not None:
            yield from self._remembered
            return
        kept: list[ReadRow] = []
        for row, _ in self.pairs():
            if self._remember:
                kept.append(row)
            yield row
        self._remembered = kept if self._remember else None

    def pairs(self) -> Iterator[tuple[ReadRow, Found]]:
        """Yield each row with what stands in the file."""
        unpacked = Unpacked(shown(str(self.path)), packed_bytes(self.sources))
        self._remarks = Remarks()
        every = (self._pairs(index, unpacked) for index in range(len(self.sources)))
        yield from islice(chain.from_iterable(every), self._most)

    def _pairs(self, index: int, unpacked: Unpacked) -> Iterator[tuple[ReadRow, Found]]:
        source = self.sources[index]
        found: Iterator[Found] = records(source, unpacked)
        if index not in self._columns:
            # The columns come from the first rows of this very pass: the file is not opened twice.
            found = chain(self._find_columns(index, found), found)
        reader = RowReader(self._columns[index], source.cells_are_text)
        file = self.file_names[index]
        for number, shares_its_line, row in _numbered(found):
            faults = RowFaults(row.faults)
            messages = [] if faults else reader.messages(_as_object(row.value), faults)
            if not faults:
                for kind, name in faults.remarks:
                    self._remarks.add(kind, name)
                yield ReadRow(index, row.line, Conversation(tuple(messages), row.line), ()), row
                continue
            # Several rows of a JSON array can share a line, so the line alone does not locate the row.
            zh, en = (f"第 {number} 条：", f"row {number}: ") if shares_its_line else ("", "")
            shown_faults = _bounded(faults)
            problems = (RowProblem(row.line, Text(zh + w.zh, en + w.en), mend, file) for w, mend in shown_faults)
            yield ReadRow(index, row.line, None, tuple(problems)), row


def stream_rows(
    path: Path, columns: Mapping[str, str] | None = None, remember: bool = False, most: int | None = None
) -> RowStream:
    """Return the rows of a file, folder or archive, to be read one at a time; with `most`, only the first ones.

    `columns` maps role to column if the names are not recognized, such as {"output": "回复内容"}. An empty
    column, {role: ""}, means that no column has this role. Raises DataError if there is nothing to read, or a
    needed column is missing or ambiguous; RefusedError if an archive is harmful; UsageError if a role is unknown.
    Of several files, a column that the header of a table lacks is found at once. Any other is found when iteration
    reaches its file, or `columns` is asked for. Iteration raises DataError if a file has changed since this call.
    """
    return RowStream(path, columns, remember, most)


def read_rows(path: Path, columns: Mapping[str, str] | None = None, most: int | None = None) -> ReadRows:
    """Read all conversations and problems of a dataset, or those of its first rows, in the order of its files.

    The suffix gives the kind; for .json and .jsonl the first character decides. `kept` is () if no row is usable.
    A syntax error in a JSON array, or an unmatched quote in a CSV, is the last problem of its file: the rows after
    it cannot be separated. It counts as one row read. Raises the errors of `stream_rows` and of its iteration.
    """
    return all_rows(stream_rows(path, columns, most=most))


def all_rows(stream: RowStream) -> ReadRows:
    """Read a stream to its end, as `read_rows` does."""
    rows = tuple(stream)
    return ReadRows(
        stream.path,
        stream.kind,
        stream.form,
        len(rows),
        tuple(row.conversation for row in rows if row.conversation),
        tuple(problem for row in rows for problem in row.problems),
        stream.remarks,
        stream.encoding,
        stream.mapping,
        stream.notes,
        rows,
        tuple(stream.file_names),
    )


def ignored_columns(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """Return the names of the columns that are not used, in order of appearance."""
    return tuple(remark.name for remark in remarks if remark.kind == "column" and remark.name)


def _as_object(value: object) -> object:
    """Return a row that is a bare list of messages as an object with that list; any other row unchanged."""
    return {"messages": value} if is_messages(value) else value


def _bounded(faults: Sequence[Fault]) -> Sequence[Fault]:
    """Return at most `MOST_FAULTS` faults of a row; the last one says how many more there are."""
    rest = len(faults) - MOST_FAULTS
    if rest <= 0:
        return faults
    (zh, en), mend = faults[MOST_FAULTS - 1]
    last = Fault(Text(f"{zh}；这一条另有 {rest} 处错", f"{en}; the row has {rest} faults more"), mend)
    return [*faults[: MOST_FAULTS - 1], last]


def _numbered(found: Iterable[Found]) -> Iterator[tuple[int, bool, Found]]:
    """Yield (1-based number, True if another row starts on the same line, row)."""
    last_line, held = 0, None
    number = 0
    for row in found:
        if held:
            yield number, held.line in (last_line, row.line), held
            last_line = held.line
        held = row
        number += 1
    if held:
        yield number, held.line == last_line, held


def split_places(
    questions: NDArray[np.uint64], val_size: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split samples into train and held-out, so that no question is on both sides.

    `questions` (n,): samples with equal values stay on the same side. `val_size` below 1 is a share of the samples,
    1 or more is a number of samples, 0 holds out none. Returns the indices of the train and of the held-out samples,
    each in ascending order. Whole groups are added in shuffled order to get close to `val_size`. Each side keeps at
    least one group if there are two. The same input and seed give the same split. Raises UsageError if `val_size`
    is negative or not finite.
    """
    if not (math.isfinite(val_size) and val_size >= 0):
        raise UsageError(
            f"val_size 是 {val_size}；请写 0 到 1 之间的比例，或者留出的条数",
            f"val_size is {val_size}; give a share between 0 and 1, or a number of rows",
        )
    every = np.arange(len(questions))
    _, group_of, sizes = np.unique(questions, return_inverse=True, return_counts=True)
    if val_size == 0 or len(sizes) < 2:
        return every, every[:0]
    wished = round(val_size * len(every) if val_size < 1 else val_size)
    wished = min(max(wished, 1), len(every) - 1)

    chosen = np.zeros(len(sizes), bool)
    held, smallest = 0, -1
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        if held + sizes[group] <= wished:
            chosen[group] = True
            held += sizes[group]
        elif smallest < 0 or sizes[group] < sizes[smallest]:
            smallest = group
        if held == wished:
            break
    # Every remaining group overshoots, but the smallest may be closer to the target than adding none.
    gap = wished - held
    if gap and smallest >= 0 and chosen.sum() < len(sizes) - 1 and (not held or sizes[smallest] - gap < gap):
        chosen[smallest] = True
    is_held_out = chosen[group_of]
    return every[~is_held_out], every[is_held_out]


def question_hash(conversation: Conversation) -> int:
    """Return a 64-bit hash of the first user message that ignores letter case, character width and white space."""
    return int.from_bytes(hashlib.blake2b(_question_key(conversation).encode(), digest_size=8).digest())


def _question_key(conversation: Conversation) -> str:
    first = next((message.content for message in conversation.messages if message.role == "user"), "")
    # Case folding can undo the normal form, so normalize again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", first).casefold())
    return " ".join(folded.split())
