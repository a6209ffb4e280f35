"""Rows as token ids on disk: made once, by several processes, and read from there without being held in memory.

    rows/<key>/
        tokens.bin    uint32  the ids of every sample, one after another; the highest bit marks a target
        samples.bin   SAMPLE  of every sample where its ids and its text start, and what else is asked of it
        texts.jsonl           its conversation, one a line
        about.json            what became of the rows, and how they were read; written last

The key is the sha256 of everything that the ids depend on, the rows' content first: a folder that does not fit
any more is simply never found.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import Overlong
from .data import Problem, Row, question_hash
from .endings import split_conversation
from .errors import DataError, RefusedError, ResourceError, Text
from .example import Example
from .prompt import Conversation, Message, Renderer, with_system
from .workers import ordered_map

FORMAT = 1
"""Part of the key: to be raised with every change of the files or of how ids are made."""

TARGET = np.uint32(1 << 31)
SAMPLE = np.dtype(
    [
        ("start", "<u8"),  # of its ids in tokens.bin, in tokens
        ("text", "<u8"),  # of its line in texts.jsonl, in bytes
        ("question", "<u8"),  # hash of its first question: samples that agree in it stay on one side
        ("tokens", "<u4"),
        ("targets", "<u4"),
        ("shared", "<u4"),
        ("line", "<u4"),
        ("row_tokens", "<u4"),  # of the whole row, where it was split
        ("part", "<u4"),  # which part of it this is, from 0
    ]
)

ROWS_AT_A_TIME = 256
ROWS_WITHOUT_PROCESSES = 4096
"""So many rows are done in this process: to start others takes longer than that."""

KEPT_FOLDERS = 8
"""Datasets kept on disk; the one that was not used for the longest time goes first."""

ABOUT = "about.json"
DATA_FILES = ("tokens.bin", "samples.bin", "texts.jsonl")

PART = ".part-"
LEFT_AFTER_S = 24 * 3600
"""A folder that is still being written is younger than this."""

MOST_PROBLEMS = 10_000
"""Problems that are kept with their words; all are counted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the ids depend on beside the rows, the template and the tokenizer."""

    system: str | None
    max_length: int
    overlong: Overlong


@dataclass(frozen=True, slots=True)
class Table:
    """What became of the rows: read = kept + bad + too_long; `split` of the kept ones became several samples."""

    read: int = 0
    kept: int = 0
    bad: int = 0
    too_long: int = 0
    split: int = 0

    @property
    def dropped(self) -> int:
        return self.bad + self.too_long

    def __add__(self, other: "Table") -> "Table":
        return Table(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))


def _values(counts: Table) -> tuple[int, ...]:
    return counts.read, counts.kept, counts.bad, counts.too_long, counts.split


class Made(NamedTuple):
    """Some rows' part of the files."""

    tokens: bytes
    samples: NDArray[np.void]  # `start` and `text` counted from this part
    texts: bytes
    counts: Table
    problems: list[Problem]


class _Sample(NamedTuple):
    conversation: Conversation
    example: Example
    row_tokens: int
    part: int


class Maker:
    """From rows to their part of the files. Raises DataError for a row that is too long, where that is an error."""

    def __init__(self, folder: Path, settings: Settings):
        self.renderer, self.settings = Renderer(folder), settings

    def __call__(self, rows: Sequence[tuple[Conversation, str]]) -> Made:
        """`rows`: each conversation with the name of its file, "" where there is only one."""
        examples = self.renderer.examples([conversation for conversation, _ in rows], self.settings.system)
        samples: list[_Sample] = []
        problems: list[Problem] = []
        split = 0
        for (conversation, file), example in zip(rows, examples, strict=True):
            if len(example.ids) <= self.settings.max_length:
                samples.append(_Sample(conversation, example, len(example.ids), 0))
                continue
            parts = self._split(conversation) if self.settings.overlong == "split" else None
            if parts:
                made = self.renderer.examples(parts, self.settings.system)
                samples += [_Sample(*both, len(example.ids), n) for n, both in enumerate(zip(parts, made, strict=True))]
                split += 1
            else:
                problems.append(self._too_long(conversation.line, file, len(example.ids)))
        counts = Table(len(rows), len(rows) - len(problems), 0, len(problems), split)
        return Made(*self._written(samples), counts, problems)

    def _split(self, conversation: Conversation) -> list[Conversation] | None:
        def count(messages: Sequence[Message]) -> int:
            return self.renderer.count(with_system(messages, self.settings.system))

        return split_conversation(conversation, count, self.settings.max_length)

    def _too_long(self, line: int, file: str, tokens: int) -> Problem:
        limit = self.settings.max_length
        what = Text(
            f"有 {tokens} 个 token，超过 max_length={limit}", f"has {tokens} tokens, more than max_length={limit}"
        )
        if self.settings.overlong == "split":
            what = Text(
                f"{what.zh}，又没有可以断开的地方，整行不用（不会截断）",
                f"{what.en}, and no place to part it; the row is left out, not cut",
            )
        else:
            what = Text(f"{what.zh}，整行不用（不会截断）", f"{what.en}; the row is left out, not cut")
        mend = Text("调大 max_length，或把它拆成几行", "set a larger max_length, or split it into several rows")
        if self.settings.overlong == "error":
            where = Text(f"{file} 第 {line} 行".strip(), f"{file} line {line}".strip())
            raise DataError(f"{where.zh}{what.zh}；{mend.zh}", f"{where.en} {what.en}; {mend.en}")
        return Problem(line, what, mend, file)

    def _written(self, samples: Sequence["_Sample"]) -> tuple[bytes, NDArray[np.void], bytes]:
        sizes = np.array([len(sample.example.ids) for sample in samples], np.int64)
        ends = np.cumsum(sizes)
        every = int(sizes.sum())
        ids = np.fromiter(chain.from_iterable(sample.example.ids for sample in samples), np.uint32, every)
        wanted = np.fromiter(chain.from_iterable(sample.example.is_target for sample in samples), np.bool_, every)
        self._require_endings(ids, wanted, ends, samples)
        texts = [_text(sample.conversation) for sample in samples]
        text_ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        index = np.zeros(len(samples), SAMPLE)
        index["tokens"] = sizes
        index["start"][1:], index["text"][1:] = ends[:-1], text_ends[:-1]
        for place, sample in enumerate(samples):
            conversation, example = sample.conversation, sample.example
            index["question"][place] = question_hash(conversation)
            index["targets"][place], index["shared"][place] = example.targets, example.shared
            index["line"][place], index["row_tokens"][place] = conversation.line, sample.row_tokens
            index["part"][place] = sample.part
        return np.where(wanted, ids | TARGET, ids).tobytes(), index, b"".join(texts)

    def _require_endings(
        self, ids: NDArray[np.uint32], wanted: NDArray[np.bool_], ends: NDArray[np.int64], samples: Sequence["_Sample"]
    ) -> None:
        """Every answer's last target is the token that ends a turn; `ends` (samples,) is where each sample ends."""
        goes_on = np.append(wanted[1:], False)
        goes_on[ends - 1] = False
        lasts = np.flatnonzero(wanted & ~goes_on)
        wrong = lasts[ids[lasts] != self.renderer.stop_ids[0]]
        if len(wrong):
            line = samples[int(np.searchsorted(ends, wrong[0], side="right"))].conversation.line
            raise RefusedError(
                f"第 {line} 行的回答没有以结束标记收尾，模型会学不会停；这个模型的对话模板不能用",
                f"line {line}: an answer does not end with the end-of-turn token, so the model would not learn to stop;"
                " this chat template cannot be used",
            )


def _text(conversation: Conversation) -> bytes:
    messages = [[m.role, m.content, m.learn] for m in conversation.messages]
    return json.dumps(messages, ensure_ascii=False).encode() + b"\n"


class Tokenized(Sequence[Example]):
    """The samples of one such folder, read from disk as they are asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.samples: NDArray[np.void] = np.fromfile(folder / "samples.bin", SAMPLE)
        self._tokens = _mapped(folder / "tokens.bin")
        self._texts = (folder / "texts.jsonl").open("rb")

    @property
    def counts(self) -> Table:
        return Table(**self.about["counts"])

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(Problem(line, Text(*what), Text(*mend), file) for line, what, mend, file in self.about["problems"])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        entry = self.samples[index]
        start, length = int(entry["start"]), int(entry["tokens"])
        marked = self._tokens[start : start + length]
        return Example(tuple((marked & ~TARGET).tolist()), tuple((marked >= TARGET).tolist()), int(entry["shared"]))

    def conversation(self, index: int) -> Conversation:
        """What the sample was made of."""
        entry = self.samples[index]
        self._texts.seek(int(entry["text"]))
        messages = json.loads(self._texts.readline())
        return Conversation(tuple(Message(*each) for each in messages), int(entry["line"]))


def _mapped(file: Path) -> NDArray[np.uint32]:
    """An empty file cannot be mapped."""
    return np.memmap(file, np.uint32, "r") if file.stat().st_size else np.zeros(0, np.uint32)


def key_of(content_sha256: str, renderer: Renderer, settings: Settings, columns: Mapping[str, str] | None) -> str:
    """The name under which the ids of these rows are kept."""
    parts = {
        "format": FORMAT,
        "content": content_sha256,
        "template": renderer.template_sha256,
        "tokenizer": renderer.tokenizer_sha256,
        "settings": asdict(settings),
        "columns": dict(columns or {}),
        "layout": SAMPLE.descr,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def tokenize(
    rows: Iterable[Row],
    files: Sequence[str],
    folder: Path,
    model: Path,
    settings: Settings,
    about: Callable[[], Mapping[str, Any]],
    advance: Callable[[int], None],
) -> None:
    """Write the folder of these rows. `files`: name of each source, for problems; `about()`: what else to keep of them.

    `advance` is told how many more rows are done. Raises what `Maker` raises, and ResourceError where the disk is
    full; nothing half-written stays.
    """
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=PART, dir=folder.parent))
        counts, problems = _write(rows, files, temporary, model, settings, advance)
        told = {
            **about(),
            "sizes": {name: (temporary / name).stat().st_size for name in DATA_FILES},
            "counts": asdict(counts),
            "problems": [[p.line, list(p.what), list(p.mend), p.file] for p in problems],
        }
        with (temporary / ABOUT).open("w", encoding="utf-8") as file:
            json.dump(told, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        if not folder.exists():
            temporary.replace(folder)
    except OSError as error:
        raise ResourceError(
            f"在 {folder.parent} 里写不下处理好的数据（{error.strerror}）；"
            "请腾出空间，或用环境变量 TONGHUA_HOME 换个地方",
            f"cannot write the prepared rows in {folder.parent} ({error.strerror}); make room,"
            " or name another place in the environment variable TONGHUA_HOME",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    _forget_old(folder.parent)


def _write(
    rows: Iterable[Row],
    files: Sequence[str],
    folder: Path,
    model: Path,
    settings: Settings,
    advance: Callable[[int], None],
) -> tuple[Table, list[Problem]]:
    counts, problems = Table(), list[Problem]()
    bad = _Bad()
    start = text = 0
    with (folder / "tokens.bin").open("wb") as tokens, (folder / "samples.bin").open("wb") as index:  # noqa: SIM117
        with (folder / "texts.jsonl").open("wb") as texts:
            for made in _made(bad.without(rows, files), model, settings):
                made.samples["start"] += start
                made.samples["text"] += text
                start, text = start + len(made.tokens) // 4, text + len(made.texts)
                tokens.write(made.tokens)
                index.write(made.samples.tobytes())
                texts.write(made.texts)
                counts += made.counts
                problems += made.problems[: MOST_PROBLEMS - len(problems)]
                advance(made.counts.read)
    advance(bad.count)
    return counts + Table(bad.count, 0, bad.count), (bad.problems + problems)[:MOST_PROBLEMS]


class _Bad:
    """The rows that gave no conversation, taken out of the stream on its way."""

    def __init__(self) -> None:
        self.count, self.problems = 0, list[Problem]()

    def without(self, rows: Iterable[Row], files: Sequence[str]) -> Iterator[tuple[Conversation, str]]:
        for row in rows:
            if row.conversation is None:
                self.count += 1
                self.problems += row.problems[: max(0, MOST_PROBLEMS - len(self.problems))]
            else:
                yield row.conversation, files[row.source]


def _made(rows: Iterator[tuple[Conversation, str]], model: Path, settings: Settings) -> Iterator[Made]:
    batches = iter(lambda: list(islice(rows, ROWS_AT_A_TIME)), [])
    make = partial(Maker, model, settings)
    maker = make()
    for batch in islice(batches, ROWS_WITHOUT_PROCESSES // ROWS_AT_A_TIME):
        yield maker(batch)
    first = next(batches, None)
    if first is not None:
        yield from ordered_map(make, chain([first], batches), max(1, os.cpu_count() or 1))


def _forget_old(folder: Path) -> None:
    """Remove what was not used for the longest time, and what a killed process has left."""
    by_age = sorted((each for each in folder.iterdir() if (each / ABOUT).is_file()), key=_last_use)
    parts = folder.glob(f"{PART}*")
    left = [part for part in parts if time.time() - part.stat().st_mtime > LEFT_AFTER_S]
    for old in (*by_age[:-KEPT_FOLDERS], *left):
        shutil.rmtree(old, ignore_errors=True)


def _last_use(folder: Path) -> float:
    return (folder / ABOUT).stat().st_mtime


def opened(folder: Path) -> Tokenized | None:
    """What is kept in the folder, if all of it is; its use is remembered. What is left of anything else is removed."""
    if not folder.is_dir():
        return None
    try:
        kept = Tokenized(folder)
        sizes = {name: (folder / name).stat().st_size for name in DATA_FILES}
        whole = sizes == kept.about["sizes"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):  # a home that can only be read
        os.utime(folder / ABOUT)
    return kept
