"""The sweep as a picture: an SVG of our own, legible in light and in dark, that loads nothing."""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.bench.results import SCOPES, TITLES
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["sweep_svg"]

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 74, 200, 64, 56

STYLE = """\
svg { background: #fff; font: 13px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
text { fill: #1f2328; } .faint { fill: #59636e; } .grid { stroke: #d8dee4; } .axis { stroke: #59636e; }
.a { stroke: #0969da; fill: #0969da; } .b { stroke: #bc4c00; fill: #bc4c00; }
text.a, text.b { stroke: none; } path { fill: none !important; stroke-width: 2; } .dashed { stroke-dasharray: 6 4; }
.band { stroke: none; opacity: .18; } .title { font-size: 15px; font-weight: 600; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; } .grid { stroke: #2d333b; }
.axis { stroke: #9198a1; } .a { stroke: #58a6ff; fill: #58a6ff; } .b { stroke: #f0883e; fill: #f0883e; }
}"""


def sweep_svg(result: dict[str, Any]) -> str:
    """Milliseconds of a call over length or batch, both axes logarithmic: proportional cost is a line of slope 1.

    Raises:
        UsageError: nothing was swept.
    """
    sweep = result["sweep"]
    if sweep is None:
        raise UsageError("there is nothing to draw: the picture is of a sweep", hint="add --sweep length or batch")
    lines = _lines(result)
    xs = [point["x"] for point in sweep["points"]]
    ys = [y for line in lines for _, *values in line["points"] for y in values]
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    name = Path(result["sides"][0]["model"]["name"]).name
    title = f"{name}: milliseconds of a call over {sweep['unit']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        f'<text class="faint" x="{LEFT}" y="46">{escape(_subtitle(result))}</text>',
        *_grid(x_axis, y_axis, xs, sweep["unit"]),
        *_curves(lines, x_axis, y_axis),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _subtitle(result: dict[str, Any]) -> str:
    parts = []
    for side in result["sides"]:
        simulated = " (simulated: the CPU's times)" if side["simulated"] else ""
        parts.append(f"{side['label']} = {side['side']}{simulated}")
    iterations = result["sweep"]["iterations"]
    random = ", random weights" if any(side["model"]["random_weights"] for side in result["sides"]) else ""
    return f"{'; '.join(parts)}. Medians of {iterations}{random}"


def _lines(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each side and scope: label, class, exponent, and points of (x, median, low, high) in milliseconds."""
    found = []
    sweep = result["sweep"]
    for place, side in enumerate(result["sides"]):
        for scope in SCOPES:
            points = []
            for point in sweep["points"]:
                figure = point["sides"][side["label"]].get(scope)
                if figure is not None:
                    low, high = figure["interval"] or (figure["median"], figure["median"])
                    points.append((point["x"], *(1000 * value for value in (figure["median"], low, high))))
            if points:
                label = f"{side['label']} {TITLES[scope]}" if len(result["sides"]) > 1 else TITLES[scope]
                growth = sweep["growth"][side["label"]][scope]
                found.append(
                    {
                        "label": label if growth is None else f"{label}, slope {growth:.2f}",
                        "class": "ab"[place],
                        "dashed": scope == "end_to_end",
                        "points": points,
                    }
                )
    return found


class _Axis:
    """A logarithmic axis from `low` to `high` on the pixels from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        margin = max((math.log(high) - math.log(low)) * 0.05, 0.05)
        self._low, self._high = math.log(low) - margin, math.log(high) + margin
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log(value) - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten within; all three only where there is room."""
        powers = range(math.floor(self._low / math.log(10)) - 1, math.ceil(self._high / math.log(10)) + 1)
        found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        inside = [tick for tick in found if self._low <= math.log(tick) <= self._high]
        if len(inside) > 9:
            inside = [tick for tick in inside if math.isclose(math.log10(tick), round(math.log10(tick)))]
        return inside


def _grid(x_axis: _Axis, y_axis: _Axis, xs: Sequence[float], unit: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in y_axis.ticks():
        y = y_axis(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="faint" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
    for x in xs:
        yield f'<line class="grid" x1="{x_axis(x)}" x2="{x_axis(x)}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="faint" x="{x_axis(x)}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/>'
    yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(unit)}</text>'
    yield f'<text transform="translate(18 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">ms</text>'


def _curves(lines: Sequence[dict[str, Any]], x_axis: _Axis, y_axis: _Axis) -> Iterator[str]:
    """Bands of the 95 % intervals, lines, points, and each line's name at its end, moved apart where they meet."""
    names = _apart([y_axis(line["points"][-1][1]) for line in lines])
    for line, name_at in zip(lines, names, strict=True):
        kind = line["class"]
        points = [(x_axis(x), *(y_axis(y) for y in values)) for x, *values in line["points"]]
        around = [(x, low) for x, _, low, _ in points] + [(x, high) for x, _, _, high in reversed(points)]
        yield f'<polygon class="{kind} band" points="{" ".join(f"{x},{y}" for x, y in around)}"/>'
        path = " ".join(f"{'M' if place == 0 else 'L'}{x} {y}" for place, (x, y, _, _) in enumerate(points))
        yield f'<path class="{kind}{" dashed" if line["dashed"] else ""}" d="{path}"/>'
        for x, y, _, _ in points:
            yield f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"/>'
        yield f'<text class="{kind}" x="{points[-1][0] + 10}" y="{name_at + 4}">{escape(line["label"])}</text>'


def _apart(positions: Sequence[float], least: float = 17.0) -> list[float]:
    """The positions, moved down as far as needed for texts not to cover each other."""
    moved = list(positions)
    order = sorted(range(len(moved)), key=lambda place: moved[place])
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved
