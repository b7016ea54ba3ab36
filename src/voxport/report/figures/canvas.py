"""A sheet on which axes, texts and legends stand at places given in pixels.

Nothing is laid out by the width of a text: that depends on the reader's fonts, and matplotlib's own have no Chinese.
Where a width is needed it is estimated, rather too wide.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Sheet
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D

from voxport.report.figures.figure import Figure
from voxport.report.figures.palette import FAINT, GRID, INK
from voxport.report.figures.svg import finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from voxport.report.language import Language

__all__ = ["LEFT", "SIZE", "WIDTH", "Canvas", "Entry", "drawing", "text_width"]

WIDTH = 720
LEFT = 16
"""Where titles and legends begin."""
SIZE = 13
"""Pixels of ordinary text, in a picture shown `WIDTH` wide."""

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "voxport",
    "hatch.linewidth": 1.2,
    "lines.scale_dashes": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib's settings are its defaults and ours, whatever a user has set; behind it, as they were."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # they are drawn in the reader's fonts
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # whose keys are literals to mypy, others in each version
        settings.update(SETTINGS)
        yield


def text_width(text: str, size: float = SIZE) -> float:
    """Pixels, roughly; not less than they take in common fonts."""
    return size * sum(1.0 if ord(letter) >= 0x2E80 else 0.55 for letter in text)


@dataclass(frozen=True)
class Entry:
    """A line of a legend.

    Attributes:
        label: what it says.
        style: of the line or marker beside it, as `matplotlib.lines.Line2D` takes it.
        filled: a patch instead, as `matplotlib.patches.Rectangle` takes it.
    """

    label: str
    style: dict[str, Any]
    filled: bool = False


class Canvas:
    """A sheet of `WIDTH` by `height` pixels with a title; y is counted from the top."""

    def __init__(self, height: int, title: str) -> None:
        self.height = height
        self.sheet = Sheet(figsize=(WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(self.sheet)
        self._pixels = Affine2D().scale(1, -1).translate(0, height)
        self.title = title
        self.text(LEFT, 26, title, fontsize=16, fontweight="bold")

    def axes(self, left: float, top: float, right: float, bottom: float, *, grid: str = "both") -> Axes:
        """Axes between these edges; `grid`: "x", "y" or "both"."""
        axes = self.sheet.add_axes(
            (left / WIDTH, 1 - bottom / self.height, (right - left) / WIDTH, (bottom - top) / self.height)
        )
        axes.set_facecolor("none")
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(FAINT)
        axes.tick_params(which="both", color=FAINT, labelcolor=FAINT, labelsize=SIZE - 1, length=4)
        axes.tick_params(which="minor", length=2)
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
        return axes

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Its base line at y."""
        looks: dict[str, Any] = {"fontsize": SIZE, "color": INK, "va": "baseline", **style}
        self.sheet.text(x, y, text, transform=self._pixels, parse_math=False, **looks)

    def legend(self, entries: Sequence[Entry], top: float = 48) -> float:
        """Side by side, as many lines as are needed; returns the y below."""
        x = float(LEFT)
        for entry in entries:
            width = 36 + text_width(entry.label) + 16
            if x > LEFT and x + width > WIDTH:
                x, top = float(LEFT), top + 21
            if entry.filled:
                self.sheet.add_artist(Rectangle((x + 4, top - 5), 22, 11, transform=self._pixels, **entry.style))
            else:
                line = Line2D([x + 1, x + 15, x + 29], [top, top, top], transform=self._pixels, **entry.style)
                line.set_markevery([1])
                self.sheet.add_artist(line)
            self.text(x + 36, top + 4.5, entry.label)
            x += width
        return top + 21

    def figure(self, name: str, words: Language, caption: str) -> Figure:
        """What was drawn."""
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.sheet.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        prefix = f"voxport-{name.replace('_', '-')}-{words.code}"
        svg = finished(buffer.getvalue(), prefix, self.title, caption, WIDTH, self.height)
        return Figure(name, self.title, caption, svg)
