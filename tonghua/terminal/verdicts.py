"""The comparison of base and tuned on a terminal: the four lines of the verdict, and the table of figures."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text as Line

from ..runs.record import found, number
from ..runs.verdict import JUDGED, Verdict, VerdictLine
from ..text import Language, Text, one_line

_STYLES = {"gained": "green", "lost": "bold red"}

_FIGURES = {
    ("loss",): ("每 token 损失", "loss per token"),
    ("loss", "bits_per_char"): ("每字比特", "bits per character"),
}

_HEALTH = {
    "stop_rate": ("自己停下", "stops by itself"),
    "ends_complete": ("结尾完整", "complete ending"),
    "rep4": ("重复（rep-4）", "repetition (rep-4)"),
    "chars": ("平均字数", "characters"),
    "clause_length": ("小句字数", "characters per clause"),
    "dialogue_share": ("对话占比", "dialogue share"),
}


def verdict_lines(verdict: Verdict, language: Language) -> Iterator[Line]:
    """Yield the headline, and a line for each of the four."""
    yield Line(_plain(verdict.headline.to(language)), "bold")
    for line in verdict.lines:
        told = Line(f"  {JUDGED[line.judgement].to(language)}  ", _STYLES.get(line.judgement, "dim"))
        yield told.append(_plain(_told(line).to(language)), "none")


def _told(line: VerdictLine) -> Text:
    parts = [Text(f" {part}", f" {part}") for part in [line.figure] if part]
    parts += [Text(f"，{line.change.zh}", f", {line.change.en}")] if line.change else []
    parts += [Text(f"；{line.note.zh}" if parts else line.note.zh, f"; {line.note.en}")] if line.note else []
    zh, en = "".join(part.zh for part in parts), "".join(part.en for part in parts)
    return Text(f"{line.name.zh}：{zh.strip()}", f"{line.name.en}: {en.strip('; ')}")


def _plain(text: str) -> str:
    # Not every terminal's encoding has the minus sign of print.
    return one_line(text.replace("−", "-"))


def figures(evaluation: Mapping[str, Any], language: Language) -> Table:
    """Return the table of loss and health of base and tuned."""
    grid = Table(show_edge=False)
    for zh, en in (("", ""), ("基座", "base"), ("训练后", "tuned")):
        grid.add_column(Text(zh, en).to(language), justify="right")
    for keys, name in _FIGURES.items():
        values = found(evaluation, *keys)
        _add(grid, Text(*name).to(language), number(values, "base"), number(values, "tuned"))
    for key, name in _HEALTH.items():
        base, tuned = (number(evaluation, "generated", side, key) for side in ("base", "tuned"))
        _add(grid, Text(*name).to(language), base, tuned)
    return grid


def _add(grid: Table, name: str, before: float | None, after: float | None) -> None:
    if before is not None and after is not None:
        grid.add_row(name, f"{before:.3f}", f"{after:.3f}")
