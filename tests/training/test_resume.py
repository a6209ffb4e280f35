"""A run can be ended at any instant and goes on to the same bits, on the same rows, or says why not.

Runs are made on a random model of 3 layers with dropout, an epoch whose last step is ragged, and a checkpoint after
every step. `Killed` stands for the power going out: it is raised where nothing can catch it and tidy up.
"""

import hashlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
from command_line import ROWS, call, logged, settings, sha256, write_rows
from filelock import FileLock
from made_runs import LONG, STEPS, Interrupts, Killed, Place, lines, refused, require_same, spoil_loss

import tonghua
from tonghua.core.forward import hidden_states
from tonghua.errors import Stopped
from tonghua.evaluation import losses
from tonghua.runs import checkpoint
from tonghua.system import files as files_room
from tonghua.system import signals as stopping
from tonghua.text import Text
from tonghua.training import train as train_room
from tonghua.training import watch as hanging
from tonghua.training.setup import get_ready


def die_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    from tonghua.terminal.screen import Screen

    real = Screen.event

    def event(screen: Screen, event: Any) -> None:
        real(screen, event)
        if getattr(event, "step_s", None) is not None and event.step == step:
            raise Killed

    monkeypatch.setattr(Screen, "event", event)


# The same bits


@pytest.mark.parametrize("step", range(2, STEPS + 1))
def test_it_goes_on_to_the_same_bits(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Mid-epoch, at its ragged end, in a later epoch; the step that was killed had no checkpoint yet."""
    with monkeypatch.context() as patch:
        die_after(patch, step)
        with pytest.raises(Killed):
            place.train()
    assert not (place.run / "result.json").exists()
    called = place.resume()
    assert (called.code, called.json["steps"]) == (0, STEPS)
    require_same(place, straight)
    assert called.json["samples"] == 30
    assert called.json["heldout_loss"] == min(logged(straight.run, "heldout_loss")[1:])


@pytest.mark.parametrize("broken", ["random", "moments", "order"])
def test_what_a_checkpoint_does_not_keep_would_be_missed(
    place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Negative control: without one part of the state the bits differ."""
    from tonghua.training.trainer import Trainer

    with monkeypatch.context() as patch:
        die_after(patch, 5)
        with pytest.raises(Killed):
            place.train()
    real = Trainer.restore

    def partly(trainer: Trainer, found: checkpoint.Checkpoint) -> None:
        real(trainer, found)
        if broken == "random":
            torch.manual_seed(1)
        elif broken == "moments":
            trainer.optimizer._adam.state.clear()
        else:
            trainer.progress.step -= 1

    monkeypatch.setattr(Trainer, "restore", partly)
    assert place.resume().code == 0
    with pytest.raises(AssertionError):
        require_same(place, straight)


def test_it_goes_on_as_often_as_it_must(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (2, 4, 5, 8):
        with monkeypatch.context() as patch:
            die_after(patch, step)
            with pytest.raises(Killed):
                place.train() if step == 2 else place.resume()
    assert place.resume().code == 0
    require_same(place, straight)
    events = [line["event"] for line in lines(place.run) if "event" in line]
    assert events == ["resumed"] * 4


def test_a_finished_run_says_so_and_is_left_alone(straight: Place) -> None:
    def everything() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in straight.run.rglob("*") if path.name != "run.lock"}

    before = everything()
    called = straight.resume()
    assert (called.code, called.json["steps"]) == (0, STEPS)
    assert "has reached its end" in called.err
    assert everything() == before


def test_without_a_name_the_newest_unfinished_run_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = call("train", "--resume", f"output_dir={place.runs}")
    assert (nothing.code, nothing.err.splitlines()[-1]) == (
        2,
        f"there is no run to resume in {place.runs}; start one with tonghua train",
    )
    with monkeypatch.context() as patch:
        die_after(patch, 3)
        with pytest.raises(Killed):
            place.train(run_name="先")
    unfinished = place.run
    assert place.train(run_name="后", max_steps=1).code == 0
    called = call("train", "--resume", f"output_dir={place.runs}", "--json")
    assert (called.code, called.json["run"]) == (0, str(unfinished))


# Any instant


def dying(patch: pytest.MonkeyPatch, number: int, wanted: Callable[[Path], bool]) -> list[str]:
    """The process dies at the n-th thing that it does to the disk under a wanted path, and does nothing after that.

    Gives the list in which all such things are written down as they happen; 0 never dies.
    """
    done: list[str] = []

    def guard(name: str, real: Any, path_of: Callable[[Any], Path]) -> Any:
        def guarded(first: Any, *given: Any, **named: Any) -> Any:
            if 0 < number <= len(done):
                raise Killed
            path = path_of(first)
            if wanted(path):
                done.append(f"{name} {path.name}")
                if len(done) == number:
                    raise Killed
            return real(first, *given, **named)

        return guarded

    patch.setattr(os, "fsync", guard("fsync", os.fsync, lambda fd: Path(f"/proc/self/fd/{fd}").readlink()))
    patch.setattr(Path, "replace", guard("rename", Path.replace, Path))
    patch.setattr(Path, "open", guard("open", Path.open, Path))
    patch.setattr(Path, "mkdir", guard("mkdir", Path.mkdir, Path))
    patch.setattr(shutil, "rmtree", guard("remove", shutil.rmtree, Path))
    return done


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks the system which file is flushed")


def second_checkpoint(path: Path) -> bool:
    return "step-000002" in str(path) or (path.name == "checkpoints" and (path / "step-000002").is_dir())


@needs_proc
def test_the_order_in_which_a_checkpoint_is_written(place: Place) -> None:
    """Files, each flushed; the manifest last; the rename; the parent; and only then what is old goes."""
    with pytest.MonkeyPatch.context() as patch:
        done = dying(patch, 0, lambda path: "checkpoints" in path.parts)
        assert place.train(save_total_limit=2, max_steps=2).code == 0
    made = [i for i, each in enumerate(done) if each.startswith("mkdir .step-000002")]
    after = [re.sub("(step-00000[0-9])-.*", r"\1-…", each) for each in done[made[0] :]]
    names = ["adapter_model.safetensors", "adapter_config.json", "state.safetensors", "state.json", "MANIFEST.json"]
    assert after[: after.index("remove step-000000") + 1] == [
        "mkdir .step-000002-…",
        *(each for name in names for each in (f"open {name}", f"fsync {name}")),
        "fsync .step-000002-…",
        "rename .step-000002-…",
        "fsync checkpoints",
        "remove step-000000",
    ]


@needs_proc
def test_the_order_in_which_a_file_is_replaced(tmp_path: Path) -> None:
    """Its content, its name, and the folder that holds the name: all of it is on the disk when the call returns."""
    with pytest.MonkeyPatch.context() as patch:
        done = dying(patch, 0, lambda path: tmp_path in (path, path.parent))
        files_room.write_atomic(tmp_path / "a.json", b"{}")
    assert done == ["open .a.json.part", "fsync .a.json.part", "rename .a.json.part", f"fsync {tmp_path.name}"]


@needs_proc
@pytest.mark.timeout(600)
def test_killed_at_every_point_of_a_save(place: Place, straight: Place) -> None:
    """Nothing is lost but the steps since the checkpoint before, and nothing unfinished stays."""
    with pytest.MonkeyPatch.context() as patch:
        done = dying(patch, 0, second_checkpoint)
        assert place.train(save_total_limit=2).code == 0
    points = len(done)
    assert points > 15
    for number in range(1, points + 1):
        shutil.rmtree(place.runs)
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, number, second_checkpoint)
            with pytest.raises(Killed):
                place.train(save_total_limit=2)
        found, damages = checkpoint.newest_valid(place.run)
        assert found is not None
        committed = "fsync checkpoints" in done[:number]
        assert (found.step >= 2 if committed else found.step in (1, 2), damages) == (True, []), f"point {number}"
        assert place.resume().code == 0
        require_same(place, straight)
        assert not list(place.run.rglob(".step-*"))


@pytest.mark.parametrize("last", ["report.html", "loss.png", "result.json"])
def test_a_run_that_has_ended_has_its_pages(place: Place, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Killed just before the last of its files is there, it has not ended, and a resume writes all of them."""
    names = ["report.html", "loss.png", "result.json"]
    stopped_at(place, STEPS - 1)
    for name in names[:2]:
        (place.run / name).unlink()
    real, dead = Path.replace, False

    def replaced(path: Path, target: Path) -> Path:
        nonlocal dead
        dead = dead or target.name == last
        if dead:
            raise Killed
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replaced)
        with pytest.raises(Killed):
            place.resume()
    stopped = names.index(last)
    assert [(place.run / name).exists() for name in names] == [True] * stopped + [False] * (3 - stopped)
    assert place.resume().code == 0
    assert all((place.run / name).exists() for name in names)
    assert "Training is finished" in (place.run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"steps": "9"}', "[" * 100_000])
def test_a_result_that_is_damaged_is_written_again(place: Place, straight: Place, content: str) -> None:
    """The run has no step left, so that it comes to the same end."""
    run = Path(shutil.copytree(straight.run, place.folder / "run"))
    (run / "result.json").write_text(content, encoding="utf-8")
    called = call("train", "--resume", run, "--json")
    assert (called.code, called.json["steps"]) == (0, STEPS)
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["heldout_loss"] == called.json["heldout_loss"]


@pytest.mark.parametrize("page", ["report.html", "loss.png"])
@pytest.mark.parametrize("verb", ["train", "chat"])
def test_pages_that_a_finished_run_lacks_are_made_up_for(place: Place, straight: Place, verb: str, page: str) -> None:
    run = Path(shutil.copytree(straight.run, place.folder / "run"))
    (run / page).unlink()
    arguments = (
        ["chat", run, "--prompt", "月亮呢？", "max_new_tokens=1"] if verb == "chat" else ["train", "--resume", run]
    )
    assert call(*arguments).code == 0
    assert (run / page).exists()


def test_a_folder_that_is_deleted_during_training_is_not_advised(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.terminal.screen import Screen

    real = Screen.event

    def event(screen: Screen, event: Any) -> None:
        real(screen, event)
        if getattr(event, "step_s", None) is not None and event.step == 4:
            shutil.rmtree(place.run)

    monkeypatch.setattr(Screen, "event", event)
    monkeypatch.setattr("tonghua.runs.book.RETRY_S", (0.1,))
    called = place.train(save_steps=100)
    assert (called.code, called.out) == (5, "")
    last = called.err.splitlines()[-1]
    assert "went away during training" in last
    assert "train again" in last
    assert "--resume" not in called.err
    assert list(place.runs.iterdir()) == []


def test_a_process_that_is_killed_for_good(place: Place, straight: Place) -> None:
    """A real process and a real SIGKILL, again and again, wherever it happens to be."""
    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG}
    first = settings(**given)
    for wanted in (1, 4, 7):
        asked = first if wanted == 1 else ["--resume", place.run]
        process = processes.start("-m", "tonghua", "train", *asked, folder=place.folder)
        while process.poll() is None and not list(place.runs.glob(f"*/checkpoints/step-00000{wanted}")):
            time.sleep(0.005)
        process.kill()
        process.communicate()
    assert place.resume().code == 0
    require_same(place, straight)


# Checkpoints that are not what was written


def stopped_at(place: Place, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, step)
        assert place.train(save_total_limit=9).code == 75


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit of the adapter": lambda folder: flip(folder / "adapter_model.safetensors"),
    "a bit of the optimizer": lambda folder: flip(folder / "state.safetensors"),
    "an empty state": lambda folder: (folder / "state.json").write_bytes(b""),
    "half a manifest": lambda folder: (folder / "MANIFEST.json").write_bytes(b'{"step": 4, "fi'),
    "no manifest": lambda folder: (folder / "MANIFEST.json").unlink(),
    "a file that is gone": lambda folder: (folder / "state.safetensors").unlink(),
    "a manifest that names a file elsewhere": lambda folder: (folder / "MANIFEST.json").write_text(
        '{"step": 4, "files": {"../../config.yaml": {"size": 1, "sha256": ""}}}', encoding="utf-8"
    ),
    "the manifest of another step": lambda folder: shutil.copy(
        folder.parent / "step-000003" / "MANIFEST.json", folder / "MANIFEST.json"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(place: Place, straight: Place, damage: str) -> None:
    stopped_at(place, 4)
    DAMAGES[damage](place.run / "checkpoints" / "step-000004")
    called = place.resume()
    assert called.code == 0
    assert "a damaged checkpoint is passed over: step-000004: " in called.err
    assert "resuming from step 3" in called.err
    require_same(place, straight)


def test_all_checkpoints_damaged(place: Place) -> None:
    """Nothing is deleted, and each is named."""
    stopped_at(place, 3)
    for folder in (place.run / "checkpoints").iterdir():
        flip(folder / "adapter_model.safetensors")
    before = sorted(place.run.rglob("*"))
    called = place.resume()
    assert (called.code, called.out) == (4, "")
    last = called.err.splitlines()[-1]
    assert all(f"step-00000{step}: adapter_model.safetensors has changed" in last for step in range(4))
    assert sorted(place.run.rglob("*")) == before


def test_the_best_one_damaged_is_found_anew(place: Place) -> None:
    stopped_at(place, 5)
    flip(place.run / "checkpoints" / "step-000003" / "adapter_model.safetensors")
    assert place.resume().code == 0
    losses = logged(place.run, "heldout_loss")
    assert json.loads((place.run / "result.json").read_text(encoding="utf-8"))["heldout_loss"] == min(losses[2:])


def test_an_unfinished_one_is_swept_away(place: Place) -> None:
    stopped_at(place, 3)
    left = place.run / "checkpoints" / ".step-000004-0123"
    left.mkdir()
    (left / "adapter_model.safetensors").write_bytes(b"half")
    assert place.resume().code == 0
    assert not left.exists()


def test_time_stamps_do_not_matter(place: Place, straight: Place) -> None:
    stopped_at(place, 4)
    os.utime(place.run / "checkpoints" / "step-000004", (0, 0))
    assert "resuming from step 4" in place.resume().err
    require_same(place, straight)


def test_a_pickle_beside_a_checkpoint_is_never_opened(place: Place, straight: Place) -> None:
    stopped_at(place, 4)
    bomb = b"cos\nsystem\n(S'touch boom'\ntR."
    for folder in (place.run, place.run / "checkpoints" / "step-000004"):
        for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
            (folder / name).write_bytes(bomb)
    assert place.resume().code == 0
    require_same(place, straight)
    assert not list(place.folder.rglob("boom"))


# What may change, and what may not


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "run.lock"}


def test_rows_that_changed_are_named(place: Place) -> None:
    stopped_at(place, 4)
    before = contents(place.run)
    rows = [dict(row) for row in ROWS]
    rows[6]["output"] = "从前有一只兔子。"
    write_rows(place.rows, rows)
    refused(
        place.resume(), 3, "the rows have changed since the run began, from row 7 on (line 1; 12 samples then, 12 now)"
    )
    refused(
        place.resume(language="zh"),
        3,
        "训练数据从第 7 条（第 1 行）起和训练开始时不一样了（原有 12 个样本，现在 12 个）",
    )
    write_rows(place.rows, rows[:6] + rows[7:])
    refused(place.resume(), 3, "from row 7 on (line 1; 12 samples then, 11 now)")
    write_rows(place.rows, [*ROWS, {"instruction": "讲月亮", "output": "月亮"}])
    refused(place.resume(), 3, "from row 13 on (line 1; 12 samples then, 13 now)")
    write_rows(place.rows, ROWS)
    assert contents(place.run) == before
    assert place.resume().code == 0


def test_rows_that_changed_and_are_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stopped_at(place, 4)
    write_rows(place.rows, ROWS[:-1])
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "空"))
    refused(place.resume(), 3, "the rows changed since the run began (")


def test_rows_that_have_moved_are_the_same(place: Place, straight: Place) -> None:
    stopped_at(place, 4)
    place.rows.rename(place.folder / "别 处.json")
    assert place.resume(f"dataset={place.folder / '别 处.json'}").code == 0
    require_same(place, straight)


def test_another_base_is_refused(place: Place, zoo: Callable[[str], Path]) -> None:
    stopped_at(place, 4)
    refused(place.resume(f"model={zoo('llama')}"), 3, "config.json of the base changed since the run began (")


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_another_tokenizer_or_template_is_refused(place: Place, name: str) -> None:
    place.model = Path(shutil.copytree(place.model, place.folder / "模型"))
    stopped_at(place, 4)
    path = place.model / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text + " " if name == "tokenizer.json" else text + "{# #}", encoding="utf-8")
    refused(place.resume(), 3, f"{name.removesuffix('.jinja')} of the base changed since the run began (")


def test_the_batch_may_be_cut_otherwise(place: Place) -> None:
    stopped_at(place, 4)
    called = place.resume("per_device_train_batch_size=1", "gradient_accumulation_steps=4", "tokens_per_micro_batch=64")
    assert (called.code, called.json["steps"], called.json["samples"]) == (0, STEPS, 30)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("per_device_train_batch_size=2", "a step had 4 samples when the run began; 2 would make it another run"),
        ("learning_rate=1e-3", "learning_rate was settled when the run began (0.0002)"),
        ("num_train_epochs=4", "num_train_epochs was settled when the run began (3.0)"),
        ("seed=1", "seed was settled when the run began (42)"),
        ("use_rslora=true", "use_rslora was settled when the run began (False)"),
        ("max_samples=8", "max_samples was settled when the run began (None)"),
        ("lora_rank=4", "lora_rank was settled when the run began (8)"),
        ("system=你是别人", "system was settled when the run began (None)"),
    ],
)
def test_what_was_settled_stays(place: Place, setting: str, words: str) -> None:
    stopped_at(place, 1)
    refused(place.resume(setting), 2, words)
    assert place.resume().code == 0


def test_no_run_at_all(place: Place) -> None:
    place.folder.joinpath("空 的").mkdir()
    refused(
        call("train", "--resume", place.folder / "空 的", "--json"),
        2,
        f"{place.folder / '空 的'} is not the folder of a run; name one of those in runs",
    )


# One process at a time


def test_two_processes_cannot_write_one_run(place: Place) -> None:
    stopped_at(place, 4)
    before = (place.run / "metrics.jsonl").read_bytes()
    with FileLock(place.run / "run.lock"):
        refused(place.resume(), 2, f"another process is training {place.run}; wait until it ends, or stop it first")
    assert (place.run / "metrics.jsonl").read_bytes() == before
    assert place.resume().code == 0, "the lock of a process that is gone holds nobody"


# Signals


SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_keeps_the_run(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from tonghua.terminal.screen import Screen

    real = Screen.event

    def event(screen: Screen, event: Any) -> None:
        real(screen, event)
        if getattr(event, "step_s", None) is not None and event.step == 5:
            signal.raise_signal(getattr(signal, name))

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "event", event)
        called = place.train(save_steps=100)
    assert (called.code, called.out) == (75, "")
    assert checkpoint.steps(place.run) == [0, 3, 5]
    assert place.resume("save_steps=1").code == 0
    require_same(place, straight)


def signal_at(patch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """SIGTERM comes just before the n-th call of a function that the trainer uses."""
    from tonghua.training import trainer

    real, calls = getattr(trainer, name), 0

    def signalled(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGTERM)
        return real(*given)

    patch.setattr(trainer, name, signalled)


def test_a_signal_inside_a_step(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is as if it had never begun: its dropout is drawn again as it was."""
    with monkeypatch.context() as patch:
        signal_at(patch, "hidden_states", 14)
        assert place.train(tokens_per_micro_batch=8).code == 75
    step = checkpoint.steps(place.run)[-1]
    assert 0 < step < STEPS
    again = place.resume()
    assert (again.code, again.json["steps"]) == (0, STEPS)
    other = Place(place.folder / "另一处", place.model)
    assert other.train(tokens_per_micro_batch=8).code == 0
    require_same(place, other)


def test_a_signal_in_an_evaluation(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation is done when the run goes on."""
    with monkeypatch.context() as patch:
        signal_at(patch, "losses", 2)
        assert place.train().code == 75
    assert (checkpoint.steps(place.run)[-1], len(logged(place.run, "heldout_loss"))) == (3, 1)
    assert place.resume().code == 0
    require_same(place, straight)


def test_a_second_signal_leaves_at_once(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the save that the first one asked for."""
    real = files_room.write_durably

    def signalled(path: Path, content: bytes) -> None:
        real(path, content)
        if path.name == "state.json" and "step-000004" in path.parent.name:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        Interrupts(patch, 4)
        patch.setattr(stopping, "SAME_S", 0.0)
        patch.setattr(checkpoint, "write_durably", signalled)
        assert place.train().code == 130
    found, damages = checkpoint.newest_valid(place.run)
    assert found is not None
    assert (found.step, damages) == (3, [])
    assert place.resume().code == 0
    require_same(place, straight)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.stopping(Text("停", "stop")) as stop:
            signal.raise_signal(signal.SIGHUP)
        assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stop"), stopping.stopping(Text("停", "stop")):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for a single process")
def test_a_signal_while_rows_are_read(place: Place) -> None:
    rows = write_rows(place.folder / "很多.json", ROWS * 20_000)
    kept = place.folder / "家"
    given = settings(dataset=rows, model=place.model, **LONG)
    process = processes.start("-m", "tonghua", "train", *given, folder=place.folder, TONGHUA_HOME=str(kept))
    while process.poll() is None and not list(kept.rglob(".part-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said.decode("utf-8")
    assert said.decode("utf-8").splitlines()[-1] == "stopped before any training; run the same again to start"
    assert b"Traceback" not in said
    assert not list(kept.rglob(".part-*"))


def test_a_step_that_hangs(tmp_path: Path) -> None:
    """It is told with its stack, and left after as long again."""
    told: list[str] = []
    left: list[int] = []
    watch = hanging.Watch(tmp_path, lambda kind, text: told.append(text.en), longest_s=0.05, leave=left.append)
    with watch, watch.one_step(0.0):
        _hang_until(left)
    assert left == [75]
    assert [line.split(";")[0] for line in told] == ["nothing has come of this step for 0 s"]
    assert "_hang_until" in (tmp_path / "hang.txt").read_text(encoding="utf-8")


def _hang_until(left: list[int]) -> None:
    for _ in range(2000):
        if left:
            return
        time.sleep(0.005)


def test_a_step_that_does_not_hang(tmp_path: Path) -> None:
    told: list[str] = []
    with hanging.Watch(tmp_path, lambda kind, text: told.append(kind), longest_s=0.5, leave=told.append) as watch:  # type: ignore[arg-type]
        for _ in range(12):
            with watch.one_step(0.0):
                time.sleep(0.1)
    assert told == []


# Numbers that go wrong


def test_a_step_whose_loss_is_not_finite_is_skipped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and optimizer stay as they were, the rows are named, and the log hides nothing."""
    with monkeypatch.context() as patch:
        spoil_loss(patch, calls=[4])
        called = place.train()
    assert called.code == 0
    steps = [line for line in lines(place.run) if "step_s" in line]
    assert [line["step"] for line in steps if line["loss"] is None] == [4]
    (event,) = [line for line in lines(place.run) if "event" in line]
    assert (event["event"], event["step"]) == ("skipped", 4)
    named = event["en"].rpartition(": ")[2].split(", ")
    assert len(named) == 4
    assert event["en"] in called.err


def test_a_skipped_step_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the weights nor what the optimizer remembers of them; and no checkpoint is made of it."""
    from tonghua.training.trainer import Trainer

    states: list[tuple[bytes, ...]] = []
    real = Trainer.step

    def looked_at(trainer: Trainer) -> Any:
        stepped = real(trainer)
        moments = trainer.optimizer.state()
        states.append(tuple(t.numpy().tobytes() for t in (trainer.adapter.flat.detach(), *moments.values())))
        return stepped

    monkeypatch.setattr(Trainer, "step", looked_at)
    spoil_loss(monkeypatch, calls=[4])
    assert place.train(save_total_limit=20).code == 0
    assert [a == b for a, b in pairwise(states)] == [False, False, True, False, False, False, False, False]
    assert 4 not in checkpoint.steps(place.run)


def test_a_gradient_that_is_not_finite(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.training.optimizer import Optimizer

    real, calls = Optimizer.gradient_norm, 0

    def infinite(optimizer: Optimizer) -> float:
        nonlocal calls
        calls += 1
        if calls == 2:
            optimizer._grad[3] = float("inf")
        return real(optimizer)

    monkeypatch.setattr(Optimizer, "gradient_norm", infinite)
    called = place.train(save_total_limit=20)
    assert called.code == 0
    assert "step 2: the gradient is not finite, so nothing was updated" in called.err
    assert 2 not in checkpoint.steps(place.run)


def test_three_in_a_row_go_back_once(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back to the checkpoint before them, at half the rate, and then it goes well."""
    spoil_loss(monkeypatch, calls=[5, 6, 7])
    called = place.train()
    assert called.code == 0
    assert "3 steps in a row went wrong: back to step 4, at half the learning rate" in called.err
    steps = [line for line in lines(place.run) if "step_s" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1)), "each step is there once"
    assert None not in [line["loss"] for line in steps]
    straight_rates = logged(straight.run, "learning_rate")
    assert logged(place.run, "learning_rate") == pytest.approx(
        [rate * (1 if step <= 4 else 0.5) for step, rate in enumerate(straight_rates, 1)]
    )
    assert [line["event"] for line in lines(place.run) if "event" in line] == ["skipped"] * 3 + ["rolled_back"]


@pytest.mark.parametrize("step", [5, 6, 7])
def test_a_run_that_went_back_goes_on_from_there(place: Place, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The steps after it were thrown away, and so were their checkpoints; half the rate is remembered."""
    spoil_loss(monkeypatch, calls=[5, 6, 7])
    with monkeypatch.context() as patch:
        seen = 0

        def event(screen: Any, event: Any) -> None:
            nonlocal seen
            seen += getattr(event, "step_s", None) is not None and event.step == step
            if seen == 2:
                raise Killed

        patch.setattr("tonghua.terminal.screen.Screen.event", event)
        with pytest.raises(Killed):
            place.train()
    called = place.resume()
    assert called.code == 0
    assert f"resuming from step {step - 1}" in called.err
    again = [line for line in lines(place.run) if line.get("step") == step and "step_s" in line]
    straight_rate = next(line["learning_rate"] for line in lines(place.run) if line["step"] == 4 and "step_s" in line)
    assert again[-1]["learning_rate"] < 0.6 * straight_rate
    assert again[-1]["loss"] is not None
    best = json.loads((place.run / "checkpoints" / f"step-{STEPS:06d}" / "state.json").read_text())["best_step"]
    assert sha256(place.run / "adapter_model.safetensors") == sha256(
        place.run / "checkpoints" / f"step-{best:06d}" / "adapter_model.safetensors"
    )


@pytest.mark.parametrize("spoilt", [[4, 5, 6], [5, 6, 7]], ids=["within an epoch", "over its end"])
@pytest.mark.parametrize("moment", ["commit", "forget_after", "rewind"])
def test_a_rollback_that_is_cut_short_is_not_forgotten(
    place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch, moment: str, spoilt: list[int]
) -> None:
    """From the save of the rollback on, a resume takes half the rate, from before the steps that went wrong.

    Over the end of an epoch, the evaluation amid those steps has saved a checkpoint at the full rate.
    """
    from tonghua.runs.book import Book

    spoil_loss(monkeypatch, calls=spoilt)
    owner = Book if moment == "rewind" else checkpoint
    real = getattr(owner, moment)

    def killed(*given: Any) -> Any:
        if moment != "commit":
            raise Killed
        real(*given)
        if json.loads(given[2]["state.json"])["learning_rate_scale"] < 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(Killed):
            place.train()
    assert (checkpoint.steps(place.run)[-1] > spoilt[0]) == (spoilt[0] == 5 and moment != "rewind")
    called = place.resume()
    assert (called.code, f"resuming from step {spoilt[0] - 1}" in called.err) == (0, True)
    rates = zip(logged(place.run, "learning_rate"), logged(straight.run, "learning_rate"), strict=True)
    assert [round(now / then, 3) for now, then in rates] == [1.0] * (spoilt[0] - 1) + [0.5] * (STEPS - spoilt[0] + 1)


def test_a_log_of_an_older_version_with_a_step_twice_is_mended(place: Place) -> None:
    stopped_at(place, 4)
    path = place.run / "metrics.jsonl"
    text = path.read_text(encoding="utf-8")
    third = next(line for line in lines(place.run) if line["step"] == 3 and "step_s" in line)
    path.write_text(json.dumps({**third, "loss": 99.0}) + "\n" + text, encoding="utf-8")
    assert place.resume().code == 0
    assert [line["step"] for line in lines(place.run) if "step_s" in line] == list(range(1, STEPS + 1))
    assert 99.0 not in logged(place.run, "loss")


def test_checkpoints_from_before_the_trouble_stay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch that ends amid steps that went wrong keeps what was good."""
    spoil_loss(monkeypatch, calls=[8, 9, 10])
    called = place.train(num_train_epochs=4, save_total_limit=2)
    assert called.code == 0
    assert "back to step 7, at half the learning rate" in called.err


def test_a_leap_of_the_loss_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.training import trainer

    real, calls = trainer.linear_cross_entropy, 0

    def leaping(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*given) * (100 if calls == 14 else 1)

    monkeypatch.setattr(trainer, "linear_cross_entropy", leaping)
    monkeypatch.setattr(trainer.Trainer, "rehearse", lambda trainer: 0.0)
    called = place.train(num_train_epochs=6)
    assert called.code == 0
    assert called.err.count("the loss leapt to") == 1
    assert "step 14: the loss leapt to" in called.err


# Memory that is not enough


def out_of_memory(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    """No more than so many samples fit at a time."""
    from tonghua.training import trainer

    real = trainer.hidden_states

    def bounded(decoder: Any, batch: Any) -> Any:
        if len(batch.order) > samples and not decoder.recomputed_layers:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(decoder, batch)

    monkeypatch.setattr(trainer, "hidden_states", bounded)


def test_out_of_memory_means_smaller_pieces(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same step, the same samples; the loss is that of the whole step."""
    out_of_memory(monkeypatch, samples=1)
    called = place.train(lora_dropout=0)
    assert called.code == 0
    assert "out of memory: " in called.err
    assert called.json["samples"] == 30
    monkeypatch.undo()
    monkeypatch.setenv("TONGHUA_LANG", "en")
    other = Place(place.folder / "另一处", place.model)
    assert other.train(lora_dropout=0).code == 0
    assert logged(place.run, "loss") == pytest.approx(logged(other.run, "loss"), rel=1e-4)
    assert next(line["event"] for line in lines(place.run) if "event" in line) == "smaller_micro_batch"


def test_out_of_memory_with_one_row_recomputes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_memory(monkeypatch, samples=0)
    called = place.train()
    assert (called.code, called.json["steps"]) == (0, STEPS)
    assert "activations are recomputed from here on" in called.err


def test_out_of_memory_at_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be done is said in the order of what it costs, and the run can go on."""
    out_of_memory(monkeypatch, samples=0)
    called = place.train(gradient_checkpointing=False)
    assert (called.code, called.out) == (5, "")
    last = called.err.splitlines()[-1]
    order = ["gradient_checkpointing=true", "quantization_bit=8 or 4", "max_length=", "a smaller model"]
    assert sorted(order, key=last.index) == order


def test_out_of_memory_late_keeps_the_steps_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.training import trainer

    real, calls = trainer.hidden_states, 0

    def bounded(decoder: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(decoder, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "hidden_states", bounded)
        called = place.train(gradient_checkpointing=False, save_steps=100)
    assert called.code == 5
    assert checkpoint.steps(place.run)[-1] == 8
    assert "resuming from step 8" in place.resume().err


def test_out_of_memory_in_the_diary_costs_the_diary_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*given: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("tonghua.training.diary.pieces", no_memory)
    assert place.train().code == 0
    assert not (place.run / "samples.jsonl").exists()


def test_smaller_pieces_stay_small_after_a_kill(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory taught is kept, so that the bits are those of the run that was not killed."""
    with monkeypatch.context() as patch:
        out_of_memory(patch, samples=1)
        assert place.train().code == 0
    other = Place(place.folder / "另一处", place.model)
    with monkeypatch.context() as patch:
        out_of_memory(patch, samples=1)
        die_after(patch, 5)
        with pytest.raises(Killed):
            other.train()
    assert other.resume().code == 0
    require_same(other, place)


@pytest.mark.parametrize(
    ("there", "asked", "tokens"),
    [
        ("the same machine", "none", 48),
        ("a larger machine", "none", 4096),
        ("another device", "none", 4096),
        ("a smaller machine", "none", 64),
        ("a larger machine", "56", 56),
    ],
)
def test_a_run_that_goes_on_elsewhere_is_cut_as_that_place_needs_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, there: str, asked: str, tokens: int
) -> None:
    """The micro-batch is that of the place, or the user's own; the steps are the same."""
    from tonghua.training import plan
    from tonghua.training.trainer import Trainer

    monkeypatch.setattr(plan, "CPU_TOKENS", 48)
    monkeypatch.setattr(plan, "plan", lambda *given: plan.Plan(given[0].tokens_per_micro_batch or plan.CPU_TOKENS, 0))
    with monkeypatch.context() as patch:
        Interrupts(patch, 4)
        assert place.train(tokens_per_micro_batch=asked, lora_dropout=0).code == 75
    if there == "another device":
        monkeypatch.setattr(plan, "machine_name", lambda device: "cuda H100, 80 GiB")
    if there != "the same machine":
        monkeypatch.setattr(plan, "CPU_TOKENS", 64 if there == "a smaller machine" else 4096)
    taken: list[int] = []
    real = Trainer.step

    def step(trainer: Trainer) -> Any:
        taken.append(trainer.tokens_per_micro_batch)
        return real(trainer)

    monkeypatch.setattr(Trainer, "step", step)
    assert place.resume().code == 0
    assert set(taken) == {tokens}
    other = Place(place.folder / "另一处", place.model)
    assert other.train(lora_dropout=0).code == 0
    assert logged(place.run, "loss") == pytest.approx(logged(other.run, "loss"), rel=1e-5)


def test_the_diary_counts_the_time_of_the_whole_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it took before a resume is part of its share."""
    from tonghua.training.diary import Diary

    stopped_at(place, 4)
    spent = sum(line["seconds"] for line in map(json.loads, (place.run / "samples.jsonl").open(encoding="utf-8")))
    seen: list[float] = []
    real = Diary.is_due

    def is_due(diary: Any, first_or_last: bool, training_s: float) -> bool:
        if not first_or_last:
            seen.append(diary._spent_s)
        return real(diary, first_or_last, training_s)

    monkeypatch.setattr(Diary, "is_due", is_due)
    assert place.resume().code == 0
    assert spent > 0
    assert seen == [spent], "the only one that is asked for: that of step 6"


def test_out_of_memory_in_an_evaluation_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:

    real, refused = hidden_states, 0

    def bounded(decoder: Any, batch: Any) -> Any:
        nonlocal refused
        if not torch.is_grad_enabled() and len(batch.order) > 2:
            refused += 1
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 123 bytes.")
        return real(decoder, batch)

    monkeypatch.setattr(losses, "hidden_states", bounded)
    called = place.train(val_size=6)
    assert (called.code, refused > 0) == (0, True)
    assert "out of memory" not in called.err, "training itself has room"


# The disk


def test_a_disk_that_has_room_again(place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The save is tried again, and nobody need do anything."""
    real, refusals = checkpoint.commit, 2

    def commit(run: Path, step: int, files: Any) -> Path:
        nonlocal refusals
        if step == 6 and refusals:
            refusals -= 1
            raise OSError(28, os.strerror(28))
        return real(run, step, files)

    monkeypatch.setattr("tonghua.runs.book.RETRY_S", (0.1, 0.1))
    monkeypatch.setattr(checkpoint, "commit", commit)
    called = place.train()
    assert (called.code, refusals) == (0, 0)
    assert called.err.count("cannot write a checkpoint in") == 2
    require_same(place, straight)


def test_a_disk_without_room_for_the_next_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves with the bytes that are missing, what was kept is whole, and with room it goes on."""
    real = shutil.disk_usage

    def usage(path: Any) -> Any:
        full = any(place.runs.glob("*/checkpoints/step-000003"))
        return shutil._ntuple_diskusage(10**9, 10**9, 1000) if full else real(path)

    monkeypatch.setattr("tonghua.runs.book.RETRY_S", (0.1,))
    monkeypatch.setattr(shutil, "disk_usage", usage)
    called = place.train()
    assert (called.code, called.out) == (5, "")
    last = called.err.splitlines()[-1]
    assert re.search(r"cannot write a checkpoint in .*, [\d,]{7,} bytes are missing; free some space", last)
    assert checkpoint.newest_valid(place.run)[0].step == 3  # type: ignore[union-attr]
    monkeypatch.undo()
    monkeypatch.setenv("TONGHUA_LANG", "en")
    assert place.resume().code == 0


def test_a_run_goes_on_from_python(place: Place, straight: Place) -> None:
    stopped_at(place, 4)
    found = tonghua.resume(output_dir=place.runs, quiet=True)
    assert (found.run, found.steps) == (str(place.run), STEPS)
    require_same(place, straight)


def test_a_stranger_s_run_cannot_name_a_folder_to_be_removed(place: Place, tmp_path: Path) -> None:
    """The key of the rows comes out of the run, and what is no whole set of rows under a key is swept away."""
    stopped_at(place, 4)
    precious = tmp_path / "文件"
    precious.mkdir()
    (precious / "信.txt").write_text("别丢", encoding="utf-8")
    for folder in (place.run / "checkpoints").iterdir():
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        state["trained_on"]["rows"] = [str(precious)]
        content = json.dumps(state).encode()
        manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
        manifest["files"]["state.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "state.json").write_bytes(content)
        (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    refused(place.resume(), 3, "the rows changed since the run began")
    assert (precious / "信.txt").exists()


def test_a_setting_that_somebody_edited_in_the_run_is_seen(place: Place) -> None:
    stopped_at(place, 4)
    path = place.run / "config.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("learning_rate: 0.0002", "learning_rate: 0.01"), encoding="utf-8")
    refused(place.resume(), 2, "learning_rate was settled when the run began (0.0002)")


def test_rows_seen_twice_are_other_rows(place: Place) -> None:
    stopped_at(place, 4)
    refused(place.resume(f"dataset={place.rows}*2"), 3, "the share or order of the rows changed since the run began")


def test_it_goes_on_in_the_type_that_it_began_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fast is measured, and a machine that is busy now measures otherwise."""
    monkeypatch.setattr("tonghua.system.device._fast_dtype", lambda device, talking: torch.float32)
    with monkeypatch.context() as patch:
        Interrupts(patch, 4)
        assert place.train(dtype="auto").code == 75
    monkeypatch.setattr("tonghua.system.device._fast_dtype", lambda device, talking: torch.bfloat16)
    called = place.resume()
    assert called.code == 0
    assert "cpu float32" in called.err


def test_a_reader_that_went_away_ends_nothing(place: Place) -> None:
    """As with `2>&1 | head`: what is shown goes nowhere, and the run goes on to its end."""
    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG}
    reading, writing = os.pipe()
    process = processes.start("-m", "tonghua", "train", *settings(**given), folder=place.folder, errors=writing)
    os.close(reading)
    os.close(writing)
    assert process.wait(timeout=120) == 0
    assert (place.run / "result.json").exists()


def test_a_terminal_that_hangs_up_twice_asks_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(signal, "SIGHUP", signal.SIGINT)
    with stopping.stopping(Text("停", "stop")) as stop, stop.held():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert stop.asked
        with pytest.raises(stopping.Asked):
            stop.look()


def test_minutes_between_checkpoints(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes a minute by this clock: a checkpoint comes after every second one, and after each epoch."""
    from tonghua.runs import book

    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

        sleep = staticmethod(time.sleep)

    real = book.Book.log

    def log(self: Any, values: Any) -> None:
        Clock.now += 60 if "step_s" in values else 0
        real(self, values)

    monkeypatch.setattr(book, "time", Clock)
    monkeypatch.setattr(book.Book, "log", log)
    assert place.train(save_steps="none", save_minutes=2, save_total_limit=20).code == 0
    assert checkpoint.steps(place.run) == [0, 2, 3, 5, 6, 8, 9]


def test_a_held_out_loss_that_is_not_finite_is_not_the_best(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.training.trainer import Trainer

    real, calls = Trainer.evaluate, 0

    def evaluated(trainer: Trainer, *given: Any) -> losses.Losses | None:
        nonlocal calls
        calls += 1
        found = real(trainer, *given)
        return replace(found, nll=found.nll * math.nan) if found is not None and calls == 2 else found

    monkeypatch.setattr(Trainer, "evaluate", evaluated)
    called = place.train(learning_rate=0.01)
    assert called.code == 0
    found = logged(place.run, "heldout_loss")
    assert found[1] is None
    assert called.json["heldout_loss"] == min(found[2:])
    assert "NaN" not in (place.run / "metrics.jsonl").read_text(encoding="utf-8")


def test_a_run_that_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at(place, 4)

    def refuse(*given: Any, **named: Any) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    refused(place.resume(), 5, f"cannot lock {place.run}: ")


def test_a_run_that_another_process_has_gone_on_with_meanwhile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its checkpoints and the lock: nothing of what the other has done is undone."""

    stopped_at(place, 4)
    real = get_ready

    def slowly(*given: Any) -> Any:
        ready = real(*given)
        monkeypatch.setattr(train_room, "get_ready", real)
        assert place.resume().code == 0
        return ready

    monkeypatch.setattr(train_room, "get_ready", slowly)
    called = call("train", "--resume", place.run, "--json")
    refused(called, 2, f"another process has just gone on with {place.run}; run the same again")
    assert checkpoint.steps(place.run)[-1] == STEPS
    assert place.resume().json["steps"] == STEPS


def test_an_error_in_a_rollback_spoils_no_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonghua.training.optimizer import Optimizer

    def fail(*given: Any) -> None:
        raise RuntimeError("here it broke")

    spoil_loss(monkeypatch, calls=[5, 6, 7])
    monkeypatch.setattr(Optimizer, "restore", fail)
    with pytest.raises(RuntimeError, match="here it broke"):
        place.train()
    other = Place(place.folder / "另一处", place.model)
    stopped_at(other, 4)
    for name in ("adapter_model.safetensors", "state.safetensors"):
        kept = f"checkpoints/step-000004/{name}"
        assert sha256(place.run / kept) == sha256(other.run / kept)


def test_a_checkpoint_that_cannot_take_its_place_leaves_the_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.commit(tmp_path, 3, {"a": b"first"})
    real = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if (path / "a").exists() and (path / "a").read_bytes() == b"second":
            raise PermissionError(13, os.strerror(13))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        checkpoint.commit(tmp_path, 3, {"a": b"second"})
    assert checkpoint.open_checkpoint(tmp_path, 3).read("a") == b"first"
    monkeypatch.undo()
    checkpoint.commit(tmp_path, 3, {"a": b"second"})
    assert checkpoint.open_checkpoint(tmp_path, 3).read("a") == b"second"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000003"]


def test_out_of_memory_with_some_layers_recomputing_recomputes_all(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tonghua.training import plan, trainer

    real = trainer.hidden_states

    def bounded(decoder: Any, batch: Any) -> Any:
        if decoder.recomputed_layers < decoder.shape.layers:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(decoder, batch)

    monkeypatch.setattr(trainer, "hidden_states", bounded)
    monkeypatch.setattr(plan, "plan", lambda *given: plan.Plan(64, 1))
    called = place.train()
    assert (called.code, called.json["steps"]) == (0, STEPS)


def test_a_finished_run_that_was_moved_says_where_it_is(place: Place) -> None:
    assert place.train().code == 0
    moved = place.folder / "搬到 这里"
    place.run.rename(moved)
    assert call("train", "--resume", moved, "--json").json["run"] == str(moved)


def test_a_disk_that_refuses_the_first_checkpoint_is_no_run_to_go_on_with(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(*given: Any) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr("tonghua.runs.book.RETRY_S", (0.1,))
    monkeypatch.setattr(checkpoint, "commit", commit)
    called = place.train()
    assert called.code == 5
    assert called.err.splitlines()[-1].endswith("Disk quota exceeded; free some space and train again")
    assert list(place.runs.glob("*")) == []


def test_commands_can_be_pasted_where_a_path_has_spaces(place: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, 4)
        called = place.train(run_name="my tale")
    command = called.err.splitlines()[-1].rpartition("resume with: ")[2]
    assert shlex.split(command) == ["tonghua", "train", "--resume", str(place.run)]
