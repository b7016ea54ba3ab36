"""What changed in speed and memory beyond the noise, as ``voxport bench diff`` finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.bench import compare_results
from voxport.errors import UsageError

if TYPE_CHECKING:
    from voxport.bench.diff import Metric

__all__ = ["Speed", "compare_speed"]

CANDIDATE, REFERENCE = "A", "B"
JUDGED = ("model only", "end to end")


@dataclass(frozen=True)
class Speed:
    """Attributes:
    metrics: of both sides; none where the two can't be compared.
    refused: why they can't, or None.
    simulated: one of both candidates ran on a simulated device, whose times are a CPU's.
    noisy: what disturbed the machine, in the first and in the second.
    """

    metrics: tuple[Metric, ...]
    refused: str | None
    simulated: bool
    noisy: tuple[str, str]

    def judged(self) -> list[Metric]:
        """The candidate's two times that count: the whole of what it does. Stages are parts of them."""
        names = {f"{CANDIDATE} {name}" for name in JUDGED}
        return [] if self.simulated else [one for one in self.metrics if one.title in names]

    def reference_changed(self) -> list[Metric]:
        """The same of the reference, where they changed beyond the noise: then the machine may have."""
        names = {f"{REFERENCE} {name}" for name in JUDGED}
        return [one for one in self.metrics if one.title in names and one.verdict in ("faster", "slower")]


def compare_speed(first: dict[str, Any], second: dict[str, Any]) -> Speed:
    """Of two measurements of bench. What they refuse to compare is told, not raised."""
    simulated = any(result["sides"][0]["simulated"] for result in (first, second))
    noisy = "; ".join(first["noise"]["findings"]), "; ".join(second["noise"]["findings"])
    try:
        return Speed(compare_results(first, second).metrics, None, simulated, noisy)
    except UsageError as error:
        return Speed((), error.message, simulated, noisy)
