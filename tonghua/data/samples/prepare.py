"""Prepare what training, checking and evaluation read: a scanned model folder and tokenized rows.

rows.json --stream_rows--> conversations --Renderer--> ids on disk --Samples--> train | held-out
              |                              |
           problems                      too long: split or reported, never truncated
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...config.schema import Config
from ...errors import DataError, UsageError
from ...models.scan import ModelFiles, scan_model
from ...models.store import find
from ...prompt.renderer import Renderer
from ...system.environment import home
from ...text import Text
from ..names import dataset_path, several, weight_of
from ..read import dataset as data
from ..read.dataset import RowProblem, RowStream, stream_rows
from ..read.remarks import Remark, merged, remark_lines
from .maker import RowCounts, SampleSettings
from .samples import Samples
from .store import Tokenized, key_of, opened, tokenize

MOST_PROBLEMS_SHOWN = 20
"""Maximum problems listed in the error of `require_usable`."""

MOST_HELD_OUT = 2_000
"""Maximum held-out rows if `val_size` is a share: enough for an interval of about 0.01, and fast to evaluate."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows as training reads them. `mapping` (renamed columns) and `notes` (what was done) are for the user."""

    model: ModelFiles
    renderer: Renderer
    table: RowCounts
    problems: tuple[RowProblem, ...]
    samples: Samples
    mapping: tuple[str, ...]
    notes: tuple[Text, ...]
    kind: str
    form: str
    encoding: str
    weights: NDArray[np.float64]
    """(samples,): times that each sample, with its whole row, is seen in an epoch."""
    thinking: bool
    """Answers are asked for with their reasoning: the setting says so, or most rows have it."""
    streams: tuple[RowStream, ...]
    """The rows of each dataset as they were read, in order; none unless asked to remember them."""

    def __repr__(self) -> str:
        return f"Prepared(model={str(self.model.folder)!r}, {self.table}, samples={len(self.samples)})"


def open_model(model: str | None) -> tuple[ModelFiles, Renderer]:
    """A vetted model folder of this machine, and its template and tokenizer. Raises UsageError if it is not here."""
    files = scan_model(find(model))
    return files, Renderer(files.folder)


def prepare(
    config: Config,
    files: ModelFiles,
    renderer: Renderer,
    dataset: str | Sequence[str] | None = None,
    advance: Callable[[int], None] = lambda rows: None,
    remember: bool = False,
) -> Prepared:
    """Tokenize all rows of `dataset` (default: config.dataset), and collect the problems of unusable rows.

    Rows that were prepared before are loaded from disk. `advance` is called with the total of rows done so far. With
    `remember`, the streams of the result keep their rows in memory.
    Raises UsageError if no dataset is named, and the errors of `dataset_path`, `weight_of`, `stream_rows` and
    `tokenize`.
    """
    asked = several(dataset or config.dataset)
    if not asked:
        raise UsageError("没有指定数据；请写 dataset=数据文件", "no rows are named; write dataset=FILE")
    done = 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        advance(done)

    settings = sample_settings(config)
    streams = [stream_rows(dataset_path(each), config.columns, remember, config.max_samples) for each in asked]
    parts = [_tokenized(stream, config, settings, renderer, more) for stream in streams]
    problems = [
        replace(problem, file=f"{each}: {problem.file}".removesuffix(": ") if len(asked) > 1 else problem.file)
        for each, part in zip(asked, parts, strict=True)
        for problem in part.problems
    ]
    abouts = [part.about for part in parts]
    remarks = [Remark(*each) for about in abouts for each in about["remarks"]]
    counts = sum((part.counts for part in parts), RowCounts())
    thinking = config.enable_thinking is True or counts.thinking * 2 > counts.kept
    return Prepared(
        files,
        renderer,
        counts,
        tuple(sorted(problems, key=lambda p: (not p.blocks, *((p.file, p.line) if len(parts) == 1 else ())))),
        Samples(parts),
        tuple(dict.fromkeys(each for about in abouts for each in about["mapping"])),
        (
            *files.notes,
            *(Text(*note) for about in abouts for note in about["notes"]),
            *remark_lines(merged(remarks)),
            *counts_told(counts, thinking),
        ),
        _only(about["kind"] for about in abouts),
        _only(about["form"] for about in abouts),
        _only(about["encoding"] for about in abouts),
        np.repeat([weight_of(each) for each in asked], [len(part) for part in parts]),
        thinking,
        tuple(streams) if remember else (),
    )


def sample_settings(config: Config) -> SampleSettings:
    """Return those of the settings that change the ids."""
    return SampleSettings(config.system, config.max_length, config.overlong, config.enable_thinking)


def counts_told(counts: RowCounts, thinking: bool) -> Iterator[Text]:
    """Yield what the user should know of the reasoning and the greetings in the rows."""
    if counts.ungreeted:
        yield Text(
            f"{counts.ungreeted} 行的开场白太长，放不进 max_length，没有用到；要留住它，请调大 max_length",
            f"the greeting of {counts.ungreeted} rows is too long for max_length and left out; set a larger max_length"
            " to keep it",
        )
    if counts.thinking:
        asks = Text("会思考", "reasons") if thinking else Text("不思考", "does not reason")
        yield Text(
            f"{counts.kept} 行里有 {counts.thinking} 行连同思考一起学；聊天时它{asks.zh}（enable_thinking 定）",
            f"{counts.thinking} of {counts.kept} rows are learned with their reasoning;"
            f" in a chat the model {asks.en} (enable_thinking decides)",
        )
    if counts.unthought:
        yield Text(
            f"{counts.unthought} 行的思考过程不用：这个模型的对话模板里没有思考；"
            "enable_thinking=true 会把它写进回答，enable_thinking=false 明确不要",
            f"the reasoning of {counts.unthought} rows is left out: this model's chat template has no place for it;"
            " enable_thinking=true writes it into the answers, enable_thinking=false says that it is not wanted",
        )


def _only(values: Iterable[str]) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else "mixed"


def _tokenized(
    rows: RowStream, config: Config, settings: SampleSettings, renderer: Renderer, advance: Callable[[int], None]
) -> Tokenized:
    folder = home() / "rows" / key_of(rows.content_sha256, renderer, settings, config.columns)
    kept = opened(folder)
    if kept is not None:
        advance(kept.counts.read)
        return kept

    def about() -> dict[str, object]:
        return {
            "mapping": [str(each) for each in rows.mapping if each.renames],
            "notes": [list(note) for note in rows.notes],
            "kind": rows.kind,
            "form": rows.form,
            "encoding": rows.encoding,
            "remarks": rows.remarks,
        }

    tokenize(rows, rows.file_names, folder, renderer.folder, settings, about, advance)
    return Tokenized(folder)


def require_usable(ready: Prepared, path: str, skip_bad_rows: bool) -> None:
    """Raise DataError if there are bad rows and `skip_bad_rows` is False, or if no sample is left."""
    if ready.table.bad and not skip_bad_rows:
        shown = ready.problems[:MOST_PROBLEMS_SHOWN]
        zh = "\n".join(f"  {p.place.zh}：{p.what.zh}；{p.mend.zh}" for p in shown)
        en = "\n".join(f"  {p.place.en}: {p.what.en}; {p.mend.en}" for p in shown)
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
    """Return (train, held-out) with no question on both sides, and all samples of a row on one.

    `val_size` is a share or a number of rows; a share holds out at most `MOST_HELD_OUT` rows. Train rows are repeated
    by their weights. Raises UsageError if `val_size` is negative.
    """
    samples, firsts = ready.samples, ready.samples.first_parts
    wished = val_size if val_size >= 1 else min(val_size * len(firsts), MOST_HELD_OUT)
    train, held_out = data.split_places(firsts.questions, round(wished) if wished >= 1 else val_size, seed)
    weights = ready.weights[firsts.order]
    return samples.of_rows(weighted(train, weights[train], seed)), samples.of_rows(held_out)


def weighted(places: NDArray[np.int64], weights: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Repeat each place by its weight: for 2.5, twice, and a third time with probability 0.5, drawn by `seed`.

    `places` and `weights` are (n,). Returns at least one place if there is any.
    """
    if (weights == 1).all():
        return places
    whole = np.floor(weights)
    drawn = np.random.default_rng(seed).random(len(places)) < weights - whole
    chosen = np.repeat(places, (whole + drawn).astype(np.int64))
    return chosen if len(chosen) else places[:1]
