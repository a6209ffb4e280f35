"""Everything that one training run writes, from its first file to the result that says it has reached its end."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..config.schema import Config
from ..config.yaml_file import to_yaml
from ..data.names import from_anywhere
from ..errors import ResourceError
from ..models.shipped import tiny
from ..prompt.contract import Contract
from ..prompt.conversation import JOIN
from ..prompt.renderer import Renderer
from ..system.files import quoted, sync, user_path, write_files
from ..text import Text
from . import checkpoint
from . import folder as runs
from .checkpoint import Checkpoint
from .record import read_lines
from .trackers import Trackers, open_trackers, values_of

RETRY_S = (1.0, 5.0, 15.0)
"""How long to wait before a checkpoint that could not be written is tried again, each time."""

LOG_BYTES = 50_000_000
"""What metrics and samples may take."""

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")


def needed_bytes(config: Config, checkpoint_bytes: int) -> int:
    """The disk that a run needs: the checkpoints that stay, one that is being written, the best adapter, the log."""
    return checkpoint_bytes * (config.save_total_limit + 2) + LOG_BYTES


class Unsaved(ResourceError):
    """A checkpoint that could not be written in the end."""


Notify = Callable[[str, Text], None]

Look = Callable[[], None]


def now() -> str:
    """The time here, with its distance from UTC, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(slots=True)
class Book:
    """Everything that a run writes; `run` is there from `open` on."""

    config: Config
    name: str
    base: Path
    base_name: str  # the repository's, or the folder's
    renderer: Renderer
    fingerprint: dict[str, str]
    checkpoint_bytes: int
    tell: Notify
    run: Path = field(init=False)
    step: int = 0  # of which the next event is told
    _unwritten: list[str] = field(default_factory=list)
    _trackers: Trackers = field(init=False)
    _saved: float = 0.0
    _goes_on: bool = False

    @contextmanager
    def open(self, resumed: Path | None) -> Iterator[None]:
        """Inside, the run is this process's own. A new one that fails before its first step is kept leaves nothing.

        Raises ResourceError where there is no room, UsageError where another process has the run.
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
        """Whether there is something in the run that was trained."""
        return self._goes_on or self.step > 1 or any(checkpoint.steps(self.run))

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """Inside, the trackers that were asked for are told what goes into the log."""
        told = lambda text: self.tell("tracker", text)  # noqa: E731
        self._trackers = open_trackers(self.config.report_to, self.run, self.config.model_dump(), told)
        try:
            yield
        finally:
            self._trackers.close()

    def _resolved(self) -> Config:
        """The config with paths that hold from any folder."""
        named = {key: getattr(self.config, key) for key in ("dataset", "eval_dataset")}
        paths = {key: _resolved(value) for key, value in named.items() if value is not None}
        paths["output_dir"] = str(user_path(self.config.output_dir).resolve())
        return self.config.model_copy(update={"model": self._model(), "run_name": self.name, **paths})

    def _model(self) -> str:
        """A folder from the root, or a name, which holds on any machine."""
        by_path = self.base.name == self.base_name and self.base != tiny()
        return str(self.base) if by_path else self.base_name

    def write_config(self) -> None:
        write_files(self.run, {"config.yaml": to_yaml(self._resolved()).encode()})

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """What is trained on what, for people."""
        content = json.dumps({"started": now(), "name": self.name, **facts}, indent=2, ensure_ascii=False) + "\n"
        write_files(self.run, {runs.FACTS: content.encode()})

    def log(self, values: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl. Where the disk refuses it, it waits: only a checkpoint that fails ends a run."""
        self._trackers.log(values_of(values), values["step"])
        self._unwritten.append(json.dumps(values, ensure_ascii=False) + "\n")
        with suppress(OSError):
            self._write_log()

    def _write_log(self) -> None:
        """Put down the lines that wait, all or none of them."""
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
        """A line of samples.jsonl; where the disk refuses it, it is lost."""
        with suppress(OSError), (self.run / runs.SAMPLES).open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def note(self, event: str, text: Text) -> None:
        """Something happened on the way: into the log, and to whoever looks on."""
        self.log({"step": self.step, "at": now(), "event": event, "zh": text.zh, "en": text.en})
        self.tell(event, text)

    def save_due(self, step: int) -> bool:
        """Whether so many steps or minutes have passed that a checkpoint is due between two evaluations."""
        minutes, every = self.config.save_minutes, self.config.save_steps
        return bool(every and step % every == 0) or bool(minutes and time.monotonic() - self._saved >= 60 * minutes)

    def save(self, step: int, files: Mapping[str, bytes], best: int, keep: Collection[int], look: Look | None) -> None:
        """Commit a checkpoint, and only then remove old ones, but none of `keep`; put the `best` at the root.

        A disk that refuses is asked again after a while; `look` is called while waiting, and may raise. Raises
        ResourceError in the end, with the bytes that are missing; what was kept before is still there. Without
        `look` nothing is waited for and nothing raised: the next checkpoint is near.
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
        """The log of the steps before a checkpoint is on the disk before the checkpoint is."""
        if self._unwritten:
            self._write_log()
        path = self.run / runs.METRICS
        if path.exists():
            with path.open("rb+") as opened:
                sync(opened)

    def _refused(self, error: OSError) -> Unsaved:
        missing = 0
        with suppress(OSError):  # the folder itself may have gone
            missing = max(0, self.checkpoint_bytes - shutil.disk_usage(self.run).free)
        why = Text(error.strerror or str(error), error.strerror or str(error))
        lacks = Text(
            f"，还差 {missing:,} 字节" if missing else "", f", {missing:,} bytes are missing" if missing else ""
        )
        mend = Text("再重新训练", "train again")
        if self._stays():
            command = f"tonghua train --resume {quoted(self.run)}"
            mend = Text(f"再用 {command} 接着训练", f"go on with {command}")
        return Unsaved(
            f"写不进检查点 {self.run}：{why.zh}{lacks.zh}；请腾出空间，{mend.zh}",
            f"cannot write a checkpoint in {self.run}: {why.en}{lacks.en}; free some space and {mend.en}",
        )

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Put an adapter at the root of the run; with the contract, written last, it can be talked to."""
        contract = Contract(
            system=self.config.system,
            join=JOIN,
            stop_ids=self.renderer.stop_ids,
            template_sha256=self.renderer.template_sha256,
            tokenizer_sha256=self.renderer.tokenizer_sha256,
            base={"name": self.base_name, **self.fingerprint},
            persona=self.name,
            sampling=self.config.sampling.model_dump(),
        )
        adapter = {name: files[name] for name in ADAPTER_FILES}
        write_files(self.run, {**adapter, runs.CONTRACT: contract.to_json().encode()})

    def publish_from(self, found: Checkpoint) -> None:
        """The same with the adapter of a checkpoint."""
        self.publish({name: found.read(name) for name in ADAPTER_FILES})

    def rewind(self, found: Checkpoint, evaluated: bool) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """Drop from the log what came after a checkpoint, which will come again; give steps and samples that stay.

        What happened on the way stays, whenever it was. An evaluation that is not in the checkpoint (`evaluated`) comes
        again too.
        """
        upto = found.step if evaluated else found.step - 1
        lines = [
            values
            for values in _lines(self.run / runs.METRICS)
            if "event" in values or values["step"] <= (found.step if "step_s" in values else upto)
        ]
        answers = [values for values in _lines(self.run / runs.SAMPLES) if values["step"] <= upto]
        for name, kept in ((runs.METRICS, lines), (runs.SAMPLES, answers)):
            text = "".join(json.dumps(values, ensure_ascii=False) + "\n" for values in kept)
            if (self.run / name).exists():
                write_files(self.run, {name: text.encode()})
        return [values for values in lines if "step_s" in values], answers

    def finish(self, result: Mapping[str, Any]) -> None:
        """The run has reached its end."""
        content = json.dumps({"finished": now(), **result}, indent=2, ensure_ascii=False) + "\n"
        write_files(self.run, {runs.RESULT: content.encode()})


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The whole lines of a log that belong to a step; one that its writer did not finish is left out."""
    return (values for values in read_lines(path) if isinstance(values.get("step"), int))


def _resolved(paths: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """One dataset or several, as they can be named from any folder."""
    return from_anywhere(paths) if isinstance(paths, str) else tuple(map(from_anywhere, paths))
