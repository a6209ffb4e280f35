"""Output for people in a terminal: tables, rendered rows with their targets in colour, progress.

A stranger's text is printed by `text.one_line` or `text.printable`, and rich takes it for no markup.
Everything goes to stderr. If stderr is no terminal, progress is a line every QUIET_EVERY_S, without colours.
"""

import io
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text as Line

from ..events import Counting, Doing, Ended, Happened, ReadingRows, Said
from ..runs.verdict import Verdict, judge
from ..text import Language, Text, duration, one_line, printable
from .tables import NARROW_COLUMNS, recomputing, rendered
from .verdicts import figures, verdict_lines

if TYPE_CHECKING:
    from ..core.example import Example
    from ..data.read.dataset import RowProblem
    from ..data.samples.maker import RowCounts as Rows
    from ..models.delivery import DownloadProgress as Download
    from ..prompt.renderer import Renderer
    from ..training.events import Evaluating, Event, Started
    from ..training.plan import Estimate
    from ..training.progress import StepRecord

MOST_STORIES = 3
"""Pairs of answers that a comparison shows."""

QUIET_EVERY_S = 10.0
"""Time between two lines of progress without a terminal, in seconds."""


class _Lasting(io.TextIOBase):
    """stderr that ignores write errors: a closed terminal or a broken pipe must not end the work."""

    def __init__(self) -> None:
        # Keep the stream itself: while a bar is shown, `sys.stderr` is rich's, and writing to it would come back here.
        self._stream = sys.stderr

    def write(self, text: str) -> int:
        with suppress(OSError):
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # a stream of the caller's that has no such character
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"


class Screen:
    """Prints messages, tables and progress in one language."""

    def __init__(self, language: Language, console: Console | None = None):
        self.language = language
        self.console = console or Console(
            file=cast("IO[str]", _Lasting()), markup=False, emoji=False, highlight=False, soft_wrap=True
        )
        self._progress: Progress | None = None
        self._task: Any = None
        self._counted = self._stepping = False  # the bar has a total; it counts training steps
        self._last = 0.0
        self._fetching = ""

    @property
    def _draws(self) -> bool:
        """True if the console can redraw a bar in place."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def say(self, zh: str, en: str) -> None:
        """Print a line."""
        self._line(Text(zh, en).to(self.language))

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Line(one_line(text), style))

    def note(self, note: Text) -> None:
        """Print a line marked as a note."""
        self.say(f"提示：{note.zh}", f"note: {note.en}")

    def rows(self, table: "Rows", heldout: int | None = None) -> None:
        """Print how many rows were read, kept and dropped, and why; with `heldout`, also how they were split."""
        names = [("读到", "read"), ("可用", "kept"), ("有问题", "bad"), ("过长", "too long")]
        values = [table.read, table.kept, table.bad, table.too_long]
        if table.split:
            names.append(("拆成几段", "split"))
            values.append(table.split)
        if heldout is not None:
            names += [("用于训练", "to train on"), ("留作验证", "held out")]
            values += [table.kept - heldout, heldout]
        grid = Table(show_edge=False)
        for zh, en in names:
            grid.add_column(Text(zh, en).to(self.language), justify="right")
        grid.add_row(*map(str, values))
        self.console.print(grid)

    def epoch(self, seconds: float) -> None:
        """Print about how long an epoch takes."""
        self.say(
            f"在这台机器上，每轮训练大约要 {duration(seconds)}（估计）",
            f"on this machine an epoch takes about {duration(seconds)} (an estimate)",
        )

    def estimate(self, found: "Estimate") -> None:
        """Print what a run will take, and what to do if memory may not suffice."""
        recompute = recomputing(found.recomputed_layers)
        self.say(
            f"内存：峰值约 {decimal(found.memory_bytes)}，可用 {decimal(found.available_bytes)}；"
            f"每次打包 {found.tokens_per_micro_batch} 个 token{recompute.zh}",
            f"memory: about {decimal(found.memory_bytes)} at the peak, {decimal(found.available_bytes)} available;"
            f" {found.tokens_per_micro_batch} tokens at a time{recompute.en}",
        )
        self.say(
            f"时间：{found.steps} 步，每步约 {found.step_s:.1f} 秒，共约 {duration(found.total_s)}",
            f"time: {found.steps} steps of about {found.step_s:.1f} s, about {duration(found.total_s)} in all",
        )
        self.say(f"磁盘：约 {decimal(found.disk_bytes)}", f"disk: about {decimal(found.disk_bytes)}")
        if found.memory_bytes > found.available_bytes:
            self.note(
                Text(
                    "内存可能不够：请关掉别的程序，或换小一点的模型",
                    "there may not be enough memory: close other programs, or take a smaller model",
                )
            )

    def read(self, rows: int) -> None:
        """Show how many rows have been read so far."""
        self._last = self._last or time.monotonic()
        self.advance(rows, None, Text("行数据", "rows read").to(self.language))

    def reading(self, notes: Sequence[Text], mapping: Sequence[str]) -> None:
        """Print notes on how the rows were read, and which columns were renamed."""
        for note in notes:
            self.note(note)
        for each in mapping:
            self.say(f"列名对应：{each}", f"columns: {each}")

    def problems(self, problems: Sequence["RowProblem"], most: int) -> None:
        """Print the first `most` bad rows, each with its remedy, and how many more there are."""
        for problem in problems[:most]:
            self.say(
                f"{problem.place.zh}：{problem.what.zh}；{problem.mend.zh}",
                f"{problem.place.en}: {problem.what.en}; {problem.mend.en}",
            )
        if len(problems) > most:
            self.say(f"…… 还有 {len(problems) - most} 处", f"... and {len(problems) - most} more")

    def example(self, example: "Example", renderer: "Renderer") -> None:
        """Print one sample as the model sees it, with its targets marked."""
        colours = self.console.color_system is not None
        mark = Text("绿色", "green") if colours else Text("⟦ ⟧ 里", "inside ⟦ ⟧")
        self.say(
            f"模型看到的一行（{mark.zh}是要学的，{example.targets}/{len(example.ids)} 个 token）：",
            f"one row as the model sees it ({mark.en}: to be learned, {example.targets} of {len(example.ids)} tokens):",
        )
        self.console.print(rendered(example, renderer, colours))

    def event(self, event: "Event") -> None:
        """Show what happens, of any kind of work."""
        from ..models.delivery import DownloadProgress

        match event:
            case ReadingRows():
                self.read(event.rows)
            case DownloadProgress():
                self.download(event)
            case Doing():
                self.doing(event.what)
            case Counting():
                self.advance(event.done, event.total, event.what.to(self.language))
            case Said():
                self.say(*event.text)
            case Happened():
                self.note(event.text)
            case Ended():
                self.stop()
            case _:
                self._training_event(event)

    def _training_event(self, event: "Event") -> None:
        # Here and not in `event`: these modules load torch, which other commands do without.
        from ..training.events import Evaluating, HeldOutLoss, Judged, Planned, Started
        from ..training.progress import StepRecord

        match event:
            case Started():
                self.stop()
                self._started(event)
            case StepRecord():
                self._stepped(event)
            case Planned():
                self.estimate(event.estimate)
            case Evaluating():
                self._evaluating(event)
            case HeldOutLoss():
                self.held_out(event.step, event.loss, event.best)
            case Judged():
                self.stop()
                self.verdict(event.verdict)

    def _started(self, event: "Started") -> None:
        share = 100 * event.trainable / event.parameters
        recompute = recomputing(event.plan.recomputed_layers)
        self.say(
            f"基座 {event.ready.model.folder.name}：{event.parameters / 1e6:.0f} M 参数，训练其中新增的"
            f" {event.trainable / 1e6:.2f} M（{share:.2f}%）；{event.place}{recompute.zh}",
            f"base {event.ready.model.folder.name}: {event.parameters / 1e6:.0f} M parameters; training"
            f" {event.trainable / 1e6:.2f} M more ({share:.2f} %); {event.place}{recompute.en}",
        )
        self.reading(event.ready.notes, event.ready.mapping)
        self.rows(event.ready.table, event.heldout.row_count if event.config.eval_dataset is None else None)
        self.example(event.train.examples[0], event.ready.renderer)
        done = Text(f"，从第 {event.done} 步接着", f", resuming from step {event.done}") if event.done else Text("", "")
        self.say(
            f"共 {event.steps} 步{done.zh}，每步 {event.config.samples_per_step} 个样本；结果写进 {event.run}",
            f"{event.steps} steps{done.en}, of {event.config.samples_per_step} samples; results go to {event.run}",
        )

    def _stepped(self, event: "StepRecord") -> None:
        loss = "—" if event.loss is None else f"{event.loss:.3f}"
        text = Text(
            f"损失 {loss}  {event.samples_per_s:.2f} 样本/秒  还要 {duration(event.remaining_s)}",
            f"loss {loss}  {event.samples_per_s:.2f} samples/s  {duration(event.remaining_s)} left",
        ).to(self.language)
        self.advance(event.step, event.steps, text)
        self._stepping = self._progress is not None

    def advance(self, done: int, total: int | None, text: str) -> None:
        """Show that `done` of `total` parts are done; `total` is None if it is not known yet."""
        if not self._draws:
            if self._is_line_due(at_once=bool(total) and done in (1, total)):
                self._line(f"{done}/{total}  {text}" if total else f"{done}  {text}")
            return
        if total and not self._counted:
            self.stop()
        if self._progress is None:
            count = "{task.completed}/{task.total}" if total else "{task.completed}"
            self._counted = total is not None
            self._bar(text, TextColumn(count), total=total)
        self._show(completed=done, text=text)
        if total and done >= total:
            self.stop()

    def _is_line_due(self, at_once: bool = False) -> bool:
        """True if a line is due, for a console without a bar."""
        now = time.monotonic()
        due = at_once or now - self._last >= QUIET_EVERY_S
        if due:
            self._last = now
        return due

    def doing(self, what: Text) -> None:
        """Show work of unknown length until the next event or `stop`."""
        text = what.to(self.language)
        if not self._draws:
            self._last = self._last or time.monotonic()
            if self._is_line_due():
                self._line(f"{text} ...")
            return
        if not self._counted:
            self.stop()
            self._bar(text, TimeElapsedColumn(), transient=True)
        self._show(text=text, refresh=True)

    def _bar(self, text: str, *columns: ProgressColumn, total: int | None = None, transient: bool = False) -> None:
        last = TextColumn("{task.fields[text]}", markup=False)
        self._progress = Progress(BarColumn(), *columns, last, console=self.console, transient=transient)
        self._task = self._progress.add_task("", total=total, text=one_line(text))
        self._progress.start()

    def _show(self, text: str, **values: Any) -> None:
        assert self._progress is not None
        self._progress.update(self._task, text=one_line(text), **values)

    def _evaluating(self, event: "Evaluating") -> None:
        """Show it in the bar of the steps if there is one. Without bars, print no line for the end."""
        text = Text("计算验证损失", "measuring the held-out loss").to(self.language)
        if self._stepping:
            self._show(text=f"{text} {event.done}/{event.samples}")
        elif self._draws or event.done < event.samples:
            self.advance(event.done, event.samples, text)

    def held_out(self, step: int, loss: float, best: bool) -> None:
        """Print the held-out loss after a step; `best`: the lowest so far."""
        mark = Text("，目前最好", ", best so far") if best else Text("", "")
        self.say(
            f"第 {step} 步：验证损失 {loss:.3f}{mark.zh}",
            f"step {step}: held-out loss {loss:.3f}{mark.en}",
        )

    def comparison(self, found: dict[str, Any], with_figures: bool = True) -> None:
        """Print what base and tuned wrote, the verdict, and the figures of the comparison that `eval` found."""
        for told in found["answers"][:MOST_STORIES]:
            self.side_by_side(told["prompt"], told["base"], told["tuned"])
        self.verdict(judge(found))
        if with_figures:
            self.console.print(figures(found, self.language))

    def verdict(self, verdict: Verdict) -> None:
        """Print the headline and the four lines."""
        self.console.print()
        for line in verdict_lines(verdict, self.language):
            self.console.print(line)

    def side_by_side(self, wish: str, base: str, tuned: str) -> None:
        """Print the answers of both to a wish: in two columns if there is room, else one after the other."""
        names = Text("训练前", "before").to(self.language), Text("训练后", "after").to(self.language)
        self.console.print()
        self._line(wish, "bold")
        base, tuned = printable(base), printable(tuned)
        if not self.console.is_terminal or self.console.width < NARROW_COLUMNS:
            for name, text in zip(names, (base, tuned), strict=True):
                self.console.print(Line(f"【{name}】\n{text}\n"))
            return
        grid = Table(expand=True, show_edge=False, padding=(0, 1))
        for name in names:
            grid.add_column(name, ratio=1, overflow="fold")
        grid.add_row(Line(base), Line(tuned))
        self.console.print(grid, soft_wrap=False)

    def download(self, told: "Download") -> None:
        """Show a download: its source, size, speed and time left, or what it waits for."""
        whole = decimal(told.total_bytes)
        heading = Text(
            f"正在从 {told.source} 下载 {told.model}（{whole}）", f"fetching {told.model} ({whole}) from {told.source}"
        ).to(self.language)
        if told.total_bytes and heading != self._fetching:
            self._fetching, self._last = heading, time.monotonic()
            self._line(heading)
        text = f"{decimal(told.done_bytes)}/{whole}"
        if told.waiting is not None:
            text = told.waiting.to(self.language)
        elif told.asking is not None:
            text = told.asking.to(self.language)
        elif told.remaining_s is not None:
            left = Text(f"还要 {duration(told.remaining_s)}", f"{duration(told.remaining_s)} left").to(self.language)
            text += f"  {decimal(round(told.bytes_per_s))}/s  {left}"
        if not self._draws:
            if self._is_line_due():
                self._line(text)
            return
        if self._progress is None:
            self._bar(text, transient=True)
        self._show(completed=told.done_bytes, total=told.total_bytes or None, text=text)

    def stop(self) -> None:
        """Remove the bar if there is one."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._counted = self._stepping = False
