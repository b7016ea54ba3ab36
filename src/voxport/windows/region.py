"""What a recording is cut into, and what cuts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import Span


@dataclass(frozen=True)
class Region:
    """A stretch of a recording to be decoded, in seconds.

    Attributes:
        start, end: what is heard.
        speech: the speech spans that the region is there for.
        seam: where it takes over from the region before it, which it overlaps; None if it stands on its own.
        looked_for_speech: `speech` is where somebody speaks, and not simply all that the region answers for.
    """

    start: float
    end: float
    speech: tuple[Span, ...]
    seam: float | None = None
    looked_for_speech: bool = True

    def speech_after(self, time: float) -> float:
        """Seconds of speech from `time` on."""
        return sum(max(0.0, span.end - max(span.start, time)) for span in self.speech)

    def speech_between(self, start: float, end: float) -> float:
        """Seconds of speech from `start` to `end`."""
        return self.speech_after(start) - self.speech_after(end)


class Planner(Protocol):
    """Speech spans in, regions out, as soon as each is certain. Incremental: spans come in order of time.

    Attributes:
        longest: seconds of speech in a region, at the most, where the recording is cut without looking for pauses.
        context: seconds beyond that which a region hears at either end.
        reach: seconds before a word that a region may begin, at the most.
    """

    longest: float
    context: float
    reach: float

    def feed(self, spans: Sequence[Span]) -> list[Region]:
        """Take further spans; returns the regions that no later span can change."""
        ...

    def finish(self, duration: float) -> list[Region]:
        """The last regions, of a recording of `duration` seconds."""
        ...

    @property
    def needed_from(self) -> float | None:
        """Time before which no region to come will begin; None if there is no speech that waits for its region."""
        ...

    def whole(self, start: float, end: float) -> Region:
        """The region for all from `start` to `end`, where nobody has looked for pauses. In order of time."""
        ...
