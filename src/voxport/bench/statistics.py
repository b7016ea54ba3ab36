"""Figures that describe repeated measurements, and how sure they are.

A measurement is a list of *rounds*; a round holds the seconds of each call in it (one call for each batch of clips).
Rounds are what is resampled: the calls of one round share whatever the machine did just then.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Statistic = Callable[[Array], Array]
    """Rounds drawn anew, (resamples, rounds, calls) -> one figure each, (resamples,)."""

__all__ = [
    "BOOTSTRAP",
    "LEVEL",
    "PERCENTILES",
    "RESAMPLES",
    "STD",
    "Interval",
    "Ratio",
    "Summary",
    "bootstrap",
    "compare_paired",
    "compare_unpaired",
    "mean_interval",
    "median_interval",
    "relative_mad",
    "summarise",
]

LEVEL = 0.95
RESAMPLES = 5000
FEWEST_ROUNDS = 4
"""With fewer no interval is given: drawing three figures anew tells next to nothing."""
LARGEST = 20_000_000
"""Numbers that one resampling may hold at once."""

STD = "sample standard deviation (ddof = 1)"
PERCENTILES = "linear interpolation between order statistics (Hyndman and Fan's type 7, numpy's default)"
BOOTSTRAP = (
    f"percentile bootstrap over rounds, {RESAMPLES} resamples, percentiles expanded for small samples after Hesterberg "
    f"(2015): 2.5 % becomes the normal probability of -sqrt(n/(n-1)) t(0.975, n-1)"
)


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """Of all calls, in the unit of the measurement.

    Attributes:
        count: calls.
        mean, median, minimum, maximum: as they say; the median is P50.
        std: sample standard deviation, ddof = 1; None of one call.
        p90, p99: percentiles, see `PERCENTILES`. P99 of fewer than 100 calls lies between the two slowest.
        mean_interval, median_interval: 95 % intervals; None with fewer than four rounds.
    """

    count: int
    mean: float
    median: float
    std: float | None
    p90: float
    p99: float
    minimum: float
    maximum: float
    mean_interval: Interval | None = None
    median_interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """How many times as long one takes as another: above 1 the one that is divided by is faster.

    Attributes:
        median: exp of the median of log ratios (the median ratio, alike from either side).
        interval: of it; None with fewer than four rounds.
        of_means: ratio of the means, for throughput.
    """

    median: float
    interval: Interval | None
    of_means: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(rounds: Sequence[Sequence[float]], seed: int = 0) -> Summary:
    """Describe a measurement.

    Raises:
        ValueError: there is no call.
    """
    values = np.array([value for one in rounds for value in one], dtype=np.float64)
    if not values.size:
        raise ValueError("nothing was measured")
    p90, p99 = np.percentile(values, [90, 99])
    return Summary(
        count=int(values.size),
        mean=float(values.mean()),
        median=float(np.median(values)),
        std=float(values.std(ddof=1)) if values.size > 1 else None,
        p90=float(p90),
        p99=float(p99),
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean_interval=mean_interval(rounds, seed),
        median_interval=median_interval(rounds, seed),
    )


def mean_interval(rounds: Sequence[Sequence[float]], seed: int = 0) -> Interval | None:
    """The interval of the mean over all calls."""
    return bootstrap(rounds, lambda drawn: drawn.mean(axis=(1, 2)), seed)


def median_interval(rounds: Sequence[Sequence[float]], seed: int = 0) -> Interval | None:
    """The interval of the median over all calls."""
    return bootstrap(rounds, lambda drawn: np.median(drawn, axis=(1, 2)), seed)


def bootstrap(rounds: Sequence[Sequence[float]], statistic: Statistic, seed: int = 0) -> Interval | None:
    """The interval of a figure; see `BOOTSTRAP`. None with fewer than `FEWEST_ROUNDS` rounds.

    Args:
        rounds: equally many calls in each.
        statistic: see `Statistic`.
        seed: the same figures give the same interval.
    """
    values = np.asarray(rounds, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError("rounds of unequal lengths")
    count = len(values)
    if count < FEWEST_ROUNDS:
        return None
    return _interval(_resampled(values, statistic, np.random.default_rng(seed)), count)


def compare_paired(others: Sequence[float], ours: Sequence[float], seed: int = 0) -> Ratio:
    """`others` over `ours`, round by round: what disturbed a round disturbed both.

    Args:
        others, ours: one figure for each round, above 0.
        seed: of the resampling.
    """
    logs = np.log(np.asarray(others, dtype=np.float64)) - np.log(np.asarray(ours, dtype=np.float64))
    found = bootstrap([[one] for one in logs.tolist()], lambda drawn: np.median(drawn, axis=(1, 2)), seed)
    return Ratio(
        median=math.exp(float(np.median(logs))),
        interval=None if found is None else Interval(math.exp(found.low), math.exp(found.high)),
        of_means=float(np.mean(others) / np.mean(ours)),
    )


def compare_unpaired(others: Sequence[float], ours: Sequence[float], seed: int = 0) -> Ratio:
    """`others` over `ours` where they were measured in different runs: each is drawn anew by itself."""
    random = np.random.default_rng(seed)
    first, second = (np.log(np.asarray(values, dtype=np.float64)) for values in (others, ours))
    interval = None
    if min(len(first), len(second)) >= FEWEST_ROUNDS:
        drawn = [
            _resampled(values[:, None], lambda one: np.median(one, axis=(1, 2)), random) for values in (first, second)
        ]
        found = _interval(drawn[0] - drawn[1], min(len(first), len(second)))
        interval = Interval(math.exp(found.low), math.exp(found.high))
    return Ratio(
        median=math.exp(float(np.median(first) - np.median(second))),
        interval=interval,
        of_means=float(np.mean(others) / np.mean(ours)),
    )


def relative_mad(values: Sequence[float]) -> float:
    """Median absolute deviation over the median: a spread that a few slow calls don't move."""
    found = np.asarray(values, dtype=np.float64)
    median = float(np.median(found))
    return float(np.median(np.abs(found - median))) / median if median else 0.0


def _resampled(values: Array, statistic: Statistic, random: np.random.Generator) -> Array:
    """The statistic of `RESAMPLES` draws of the rounds in `values` (rounds, calls)."""
    count = len(values)
    at_once = max(1, LARGEST // values.size)
    pieces = []
    for start in range(0, RESAMPLES, at_once):
        draws = min(at_once, RESAMPLES - start)
        pieces.append(statistic(values[random.integers(0, count, (draws, count))]))
    return np.concatenate(pieces)


def _interval(estimates: Array, count: int) -> Interval:
    tail = expanded_tail(count)
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return Interval(float(low), float(high))


@cache
def expanded_tail(count: int) -> float:
    """The probability left out at either end so that the interval of `count` rounds is as wide as Student's.

    Plain percentiles are too narrow for few rounds. After T. Hesterberg, "What Teachers Should Know About the
    Bootstrap", The American Statistician 69 (2015), section 3.3.
    """
    quantile = student_quantile((1 + LEVEL) / 2, count - 1)
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * quantile)


def student_quantile(probability: float, freedom: int) -> float:
    """The value that a Student's t with `freedom` degrees stays below with this probability, above one half."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9 * (1 + low):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _student_cdf(value: float, freedom: int) -> float:
    """With t = sqrt(f) tan(a) the density becomes cos(a)^(f-1), which is summed by Gauss and Legendre's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    angle = math.atan(value / math.sqrt(freedom))
    return 0.5 + scale * angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
