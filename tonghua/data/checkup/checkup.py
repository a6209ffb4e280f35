"""The check-up of a dataset: its faults, the lengths of its rows, and settings to train with.

    Rows, lengths, targets ──examine_rows──► Checkup ──lines────► a terminal          most serious first
                                                     ──as_json──► JSON
                                                     ──► page.check_page

Nothing is written here; `mending` writes the mended copy.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ...prompt.conversation import Conversation
from ...text import Language, Text, shown
from ..read import dataset as data
from ..read.encodings import ENCODING_NAMES
from ..read.remarks import Remark, remark_lines
from ..read.roles import ColumnMap, Form
from .advice import Advice, advice
from .lengths import Lengths, measured_lengths
from .places import RowPlace, listed_places, numbered
from .quality import Finding, FindingKind, Findings, examine

FIRST_LINES = 5
"""Maximum number of lines listed per finding in a terminal; the JSON lists all."""


class MendedCopy(Protocol):
    """What the JSON needs to know of a mended copy; `fixed.Fixed` implements it."""

    @property
    def changed(self) -> int: ...
    def as_json(self, language: Language) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Checkup:
    """What `examine_rows` found. `lengths` and `advice` are None if no row can be used."""

    path: Path
    kind: str
    form: Form | Literal["mixed"]
    encoding: str
    mapping: tuple[ColumnMap, ...]
    remarks: tuple[Remark, ...]
    """What was done with the rows that are kept."""
    notes: tuple[Text, ...]
    findings: Findings
    """Their lines are line numbers in the source files."""
    places: Mapping[FindingKind, tuple[RowPlace, ...]]
    """The file, line and row number of each row of a finding."""
    lengths: Lengths | None
    advice: Advice | None

    def as_json(self, language: Language, split: int = 0, fixed: MendedCopy | None = None) -> dict[str, object]:
        """Return the check-up as JSON values. `split` is the number of overlong rows that were cut into several."""
        count = self.findings.count
        return {
            "mended": fixed.changed if fixed else 0,
            "split": split,
            "duplicates": count("duplicates"),
            "near_duplicates": count("near_duplicates"),
            "repeated_instructions": count("repeated_instructions"),
            "leaks": count("leaks"),
            "encoding": self.encoding,
            "kind": self.kind,
            "format": self.form,
            "columns": [dict(columns.names) for columns in self.mapping],
            "ignored": list(data.ignored_columns(self.remarks)),
            "remarks": [remark.as_json(language) for remark in self.remarks],
            "notes": [note.to(language) for note in self.notes],
            "tokens": self.lengths.as_json() if self.lengths else None,
            "histogram": [each._asdict() for each in self.lengths.histogram] if self.lengths else [],
            "findings": [self._finding(finding, language) for finding in self.findings.found],
            "advice": _advice_json(self.advice, language) if self.advice else None,
            "fix": fixed.as_json(language) if fixed else None,
        }

    @property
    def told(self) -> list[Text]:
        """One line for each note on the dataset, and for each kind of remark on its rows."""
        return [*self.notes, *remark_lines(self.remarks)]

    def _finding(self, finding: Finding, language: Language) -> dict[str, object]:
        places = self.places[finding.kind]
        files = {"files": [place.file for place in places]} if any(place.file for place in places) else {}
        rows = {"rows": [place.row for place in places]} if any(place.row for place in places) else {}
        return finding.as_json(language) | files | rows

    def lines(self, language: Language) -> list[str]:
        """Return the lines for a terminal: findings, most serious first, how the rows were read, lengths, advice."""
        lines = [verdict(self.findings).to(language)]
        lines += [self._line(finding).to(language) for finding in self.findings.found]
        lines += [note.to(language) for note in self.told]
        lines.append(how_read(self).to(language))
        if self.lengths:
            lines += self.lengths.lines(language)
        if self.advice:
            lines.append(_advised(self.advice).to(language))
        return lines

    def _line(self, finding: Finding) -> Text:
        where = listed_places(self.places[finding.kind], FIRST_LINES)
        return Text(
            f"· {finding.what.zh}（{where.zh}）；{finding.mend.zh}",
            f"- {finding.what.en} ({where.en}); {finding.mend.en}",
        )


def examine_rows(
    rows: data.ReadRows,
    held_out: Sequence[Conversation],
    eval_rows: data.ReadRows | None,
    persona: str | None,
    lengths: Sequence[int],
    targets: Sequence[int],
    max_length: int,
    epoch_tokens: int | None = None,
) -> Checkup:
    """Examine the readable rows of a dataset; problems of unreadable ones stay in `rows.problems`.

    held_out         the validation rows among `rows.kept`, as the same objects; ignored if `eval_rows` is given
    eval_rows        a separate validation dataset, or None
    persona          the system prompt for rows without their own
    lengths, targets the tokens of each row, and how many of them are learned; empty if no row can be used
    epoch_tokens     tokens that an epoch reads, where parts of split rows repeat some; None if no row is split
    """
    table = _places(rows)
    kept = [replace(row, line=number) for number, row in enumerate(rows.kept)]
    if eval_rows is None:
        renumbered = dict(zip(map(id, rows.kept), kept, strict=True))
        apart = [renumbered[id(row)] for row in held_out]
    else:
        file = shown(eval_rows.path.name)
        table += [place._replace(file=place.file or file) for place in _places(eval_rows)]
        apart = [replace(row, line=number) for number, row in enumerate(eval_rows.kept, len(kept))]
    found = examine(kept, apart, persona)
    mean_targets = statistics.fmean(targets) if targets else 0.0
    return Checkup(
        rows.path,
        rows.kind,
        rows.columns,
        rows.encoding,
        rows.mapping,
        rows.remarks,
        rows.notes,
        Findings(found.rows, tuple(_located(finding, table) for finding in found.found)),
        {finding.kind: tuple(table[number] for number in finding.lines) for finding in found.found},
        measured_lengths(lengths, targets, max_length, epoch_tokens) if lengths else None,
        advice(len(kept), mean_targets) if targets else None,
    )


def _places(rows: data.ReadRows) -> list[RowPlace]:
    """Return the place of each kept row, in order."""
    path = rows.path
    alone = path.is_file() and path.suffix.lower() != ".zip"
    if alone and len({row.line for row in rows.kept}) == len(rows.kept):
        return [RowPlace("", row.line) for row in rows.kept]
    names = rows.file_names
    return [RowPlace(names[row.source], row.line, number) for number, row in numbered(rows.rows) if row.conversation]


def _located(finding: Finding, table: Sequence[RowPlace]) -> Finding:
    """Return the finding with line numbers of the files in place of row indices."""
    zh, en = finding.what
    if finding.kind == "near_duplicates":  # the only kind whose text names lines
        zh = re.sub(r"第 (\d+) 行", lambda found: table[int(found[1])].shown.zh, zh).rstrip()
        en = re.sub(r"line (\d+)", lambda found: table[int(found[1])].shown.en, en)
    lines = tuple(table[number].line for number in finding.lines)
    return replace(finding, lines=lines, what=Text(zh, en))


def verdict(findings: Findings) -> Text:
    """Return one line: the number of rows and of the kinds of faults found in them."""
    rows, kinds = findings.rows, len(findings.found)
    if not rows:
        return Text("没有一条能用的数据", "there is no row that can be used")
    if not kinds:
        return Text(f"{rows} 条数据，没有发现问题", f"{rows} rows: nothing wrong was found")
    many = "s of faults were" if kinds > 1 else " of fault was"
    return Text(f"{rows} 条数据，发现 {kinds} 类问题", f"{rows} rows: {kinds} kind{many} found")


def how_read(checkup: Checkup) -> Text:
    """Return one line with the file kind, its encoding, and the role of each column."""
    kind = "" if checkup.kind == "mixed" else checkup.kind.upper()
    columns = (str(each) if each.renames else ", ".join(dict(each.names)) for each in checkup.mapping)
    parts = [part for part in (kind, ENCODING_NAMES.get(checkup.encoding, ""), " | ".join(columns)) if part]
    return Text("读法：" + "，".join(parts), "read as " + ", ".join(parts))


def _advised(advised: Advice) -> Text:
    values = settings(advised)
    return Text(f"建议从 {values} 开始：{advised.why.zh}", f"start from {values}: {advised.why.en}")


def settings(advised: Advice) -> str:
    """Return the advice as arguments for the command line: `num_train_epochs=3 lora_rank=16 ...`."""
    return f"num_train_epochs={advised.epochs} lora_rank={advised.lora_rank} learning_rate={advised.learning_rate:g}"


def _advice_json(advised: Advice, language: Language) -> dict[str, object]:
    return {
        "num_train_epochs": advised.epochs,
        "lora_rank": advised.lora_rank,
        "learning_rate": advised.learning_rate,
        "why": advised.why.to(language),
    }
