"""Training from a config to a run folder, in order of time.

    check the model and the rows -> load the base -> add LoRA -> steps, a held-out loss each epoch -> the best adapter
                                                                 ^                                     -> is it better?
                         tonghua train --resume: a checkpoint ---'

`train` does all of it and reports progress to `tell` as events.
"""

import math
import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config.load import Loaded
from ..errors import DivergedError, ResourceError, Stopped, UsageError
from ..evaluation.losses import Losses
from ..events import Doing, Ended, Happened
from ..runs import checkpoint
from ..runs.book import Book, LookForStop, Unsaved, needed_bytes, now
from ..runs.checkpoint import Checkpoint, Damaged
from ..runs.folder import finished
from ..runs.pages import WRITING_PAGES, write_evaluation, write_pages
from ..runs.trackers import require_installed
from ..runs.verdict import judge
from ..system.files import quoted
from ..system.memory import available_bytes, give_back_memory, is_out_of_memory
from ..system.signals import Asked, Stop, stopping
from ..text import Text
from . import plan
from .comparison import compare_at_end
from .diary import Diary
from .events import REHEARSING, Evaluating, HeldOutLoss, Judged, Planned, Started, Tell
from .progress import TrainingResult, step_record
from .resume import newest, require_same
from .setup import ReadyRun, get_ready, open_book, run_facts, trained_on
from .trainer import Trainer
from .watch import Watch

MOST_SKIPPED = 3
"""Non-finite steps in a row before rolling back to the last checkpoint."""

MEASURED_STEPS, MEASURED_S = 3, 20.0
"""Maximum number of steps that a plan measures, and the seconds after which it starts no further one."""

NOTHING_DONE = Text(
    "已停下，还没有训练；再运行一次就会重新开始", "stopped before any training; run the same again to start"
)

NOTHING_NEW = Text(
    "已停下，什么都没有变；再运行一次就会接着训练", "stopped, and nothing has changed; run the same again to resume"
)


@dataclass(frozen=True, slots=True)
class _TrainingRun:
    """The parts of a run in progress."""

    ready: ReadyRun
    trainer: Trainer
    book: Book
    diary: Diary
    trained_on: dict[str, Any]
    stop: Stop
    tell: Tell
    measured: dict[int, Losses] = field(default_factory=dict)  # before the first step, and after each best one


def train(loaded: Loaded, tell: Tell = lambda event: None, resumed: Path | None = None) -> TrainingResult:
    """Train and write a run folder, or resume the one in `resumed`. Return its figures.

    Errors of the input come before the folder is written. Raises UsageError, DataError, RefusedError or ResourceError
    for config, rows, model, memory or disk; DivergedError; Stopped after a signal, with the finished steps saved.
    """
    # First, as it costs nothing: otherwise a missing tracker shows only after the base is loaded.
    require_installed(loaded.config.report_to)
    with stopping(NOTHING_DONE if resumed is None else NOTHING_NEW) as stop:
        # Read without the lock, as preparing takes minutes; `_go_on` checks that no other process came between.
        found, damages = newest(resumed) if resumed is not None else (None, [])
        ready = get_ready(loaded.config, tell, found)
        book = open_book(loaded, ready, tell)
        trainer = ready.trainer(stop, book.note)
        run = _TrainingRun(ready, trainer, book, ready.diary(), trained_on(ready, book), stop, tell)
        # From here on a signal waits for `look`, where the run can be saved.
        with stop.held(), book.open(resumed):
            if found is not None:
                _go_on(run, found, damages)
            _start(run)
            with Watch(book.run, book.note) as watch:
                _learn(run, watch)
            result = trainer.result(book.run)
            try:
                _compare(run)
            finally:
                _finish(run, result)
    return result


def _compare(run: _TrainingRun) -> None:
    """Compare the best adapter with the base, as far as a share of the training time allows."""
    run.tell(Doing(Text("比较训练前后", "comparing before and after")))
    compared = compare_at_end(run.ready, run.trainer, run.book.run, run.measured, run.diary.token_s, run.stop.look)
    if compared is not None:
        with suppress(ResourceError):  # a full disk: the run is complete without it
            write_evaluation(run.book.run, compared)
        run.tell(Judged(judge(compared)))


def _finish(run: _TrainingRun, result: TrainingResult) -> None:
    """Write the pages, and then result.json, which marks the end: a run that has ended has its pages.

    After a crash before result.json, a resume has no step left and writes all of them.
    """
    ended = {"finished": now(), **asdict(result)}
    run.tell(WRITING_PAGES)
    try:
        write_pages(run.book.run, ended)
    except ResourceError as error:  # a run without its pages is still complete
        run.tell(Happened("report", error.text))
    finally:
        run.book.finish(ended)
        run.tell(Ended())


def estimate(loaded: Loaded, tell: Tell = lambda event: None) -> plan.Estimate:
    """Return what `train` would take, by its longest micro-batch and a few steps. Writes no run. Raises as `train`."""
    with stopping(NOTHING_DONE) as stop:
        ready = get_ready(loaded.config, tell)
        trainer = ready.trainer(stop, lambda kind, text: tell(Happened(kind, text)))
        trainer.memory.start()
        tell(REHEARSING)
        try:
            trainer.rehearse()
            taken = _measured(trainer)
        finally:
            trainer.memory.stop()
        return _estimate(ready, trainer, statistics.mean(taken))


def _measured(trainer: Trainer) -> list[float]:
    """Return the seconds per token of each of the first steps."""
    start, taken = time.monotonic(), []
    for step in range(min(MEASURED_STEPS, trainer.steps)):
        taken.append(trainer.measure([trainer.samples.examples[place] for place in trainer.places(step)]))
        if time.monotonic() - start > MEASURED_S:
            break
    return taken


def _estimate(ready: ReadyRun, trainer: Trainer, token_s: float) -> plan.Estimate:
    config = trainer.config
    tokens = trainer.samples.packed_tokens(config.samples_per_step)
    heldout = ready.measured.packed_tokens(config.samples_per_step)
    return plan.Estimate(
        tokens_per_micro_batch=trainer.tokens_per_micro_batch,
        recomputed_layers=trainer.decoder.recomputed_layers,
        memory_bytes=plan.memory_bytes(
            trainer.memory.peak_bytes(),
            trainer.memory.gained_bytes(),
            8 * trainer.adapter.flat.numel(),  # both moments, from step 1 on
            trainer.decoder.device,
        ),
        available_bytes=available_bytes(trainer.decoder.device),
        disk_bytes=needed_bytes(config, ready.checkpoint_bytes),
        steps=trainer.steps,
        step_s=token_s * tokens / trainer.per_epoch,
        total_s=plan.total_s(trainer.steps, trainer.per_epoch, tokens, heldout, token_s),
    )


def _learn(run: _TrainingRun, watch: Watch) -> None:
    """Take the remaining steps; whatever ends them, save the finished ones. Raises Stopped after a signal."""
    run.trainer.memory.start()
    try:
        _take_steps(run, watch)
    except Asked:
        raise _stopped(run) from None
    except (Unsaved, DivergedError):
        raise  # no save: the disk has just failed, or the state is not worth one
    except Exception:
        # The steps before the error are worth saving. If that fails too, report the first error.
        with suppress(Exception):
            # An error inside an update leaves weights and step number out of step: do not save that.
            if run.trainer.done and run.trainer.between_steps:
                _save(run, _not_looking)
        raise
    finally:
        run.trainer.memory.stop()


def _take_steps(run: _TrainingRun, watch: Watch) -> None:
    """Take the remaining steps, each followed by the rollback, the evaluation or the checkpoint that is due."""
    trainer, book = run.trainer, run.book
    run.tell(REHEARSING)
    # On resume too: the settings, the device or the free memory may be others.
    token_s = trainer.rehearse()
    planned = _estimate(run.ready, trainer, token_s)
    run.tell(Planned(planned))
    if not trainer.done:
        run.diary.plan(plan.EVALUATION_SHARE * token_s, planned.step_s * planned.steps)
    # Before the first step, or on resume after a stop between a step and its evaluation.
    if trainer.is_evaluation_due and not trainer.progress.evaluated:
        _evaluate(run)
    while trainer.done < trainer.steps:
        book.step = trainer.done + 1  # before the step: its events are logged with its number
        # The first step has no usual time yet, only the estimate.
        with watch.one_step(max(planned.step_s, trainer.step_s)):
            stepped = trainer.step()
        book.log(asdict(stepped))
        run.tell(stepped)
        if trainer.progress.skipped_in_a_row == MOST_SKIPPED:
            _roll_back(run)
        elif trainer.is_evaluation_due:
            _evaluate(run)
        # A skipped step changes no weights: a checkpoint of it would only push an older one out.
        elif book.is_save_due(trainer.done) and not trainer.progress.skipped_in_a_row:
            _save(run, None)


def _evaluate(run: _TrainingRun) -> None:
    """Measure the held-out loss if rows are held out, write a diary entry if time permits, and save a checkpoint."""
    trainer, book, heldout = run.trainer, run.book, run.ready.measured
    measured = trainer.evaluate(heldout, lambda done: run.tell(Evaluating(done, len(heldout))))
    loss = None if measured is None else measured.per_token
    best = trainer.note_best(loss)
    if measured is not None and (best or not trainer.done):
        run.measured[trainer.done] = measured
    if loss is not None:
        finite = math.isfinite(loss)  # JSON has no NaN
        book.log({"step": trainer.done, "epoch": trainer.epoch, "heldout_loss": loss if finite else None})
        if finite:
            run.tell(HeldOutLoss(trainer.done, loss, best))
        else:
            book.note("not_finite", Text("验证损失不是有限的数", "the held-out loss is not finite"))
    if run.diary.is_due(trainer.done in (0, trainer.steps), trainer.training_s):
        _write_diary(run)
    # Before the save, so that a resume does not evaluate again. A crash in between resumes from an earlier checkpoint
    # and evaluates again; `rewind` removes what was logged here.
    trainer.progress.evaluated = True
    _save(run, run.stop.look)


def _write_diary(run: _TrainingRun) -> None:
    """Write a diary entry; if memory is short, leave it out, because training matters more."""
    trainer = run.trainer
    run.tell(Doing(Text("写几段样例", "writing samples")))
    entry = None
    try:
        entry = run.diary.entry(run.stop.look)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    if entry is None:
        give_back_memory(trainer.decoder.device)  # not above: the error holds the tensors until its block ends
        return
    run.book.write_samples({"step": trainer.done, "epoch": trainer.epoch, **entry})


def _not_looking() -> None:
    """Let `Book.save` retry to the end: the stop request has already been heard."""


def _save(run: _TrainingRun, look: LookForStop | None) -> None:
    """Commit a checkpoint; `look` as in `Book.save`. The last checkpoint before skipped steps stays for a rollback."""
    trainer, progress = run.trainer, run.trainer.progress
    if not progress.skipped_in_a_row:
        progress.good_step = trainer.done
    files = trainer.files(run.book.base_name, run.trained_on)
    run.book.save(trainer.done, files, progress.best_step, (progress.good_step,), look)


def _roll_back(run: _TrainingRun) -> None:
    """Roll back to the last good checkpoint and halve the learning rate. Raises DivergedError the second time."""
    trainer, book, at = run.trainer, run.book, run.trainer.done
    if trainer.progress.learning_rate_scale < 1:
        raise _diverged(run, at)
    # An evaluation among the skipped steps has saved a checkpoint too; the rollback goes to one before them.
    found, _ = checkpoint.newest_valid(book.run, at - MOST_SKIPPED)
    trainer.restore(found)
    trainer.progress.learning_rate_scale = 0.5  # after `restore`, which sets the scale of the checkpoint
    # The same step again, now with half the rate. First: whatever ends the run from here on, it is remembered.
    _save(run, run.stop.look)
    # Later checkpoints and log entries belong to steps that are taken again.
    checkpoint.forget_after(book.run, found.step)
    book.rewind(found, trainer.progress.evaluated)
    _publish_best(run)
    book.note(
        "rolled_back",
        Text(
            f"连续 {MOST_SKIPPED} 步算出的数不对：退回第 {found.step} 步，学习率减半再来",
            f"{MOST_SKIPPED} steps in a row went wrong: back to step {found.step}, at half the learning rate",
        ),
    )


def _stopped(run: _TrainingRun) -> Stopped:
    """Save the finished steps and return the error that reports them. Without a finished step, save nothing."""
    trainer, book = run.trainer, run.book
    if not trainer.done:
        return Stopped(*NOTHING_DONE)
    _save(run, _not_looking)
    book.note("stopped", Text(f"停在第 {trainer.done} 步", f"stopped after step {trainer.done}"))
    return Stopped(
        f"已停在第 {trainer.done} 步（共 {trainer.steps} 步），都保存在 {book.run}；"
        f"接着训练：tonghua train --resume {quoted(book.run)}",
        f"stopped at step {trainer.done} of {trainer.steps}, all of it kept in {book.run};"
        f" resume with: tonghua train --resume {quoted(book.run)}",
    )


def _go_on(run: _TrainingRun, found: Checkpoint, damages: list[Text]) -> None:
    """Restore a checkpoint and rewind the log to it.

    Raises DataError if rows or base have changed, UsageError if another process has trained the run meanwhile.
    """
    trainer, book = run.trainer, run.book
    # We hold the lock only now: another process may have trained or finished the run since we read it.
    if newest(book.run)[0].step != found.step or finished(book.run) is not None:
        raise UsageError(
            f"刚才有另一个程序在接着训练 {book.run}；请再运行一次",
            f"another process has just gone on with {book.run}; run the same again",
        )
    # Before any write: a resume that is refused leaves the run as it was.
    require_same(found, run.trained_on, trainer.samples, run.ready.rows.heldout)
    book.write_config()
    book.step = found.step
    if checkpoint.newest_valid(book.run)[0].step > found.step:  # a crash inside a rollback left it
        checkpoint.forget_after(book.run, found.step)
    for damage in damages:
        book.note(
            "damaged", Text(f"检查点损坏，用更早的：{damage.zh}", f"a damaged checkpoint is passed over: {damage.en}")
        )
    trainer.restore(found)
    # After `restore`, which knows if the evaluation of this step was done.
    steps, entries = book.rewind(found, trainer.progress.evaluated)
    _publish_best(run)
    # The history gives the usual step time and the final figures of the whole run.
    trainer.history = [stepped for stepped in map(step_record, steps) if stepped is not None]
    run.diary.go_on(entries)
    if found.step:
        book.note("resumed", Text(f"从第 {found.step} 步接着训练", f"going on from step {found.step}"))


def _publish_best(run: _TrainingRun) -> None:
    """Publish the best adapter of the restored state; if its checkpoint is damaged, the next evaluation is the best.

    The run may hold a later adapter, of steps that are taken again.
    """
    progress = run.trainer.progress
    if not progress.best_step:
        return
    try:
        run.book.publish_from(checkpoint.open_checkpoint(run.book.run, progress.best_step))
    except Damaged:
        progress.best_step, progress.best_loss = 0, None


def _start(run: _TrainingRun) -> None:
    """Send `Started`; for a new run, also write facts.json."""
    ready, trainer, book = run.ready, run.trainer, run.book
    started = Started(
        config=ready.config,
        ready=ready.rows.ready,
        place=ready.place,
        plan=ready.plan,
        trainable=ready.adapter.flat.numel(),
        parameters=sum(slot.numel() for _, slot in ready.decoder.slots()),
        train=ready.rows.training,
        heldout=ready.rows.heldout,
        steps=trainer.steps,
        run=book.run,
        done=trainer.done,
    )
    run.tell(started)
    if not (trainer.done or book.has_facts()):
        book.write_facts(run_facts(started, book.base_name, ready.begun_at))


def _diverged(run: _TrainingRun, step: int) -> DivergedError:
    """Return the error of a second rollback, with settings to try."""
    rate, dtype = run.trainer.config.learning_rate, str(run.trainer.decoder.dtype).removeprefix("torch.")
    other = Text("", "") if dtype == "float32" else Text("，或 dtype=float32", ", or dtype=float32")
    return DivergedError(
        f"到第 {step} 步，损失或梯度一再不是有限的数，学习率减半也没有用。上面列出了用到的数据行，请看看它们；"
        f"再试 learning_rate={rate / 4:g}{other.zh}。退回之前的检查点还在 {run.book.run}",
        f"by step {step} the loss or gradient is not finite again and again, even at half the learning rate. Look at"
        f" the rows named above, then try learning_rate={rate / 4:g}{other.en}. The checkpoints from before are in"
        f" {run.book.run}",
    )
