"""What happens while work is done, as values: for a progress bar, a page, or nobody.

`training.events` adds those of a training run; `models.delivery.DownloadProgress` is that of a download.
"""

from dataclasses import dataclass

from .text import Text


@dataclass(frozen=True, slots=True)
class Doing:
    """Work of unknown length has begun; it lasts until the next event."""

    what: Text


@dataclass(frozen=True, slots=True)
class Counting:
    """Work of known length: `done` of `total` parts are done."""

    what: Text
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ReadingRows:
    """Rows of the dataset prepared so far."""

    rows: int


@dataclass(frozen=True, slots=True)
class Said:
    """A line for people."""

    text: Text


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that people should know: a skipped step, a checkpoint that was not written, a setting not needed."""

    kind: str
    text: Text


@dataclass(frozen=True, slots=True)
class Ended:
    """The work has ended, well or not: a bar can go."""
