"""What a report is asked to be about, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxport.bench import BenchOptions
from voxport.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.sides import Side

__all__ = ["POINTS", "ReportOptions"]

POINTS = (1.0, 5.0, 10.0, 30.0)
"""Seconds of audio at which the time is measured; few, since each takes as long as one more recording."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    Attributes:
        model: name or folder.
        candidate: the side that is reported on.
        reference: what it is held against; None = transformers on the CPU in float32, or our own where that is missing.
        policy: that the candidate is to pass, by name or file.
        warmup, iterations: of the measurement of speed.
        language: spoken; None = detected by the reference.
        look_at: recordings whose stages are looked at.
        manifest: references of what was said, for the error rates; None = none are given.
        points: seconds of audio at which the time is measured over length; None = it is not.
        source, offline: where the model comes from, see `voxport.load_model`.

    Raises:
        UsageError: a value out of range.
    """

    model: str
    candidate: Side
    reference: Side | None = None
    policy: str = "words"
    warmup: int = 3
    iterations: int = 10
    language: str | None = None
    look_at: int = 2
    manifest: Path | None = None
    points: tuple[float, ...] | None = POINTS
    source: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise UsageError(f"iterations must be at least 1, not {self.iterations}")
        if self.look_at < 1:
            raise UsageError("a report shows the stages of one recording at least")
        if self.points is not None:
            BenchOptions(self.model, self.candidate, sweep="length", points=self.points)
