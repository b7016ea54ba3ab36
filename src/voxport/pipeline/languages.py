"""Which language is spoken: in a recording, by its first windows, or in each window on its own."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from voxport.types import LANGUAGE_DETECTION_SEGMENTS
from voxport.windows import CutOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voxport.types import Segment

CERTAIN = 0.5
"""A window in which no language is this probable is decoded in that of the window before it: of a word or two, the
likeliest is seldom the right one then (benchmarks/languages.py)."""

PER_WINDOW_SECONDS = 20.0
"""Longest window where each has its own language: what is longer more often holds two (benchmarks/languages.py), what
is shorter gives a model less context."""

LIKELIEST = 5
"""Languages whose probabilities a transcript tells."""


def per_window_cut(seconds: float = PER_WINDOW_SECONDS) -> CutOptions:
    """How a recording is cut where each window has its own language: at the longest pauses, people take turns there."""
    return CutOptions(max_seconds=seconds, min_seconds=seconds / 4)


@dataclass(frozen=True)
class DetectionOptions:
    """How the language is found where none is given.

    Attributes:
        segments: windows at the recording's beginning whose probabilities are averaged.
        per_window: decode each window in its own language.
    """

    segments: int = LANGUAGE_DETECTION_SEGMENTS
    per_window: bool = False


class LanguageEvidence:
    """Probabilities of languages, averaged over windows by their seconds of speech.

    Attributes:
        windows: how many there were.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._seconds = 0.0
        self._lock = Lock()
        self.windows = 0

    def add(self, probabilities: dict[str, float], seconds: float) -> None:
        """Take a window into account, which holds so much speech."""
        weight = max(seconds, 0.01)
        with self._lock:
            self.windows += 1
            self._seconds += weight
            for code, probability in probabilities.items():
                self._sums[code] = self._sums.get(code, 0.0) + weight * probability

    def join(self, other: LanguageEvidence) -> None:
        """Take the windows of another into account, e.g. of another channel."""
        with self._lock:
            self.windows += other.windows
            self._seconds += other._seconds
            for code, total in other._sums.items():
                self._sums[code] = self._sums.get(code, 0.0) + total

    def probabilities(self) -> dict[str, float]:
        """Code -> probability, the likeliest first; empty before the first window."""
        ranked = sorted(self._sums.items(), key=lambda item: -item[1])
        return {code: total / self._seconds for code, total in ranked}

    def language(self) -> str | None:
        """The likeliest; None before the first window."""
        return likeliest(self._sums) if self._sums else None


def likeliest(probabilities: dict[str, float]) -> str:
    """The code of the likeliest language."""
    return max(probabilities, key=probabilities.__getitem__)


def window_language(probabilities: dict[str, float], before: str | None) -> str:
    """In which language a window is decoded on its own: its likeliest, or where none is certain that `before` it."""
    best = likeliest(probabilities)
    return before if before is not None and probabilities[best] < CERTAIN else best


def most_spoken(segments: Iterable[Segment]) -> str | None:
    """The language of most seconds; None where no segment names one."""
    seconds = spoken_seconds(segments)
    return likeliest(seconds) if seconds else None


def spoken_seconds(segments: Iterable[Segment]) -> dict[str, float]:
    """Code -> seconds of the segments in that language, in the order in which they are first heard."""
    seconds: dict[str, float] = {}
    for segment in segments:
        if segment.language is not None:
            seconds[segment.language] = seconds.get(segment.language, 0.0) + segment.end - segment.start
    return seconds
