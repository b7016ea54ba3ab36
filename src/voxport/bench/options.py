"""What may be asked of a measurement, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from voxport.errors import UsageError
from voxport.sides import Side

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORCED_TOKENS", "BenchOptions", "Sweep", "choose_side"]

Sweep = Literal["length", "batch"]

FORCED_TOKENS = 40
"""Decoded in each window of a model with random weights, whose own end of text means nothing."""

DEFAULT_POINTS: dict[str, tuple[float, ...]] = {
    "length": (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0),
    "batch": (1, 2, 4, 8),
}


@dataclass(frozen=True)
class BenchOptions:
    """Options of a measurement.

    Attributes:
        model: name or folder.
        side: what is measured.
        against: the other side, measured in the same run, or None.
        warmup: untimed rounds first; the cold start is measured before them.
        iterations: timed rounds; a round does everything once with all clips.
        batch: windows in a call of the model-only scope, where a side doesn't say; None = 1.
        tokens: decode exactly so many in each window of the model-only scope; None = what the first side says there,
            with random weights `FORCED_TOKENS`.
        language: spoken; None = detected, which is part of the decoding then.
        vad: whether the end-to-end scope looks for speech first.
        sweep: what grows: "length" or "batch"; None = no sweep.
        points: seconds, or windows, that the sweep takes; None = `DEFAULT_POINTS`.
        sweep_iterations: timed rounds at each point of the sweep; None = as many as `iterations`.
        profile: file for a trace of one iteration.
        seed: of the order of turns and of the resampling.
        source, offline: where the model comes from, see `voxport.load_model`.

    Raises:
        UsageError: a value out of range.
    """

    model: str
    side: Side
    against: Side | None = None
    warmup: int = 3
    iterations: int = 10
    batch: int | None = None
    tokens: int | None = None
    language: str | None = None
    vad: bool = True
    sweep: Sweep | None = None
    points: tuple[float, ...] | None = None
    sweep_iterations: int | None = None
    profile: Path | None = None
    seed: int = 0
    source: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise UsageError(f"iterations must be at least 1, not {self.iterations}")
        if self.sweep_iterations is not None and self.sweep_iterations < 1:
            raise UsageError(f"iterations of the sweep must be at least 1, not {self.sweep_iterations}")
        if self.sweep_iterations is not None and self.sweep is None:
            raise UsageError("there is no sweep to have iterations", hint="add --sweep length or --sweep batch")
        if self.warmup < 0:
            raise UsageError(f"warmup must be at least 0, not {self.warmup}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch size must be at least 1, not {self.batch}")
        if self.tokens is not None and self.tokens < 2:
            raise UsageError(
                f"tokens must be at least 2, not {self.tokens}", hint="the time of a token is a difference of two"
            )
        if self.sweep is not None and self.sweep not in get_args(Sweep):
            raise UsageError(f"unknown sweep {self.sweep!r}", hint=f"sweeps are: {', '.join(get_args(Sweep))}")
        if self.language is not None:
            from voxport.tokenizer import language_code

            object.__setattr__(self, "language", language_code(self.language))
        self._check_points()

    def _check_points(self) -> None:
        if self.points is None:
            return
        if self.sweep is None:
            raise UsageError("points are those of a sweep", hint="add --sweep length or --sweep batch")
        if len(self.points) < 2 or list(self.points) != sorted(set(self.points)) or self.points[0] <= 0:
            raise UsageError("a sweep needs at least two points, ascending and above 0", hint="e.g. 1,2,5,10")
        if self.sweep == "batch" and any(point != int(point) for point in self.points):
            raise UsageError("batches are whole numbers", hint="e.g. 1,2,4,8")

    def sides(self) -> list[Side]:
        """The one that is measured, and the other if there is one."""
        return [self.side] if self.against is None else [self.side, self.against]

    def batch_of(self, side: Side) -> int:
        """Windows in a call of this side's model-only scope."""
        return side.batch or self.batch or 1

    def sweep_rounds(self) -> int:
        """How many are timed at each point of the sweep."""
        return self.sweep_iterations or self.iterations

    def sweep_points(self) -> tuple[float, ...]:
        """Where the sweep measures."""
        return self.points or DEFAULT_POINTS[self.sweep or "length"]


def choose_side(side: str | None, device: str | None, dtype: str | None) -> Side:
    """The side that ``--side``, or ``--device`` and ``--dtype``, name.

    Raises:
        UsageError: they contradict each other, or can't be understood.
    """
    if side is None:
        return Side.parse(f"{device or 'auto'}{f':{dtype}' if dtype and dtype != 'auto' else ''}")
    parsed = Side.parse(side)
    if device is not None and device != parsed.device:
        raise UsageError(f"--side says {parsed.device}, --device says {device}", hint="leave --device out")
    if dtype not in (None, "auto", parsed.dtype):
        if parsed.dtype != "auto":
            raise UsageError(f"--side says {parsed.dtype}, --dtype says {dtype}", hint="leave --dtype out")
        return replace(parsed, dtype=dtype or "auto")
    return parsed
