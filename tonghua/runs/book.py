"""Writes the folder of a training run: config, log, samples, checkpoints, the best adapter, and the result."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..config.schema import Config
from ..config.yaml_file import to_yaml
from ..data.names import from_anywhere
from ..errors import RefusedError, ResourceError
from ..models.shipped import tiny
from ..prompt.contract import Contract
from ..prompt.conversation import JOIN
from ..prompt.plain_template import plain_template
from ..prompt.renderer import NotTakenError, Renderer
from ..system.files import is_folder, quoted, sync, user_path, write_files, writing
from ..text import Text, json_text
from . import checkpoint
from . import folder as runs
from .checkpoint import Checkpoint
from .record import read_lines
from .trackers import Trackers, open_trackers, values_of

RETRY_S = (1.0, 5.0, 15.0)
"""Waits before each retry of a checkpoint that could not be written, in seconds."""

LOG_BYTES = 50_000_000
"""Disk space reserved for metrics and samples, in bytes."""

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")


def needed_bytes(config: Config, checkpoint_bytes: int) -> int:
    """Return the disk space that a run needs, in bytes.

    It counts the kept checkpoints, one that is being written, the best adapter, and the log.
    """
    return checkpoint_bytes * (config.save_total_limit + 2) + LOG_BYTES


class Unsaved(ResourceError):
    """A checkpoint could not be written, even after all retries."""


Notify = Callable[[str, Text], None]
"""Takes the kind of an event and its text."""

LookForStop = Callable[[], None]
"""Called every 0.1 s while waiting for the disk; may raise to end the wait."""


def now() -> str:
    """Return the local time with its UTC offset, in ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(slots=True)
class Book:
    """Writes all files of one run. `open` sets `run`, its folder."""

    config: Config
    name: str
    base: Path
    base_name: str  # of the repository or the folder
    renderer: Renderer
    fingerprint: dict[str, str]
    checkpoint_bytes: int
    tell: Notify
    thinking: bool  # answers are asked for with their reasoning
    run: Path = field(init=False)
    step: int = 0  # the step number that the next event is logged with
    _unwritten: list[str] = field(default_factory=list)
    _trackers: Trackers = field(init=False)
    _saved: float = 0.0
    _goes_on: bool = False

    @contextmanager
    def open(self, resumed: Path | None) -> Iterator[None]:
        """Create a run, or open the run folder `resumed`, and hold its lock inside the block.

        A new run that ends before its first step is done is deleted. Raises ResourceError if the disk lacks space or
        the folder cannot be made or locked, and UsageError if another process holds the lock.
        """
        if resumed is None:
            needed = needed_bytes(self.config, self.checkpoint_bytes)
            self.run = runs.create(Path(self.config.output_dir).expanduser(), self.name, needed)
        else:
            self.run, self._goes_on = resumed, True
        try:
            with runs.locked(self.run):
                if resumed is None:
                    runs.copy_tokenizer(self.base, self.run)
                    self.write_config()
                checkpoint.sweep(self.run)
                self._saved = time.monotonic()
                with self._tracked():
                    yield
        finally:
            if not self._stays():
                shutil.rmtree(self.run, ignore_errors=True)

    def _stays(self) -> bool:
        """True if the run holds trained state."""
        return self._goes_on or self.step > 1 or any(checkpoint.steps(self.run))

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """Report what goes into the log to the trackers of `report_to`, inside the block."""
        told = lambda text: self.tell("tracker", text)  # noqa: E731
        self._trackers = open_trackers(self.config.report_to, self.run, self.config.model_dump(), told)
        try:
            yield
        finally:
            self._trackers.close()

    def _resolved(self) -> Config:
        """Return the config with absolute paths."""
        named = {key: getattr(self.config, key) for key in ("dataset", "eval_dataset")}
        paths = {key: _resolved(value) for key, value in named.items() if value is not None}
        paths["output_dir"] = str(user_path(self.config.output_dir).resolve())
        if self.config.adapter is not None:
            paths["adapter"] = str(user_path(self.config.adapter).resolve())
        if self.config.reader is not None and is_folder(user_path(self.config.reader)):
            paths["reader"] = str(user_path(self.config.reader).resolve())
        return self.config.model_copy(update={"model": self._model(), "run_name": self.name, **paths})

    def _model(self) -> str:
        """Return the base as an absolute path if it was given as a folder, else as a name that any machine resolves."""
        by_path = self.base.name == self.base_name and self.base != tiny()
        return str(self.base) if by_path else self.base_name

    def write_config(self) -> None:
        """Write config.yaml, complete and with absolute paths."""
        write_files(self.run, {"config.yaml": to_yaml(self._resolved()).encode()})

    def has_facts(self) -> bool:
        """True if facts.json is there, as on a resume: it tells how the run began."""
        return (self.run / runs.FACTS).is_file()

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write facts.json: the start time, the run name, and `facts` about base, data and settings."""
        content = json_text({"started": now(), "name": self.name, **facts}, indent=2) + "\n"
        write_files(self.run, {runs.FACTS: content.encode()})

    def log(self, values: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl and report it to the trackers. `values` must have `step`.

        If the write fails, the line waits for the next one. Only a failed checkpoint ends a run.
        """
        self._trackers.log(values_of(values), values["step"])
        self._unwritten.append(json_text(values) + "\n")
        with suppress(OSError):
            self._write_log()

    def _write_log(self) -> None:
        """Write the waiting lines, all or none of them."""
        path = self.run / runs.METRICS
        before = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as opened:
                opened.write("".join(self._unwritten).encode())
                opened.flush()
        except OSError:
            with suppress(OSError):
                os.truncate(path, before)
            raise
        self._unwritten.clear()

    def write_samples(self, entry: Mapping[str, Any]) -> None:
        """Append a line to samples.jsonl. If the write fails, the line is lost."""
        with suppress(OSError), (self.run / runs.SAMPLES).open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(json_text(entry) + "\n")

    def note(self, event: str, text: Text) -> None:
        """Log an event at the current step, and pass it to `tell`."""
        self.log({"step": self.step, "at": now(), "event": event, "zh": text.zh, "en": text.en})
        self.tell(event, text)

    def is_save_due(self, step: int) -> bool:
        """Return True if `save_steps` or `save_minutes` make a checkpoint due between two evaluations."""
        minutes, every = self.config.save_minutes, self.config.save_steps
        return bool(every and step % every == 0) or bool(minutes and time.monotonic() - self._saved >= 60 * minutes)

    def save(
        self, step: int, files: Mapping[str, bytes], best: int, keep: Collection[int], look: LookForStop | None
    ) -> None:
        """Commit a checkpoint, then remove old ones, but not `step`, `best` or those in `keep`.

        Publishes the adapter if `best` is this step, or is 0 because there is no best step yet. If a write fails,
        retries after each of `RETRY_S` and calls `look` while waiting. Raises Unsaved, a ResourceError with the
        missing bytes, after the last retry; earlier checkpoints stay intact. If `look` is None, a failure is only
        logged, without retry: the next checkpoint follows soon.
        """
        for wait_s in (*RETRY_S, None):
            try:
                self._commit(step, files, best)
                break
            except (OSError, ResourceError) as error:
                problem = Unsaved(*error.text) if isinstance(error, ResourceError) else self._refused(error)
                if look is not None and wait_s is None:
                    raise problem from error
                self.note("save_failed", problem.text)
                if look is None or wait_s is None:
                    self._saved = time.monotonic()
                    return
                for _ in range(round(wait_s * 10)):
                    look()
                    time.sleep(0.1)
        self._saved = time.monotonic()
        checkpoint.rotate(self.run, self.config.save_total_limit, {step, best, *keep})

    def _commit(self, step: int, files: Mapping[str, bytes], best: int) -> None:
        free, needed = shutil.disk_usage(self.run).free, sum(map(len, files.values()))
        if free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sync_log()
        checkpoint.commit(self.run, step, files)
        if step and best in (0, step):
            self.publish(files)

    def _sync_log(self) -> None:
        """Flush the log to the disk, so that a checkpoint never exists without the log of its steps."""
        if self._unwritten:
            self._write_log()
        path = self.run / runs.METRICS
        if path.exists():
            with path.open("rb+") as opened:
                sync(opened)

    def _refused(self, error: OSError) -> Unsaved:
        if not self.run.is_dir():
            return Unsaved(
                f"{self.run} 在训练时不见了，检查点没有地方可写；请重新训练，训练时不要移动或删除它",
                f"{self.run} went away during training, so a checkpoint has no place; train again, and leave the folder"
                " where it is until the end",
            )
        missing = 0
        with suppress(OSError):
            missing = max(0, self.checkpoint_bytes - shutil.disk_usage(self.run).free)
        why = Text(error.strerror or str(error), error.strerror or str(error))
        lacks = Text(
            f"，还差 {missing:,} 字节" if missing else "", f", {missing:,} bytes are missing" if missing else ""
        )
        mend = Text("再重新训练", "train again")
        if self._stays():
            command = f"tonghua train --resume {quoted(self.run)}"
            mend = Text(f"再用 {command} 接着训练", f"resume with {command}")
        return Unsaved(
            f"写不进检查点 {self.run}：{why.zh}{lacks.zh}；请腾出空间，{mend.zh}",
            f"cannot write a checkpoint in {self.run}: {why.en}{lacks.en}; free some space and {mend.en}",
        )

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Write the adapter in `files` and its template to the root of the run, then contract.json.

        That file makes it ready for chat.
        """
        contract = Contract(
            system=self.config.system,
            join=JOIN,
            stop_ids=self.renderer.stop_ids,
            template_sha256=self.renderer.template_sha256,
            tokenizer_sha256=self.renderer.tokenizer_sha256,
            base={"name": self.base_name, **self.fingerprint},
            persona=self.name,
            sampling=self.config.sampling.model_dump(),
            thinking=self.thinking,
            card=self.config.card,
        )
        made = {name: files[name] for name in ADAPTER_FILES}
        with suppress(NotTakenError, RefusedError):  # then other programs need the model's own template
            made[runs.TEMPLATE] = plain_template(self.renderer, contract).jinja().encode()
        write_files(self.run, {**made, runs.CONTRACT: contract.to_json().encode()})

    def publish_from(self, found: Checkpoint) -> None:
        """Publish the adapter of a checkpoint."""
        self.publish({name: found.read(name) for name in ADAPTER_FILES})

    def rewind(self, found: Checkpoint, evaluated: bool) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """Remove the log entries after a checkpoint, because training repeats them; return the steps and samples left.

        Events always stay. The evaluation and samples of the checkpoint's own step stay only if `evaluated`: the
        checkpoint was made after its evaluation. Of several entries of a step, the last one stays.
        """
        if self._unwritten:
            with writing(self.run / runs.METRICS):
                self._write_log()
        upto = found.step if evaluated else found.step - 1
        lines = _last_of_each_step(
            values
            for values in _lines(self.run / runs.METRICS)
            if "event" in values or values["step"] <= (found.step if "step_s" in values else upto)
        )
        answers = _last_of_each_step(v for v in _lines(self.run / runs.SAMPLES) if v["step"] <= upto)
        for name, kept in ((runs.METRICS, lines), (runs.SAMPLES, answers)):
            text = "".join(json_text(values) + "\n" for values in kept)
            if (self.run / name).exists():
                write_files(self.run, {name: text.encode()})
        return [values for values in lines if "step_s" in values], answers

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write result.json, which marks the run as finished; `result` has the time and the figures of the end."""
        content = json_text(result, indent=2) + "\n"
        write_files(self.run, {runs.RESULT: content.encode()})


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Return the log lines that have a step, without incomplete ones."""
    return (values for values in read_lines(path) if isinstance(values.get("step"), int))


def _last_of_each_step(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines in their order, all events, and of the other lines of one kind and step only the last."""
    kept: dict[object, Mapping[str, Any]] = {}
    for place, values in enumerate(lines):
        key = place if "event" in values else ("step_s" in values, values["step"])
        kept.pop(key, None)  # so that the later one stands where it was written
        kept[key] = values
    return list(kept.values())


def _resolved(paths: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return one dataset or several as absolute paths; names of shipped datasets stay."""
    return from_anywhere(paths) if isinstance(paths, str) else tuple(map(from_anywhere, paths))
