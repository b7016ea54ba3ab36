"""How far two arrays of numbers are apart, under the names that the field uses. numpy only.

Elements are float32, and so are the sums over PIECE of them; the sums over pieces are float64.

r is the reference's value, c the candidate's, d = c - r; sums and means run over all elements unless said otherwise.
Elements that are not finite on either side are counted (`non_finite`) and left out of everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

__all__ = [
    "DEFINITIONS",
    "EPSILON",
    "SMALL",
    "Histogram",
    "Sums",
    "distance",
    "histogram",
    "probability_distance",
    "softmax",
]

EPSILON = 1e-12
"""Added to a divisor that can be 0."""

SMALL = 1e-6
"""Reference values smaller than this have no relative error: they are left out of it, not divided by."""

DEFINITIONS: dict[str, str] = {
    "max_abs": "max |d|",
    "mean_abs": "mean |d| (MAE)",
    "rmse": "sqrt(mean d^2)",
    "relative_l2": f"sqrt(sum d^2 / (sum r^2 + {EPSILON:g})); no element that is near 0 can blow it up",
    "cosine": "sum(c r) / sqrt(sum c^2 sum r^2), 1 of two zeros, 0 of one; blind to a common factor, and .9999 "
    "coexists with other words",
    "mean_relative": f"mean of |d| / |r| over elements with |r| > {SMALL:g} (MAPE as a fraction); grows without bound "
    "where r is near 0",
    "max_relative": f"max of |d| / |r| over elements with |r| > {SMALL:g}",
    "over_thousandth": "share of elements with |d| / |r| > 1e-3, |r| taken as at least the dtype's small value "
    "(double-thousandth passes below 1e-3)",
    "over_hundredth": "as over_thousandth, with 1e-2 (double-hundredth passes below 1e-2)",
    "over_ten_thousandth": "as over_thousandth, with 1e-4 (double-ten-thousandth passes below 1e-4)",
    "cann_matched": "share of elements with |d| <= atol + rtol |r|, by CANN's operator standard for the dtype",
    "cann_beyond": "elements with |d| > max(floor, 32 units in the last place of r), by the same standard",
    "non_finite": "elements that are NaN or infinite on either side",
    "max_magnitude": "max |c|: 65,504 is where float16 ends",
    "reference_magnitude": "max |r|",
    "max_probability": "max |softmax(c) - softmax(r)| over all positions and tokens",
    "kl": "mean over positions of sum softmax(r) (log softmax(r) - log softmax(c)), in nats",
    "top1": "share of positions whose likeliest token is the same on both sides",
    "margin": "the reference's logit of its likeliest token minus that of its second: how sure it was",
    "token_match": "1 - edit distance of the decoded tokens / tokens of the longer side",
    "sequence_match": "whether all decoded tokens are equal",
    "wer": "word edit distance of the candidate's text against the reference's / its words, lower case, no punctuation",
    "cer": "as wer, by character",
}
"""Name -> definition."""

SMALL_VALUES = {"float32": 2.0**-14, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Below it an element's relative error is taken of this value, by dtype (msprobe's)."""


CANN = {"float32": (2.0**-10, 2.0**-16, 0.01), "float16": (2.0**-9, 2.0**-9, 0.1), "bfloat16": (2.0**-6, 2.0**-6, 1.0)}
"""rtol, atol and floor of CANN's operator standard (ops_precision_standard, 2026), by dtype."""

MANTISSA = {"float32": 23, "float16": 10, "bfloat16": 7}


PIECE = 1 << 15
"""Elements that are worked on at once: they stay in a processor's cache."""


@dataclass
class Sums:
    """What the metrics are made of; arrays can be added piece by piece, so that no whole has to be held.

    Attributes:
        dtype: of the candidate; decides the small value of the shares.
    """

    dtype: str = "float32"
    count: int = 0
    non_finite: int = 0
    max_abs: float = 0.0
    max_relative: float = 0.0
    max_magnitude: float = 0.0
    reference_magnitude: float = 0.0
    sum_abs: float = 0.0
    sum_squares: float = 0.0
    reference_squares: float = 0.0
    candidate_squares: float = 0.0
    excess: float = 0.0  # sum of (c - r) (c + r)
    sum_relative: float = 0.0
    relatives: int = 0
    matched: int = 0
    beyond: int = 0
    over: dict[float, int] = field(default_factory=lambda: {1e-2: 0, 1e-3: 0, 1e-4: 0})

    def add(self, candidate: Array, reference: Array) -> Sums:
        """Take in arrays of one shape; returns itself.

        Raises:
            ValueError: their shapes differ.
        """
        if candidate.shape != reference.shape:
            raise ValueError(f"shapes differ: {candidate.shape} and {reference.shape}")
        c = np.ascontiguousarray(candidate, dtype=np.float32).reshape(-1)
        r = np.ascontiguousarray(reference, dtype=np.float32).reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            for begin in range(0, c.size, PIECE):
                self._add(c[begin : begin + PIECE], r[begin : begin + PIECE])
        return self

    def _add(self, c: NDArray[np.float32], r: NDArray[np.float32]) -> None:
        self.reference_magnitude = max(self.reference_magnitude, float(r.max()), -float(r.min()))
        candidate_squares, reference_squares = _dot(c, c), _dot(r, r)
        if not math.isfinite(candidate_squares + reference_squares):
            finite = np.isfinite(c) & np.isfinite(r)
            self.non_finite += int(c.size - np.count_nonzero(finite))
            c, r = c[finite], r[finite]
            candidate_squares, reference_squares = _dot(c, c), _dot(r, r)
        if not c.size:
            return
        self.count += c.size
        self.candidate_squares += candidate_squares
        self.reference_squares += reference_squares
        self.max_magnitude = max(self.max_magnitude, float(c.max()), -float(c.min()))
        size = np.abs(r)
        large = size > SMALL
        relatives = int(np.count_nonzero(large))
        self.relatives += relatives
        d = c - r
        self.excess += _dot(d, c + r)
        np.abs(d, out=d)
        largest = float(d.max())
        if largest == 0.0:
            self.matched += c.size
            return
        self.max_abs = max(self.max_abs, largest)
        self.sum_abs += float(d.sum(dtype=np.float64))
        self.sum_squares += _dot(d, d)
        self._add_shares(d, size, largest)
        if relatives:
            relative = np.divide(d, size, out=np.zeros_like(d), where=large)
            self.sum_relative += float(relative.sum(dtype=np.float64))
            self.max_relative = max(self.max_relative, float(relative.max()))

    def _add_shares(self, d: NDArray[np.float32], size: NDArray[np.float32], largest: float) -> None:
        """How many elements are beyond limits; d = |c - r|, size = |r|."""
        rtol, atol, floor = CANN[self.dtype]
        self.matched += int(np.count_nonzero(d <= np.float32(atol) + np.float32(rtol) * size))
        if largest > floor:
            _, exponent = np.frexp(size)
            last_place = np.ldexp(np.float32(1.0), exponent - 1 - MANTISSA[self.dtype])
            self.beyond += int(np.count_nonzero(d > np.maximum(np.float32(floor), 32 * last_place)))
        floored = d / np.maximum(size, np.float32(SMALL_VALUES[self.dtype]))
        for limit in self.over:
            if largest / SMALL_VALUES[self.dtype] > limit:
                self.over[limit] += int(np.count_nonzero(floored > limit))

    def metrics(self) -> dict[str, float]:
        """By the names of `DEFINITIONS`; those of no element at all are NaN."""
        if not self.count:
            names = ("max_abs", "mean_abs", "rmse", "relative_l2", "cosine", "mean_relative", "max_relative")
            shares = (
                "over_hundredth",
                "over_thousandth",
                "over_ten_thousandth",
                "max_magnitude",
                "cann_matched",
                "cann_beyond",
            )
            known = {"non_finite": float(self.non_finite), "reference_magnitude": self.reference_magnitude}
            return {**dict.fromkeys((*names, *shares), math.nan), **known}
        return {
            "max_abs": self.max_abs,
            "mean_abs": self.sum_abs / self.count,
            "rmse": math.sqrt(self.sum_squares / self.count),
            "relative_l2": math.sqrt(self.sum_squares / (self.reference_squares + EPSILON)),
            "cosine": self._cosine(),
            "mean_relative": self.sum_relative / self.relatives if self.relatives else 0.0,
            "max_relative": self.max_relative,
            "over_hundredth": self.over[1e-2] / self.count,
            "over_thousandth": self.over[1e-3] / self.count,
            "over_ten_thousandth": self.over[1e-4] / self.count,
            "cann_matched": self.matched / self.count,
            "cann_beyond": float(self.beyond),
            "max_magnitude": self.max_magnitude,
            "reference_magnitude": self.reference_magnitude,
            "non_finite": float(self.non_finite),
        }

    def _cosine(self) -> float:
        """By the law of cosines, so that what is nearly 1 keeps its digits."""
        ours, theirs = math.sqrt(self.candidate_squares), math.sqrt(self.reference_squares)
        if self.sum_squares == 0:
            return 1.0
        if not ours or not theirs:
            return 0.0
        longer = self.excess / (ours + theirs)
        return 1.0 - (self.sum_squares - longer * longer) / (2 * ours * theirs)


def _dot(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    return float(x @ y)


def distance(candidate: Array, reference: Array, dtype: str = "float32") -> dict[str, float]:
    """All metrics of two arrays of one shape."""
    return Sums(dtype).add(candidate, reference).metrics()


@dataclass(frozen=True)
class Histogram:
    """How many elements have which |d|, in bins whose edges are always the same: those of windows can be added up.

    Bin i of `counts` holds ``10 ** (LOWEST + i / PER_DECADE) <= |d| < 10 ** (LOWEST + (i + 1) / PER_DECADE)``, edges to
    within the rounding of a float32 logarithm. All six sum to the number of elements.

    Attributes:
        lowest: exponent of ten of the first edge.
        per_decade: bins in a factor of ten.
        counts: of each bin.
        zero: elements with d = 0.
        below, above: elements below the first edge, or not below the last one.
        non_finite: elements that are NaN or infinite on either side.
    """

    lowest: int
    per_decade: int
    counts: tuple[int, ...]
    zero: int
    below: int
    above: int
    non_finite: int


LOWEST, HIGHEST, PER_DECADE = -9, 3, 4
"""Of a `Histogram`: exponents of ten of its first and last edge, and bins in a factor of ten."""


def histogram(candidate: Array, reference: Array) -> Histogram:
    """Of |c - r| over all elements of two arrays of one shape.

    Raises:
        ValueError: their shapes differ.
    """
    if candidate.shape != reference.shape:
        raise ValueError(f"shapes differ: {candidate.shape} and {reference.shape}")
    c = np.ascontiguousarray(candidate, dtype=np.float32).reshape(-1)
    r = np.ascontiguousarray(reference, dtype=np.float32).reshape(-1)
    bins = (HIGHEST - LOWEST) * PER_DECADE
    counts = np.zeros(bins + 2, dtype=np.int64)  # with one bin more at either end
    zero = non_finite = 0
    for begin in range(0, c.size, PIECE):
        with np.errstate(over="ignore", invalid="ignore"):
            d = np.abs(c[begin : begin + PIECE] - r[begin : begin + PIECE])
        fine = np.isfinite(c[begin : begin + PIECE]) & np.isfinite(r[begin : begin + PIECE])
        non_finite += int(d.size - np.count_nonzero(fine))
        other = d[fine & (d > 0)]
        zero += int(np.count_nonzero(fine)) - other.size
        # a difference of two finite numbers may overflow: it is above the last edge
        places = np.floor((np.log10(other) - LOWEST) * PER_DECADE).clip(-1, bins).astype(np.int64) + 1
        counts += np.bincount(places, minlength=bins + 2)
    below, *inside, above = counts.tolist()
    return Histogram(LOWEST, PER_DECADE, tuple(inside), zero, below, above, non_finite)


def softmax(logits: Array) -> NDArray[np.float64]:
    """Probabilities along the last axis, float64."""
    values: NDArray[np.float64] = logits.astype(np.float64)
    values = values - values.max(axis=-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=-1, keepdims=True)
    return values


def probability_distance(candidate: Array, reference: Array) -> dict[str, float]:
    """What the logits (T, V) mean for the next token: ``max_probability``, ``kl``, ``top1``.

    Positions with a value that is not finite are left out; without any left all are NaN.
    """
    fine = np.isfinite(candidate).all(axis=-1) & np.isfinite(reference).all(axis=-1)
    if not fine.any():
        return {"max_probability": math.nan, "kl": math.nan, "top1": math.nan}
    p, q = softmax(reference[fine]), softmax(candidate[fine])
    tiny = np.finfo(np.float64).tiny
    kl = (p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny)))).sum(axis=-1)
    same = p.argmax(axis=-1) == q.argmax(axis=-1)
    return {"max_probability": float(np.abs(p - q).max()), "kl": float(kl.mean()), "top1": float(same.mean())}
