"""The check-up as one self-contained HTML page that can be sent to anyone.

    Checkup, counts, examples ──check_page──► "<!doctype html>…"

The page loads nothing and runs nothing: no script, no picture, no font. The content of rows is always escaped, and
characters that are invisible or change the reading direction are shown as code points.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol

import jinja2

from ...core.example import Example
from ...text import Language, Text, shown, visible
from ..read.dataset import RowProblem
from .checkup import Checkup, how_read, settings, verdict
from .places import listed_places
from .quality import Finding

MOST_LINES = 30

MOST_PROBLEMS = 100

EXAMPLES = 2

MarkedText = tuple[str, bool]
"""A stretch of a row as the model sees it, and True if it is learned."""


class Counts(Protocol):
    """Numbers of rows of a dataset."""

    @property
    def read(self) -> int: ...
    @property
    def kept(self) -> int: ...
    @property
    def dropped(self) -> int: ...


def pieces(example: Example, decode: Callable[[list[int]], str]) -> tuple[MarkedText, ...]:
    """Return the text of an example, cut where learning begins and ends. `decode` must keep control tokens."""
    return tuple((decode(list(ids)), wanted) for ids, wanted in example.runs())


def check_page(
    checkup: Checkup,
    table: Counts,
    examples: Sequence[Sequence[MarkedText]],
    language: Language,
    problems: Sequence[RowProblem] = (),
) -> str:
    """Return a whole HTML document in one language, to be written as UTF-8.

    It shows at most `EXAMPLES` examples and `MOST_PROBLEMS` of the rows that cannot be used.
    """

    def say(text: Text) -> str:
        return text.to(language)

    lengths, advised = checkup.lengths, checkup.advice
    words = {key: say(text) for key, text in _WORDS.items()}
    rest = len(problems) - MOST_PROBLEMS
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=visible
    )
    template = (resources.files("tonghua.data.checkup") / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        lang="zh-CN" if language == "zh" else "en",
        words=words,
        name=shown(checkup.path.name),
        path=shown(str(checkup.path)),
        counts=[(words["read"], table.read), (words["kept"], table.kept), (words["dropped"], table.dropped)],
        how_read=say(how_read(checkup)),
        notes=[say(note) for note in checkup.told],
        problems=[_problem(problem, language) for problem in problems[:MOST_PROBLEMS]],
        more_problems=say(Text(f"还有 {rest} 处", f"{rest} more")) if rest > 0 else "",
        verdict=say(verdict(checkup.findings)),
        findings=[_finding(checkup, finding, language) for finding in checkup.findings.found],
        lengths=lengths.summary(language) if lengths else (),
        bins=_bins(checkup),
        examples=examples[:EXAMPLES],
        advice=settings(advised) if advised else "",
        why=say(advised.why) if advised else "",
    )


def _finding(checkup: Checkup, finding: Finding, language: Language) -> Mapping[str, str]:
    return {
        "what": finding.what.to(language),
        "where": listed_places(checkup.places[finding.kind], MOST_LINES).to(language),
        "mend": finding.mend.to(language),
    }


def _problem(problem: RowProblem, language: Language) -> Mapping[str, str]:
    return {
        "where": problem.place.to(language),
        "what": problem.what.to(language),
        "mend": problem.mend.to(language),
    }


def _bins(checkup: Checkup) -> list[Mapping[str, Any]]:
    histogram = checkup.lengths.histogram if checkup.lengths else ()
    most = max((each.rows for each in histogram), default=1)
    return [
        {"label": each.label, "rows": each.rows, "percent": round(100 * each.rows / most, 1), "over": each.last is None}
        for each in histogram
    ]


_WORDS: Mapping[str, Text] = {
    "title": Text("数据体检", "Check-up of"),
    "what_was_read": Text("读到了什么", "What was read"),
    "read": Text("读到", "read"),
    "kept": Text("可用", "kept"),
    "dropped": Text("没有用", "left out"),
    "unusable": Text("不能用的数据", "Rows that cannot be used"),
    "findings": Text("发现的问题", "What was found"),
    "lengths": Text("长度", "Lengths"),
    "tokens": Text("token 数", "tokens"),
    "rows": Text("条数", "rows"),
    "examples": Text("模型看到的样子", "What the model sees"),
    "marked": Text("有底色的部分是要学的。", "What is marked is learned."),
    "no_example": Text("没有一条能用的数据。", "There is no row that can be used."),
    "advice": Text("建议", "Advice"),
    "start": Text("可以从这里开始：", "A place to start from:"),
}
