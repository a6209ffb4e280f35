"""Reports a run to experiment trackers if the user asks for it: TensorBoard, SwanLab, Weights & Biases, trackio.

    the run ── log(values, step) ──► [ queue, bounded ] ──► a thread for each tracker ──► the tracker
            ◄── note(Text), at the next log or at the close ── what went wrong there

A tracker is imported only if it is named. None can stop or slow down the run: each has its own thread, so it may
hang, and one that fails is reported once and not used again. Trackers get numbers, and the config without folders of
this machine. What they collect by themselves is switched off: the terminal (it shows rows and answers), the code, the
command line, the machine. If that is not possible, the tracker gets nothing.
"""

import importlib.util
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from queue import Empty, Queue
from typing import Any, NamedTuple

from ..errors import UsageError
from ..text import Text

PACKAGES = {
    "tensorboard": "tensorboard>=2.10",
    "swanlab": "swanlab>=0.8",
    "wandb": "wandb>=0.27",
    "trackio": "trackio>=0.30",
}
"""The pip requirement of each tracker. The names are those of Hugging Face's Trainer."""

METRICS = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
    "epoch": "train/epoch",
    "samples_per_s": "train/samples_per_s",
    "heldout_loss": "eval/loss",
}
"""The keys of metrics.jsonl that are reported, and their names in the tracker."""

PROJECT = "tonghua"

MOST_WAITING = 1000

CLOSE_S = 8.0
"""Maximum time for all trackers together to accept the remaining records, in seconds."""

FLUSH_S = 10

LONGEST_ID = 64

REASON_CHARACTERS = 200

Notify = Callable[[Text], None]


def values_of(line: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of a line of metrics.jsonl, by their names in the tracker."""
    found = {name: line.get(key) for key, name in METRICS.items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def require_installed(names: Sequence[str]) -> None:
    """Raise UsageError if a name is not a tracker or its package is not installed."""
    for name in names:
        if name not in PACKAGES:
            known = ", ".join(PACKAGES)
            raise UsageError(f"report_to={name}：应是 {known} 中的几个", f"report_to={name}: must be some of {known}")
        if importlib.util.find_spec(name) is None:
            install = f'pip install "{PACKAGES[name]}"'
            raise UsageError(
                f"report_to={name} 要用的 {name} 还没有安装；请运行 {install}，或去掉 report_to",
                f"report_to={name} needs {name}, which is not installed; run {install}, or leave report_to out",
            )


def open_trackers(names: Sequence[str], run: Path, config: Mapping[str, object], note: Notify) -> "Trackers":
    """Start the trackers of these names and return them. The folder's name identifies the run, also after a resume.

    Raises UsageError as `require_installed` does. Later failures of a tracker only go to `note`.
    """
    require_installed(names)
    return Trackers([_Tracker(name, run, _public(config)) for name in dict.fromkeys(names)], note)


def _public(value: Any) -> Any:
    """Return a config that may be published: without the system prompt, and paths cut to their last part."""
    if isinstance(value, Mapping):
        return {key: _public(inner) for key, inner in value.items() if key != "system"}
    if isinstance(value, list | tuple):
        return [_public(inner) for inner in value]
    # The rules of Windows split the paths of every system.
    return PureWindowsPath(value).name if isinstance(value, str | Path) else value


class Trackers:
    """All open trackers of a run; `open_trackers` makes it."""

    def __init__(self, trackers: "Sequence[_Tracker]", note: Notify):
        self._trackers, self._note = list(trackers), note

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Queue the finite ones of these numbers for all trackers; returns at once."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        for tracker in self._trackers:
            tracker.put(finite, step)
            self._pass_on(tracker)

    def close(self) -> None:
        """Let the trackers finish, for at most `CLOSE_S` seconds, and note what they missed. A second call is safe."""
        deadline = time.monotonic() + CLOSE_S
        for tracker in self._trackers:
            tracker.end()
        for tracker in self._trackers:
            tracker.join(max(0.0, deadline - time.monotonic()))
            self._pass_on(tracker)
            loss = tracker.loss()
            if loss is not None:
                self._note(loss)
        self._trackers.clear()

    def _pass_on(self, tracker: "_Tracker") -> None:
        """Pass notes on from the caller's thread, so that `note` need not be thread-safe."""
        while (told := tracker.told()) is not None:
            self._note(told)


class _Tracker:
    """One tracker, in a daemon thread, for which the program does not wait at exit."""

    def __init__(self, name: str, run: Path, config: dict[str, Any]):
        self._name, self._run, self._config = name, run, config
        self._waiting: Queue[tuple[dict[str, float], int] | None] = Queue()
        self._notes: Queue[Text] = Queue()
        self._dropped = 0
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"report to {name}", daemon=True)
        self._thread.start()

    def put(self, values: dict[str, float], step: int) -> None:
        if self._failed or not values:
            return
        # Only the run's thread puts items in, so the queue cannot grow between the check and the put.
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put((values, step))
        else:
            self._dropped += 1

    def end(self) -> None:
        self._waiting.put(None)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def told(self) -> Text | None:
        try:
            return self._notes.get_nowait()
        except Empty:
            return None

    def loss(self) -> Text | None:
        """Return what was not reported, or None; call after `end` and `join`. Failures are already in the notes."""
        if self._failed:
            return None
        whole = Text("完整的记录在 metrics.jsonl", "metrics.jsonl has everything")
        if self._thread.is_alive():
            missing = self._dropped + max(0, self._waiting.qsize() - 1)
            some = Text(f"，还有 {missing} 条没收", f", with {missing} records left") if missing else Text("", "")
            return Text(
                f"{self._name} 过了 {CLOSE_S:.0f} 秒还没有收完{some.zh}，不再等它；{whole.zh}",
                f"{self._name} was not done after {CLOSE_S:.0f} seconds{some.en}, and is not waited for; {whole.en}",
            )
        if self._dropped:
            return Text(
                f"{self._name} 跟不上，有 {self._dropped} 条没有发给它；{whole.zh}",
                f"{self._name} could not keep up and missed {self._dropped} records; {whole.en}",
            )
        return None

    def _work(self) -> None:
        try:
            sink = _OPEN[self._name](self._run, self._config, self._notes.put)
            while (item := self._waiting.get()) is not None:
                sink.log(*item)
            sink.close()
        # BaseException, because some trackers call sys.exit if they cannot log in.
        except BaseException as error:
            self._failed = True
            self._notes.put(_failure(self._name, error))


def _failure(name: str, error: BaseException) -> Text:
    said = " ".join(str(error).split())[:REASON_CHARACTERS]
    reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return Text(
        f"{name} 出错，这次不再向它报告，训练不受影响：{reason}",
        f"{name} failed and gets no more numbers; training continues: {reason}",
    )


class _Sink(NamedTuple):
    """The functions of an open tracker."""

    log: Callable[[dict[str, float], int], object]
    close: Callable[[], object]


def _tensorboard(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    """Write into the run folder, which already has the config."""
    module = importlib.import_module("torch.utils.tensorboard")
    writers: list[Any] = []
    last = 0

    def log(values: dict[str, float], step: int) -> None:
        nonlocal last
        if not writers or step < last:
            # After a resume or a rollback, hide what was written from this step on.
            writers.append(module.SummaryWriter(str(run / "tensorboard"), purge_step=step, flush_secs=FLUSH_S))
        last = step
        for name, value in values.items():
            writers[-1].add_scalar(name, value, step)

    return _Sink(log, lambda: [writer.close() for writer in writers])


def _swanlab(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    swanlab = importlib.import_module("swanlab")
    # Switch off every probe that this version has.
    switches = swanlab.Settings.Probe.model_fields.items()
    settings = swanlab.Settings(
        interactive=False,
        terminal=swanlab.Settings.Terminal(proxy_type="none"),
        probe=swanlab.Settings.Probe(**{name: False for name, field in switches if field.annotation is bool}),
    )
    opened = swanlab.init(
        project=PROJECT,
        name=run.name,
        id=_id(run),
        resume="allow",
        log_dir=str(run / "swanlab"),
        config=config,
        settings=settings,
    )
    return _Sink(opened.log, opened.finish)


def _wandb(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    wandb = importlib.import_module("wandb")
    # Unless it is silent from the start, it asks for a key in the terminal and waits.
    wandb.setup(wandb.Settings(silent=True))
    opened = wandb.init(
        project=PROJECT,
        name=run.name,
        id=_id(run),
        resume="allow",
        dir=str(run),
        config=config,
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
            finish_timeout=CLOSE_S,
        ),
    )
    if not opened.offline:
        note(Text(f"wandb：{opened.url}", f"wandb: {opened.url}"))
    return _Sink(opened.log, opened.finish)


def _trackio(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    """Write on this machine, unless trackio's environment variables name a Space or a server."""
    trackio = importlib.import_module("trackio")
    opened = trackio.init(
        project=PROJECT,
        name=run.name,
        resume="allow",
        config=config,
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return _Sink(opened.log, opened.finish)


def _id(run: Path) -> str:
    """Return the folder's name as all trackers accept it; cut at the front, because the time at its end is unique."""
    return "".join("-" if char in "/\\#?%:;,'" else char for char in run.name)[-LONGEST_ID:].strip()


_OPEN: Mapping[str, Callable[[Path, dict[str, Any], Notify], _Sink]] = {
    "tensorboard": _tensorboard,
    "swanlab": _swanlab,
    "wandb": _wandb,
    "trackio": _trackio,
}
