"""From a config to what training, checking and evaluating read: a vetted model folder and tokenized rows.

rows.json --stream_rows--> conversations --Renderer--> ids on disk --Samples--> train | held-out
              |                              |
           problems                      too long: split at a paragraph, or told    (never cut)
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from . import data
from .config.schema import Config
from .core.example import Example
from .data import Problem, stream_rows
from .errors import DataError, UsageError
from .models.download import fetch_if_needed
from .models.scan import ModelFiles, scan_model
from .models.shipped import datasets
from .prompt.conversation import Conversation
from .prompt.renderer import Renderer
from .sources import STORY_SUFFIX, SUFFIXES, changed, content_sha256, require_there, user_path
from .system.environment import home
from .text import Text, shown
from .tokenized import Settings, Table, Tokenized, key_of, opened, tokenize

MOST_PROBLEMS_SHOWN = 20

MOST_HELD_OUT = 2_000
"""Samples held out where `val_size` is a share: enough for an interval of a hundredth, and soon measured."""

T = TypeVar("T")

MOST_OFTEN = 100
"""Times that a dataset's rows are seen in an epoch."""

_WEIGHT = re.compile(r"(?P<path>.+)\*(?P<weight>\d+(\.\d+)?)")


class Samples:
    """Samples of one side, read from disk as they are asked for: those of `order` (n,), counted through `parts`."""

    def __init__(self, parts: Sequence[Tokenized], order: NDArray[np.int64] | None = None):
        self.parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.order = np.arange(self._starts[-1]) if order is None else order
        every = [part.samples for part in parts]
        self._index = every[0] if len(every) == 1 else np.concatenate(every)

    def __len__(self) -> int:
        return len(self.order)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each sample."""
        return self._index["tokens"][self.order].astype(np.int64)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Targets of each sample."""
        return self._index["targets"][self.order].astype(np.int64)

    def packed_tokens(self, samples_per_step: int) -> int:
        """About how many tokens an epoch reads where the samples of a step share their system prompt."""
        shared = int(self._index["shared"][self.order].astype(np.int64).sum())
        return int(self.tokens.sum()) - shared + shared // samples_per_step

    @property
    def row_tokens(self) -> NDArray[np.int64]:
        """Tokens of each row, whole, however many samples it became."""
        index = self._index[self.order]
        whole: NDArray[np.int64] = index["row_tokens"][index["part"] == 0].astype(np.int64)
        return whole

    @property
    def row_targets(self) -> NDArray[np.int64]:
        """Targets of each row, of all its samples together."""
        index = self._index[self.order]
        firsts = np.flatnonzero(index["part"] == 0)
        return np.add.reduceat(index["targets"].astype(np.int64), firsts) if len(firsts) else np.zeros(0, np.int64)

    @property
    def questions(self) -> NDArray[np.uint64]:
        """A hash of each sample's first question."""
        return self._index["question"][self.order].astype(np.uint64)

    @property
    def examples(self) -> "View[Example]":
        return View(self, lambda part, index: part[index])

    @property
    def conversations(self) -> "View[Conversation]":
        return View(self, lambda part, index: part.conversation(index))

    @property
    def keys(self) -> tuple[str, ...]:
        """The names under which the rows are kept: they change with the rows and with how they become tokens."""
        return tuple(part.folder.name for part in self.parts)

    def row(self, place: int) -> int:
        """Which of the usable rows of its file this sample was made of, from 1."""
        part, index = self.at(place)
        return part.row(index)

    def chosen(self, order: NDArray[np.int64]) -> "Samples":
        """These samples only, by their places in this one."""
        return Samples(self.parts, self.order[order])

    def at(self, place: int) -> tuple[Tokenized, int]:
        index = int(self.order[place])
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], index - int(self._starts[part])


class View(Sequence[T]):
    """One thing of each sample."""

    def __init__(self, samples: Samples, read: Callable[[Tokenized, int], T]):
        self._samples, self._read = samples, read

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._read(*self._samples.at(place % len(self)))


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows as training will see them. `mapping` and `notes` are for people: how columns were read, what was odd."""

    model: ModelFiles
    renderer: Renderer
    table: Table
    problems: tuple[Problem, ...]
    samples: Samples
    mapping: tuple[str, ...]
    notes: tuple[Text, ...]
    kind: str
    form: str
    encoding: str
    ignored: tuple[str, ...]
    weights: NDArray[np.float64]
    """(samples,) how often each is to be seen in an epoch."""


def open_model(model: str | None) -> tuple[ModelFiles, Renderer]:
    """A model's folder, fetched if need be and vetted, and its template and tokenizer."""
    files = scan_model(fetch_if_needed(model))
    return files, Renderer(files.folder)


def require_datasets(config: Config) -> None:
    """Raises DataError for a dataset that is not there: to be told before a model is fetched or loaded."""
    for each in (*_several(config.dataset), *_several(config.eval_dataset)):
        require_there(dataset_path(each))


def _several(datasets: str | Sequence[str] | None) -> tuple[str, ...]:
    """One dataset or several, as it may be written, one after another."""
    return (datasets,) if isinstance(datasets, str) else tuple(datasets or ())


def prepare(
    config: Config,
    files: ModelFiles,
    renderer: Renderer,
    dataset: str | Sequence[str] | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> Prepared:
    """All rows of the dataset as examples, and what is wrong with the others; only an unreadable file is refused.

    Rows that were prepared before are taken from disk. `advance` is told how many rows are done by now.
    """
    asked = _several(dataset or config.dataset)
    if not asked:
        raise UsageError("没有指定数据；请写 dataset=数据文件", "no rows are named; write dataset=FILE")
    done = 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        advance(done)

    settings = Settings(config.system, config.max_length, config.overlong)
    parts = [_tokenized(dataset_path(each), config, settings, renderer, more) for each in asked]
    problems = [
        replace(problem, file=f"{each}: {problem.file}".removesuffix(": ") if len(asked) > 1 else problem.file)
        for each, part in zip(asked, parts, strict=True)
        for problem in part.problems
    ]
    abouts = [part.about for part in parts]
    return Prepared(
        files,
        renderer,
        sum((part.counts for part in parts), Table()),
        tuple(problems if len(parts) > 1 else sorted(problems, key=lambda p: (p.file, p.line))),
        Samples(parts),
        tuple(dict.fromkeys(each for about in abouts for each in about["mapping"])),
        tuple(Text(*note) for about in abouts for note in about["notes"]),
        _only(about["kind"] for about in abouts),
        _only(about["form"] for about in abouts),
        _only(about["encoding"] for about in abouts),
        tuple(dict.fromkeys(name for about in abouts for name in about["ignored"])),
        np.repeat([weight_of(each) for each in asked], [len(part) for part in parts]),
    )


def _only(values: Iterable[str]) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else "mixed"


def dataset_path(named: str) -> Path:
    """`rows.json*0.5` -> the path; `fairytale` -> the dataset that comes with tonghua, unless a file is called so.

    Raises DataError for a bare name that is neither, with the names that there are.
    """
    weighted = _weighted(named)
    written = weighted["path"] if weighted else named
    path = user_path(written)
    if path.exists() or Path(written).name != written or path.suffix.lower() in {*SUFFIXES, STORY_SUFFIX, ".zip"}:
        return path
    shipped = datasets()
    if written in shipped:
        return shipped[written]
    raise DataError(
        f"这里没有叫 {shown(written)} 的数据；请写文件或文件夹的路径，或自带数据的名字：{'、'.join(shipped)}",
        f"there are no rows called {shown(written)} here; give a file, a folder, or the name of a dataset that came "
        f"with tonghua: {', '.join(shipped)}",
    )


def from_anywhere(named: str) -> str:
    """A dataset as it can be written in any folder: its path from the root, or its name if it came with tonghua."""
    return named if dataset_path(named) in datasets().values() else str(user_path(named).resolve())


def weight_of(named: str) -> float:
    """`rows.json*0.5` -> how often its rows are seen in an epoch. Raises UsageError for 0 and for too often."""
    weighted = _weighted(named)
    weight = float(weighted["weight"]) if weighted else 1.0
    if not 0 < weight <= MOST_OFTEN:
        raise UsageError(
            f"{named} 里的倍数应大于 0、不大于 {MOST_OFTEN}",
            f"the number in {named} must be above 0 and at most {MOST_OFTEN}",
        )
    return weight


def _weighted(named: str) -> re.Match[str] | None:
    return None if user_path(named).exists() else _WEIGHT.fullmatch(named)


def _tokenized(
    path: Path, config: Config, settings: Settings, renderer: Renderer, advance: Callable[[int], None]
) -> Tokenized:
    content = content_sha256(path)
    folder = home() / "rows" / key_of(content, renderer, settings, config.columns)
    kept = opened(folder)
    if kept is not None:
        advance(kept.counts.read)
        return kept
    rows = stream_rows(path, config.columns)

    def about() -> dict[str, object]:
        if content_sha256(path) != content:
            raise changed(str(path))
        return {
            "mapping": [str(each) for each in rows.mapping if each.renames],
            "notes": [list(note) for note in rows.notes],
            "kind": rows.kind,
            "form": rows.form,
            "encoding": rows.encoding,
            "ignored": list(rows.ignored),
        }

    tokenize(rows, rows.file_names, folder, renderer.folder, settings, about, advance)
    return Tokenized(folder)


def named(datasets: str | Sequence[str] | None) -> str:
    """One dataset or several, for people."""
    return "、".join(_several(datasets))


def require_usable(ready: Prepared, path: str, skip_bad_rows: bool) -> None:
    """Raises DataError where rows have faults that the user has not agreed to skip, or none is left."""
    if ready.table.bad and not skip_bad_rows:
        shown = [(p, Text(f"{p.file} " if p.file else "", f"{p.file} " if p.file else "")) for p in ready.problems]
        shown = shown[:MOST_PROBLEMS_SHOWN]
        zh = "\n".join(f"  {file.zh}第 {p.line} 行：{p.what.zh}；{p.mend.zh}" for p, file in shown)
        en = "\n".join(f"  {file.en}line {p.line}: {p.what.en}; {p.mend.en}" for p, file in shown)
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


def split(ready: Prepared, val_size: float, seed: int) -> tuple[Samples, Samples]:
    """Train and held-out side; no question stands on both. A share holds out `MOST_HELD_OUT` samples at most."""
    wished = val_size if val_size >= 1 else min(val_size * len(ready.samples), MOST_HELD_OUT)
    train, held_out = data.split(ready.samples.questions, round(wished) if wished >= 1 else val_size, seed)
    return ready.samples.chosen(weighted(train, ready.weights[train], seed)), ready.samples.chosen(held_out)


def weighted(places: NDArray[np.int64], weights: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Each place as often as its weight says; what is left over 2.5 or 0.5 is drawn, the same for the same seed."""
    if (weights == 1).all():
        return places
    whole = np.floor(weights)
    drawn = np.random.default_rng(seed).random(len(places)) < weights - whole
    chosen = np.repeat(places, (whole + drawn).astype(np.int64))
    return chosen if len(chosen) else places[:1]
