"""What happens while a run is trained, as values, and the union of all events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Config
from ..data.samples.prepare import Prepared
from ..data.samples.samples import Samples
from ..events import Counting, Doing, Ended, Happened, ReadingRows, Said
from ..models.delivery import DownloadProgress
from ..system.device import DevicePlace
from ..text import Text
from . import plan
from .progress import StepRecord


@dataclass(frozen=True, slots=True)
class Started:
    """Before the first step: what will be trained, on what, where; after how many steps it goes on."""

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
    """What the run will take, after its longest micro-batch was rehearsed."""

    estimate: plan.Estimate


@dataclass(frozen=True, slots=True)
class Evaluating:
    """So many of the held-out rows are measured."""

    done: int
    rows: int


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The held-out loss after `step` steps; `best` so far or not."""

    step: int
    loss: float
    best: bool


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
)
"""All that `on_event` may get."""

Tell = Callable[[Event], None]
