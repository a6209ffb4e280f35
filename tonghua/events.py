"""Events that report progress and messages of any work.

`training.events` adds those of a training run; `models.delivery.DownloadProgress` is that of a download.
"""

from dataclasses import dataclass

from .text import Text


@dataclass(frozen=True, slots=True)
class Doing:
    """Work of unknown length has started; it lasts until the next event."""

    what: Text


@dataclass(frozen=True, slots=True)
class Counting:
    """Work of known length: `done` of `total` parts are done."""

    what: Text
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ReadingRows:
    """Number of dataset rows prepared so far."""

    rows: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message for the user."""

    text: Text


@dataclass(frozen=True, slots=True)
class Happened:
    """A notice for the user: a skipped step, a checkpoint that was not written, an unnecessary setting."""

    kind: str
    text: Text


@dataclass(frozen=True, slots=True)
class Ended:
    """A piece of work has ended, well or not: its bar can go. Comes last, and may come before."""
