"""Lengths of rows in tokens: minimum, median, maximum, and a histogram for a terminal."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...text import Language, Text

BINS = 10

BAR_CHARACTERS = 24
"""Maximum length of a bar. It fits into 80 columns even if █ is two columns wide."""


class Bin(NamedTuple):
    """The number of rows with `first` to `last` tokens, or with at least `first` if `last` is None."""

    first: int
    last: int | None
    rows: int

    @property
    def label(self) -> str:
        """The range of tokens as text: `1-200` or `> 1024`."""
        return f"> {self.first - 1}" if self.last is None else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows as the model reads them. A row longer than `max_length` counts in full."""

    max_length: int
    shortest: int
    median: int
    longest: int
    longer: int
    """Number of rows of more than `max_length` tokens."""
    tokens: int
    """Tokens that one epoch reads: those of all rows, and what the parts of split rows repeat."""
    targets: int
    """Tokens among them that are learned."""
    histogram: tuple[Bin, ...]

    def as_json(self) -> dict[str, int]:
        """Return all values but the histogram; all are tokens but `longer`, which counts rows."""
        return {
            "per_epoch": self.tokens,
            "targets_per_epoch": self.targets,
            "shortest": self.shortest,
            "median": self.median,
            "longest": self.longest,
            "max_length": self.max_length,
            "longer": self.longer,
        }

    def summary(self, language: Language) -> tuple[str, str]:
        """Return two lines: the lengths of the rows, and the tokens per epoch."""
        if self.longer:
            fits = Text(
                f"{self.longer} 条超过 max_length={self.max_length}",
                f"{self.longer} are longer than max_length={self.max_length}",
            )
        else:
            fits = Text(f"都在 max_length={self.max_length} 以内", f"all are within max_length={self.max_length}")
        spread = Text(
            f"长度：{self.shortest} 到 {self.longest} 个 token，一半的行不超过 {self.median} 个；{fits.zh}",
            f"lengths: {self.shortest} to {self.longest} tokens, half of the rows up to {self.median}; {fits.en}",
        )
        epoch = Text(
            f"每轮训练读 {self.tokens:,} 个 token，其中要学的有 {self.targets:,} 个",
            f"an epoch reads {self.tokens:,} tokens, of which {self.targets:,} are learned",
        )
        return spread.to(language), epoch.to(language)

    def lines(self, language: Language) -> list[str]:
        """Return `summary` for a terminal, with the histogram between its lines if some rows are too long."""
        spread, epoch = self.summary(language)
        return [spread, *(_bars(self.histogram) if self.longer else ()), epoch]


def measured_lengths(
    lengths: Sequence[int], targets: Sequence[int], max_length: int, epoch_tokens: int | None = None
) -> Lengths:
    """Return the statistics of `lengths`, the tokens per row, of which `targets` are learned.

    `epoch_tokens`: tokens that an epoch reads; None: those of the rows, as none is split.
    Raises ValueError if `lengths` is empty.
    """
    return Lengths(
        max_length,
        min(lengths),
        statistics.median_low(lengths),
        max(lengths),
        sum(length > max_length for length in lengths),
        sum(lengths) if epoch_tokens is None else epoch_tokens,
        sum(targets),
        _histogram(lengths, max_length),
    )


def _histogram(lengths: Sequence[int], max_length: int) -> tuple[Bin, ...]:
    """Return at most ten bins up to the longest row or `max_length`, and one more for longer rows."""
    longest = max(lengths)
    top = min(longest, max_length)
    step = _round_step(top / BINS)
    lasts = [*range(step, top, step), min(math.ceil(top / step) * step, max_length)]
    counts = [0] * (len(lasts) + 1)
    for length in lengths:
        counts[bisect_left(lasts, length)] += 1
    firsts = [1, *(last + 1 for last in lasts)]
    beyond = [None] if longest > max_length else []
    return tuple(map(Bin, firsts, [*lasts, *beyond], counts))


def _round_step(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50, ... that is at least `least`."""
    digits = int(10 ** (len(str(math.ceil(least))) - 1))
    return next(digit * digits for digit in (1, 2, 5, 10) if digit * digits >= least)


def _bars(histogram: Sequence[Bin]) -> Iterator[str]:
    """Yield one line for each bin. The bars come last because their width depends on the font."""
    labels = max(len(each.label) for each in histogram)
    most = max(each.rows for each in histogram)
    for each in histogram:
        bar = "█" * math.ceil(each.rows * BAR_CHARACTERS / most)
        yield f"{each.label:>{labels}}  {each.rows:>{len(str(most))}}  {bar}".rstrip()
