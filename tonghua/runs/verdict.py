"""The verdict on a run: four lines that say what it gained and lost, and a headline that says no more than they do.

    evaluation.json                                      figure         change, interval          judgement
    loss       surprise at held-out rows                 4.38 → 3.86    −0.53  −0.55 … −0.51      gained
    sense      surprise of a reader at its answers       4.86 → 5.72    +0.86  +0.61 … +1.10      lost
    endings    answers that end well and do not loop     62 % → 100 %   +38 points …              gained
    knowledge  surprise at general questions and texts   3.10 → 3.12    +0.02  −0.01 … +0.05      same

A line is gained or lost if its whole interval lies on one side and the change exceeds `TOLERANCE`. With fewer than
`LEAST_ITEMS` items nothing is said. The headline is "better" only if something was gained, all four were measured, and
none was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..text import Text, shown
from .curves import smooth
from .record import RunRecord, found, number, text
from .warnings import loss_points

Judgement = Literal["gained", "same", "lost", "too few", "not measured"]

TOLERANCE = 0.05
"""A smaller change counts for nothing: nats per token of a surprise, and a share of the answers (5 of 100)."""

LEAST_ITEMS = 6
"""Fewer questions or answers show nothing: five coins fall on one side in 6 of 100 throws, six in 3 (sign test)."""

NAMES = {
    "loss": Text("更贴近你的数据", "closer to your rows"),
    "sense": Text("说得通", "makes sense"),
    "endings": Text("写得完、不绕圈", "ends and does not loop"),
    "knowledge": Text("原来会的还会", "still knows what it knew"),
}
"""The lines in their order, and what each asks."""

JUDGED: Mapping[Judgement, Text] = {
    "gained": Text("变好了", "gained"),
    "same": Text("没有明显变化", "no clear change"),
    "lost": Text("变差了", "lost"),
    "too few": Text("太少，说不准", "too few to tell"),
    "not measured": Text("没有量", "not measured"),
}

ADVICE = {
    "loss": Text(
        "把 learning_rate 调到四分之一，或多准备些同类的数据",
        "a quarter of the learning_rate, or more rows of the same kind",
    ),
    "sense": Text(
        "少训练几轮，learning_rate 小一点，或换大一点的基座；写的时候试试 min_p=0.1 top_p=1 repetition_penalty=1",
        "fewer epochs, a lower learning_rate or a larger base; when it writes, min_p=0.1 top_p=1 repetition_penalty=1",
    ),
    "endings": Text(
        "learning_rate 小一点，多用结尾完整的数据（tonghua check 会指出没写完的行），或把 max_new_tokens 调大",
        "a lower learning_rate, more rows that end whole (tonghua check names those that do not), or a larger"
        " max_new_tokens",
    ),
    "knowledge": Text(
        "少训练几轮，learning_rate 或 lora_rank 小一点", "fewer epochs, a lower learning_rate or a lower lora_rank"
    ),
}
"""What to try if a line is lost."""

_SAME_SHARE = 0.005
"""Without an interval: a held-out loss that changes by less than this share counts as unchanged."""


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One line. `figure` and `change` are None if nothing was measured; `note` says why, or who read."""

    key: str
    judgement: Judgement
    figure: str | None
    change: Text | None
    note: Text | None

    @property
    def name(self) -> Text:
        """What the line asks."""
        return NAMES[self.key]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline, and the four lines in the order of `NAMES`."""

    headline: Text
    lines: tuple[VerdictLine, ...]
    is_better: bool

    def as_json(self) -> dict[str, Any]:
        """Return {"better", "headline": {"zh", "en"}, "lines": {name of the line: judgement}}."""
        judged = {line.key: line.judgement for line in self.lines}
        return {"better": self.is_better, "headline": self.headline._asdict(), "lines": judged}


def judge(evaluation: Mapping[str, Any]) -> Verdict:
    """Return the verdict on the figures of an evaluation. What is missing or of the wrong type was not measured."""
    lines = tuple(_line(key, found(evaluation, key)) for key in NAMES)
    by = {judged: [line for line in lines if line.judgement == judged] for judged in JUDGED}
    is_better = bool(by["gained"]) and not (by["lost"] or by["too few"] or by["not measured"])
    start = _start(by, is_better)
    parts = [_part(judged, by[judged]) for judged in JUDGED if by[judged] and judged != "same"]
    if is_better:
        parts.append(Text("没有一项变差", "none of the four got worse"))
    tries = [ADVICE[line.key] for line in by["lost"]]
    end = Text("", "")
    if tries:
        end = Text(
            "可以试试：" + "；".join(each.zh for each in tries) + "。", f" Try {'; '.join(t.en for t in tries)}."
        )
    zh, en = "；".join(each.zh for each in parts), "; ".join(each.en for each in parts)
    said = Text(f"{zh}。{end.zh}", f" {en[:1].upper()}{en[1:]}.{end.en}") if parts else Text("", "")
    return Verdict(Text(f"{start.zh}。{said.zh}", f"{start.en}.{said.en}"), lines, is_better)


def _start(by: Mapping[Judgement, list[VerdictLine]], is_better: bool) -> Text:
    if is_better:
        return Text("变好了", "Better")
    if by["lost"]:
        return Text("有得有失", "Gains and losses") if by["gained"] else Text("变差了", "Worse")
    if by["gained"]:
        return Text("有长进，但没有全量过", "Something was gained, but not everything is known")
    measured = by["same"] or by["too few"]
    return Text("没有明显变化", "No clear change") if measured else Text("还没有量过", "Not measured yet")


def _part(judged: Judgement, lines: list[VerdictLine]) -> Text:
    heads = {"gained": "变好的", "lost": "变差的", "too few": "太少、说不准的", "not measured": "没有量的"}
    names = Text("、".join(f"“{line.name.zh}”" for line in lines), ", ".join(line.name.en for line in lines))
    return Text(f"{heads[judged]}是{names.zh}", f"{JUDGED[judged].en}: {names.en}")


def _line(key: str, measured: Any) -> VerdictLine:
    before, after = number(measured, "base"), number(measured, "tuned")
    if before is None or after is None:
        zh, en = text(measured, "why", "zh"), text(measured, "why", "en")
        why = Text(zh or en, en or zh) if zh or en else Text("这次没有量", "not part of this evaluation")
        return VerdictLine(key, "not measured", None, None, why)
    is_share = key == "endings"
    change = after - before
    items, bounds = number(measured, "items") or 0, _interval(measured)
    figure = f"{_percent(before)} → {_percent(after)}" if is_share else f"{before:.3f} → {after:.3f}"
    if bounds is None or items < LEAST_ITEMS:
        few = Text(
            f"只有 {items:.0f} 个，{LEAST_ITEMS} 个起才说得准",
            f"only {items:.0f}; from {LEAST_ITEMS} on it can be told",
        )
        return VerdictLine(key, "too few", figure, _change(change, None, is_share), _noted(measured, few))
    shown_change = _change(change, bounds, is_share)
    # Of a share more is better, of a surprise less.
    worse = -1 if is_share or text(measured, "better") == "higher" else 1
    low, high = sorted(worse * bound for bound in bounds)
    judged: Judgement = "same"
    # `worse` is false if the reader finds the answers no odder than those of the rows: plain words are no loss.
    if abs(change) > TOLERANCE and low > 0 and found(measured, "worse") is not False:
        judged = "lost"
    elif abs(change) > TOLERANCE and high < 0:
        judged = "gained"
    return VerdictLine(key, judged, figure, shown_change, _noted(measured, None))


def _interval(measured: Any) -> tuple[float, float] | None:
    bounds = found(measured, "interval")
    if not isinstance(bounds, list) or len(bounds) != 2:
        return None
    low, high = (number({"bound": bound}, "bound") for bound in bounds)
    return None if low is None or high is None or low > high else (low, high)


def _noted(measured: Any, note: Text | None) -> Text | None:
    """Return the note of a line, with the reader's name before it and what the measuring said."""
    reader = shown(text(measured, "reader"), 80)
    notes = [Text(f"读者是 {reader}", f"read by {reader}")] if reader else []
    told = Text(text(measured, "note", "zh"), text(measured, "note", "en"))
    notes += [each for each in (told, note) if each is not None and each.zh and each.en]
    return Text("；".join(each.zh for each in notes), "; ".join(each.en for each in notes)) if notes else None


def _change(change: float, bounds: tuple[float, float] | None, is_share: bool) -> Text:
    written = _points if is_share else _signed
    unit = Text(" 个百分点", " points") if is_share else Text("", "")
    told = Text(f"{written(change)}{unit.zh}", f"{written(change)}{unit.en}")
    if bounds is None:
        return told
    low, high = map(written, bounds)
    return Text(f"{told.zh}（95% 区间 {low} 到 {high}）", f"{told.en} (95 % interval {low} to {high})")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _points(value: float) -> str:
    return f"{100 * value:+.0f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def headline(record: RunRecord) -> Text:
    """Return the headline of the run's evaluation; without one, a sentence on its held-out loss alone."""
    if record.evaluation:
        return judge(record.evaluation).headline
    before, best = record.before, record.best
    rest = Text("是否说得通、写得完，还没有量过。", "Whether it makes sense and ends has not been measured.")
    if before and best:
        change = best.loss / before.loss - 1 if before.loss > 0 else 0.0
        losses, percent = f"{before.loss:.3f} → {best.loss:.3f}", f"{100 * change:+.1f}".replace("-", "−")
        if abs(change) < _SAME_SHARE:
            verdict = Text("几乎没有变化", "It hardly changed")
        elif change < 0:
            verdict = Text("更贴近你的数据了", "It came closer to your rows")
        else:
            verdict = Text("没有更贴近你的数据", "It came no closer to your rows")
        return Text(
            f"{verdict.zh}：没学过的数据上，损失 {losses}（{percent}%）。{rest.zh}",
            f"{verdict.en}: the loss of rows it has not learned went {losses} ({percent} %). {rest.en}",
        )
    if best:
        return Text(
            f"没学过的数据上，损失最低到过 {best.loss:.3f}；训练前没有量过，无从比较。",
            f"The loss of rows it has not learned came down to {best.loss:.3f};"
            " it was not measured before training, so there is nothing to compare.",
        )
    if not record.steps:
        return Text("还没有训练过一步。", "No step has been trained yet.")
    if before or number(record.facts, "heldout"):
        return Text(
            "训练开始后还没有在没学过的数据上量过，不知道是否变好。",
            "Rows it has not learned have not been measured since training began; whether it got better is not known.",
        )
    course = [value for _, value in smooth(loss_points(record)) if value is not None]
    losses = f"{course[0]:.3f} → {course[-1]:.3f}" if course else "—"
    return Text(
        f"没有留出验证数据，看不出是否真的变好；训练损失 {losses}。",
        f"Nothing was held out, so whether it really got better cannot be seen; the training loss went {losses}.",
    )
