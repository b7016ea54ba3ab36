"""Relative L2 of every stage in the network's order: what is made there, and what is passed on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import NullLocator

from voxport.report.figures.canvas import SIZE, WIDTH, Canvas, Entry, text_width
from voxport.report.figures.numbers import power, short
from voxport.report.figures.palette import BAND, BLUE, FAINT, GREEN, INK, VERMILLION
from voxport.report.figures.sides import caption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["StageErrors", "draw", "group_of", "layer_of", "shortened", "stage_errors"]

MADE: dict[str, Any] = {"color": VERMILLION, "marker": "o", "markersize": 5, "linestyle": "none"}
PASSED: dict[str, Any] = {"color": BLUE, "marker": "s", "markersize": 3, "linewidth": 1.4}
LIMIT: dict[str, Any] = {"color": GREEN, "linestyle": (0, (6, 3)), "linewidth": 1.6}
LOST: dict[str, Any] = {"color": INK, "marker": "X", "markersize": 8, "linestyle": "none"}
WORST: dict[str, Any] = {
    "color": INK, "marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "none",
    "markeredgewidth": 1.6,
}  # fmt: skip
LAYERS = 16
"""So many numbers of layers have room below the axis."""
LOWEST = 1e-9
"""Smaller errors are shown as this one."""


@dataclass(frozen=True)
class StageErrors:
    """The worst of all windows; NaN where a value was not finite.

    Attributes:
        name: published path.
        made: relative L2 on the reference's inputs; None where no window has it.
        passed: with all that was passed on.
    """

    name: str
    made: float | None
    passed: float


def stage_errors(verify: dict[str, Any]) -> list[StageErrors]:
    """In the network's order."""
    made: dict[str, float] = {}
    passed: dict[str, float] = {}
    for window in verify["windows"]:
        for stage in window["stages"]:
            for found, metrics in ((made, stage["made"]), (passed, stage["passed"])):
                if metrics is not None:
                    lost = metrics["relative_l2"] is None or metrics["non_finite"]
                    value = math.nan if lost else metrics["relative_l2"]
                    before = found.get(stage["name"], 0.0)
                    found[stage["name"]] = value if math.isnan(value) or value > before else before
    return [StageErrors(name, made.get(name), value) for name, value in passed.items()]


def group_of(name: str, before: str) -> str:
    """ "encoder" or "decoder"; what names neither, a head, say, belongs to what stands before it."""
    return next((part for part in name.split(".") if part in ("encoder", "decoder")), before)


def layer_of(name: str) -> int | None:
    """The number of its layer; None outside of them."""
    parts = name.split(".")
    if "layers" not in parts[:-1]:
        return None
    number = parts[parts.index("layers") + 1]
    return int(number) if number.isdigit() else None


def shortened(name: str, most: int = 38) -> str:
    """A path without its "model.", and without what stands in the middle where it is still too long."""
    name = name.removeprefix("model.")
    if len(name) <= most:
        return name
    first, _, rest = name.partition(".")
    parts = rest.split(".")
    while len(parts) > 1 and len(first) + 3 + len(".".join(parts)) > most:
        parts.pop(0)
    return f"{first}.….{'.'.join(parts)}"


def draw(measured: Measurements, words: Language) -> Figure | None:
    """As `voxport.report.figures` says."""
    errors = stage_errors(measured.verify)
    if not errors:
        return None
    limit = _limit(measured)
    canvas = Canvas(444, words.figure("error_per_layer.title"))
    entries = [Entry(words.figure("passed"), PASSED), Entry(words.figure("made"), MADE)]
    if limit is not None:
        entries.append(Entry(words.figure("limit", dtype=measured.verify["candidate"]["dtype"]), LIMIT))
    lost = any(math.isnan(value) for one in errors for value in (one.made, one.passed) if value is not None)
    if lost:
        entries.append(Entry(words.figure("not_finite"), LOST))
    worst = _worst(errors)
    if worst is not None:
        label = words.figure("worst", stage=shortened(errors[worst[0]].name), value=short(worst[1]))
        entries.append(Entry(label, WORST))
    top = canvas.legend(entries) + 4
    axes = canvas.axes(62, top, WIDTH - 20, 384, grid="y")
    floor, ceiling = _span(errors, limit)
    axes.set_yscale("log")
    axes.set_ylim(floor, ceiling)
    axes.set_xlim(-0.8, len(errors) - 0.2)
    _exponents(axes, floor, ceiling, zero=any(0 in (one.made, one.passed) for one in errors))
    axes.plot(
        range(len(errors)), [_shown(one.passed, floor) for one in errors], gid="series-passed", **PASSED
    )  # fmt: skip
    own = [(place, one.made) for place, one in enumerate(errors) if one.made is not None]
    (points,) = axes.plot(
        [place for place, _ in own],
        [_shown(value, floor) for _, value in own],
        markeredgewidth=0,
        clip_on=False,
        **MADE,
    )
    points.set_gid("series-made")
    if limit is not None:
        axes.axhline(limit, gid="limit", **LIMIT)
    if lost:
        bad = [place for place, one in enumerate(errors) if math.isnan(one.passed) or _is_nan(one.made)]
        axes.plot(bad, [ceiling] * len(bad), clip_on=False, gid="not-finite", **LOST)
    if worst is not None:
        axes.plot(*worst, gid="worst", **WORST)
    _layers(canvas, axes, errors, words)
    looked = sum(bool(window["stages"]) for window in measured.verify["windows"])
    text = caption(measured, words, "error_per_layer.caption", looked=looked, stages=len(errors))
    return canvas.figure("error_per_layer", words, text)


def _limit(measured: Measurements) -> float | None:
    """What rounding alone may do in a stage."""
    from voxport.verify import limits

    return limits.STAGE.get(measured.verify["candidate"]["dtype"])


def _span(errors: Sequence[StageErrors], limit: float | None) -> tuple[float, float]:
    values = [value for one in errors for value in (one.made, one.passed) if value is not None and value >= LOWEST]
    values += [] if limit is None else [limit]
    low = min(values, default=LOWEST)
    high = max(values, default=1.0)
    exact = any(value is not None and value < LOWEST for one in errors for value in (one.made, one.passed))
    floor = 10.0 ** math.floor(math.log10(low) - (0.7 if exact else 0.1))
    return floor, max(high * 3, floor * 100)


def _shown(value: float, floor: float) -> float:
    return value if math.isnan(value) else max(value, floor)


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def _exponents(axes: Axes, floor: float, ceiling: float, *, zero: bool) -> None:
    """Powers of ten; the lower edge is where zeros lie."""
    exponents = range(math.ceil(math.log10(floor) - 1e-9), math.floor(math.log10(ceiling)) + 1)
    ticks = list(exponents)[:: max(1, len(exponents) // 7)]
    labels = [power(one) for one in ticks]
    if zero:
        labels[0] = "0"
    axes.set_yticks([10.0**one for one in ticks], labels)
    axes.yaxis.set_minor_locator(NullLocator())


def _worst(errors: Sequence[StageErrors]) -> tuple[int, float] | None:
    """Place and error of the stage that makes most; None where none makes any."""
    made = [(one.made, place) for place, one in enumerate(errors) if one.made is not None and one.made > 0]
    if not made:
        return None
    value, place = max(made)
    return place, value


def _layers(canvas: Canvas, axes: Axes, errors: Sequence[StageErrors], words: Language) -> None:
    """Where layers begin, by number; encoder and decoder below them, the decoder on a band."""
    groups: list[str] = []
    for one in errors:
        groups.append(group_of(one.name, groups[-1] if groups else "encoder"))
    numbers = [layer_of(one.name) for one in errors]
    starts = [
        place
        for place, number in enumerate(numbers)
        if number is not None and (place == 0 or (groups[place - 1], numbers[place - 1]) != (groups[place], number))
    ]
    step = math.ceil(len(starts) / LAYERS)
    shown = [place for place in starts if (numbers[place] or 0) % step == 0]
    axes.set_xticks([place - 0.5 for place in starts], ["" for _ in starts])
    left, right = 62, WIDTH - 20
    scale = (right - left) / (len(errors) + 0.6)
    last = -math.inf
    for place in shown:
        x = left + (place + 0.3) * scale
        if x - last >= 22:
            canvas.text(x, 402, str(numbers[place]), ha="center", color=FAINT, fontsize=SIZE - 1)
            last = x
    for index, (group, members) in enumerate(groupby(range(len(groups)), key=lambda place: groups[place])):
        places = list(members)
        if index % 2:
            axes.axvspan(places[0] - 0.5, places[-1] + 0.5, color=BAND, zorder=0, linewidth=0)
        label = words.figure(f"layers.{group}")
        middle = left + ((places[0] + places[-1]) / 2 + 0.8) * scale
        middle = min(max(middle, text_width(label) / 2), WIDTH - text_width(label) / 2)
        canvas.text(middle, 426, label, ha="center")
