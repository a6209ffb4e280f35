"""A dataset's check-up: what is wrong, how long its rows are, and what to train with.

    Rows, lengths, targets ──examine_rows──► Checkup ──lines────► a terminal          gravest first
                                                     ──as_json──► machines
                                                     ──► page.check_page

Nothing is written here; `mending` makes the mended copy.
"""

import math
import re
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from tonghua import data
from tonghua.columns import ColumnMap, Form
from tonghua.quality import Advice, Finding, Findings, Kind, advice, examine

from .errors import DataError
from .prompt.conversation import Conversation
from .sources import ENCODING_NAMES
from .text import Language, Text, shown

FIRST_LINES = 5
"""So many lines of a finding are named in a terminal; a file for machines names all."""

BINS = 10
BAR_CHARACTERS = 24
"""Where █ is as wide as a Chinese character, a bar still fits on 80 columns."""


class Place(NamedTuple):
    """Where a row starts; `file` is "" where there is only one."""

    file: str
    line: int
    row: int = 0
    """The number of the row in its file where others stand on its line; else 0, as the line leads there."""

    @property
    def brief(self) -> str:
        """3, or 一.csv:3, or #17 for the 17th row."""
        if self.row:
            return f"{self.file}#{self.row}"
        return f"{self.file}:{self.line}" if self.file else str(self.line)

    @property
    def shown(self) -> Text:
        if self.file:
            return Text(f" {self.brief} ", self.brief)
        return listed_places([self], 1)


class Bin(NamedTuple):
    """How many rows have from `first` to `last` tokens; `last` None = any number from `first` on."""

    first: int
    last: int | None
    rows: int

    @property
    def label(self) -> str:
        return f"> {self.first - 1}" if self.last is None else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows as the model reads them; a row longer than `max_length` is counted whole."""

    max_length: int
    shortest: int
    median: int
    longest: int
    longer: int
    """Rows of more than `max_length` tokens."""
    tokens: int
    """Of all rows: what one epoch reads."""
    targets: int
    """Of these, how many are learned."""
    histogram: tuple[Bin, ...]

    def as_json(self) -> dict[str, int]:
        return {
            "per_epoch": self.tokens,
            "targets_per_epoch": self.targets,
            "shortest": self.shortest,
            "median": self.median,
            "longest": self.longest,
            "max_length": self.max_length,
            "longer": self.longer,
        }

    def summary(self, language: Language) -> tuple[str, str]:
        """How long the rows are, and how many tokens an epoch has."""
        if self.longer:
            fits = Text(
                f"{self.longer} 条超过 max_length={self.max_length}",
                f"{self.longer} are longer than max_length={self.max_length}",
            )
        else:
            fits = Text(f"都在 max_length={self.max_length} 以内", f"all are within max_length={self.max_length}")
        spread = Text(
            f"长度：{self.shortest} 到 {self.longest} 个 token，一半的行不超过 {self.median} 个；{fits.zh}",
            f"lengths: {self.shortest} to {self.longest} tokens, half of the rows up to {self.median}; {fits.en}",
        )
        epoch = Text(
            f"每轮训练读 {self.tokens:,} 个 token，其中要学的有 {self.targets:,} 个",
            f"an epoch reads {self.tokens:,} tokens, of which {self.targets:,} are learned",
        )
        return spread.to(language), epoch.to(language)

    def lines(self, language: Language) -> list[str]:
        """The same for a terminal, with the histogram between them where it has to show that rows are too long."""
        spread, epoch = self.summary(language)
        return [spread, *(_bars(self.histogram) if self.longer else ()), epoch]


class MendedCopy(Protocol):
    """What machines are told of a copy that was made; `mending.Fixed` is one."""

    @property
    def changed(self) -> int: ...
    def as_json(self, language: Language) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Checkup:
    """What `examine_rows` found. `lengths` and `advice` are None where no row can be used."""

    path: Path
    kind: str
    form: Form | Literal["mixed"]
    encoding: str
    mapping: tuple[ColumnMap, ...]
    ignored: tuple[str, ...]
    notes: tuple[Text, ...]
    findings: Findings
    """By the lines of their files."""
    places: Mapping[Kind, tuple[Place, ...]]
    """Where the rows of each finding stand, for people."""
    lengths: Lengths | None
    advice: Advice | None

    def as_json(self, language: Language, split: int = 0, fixed: MendedCopy | None = None) -> dict[str, object]:
        """The check-up for machines; `split` is how many rows were too long and became several."""
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
            "ignored": list(self.ignored),
            "notes": [note.to(language) for note in self.notes],
            "tokens": self.lengths.as_json() if self.lengths else None,
            "histogram": [each._asdict() for each in self.lengths.histogram] if self.lengths else [],
            "findings": [self._finding(finding, language) for finding in self.findings.found],
            "advice": _advice_json(self.advice, language) if self.advice else None,
            "fix": fixed.as_json(language) if fixed else None,
        }

    def _finding(self, finding: Finding, language: Language) -> dict[str, object]:
        places = self.places[finding.kind]
        files = {"files": [place.file for place in places]} if any(place.file for place in places) else {}
        rows = {"rows": [place.row for place in places]} if any(place.row for place in places) else {}
        return finding.as_json(language) | files | rows

    def lines(self, language: Language) -> list[str]:
        """What a person reads: what is wrong, the gravest first, then how the rows were read, lengths and advice."""
        lines = [verdict(self.findings).to(language)]
        lines += [self._line(finding).to(language) for finding in self.findings.found]
        lines += [note.to(language) for note in self.notes]
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
    rows: data.Rows,
    held_out: Sequence[Conversation],
    eval_rows: data.Rows | None,
    persona: str | None,
    lengths: Sequence[int],
    targets: Sequence[int],
    max_length: int,
) -> Checkup:
    """Everything there is to say about rows that can be read; their problems stay in `rows.problems`.

    `held_out` are some of `rows.kept` (the very same objects); where `eval_rows` are given, these are the other
    side instead. `persona` is the system prompt for rows without their own. `lengths` and `targets` are the
    tokens of each row and how many of them are learned. Raises as `data.stream_rows` does, since of several files
    the lines are looked up again.
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
        rows.ignored,
        rows.notes,
        Findings(found.rows, tuple(_located(finding, table) for finding in found.found)),
        {finding.kind: tuple(table[number] for number in finding.lines) for finding in found.found},
        _measured(lengths, targets, max_length) if lengths else None,
        advice(len(kept), mean_targets) if targets else None,
    )


def _places(rows: data.Rows) -> list[Place]:
    """Where each of the kept rows stands."""
    path = rows.path
    alone = path.is_file() and path.suffix.lower() != ".zip"
    if alone and len({row.line for row in rows.kept}) == len(rows.kept):
        return [Place("", row.line) for row in rows.kept]
    asked = {role: dict(columns.names).get(role, "") for columns in rows.mapping for role in columns.asked}
    stream = data.stream_rows(path, asked)
    names = stream.file_names
    places = [Place(names[row.source], row.line, number) for number, row in numbered(stream) if row.conversation]
    if [place.line for place in places] != [row.line for row in rows.kept]:
        name = shown(str(path))
        raise DataError(
            f"{name} 在检查的过程中变了；请等它写完，再运行一次",
            f"{name} changed while it was being examined; wait until it is complete, and run again",
        )
    return places


def numbered(rows: Iterable[data.Row]) -> Iterator[tuple[int, data.Row]]:
    """Each row with its number in its file, or with 0 where no other row stands on its line."""
    last: data.Row | None = None
    number = 0
    for row, after in pairwise(chain(rows, [None])):
        assert row
        number = number + 1 if last and last.source == row.source else 1
        neighbours = ((other.source, other.line) for other in (last, after) if other)
        yield number if (row.source, row.line) in neighbours else 0, row
        last = row


def _located(finding: Finding, table: Sequence[Place]) -> Finding:
    """The finding by the lines of the files instead of the rows' numbers."""
    zh, en = finding.what
    if finding.kind == "near_duplicates":  # the only one that names lines in its words
        zh = re.sub(r"第 (\d+) 行", lambda found: table[int(found[1])].shown.zh, zh).rstrip()
        en = re.sub(r"line (\d+)", lambda found: table[int(found[1])].shown.en, en)
    lines = tuple(table[number].line for number in finding.lines)
    return replace(finding, lines=lines, what=Text(zh, en))


def verdict(findings: Findings) -> Text:
    rows, kinds = findings.rows, len(findings.found)
    if not rows:
        return Text("没有一条能用的数据", "there is no row that can be used")
    if not kinds:
        return Text(f"{rows} 条数据，没有发现问题", f"{rows} rows: nothing wrong was found")
    many = "s of faults were" if kinds > 1 else " of fault was"
    return Text(f"{rows} 条数据，发现 {kinds} 类问题", f"{rows} rows: {kinds} kind{many} found")


def listed_places(places: Sequence[Place], most: int) -> Text:
    """第 3、17、52 行 …, or 第 3、17 条 of rows that share a line, or with files 一.csv:3、二.csv:5."""
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


def how_read(checkup: Checkup) -> Text:
    """The kind of file, its encoding, and which column stands for what."""
    kind = "" if checkup.kind == "mixed" else checkup.kind.upper()
    columns = (str(each) if each.renames else ", ".join(dict(each.names)) for each in checkup.mapping)
    parts = [part for part in (kind, ENCODING_NAMES.get(checkup.encoding, ""), " | ".join(columns)) if part]
    zh, en = "读法：" + "，".join(parts), "read as " + ", ".join(parts)
    if checkup.ignored:
        names = [shown(column, 40) for column in checkup.ignored]
        zh += f"；没有用到的列：{'、'.join(names)}"
        en += f"; columns not used: {', '.join(names)}"
    return Text(zh, en)


def _advised(advised: Advice) -> Text:
    values = settings(advised)
    return Text(f"建议从 {values} 开始：{advised.why.zh}", f"start from {values}: {advised.why.en}")


def settings(advised: Advice) -> str:
    """The advice as it is written on a command line."""
    return f"num_train_epochs={advised.epochs} lora_rank={advised.lora_rank} learning_rate={advised.learning_rate:g}"


def _advice_json(advised: Advice, language: Language) -> dict[str, object]:
    return {
        "num_train_epochs": advised.epochs,
        "lora_rank": advised.lora_rank,
        "learning_rate": advised.learning_rate,
        "why": advised.why.to(language),
    }


# Lengths


def _measured(lengths: Sequence[int], targets: Sequence[int], max_length: int) -> Lengths:
    return Lengths(
        max_length,
        min(lengths),
        statistics.median_low(lengths),
        max(lengths),
        sum(length > max_length for length in lengths),
        sum(lengths),
        sum(targets),
        _histogram(lengths, max_length),
    )


def _histogram(lengths: Sequence[int], max_length: int) -> tuple[Bin, ...]:
    """At most ten bins up to the longest row or `max_length`, whichever comes first, and one for what is longer."""
    longest = max(lengths)
    top = min(longest, max_length)
    step = _round_step(top / BINS)
    lasts = [*range(step, top, step), min(math.ceil(top / step) * step, max_length)]
    counts = [0] * (len(lasts) + 1)
    for length in lengths:
        counts[bisect_left(lasts, length)] += 1
    firsts = [1, *(last + 1 for last in lasts)]
    beyond = [None] if longest > max_length else []
    return tuple(map(Bin, firsts, [*lasts, *beyond], counts))


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is not below `least`."""
    digits = int(10 ** (len(str(math.ceil(least))) - 1))
    return next(digit * digits for digit in (1, 2, 5, 10) if digit * digits >= least)


def _bars(histogram: Sequence[Bin]) -> Iterator[str]:
    """One line for each bin; the bars come last, so that nothing has to line up behind them."""
    labels = max(len(each.label) for each in histogram)
    most = max(each.rows for each in histogram)
    for each in histogram:
        bar = "█" * math.ceil(each.rows * BAR_CHARACTERS / most)
        yield f"{each.label:>{labels}}  {each.rows:>{len(str(most))}}  {bar}".rstrip()
