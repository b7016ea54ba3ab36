"""What changed in the error rates against what was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.score.bootstrap import Interval, paired_difference

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ErrorRates", "RateChange", "compare_error_rates"]

RESAMPLES = 1000


@dataclass(frozen=True)
class RateChange:
    """The pooled rate over the clips that both have.

    Attributes:
        unit: "words" or "characters".
        clips: how many.
        first, second: rates, 0.05 is 5 %; None without a word that was said.
        intervals: of all of each report's clips, as it has them: [low, high] or None.
        difference: 95 % interval of second - first, drawn over pairs of clips; None with too few.
    """

    unit: str
    clips: int
    first: float | None
    second: float | None
    intervals: tuple[list[float] | None, list[float] | None]
    difference: Interval | None

    @property
    def overlap(self) -> bool | None:
        """Whether the two intervals have a rate in common; None where one is missing."""
        one, other = self.intervals
        return None if one is None or other is None else one[0] <= other[1] and other[0] <= one[1]

    @property
    def higher(self) -> bool:
        return self.difference is not None and self.difference.low > 0

    @property
    def lower(self) -> bool:
        return self.difference is not None and self.difference.high < 0


@dataclass(frozen=True)
class ErrorRates:
    """Attributes:
    rows: of the candidate; none where there is nothing to compare.
    missing: of the reports, which have no rates: "first", "second", "both", or None.
    other_texts: clips that both have, but with another text or counted otherwise; they are left out.
    left_out: clips that only one has.
    failed: clips that the candidate could not hear, in both.
    """

    rows: tuple[RateChange, ...]
    missing: str | None
    other_texts: int = 0
    left_out: int = 0
    failed: tuple[int, int] = (0, 0)


def compare_error_rates(first: dict[str, Any] | None, second: dict[str, Any] | None, seed: int = 0) -> ErrorRates:
    """Of the candidates, on the clips that both reports have."""
    if first is None or second is None:
        return ErrorRates((), "both" if first is second else "first" if first is None else "second")
    before, after = first["candidate"], second["candidate"]
    clips = [{clip["id"]: clip for clip in one["clips"] if clip["length"]} for one in (before, after)]
    common = [key for key in clips[1] if key in clips[0]]
    alike = [key for key in common if _text(clips[0][key]) == _text(clips[1][key])]
    return ErrorRates(
        rows=tuple(_rows([(clips[0][key], clips[1][key]) for key in alike], before, after, seed)),
        missing=None,
        other_texts=len(common) - len(alike),
        left_out=sum(len(one) - len(common) for one in clips),
        failed=(len(before["failed"]), len(after["failed"])),
    )


def _text(clip: dict[str, Any]) -> tuple[str, str, str]:
    return clip["unit"], clip["normalizer"], clip["reference_normalized"]


def _rows(
    pairs: list[tuple[dict[str, Any], dict[str, Any]]], first: dict[str, Any], second: dict[str, Any], seed: int
) -> Iterator[RateChange]:
    totals = [{total["unit"]: total["interval"] for total in one["totals"]} for one in (first, second)]
    for unit in dict.fromkeys(other["unit"] for _, other in pairs):
        counted = [(one, other) for one, other in pairs if other["unit"] == unit]
        errors = [[pair[index]["errors"] for pair in counted] for index in (0, 1)]
        lengths = [other["length"] for _, other in counted]
        yield RateChange(
            unit,
            len(counted),
            sum(errors[0]) / sum(lengths),
            sum(errors[1]) / sum(lengths),
            (totals[0].get(unit), totals[1].get(unit)),
            paired_difference(errors[0], errors[1], lengths, resamples=RESAMPLES, seed=seed),
        )
