"""Users' rows: from a file, a folder or an archive to conversations, and from those to two sides.

    path --sources--> Source --records--> (line, value) --columns--> messages
        |
        |  stream_rows: one row at a time, in constant memory, however many there are
        |  read_rows: the same, all at once
        v
    Row(source=0, line=3, conversation=Conversation | None, problems=(Problem(line=3, ...),))
        |
        |  split: rows that ask the same question stay together
        v
    train, held-out

What cannot be read as a whole (no such file, a missing column) is a DataError. What is wrong with single rows
is a Problem, and all of them are told at once. Nothing is dropped, mapped or repaired in silence.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...prompt.conversation import Conversation
from ...text import Language, Text, shown
from .columns import find_columns
from .conversations import RowReader
from .faults import Faults, Found
from .records import records
from .roles import ColumnMap, Form, Sample, filled_columns
from .sources import Kind, Source, find_sources

SAMPLE_ROWS = 1_000
"""So many rows of each file are looked at to see what its columns are."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong in a file: where (1-based line on which the row starts), what, and how to mend it.

    In Parquet, which has no lines, `line` is the number of the row. `file` is "" where there is only one.
    """

    line: int
    what: Text
    mend: Text
    file: str = ""

    def as_json(self, language: Language) -> dict[str, int | str]:
        where: dict[str, int | str] = {"file": self.file} if self.file else {}
        return where | {"line": self.line, "what": self.what.to(language), "mend": self.mend.to(language)}


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One row: a conversation or problems, never both and never neither. `source` counts the files from 0."""

    source: int
    line: int
    conversation: Conversation | None
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """What a dataset held. A row is in `kept` or has problems, never both and never neither."""

    path: Path
    kind: Kind | Literal["mixed"]
    columns: Form | Literal["mixed"]
    read: int
    kept: tuple[Conversation, ...]
    problems: tuple[RowProblem, ...]
    ignored: tuple[str, ...] = ()
    """Columns that are not used, such as `id`, in order of appearance."""
    encoding: str = "utf-8"
    """Python's name for it, "mixed" for files of several, "" for Parquet."""
    mapping: tuple[ColumnMap, ...] = ()
    """How the columns were read: one map for each way that the files are written, in order of appearance."""
    notes: tuple[Text, ...] = ()
    """What the user should know: an encoding that is not UTF-8, files that were not read."""


class RowStream:
    """The rows of a dataset, read again from the start each time they are gone through.

    sources   the files, in order
    columns   the ColumnMap of each file
    notes     what the user should know of the dataset as a whole
    """

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.sources, self.notes = find_sources(path)
        self.columns = tuple(_columns_of(source, columns) for source in self.sources)
        self._ignored: dict[str, None] = {}

    @property
    def kind(self) -> Kind | Literal["mixed"]:
        kinds = {source.kind for source in self.sources}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def form(self) -> Form | Literal["mixed"]:
        forms = {columns.form for columns in self.columns}
        return forms.pop() if len(forms) == 1 else "mixed"

    @property
    def encoding(self) -> str:
        encodings = {source.encoding.removesuffix("-sig") for source in self.sources}
        return encodings.pop() if len(encodings) == 1 else "mixed"

    @property
    def mapping(self) -> tuple[ColumnMap, ...]:
        """The different maps of columns, in order of appearance."""
        return tuple(dict.fromkeys(self.columns))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that were not used in the rows read so far, in order of appearance."""
        return tuple(self._ignored)

    @property
    def file_names(self) -> list[str]:
        """The names of the files, without the path of the dataset; "" for the only one."""
        if len(self.sources) == 1:
            return [""]
        path = shown(str(self.path))
        return [source.name.removeprefix(path).lstrip("/\\") or source.name for source in self.sources]

    def __iter__(self) -> Iterator[ReadRow]:
        for index in range(len(self.sources)):
            yield from self._rows(index)

    def _rows(self, index: int) -> Iterator[ReadRow]:
        source = self.sources[index]
        reader = RowReader(self.columns[index], cells_are_text=source.kind in ("csv", "tsv"))
        file = self.file_names[index]
        for number, shares_its_line, row in _numbered(records(source)):
            faults = Faults(row.faults)
            messages = [] if faults else reader.messages(row.value, faults)
            self._ignored |= reader.ignored
            if not faults:
                yield ReadRow(index, row.line, Conversation(tuple(messages), row.line), ())
                continue
            # Of an array on one line: the line alone would not lead anyone there.
            zh, en = (f"第 {number} 条：", f"row {number}: ") if shares_its_line else ("", "")
            problems = (RowProblem(row.line, Text(zh + what.zh, en + what.en), mend, file) for what, mend in faults)
            yield ReadRow(index, row.line, None, tuple(problems))


def stream_rows(path: Path, columns: Mapping[str, str] | None = None) -> RowStream:
    """The rows of a file, folder or archive, one at a time.

    `columns` gives {role: column} where the columns' names do not tell, such as {"output": "回复内容"}, and
    {role: ""} for a role that no column has. Raises DataError where there is nothing to read, a needed column is
    missing or it is not clear which is meant, RefusedError for a harmful archive, UsageError for a role that
    there is not. Going through it raises DataError where a file has changed since.
    """
    return RowStream(path, columns)


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> ReadRows:
    """Every conversation of a dataset and every problem in it, in the order of its files.

    The kind is known by the suffix, and between .json and .jsonl by looking at the first character. Rows of
    which nothing can be used give `kept == ()`. A syntax error in a JSON array, or a broken quote in a CSV,
    is the last problem told of a file, since what follows it cannot be told apart; it counts as one row read.
    Raises as `stream_rows` does.
    """
    stream = stream_rows(path, columns)
    read = 0
    kept: list[Conversation] = []
    problems: list[RowProblem] = []
    for row in stream:
        read += 1
        if row.conversation:
            kept.append(row.conversation)
        problems += row.problems
    return ReadRows(
        path,
        stream.kind,
        stream.form,
        read,
        tuple(kept),
        tuple(problems),
        stream.ignored,
        stream.encoding,
        stream.mapping,
        stream.notes,
    )


def _columns_of(source: Source, columns: Mapping[str, str] | None) -> ColumnMap:
    if source.kind == "txt":
        return ColumnMap("alpaca", (("instruction", "instruction"), ("output", "output")))
    objects: list[dict[str, bool]] = []
    whole = True
    with closing(records(source)) as found:
        for number, row in enumerate(found):
            whole = number < SAMPLE_ROWS
            if not whole:
                break
            if isinstance(row.value, dict):
                objects.append(filled_columns(row.value))
    sample = Sample(objects, whole)
    return find_columns(sample, source.name, source.kind in ("csv", "tsv"), columns)


def _numbered(found: Iterable[Found]) -> Iterator[tuple[int, bool, Found]]:
    """Each row with its number from 1, and whether another one starts on its line."""
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


def split(questions: NDArray[np.uint64], val_size: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the samples of two sides, train and held-out, each in the original order, with no question on both.

    `questions` (n,): what must be the same for two samples to stay together. `val_size` below 1 is a share of the
    samples, from 1 on a number, 0 none. The held-out side is as near to the wish as adding whole groups in shuffled
    order brings it. One group at least stays on each side, if there are two. The same samples in the same order and
    the same seed give the same sides. Raises UsageError for a negative or infinite `val_size`.
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
    # Whatever is left overshoots; the smallest of it may still come nearer to the wish than stopping short.
    gap = wished - held
    if gap and smallest >= 0 and chosen.sum() < len(sizes) - 1 and (not held or sizes[smallest] - gap < gap):
        chosen[smallest] = True
    is_held_out = chosen[group_of]
    return every[~is_held_out], every[is_held_out]


def question_hash(conversation: Conversation) -> int:
    """64 bits that are the same for the same first question, but for letter case, width and white space."""
    return int.from_bytes(hashlib.blake2b(_question_key(conversation).encode(), digest_size=8).digest())


def _question_key(conversation: Conversation) -> str:
    first = next((message.content for message in conversation.messages if message.role == "user"), "")
    # Case folding can undo the normal form, so that is taken once more.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", first).casefold())
    return " ".join(folded.split())
