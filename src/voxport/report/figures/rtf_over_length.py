"""Real-time factor over the length of a recording."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import NullLocator

from voxport.report.figures.canvas import SIZE, WIDTH, Canvas, Entry
from voxport.report.figures.numbers import log_ticks, short
from voxport.report.figures.palette import FAINT, INK
from voxport.report.figures.sides import KEYS, STYLES, caption, side_label

if TYPE_CHECKING:
    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["draw", "factors"]

SCOPES: dict[str, dict[str, Any]] = {
    "end_to_end": {"linestyle": "-", "markersize": 7},
    "model": {"linestyle": (0, (5, 3)), "markersize": 5},
}


def factors(measured: Measurements, place: int, scope: str) -> list[tuple[float, float, float, float]]:
    """(seconds of audio, RTF of the median call, ends of its 95 % interval) of each point where it was measured."""
    label = measured.bench["sides"][place]["label"]
    found = []
    for point in measured.bench["sweep"]["points"]:
        figure = point["sides"][label].get(scope)
        if figure is not None:
            low, high = figure["interval"] or (figure["median"], figure["median"])
            found.append((point["x"], *(seconds / point["x"] for seconds in (figure["median"], low, high))))
    return found


def draw(measured: Measurements, words: Language) -> Figure | None:
    """As `voxport.report.figures` says."""
    sweep = measured.bench["sweep"]
    if sweep is None or sweep["by"] != "length":
        return None
    lines = {
        (key, scope): points
        for place, key in enumerate(KEYS)
        for scope in SCOPES
        if (points := factors(measured, place, scope))
    }
    canvas = Canvas(420, words.figure("rtf_over_length.title"))
    line = {"markersize": 7, "linewidth": 2}
    entries = [Entry(side_label(measured, key, words), STYLES[key] | line) for key in KEYS]
    entries += [
        Entry(words.figure(f"scope.{scope}"), {"color": INK, "marker": "o", "linewidth": 2, **style})
        for scope, style in SCOPES.items()
        if any(scope == one for _, one in lines)
    ]
    top = canvas.legend(entries)
    axes = canvas.axes(62, top + 4, WIDTH - 24, 366)
    values = [value for points in lines.values() for _, *numbers in points for value in numbers]
    xs = sorted({x for points in lines.values() for x, *_ in points})
    low, high = min(values) / 1.3, max(values) * 1.3
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(xs[0] / 1.15, xs[-1] * 1.15)
    axes.set_ylim(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_xticks(xs, [f"{x:g}" for x in xs])
    ticks = log_ticks(low, high)
    axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    for (key, scope), points in lines.items():
        x, middle, lower, upper = zip(*points, strict=True)
        axes.plot(x, middle, gid=f"series-{scope}-{key}", linewidth=2, **STYLES[key] | SCOPES[scope])
        if any(not math.isclose(a, b) for a, b in zip(lower, upper, strict=True)):
            axes.vlines(x, lower, upper, color=STYLES[key]["color"], linewidth=1.4, alpha=0.6)
    if low < 1 < high:
        axes.axhline(1, color=INK, linewidth=1.2)
        axes.text(xs[-1] * 1.13, 1, words.figure("real_time"), ha="right", va="bottom", fontsize=SIZE - 1, color=INK)
    axes.set_xlabel(words.figure("rtf_over_length.axis"), color=FAINT, fontsize=SIZE - 1)
    lowest = min(middle for points in lines.values() for _, middle, _, _ in points)
    text = caption(measured, words, "rtf_over_length.caption", times=True, fastest=short(lowest))
    return canvas.figure("rtf_over_length", words, text)
