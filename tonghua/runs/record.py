"""What a run has written about itself, read back: for its report, for the picture of its curves, for a list of runs.

    facts.json     what was known before the first step     ──► facts
    metrics.jsonl  what happened, a line for each           ──► steps, heldout, events
    samples.jsonl  the same prompts, answered on the way    ──► diary
    result.json    there once the run has reached its end   ──► result
    contract.json  there once an adapter has been kept      ──► contract
    config.yaml    what was asked for                       ──► config

A run may have been killed at any moment, and people copy and edit files: what is missing, half-written or of another
kind than expected counts as not there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..config.load import load
from ..config.schema import Config
from ..errors import UserError
from ..text import Text
from .folder import CONTRACT, FACTS, METRICS, RESULT, SAMPLES

LARGEST_NUMBER = 1e15
"""A number beyond this is none that a run writes; infinity and nan are beyond it too."""


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One step of `steps`; `loss` is None where it was not finite and the step was skipped."""

    step: int
    steps: float | None
    epoch: float | None
    loss: float | None
    learning_rate: float | None
    samples_per_s: float | None
    memory_gb: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class LoggedLoss:
    """The loss of the rows that are not trained on, after `step` steps; step 0 is the base."""

    step: int
    epoch: float | None
    loss: float


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Something out of the ordinary; `at` is a time as the run wrote it, or empty."""

    step: int
    at: str
    kind: str
    text: Text


@dataclass(frozen=True, slots=True)
class DiaryAnswer:
    """`whole` unless it was cut off at the limit of its length."""

    prompt: str
    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class DiaryEntry:
    """What the model answered after `step` steps; step 0 is the base."""

    step: int
    answers: tuple[DiaryAnswer, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run folder. Steps, held-out losses and diary each have one of a step, in the order of the steps."""

    folder: Path
    facts: Mapping[str, Any]
    steps: tuple[LoggedStep, ...]
    heldout: tuple[LoggedLoss, ...]
    events: tuple[LoggedEvent, ...]
    diary: tuple[DiaryEntry, ...]
    result: Mapping[str, Any]
    contract: Mapping[str, Any]
    config: Config | None

    @property
    def name(self) -> str:
        return self.folder.name or self.folder.resolve().name

    @property
    def finished(self) -> bool:
        return bool(self.result)

    @property
    def last_step(self) -> int:
        """How many steps have been done, skipped ones among them."""
        return self.steps[-1].step if self.steps else 0

    @property
    def total_steps(self) -> int | None:
        """How many steps there will be, if that is known."""
        total = self.steps[-1].steps if self.steps else number(self.facts, "steps")
        return None if total is None else max(int(total), self.last_step)

    @property
    def before(self) -> LoggedLoss | None:
        """The held-out loss of the base."""
        return self.heldout[0] if self.heldout and self.heldout[0].step == 0 else None

    @property
    def best(self) -> LoggedLoss | None:
        """The lowest held-out loss since training began."""
        return min((each for each in self.heldout if each.step > 0), key=lambda each: each.loss, default=None)


def read_record(run: Path) -> RunRecord:
    """Everything that is legible in a run folder; an empty record where there is nothing."""
    steps: list[LoggedStep] = []
    heldout: list[LoggedLoss] = []
    events: list[LoggedEvent] = []
    for line in read_lines(run / METRICS):
        if event := _event(line):
            events.append(event)
        elif measured := _heldout(line):
            heldout.append(measured)
        elif step := _step(line):
            steps.append(step)
    return RunRecord(
        folder=run,
        facts=_object(run / FACTS),
        steps=_one_per_step(steps),
        heldout=_one_per_step(heldout),
        events=tuple(events),
        diary=_one_per_step(filter(None, map(_entry, read_lines(run / SAMPLES)))),
        result=_object(run / RESULT),
        contract=_object(run / CONTRACT),
        config=_config(run / "config.yaml"),
    )


def found(values: Any, *keys: str) -> Any:
    """What stands under these keys, one inside the other, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def number(values: Any, *keys: str) -> float | None:
    """The number under these keys, or None."""
    value = found(values, *keys)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and -LARGEST_NUMBER < value < LARGEST_NUMBER else None


def text(values: Any, *keys: str) -> str:
    """The text under these keys, or an empty one."""
    value = found(values, *keys)
    return value if isinstance(value, str) else ""


_Line = Mapping[str, Any]

_Stepped = TypeVar("_Stepped", LoggedStep, LoggedLoss, DiaryEntry)


def _one_per_step(read: Iterable[_Stepped]) -> tuple[_Stepped, ...]:
    """In the order of their steps; of several of one step the one written last."""
    by_step = {each.step: each for each in read}
    return tuple(by_step[step] for step in sorted(by_step))


def read_lines(path: Path) -> Iterator[_Line]:
    """The objects of a file, one a line, without those that are not legible."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as opened:
        for line in opened:
            values = parsed(line)
            if values:
                yield values


def _object(path: Path) -> _Line:
    return parsed(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else {}


def parsed(written: str | bytes) -> dict[str, Any]:
    """The object that is written there; an empty one where there is none."""
    # Brackets nested a thousand deep are a RecursionError of the parser.
    try:
        values = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _config(path: Path) -> Config | None:
    try:
        return load(path).config
    except UserError:
        return None


def _at(line: _Line) -> int | None:
    step = number(line, "step")
    return None if step is None or step < 0 else int(step)


def _step(line: _Line) -> LoggedStep | None:
    step = _at(line)
    if step is None or "loss" not in line:
        return None
    return LoggedStep(
        step=step,
        steps=number(line, "steps"),
        epoch=number(line, "epoch"),
        loss=number(line, "loss"),
        learning_rate=number(line, "learning_rate"),
        samples_per_s=number(line, "samples_per_s"),
        memory_gb=number(line, "memory_gb"),
        seconds=number(line, "step_s"),
    )


def _heldout(line: _Line) -> LoggedLoss | None:
    step, loss = _at(line), number(line, "heldout_loss")
    return None if step is None or loss is None else LoggedLoss(step, number(line, "epoch"), loss)


def _event(line: _Line) -> LoggedEvent | None:
    kind = text(line, "event")
    if not kind:
        return None
    zh, en = text(line, "zh"), text(line, "en")
    return LoggedEvent(_at(line) or 0, text(line, "at"), kind, Text(zh or en or kind, en or zh or kind))


def _entry(line: _Line) -> DiaryEntry | None:
    step, answers = _at(line), found(line, "answers")
    if step is None or not isinstance(answers, list):
        return None
    return DiaryEntry(step, tuple(_answer(each) for each in answers if text(each, "prompt")))


def _answer(values: Any) -> DiaryAnswer:
    return DiaryAnswer(text(values, "prompt"), text(values, "text"), text(values, "stop") != "length")
