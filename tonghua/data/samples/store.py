"""Cache tokenized rows on disk: written once, by several processes, and memory-mapped for reading.

    rows/<key>/
        tokens.bin    uint32  the ids of all samples, concatenated; the highest bit marks a target
        samples.bin   SAMPLE  for each sample, the start of its ids and its text, and its other fields
        texts.jsonl           the conversation of each sample, one per line
        about.json            counts, problems, and how the rows were read; written last

The key is a hash of everything that the ids depend on, such as the rows' content. If any of it changes, the key
changes too, so a stale folder is never used.
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
from ...system.files import write_durably
from ...system.workers import ordered_map
from ...text import Text
from ..read.dataset import ReadRow, RowProblem
from .maker import SAMPLE, TARGET, Made, Maker, RowCounts, SampleSettings

FORMAT = 5
"""Part of the key: increase it with every change of the file format or of how ids are made."""

ROWS_AT_A_TIME = 256

CHARACTERS_AT_A_TIME = 1_000_000

ROWS_WITHOUT_PROCESSES = 4096
"""Rows that are tokenized in this process first: for fewer, starting workers takes longer."""

KEPT_S = 7 * 24 * 3600
"""Time to keep unused prepared rows on disk, in seconds."""

MOST_PROCESSES = 8
"""Maximum worker processes: each holds its own tokenizer (about 130 MB), and more barely speed up one file."""

ABOUT = "about.json"

DATA_FILES = ("tokens.bin", "samples.bin", "texts.jsonl")

PART = ".part-"
"""Name prefix of folders that are being written or removed."""

LEFT_AFTER_S = 24 * 3600
"""Age in seconds after which an unfinished folder counts as left by a killed process."""

MOST_PROBLEMS = 10_000
"""Maximum problems that are kept with their text; all are counted."""


class Tokenized(Sequence[Example]):
    """The samples of one folder of prepared rows, read from disk on access."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.samples: NDArray[np.void] = np.fromfile(folder / "samples.bin", SAMPLE)
        self._tokens = _mapped(folder / "tokens.bin")
        self._texts = (folder / "texts.jsonl").open("rb")

    @property
    def counts(self) -> RowCounts:
        """Counts of the rows read, kept and dropped."""
        return RowCounts(**self.about["counts"])

    @cached_property
    def problems(self) -> tuple[RowProblem, ...]:
        """The problems of the dropped rows, at most `MOST_PROBLEMS`."""
        return tuple(
            RowProblem(line, Text(*what), Text(*mend), file, blocks)
            for line, what, mend, file, blocks in self.about["problems"]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        entry = self.samples[index]
        start, length = int(entry["start"]), int(entry["tokens"])
        marked = self._tokens[start : start + length]
        return Example(tuple((marked & ~TARGET).tolist()), tuple((marked >= TARGET).tolist()), int(entry["shared"]))

    def row(self, index: int) -> int:
        """Return the 1-based number, among the usable rows, of the row of a sample; lines may hold several rows."""
        return int(np.count_nonzero(self.samples["part"][: index + 1] == 0))

    def conversation(self, index: int) -> Conversation:
        """Return the conversation of a sample."""
        entry = self.samples[index]
        self._texts.seek(int(entry["text"]))
        messages = json.loads(self._texts.readline())
        return Conversation(tuple(Message(*each) for each in messages), int(entry["line"]))


def _mapped(file: Path) -> NDArray[np.uint32]:
    """Map the ids; an empty file cannot be mapped, so return an empty array for it."""
    return np.memmap(file, np.uint32, "r") if file.stat().st_size else np.zeros(0, np.uint32)


def key_of(content_sha256: str, renderer: Renderer, settings: SampleSettings, columns: Mapping[str, str] | None) -> str:
    """Return the folder name of these rows: 32 hex digits."""
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
    """Tokenize the rows into `folder`; on an error no partial folder stays.

    `files` names each source, for problems. `about()` gives the extra fields of about.json. `advance` is called
    with the number of rows newly done. Raises the errors of `Maker`, or ResourceError if writing fails.
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
            "problems": [[p.line, list(p.what), list(p.mend), p.file, p.blocks] for p in problems],
        }
        write_durably(temporary / ABOUT, json.dumps(told, ensure_ascii=False).encode())
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
    """Rename the folder; if another process was first, keep its folder, which has the same rows."""
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
                for problem in made.problems:
                    each = bad.problems if problem.blocks else problems
                    each += [problem][: MOST_PROBLEMS - len(each)]
                advance(made.counts.read)
    advance(bad.count)
    return counts + RowCounts(bad.count, 0, bad.count), (bad.problems + problems)[:MOST_PROBLEMS]


class _Bad:
    """Filters the bad rows out of a stream, and collects their count and problems."""

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
    batches = _batches(rows)
    make = partial(Maker, model, settings)
    maker = make()
    for batch in islice(batches, ROWS_WITHOUT_PROCESSES // ROWS_AT_A_TIME):
        yield maker(batch)
    first = next(batches, None)
    if first is not None:
        yield from ordered_map(make, chain([first], batches), _processes())


def _batches(rows: Iterable[tuple[Conversation, str]]) -> Iterator[list[tuple[Conversation, str]]]:
    """Yield batches of at most `ROWS_AT_A_TIME` rows; fewer if they are long, for the tokens take far more memory."""
    batch: list[tuple[Conversation, str]] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(message.content) for message in row[0].messages)
        if len(batch) == ROWS_AT_A_TIME or characters >= CHARACTERS_AT_A_TIME:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _processes() -> int:
    """One per core that this process may use; a container may have fewer than the machine."""
    own = psutil.Process()
    cores = len(own.cpu_affinity() or ()) if hasattr(own, "cpu_affinity") else os.cpu_count()
    return max(1, min(MOST_PROCESSES, cores or 1))


def _forget_old(folder: Path) -> None:
    """Remove folders that were unused for long or left by a killed process. Other processes may do so too."""
    for each in folder.iterdir():
        with suppress(OSError):
            if each.name.startswith(PART):
                last, limit = each.stat().st_mtime, LEFT_AFTER_S
            else:
                last, limit = (each / ABOUT).stat().st_mtime, KEPT_S
            if time.time() - last > limit:
                _remove(each)


def _remove(folder: Path) -> None:
    """Remove the folder as a whole; keep all of it if a file in use blocks the rename, as on Windows."""
    aside = folder if folder.name.startswith(PART) else folder.with_name(f"{PART}{folder.name}-{os.getpid()}")
    with suppress(OSError):
        shutil.rmtree(folder.replace(aside), ignore_errors=True)


KEY = re.compile("[0-9a-f]{32}")


def opened(folder: Path) -> Tokenized | None:
    """Return the prepared rows in `folder` and mark them as used; None if missing. Remove an incomplete folder."""
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
    with suppress(OSError):  # the home folder may be read-only
        os.utime(folder / ABOUT)
    return kept
