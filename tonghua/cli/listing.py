"""`tonghua runs` lists the runs of a folder; `tonghua watch` follows a run that another process trains."""

from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UsageError
from ..system.environment import language
from ..terminal.printer import put_json, results
from ..text import Text
from .shared import AsJson, Debug, new_screen, split_arguments

if TYPE_CHECKING:
    from rich.table import Table

    from ..runs.listing import RunProgress, RunSummary
    from ..terminal.screen import Screen

POLL_S = 0.5
"""Time between two reads of a watched run, in seconds."""

STATES = {
    "running": Text("训练中", "running"),
    "finished": Text("已完成", "finished"),
    "stopped": Text("已停下", "stopped"),
    "empty": Text("无结果", "empty"),
}


def runs(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the runs of the named folder, or of `output_dir`. Raises UsageError if there is no such folder."""
    from ..runs.listing import list_runs

    named, overrides = split_arguments(context.args)
    output_dir = _output_dir(overrides)
    if named is not None:
        output_dir = _folder(named)
    found = list_runs(output_dir)
    if as_json:
        put_json({"output_dir": str(output_dir), "runs": [run.as_json() for run in found]})
    elif found:
        results().print(_table(found))
    else:
        new_screen().say(*_no_runs(output_dir))


def _output_dir(overrides: list[str]) -> Path:
    from ..config.overrides import parse_overrides
    from ..runs.folder import runs_folder

    return runs_folder(dict(parse_overrides(overrides)))


def _folder(named: str) -> Path:
    from ..system.files import user_path

    folder = user_path(named)
    if not folder.is_dir():
        raise UsageError(
            f"没有 {folder} 这个文件夹；请写出放训练结果的文件夹",
            f"there is no folder {folder}; name the folder that holds the runs",
        )
    return folder


def _no_runs(output_dir: Path) -> Text:
    return Text(
        f"{output_dir} 里还没有训练结果；先训练一次：tonghua train 配方 dataset=数据 model=模型，或试试 tonghua demo",
        f"there are no runs in {output_dir} yet; make one: tonghua train RECIPE dataset=FILE model=MODEL, "
        "or try tonghua demo",
    )


def _table(found: Sequence["RunSummary"]) -> "Table":
    """Return a table with two lines per run: its folder and figures, then its base and rows."""
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text as Line

    from ..text import shown

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(Text("训练结果", "run").to(language()), overflow="fold")
    table.add_column(Text("状态", "state").to(language()), no_wrap=True)
    for zh, en in (
        ("步", "step"),
        ("训练\n损失", "train\nloss"),
        ("起点\n验证", "start\neval"),
        ("最好\n验证", "best\neval"),
        ("大小", "size"),
    ):
        table.add_column(Text(zh, en).to(language()), justify="right", no_wrap=True)
    for run in found:
        progress = run.progress
        losses = (progress.loss, progress.heldout_before, progress.heldout_best)
        table.add_row(
            Line(f"{shown(run.folder.name)}\n{run.base or '-'}  {' + '.join(run.dataset) or '-'}"),
            STATES[run.state].to(language()),
            _steps(progress),
            *("-" if loss is None else f"{loss:.3f}" for loss in losses),
            decimal(run.size_bytes),
        )
    return table


def _steps(progress: "RunProgress") -> str:
    return f"{progress.step}/{progress.steps}" if progress.steps else str(progress.step)


def watch(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    """Follow a run until its training ends. Raises UsageError if there is no such run."""
    from ..runs.listing import summarize

    named, overrides = split_arguments(context.args)
    run = _run_to_watch(named, _output_dir(overrides))
    screen = new_screen()
    try:
        _follow(run, screen)
    except KeyboardInterrupt:
        screen.stop()
        screen.say("不再看了；训练不受影响", "no longer watching; the training is not affected")
        raise
    finally:
        screen.stop()
    if as_json:
        put_json(summarize(run).as_json())


def _run_to_watch(named: str | None, output_dir: Path) -> Path:
    """Return the run of this name; without a name, the newest in training, or else the newest."""
    from ..runs.listing import is_run, list_runs
    from ..system.files import user_path

    if named is not None:
        folder = next((path for path in (user_path(named), output_dir / named) if is_run(path)), None)
        if folder is None:
            raise UsageError(
                f"{named} 不是一次训练的文件夹；tonghua runs 会列出都有哪些",
                f"{named} is not the folder of a run; tonghua runs lists those there are",
            )
        return folder
    found = list_runs(output_dir)
    if not found:
        raise UsageError(*_no_runs(output_dir))
    return next((run for run in found if run.state == "running"), found[0]).folder


def _follow(run: Path, screen: "Screen") -> None:
    """Show new log lines until no process trains the run."""
    from ..runs.listing import MetricsFile, RunProgress, is_running, read_progress, state_of
    from ..runs.record import parsed

    metrics, progress, first = MetricsFile(run), RunProgress(), True
    while True:
        running = is_running(run)  # before the read: what was written until the lock was released is read below
        anew, lines = metrics.read()
        if first or anew:
            progress, first = read_progress(lines), False
            _show_progress(run, "running" if running else state_of(run), progress, screen)
        else:
            for line in lines:
                _show_line(parsed(line), progress, screen)
        if not running and state_of(run) != "running":
            break
        sleep(POLL_S)
    screen.stop()
    _show_end(run, state_of(run), progress, screen)


def _show_progress(run: Path, state: str, progress: "RunProgress", screen: "Screen") -> None:
    loss = "" if progress.loss is None else f"{progress.loss:.3f}"
    screen.say(
        f"{run.name}：{STATES[state].zh}，第 {_steps(progress)} 步" + (f"，训练损失 {loss}" if loss else ""),
        f"{run.name}: {STATES[state].en}, step {_steps(progress)}" + (f", training loss {loss}" if loss else ""),
    )
    parts = []
    if progress.heldout_before is not None:
        parts.append(Text(f"训练前 {progress.heldout_before:.3f}", f"{progress.heldout_before:.3f} before training"))
    if progress.heldout_best is not None:
        best = f"{progress.heldout_best:.3f}"
        parts.append(Text(f"最好 {best}（第 {progress.best_step} 步）", f"{best} at best (step {progress.best_step})"))
    if parts:
        screen.say(
            "验证损失：" + "，".join(part.zh for part in parts),
            "held-out loss: " + ", ".join(part.en for part in parts),
        )


def _show_line(line: dict[str, Any], progress: "RunProgress", screen: "Screen") -> None:
    """Show one line of metrics.jsonl: a step, a held-out loss, or an event."""
    from ..runs.listing import whole
    from ..runs.record import number
    from ..text import duration, shown

    progress.take(line)
    step, loss = whole(line.get("step")), number(line.get("heldout_loss"))
    if step is None:
        return
    if "event" in line:
        screen.note(Text(shown(str(line.get("zh", ""))), shown(str(line.get("en", "")))))
    elif loss is not None:
        screen.held_out(step, loss, progress.best_step == step)
    elif "loss" in line:
        loss, speed, left = (number(line.get(key)) for key in ("loss", "samples_per_s", "remaining_s"))
        words = [Text("损失 —", "loss —") if loss is None else Text(f"损失 {loss:.3f}", f"loss {loss:.3f}")]
        if speed is not None:
            words.append(Text(f"{speed:.2f} 样本/秒", f"{speed:.2f} samples/s"))
        if left is not None:
            words.append(Text(f"还要 {duration(left)}", f"{duration(left)} left"))
        screen.advance(step, progress.steps, "  ".join(word.to(language()) for word in words))


def _show_end(run: Path, state: str, progress: "RunProgress", screen: "Screen") -> None:
    from ..system.files import quoted

    path = quoted(run)
    if state == "finished":
        screen.say(f"训练完成：{run}", f"done: {run}")
        screen.say(f"接着说话：tonghua chat {path}", f"talk to it: tonghua chat {path}")
    elif state == "stopped":
        screen.say(
            f"训练停在第 {_steps(progress)} 步，没有到头；接着训练：tonghua train --resume {path}",
            f"the training stopped at step {_steps(progress)}, before its end; "
            f"resume it: tonghua train --resume {path}",
        )
    else:
        screen.say(
            f"训练停了，{run} 里没有留下可以接着用的东西；请重新训练",
            f"the training stopped and kept nothing in {run}; train again",
        )
