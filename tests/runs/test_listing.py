"""`tonghua runs` and `tonghua watch`: what has become of a run, read while another process may be writing it."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from filelock import FileLock
from rich.cells import cell_len

from tonghua.cli import listing as verbs
from tonghua.errors import UsageError
from tonghua.runs.listing import MetricsFile, is_running, list_runs, read_progress, summarize
from tonghua.system.files import quoted

FACTS = {
    **{"started": "2026-11-22T13:50:12+08:00", "name": "童话", "base": {"name": "qwen2.5-0.5b", "parameters": 1}},
    **{"dataset": ["fairytale", "我的 故事.json"], "steps": 45},
}


def step(number: int, loss: float | None = 3.0) -> dict[str, Any]:
    return {
        **{"step": number, "steps": 45, "epoch": number / 9, "loss": loss, "grad_norm": 1.2, "learning_rate": 0.0002},
        **{"samples": 16, "tokens": 6123, "targets": 5012, "step_s": 2.31, "samples_per_s": 6.9, "remaining_s": 97.0},
    }


def heldout(number: int, loss: float) -> dict[str, Any]:
    return {"step": number, "epoch": number / 9, "heldout_loss": loss}


def event(number: int, zh: str, en: str) -> dict[str, Any]:
    return {"step": number, "at": "2026-11-22T13:55:01+08:00", "event": "spike", "zh": zh, "en": en}


NINE = [heldout(0, 3.5), *(step(number, 4 - number / 10) for number in range(1, 10)), heldout(9, 3.2)]


def text_of(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def write(run: Path, *lines: dict[str, Any]) -> None:
    """All of metrics.jsonl, as a run that goes on writes it."""
    (run / "metrics.jsonl").write_text(text_of(*lines), encoding="utf-8", newline="\n")


def append(run: Path, *lines: dict[str, Any], ending: str = "") -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8", newline="\n") as opened:
        opened.write(text_of(*lines) + ending)


def make(folder: Path, *lines: dict[str, Any], facts: object = FACTS, checkpoint: bool = False) -> Path:
    """A run folder; what else it holds is up to the test."""
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    write(folder, *lines)
    if checkpoint:
        kept = folder / "checkpoints" / "step-000009"
        kept.mkdir(parents=True)
        (kept / "MANIFEST.json").write_text("{}", encoding="utf-8")
    return folder


@contextmanager
def training(run: Path) -> Iterator[None]:
    """Another process holds the lock of the run."""
    code = (
        "import sys\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run / "run.lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        yield
    finally:
        process.communicate()


# What has become of a run


def test_the_state_of_each_run(tmp_path: Path) -> None:
    output = tmp_path / "我的 结果"
    finished, stopped, kept = (make(output / name, checkpoint=name == "b") for name in ("a", "b", "c"))
    (finished / "result.json").write_text("{}", encoding="utf-8")
    (kept / "contract.json").write_text("{}", encoding="utf-8")
    empty, running = make(output / "d"), make(output / "e")
    for run in (finished, stopped, kept, empty):
        (run / "run.lock").touch()
    (running / "result.json").write_text("{}", encoding="utf-8")
    (output / "不是结果").mkdir()
    (output / "笔记.txt").write_text("我的", encoding="utf-8")
    with training(running):
        for _ in range(2):
            assert {run.folder: run.state for run in list_runs(output)} == {
                **{finished: "finished", stopped: "stopped", kept: "stopped", empty: "empty", running: "running"}
            }
    assert summarize(running).state == "finished"


def test_to_look_for_a_lock_leaves_no_trace(tmp_path: Path) -> None:
    run, never = make(tmp_path / "a"), make(tmp_path / "b")
    lock = FileLock(run / "run.lock")
    lock.acquire()
    lock.release()
    list_runs(tmp_path)
    lock.acquire(timeout=0)
    lock.release()
    assert not (never / "run.lock").exists()


def test_what_is_said_of_a_run(tmp_path: Path) -> None:
    run = make(tmp_path / "童话-20261122-135012", *NINE, step(10, 2.9), step(11, None), checkpoint=True)
    (found,) = list_runs(tmp_path)
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert found.as_json() == {
        **{"name": "童话", "folder": str(run), "state": "stopped", "started": "2026-11-22T13:50:12+08:00"},
        **{"base": "qwen2.5-0.5b", "dataset": ["fairytale", "我的 故事.json"], "size_bytes": size},
        **{"step": 11, "steps": 45, "epoch": 11 / 9, "loss": 2.9},
        **{"heldout_before": 3.5, "heldout_best": 3.2, "best_step": 9},
    }


def test_the_base_is_not_the_best_of_what_was_trained(tmp_path: Path) -> None:
    run = make(tmp_path / "a", heldout(0, 3.0), step(9), heldout(9, 3.4), step(18), heldout(18, 3.3), heldout(27, 3.6))
    progress = summarize(run).progress
    assert (progress.heldout_before, progress.heldout_best, progress.best_step) == (3.0, 3.3, 18)


def test_the_newest_comes_first_whatever_zone_its_clock_was_in(tmp_path: Path) -> None:
    for name, started in (
        ("a", "2026-11-22T09:00:00+08:00"),
        ("b", "2026-11-22T02:00:00+00:00"),
        ("c", "2026-11-22T08:00:00+08:00"),
    ):
        make(tmp_path / name, facts={**FACTS, "started": started})
    assert [run.folder.name for run in list_runs(tmp_path)] == ["b", "a", "c"]


NOTHING = {"step": 0, "steps": None, "epoch": None, "loss": None, "heldout_before": None, "heldout_best": None}


@pytest.mark.parametrize(
    "facts",
    [
        *(None, b"", b'{"name": "\xe7\xab', b"[1]", b"null", b"\x00" * 99, b"[" * 90_000),
        b'{"name": 3, "base": 4, "dataset": 5, "steps": "x", "started": 6}',
        b'{"base": {"name": []}, "dataset": [1, null], "steps": -1, "started": "gestern"}',
    ],
)
def test_facts_that_are_none(tmp_path: Path, facts: bytes | None) -> None:
    run = make(tmp_path / "甲")
    (run / "facts.json").unlink()
    if facts is not None:
        (run / "facts.json").write_bytes(facts)
    (found,) = list_runs(tmp_path)
    assert (found.name, found.base, found.dataset, found.state) == ("甲", None, (), "empty")
    assert NOTHING.items() <= found.as_json().items()


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"\n", b"\x00" * 100_000 + b"\n", b"\xff\xfe\n", b"[]\n", b"3\n", b"[" * 60_000 + b"\n"),
        *(
            b'{"step": "12", "steps": 45, "loss": 1.0}\n',
            b'{"step": true, "loss": 1.0}\n',
            b'{"step": -1, "loss": 1}\n',
        ),
        *(b'{"step": 99, "heldout_loss": NaN}\n', b'{"step": 99, "heldout_loss": "low"}\n', b'{"heldout_loss": 1.0}\n'),
        b'{"step": 99, "heldout_loss": 1' + b"0" * 5000 + b"}\n",
        *(
            b'{"step": 10, "steps": 45, "loss": 2.0',
            b'{"step": 10, "steps": 45, "loss": 2.0}',
            b'{"step": 10, "heldout_loss"',
        ),
    ],
)
def test_metrics_that_are_damaged_or_half_written(tmp_path: Path, damage: bytes) -> None:
    """What is wrong counts as not there, wherever it stands; what is right counts."""
    run = make(tmp_path / "甲", *NINE)
    whole = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(damage * damage.endswith(b"\n") + whole + damage)
    progress = summarize(run).progress
    assert (progress.step, progress.steps, progress.loss) == (9, 45, 3.1)
    assert (progress.heldout_before, progress.heldout_best, progress.best_step) == (3.5, 3.2, 9)


def test_a_long_run_is_not_held_in_memory(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    with (run / "metrics.jsonl").open("w", encoding="utf-8", newline="\n") as opened:
        opened.write(text_of(heldout(0, 3.5)))
        for number in range(1, 200_001):
            opened.write(json.dumps({**step(number), "steps": 200_000}) + "\n")
            if number == 100_000:
                opened.write(text_of(heldout(number, 2.5)) + "\0" * 3_000_000 + "\n")
    file = MetricsFile(run)
    tracemalloc.start()
    progress = read_progress(file.read()[1])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (progress.step, progress.heldout_before, progress.heldout_best) == (200_000, 3.5, 2.5)
    assert peak_bytes < 1_000_000 < (run / "metrics.jsonl").stat().st_size / 20
    assert [*file.read()[1]] == []


# Reading on


def test_lines_are_read_on_once_they_are_whole(tmp_path: Path) -> None:
    run = make(tmp_path / "a", *NINE)
    file = MetricsFile(run)
    assert len([*file.read()[1]]) == len(NINE)
    append(run, ending='{"step": 10, "loss"')
    assert (lambda anew, lines: (anew, [*lines]))(*file.read()) == (False, [])
    append(run, ending=": 2.0}\n{")
    anew, lines = file.read()
    assert (anew, [*lines]) == (False, [b'{"step": 10, "loss": 2.0}\n'])


@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_file_that_was_cut_is_read_from_its_start(tmp_path: Path, more: int) -> None:
    """Also where it has grown beyond its old length before anyone looks again."""
    run = make(tmp_path / "a", *NINE, *(step(number, 1.0) for number in (10, 11, 12)))
    file = MetricsFile(run)
    assert len([*file.read()[1]]) == len(NINE) + 3
    write(run, *NINE, *(step(number, 2.0) for number in range(10, 10 + more)))
    anew, lines = file.read()
    assert (anew, len([*lines])) == (True, len(NINE) + more)
    append(run, step(60))
    anew, lines = file.read()
    assert (anew, len([*lines])) == (False, 1)


def test_a_file_that_is_gone_and_one_that_is_not_there_yet(tmp_path: Path) -> None:
    run = make(tmp_path / "a", *NINE)
    file = MetricsFile(run)
    assert len([*file.read()[1]]) == len(NINE)
    (run / "metrics.jsonl").unlink()
    for gone in (True, False):
        anew, lines = file.read()
        assert (anew, [*lines]) == (gone, [])
    write(run, *NINE)
    anew, lines = file.read()
    assert (anew, len([*lines])) == (False, len(NINE))


# tonghua runs


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def called(verb: Callable[..., None], *arguments: object, as_json: bool = False) -> None:
    verb(cast(typer.Context, SimpleNamespace(args=[*map(str, arguments)])), as_json)


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize("language", ["zh", "en"])
def test_runs_fit_on_80_columns_whatever_they_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("TONGHUA_LANG", language)
    names = ("fairytale-20261122-135012", "林黛玉-20261122-135012", f"{'长' * 64}-20261122-135012", "[red]a-20261122")
    long = {**FACTS, "base": {"name": "某人--" + "很长的名字" * 9}, "steps": 123456}
    for name in names:
        make(tmp_path / name, *NINE, {**step(10), "step": 12345, "steps": 123456}, facts=long, checkpoint=True)
    called(verbs.runs, f"output_dir={tmp_path}")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert max(map(cell_len, lines)) <= 80
    state = {"zh": "已停下", "en": "stopped"}[language]
    rows = [line for line in lines if state in line]
    assert len(rows) == len(names)
    assert len({cell_len(row[: row.index(state)]) for row in rows}) == 1
    assert all("12345/123456  3.000  3.500  3.200" in row for row in rows)
    together = out.replace("\n", "").replace(" ", "")
    assert all(cell in together for cell in ("林黛玉-20261122-135012", "[red]a-20261122"))


@pytest.mark.usefixtures("columns")
def test_runs_of_a_usual_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "fairytale-20261122-135012", *NINE, facts={**FACTS, "dataset": ["fairytale"]}, checkpoint=True)
    make(tmp_path / "林黛玉-20261121-090000", facts={"started": "2026-11-21T09:00:00+08:00"})
    called(verbs.runs, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == [
        "                                          train  start   best",
        "run                        state    step   loss   eval   eval      size",
        "fairytale-20261122-135012  stopped  9/45  3.100  3.500  3.200    2.2 kB",
        "qwen2.5-0.5b  fairytale",
        "林黛玉-20261121-090000     empty       0      -      -      -  40 bytes",
        "-  -",
    ]


def test_runs_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "林黛玉-20261121-090000", *NINE, checkpoint=True)
    called(verbs.runs, f"output_dir={tmp_path}", as_json=True)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (err, out.count("\n"), found["output_dir"]) == ("", 1, str(tmp_path))
    assert [(run["state"], run["step"], run["heldout_best"]) for run in found["runs"]] == [("stopped", 9, 3.2)]


def test_runs_where_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "没有"):
        called(verbs.runs, f"output_dir={folder}")
        out, err = capsys.readouterr()
        assert (out, err.startswith(f"there are no runs in {folder} yet; make one: tonghua train")) == ("", True)
        called(verbs.runs, f"output_dir={folder}", as_json=True)
        assert json.loads(capsys.readouterr().out)["runs"] == []
    with pytest.raises(UsageError, match="没有"):
        called(verbs.runs, tmp_path / "没有")


# tonghua watch


class Trainer:
    """What the trainer does while the watcher sleeps, one act each time; it holds the lock until it has none left."""

    def __init__(self, run: Path, *acts: Callable[[], object]):
        self.lock, self.acts = FileLock(run / "run.lock", thread_local=False), iter(acts)
        self.lock.acquire()

    def sleep(self, seconds: float) -> None:
        act = next(self.acts, None)
        if act is None:
            assert self.lock.is_locked, "the watcher did not see that the training has ended"
            self.lock.release()
        else:
            act()


Train = Callable[..., None]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    def begin(run: Path, *acts: Callable[[], object]) -> None:
        monkeypatch.setattr(verbs, "sleep", Trainer(run, *acts).sleep)

    return begin


@pytest.fixture
def all_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a line of progress comes now and then; here every one."""
    monkeypatch.setattr("tonghua.terminal.screen.QUIET_EVERY_S", 0.0)


@pytest.mark.usefixtures("all_lines")
def test_watch_follows_a_run_to_its_end(tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "童话 一", *NINE, checkpoint=True)
    half = json.dumps(step(11, 2.8))
    train(
        run,
        lambda: append(run, step(10, 2.9), event(10, "损失突然变大", "the loss\x1b[2J leapt"), ending=half[:30]),
        lambda: append(run, ending=half[30:] + "\n"),
        lambda: append(run, step(12, None), heldout(18, 3.1), heldout(27, 3.3)),
        lambda: (run / "result.json").write_text("{}", encoding="utf-8"),
    )
    called(verbs.watch, run, as_json=True)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "童话 一: running, step 9/45, training loss 3.100",
        "held-out loss: 3.500 before training, 3.200 at best (step 9)",
        "10/45  loss 2.900  6.90 samples/s  1:37 left",
        "note: the loss\\x1b[2J leapt",
        "11/45  loss 2.800  6.90 samples/s  1:37 left",
        "12/45  loss —  6.90 samples/s  1:37 left",
        "step 18: held-out loss 3.100, best so far",
        "step 27: held-out loss 3.300",
        f"done: {run}",
        f"talk to it: tonghua chat {quoted(run)}",
    ]
    assert (json.loads(out)["state"], json.loads(out)["heldout_best"]) == ("finished", 3.1)


@pytest.mark.usefixtures("all_lines")
def test_watch_goes_on_where_a_resume_cuts_the_log(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONGHUA_LANG", "zh")
    run = make(tmp_path / "童话", *NINE, step(10), step(11), heldout(11, 1.0), checkpoint=True)
    train(run, lambda: write(run, *NINE), lambda: append(run, step(10, 2.9)))
    called(verbs.watch, "童话", f"output_dir={tmp_path}")
    assert capsys.readouterr().err.splitlines() == [
        "童话：训练中，第 11/45 步，训练损失 3.000",
        "验证损失：训练前 3.500，最好 1.000（第 11 步）",
        "童话：训练中，第 9/45 步，训练损失 3.100",
        "验证损失：训练前 3.500，最好 3.200（第 9 步）",
        "10/45  损失 2.900  6.90 样本/秒  还要 1:37",
        f"训练停在第 10/45 步，没有到头；接着训练：tonghua train --resume {quoted(run)}",
    ]


def test_watch_sees_what_was_written_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just after a look the trainer writes its last line, lets go of the lock and ends."""
    run = make(tmp_path / "a", *NINE, checkpoint=True)
    lock, look = FileLock(run / "run.lock"), MetricsFile.read
    lock.acquire()

    def read(file: MetricsFile) -> tuple[bool, Iterator[bytes]]:
        anew, lines = look(file)
        seen = [*lines]
        if lock.is_locked:
            append(run, heldout(45, 2.0))
            lock.release()
        return anew, iter(seen)

    monkeypatch.setattr(MetricsFile, "read", read)
    monkeypatch.setattr(verbs, "sleep", lambda seconds: None)
    called(verbs.watch, run)
    assert "step 45: held-out loss 2.000, best so far" in capsys.readouterr().err


def test_watch_of_a_finished_run_ends_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "sleep", pytest.fail)
    run = make(tmp_path / "a", *NINE, checkpoint=True)
    (run / "result.json").write_text("{}", encoding="utf-8")
    called(verbs.watch, run)
    assert capsys.readouterr().err.splitlines() == [
        "a: finished, step 9/45, training loss 3.100",
        "held-out loss: 3.500 before training, 3.200 at best (step 9)",
        f"done: {run}",
        f"talk to it: tonghua chat {quoted(run)}",
    ]


def test_watch_of_a_run_that_fails_and_is_removed(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path / "a")
    train(run, (run / "metrics.jsonl").unlink, (run / "facts.json").unlink)
    called(verbs.watch, run)
    assert capsys.readouterr().err.splitlines() == [
        "a: running, step 0",
        f"the training stopped and kept nothing in {run}; train again",
    ]


@pytest.mark.usefixtures("all_lines")
def test_watch_passes_over_damaged_lines(tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "a", checkpoint=True)
    damage = '{"step": "x"}\n{"step": 1, "event": 3}\n{"step": 2, "loss": "low"}\n{"heldout_loss": 1}\n[]\n\0\0\n'
    train(run, lambda: append(run, ending=damage), lambda: append(run, step(3)))
    called(verbs.watch, run)
    assert "3/45  loss 3.000" in capsys.readouterr().err


@pytest.mark.parametrize("running", [True, False])
def test_watch_takes_the_newest_that_is_trained_else_the_newest(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    for name in ("a", "b", "c"):
        make(tmp_path / name, facts={**FACTS, "started": f"2026-11-2{'abc'.index(name)}T00:00:00+08:00"})
    if running:
        train(tmp_path / "b")
    called(verbs.watch, f"output_dir={tmp_path}")
    assert capsys.readouterr().err.startswith("b: running" if running else "c: empty")


def test_ctrl_c_leaves_the_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "sleep", interrupted)
    run = make(tmp_path / "a", *NINE)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with training(run):
        with pytest.raises(KeyboardInterrupt):
            called(verbs.watch, run)
        assert summarize(run).state == "running"
    assert capsys.readouterr().err.endswith("no longer watching; the training is not affected\n")
    (run / "run.lock").unlink()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_watch_of_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "空").mkdir()
    for named in (tmp_path / "空", "没有"):
        with pytest.raises(UsageError, match="tonghua runs") as refused:
            called(verbs.watch, named, f"output_dir={tmp_path}")
        assert str(named) in refused.value.text.zh
    with pytest.raises(UsageError, match="there are no runs in"):
        called(verbs.watch, f"output_dir={tmp_path}")


def test_a_folder_that_may_not_be_entered_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `lost+found` at the root of a disk."""
    (tmp_path / "lost+found").mkdir()
    make(tmp_path / "好")
    real = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "is_file", refused)
    assert [run.folder.name for run in list_runs(tmp_path)] == ["好"]


@pytest.mark.skipif(os.name == "nt", reason="locks of other users can be asked for on POSIX systems alone")
def test_a_run_of_another_user_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock may be read and not written."""
    import fcntl

    run = make(tmp_path / "别人的")
    (run / "run.lock").touch()

    def refuse(*given: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert not is_running(run)
    with (run / "run.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_running(run)
