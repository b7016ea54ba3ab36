"""The report's pictures: SVG that loads nothing, legible in light, in dark and in print, in the reader's own fonts.

- `canvas`: a sheet with axes, texts and legends at fixed places. `palette`: colours. `svg`: from matplotlib's.
- One file for each picture: ``draw`` gives a `Figure`, or None where its numbers were not measured.

matplotlib is imported when something is drawn, and nowhere else in voxport.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from voxport.errors import MissingDependencyError
from voxport.report.figures.figure import Figure
from voxport.report.language import language

if TYPE_CHECKING:
    from voxport.report.measurements import Measurements

__all__ = ["NAMES", "Figure", "figures", "require_matplotlib"]

NAMES = ("error_per_layer", "logit_differences", "latency", "speed_up", "rtf_over_length", "memory_over_time")
"""Of all figures, as the files in this folder are called."""


def require_matplotlib() -> None:
    """Without importing it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "figures are drawn with matplotlib, which is not installed",
            hint="pip install 'voxport[report]', or --no-figures",
        )


def figures(measured: Measurements, code: str) -> list[Figure]:
    """All that there are numbers for, in the order of `NAMES`, in one of `voxport.report.language.LANGUAGES`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from voxport.report.figures.canvas import drawing

    words = language(code)
    found = []
    with drawing():
        for name in NAMES:
            figure: Figure | None = import_module(f"{__name__}.{name}").draw(measured, words)
            if figure is not None:
                found.append(figure)
    return found
