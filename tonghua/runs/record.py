"""Reads the files of a run back, for its report, its curves and the list of runs.

    facts.json       what was known before the first step     ──► facts
    metrics.jsonl    steps, held-out losses, events           ──► steps, heldout, events
    samples.jsonl    answers to the same prompts              ──► diary
    result.json      exists if the run has finished           ──► result
    evaluation.json  the last comparison of base and tuned    ──► evaluation
    contract.json    exists if an adapter has been published  ──► contract
    config.yaml      the settings                             ──► config

A run may be killed at any moment, and people copy and edit files. Data that is missing, incomplete or of the wrong
type counts as absent.
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
from .folder import CONTRACT, EVALUATION, FACTS, METRICS, RESULT, SAMPLES

LARGEST_NUMBER = 1e15
"""Numbers from this magnitude on count as absent, as do infinity and nan: no run writes them."""


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One step of `steps`; `loss` is None if it was not finite and the step was skipped."""

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
    """The held-out loss after `step` steps; step 0 is the base."""

    step: int
    epoch: float | None
    loss: float


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An unusual event; `at` is its time as the run wrote it, or empty."""

    step: int
    at: str
    kind: str
    text: Text


@dataclass(frozen=True, slots=True)
class DiaryAnswer:
    """An answer to a prompt; `whole` is False if it was cut off at the maximum length."""

    prompt: str
    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class DiaryEntry:
    """The answers of the model after `step` steps; step 0 is the base."""

    step: int
    answers: tuple[DiaryAnswer, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of a run folder. Steps, held-out losses and diary are in step order, with at most one per step."""

    folder: Path
    facts: Mapping[str, Any]
    steps: tuple[LoggedStep, ...]
    heldout: tuple[LoggedLoss, ...]
    events: tuple[LoggedEvent, ...]
    diary: tuple[DiaryEntry, ...]
    result: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    contract: Mapping[str, Any]
    config: Config | None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name or self.folder.resolve().name

    @property
    def is_finished(self) -> bool:
        """True if the run has a readable result.json."""
        return bool(self.result)

    @property
    def last_step(self) -> int:
        """The number of steps done, including skipped ones."""
        return self.steps[-1].step if self.steps else 0

    @property
    def total_steps(self) -> int | None:
        """The number of steps of the whole run, or None if unknown."""
        total = self.steps[-1].steps if self.steps else number(self.facts, "steps")
        return None if total is None else max(int(total), self.last_step)

    @property
    def before(self) -> LoggedLoss | None:
        """The held-out loss of the base, or None."""
        return self.heldout[0] if self.heldout and self.heldout[0].step == 0 else None

    @property
    def best(self) -> LoggedLoss | None:
        """The lowest held-out loss after step 0, or None."""
        return min((each for each in self.heldout if each.step > 0), key=lambda each: each.loss, default=None)


def read_record(run: Path) -> RunRecord:
    """Return everything that can be read in a run folder; the record is empty if there is nothing."""
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
        evaluation=_object(run / EVALUATION),
        contract=_object(run / CONTRACT),
        config=_config(run / "config.yaml"),
    )


def found(values: Any, *keys: str) -> Any:
    """Return the value under these nested keys, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def number(values: Any, *keys: str) -> float | None:
    """Return the number under these nested keys if it is smaller in magnitude than `LARGEST_NUMBER`, else None."""
    value = found(values, *keys)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and -LARGEST_NUMBER < value < LARGEST_NUMBER else None


def text(values: Any, *keys: str) -> str:
    """Return the text under these nested keys, or ""."""
    value = found(values, *keys)
    return value if isinstance(value, str) else ""


_Line = Mapping[str, Any]

_Stepped = TypeVar("_Stepped", LoggedStep, LoggedLoss, DiaryEntry)


def _one_per_step(read: Iterable[_Stepped]) -> tuple[_Stepped, ...]:
    """Return the items in step order; of several with the same step, the last one."""
    by_step = {each.step: each for each in read}
    return tuple(by_step[step] for step in sorted(by_step))


def read_lines(path: Path) -> Iterator[_Line]:
    """Yield the non-empty JSON objects of a file, one per line; lines that cannot be parsed are skipped."""
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
    """Return the JSON object in this text, or {} if there is none."""
    # Deeply nested brackets raise RecursionError in the parser.
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
