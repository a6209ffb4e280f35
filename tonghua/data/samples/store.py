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
from dataclasses import asdict
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ...core.example import Example
from ...errors import ResourceError
from ...prompt.conversation import Conversation, Message
from ...prompt.renderer import Renderer
from ...system.workers import ordered_map
from ...text import Text
from ..read.dataset import ReadRow, RowProblem
from .maker import SAMPLE, TARGET, Made, Maker, RowCounts, SampleSettings

FORMAT = 1
"""Part of the key: to be raised with every change of the files or of how ids are made."""

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


class Tokenized(Sequence[Example]):
    """The samples of one such folder, read from disk as they are asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.samples: NDArray[np.void] = np.fromfile(folder / "samples.bin", SAMPLE)
        self._tokens = _mapped(folder / "tokens.bin")
        self._texts = (folder / "texts.jsonl").open("rb")

    @property
    def counts(self) -> RowCounts:
        return RowCounts(**self.about["counts"])

    @cached_property
    def problems(self) -> tuple[RowProblem, ...]:
        return tuple(
            RowProblem(line, Text(*what), Text(*mend), file) for line, what, mend, file in self.about["problems"]
        )

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


def key_of(content_sha256: str, renderer: Renderer, settings: SampleSettings, columns: Mapping[str, str] | None) -> str:
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
    rows: Iterable[ReadRow],
    files: Sequence[str],
    folder: Path,
    model: Path,
    settings: SampleSettings,
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
    rows: Iterable[ReadRow],
    files: Sequence[str],
    folder: Path,
    model: Path,
    settings: SampleSettings,
    advance: Callable[[int], None],
) -> tuple[RowCounts, list[RowProblem]]:
    counts, problems = RowCounts(), list[RowProblem]()
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
    return counts + RowCounts(bad.count, 0, bad.count), (bad.problems + problems)[:MOST_PROBLEMS]


class _Bad:
    """The rows that gave no conversation, taken out of the stream on its way."""

    def __init__(self) -> None:
        self.count, self.problems = 0, list[RowProblem]()

    def without(self, rows: Iterable[ReadRow], files: Sequence[str]) -> Iterator[tuple[Conversation, str]]:
        for row in rows:
            if row.conversation is None:
                self.count += 1
                self.problems += row.problems[: max(0, MOST_PROBLEMS - len(self.problems))]
            else:
                yield row.conversation, files[row.source]


def _made(rows: Iterator[tuple[Conversation, str]], model: Path, settings: SampleSettings) -> Iterator[Made]:
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
