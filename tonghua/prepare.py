"""From a config to what training, checking and evaluating read: a vetted model folder and tokenized rows.

rows.json --read_rows--> conversations --Renderer--> examples --max_length--> train | held-out
                |                                        |
             problems                                 too long       (counted, named, never cut)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import data
from .config import Config
from .data import Problem
from .errors import DataError, Text, UsageError
from .example import Example
from .hub import find
from .prompt import Conversation, Renderer
from .scan import ModelFiles, scan_model

MOST_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Samples:
    """Conversations of one side and their examples, in the same order."""

    conversations: tuple[Conversation, ...]
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True, slots=True)
class Table:
    """What became of the rows of a file: read = kept + bad + too_long."""

    read: int
    kept: int
    bad: int
    too_long: int

    @property
    def dropped(self) -> int:
        return self.bad + self.too_long


@dataclass(frozen=True, slots=True)
class Prepared:
    model: ModelFiles
    renderer: Renderer
    table: Table
    problems: tuple[Problem, ...]
    samples: Samples


def open_model(model: str | None) -> tuple[ModelFiles, Renderer]:
    """A model's folder, vetted, and its template and tokenizer."""
    files = scan_model(find(model))
    return files, Renderer(files.folder)


def prepare(config: Config, files: ModelFiles, renderer: Renderer, dataset: str | None = None) -> Prepared:
    """All rows of the dataset as examples, and what is wrong with the others; only an unreadable file is refused."""
    path = dataset or config.dataset
    if path is None:
        raise UsageError("没有指定数据；请写 dataset=数据文件", "no rows are named; write dataset=FILE")
    rows = data.read_rows(Path(path).expanduser())
    examples = renderer.examples(rows.kept, config.system)
    fits = [len(e.ids) <= config.max_length for e in examples]
    long = [_too_long(c, e, config.max_length) for c, e, fit in zip(rows.kept, examples, fits, strict=True) if not fit]
    kept = Samples(
        tuple(c for c, fit in zip(rows.kept, fits, strict=True) if fit),
        tuple(e for e, fit in zip(examples, fits, strict=True) if fit),
    )
    table = Table(rows.read, len(kept), rows.read - len(rows.kept), len(long))
    problems = tuple(sorted((*rows.problems, *long), key=lambda p: p.line))
    return Prepared(files, renderer, table, problems, kept)


def _too_long(conversation: Conversation, example: Example, limit: int) -> Problem:
    return Problem(
        conversation.line,
        Text(
            f"有 {len(example.ids)} 个 token，超过 max_length={limit}，整行不用（不会截断）",
            f"has {len(example.ids)} tokens, more than max_length={limit}; the row is left out, not cut",
        ),
        Text("调大 max_length，或把它拆成几行", "set a larger max_length, or split it into several rows"),
    )


def require_usable(ready: Prepared, path: str, skip_bad_rows: bool) -> None:
    """Raises DataError where rows have faults that the user has not agreed to skip, or none is left."""
    if ready.table.bad and not skip_bad_rows:
        shown = ready.problems[:MOST_PROBLEMS_SHOWN]
        zh = "\n".join(f"  第 {p.line} 行：{p.what.zh}；{p.mend.zh}" for p in shown)
        en = "\n".join(f"  line {p.line}: {p.what.en}; {p.mend.en}" for p in shown)
        rest = len(ready.problems) - len(shown)
        more = Text(f"\n  …… 还有 {rest} 处", f"\n  ... and {rest} more") if rest else Text("", "")
        raise DataError(
            f"{path} 有 {ready.table.bad} 行不能用，请改好，或加 skip_bad_rows=true 跳过它们：\n{zh}{more.zh}",
            f"{path} has {ready.table.bad} unusable rows; mend them, or add skip_bad_rows=true to leave them out:\n"
            f"{en}{more.en}",
        )
    if not len(ready.samples):
        raise DataError(
            f"{path} 里没有一行能用于训练（读到 {ready.table.read} 行，过长 {ready.table.too_long} 行）",
            f"{path} has no row to train on ({ready.table.read} read, {ready.table.too_long} too long)",
        )


def split(samples: Samples, val_size: float, seed: int) -> tuple[Samples, Samples]:
    """Train and held-out side; no question stands on both."""
    train, held = data.split(samples.conversations, val_size, seed)
    example_of = {id(c): e for c, e in zip(samples.conversations, samples.examples, strict=True)}
    return _side(train, example_of), _side(held, example_of)


def _side(conversations: Sequence[Conversation], example_of: dict[int, Example]) -> Samples:
    return Samples(tuple(conversations), tuple(example_of[id(c)] for c in conversations))
