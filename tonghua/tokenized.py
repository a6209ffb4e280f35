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
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from .config.schema import Overlong
from .core.example import Example
from .data import Problem, Row, question_hash
from .endings import split_conversation
from .errors import DataError, RefusedError, ResourceError
from .prompt.conversation import Conversation, Message, with_system
from .prompt.renderer import Renderer
from .system.workers import ordered_map
from .text import Text

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

KEPT_S = 7 * 24 * 3600
"""How long rows that nobody uses are kept on disk."""

MOST_PROCESSES = 8
"""Each holds a tokenizer of its own, some 130 MB, and one more than eight hardly speeds up the reading of one file."""

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
    row_tokens: int  # of the row that it is a part of
    part: int
    question: int  # hash of the row's first question, also where the part does not have it


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
            tokens, question = len(example.ids), question_hash(conversation)
            if tokens <= self.settings.max_length and self._teaches_all(conversation, example):
                samples.append(_Sample(conversation, example, tokens, 0, question))
                continue
            parts = self._parts(conversation, example)
            if parts is None:
                problems.append(self._too_long(conversation.line, file, tokens))
                continue
            made = self.renderer.examples(parts, self.settings.system)
            both = zip(parts, made, strict=True)
            samples += [_Sample(*one, tokens, number, question) for number, one in enumerate(both)]
            split += tokens > self.settings.max_length
        counts = Table(len(rows), len(rows) - len(problems), 0, len(problems), split)
        return Made(*self._written(samples), counts, problems)

    def _teaches_all(self, conversation: Conversation, example: Example) -> bool:
        """Whether the template teaches every answer that is to be learned; some teach the last one alone."""
        wanted = sum(message.role == "assistant" and message.learn for message in conversation.messages)
        if wanted == 1:
            return True
        starts = sum(now and not before for before, now in pairwise(example.is_target))
        return starts == wanted

    def _parts(self, conversation: Conversation, example: Example) -> list[Conversation] | None:
        """Conversations that fit and together teach every answer once; None where there are none."""
        parts: list[Conversation] = []
        for one in self._by_answer(conversation, example):
            if self.settings.overlong == "split":
                pieces = split_conversation(one, self._count, self.settings.max_length)
            else:
                pieces = [one] if self._count(one.messages) <= self.settings.max_length else None
            if not pieces:
                return None
            parts += pieces
        return parts

    def _count(self, messages: Sequence[Message]) -> int:
        return self.renderer.count(with_system(messages, self.settings.system))

    def _by_answer(self, conversation: Conversation, example: Example) -> list[Conversation]:
        """The conversation up to each answer, learned alone, where the template would teach the last one only."""
        if self._teaches_all(conversation, example):
            return [conversation]
        learned = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.learn]
        upto = (conversation.messages[: at + 1] for at in learned)
        return [replace(conversation, messages=(*_as_context(some[:-1]), some[-1])) for some in upto]

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
            index["question"][place] = sample.question
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


def _as_context(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, learn=False) for message in messages)


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

    def row(self, index: int) -> int:
        """Which of the usable rows a sample was made of, from 1; its line tells little where a file is one line."""
        return int(np.count_nonzero(self.samples["part"][: index + 1] == 0))

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
        "named_tokens": renderer.named_tokens,
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
        _put(temporary, folder)
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


def _put(temporary: Path, folder: Path) -> None:
    """Give the folder its name; where another process was first, its rows are the same."""
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / ABOUT).is_file():
            raise


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
        yield from ordered_map(make, chain([first], batches), _processes())


def _processes() -> int:
    """One for each core that this process may use, which in a container are fewer than the machine has."""
    own = psutil.Process()
    cores = len(own.cpu_affinity() or ()) if hasattr(own, "cpu_affinity") else os.cpu_count()
    return max(1, min(MOST_PROCESSES, cores or 1))


def _forget_old(folder: Path) -> None:
    """Remove what was not used for long, and what a killed process has left. Others may be at the same."""
    for each in folder.iterdir():
        with suppress(OSError):
            if each.name.startswith(PART):
                last, limit = each.stat().st_mtime, LEFT_AFTER_S
            else:
                last, limit = (each / ABOUT).stat().st_mtime, KEPT_S
            if time.time() - last > limit:
                _remove(each)


def _remove(folder: Path) -> None:
    """Whole or not at all: where a file of it is in use and may not be moved, as on Windows, it stays as it is."""
    aside = folder if folder.name.startswith(PART) else folder.with_name(f"{PART}{folder.name}-{os.getpid()}")
    with suppress(OSError):
        shutil.rmtree(folder.replace(aside), ignore_errors=True)


KEY = re.compile("[0-9a-f]{32}")


def opened(folder: Path) -> Tokenized | None:
    """What is kept in the folder, if all of it is; its use is remembered. What is left of anything else is removed."""
    if not folder.is_dir() or not KEY.fullmatch(folder.name):
        return None
    try:
        kept = Tokenized(folder)
        sizes = {name: (folder / name).stat().st_size for name in DATA_FILES}
        whole = sizes == kept.about["sizes"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        _remove(folder)
        return None
    with suppress(OSError):  # a home that can only be read
        os.utime(folder / ABOUT)
    return kept
