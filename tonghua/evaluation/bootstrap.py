"""A difference between base and tuned, with its confidence interval: a paired bootstrap over rows.

{"base": 3.31, "tuned": 2.80, "delta": -0.51, "interval": [-0.55, -0.47], "items": 50}    measured
{"why": {"zh": …, "en": …}}                                                               not measured
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..text import Text

CELLS_PER_CHUNK = 1_000_000
"""Maximum numbers per array that the bootstrap holds at once, about 8 MB each."""


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def difference(
    base: NDArray[Any], tuned: NDArray[Any], weights: NDArray[Any], groups: Sequence[Hashable]
) -> dict[str, Any]:
    """Return the means of base and tuned, their difference and its interval, as at the top of this file.

    Arguments as in `paired_bootstrap`. `items` is the number of groups; with one group there is no interval (None).
    If a loss is not finite, nothing was measured.
    """
    if not (np.isfinite(base).all() and np.isfinite(tuned).all()):
        return not_measured(Text("算出来的不是有限的数", "what was computed is not finite"))
    items, total = len(set(groups)), float(weights.sum())
    before, after = float(base.sum()) / total, float(tuned.sum()) / total
    interval = paired_bootstrap(base, tuned, weights, groups) if items > 1 else None
    return {
        "base": before,
        "tuned": after,
        "delta": after - before,
        "interval": None if interval is None else [interval.low, interval.high],
        "items": items,
    }


def not_measured(why: Text) -> dict[str, Any]:
    """Return what stands in place of a difference that was not measured."""
    return {"why": why._asdict()}


def paired_bootstrap(
    base: NDArray[Any],
    tuned: NDArray[Any],
    weights: NDArray[Any],
    groups: Sequence[Hashable],
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the 95 % interval of sum(tuned)/sum(weights) - sum(base)/sum(weights), in nats per target token.

    base, tuned: summed loss of each item (N,) under each model; weights: its number of target tokens, above 0.
    groups: one label per item. Parts of one row, and answers to one question, are not independent, so whole groups
    are drawn with replacement: percentile bootstrap (Efron & Tibshirani 1993, chapter 13) of a cluster sample. The same
    seed gives the same interval. Below about 20 groups the interval is too narrow.
    Raises DataError for fewer than two groups, ValueError for arrays of other shapes or with values out of range.
    """
    _check_items(base, tuned, weights, groups)
    places: dict[Hashable, int] = {}
    place = np.array([places.setdefault(group, len(places)) for group in groups])
    count = len(places)
    if count < 2:
        raise DataError(
            "只有一组题目，估计不出误差范围：请至少准备两个不同的问题",
            "one group of questions cannot show how far the result may vary: give at least two different questions",
        )
    # Differences first: paired, so what makes a question hard for both models cancels out. Sums need float64.
    difference = np.bincount(place, tuned.astype(np.float64) - base.astype(np.float64), count)
    tokens = np.bincount(place, weights.astype(np.float64), count)
    random = np.random.default_rng(seed)
    rows = max(1, CELLS_PER_CHUNK // count)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        drawn = random.integers(count, size=(min(rows, resamples - start), count))
        # A ratio of sums and not a mean of ratios: long answers weigh by their tokens, as in the point estimate.
        means[start : start + rows] = difference[drawn].sum(1) / tokens[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(low), float(high))


def _check_items(base: NDArray[Any], tuned: NDArray[Any], weights: NDArray[Any], groups: Sequence[Hashable]) -> None:
    expected = (len(groups),)
    for name, values in (("base", base), ("tuned", tuned), ("weights", weights)):
        if values.shape != expected:
            raise ValueError(f"{name} has shape {values.shape}, but there are {len(groups)} groups")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity")
    if not (weights > 0).all():
        raise ValueError("weights must be above 0")
