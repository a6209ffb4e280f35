"""The place of a row in a dataset (file and line), and lists of places as text."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from ...text import Text
from ..read import dataset as data


class RowPlace(NamedTuple):
    """Where a row starts; `file` is "" if the dataset is a single file."""

    file: str
    line: int
    row: int = 0
    """The number of the row in its file if other rows share its line; else 0, because the line is enough."""

    @property
    def brief(self) -> str:
        """`3`, or `一.csv:3`, or `#17` for the 17th row."""
        if self.row:
            return f"{self.file}#{self.row}"
        return f"{self.file}:{self.line}" if self.file else str(self.line)

    @property
    def shown(self) -> Text:
        """The place for use within a sentence: `第 3 行`, `line 3`, or `一.csv:3`."""
        if self.file:
            return Text(f" {self.brief} ", self.brief)
        return listed_places([self], 1)


def numbered(rows: Iterable[data.ReadRow]) -> Iterator[tuple[int, data.ReadRow]]:
    """Yield each row with its number in its file (from 1), or with 0 if no other row shares its line."""
    last: data.ReadRow | None = None
    number = 0
    for row, after in pairwise(chain(rows, [None])):
        assert row
        number = number + 1 if last and last.source == row.source else 1
        neighbours = ((other.source, other.line) for other in (last, after) if other)
        yield number if (row.source, row.line) in neighbours else 0, row
        last = row


def listed_places(places: Sequence[RowPlace], most: int) -> Text:
    """Return the first `most` places as text, followed by … if there are more.

    第 3、17、52 行 … for lines, 第 3、17 条 if rows share a line, and 一.csv:3、二.csv:5 for several files.
    """
    more, plural = " …" if len(places) > most else "", "s" if len(places) > 1 else ""
    first = places[:most]
    if any(place.file for place in places):
        briefs = [place.brief for place in first]
        return Text("、".join(briefs) + more, ", ".join(briefs) + more)
    if any(place.row for place in places):
        zh, en, numbers = "条", "row", [str(place.row or place.line) for place in first]
    else:
        zh, en, numbers = "行", "line", [str(place.line) for place in first]
    return Text(f"第 {'、'.join(numbers)} {zh}{more}", f"{en}{plural} {', '.join(numbers)}{more}")
