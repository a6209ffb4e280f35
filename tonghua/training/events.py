"""What happens while a run is trained, as values: for a progress bar, for a page, or for nobody."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Config
from ..data.samples.prepare import Prepared
from ..data.samples.samples import Samples
from ..system.device import Place
from ..text import Text
from . import plan
from .progress import StepRecord


@dataclass(frozen=True, slots=True)
class ReadingRows:
    """So many rows have been prepared until now."""

    rows: int


@dataclass(frozen=True, slots=True)
class Doing:
    """Something that takes a while, until the next event."""

    what: Text


@dataclass(frozen=True, slots=True)
class Started:
    """Before the first step: what will be trained, on what, where; after how many steps it goes on."""

    config: Config
    ready: Prepared
    place: Place
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


@dataclass(frozen=True, slots=True)
class Happened:
    """Something out of the ordinary: a step skipped, a checkpoint that could not be written, ..."""

    kind: str
    text: Text


REHEARSING = Doing(Text("试算最长的一批", "trying the longest batch"))

Event = ReadingRows | Doing | Started | Planned | StepRecord | Evaluating | HeldOutLoss | Happened

Tell = Callable[[Event], None]
