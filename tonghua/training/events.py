"""Events of a training run, and the union of all events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Config
from ..data.samples.prepare import Prepared
from ..data.samples.samples import Samples
from ..events import Counting, Doing, Ended, Happened, ReadingRows, Said
from ..models.delivery import DownloadProgress
from ..runs.verdict import Verdict
from ..system.device import DevicePlace
from ..text import Text
from . import plan
from .progress import StepRecord


@dataclass(frozen=True, slots=True)
class Started:
    """Sent before the first step: what is trained, on which rows, and where.

    `trainable` counts the values of the adapter, `parameters` those of the base. `done`: steps before a resume, else 0.
    """

    config: Config
    ready: Prepared
    place: DevicePlace
    plan: plan.Plan
    trainable: int
    parameters: int
    train: Samples
    heldout: Samples
    steps: int
    run: Path
    done: int


@dataclass(frozen=True, slots=True)
class Planned:
    """Estimate for the whole run, after a trial of its longest micro-batch."""

    estimate: plan.Estimate


@dataclass(frozen=True, slots=True)
class Evaluating:
    """Progress of an evaluation: `done` of `samples` held-out samples are measured."""

    done: int
    samples: int


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """Held-out loss after `step` steps, in nats per token. `best`: the lowest so far; the base at step 0 never is."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the run, at its end."""

    verdict: Verdict


REHEARSING = Doing(Text("试算最长的一批", "trying the longest batch"))

Event = (
    DownloadProgress
    | ReadingRows
    | Doing
    | Counting
    | Said
    | Happened
    | Ended
    | Started
    | Planned
    | StepRecord
    | Evaluating
    | HeldOutLoss
    | Judged
)
"""Every event that `on_event` may get."""

Tell = Callable[[Event], None]
