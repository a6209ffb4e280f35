"""What a run tells experiment trackers, where it is asked to: TensorBoard, SwanLab, Weights & Biases, trackio.

    the run ── log(values, step) ──► [ queue, bounded ] ──► a thread for each tracker ──► the tracker
            ◄── note(Text), at the next log or at the close ── what went wrong there

No tracker is imported unless it is named. None can stop or slow the run: one that fails is told of once and left
alone from then on, one that hangs hangs in a thread of its own. Numbers are told, and the config without the folders
of this machine; what trackers would gather by themselves (the terminal, where rows and answers are shown, the code,
the command line, the machine) is switched off, and where that is not possible nothing is told.
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
"""The trackers, by the names under which Hugging Face's trainer knows them: what pip installs."""

METRICS = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
    "epoch": "train/epoch",
    "samples_per_s": "train/samples_per_s",
    "heldout_loss": "eval/loss",
}
"""What of a line of metrics.jsonl is told, and under which name."""

PROJECT = "tonghua"

MOST_WAITING = 1000

CLOSE_S = 8.0
"""All trackers together may take so long to accept what is left."""

FLUSH_S = 10

LONGEST_ID = 64

REASON_CHARACTERS = 200

Notify = Callable[[Text], None]


def values_of(line: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl, by the names that trackers get."""
    found = {name: line.get(key) for key, name in METRICS.items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def require_installed(names: Sequence[str]) -> None:
    """Raises UsageError for a name that is no tracker, and for a tracker that is not installed."""
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
    """The trackers of these names, told of a run in this folder; the folder's name is the run's, also when it goes on.

    Raises UsageError as `require_installed` does; from then on whatever happens to a tracker is a note.
    """
    require_installed(names)
    return Trackers([_Tracker(name, run, _public(config)) for name in dict.fromkeys(names)], note)


def _public(value: Any) -> Any:
    """A config as it may be told: no text that the user wrote, of a path its last part alone."""
    if isinstance(value, Mapping):
        return {key: _public(inner) for key, inner in value.items() if key != "system"}
    if isinstance(value, list | tuple):
        return [_public(inner) for inner in value]
    # Windows' rules split the paths of every system.
    return PureWindowsPath(value).name if isinstance(value, str | Path) else value


class Trackers:
    """What `open_trackers` gives."""

    def __init__(self, trackers: "Sequence[_Tracker]", note: Notify):
        self._trackers, self._note = list(trackers), note

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Tell these numbers, those of them that are finite; returns at once."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        for tracker in self._trackers:
            tracker.put(finite, step)
            self._pass_on(tracker)

    def close(self) -> None:
        """Let the trackers finish, for `CLOSE_S` at most; what they did not take is noted. Once is enough."""
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
        """Notes are passed on here, so that nobody has to be ready for a call from another thread."""
        while (told := tracker.told()) is not None:
            self._note(told)


class _Tracker:
    """One tracker, in a thread that the end of the program does not wait for."""

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
        # Only the run puts something in: what is not too much now will not be too much in a moment.
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
        """What was not told, after `end` and `join`; a failure has been told of already."""
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
        # Not Exception alone: some trackers leave by sys.exit where they cannot log in.
        except BaseException as error:
            self._failed = True
            self._notes.put(_failure(self._name, error))


def _failure(name: str, error: BaseException) -> Text:
    said = " ".join(str(error).split())[:REASON_CHARACTERS]
    reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return Text(
        f"{name} 出错，这次不再向它报告，训练不受影响：{reason}",
        f"{name} failed and is told nothing more; the training goes on: {reason}",
    )


class _Sink(NamedTuple):
    """An open tracker."""

    log: Callable[[dict[str, float], int], object]
    close: Callable[[], object]


def _tensorboard(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    """Into the folder of the run. Its config is there already."""
    module = importlib.import_module("torch.utils.tensorboard")
    writers: list[Any] = []

    def log(values: dict[str, float], step: int) -> None:
        if not writers:
            # From this step on, what was written before the run was interrupted is not shown any more.
            writers.append(module.SummaryWriter(str(run / "tensorboard"), purge_step=step, flush_secs=FLUSH_S))
        for name, value in values.items():
            writers[0].add_scalar(name, value, step)

    return _Sink(log, lambda: [writer.close() for writer in writers])


def _swanlab(run: Path, config: dict[str, Any], note: Notify) -> _Sink:
    swanlab = importlib.import_module("swanlab")
    # Whatever it gathers, by a switch that this version has: off.
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
    # Silent from the start, or it would ask for a key in the terminal, and wait.
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
    """On this machine, unless its own variables name a Space or a server."""
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
    """The folder's name as all trackers take it; the time at its end tells it from other runs."""
    return "".join("-" if char in "/\\#?%:;,'" else char for char in run.name)[-LONGEST_ID:].strip()


_OPEN: Mapping[str, Callable[[Path, dict[str, Any], Notify], _Sink]] = {
    "tensorboard": _tensorboard,
    "swanlab": _swanlab,
    "wandb": _wandb,
    "trackio": _trackio,
}
