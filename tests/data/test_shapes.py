"""shapes: what becomes of a row of each shape of public example files, and that the docs say so.

`shapes.jsonl` holds one shape a line, in words of our own: its names, how it looks, a row, and what becomes of the
row. That is its messages ("s 设" system, "u 问" user, "a 答" an answer that is context, "a* 答" one that is learned),
or a phrase of the refusal in English; `result` is what the table of docs/*/rows.md says of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tonghua.data.read.dataset import read_rows
from tonghua.errors import DataError
from tonghua.prompt.conversation import Conversation

DOCS = Path(__file__).parents[2] / "docs"

SHAPES = [json.loads(line) for line in (Path(__file__).parent / "shapes.jsonl").read_text("utf-8").splitlines()]


def written(conversation: Conversation) -> list[str]:
    """The messages as `shapes.jsonl` writes them."""
    marks = {"system": "s", "user": "u", "assistant": "a"}
    learned = (m.role == "assistant" and m.learn for m in conversation.messages)
    return [f"{marks[m.role]}{'*' * star} {m.content}" for m, star in zip(conversation.messages, learned, strict=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["en"])
def test_what_becomes_of_a_row(tmp_path: Path, shape: dict[str, Any]) -> None:
    path, becomes = tmp_path / "行.jsonl", shape["becomes"]
    path.write_text(f"{json.dumps(shape['row'], ensure_ascii=False)}\n" * 2, encoding="utf-8")
    try:
        rows = read_rows(path)
    except DataError as refusal:
        assert isinstance(becomes, str) and becomes in refusal.text.en
        return
    if isinstance(becomes, str):
        assert (rows.kept, {problem.line for problem in rows.problems}) == ((), {1, 2})
        assert becomes in rows.problems[0].what.en
    else:
        assert rows.problems == ()
        assert [written(row) for row in rows.kept] == [becomes] * 2


@pytest.mark.parametrize(("language", "no"), [("en", "refused"), ("zh", "不读")])
def test_the_docs_say_what_becomes_of_each_shape(language: str, no: str) -> None:
    page = (DOCS / language / "rows.md").read_text(encoding="utf-8").splitlines()
    lines = [f"| {shape[language]} | `{shape['look']}` | {shape['result'][language]} |" for shape in SHAPES]
    start = page.index(lines[0])
    assert page[start : start + len(lines)] == lines
    for shape in SHAPES:
        assert shape["result"][language].startswith(no) == isinstance(shape["becomes"], str)


def test_each_shape_is_there_once() -> None:
    assert len(SHAPES) >= 60
    assert all(len({shape[name] for shape in SHAPES}) == len(SHAPES) for name in ("en", "zh"))
