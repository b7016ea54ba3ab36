"""Every call's time, both sides, with quartiles: model only, and end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voxport.report.figures.canvas import LEFT, SIZE, WIDTH, Canvas, Entry
from voxport.report.figures.numbers import log_ticks, short
from voxport.report.figures.palette import FAINT, INK
from voxport.report.figures.sides import KEYS, STYLES, caption, side_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["calls", "draw"]

SCOPES = ("model", "end_to_end")
ROW = 46
WIDE = 8
"""Times that differ by more than this factor stand on a logarithmic axis."""


def calls(measured: Measurements, place: int, scope: str) -> list[float]:
    """Milliseconds of each call of a side, round after round."""
    rounds = measured.bench["sides"][place]["scopes"][scope]["rounds"]
    return [1e3 * seconds for one in rounds for seconds in one]


def draw(measured: Measurements, words: Language) -> Figure:
    """As `voxport.report.figures` says."""
    panel = 2 * ROW + 62
    canvas = Canvas(78 + 2 * panel, words.figure("latency.title"))
    entries = [
        Entry(side_label(measured, key, words), {**STYLES[key], "linestyle": "none", "markersize": 7}) for key in KEYS
    ]
    top = canvas.legend(entries) - 8
    for place, scope in enumerate(SCOPES):
        upper = top + place * panel + 28
        canvas.text(LEFT, upper - 8, words.figure(f"scope.{scope}"), fontweight="bold")
        axes = canvas.axes(LEFT, upper, WIDTH - 128, upper + 2 * ROW, grid="x")
        _panel(axes, [calls(measured, index, scope) for index in range(2)], scope)
        scale = "logarithmic" if axes.get_xscale() == "log" else "linear"
        axes.set_xlabel(words.figure(f"milliseconds.{scale}"), color=FAINT, fontsize=SIZE - 1)
        for index in range(2):
            median = float(np.median(calls(measured, index, scope)))
            y = upper + (index + 0.5) * ROW + 4
            canvas.text(WIDTH - 118, y, words.figure("median", value=short(median)))
    text = caption(
        measured, words, "latency.caption", times=True,
        iterations=measured.summary["options"]["iterations"], recordings=len(measured.summary["recordings"]),
    )  # fmt: skip
    return canvas.figure("latency", words, text)


def _panel(axes: Axes, both: list[list[float]], scope: str) -> None:
    everything = both[0] + both[1]
    low, high = min(everything), max(everything)
    if high > WIDE * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        ticks = log_ticks(low / 1.15, high * 1.15)
        axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        margin = 0.04 * (high - low) or 0.05 * high
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    for place, (key, values) in enumerate(zip(KEYS, both, strict=True)):
        spread = [place + 0.5 * ((0.618034 * index) % 1 - 0.5) for index in range(len(values))]
        (points,) = axes.plot(
            values, spread, linestyle="none", markersize=5, alpha=0.7, markeredgewidth=0, **STYLES[key]
        )
        points.set_gid(f"points-{scope}-{key}")
        lower, median, upper = np.percentile(values, [25, 50, 75])
        axes.plot(
            [lower, upper, upper, lower, lower],
            [place - 0.36, place - 0.36, place + 0.36, place + 0.36, place - 0.36],
            color=INK, linewidth=1.2,
        )  # fmt: skip
        (line,) = axes.plot([median, median], [place - 0.36, place + 0.36], color=INK, linewidth=3)
        line.set_gid(f"median-{scope}-{key}")
    axes.set_ylim(1.5, -0.5)
    axes.set_yticks([])
