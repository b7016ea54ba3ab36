"""Memory of the process, and of the candidate's device, while everything was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.report.figures.canvas import SIZE, WIDTH, Canvas, Entry, text_width
from voxport.report.figures.numbers import short
from voxport.report.figures.palette import BAND, BLUE, FAINT, GREEN, VERMILLION
from voxport.report.figures.sides import caption

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["draw", "series"]

STYLES: dict[str, dict[str, Any]] = {
    "host": {"color": BLUE, "linestyle": "-", "linewidth": 2},
    "reserved": {"color": GREEN, "linestyle": (0, (1.5, 1.5)), "linewidth": 2.2},
    "allocated": {"color": VERMILLION, "linestyle": (0, (6, 2)), "linewidth": 2},
}
LEFT, RIGHT = 66, WIDTH - 20


def series(memory: dict[str, Any]) -> dict[str, list[tuple[float, int]]]:
    """Name of `STYLES` -> (seconds, bytes) where they were counted; what never was is left out."""
    seconds = memory["points"]["seconds"]
    found = {
        name: [(x, y) for x, y in zip(seconds, memory["points"][name], strict=True) if y is not None] for name in STYLES
    }
    return {name: points for name, points in found.items() if points}


def draw(measured: Measurements, words: Language) -> Figure | None:
    """As `voxport.report.figures` says."""
    lines = {} if measured.memory is None else series(measured.memory)
    if measured.memory is None or not lines:
        return None
    largest = max(y for points in lines.values() for _, y in points)
    unit, divisor = ("GiB", 2**30) if largest >= 2**30 else ("MiB", 2**20)
    canvas = Canvas(436, words.figure("memory_over_time.title"))
    device = measured.memory["device"]
    entries = []
    for name, points in lines.items():
        peak = f"{short(max(y for _, y in points) / divisor)} {unit}"
        entries.append(Entry(words.figure(f"memory.{name}", device=device, peak=peak), STYLES[name]))
    top = canvas.legend(entries) + 18
    axes = canvas.axes(LEFT, top, RIGHT, 346, grid="y")
    end = max(x for points in lines.values() for x, _ in points)
    axes.set_xlim(0, end or 1)
    axes.set_ylim(0, largest / divisor * 1.12 or 1)
    for name, points in lines.items():
        (line,) = axes.plot([x for x, _ in points], [y / divisor for _, y in points], **STYLES[name])
        line.set_gid(f"series-{name}")
    _phases(canvas, axes, measured.memory["phases"], end, top, words)
    axes.set_xlabel(words.figure("memory_over_time.axis"), color=FAINT, fontsize=SIZE - 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} {unit}")
    text = caption(measured, words, "memory_over_time.caption")
    return canvas.figure("memory_over_time", words, text)


def _phases(canvas: Canvas, axes: Axes, phases: list[dict[str, Any]], end: float, top: float, words: Language) -> None:
    """Bands, every other one shaded, with numbers where there is room; what they stand for lies below."""
    x, y = float(LEFT), 400.0
    for index, phase in enumerate(phases):
        start = phase["start"]
        stop = phases[index + 1]["start"] if index + 1 < len(phases) else end
        if index % 2:
            axes.axvspan(start, stop, color=BAND, zorder=0, linewidth=0)
        left, right = (LEFT + (RIGHT - LEFT) * seconds / (end or 1) for seconds in (start, stop))
        if right - left >= SIZE - 3:
            canvas.text((left + right) / 2, top - 6, str(index + 1), fontsize=SIZE - 1, color=FAINT, ha="center")
        label = f"{index + 1}  " + words.figure(f"phase.{phase['name']}")
        width = text_width(label, SIZE - 1) + 14
        if x > LEFT and x + width > RIGHT + 14:
            x, y = float(LEFT), y + 20
        canvas.text(x, y, label, fontsize=SIZE - 1, color=FAINT)
        x += width
