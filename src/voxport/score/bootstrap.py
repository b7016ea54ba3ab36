"""How far a rate might lie from the one measured, had other clips of the same kind been recorded.

The percentile bootstrap over clips (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004): clips are drawn with replacement, as many as there are, and the pooled rate (sum of errors by
sum of units) of each draw makes the distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FEWEST", "LEVEL", "SMALL", "Interval", "interval", "paired_difference"]

LEVEL = 0.95
FEWEST = 10
"""With fewer clips (or speakers) there is no interval: it would say more about the drawing than about the model."""

SMALL = 30
"""With fewer the interval is known to be too narrow; reports mark it."""

_DRAWS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """Attributes:
    low, high: of the rate, 0.05 is 5 %.
    drawn: how many clips, or groups of clips, are drawn from.
    """

    low: float
    high: float
    drawn: int

    @property
    def small(self) -> bool:
        return self.drawn < SMALL


def interval(
    errors: Sequence[int], lengths: Sequence[int], *, resamples: int, seed: int, clusters: Sequence[str] | None = None
) -> Interval | None:
    """The interval of the pooled rate at `LEVEL`; None with too little to draw from, or without any error.

    Args:
        errors, lengths: of each clip, in units.
        resamples: how many draws; 0 = no interval.
        seed: the same seed gives the same interval.
        clusters: to which group (a speaker) each clip belongs; whole groups are drawn then, since clips of one speaker
            resemble each other and drawing them one by one would make the interval too narrow.
    """
    wrong = np.asarray(errors, dtype=np.int64)
    total = np.asarray(lengths, dtype=np.int64)
    if clusters is not None:
        _, group = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
        wrong = np.bincount(group, weights=wrong).astype(np.int64)
        total = np.bincount(group, weights=total).astype(np.int64)
    count = len(wrong)
    if resamples < 1 or count < FEWEST or not wrong.any():
        return None
    generator = np.random.default_rng(seed)
    rates = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // count)
    for begin in range(0, resamples, step):
        drawn = generator.integers(count, size=(min(step, resamples - begin), count))
        rates[begin : begin + len(drawn)] = wrong[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), count)


def paired_difference(
    first: Sequence[int], second: Sequence[int], lengths: Sequence[int], *, resamples: int, seed: int
) -> Interval | None:
    """The interval, at `LEVEL`, of the second pooled rate minus the first of two systems that heard the same clips.

    Both rates of a draw are of the same clips (the same article's paired test), so that clips which are hard for both
    don't hide a difference. None with too little to draw from, or without any error.

    Args:
        first, second: errors of each clip, in units.
        lengths: of each clip, in units.
        resamples: how many draws.
        seed: the same seed gives the same interval.
    """
    errors = np.asarray([first, second], dtype=np.int64)
    more, total = errors[1] - errors[0], np.asarray(lengths, dtype=np.int64)
    if resamples < 1 or len(total) < FEWEST or not errors.any():
        return None
    generator = np.random.default_rng(seed)
    differences = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // len(total))
    for begin in range(0, resamples, step):
        drawn = generator.integers(len(total), size=(min(step, resamples - begin), len(total)))
        differences[begin : begin + len(drawn)] = more[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(total))
