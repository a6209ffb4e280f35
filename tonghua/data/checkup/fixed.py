"""What the mending of a dataset did: paths, counts, and the changes to its rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...text import Language, Text, shown
from .places import RowPlace

FIRST_CHANGES = 100


class Change(NamedTuple):
    """A change to one row, or the reason why the row is not in the copy."""

    place: RowPlace
    what: Text

    def to(self, language: Language) -> str:
        """Return the change as one line: its place, then what was done."""
        file, where = self.place.file, self.place._replace(file="").shown
        name = f"{file} " if file else ""
        return Text(f"{name}{where.zh}：{self.what.zh}", f"{name}{where.en}: {self.what.en}").to(language)

    def as_json(self, language: Language) -> dict[str, object]:
        """Return `file`, `line`, `row` and `what`."""
        return {**self.place._asdict(), "what": self.what.to(language)}


@dataclass(frozen=True, slots=True)
class Fixed:
    """Paths of the copy and of the list of changes, and numbers of rows. Rows read = `written` + `dropped`."""

    out: Path
    list: Path
    written: int
    dropped: int
    changed: int
    """Number of rows in the copy whose text differs from the source."""
    changes: tuple[Change, ...]
    """The first `FIRST_CHANGES`; the file `list` has all."""

    def as_json(self, language: Language) -> dict[str, object]:
        """Return all fields, with paths as text and the changes as objects."""
        return {
            "out": str(self.out),
            "list": str(self.list),
            "written": self.written,
            "dropped": self.dropped,
            "changed": self.changed,
            "changes": [change.as_json(language) for change in self.changes],
        }

    def summary(self) -> Text:
        """Return one line: rows written, mended and left out, and the paths of both files."""
        out, changes = shown(str(self.out)), shown(str(self.list))
        return Text(
            f"写了 {self.written} 条（其中改了 {self.changed} 条，另有 {self.dropped} 条没有写）：{out}；"
            f"改动都列在 {changes}",
            f"rows written: {self.written} (mended: {self.changed}; left out: {self.dropped}): {out}; "
            f"every change is listed in {changes}",
        )
