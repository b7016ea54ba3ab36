"""How many times as fast the candidate is, as a whole and by stage, with 95 % intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import NullLocator

from voxport.report.figures.canvas import SIZE, WIDTH, Canvas, Entry
from voxport.report.figures.palette import BLUE, FAINT, INK, VERMILLION
from voxport.report.figures.sides import caption

if TYPE_CHECKING:
    from voxport.report.figures.figure import Figure
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["draw", "ratios"]

FASTER: dict[str, Any] = {"facecolor": BLUE, "edgecolor": BLUE}
SLOWER: dict[str, Any] = {"facecolor": "none", "edgecolor": VERMILLION, "hatch": "////"}
ROW = 34


def ratios(measured: Measurements) -> dict[str, dict[str, Any]]:
    """Scope or stage -> ``median`` and ``interval``; what noise spoiled is left out."""
    comparison = measured.bench["comparison"]
    found = {} if comparison is None else comparison["speed_up"]
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def draw(measured: Measurements, words: Language) -> Figure | None:
    """As `voxport.report.figures` says."""
    found = ratios(measured)
    if not found:
        return None
    canvas = Canvas(126 + ROW * len(found), words.figure("speed_up.title"))
    styles = {"faster": FASTER, "slower": SLOWER}
    there = {"faster" if ratio["median"] >= 1 else "slower" for ratio in found.values()}
    top = canvas.legend([Entry(words.figure(name), style, True) for name, style in styles.items() if name in there])
    axes = canvas.axes(206, top, WIDTH - 190, top + ROW * len(found), grid="x")
    ends = [1.0]
    for place, (name, ratio) in enumerate(found.items()):
        value, interval = ratio["median"], ratio["interval"]
        (bar,) = axes.barh(place, value - 1, left=1, height=0.56, linewidth=1.2, **(FASTER if value >= 1 else SLOWER))
        bar.set_gid(f"bar-{name}")
        low, high = (value, value) if interval is None else (interval["low"], interval["high"])
        ends += [value, low, high]
        shown = f"{value:.3g}×"
        if interval is not None:
            axes.errorbar(
                value, place, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], color=INK, capsize=5,
                elinewidth=1.6, capthick=1.6, linestyle="none",
            )  # fmt: skip
            shown += f" ({low:.3g}–{high:.3g})"
        y = top + (place + 0.5) * ROW + 4.5
        weight = "bold" if name in ("model", "end_to_end") else "normal"
        title = words.figure(f"scope.{name}") if weight == "bold" else words.label(f"stage.{name}")
        canvas.text(198, y, title, ha="right", fontweight=weight)
        canvas.text(WIDTH - 180, y, shown, fontweight=weight)
    _axis(axes, min(ends), max(ends), len(found))
    axes.set_xlabel(words.figure("speed_up.axis"), color=FAINT, fontsize=SIZE - 1)
    interval = any(ratio["interval"] is not None for ratio in found.values())
    text = caption(measured, words, "speed_up.caption", times=True, reference=measured.summary["reference"])
    if not interval:
        text += words.figure("between_sentences") + words.figure("speed_up.no_interval")
    return canvas.figure("speed_up", words, text)


def _axis(axes: Any, low: float, high: float, count: int) -> None:
    """Logarithmic: twice as fast is as far from 1 as half as fast."""
    first, last = min(low / 1.12, 1 / 1.25), max(high * 1.12, 1.25)
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    ticks = _ticks(first, last)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:.3g}×" for tick in ticks])
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks([])


def _ticks(first: float, last: float, most: int = 7) -> list[float]:
    """1, and as many of the finest steps around it as have room."""
    twos = [2.0**power for power in range(-12, 13)]
    halves = sorted([*twos[8:17], *(1.5 * two for two in twos[8:16])])
    tenths = [0.1 * place for place in range(3, 31)]
    for steps in (tenths, tenths[1::2], halves, twos, twos[::2], twos[::4]):
        inside = [one for one in steps if first <= one <= last]
        if first >= steps[0] and last <= steps[-1] and len(inside) <= most:
            return inside
    return inside
