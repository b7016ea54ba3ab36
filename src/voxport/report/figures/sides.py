"""The two sides as all pictures show them, and what must be said of their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.report.figures.palette import BLUE, VERMILLION

if TYPE_CHECKING:
    from voxport.report.language import Language
    from voxport.report.measurements import Measurements

__all__ = ["KEYS", "STYLES", "caption", "side_label"]

KEYS = ("candidate", "reference")
"""In the order of bench's sides."""

STYLES: dict[str, dict[str, Any]] = {
    "candidate": {"color": BLUE, "marker": "o"},
    "reference": {"color": VERMILLION, "marker": "s"},
}


def side_label(measured: Measurements, key: str, words: Language) -> str:
    """Whether it is the candidate or the reference, and which side."""
    return words.figure(f"side.{key}", side=measured.summary[key])


def caption(measured: Measurements, words: Language, key: str, *, times: bool = False, **values: Any) -> str:
    """The sentence `key`, and behind it what must be said of simulated devices and random weights."""
    parts = [words.figure(key, **values)]
    for side in measured.bench["sides"]:
        if side["simulated"]:
            what = "simulated_times" if times else "simulated_numbers"
            parts.append(words.figure(what, side=side["side"]))
    if measured.summary["model"]["random_weights"]:
        parts.append(words.figure("random_weights"))
    return words.figure("between_sentences").join(parts)
