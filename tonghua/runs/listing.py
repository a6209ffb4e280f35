"""The state and progress of each run in a folder, read from its files: fast, without torch, and without changes.

    runs/<name>-<time>/
      run.lock                                  held: "running"    ─┐
      result.json                               else  "finished"    │
      contract.json, checkpoints/step-*/        else  "stopped"     ├─► RunSummary
      facts.json        name, base, dataset, steps, start time      │
      metrics.jsonl     the last step, the held-out losses         ─┘

`MetricsFile` follows metrics.jsonl while the trainer writes it. Missing, damaged or incomplete data counts as absent.
"""

import io
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from filelock import FileLock, Timeout

from ..errors import UserError
from ..models.guarded import read_json
from ..text import shown
from .checkpoint import FOLDER, MANIFEST
from .folder import CONTRACT, FACTS, LOCK, METRICS, RESULT
from .record import number, parsed

RunState = Literal["running", "finished", "stopped", "empty"]
"""Running: being trained. Finished: reached its end. Stopped: interrupted, with a checkpoint or an adapter. Empty:
interrupted, with neither."""

LONGEST_LINE_BYTES = 65536

MOST_FACTS_BYTES = 1_000_000

RECENT_STEPS = 100
"""Number of last steps that are parsed, because the very last ones may be damaged or have no loss."""


@dataclass(slots=True)
class RunProgress:
    """The progress of a run, from the lines of its metrics so far."""

    step: int = 0
    steps: int | None = None
    epoch: float | None = None
    loss: float | None = None  # of the last step that had one
    heldout_before: float | None = None  # of where training began: the base, or an adapter
    heldout_best: float | None = None  # the lowest after step 0
    best_step: int | None = None

    def take(self, line: Mapping[str, Any]) -> None:
        """Update by a parsed line of metrics.jsonl. Events change nothing."""
        step = whole(line.get("step"))
        if step is None:
            return
        if "heldout_loss" in line:
            loss = number(line["heldout_loss"])
            if step == 0:
                self.heldout_before = loss
            elif loss is not None and (self.heldout_best is None or loss < self.heldout_best):
                self.heldout_best, self.best_step = loss, step
        elif "loss" in line:
            self.step, self.steps = step, whole(line.get("steps")) or self.steps
            self.epoch = number(line.get("epoch"))
            loss = number(line["loss"])
            self.loss = self.loss if loss is None else loss


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What `tonghua runs` shows of a run; `started` is the time in ISO 8601, as the run wrote it."""

    name: str
    folder: Path
    state: RunState
    started: str | None
    base: str | None
    dataset: tuple[str, ...]
    progress: RunProgress
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return all fields in one flat object, with those of `progress` among them."""
        values = asdict(self)
        progress = values.pop("progress")
        return {**values, "folder": str(self.folder), "dataset": list(self.dataset), **progress}


def list_runs(output_dir: Path) -> list[RunSummary]:
    """Return the runs in this folder, last started first; [] if there is no such folder."""
    try:
        folders = [folder for folder in output_dir.iterdir() if is_run(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(map(summarize, folders), key=lambda run: (_begun(run), run.folder.name), reverse=True)


def is_run(folder: Path) -> bool:
    """Return True if training has written into this folder. A folder without read access is no run."""
    try:
        return any((folder / name).is_file() for name in (FACTS, METRICS, CONTRACT, LOCK))
    except OSError:
        return False


def summarize(run: Path) -> RunSummary:
    """Return the summary of one run. Facts that are missing or damaged become None."""
    facts = _object(run / FACTS)
    progress = read_progress(MetricsFile(run).read()[1])
    progress.steps = progress.steps or whole(facts.get("steps"))
    base, dataset = facts.get("base"), facts.get("dataset")
    return RunSummary(
        name=_text(facts.get("name")) or shown(run.name),
        folder=run,
        state=state_of(run),
        started=_text(facts.get("started")),
        base=_text(base.get("name")) if isinstance(base, dict) else None,
        dataset=tuple(filter(None, map(_text, dataset))) if isinstance(dataset, list) else (),
        progress=progress,
        size_bytes=_size_bytes(run),
    )


def state_of(run: Path) -> RunState:
    """Return the state of a run, by its lock, result.json, contract.json and checkpoints."""
    if is_running(run):
        return "running"
    if (run / RESULT).is_file():
        return "finished"
    kept = (run / CONTRACT).is_file() or any(run.glob(f"{FOLDER}/step-*/{MANIFEST}"))
    return "stopped" if kept else "empty"


def is_running(run: Path) -> bool:
    """Return True if a process holds the lock of this run. A free lock is taken and released at once."""
    if not (run / LOCK).is_file():  # FileLock would create the file
        return False
    try:
        with FileLock(run / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return _is_locked_by_another_user(run / LOCK)


def _is_locked_by_another_user(lock: Path) -> bool:
    """True if another user holds the lock; on POSIX its file may be readable but not writable."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        with lock.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


class MetricsFile:
    """Reads metrics.jsonl of a run piece by piece while another process writes it."""

    def __init__(self, run: Path):
        self._path = run / METRICS
        self._end = 0
        self._last = b""  # the line before `_end`

    def read(self) -> tuple[bool, Iterator[bytes]]:
        """Return (restarted, lines): all lines if the lines read before have changed, else only the new ones.

        The lines change when a run resumes from a checkpoint, because it drops the later ones. An incomplete line
        is left for the next call. A line over `LONGEST_LINE_BYTES` is split into pieces, which are not valid JSON.
        """
        try:
            opened: BinaryIO = self._path.open("rb")
        except OSError:
            opened = io.BytesIO()
        opened.seek(self._end - len(self._last))
        anew = opened.read(len(self._last)) != self._last
        if anew:
            self._end, self._last = 0, b""
            opened.seek(0)
        return anew, self._lines(opened)

    def _lines(self, opened: BinaryIO) -> Iterator[bytes]:
        with opened:
            while line := opened.readline(LONGEST_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE_BYTES:
                    return
                self._end += len(line)
                self._last = line
                yield line


def read_progress(lines: Iterable[bytes]) -> RunProgress:
    """Return the progress after these lines. Only the held-out losses and the last `RECENT_STEPS` are parsed."""
    progress, recent = RunProgress(), deque[bytes](maxlen=RECENT_STEPS)
    for line in lines:
        if b'"heldout_loss"' in line:
            progress.take(parsed(line))
        elif b'"loss"' in line:
            recent.append(line)
    for line in recent:
        progress.take(parsed(line))
    return progress


def whole(value: object) -> int | None:
    """Return the value as an int, rounded down, if it is a finite number from 0 on, else None."""
    found = number(value)
    return int(found) if found is not None and found >= 0 else None


def _text(value: object) -> str | None:
    return shown(value) if isinstance(value, str) and value else None


def _object(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path, MOST_FACTS_BYTES)
    except UserError:
        return {}
    return values if isinstance(values, dict) else {}


def _size_bytes(run: Path) -> int:
    """Return the size of the files of a run, in bytes; a file that disappears meanwhile counts as 0."""
    size = 0
    for folder, _, names in os.walk(run):
        for name in names:
            with suppress(OSError):
                size += Path(folder, name).lstat().st_size
    return size


def _begun(run: RunSummary) -> float:
    """Return when a run was started, in seconds since 1970: its `started`, else the time of its folder."""
    with suppress(ValueError, OverflowError, OSError):
        if run.started:
            return datetime.fromisoformat(run.started).timestamp()
    with suppress(OSError):
        return run.folder.stat().st_mtime
    return 0.0
