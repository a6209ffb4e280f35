"""How far a run is: what one step logs, what the next depends on, and what all of it came to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..text import Text

STATE, TENSORS = "state.json", "state.safetensors"

Note = Callable[[str, Text], None]
"""Told of what happened on the way: its kind, and a line for people."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step. `loss` and `grad_norm` are None where they were not finite, and the step was skipped."""

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
    """A step as the log has it, None where it is not one of this version's."""
    names = StepRecord.__dataclass_fields__
    return StepRecord(**{name: values[name] for name in names}) if names.keys() <= values.keys() else None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What `train --json` prints."""

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
    """Where a run stands, as a checkpoint keeps it."""

    step: int = 0
    samples: int = 0
    evaluated: bool = False  # whether the held-out loss after `step` is known, where it is due
    best_step: int = 0  # 0: none yet
    best_loss: float | None = None
    learning_rate_scale: float = 1.0  # halved once, when the loss would not stay finite
    skipped_in_a_row: int = 0
    good_step: int = 0  # the last checkpoint that was made while none was skipped
    tokens_per_micro_batch: int = 0
    recomputed_layers: int = 0
