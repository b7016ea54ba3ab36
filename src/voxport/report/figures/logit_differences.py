"""How large the differences of the logits are: shares of all of them, in bins of a quarter decade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from voxport.report.figures.canvas import SIZE, WIDTH, Canvas, Entry
from voxport.report.figures.numbers import power, short
from voxport.report.figures.palette import BLUE, FAINT, GREEN, INK, VERMILLION
from voxport.report.figures.sides import caption

if TYPE_CHECKING:
    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["Sum", "draw", "histogram_sum"]

BARS: dict[str, Any] = {"facecolor": BLUE, "edgecolor": "none"}
MARKS: dict[str, dict[str, Any]] = {
    "p50": {"color": INK, "linestyle": (0, (5, 2.5)), "linewidth": 1.6},
    "p99": {"color": GREEN, "linestyle": (0, (1.5, 1.5)), "linewidth": 2.2},
    "max": {"color": VERMILLION, "linestyle": "-", "linewidth": 1.8},
}


@dataclass(frozen=True)
class Sum:
    """The histograms of all windows that have one, added up.

    Attributes:
        edges: exponents of ten, one more than `counts`.
        counts, zero, below, above, non_finite: as `voxport.metrics.Histogram`.
        max_abs: the largest difference of all windows; None where one of them is not finite.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zero: int
    below: int
    above: int
    non_finite: int
    max_abs: float | None

    def total(self) -> int:
        return sum(self.counts) + self.zero + self.below + self.above + self.non_finite

    def quantile(self, share: float) -> float | None:
        """The difference that this share of the finite ones does not exceed, to a bin; None where that is no bin's."""
        wanted = share * (self.total() - self.non_finite) - self.zero - self.below
        if wanted <= 0:
            return None
        seen = np.cumsum(self.counts)
        place = int(np.searchsorted(seen, wanted))
        if place >= len(self.counts):
            return None
        before = seen[place] - self.counts[place]
        within = (wanted - before) / self.counts[place]
        return float(10 ** (self.edges[place] + within * (self.edges[place + 1] - self.edges[place])))


def histogram_sum(verify: dict[str, Any]) -> Sum | None:
    """None where no window has one."""
    windows = [one for one in verify["windows"] if one.get("logit_differences") is not None]
    if not windows:
        return None
    found = [one["logit_differences"] for one in windows]
    lowest, per_decade = found[0]["lowest"], found[0]["per_decade"]
    counts = np.sum([one["counts"] for one in found], axis=0).tolist()
    edges = tuple(lowest + index / per_decade for index in range(len(counts) + 1))
    largest = [one["logits"]["max_abs"] for one in windows]
    zero, below, above, non_finite = (
        sum(one[name] for one in found) for name in ("zero", "below", "above", "non_finite")
    )
    worst = None if None in largest else max(largest)
    return Sum(edges, tuple(counts), zero, below, above, non_finite, worst)


def draw(measured: Measurements, words: Language) -> Figure | None:
    """As `voxport.report.figures` says."""
    found = histogram_sum(measured.verify)
    if found is None:
        return None
    canvas = Canvas(380, words.figure("logit_differences.title"))
    marks = {"p50": found.quantile(0.5), "p99": found.quantile(0.99), "max": found.max_abs}
    shown = {name: value for name, value in marks.items() if value}
    entries = [Entry(words.figure("logit_differences.bars"), BARS, True)]
    entries += [Entry(words.figure(f"mark.{name}", value=short(value)), MARKS[name]) for name, value in shown.items()]
    top = canvas.legend(entries) + 4
    axes = canvas.axes(62, top, WIDTH - 20, 324, grid="y")
    first, last = _range(found)
    total = found.total()
    ticks: list[float] = list(range(first, last + 1))
    labels = [power(exponent) for exponent in range(first, last + 1)]
    for low, high, count in zip(found.edges[:-1], found.edges[1:], found.counts, strict=True):
        if count:
            (bar,) = axes.bar(low, count / total, high - low - 0.03, align="edge", linewidth=0, **BARS)
            bar.set_gid(f"bin-{low:g}")
    ends = [("zero", found.zero, first - 0.6, "0"), ("below", found.below, first - 1.2, f"<{power(first)}"),
            ("above", found.above, last + 0.6, f"≥{power(last)}"),
            ("non-finite", found.non_finite, last + 1.4, words.figure("not_finite"))]  # fmt: skip
    used = [(name, count, x, label) for name, count, x, label in ends if count]
    for name, count, x, label in used:
        (bar,) = axes.bar(x, count / total, 0.36, linewidth=1.2, facecolor="none", edgecolor=BLUE, hatch="////")
        bar.set_gid(f"bin-{name}")
        ticks, labels = [*ticks, x], [*labels, label]
    for name, value in shown.items():
        axes.axvline(float(np.log10(value)), gid=f"mark-{name}", **MARKS[name])
    places = [x for _, _, x, _ in used]
    axes.set_xlim(min([first - 0.1, *(x - 0.4 for x in places)]), max([last + 0.1, *(x + 0.5 for x in places)]))
    axes.set_xticks(ticks, labels)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.set_xlabel(words.figure("logit_differences.axis"), color=FAINT, fontsize=SIZE - 1)
    text = caption(
        measured, words, "logit_differences.caption",
        count=f"{total:,}", windows=sum(one.get("logit_differences") is not None for one in measured.verify["windows"]),
        exact=f"{100 * found.zero / total:.3g}",
        lost=f"{found.non_finite:,}",
    )  # fmt: skip
    return canvas.figure("logit_differences", words, text)


def _range(found: Sum) -> tuple[int, int]:
    """Whole decades that hold all bins in use; two at least."""
    used = [place for place, count in enumerate(found.counts) if count]
    if not used:
        return -7, -5
    first, last = found.edges[used[0]], found.edges[used[-1] + 1]
    low, high = int(np.floor(first)), int(np.ceil(last))
    return low, max(high, low + 2)
