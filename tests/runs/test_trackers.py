"""Reporting to experiment trackers: what is told, and that none of them can hold a run up."""

import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from tonghua.errors import UsageError
from tonghua.runs import trackers
from tonghua.runs.trackers import MOST_WAITING, open_trackers, values_of
from tonghua.text import Text

STEP = {
    **{"step": 3, "steps": 45, "epoch": 0.33, "loss": 3.21, "grad_norm": 1.2, "learning_rate": 0.0002, "samples": 16},
    **{"tokens": 6123, "targets": 5012, "step_s": 2.31, "samples_per_s": 6.9, "remaining_s": 97.0, "memory_gb": 3.1},
}
TOLD = {
    **{"train/loss": 3.21, "train/grad_norm": 1.2, "train/learning_rate": 0.0002},
    **{"train/epoch": 0.33, "train/samples_per_s": 6.9},
}
CONFIG = {
    **{"model": "/home/张三/模型/qwen2.5-0.5b", "dataset": ("D:\\我的 数据\\故事.json*2", "fairytale")},
    **{"system": "你是林黛玉。", "output_dir": "/home/张三/runs", "learning_rate": 0.0002, "max_steps": None},
    **{"lora_target": "all", "skip_bad_rows": False, "sampling": {"top_p": 0.9}},
}


class Fake:
    """A tracker that keeps what it is told, with the shape that trackio's, wandb's and swanlab's share."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = False
        self.offline, self.url = True, ""
        self.on_init: Callable[[], object] = lambda: None
        self.on_log: Callable[[], object] = lambda: None
        self.on_finish: Callable[[], object] = lambda: None

    def init(self, **settings: Any) -> "Fake":
        self.on_init()
        self.settings = settings
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.on_log()
        self.logged.append((values, step))

    def finish(self) -> None:
        self.on_finish()
        self.finished = True


Install = Callable[..., Fake]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a fake tracker where the real one would be imported from."""

    def put(name: str, **more: object) -> Fake:
        fake, module = Fake(), ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__dict__.update(init=fake.init, **more)
        monkeypatch.setitem(sys.modules, name, module)
        return fake

    return put


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "我的 结果" / "童话 一-20261122-135012"
    folder.mkdir(parents=True)
    return folder


def fails() -> None:
    raise OSError("no route\nto host")


def leaves() -> None:
    raise SystemExit(1)


# What is told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (STEP, TOLD),
        ({"step": 9, "epoch": 1.0, "heldout_loss": 3.123}, {"train/epoch": 1.0, "eval/loss": 3.123}),
        ({"step": 9, "epoch": 1.0, "loss": None, "grad_norm": None}, {"train/epoch": 1.0}),
        ({"step": 9, "at": "2026-11-22T13:55:01+08:00", "event": "spike", "zh": "跳了", "en": "a spike"}, {}),
    ],
)
def test_what_of_a_line_is_told(line: dict[str, object], told: dict[str, float]) -> None:
    assert values_of(line) == told


def test_numbers_and_the_config_without_folders_are_told(install: Install, run: Path) -> None:
    fake = install("trackio")
    opened = open_trackers(["trackio"], run, CONFIG, pytest.fail)
    opened.log(TOLD, 3)
    opened.log({"train/loss": float("nan"), "eval/loss": 3.0}, 4)
    opened.log(values_of({"step": 5, "event": "spike", "zh": "跳了", "en": "a spike"}), 5)
    opened.close()
    assert fake.logged == [(TOLD, 3), ({"eval/loss": 3.0}, 4)]
    assert fake.finished
    assert fake.settings["config"] == {
        **{"model": "qwen2.5-0.5b", "dataset": ["故事.json*2", "fairytale"], "output_dir": "runs"},
        **{"learning_rate": 0.0002, "max_steps": None, "lora_target": "all", "skip_bad_rows": False},
        "sampling": {"top_p": 0.9},
    }


@pytest.mark.parametrize("name", ["trackio", "wandb", "swanlab"])
def test_a_run_that_goes_on_is_the_same_run(install: Install, run: Path, name: str) -> None:
    fake = install(name, Settings=SettingsOfSwanLab if name == "swanlab" else SimpleNamespace, setup=lambda given: None)
    for _ in range(2):
        open_trackers([name], run, {}, pytest.fail).close()
        known = {key: fake.settings[key] for key in ("project", "name", "resume")}
        assert known == {"project": "tonghua", "name": run.name, "resume": "allow"}
        assert fake.settings.get("id", run.name) == run.name


def test_an_id_is_one_that_all_take_and_its_own(install: Install, tmp_path: Path) -> None:
    fake = install("wandb", Settings=SimpleNamespace, setup=lambda given: None)
    long = tmp_path / f"{'长' * 64}-20261122-135012"
    open_trackers(["wandb"], long, {}, pytest.fail).close()
    assert (len(fake.settings["id"]), fake.settings["id"][-16:]) == (64, "-20261122-135012")
    open_trackers(["wandb"], tmp_path / "甲#乙%丙-20261122-135012", {}, pytest.fail).close()
    assert fake.settings["id"] == "甲-乙-丙-20261122-135012"


def test_wandb_is_told_nothing_by_itself(install: Install, run: Path) -> None:
    """Rows and answers are shown in the terminal, folders on the command line: neither is wandb's to read."""
    notes: list[Text] = []
    before: list[SimpleNamespace] = []
    fake = install("wandb", Settings=SimpleNamespace, setup=before.append)
    fake.offline, fake.url = False, "https://wandb.example/tonghua"
    open_trackers(["wandb"], run, {}, notes.append).close()
    given = fake.settings["settings"]
    assert (given.console, given.silent, before[0].silent) == ("off", True, True)
    assert given.disable_code
    assert given.disable_git
    assert given.x_disable_meta
    assert given.x_disable_machine_info
    assert not given.x_save_requirements
    assert notes == [Text("wandb：https://wandb.example/tonghua", "wandb: https://wandb.example/tonghua")]


class SettingsOfSwanLab(SimpleNamespace):
    """As pydantic's, with a switch that no version has yet."""

    class Probe(SimpleNamespace):
        model_fields: ClassVar = {
            **{name: SimpleNamespace(annotation=bool) for name in ("runtime", "git", "of_tomorrow")},
            "monitor_interval": SimpleNamespace(annotation=int),
        }

    Terminal = SimpleNamespace


def test_swanlab_is_told_nothing_by_itself(install: Install, run: Path) -> None:
    fake = install("swanlab", Settings=SettingsOfSwanLab)
    open_trackers(["swanlab"], run, {}, pytest.fail).close()
    given = fake.settings["settings"]
    assert (given.terminal.proxy_type, given.interactive) == ("none", False)
    assert vars(given.probe) == {"runtime": False, "git": False, "of_tomorrow": False}


def test_a_version_that_cannot_be_kept_from_gathering_is_told_nothing(install: Install, run: Path) -> None:
    fake, notes = install("swanlab", Settings=SimpleNamespace), []
    opened = open_trackers(["swanlab"], run, CONFIG, notes.append)
    opened.log(TOLD, 1)
    opened.close()
    assert (fake.settings, fake.logged, len(notes)) == ({}, [], 1)


# What goes wrong


@pytest.mark.parametrize(("where", "taken"), [("on_init", 0), ("on_log", 2), ("on_finish", 5)])
def test_one_that_fails_is_told_of_once_and_the_others_go_on(
    install: Install, run: Path, where: str, taken: int
) -> None:
    broken, sound, notes = install("trackio"), install("wandb", Settings=SimpleNamespace, setup=lambda given: None), []
    calls = iter([None, None])
    setattr(broken, where, fails if where != "on_log" else lambda: fails() if next(calls, 1) else None)
    opened = open_trackers(["trackio", "wandb"], run, CONFIG, notes.append)
    for step in range(5):
        opened.log(TOLD, step)
    opened.close()
    opened.close()
    opened.log(TOLD, 6)
    assert [len(fake.logged) for fake in (broken, sound)] == [taken, 5]
    assert (broken.finished, sound.finished) == (False, True)
    assert notes == [
        Text(
            "trackio 出错，这次不再向它报告，训练不受影响：OSError: no route to host",
            "trackio failed and gets no more numbers; training continues: OSError: no route to host",
        )
    ]


def test_one_that_leaves_takes_nobody_along(install: Install, run: Path) -> None:
    fake, notes = install("trackio"), []
    fake.on_init = leaves
    opened = open_trackers(["trackio"], run, {}, notes.append)
    opened.log(TOLD, 1)
    opened.close()
    assert [note.en.split(": ")[-2:] for note in notes] == [["SystemExit", "1"]]


def test_notes_come_on_the_thread_of_the_run(install: Install, run: Path) -> None:
    install("trackio").on_init = fails
    threads: list[int] = []
    open_trackers(["trackio"], run, {}, lambda note: threads.append(threading.get_ident())).close()
    assert threads == [threading.get_ident()]


def test_one_that_hangs_is_left_behind(install: Install, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "CLOSE_S", 0.2)
    fake, notes, hanging, free = install("trackio"), [], threading.Event(), threading.Event()
    fake.on_log = lambda: (hanging.set(), free.wait())
    opened = open_trackers(["trackio"], run, {}, notes.append)
    try:
        opened.log(TOLD, 0)
        assert hanging.wait(60)
        for step in range(MOST_WAITING + 50):
            opened.log(TOLD, step)
        opened.close()
    finally:
        free.set()
    left = MOST_WAITING + 50
    assert notes == [
        Text(
            f"trackio 过了 0 秒还没有收完，还有 {left} 条没收，不再等它；完整的记录在 metrics.jsonl",
            f"trackio was not done after 0 seconds, with {left} records left, and is not waited for; "
            "metrics.jsonl has everything",
        )
    ]


def test_the_program_ends_although_one_hangs(tmp_path: Path) -> None:
    fake = "import time\ndef init(**settings):\n    while True:\n        time.sleep(3600)\n"
    (tmp_path / "trackio.py").write_text(fake, encoding="utf-8")
    code = (
        "from pathlib import Path\nfrom tonghua.runs import trackers\ntrackers.CLOSE_S = 0.2\n"
        "opened = trackers.open_trackers(['trackio'], Path('run'), {}, lambda note: print('noted'))\n"
        "opened.log({'train/loss': 1.0}, 1)\nopened.close()\nprint('done')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == ["noted", "done"]


def test_one_that_never_starts_is_left_behind(install: Install, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "CLOSE_S", 0.2)
    fake, notes, free = install("trackio"), [], threading.Event()
    fake.on_init = free.wait
    try:
        open_trackers(["trackio"], run, {}, notes.append).close()
    finally:
        free.set()
    assert [note.en for note in notes] == [
        "trackio was not done after 0 seconds, and is not waited for; metrics.jsonl has everything"
    ]


def test_what_a_slow_one_missed_is_counted(install: Install, run: Path) -> None:
    fake, notes, begun, free = install("trackio"), [], threading.Event(), threading.Event()
    fake.on_log = lambda: (begun.set(), free.wait())
    opened = open_trackers(["trackio"], run, {}, notes.append)
    opened.log(TOLD, 0)
    assert begun.wait(60)
    for step in range(MOST_WAITING + 50):
        opened.log(TOLD, step)
    assert notes == []
    free.set()
    opened.close()
    assert len(fake.logged) == 1 + MOST_WAITING
    assert notes == [
        Text(
            "trackio 跟不上，有 50 条没有发给它；完整的记录在 metrics.jsonl",
            "trackio could not keep up and missed 50 records; metrics.jsonl has everything",
        )
    ]


# What is not there


@pytest.mark.parametrize("name", ["tensorboard", "swanlab", "wandb", "trackio"])
def test_one_that_is_not_installed_is_said_before_anything_is_told(
    install: Install, run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other = "wandb" if name == "trackio" else "trackio"
    fake = install(other)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as refused:
        open_trackers([other, name], run, {}, pytest.fail)
    for text in refused.value.text:
        assert f'pip install "{name}>=' in text
        assert f"report_to={name}" in text
    assert fake.settings == {}
    assert list(run.iterdir()) == []


def test_a_name_that_is_no_tracker(run: Path) -> None:
    with pytest.raises(UsageError) as refused:
        open_trackers(["all"], run, {}, pytest.fail)
    assert refused.value.text.en == "report_to=all: must be some of tensorboard, swanlab, wandb, trackio"


def test_none_is_imported_unless_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom tonghua.runs.trackers import open_trackers\n"
        "opened = open_trackers((), pathlib.Path('.'), {}, print)\nopened.log({'train/loss': 1.0}, 1)\nopened.close()\n"
        "print({'tensorboard', 'swanlab', 'wandb', 'trackio', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert list(tmp_path.iterdir()) == []


# The real one


@pytest.mark.parametrize("interrupted", [True, False], ids=["resumed", "rolled back"])
def test_tensorboard_reads_back_what_it_was_told_also_of_steps_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """Steps that were trained again, after an interruption or a rollback, are there once."""
    monkeypatch.setattr("tonghua.runs.trackers.CLOSE_S", 120.0)  # a busy machine takes long to import it
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    opened = open_trackers(["tensorboard"], run, CONFIG, pytest.fail)
    for first, last, loss in ((1, 6, 3.0), (4, 8, 2.0)):
        for step in range(first, last):
            opened.log({"train/loss": loss}, step)
            opened.log({"eval/loss": loss}, step)
        if interrupted and first == 1:
            opened.close()
            opened = open_trackers(["tensorboard"], run, CONFIG, pytest.fail)
    opened.close()
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    assert sorted(read.Tags()["scalars"]) == ["eval/loss", "train/loss"]
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [
        *((step, 3.0) for step in (1, 2, 3)),
        *((step, 2.0) for step in (4, 5, 6, 7)),
    ]
