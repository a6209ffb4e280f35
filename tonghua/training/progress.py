"""Data of a run: the record of a step, the state that a checkpoint keeps, and the final figures."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..runs.checkpoint import Checkpoint
from ..text import Text

STATE, TENSORS = "state.json", "state.safetensors"

Note = Callable[[str, Text], None]
"""Takes the kind of an event and its text."""


def state_of(found: Checkpoint) -> dict[str, Any]:
    """Return what the trainer kept in a checkpoint beside its tensors. Raises OSError."""
    state: dict[str, Any] = json.loads(found.read(STATE))
    return state


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step. `loss` (nats per target) and `grad_norm` are None if they were not finite; then the step was skipped.

    `tokens` counts those that were read, with each shared prefix once; `targets` those that were learned.
    """

    step: int
    steps: int
    epoch: float
    loss: float | None
    grad_norm: float | None
    learning_rate: float
    samples: int
    tokens: int
    targets: int
    step_s: float
    samples_per_s: float
    remaining_s: float
    memory_gb: float


def step_record(values: Mapping[str, Any]) -> StepRecord | None:
    """Return the step that a log line holds, or None if a field of this version is missing."""
    names = StepRecord.__dataclass_fields__
    return StepRecord(**{name: values[name] for name in names}) if names.keys() <= values.keys() else None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Final figures of a run, as `train --json` prints them."""

    run: str
    steps: int
    samples: int
    train_loss: float
    heldout_loss: float | None
    samples_per_s: float
    peak_memory_gb: float
    trainable_parameters: int


@dataclass(slots=True)
class TrainingProgress:
    """State of a run that a checkpoint keeps in state.json."""

    step: int = 0
    samples: int = 0
    evaluated: bool = False  # True if the evaluation after `step` is done; False again with the next step
    best_step: int = 0  # 0: none yet
    best_loss: float | None = None
    learning_rate_scale: float = 1.0  # 0.5 after a rollback; it stays for the rest of the run
    skipped_in_a_row: int = 0
    good_step: int = 0  # the last checkpoint that follows no skipped step; kept for a rollback
    tokens_per_micro_batch: int = 0
    recomputed_layers: int = 0
