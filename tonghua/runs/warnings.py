"""What a run's curves warn of: overfitting, a loss that does not fall, spikes."""

import statistics
from collections import deque
from collections.abc import Sequence

from ..text import Text
from .curves import Points
from .record import RunRecord

MOST_MARKS = 50

MOST_STEPS_LISTED = 20

RISE = 0.02
"""Overfitting: the last held-out loss is at least this share above the lowest, and the mean training loss is lower
after the lowest than before it."""

FALL, FALL_STEPS = 0.01, 20
"""Not falling: the mean loss of the last tenth of the steps is at least (1 - FALL) times that of the first tenth.
Needs at least FALL_STEPS steps with a loss."""

SPIKE, SPIKE_WINDOW, SPIKE_STEPS = 1.5, 20, 5
"""A spike: a loss above SPIKE times the highest of the last SPIKE_WINDOW steps before it. Needs at least SPIKE_STEPS of
them."""


def warnings(record: RunRecord) -> list[Text]:
    """Return the warnings of the curves (overfitting, not falling, spikes) by the rules at the top of this file."""
    losses = loss_points(record)
    return [each for each in (_by_heart(record), _not_falling(losses), _spikes(losses)) if each]


def when(step: int) -> Text:
    """Return `after step N`, or `before training` for step 0."""
    return Text(f"第 {step} 步", f"after step {step}") if step else Text("训练前", "before training")


def loss_points(record: RunRecord) -> Points:
    """Return the training loss by step; None if a step was skipped."""
    return [(step.step, step.loss) for step in record.steps]


def _by_heart(record: RunRecord) -> Text | None:
    if not record.heldout:
        return None
    lowest, last = min(record.heldout, key=lambda each: each.loss), record.heldout[-1]
    turn = lowest.step or last.step / 2
    before = [step.loss for step in record.steps if step.loss is not None and step.step <= turn]
    after = [step.loss for step in record.steps if step.loss is not None and turn < step.step <= last.step]
    has_risen = last.loss >= lowest.loss * (1 + RISE)
    if not has_risen or not before or not after or statistics.fmean(after) >= statistics.fmean(before):
        return None
    where = when(lowest.step)
    return Text(
        f"在死记硬背：验证损失在{where.zh}最低（{lowest.loss:.3f}），后来升到 {last.loss:.3f}，训练损失却还在降。"
        "下次少训练几轮（num_train_epochs），或多准备些数据。",
        f"It is learning by heart: the held-out loss was lowest {where.en} ({lowest.loss:.3f}) and rose to"
        f" {last.loss:.3f} afterwards, while the training loss went on falling."
        " Train for fewer epochs next time (num_train_epochs), or gather more rows.",
    )


def _not_falling(losses: Points) -> Text | None:
    values = [value for _, value in losses if value is not None]
    if len(values) < FALL_STEPS:
        return None
    tenth = len(values) // 10
    first, last = statistics.fmean(values[:tenth]), statistics.fmean(values[-tenth:])
    if last < first * (1 - FALL):
        return None
    return Text(
        f"训练损失没有降下来（{first:.3f} → {last:.3f}）：学习率不合适（learning_rate 太小学不动，太大学不稳），"
        "或者数据有问题；可以先用 tonghua check 看看数据。",
        f"The training loss did not fall ({first:.3f} → {last:.3f}): the rate does not fit (learning_rate; too low"
        " learns nothing, too high does not settle), or something is wrong with the rows; tonghua check looks at them.",
    )


def _spikes(losses: Points) -> Text | None:
    before: deque[float] = deque(maxlen=SPIKE_WINDOW)
    steps = []
    for step, value in losses:
        if value is None:
            continue
        if len(before) >= SPIKE_STEPS and value > SPIKE * max(before):
            steps.append(step)
        before.append(value)
    if not steps:
        return None
    listed = listed_steps(steps)
    return Text(
        f"训练损失突然跳高了 {len(steps)} 次（第 {listed.zh} 步）。若总是这样，请把 learning_rate 调小，"
        "再看看是不是有特别怪的数据。",
        f"The training loss jumped up suddenly; times: {len(steps)} (step {listed.en})."
        " If that goes on, lower learning_rate, and see whether some rows are very odd.",
    )


def listed_steps(steps: Sequence[int]) -> Text:
    """Return the first `MOST_SKIPPED` of these steps as text, and a mark if there are more."""
    first, more = steps[:MOST_STEPS_LISTED], len(steps) > MOST_STEPS_LISTED
    return Text("、".join(map(str, first)) + " 等" * more, ", ".join(map(str, first)) + ", ..." * more)
