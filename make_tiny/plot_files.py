"""Parse the files of `make_tiny/plots` into Plots. An error names the file, the line and the fix.

== 分享 the_last_of_it 逐句        a plot: its lesson, its name, its style            -> Plot
好多 = [一大篮|一盘子]松果         a text, drawn once                                -> Value
灯;量词 = 取1行                   one or more rows of the table below               -> Rows
- 小油灯;盏
几样: 起先，;接着，;后来，         two or three of the texts below, in any order     -> Block
- {主角}搬来几块石头……
other lines                      a paragraph, up to the next blank line            -> Paragraph
"""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

STYLES = IN_TURN, BY_PARAGRAPH, WHOLE = "逐句", "逐段", "全篇"
EVERYBODY = "角色"  # 取1行，避开角色: skip rows with the name or the kind of a character
FIRST = "先："  # {先：[甲|乙]} is drawn before the other choices of its paragraph
SPEECH = re.compile(r"“(.*)”([^”]*?)(说|问|喊|叮嘱)")
NUMBER = re.compile(r"(\d+)到(\d+)")

TITLE = re.compile(rf"== (\S+)(?: (\w+) ({'|'.join(STYLES)}))?")
STATEMENT = re.compile(r"(\w+(?:;\w+)*) = (.*)")
TAKEN = re.compile(r"取(\d)行(?:，避开(\S+))?")
CONDITION = re.compile(r"@(\w+)([=≠])([^ ]+)(?: (.*))?")
SOME, ROW = "几样:", "- "
CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Line:
    """A line and its continuations. Used if `name` is empty, or if (value of `name` in `values`) == `wanted`."""

    number: int
    text: str
    name: str = ""
    values: tuple[str, ...] = ()
    wanted: bool = True


@dataclass(frozen=True)
class Value:
    """`name = text`."""

    name: str
    line: Line


@dataclass(frozen=True)
class Rows:
    """`names = 取1行`: the names get the columns of the drawn rows, which avoid the values of the `avoided` names."""

    names: tuple[str, ...]
    taken: int
    avoided: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True)
class Block:
    """`几样: 起先，;接着，;后来，`: some of the texts, each after its word of order."""

    firsts: tuple[Line, ...]
    texts: tuple[Line, ...]


@dataclass(frozen=True)
class Paragraph:
    """Lines of one paragraph; `condition` is a line without text that applies to all of them."""

    lines: tuple[Line, ...]
    condition: Line


Item = Value | Rows | Block | Paragraph


@dataclass
class Plot:
    """A plot or, if it has no lesson, a phrase that plots share."""

    file: Path
    name: str
    lesson: str = ""
    style: str = IN_TURN
    items: list[Item] = field(default_factory=list)

    def refusal(self, number: int, why: str) -> ValueError:
        """Return the error for a line of the file."""
        return ValueError(f"{self.file}:{number}: {why}")


def plots_of(file: Path, known: Set[str]) -> list[Plot]:
    """Return the plots of a file. Texts may use `known` names and names that the plot sets. Raises ValueError."""
    plots: list[Plot] = []
    for group in _groups(file):
        number, first = group[0]
        if first.startswith("=="):
            found = TITLE.fullmatch(first)
            if not found:
                raise ValueError(f"{file}:{number}: no title; write `== 道理 name 逐句`, or 逐段 or 全篇 at its end")
            lesson_name_style = (found[2], found[1], found[3]) if found[2] else (found[1],)
            plots.append(Plot(file, *lesson_name_style))
            group = group[1:]
        if not plots:
            raise ValueError(f"{file}:{number}: no plot begins above this line; write `== 道理 name 逐句` first")
        plots[-1].items += _items(plots[-1], group)
    for plot in plots:
        _check(plot, set(known))
    return plots


def _groups(file: Path) -> Iterator[list[tuple[int, str]]]:
    """Yield groups of (number, line) between blank lines, without comments. Join indented lines to the one before."""
    group: list[tuple[int, str]] = []
    for number, line in enumerate([*file.read_text(encoding="utf-8").splitlines(), ""], 1):
        if line.startswith("#"):
            continue
        if group and (line.startswith("==") or not line.strip()):
            yield group
            group = []
        if group and line[0].isspace():
            group[-1] = (group[-1][0], group[-1][1] + line.strip())
        elif line.strip():
            group.append((number, line.strip()))


def _items(plot: Plot, group: list[tuple[int, str]]) -> Iterator[Item]:
    """Yield the items of one group of lines."""
    told: list[Line] = []
    condition = Line(0, "")
    while group:
        number, text = group.pop(0)
        statement = STATEMENT.fullmatch(text)
        if text.startswith(SOME) or (statement and statement[2].startswith("取")):
            rows = []
            while group and group[0][1].startswith(ROW):
                row_number, row = group.pop(0)
                rows.append(Line(row_number, row.removeprefix(ROW)))
            yield _table(plot, number, statement, rows) if statement else _block(plot, number, text, rows)
        elif statement:
            yield Value(statement[1], Line(number, statement[2]))
        elif text.startswith("@"):
            line = _conditioned(plot, number, text)
            condition, told = (condition, [*told, line]) if line.text else (line, told)
        elif text.startswith(ROW) or "=" in text:
            raise plot.refusal(
                number, "neither text nor statement; write `name = text`, or rows right below their head"
            )
        else:
            told.append(Line(number, text))
    if told:
        yield Paragraph(tuple(told), condition)


def _conditioned(plot: Plot, number: int, text: str) -> Line:
    """Parse `@篇幅=中/长 text`."""
    found = CONDITION.fullmatch(text)
    if not found:
        raise plot.refusal(number, "no condition; write `@篇幅=中/长`, alone or with a space and a text behind it")
    return Line(number, found[4] or "", found[1], tuple(found[3].split("/")), found[2] == "=")


def _table(plot: Plot, number: int, statement: re.Match[str], rows: list[Line]) -> Rows:
    """Parse `names = 取…` and its rows: each drawn row fills as many names as it has columns."""
    names, found = tuple(statement[1].split(";")), TAKEN.fullmatch(statement[2])
    if not found:
        raise plot.refusal(number, f"`{statement[2]}` takes no rows; write `取1行` or `取1行，避开角色`")
    taken, avoided = int(found[1]), tuple(found[2].split("、")) if found[2] else ()
    if not taken or len(names) % taken or len(rows) < taken:
        raise plot.refusal(number, f"{taken} rows from {len(rows)} for {len(names)} names; write as many as it takes")
    columns = len(names) // taken
    cells = tuple(tuple(Line(row.number, cell) for cell in row.text.split(";")) for row in rows)
    for row in cells:
        if len(row) != columns:
            why = f"{len(row)} columns, not {columns}; write a text for each name of line {number}, parted by `;`"
            raise plot.refusal(row[0].number, why)
    return Rows(names, taken, avoided, cells)


def _block(plot: Plot, number: int, text: str, rows: list[Line]) -> Block:
    """Parse `几样: …` and its texts."""
    firsts = tuple(Line(number, first) for first in text.removeprefix(SOME).strip().split(";"))
    if len(firsts) != 3 or len(rows) < 3:
        why = f"{len(firsts)} words of order and {len(rows)} texts; write three words and three or more texts"
        raise plot.refusal(number, why)
    return Block(firsts, tuple(rows))


def _check(plot: Plot, known: set[str]) -> None:
    """Check that every bracket is closed and every name is set before its use. Raises ValueError."""
    for item in plot.items:
        lines: tuple[Line, ...]
        match item:
            case Value(_, line):
                lines = (line,)
            case Rows(rows=rows, avoided=avoided):
                lines = tuple(line for row in rows for line in row)
                lines += tuple(Line(rows[0][0].number - 1, "", name) for name in avoided if name != EVERYBODY)
            case Block(firsts, texts):
                lines = firsts + texts
            case Paragraph(told, condition):
                lines = (condition, *told)
        for line in lines:
            _check_line(plot, line, known)
        known |= {item.name} if isinstance(item, Value) else set(item.names) if isinstance(item, Rows) else set()


def _check_line(plot: Plot, line: Line, known: Set[str]) -> None:
    if line.name and line.name not in known:
        raise plot.refusal(line.number, _unknown(line.name, known))
    if fault := bracket_fault(line.text):
        raise plot.refusal(line.number, fault)
    text = line.text
    while found := re.search(r"\{([^{}]*)\}", text):
        name = found[1]
        if name not in known and not (SPEECH.fullmatch(name) or NUMBER.fullmatch(name) or name.startswith(FIRST)):
            raise plot.refusal(line.number, _unknown(name, known))
        text = text.replace(found[0], "")


def bracket_fault(text: str) -> str:
    """Return the error in the brackets of a text; empty if there is none."""
    opened: list[str] = []
    for mark in text:
        if mark in CLOSING:
            opened.append(mark)
        elif mark in CLOSING.values() and (not opened or CLOSING[opened.pop()] != mark):
            return f"`{mark}` closes nothing; take it out, or open it before"
    return f"`{opened[-1]}` is not closed; write `{CLOSING[opened[-1]]}` where it ends" if opened else ""


def _unknown(name: str, known: Set[str]) -> str:
    if name.startswith("“"):
        return f"`{name}` is no speech; end it with 说, 问, 喊 or 叮嘱: {{“你好。”{{主角}}说}}"
    near = "、".join(get_close_matches(name, sorted(known), cutoff=0))
    return f"the name `{name}` is not known; set it above with `{name} = …`, or write one such as {near}"
