"""Training: from a config to a run folder, in the order in which it happens.

    check the model and the rows -> load the base -> add LoRA -> steps, a held-out loss each epoch -> the best adapter
                                          ^
            tonghua train --resume: a checkpoint --'

`train` is the whole of it; what happens on the way goes to `tell` as events, for a progress bar or for nobody.
"""

import math
import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.load import Loaded
from ..errors import DivergedError, Stopped, UsageError
from ..events import Doing, Happened
from ..runs import checkpoint
from ..runs.book import Book, LookForStop, Unsaved, needed_bytes
from ..runs.checkpoint import Checkpoint, Damaged
from ..runs.folder import finished
from ..runs.trackers import require_installed
from ..system.files import quoted
from ..system.memory import available_bytes, give_back_memory, is_out_of_memory
from ..system.signals import Asked, Stop, stopping
from ..text import Text
from . import plan
from .diary import Diary
from .events import REHEARSING, Evaluating, HeldOutLoss, Planned, Started, Tell
from .progress import TrainingResult, step_record
from .resume import require_same
from .setup import ReadyRun, get_ready, open_book, run_facts, trained_on
from .trainer import Trainer
from .watch import Watch

MOST_SKIPPED = 3
"""After so many steps in a row whose numbers went wrong, training goes back to the last checkpoint."""

MEASURED_STEPS, MEASURED_S = 3, 20.0
"""What a plan measures: so many steps, and no further one after so many seconds."""

NOTHING_DONE = Text(
    "已停下，还没有训练；再运行一次就会重新开始", "stopped before any training; run the same again to start"
)

NOTHING_NEW = Text(
    "已停下，什么都没有变；再运行一次就会接着训练", "stopped, and nothing has changed; run the same again to go on"
)


@dataclass(frozen=True, slots=True)
class _TrainingRun:
    """A run in progress."""

    ready: ReadyRun
    trainer: Trainer
    book: Book
    diary: Diary
    trained_on: dict[str, Any]
    stop: Stop
    tell: Tell


def train(loaded: Loaded, tell: Tell = lambda event: None, resumed: Path | None = None) -> TrainingResult:
    """Train and write a run folder, or go on with one. Every fault of the input is found before anything is written.

    Raises the `UserError`s of the config, the rows, the model, the disk; DivergedError; Stopped after a signal, with
    the run saved as far as it came.
    """
    require_installed(loaded.config.report_to)
    with stopping(NOTHING_DONE if resumed is None else NOTHING_NEW) as stop:
        found, damages = checkpoint.newest_valid(resumed) if resumed is not None else (None, [])
        ready = get_ready(loaded.config, tell, found)
        book = open_book(loaded, ready, tell)
        trainer = ready.trainer(stop, book.note)
        run = _TrainingRun(ready, trainer, book, ready.diary(), trained_on(ready, book), stop, tell)
        # From here on a signal waits for a place where the run can be kept.
        with stop.held(), book.open(resumed):
            if found is not None:
                _go_on(run, found, damages)
            _start(run)
            with Watch(book.run, book.note) as watch:
                _learn(run, watch)
            result = trainer.result(book.run)
            book.finish(asdict(result))
    return result


def estimate(loaded: Loaded, tell: Tell = lambda event: None) -> plan.Estimate:
    """What `train` would take, from the longest micro-batch and a few steps; writes nothing. Raises as `train` does."""
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
    """Seconds a token of the first steps."""
    start, taken = time.monotonic(), []
    for step in range(min(MEASURED_STEPS, trainer.steps)):
        taken.append(trainer.measure([trainer.samples.examples[place] for place in trainer.places(step)]))
        if time.monotonic() - start > MEASURED_S:
            break
    return taken


def _estimate(ready: ReadyRun, trainer: Trainer, token_s: float) -> plan.Estimate:
    config = trainer.config
    tokens = trainer.samples.packed_tokens(config.samples_per_step)
    heldout = ready.rows.heldout.packed_tokens(config.samples_per_step)
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
    """All that is left of the run, kept as far as it came whatever ends it. Raises Stopped after a signal."""
    run.trainer.memory.start()
    try:
        _take_steps(run, watch)
    except Asked:
        raise _stopped(run) from None
    except (Unsaved, DivergedError):
        raise
    except Exception:
        # Whatever went wrong, the steps before it are worth keeping; and it is what is told, not a second trouble.
        with suppress(Exception):
            if run.trainer.done and run.trainer.between_steps:
                _save(run, _not_looking)
        raise
    finally:
        run.trainer.memory.stop()


def _take_steps(run: _TrainingRun, watch: Watch) -> None:
    """Every step that is left, and after each what is due."""
    trainer, book = run.trainer, run.book
    run.tell(REHEARSING)
    planned = _estimate(run.ready, trainer, trainer.rehearse())
    run.tell(Planned(planned))
    if trainer.evaluation_due and not trainer.progress.evaluated:
        _evaluate(run)
    while trainer.done < trainer.steps:
        book.step = trainer.done + 1
        with watch.one_step(max(planned.step_s, trainer.step_s)):
            stepped = trainer.step()
        book.log(asdict(stepped))
        run.tell(stepped)
        if trainer.progress.skipped_in_a_row == MOST_SKIPPED:
            _roll_back(run)
        elif trainer.evaluation_due:
            _evaluate(run)
        elif book.save_due(trainer.done) and not trainer.progress.skipped_in_a_row:
            _save(run, None)


def _evaluate(run: _TrainingRun) -> None:
    """Measure the held-out loss, if rows are held out, write into the diary, and keep the adapter as it is now."""
    trainer, book, heldout = run.trainer, run.book, run.ready.rows.heldout
    loss = trainer.evaluate(heldout, lambda done: run.tell(Evaluating(done, len(heldout))))
    best = trainer.note_best(loss)
    if loss is not None:
        finite = math.isfinite(loss)
        book.log({"step": trainer.done, "epoch": trainer.epoch, "heldout_loss": loss if finite else None})
        if finite:
            run.tell(HeldOutLoss(trainer.done, loss, best))
        else:
            book.note("not_finite", Text("验证损失不是有限的数", "the held-out loss is not finite"))
    if trainer.done in (0, trainer.steps) or run.diary.affordable(trainer.training_s):
        _write_diary(run)
    trainer.progress.evaluated = True
    _save(run, run.stop.look)


def _write_diary(run: _TrainingRun) -> None:
    """An entry; where memory is too short for one, training matters more."""
    trainer = run.trainer
    run.tell(Doing(Text("写几段样例", "writing samples")))
    try:
        entry = run.diary.entry(run.stop.look)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        give_back_memory(trainer.decoder.device)
        return
    run.book.write_samples({"step": trainer.done, "epoch": trainer.epoch, **entry})


def _not_looking() -> None:
    """A disk may be waited for to the end: whoever asked has been heard."""


def _save(run: _TrainingRun, look: LookForStop | None) -> None:
    """Commit a checkpoint; for `look` see `Book.save`. The last one before steps that went wrong stays too."""
    trainer, progress = run.trainer, run.trainer.progress
    if not progress.skipped_in_a_row:
        progress.good_step = trainer.done
    files = trainer.files(run.book.base_name, run.trained_on)
    run.book.save(trainer.done, files, progress.best_step, (progress.good_step,), look)


def _roll_back(run: _TrainingRun) -> None:
    """Go back to the last checkpoint and on at half the learning rate. Raises DivergedError the second time."""
    trainer, book, at = run.trainer, run.book, run.trainer.done
    if trainer.progress.learning_rate_scale < 1:
        raise _diverged(run, at)
    found, _ = checkpoint.newest_valid(book.run, at - MOST_SKIPPED)
    trainer.restore(found)
    trainer.progress.learning_rate_scale = 0.5
    checkpoint.forget_after(book.run, found.step)
    _publish_best(run)
    book.note(
        "rolled_back",
        Text(
            f"连续 {MOST_SKIPPED} 步算出的数不对：退回第 {found.step} 步，学习率减半再来",
            f"{MOST_SKIPPED} steps in a row went wrong: back to step {found.step}, at half the learning rate",
        ),
    )
    _save(run, run.stop.look)


def _stopped(run: _TrainingRun) -> Stopped:
    """Keep what there is, and only then tell; a new run that has not made a step keeps nothing."""
    trainer, book = run.trainer, run.book
    if not trainer.done:
        return Stopped(*NOTHING_DONE)
    _save(run, _not_looking)
    book.note("stopped", Text(f"停在第 {trainer.done} 步", f"stopped after step {trainer.done}"))
    return Stopped(
        f"已停在第 {trainer.done} 步（共 {trainer.steps} 步），都保存在 {book.run}；"
        f"接着训练：tonghua train --resume {quoted(book.run)}",
        f"stopped at step {trainer.done} of {trainer.steps}, all of it kept in {book.run};"
        f" go on with: tonghua train --resume {quoted(book.run)}",
    )


def _go_on(run: _TrainingRun, found: Checkpoint, damages: list[Text]) -> None:
    """Stand where a checkpoint stands. Raises DataError where what is trained on what is not the same any more."""
    trainer, book = run.trainer, run.book
    # The lock is ours only now: until then another process may have gone on with the run, or ended it.
    if checkpoint.newest_valid(book.run)[0].step != found.step or finished(book.run) is not None:
        raise UsageError(
            f"刚才有另一个程序在接着训练 {book.run}；请再运行一次",
            f"another process has just gone on with {book.run}; run the same again",
        )
    require_same(found, run.trained_on, trainer.samples, run.ready.rows.heldout)
    book.write_config()
    book.step = found.step
    for damage in damages:
        book.note(
            "damaged", Text(f"检查点损坏，用更早的：{damage.zh}", f"a damaged checkpoint is passed over: {damage.en}")
        )
    trainer.restore(found)
    steps, entries = book.rewind(found, trainer.progress.evaluated)
    _publish_best(run)
    trainer.history = [stepped for stepped in map(step_record, steps) if stepped is not None]
    run.diary.go_on(entries)
    if found.step:
        book.note("resumed", Text(f"从第 {found.step} 步接着训练", f"going on from step {found.step}"))


def _publish_best(run: _TrainingRun) -> None:
    """Put the best adapter of then at the root again; where its checkpoint is damaged, the next evaluation is best."""
    progress = run.trainer.progress
    if not progress.best_step:
        return
    try:
        run.book.publish_from(checkpoint.open_checkpoint(run.book.run, progress.best_step))
    except Damaged:
        progress.best_step, progress.best_loss = 0, None


def _start(run: _TrainingRun) -> None:
    """Tell everybody what will be done, and write it down."""
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
    if not trainer.done:
        book.write_facts(run_facts(started, book.base_name))


def _diverged(run: _TrainingRun, step: int) -> DivergedError:
    rate, dtype = run.trainer.config.learning_rate, str(run.trainer.decoder.dtype).removeprefix("torch.")
    other = Text("", "") if dtype == "float32" else Text("，或 dtype=float32", ", or dtype=float32")
    return DivergedError(
        f"到第 {step} 步，损失或梯度一再不是有限的数，学习率减半也没有用。上面列出了用到的数据行，请看看它们；"
        f"再试 learning_rate={rate / 4:g}{other.zh}。退回之前的检查点还在 {run.book.run}",
        f"by step {step} the loss or gradient is not finite again and again, even at half the learning rate. Look at"
        f" the rows named above, then try learning_rate={rate / 4:g}{other.en}. The checkpoints from before are in"
        f" {run.book.run}",
    )
