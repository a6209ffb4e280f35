"""What the world does to a run: signals, terminals that close, disks and memory with bounds, all of them real.

Each run is a process of its own. What it does to the disk and hears from the system is the system's own doing; only
the moment at which it happens is arranged, by a few lines that run before the verb.
"""

import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import processes
import pytest
import torch
from command_line import call, settings
from made_runs import LONG, STEPS, Place, lines, refused, require_same
from processes import Process, ended

from tonghua.runs import checkpoint

posix = pytest.mark.skipif(os.name == "nt", reason="asks for what POSIX systems alone have")


def start(place: Place, before: str = "", **values: object) -> Process:
    """`tonghua train` in a process of its own, after the lines `before`."""
    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG, **values}
    program = textwrap.dedent(before) + "\nfrom tonghua.cli import main\nmain()"
    return processes.start("-c", program, "train", *settings(**given), "--json", folder=place.folder)


def wait_for(process: Process, found: Callable[[], object]) -> None:
    while process.poll() is None and not found():
        time.sleep(0.002)


def at_step(place: Place, step: int) -> Callable[[], object]:
    """Whether it has come so far; a checkpoint that is seen now may be rotated away a moment later."""
    return lambda: any(checkpoint.steps(run)[-1:] >= [step] for run in place.runs.glob("*"))


def at_call(number: int, owner: str, name: str, then: str) -> str:
    """Lines that make the n-th call of `owner.name` do `then` first."""
    return textwrap.dedent(f"""
        import os, signal, time
        import {owner} as owner
        real, calls = owner.{name}, 0
        def arranged(*given, **named):
            global calls
            calls += 1
            if calls == {number}:
                {then}
            return real(*given, **named)
        owner.{name} = arranged
    """)


# Signals and terminals


@posix
def test_of_two_processes_the_second_is_refused(place: Place, straight: Place) -> None:
    """The lock is the system's: it goes with the process that held it, however that ended."""
    first = start(place)
    wait_for(first, at_step(place, 4))
    first.send_signal(signal.SIGSTOP)
    refused(place.resume(), 2, f"another process is training {place.run}; wait until it ends, or stop it first")
    first.kill()
    ended(first)
    assert place.resume().code == 0
    require_same(place, straight)


@pytest.mark.parametrize("patience_s", [0.0, 0.003, 0.01, 0.03])
@posix
def test_asked_to_stop_and_then_killed(place: Place, straight: Place, patience_s: float) -> None:
    """A scheduler that does not wait long enough: the checkpoint before is there."""
    process = start(place, save_steps=2)
    wait_for(process, at_step(place, 4))
    process.send_signal(signal.SIGTERM)
    time.sleep(patience_s)
    process.kill()
    ended(process)
    found, damages = checkpoint.newest_valid(place.run)
    assert (found.step >= 4, damages) == (True, [])
    assert place.resume("save_steps=1").code == 0
    require_same(place, straight)


class Terminal:
    """A terminal of the system, and a program in it as a shell would start it."""

    def __init__(self, place: Place, *arguments: object, kind: str = "xterm"):
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        adopt = f"import fcntl; fcntl.ioctl(0, {termios.TIOCSCTTY}, 0)\nfrom tonghua.cli import main\nmain()"
        self.process = processes.start(
            "-c", adopt, *arguments, folder=place.folder, terminal=theirs, TERM=kind, COLUMNS="100"
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.shown = ""

    def read(self) -> None:
        with suppress(BlockingIOError, OSError):  # some systems say EIO once the program has gone
            self.shown += os.read(self._ours, 65_536).decode("utf-8", errors="replace")

    def until(self, found: Callable[[], object]) -> None:
        def read_along() -> object:
            self.read()
            return found()

        wait_for(self.process, read_along)

    def close(self) -> None:
        os.close(self._ours)


@posix
def test_a_terminal_that_is_closed(place: Place) -> None:
    """The system sends SIGHUP, and nobody reads any more what is shown: the run is kept."""
    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG, "num_train_epochs": 300}
    terminal = Terminal(place, "train", *settings(**given))
    terminal.until(at_step(place, 4))
    terminal.close()
    assert terminal.process.wait(timeout=60) == 75
    found, damages = checkpoint.newest_valid(place.run)
    assert (4 <= found.step < 900, damages) == (True, [])
    happened = [line for line in lines(place.run) if "event" in line]
    assert happened[-1]["en"] == f"stopped after step {found.step}"


@pytest.mark.parametrize(
    ("verb", "shown"),
    [
        ("check", "rows read"),
        ("plan", "trying the longest batch"),
        ("eval", "measuring the loss"),
        ("chat", "loading the model"),
        ("report", "writing the report"),
    ],
)
@posix
def test_every_verb_that_takes_a_while_shows_a_bar(place: Place, straight: Place, verb: str, shown: str) -> None:
    """In a real terminal, and comes to its end."""
    given = settings(dataset=place.rows, model=place.model, output_dir=place.runs, **LONG)
    of_a_run = {"chat": [straight.run, "--prompt", "月亮呢？"], "eval": [straight.run]}
    arguments = {"check": [place.rows, f"model={place.model}"], "plan": given, **of_a_run}
    terminal = Terminal(place, verb, *arguments.get(verb, [straight.run]))
    terminal.until(lambda: False)
    terminal.read()
    assert terminal.process.returncode == 0, terminal.shown
    assert shown in terminal.shown
    assert "\x1b[2K" in terminal.shown, "a bar is drawn anew"
    terminal.close()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("tonghua.training.setup", "load_base"),
        ("tonghua.training.trainer", "Trainer.rehearse"),
        ("tonghua.training.trainer", "hidden_states"),
        ("tonghua.evaluation.losses", "hidden_states"),
        ("tonghua.training.diary", "Diary.entry"),
    ],
)
@posix
def test_asked_to_stop_before_the_first_step(place: Place, owner: str, name: str) -> None:
    """While the base is loaded, in the rehearsal, in the first evaluation, in the first answers."""
    called = ended(start(place, at_call(1, owner, name, "os.kill(os.getpid(), signal.SIGTERM)")))
    assert (called.code, called.out) == (75, "")
    assert called.err.splitlines()[-1] == "stopped before any training; run the same again to start"
    assert list(place.runs.glob("*")) == [], "nothing was trained, and nothing is left"


@posix
def test_a_step_that_hangs_for_good(place: Place, straight: Place) -> None:
    """The program leaves by itself, says where it hung, and the run goes on."""
    impatient = """
        from functools import partial
        import tonghua.training.train as training
        import tonghua.training.watch as watch
        training.Watch = partial(training.Watch, longest_s=1.0)
        watch.TIMES = 0.0  # on a slow machine ten usual steps take longer than that
    """
    hang = at_call(20, "tonghua.training.trainer", "hidden_states", "time.sleep(3600)")
    called = ended(start(place, textwrap.dedent(impatient) + hang, tokens_per_micro_batch=8))
    assert (called.code, called.out) == (75, "")
    assert "nothing has come of this step for 1 s; where it hangs is in" in called.err
    assert "in arranged" in (place.run / "hang.txt").read_text(encoding="utf-8")
    assert place.resume().json["steps"] == STEPS


@posix
def test_a_terminal_that_cannot_draw_gets_lines(place: Place, straight: Place) -> None:
    terminal = Terminal(place, "eval", straight.run, kind="dumb")
    terminal.until(lambda: False)
    terminal.read()
    assert terminal.process.returncode == 0, terminal.shown
    assert "4/4  measuring the loss" in terminal.shown
    assert "\x1b" not in terminal.shown
    terminal.close()


@posix
def test_a_report_that_cannot_be_written_is_not_named(place: Place) -> None:
    assert place.train(max_steps=1).code == 0
    called = call("report", place.run, "--json")
    assert (called.code, called.json["report"]) == (0, str(place.run / "report.html"))
    (place.run / "report.html").unlink()
    (place.run / "report.html").mkdir()
    refused(call("report", place.run), 5, f"cannot write {place.run / 'report.html'}")


# Disks


def half_removed(place: Place, limit: int) -> None:
    """The power goes while an old checkpoint is being removed: some of its files are gone."""
    from made_runs import Killed

    def torn(folder: Path, ignore_errors: bool = False) -> None:
        if folder.exists():
            (folder / "MANIFEST.json").unlink()
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", torn)
        with pytest.raises(Killed):
            place.train(save_total_limit=limit)


@pytest.mark.parametrize("limit", [2, 3])
def test_killed_in_the_middle_of_a_rotation(place: Place, straight: Place, limit: int) -> None:
    """What is half removed is not in the way, and goes in the end."""
    half_removed(place, limit)
    found, damages = checkpoint.newest_valid(place.run)
    assert (found.step, damages) == (checkpoint.steps(place.run)[-1], [])
    assert place.resume().code == 0
    require_same(place, straight)
    assert all((folder / "MANIFEST.json").exists() for folder in (place.run / "checkpoints").iterdir())


@posix
def test_files_that_may_not_grow_so_large(place: Place, straight: Place) -> None:
    """A quota, by the system itself: the checkpoint that was there is whole, and with more room it goes on."""
    last = straight.run / "checkpoints" / f"step-{STEPS:06d}"
    largest, bound = (last / "state.safetensors").stat().st_size, (last / "state.safetensors").stat().st_size - 1
    assert bound > max(path.stat().st_size for path in straight.run.iterdir() if path.is_file())
    called = ended(
        start(
            place,
            f"""
            import resource
            from tonghua.runs import book
            book.RETRY_S = (0.1,)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({bound}, {bound}))
            """,
        )
    )
    assert (called.code, called.out, largest) == (5, "", bound + 1)
    assert "cannot write a checkpoint in" in called.err.splitlines()[-1]
    assert "File too large" in called.err.splitlines()[-1]
    assert checkpoint.steps(place.run) == [0]
    assert not list(place.run.rglob(".step-*"))
    assert place.resume().code == 0
    require_same(place, straight)


def test_a_folder_that_is_taken_away(place: Place, straight: Place) -> None:
    """As when a drive is pulled: the run waits for it, leaves with 5, and goes on where it is back."""
    away = place.folder / "拔掉了"
    take = f"""
        from pathlib import Path
        from tonghua.runs import book
        book.RETRY_S = (0.1,)
        real = book.Book.log
        def log(self, values):
            real(self, values)
            if values.get("step") == 5 and "step_s" in values:
                (self.run / "checkpoints").rename({str(away)!r})
                (self.run / "checkpoints").write_bytes(b"")
        book.Book.log = log
    """
    called = ended(start(place, take))
    assert (called.code, called.out) == (5, "")
    assert "cannot write a checkpoint in" in called.err.splitlines()[-1]
    (place.run / "checkpoints").unlink()
    away.rename(place.run / "checkpoints")
    assert "resuming from step 4" in place.resume().err
    require_same(place, straight)


@pytest.mark.parametrize("made", ["file", "folder"])
def test_a_place_where_nothing_can_be_written(place: Place, made: str) -> None:
    """Said before anything is trained. Root may write into a folder that is read-only, but not into a file."""
    if made == "file" or os.name == "nt" or os.geteuid() == 0:
        place.runs.write_text("不是文件夹", encoding="utf-8")
    else:
        place.runs.mkdir(mode=0o500)
    called = place.train()
    assert (called.code, called.out) == (5, "")
    assert str(place.runs) in called.err.splitlines()[-1]
    assert "Traceback" not in called.err


# Memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound on a process's memory is Linux's")
def test_a_base_that_memory_cannot_hold(place: Place, real_folder: Path) -> None:
    """The system refuses in the middle of the loading: one line, and nothing half done is left."""
    place.model = real_folder
    bound = """
        import resource, psutil
        from tonghua import training
        most = psutil.Process().memory_info().vms + 1_200_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    """
    called = ended(start(place, bound))
    assert (called.code, called.out) == (5, ""), called.err
    told = "takes 2.0 GB of memory and the system gives this program less; close other programs, or take a smaller"
    assert told in called.err.splitlines()[-1]
    assert "Traceback" not in called.err
    assert list(place.runs.glob("*")) == []


# Half precision


def test_half_precision_on_a_cpu_is_refused(place: Place) -> None:
    refused(place.train(dtype="float16"), 2, "dtype=float16 is not for a CPU; use auto, bfloat16 or float32")


def test_a_card_without_bfloat16_gets_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.system import device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for native, wanted in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert str(device.choose_place()) == f"cuda {wanted}"


def test_a_loss_scale_that_is_too_large_is_no_trouble(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 alone: the scale starts high and shrinks, the step is not counted as gone wrong, and the scale is kept."""
    from tonghua.training import trainer
    from tonghua.training.optimizer import Optimizer

    class Half(Optimizer):
        """As on a card; the first four gradients overflow."""

        calls = 0

        def __init__(self, *given: object, half: bool):
            super().__init__(*given, half=True)  # type: ignore[arg-type]

        def gradient_norm(self) -> float:
            Half.calls += 1
            if Half.calls <= 4:
                self._grad[0] = float("inf")
            return super().gradient_norm()

    monkeypatch.setattr(trainer, "Optimizer", Half)
    called = place.train()
    assert (called.code, called.json["steps"]) == (0, STEPS)
    assert [line for line in lines(place.run) if "event" in line] == []
    from safetensors.torch import load_file

    state = load_file(place.run / "checkpoints" / f"step-{STEPS:06d}" / "state.safetensors")
    assert state["scaler"].tolist() == [2.0**16 / 2**4, STEPS - 4]
