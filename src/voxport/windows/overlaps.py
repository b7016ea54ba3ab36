"""Regions that overlap, for models that join windows: no word is lost or doubled where the recording is cut.

A region answers for some seconds of speech and hears more at either end: what is near the edge of a window lacks
context. Cuts are made in the longest pause near; where nobody pauses they are made in mid-speech, which the overlap
makes good. Speech spans further apart than that share nothing, and the silence between is not decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voxport.types import Span
from voxport.windows.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class OverlapOptions:
    """How windows overlap.

    Attributes:
        window: seconds of a whole window.
        context: seconds at either end of it that are heard for the context only.
        least: a region is cut at the longest pause behind so much of its speech (seconds).
        quantum: windows last a multiple of it (seconds), as far as the recording goes: they hear a little more at their
            ends, and the matrix products of a network meet few shapes. Each new shape costs time and memory that stays.
        grid: windows begin at multiples of it (seconds): the model's frames, so that those of two windows coincide.
    """

    window: float
    context: float
    grid: float
    least: float = 8.0
    quantum: float = 1.0

    @property
    def margin(self) -> float:
        """Seconds heard behind the last word, at least, where there are any."""
        return min(self.context, 0.3)


class OverlapPlanner:
    """Speech spans in, regions out; a `voxport.windows.Planner`."""

    def __init__(self, options: OverlapOptions) -> None:
        self._options = options
        self.context = options.context
        self.reach = options.context + options.grid
        self.longest = options.window - 2 * options.context - options.grid
        self._spans: list[Span] = []
        self._previous: Region | None = None

    def feed(self, spans: Sequence[Span]) -> list[Region]:
        """Take further spans; returns the regions that no later span can change. Their ends may lie ahead."""
        regions = []
        for span in spans:
            for part in self._parts(span):
                while self._spans and self._must_cut_before(part):
                    regions.append(self._take(self._best_cut(part)))
                self._spans.append(part)
        return regions

    def finish(self, duration: float) -> list[Region]:
        """The last region, of a recording of `duration` seconds."""
        if not self._spans:
            return []
        region = self._take(len(self._spans))
        return [replace(region, end=min(region.end, duration))]

    @property
    def needed_from(self) -> float | None:
        """Where the earliest speech that is not given out yet begins to be heard; None if there is none."""
        return self._start(self._spans[0].start) if self._spans else None

    def whole(self, start: float, end: float) -> Region:
        """The region that answers for all from `start` to `end`."""
        self._spans = [Span(start, end)]
        return replace(self._take(1), looked_for_speech=False)

    def _parts(self, span: Span) -> Iterator[Span]:
        """A span in equal parts, none too long for a region."""
        count = max(1, math.ceil(span.duration / self.longest - 1e-9))
        edges = [span.start + place * span.duration / count for place in range(count)]
        for start, end in zip(edges, [*edges[1:], span.end], strict=True):
            yield Span(start, end)

    def _must_cut_before(self, span: Span) -> bool:
        # What reaches to the window's end may still be the recording's end, where there is nothing else to hear.
        latest = self._start(self._spans[0].start) + self._options.window - self._options.margin
        return span.end > latest or self._is_apart(span.start)

    def _is_apart(self, start: float) -> bool:
        return start - self._spans[-1].end > 2 * self._options.context

    def _best_cut(self, following: Span) -> int:
        """How many of the buffered spans the next region takes."""
        if self._is_apart(following.start):
            return len(self._spans)
        first = self._spans[0].start
        latest = self._start(first) + self._options.window - self._options.context
        starts = [*(span.start for span in self._spans[1:]), following.start]
        fitting = [
            (span.end - first >= self._options.least, start - span.end, count)
            for count, (span, start) in enumerate(zip(self._spans, starts, strict=True), start=1)
            if span.end <= latest
        ]
        # Where even the least would be too much, the longest pause of all.
        return max(fitting)[2]

    def _take(self, count: int) -> Region:
        spans, self._spans = self._spans[:count], self._spans[count:]
        before, seam = self._previous, None
        start = self._start(spans[0].start)
        if before is not None and start + self._options.grid <= before.end:
            pause = (before.speech[-1].end + spans[0].start) / 2
            seam = min(max(pause, start), before.end)  # where both hear
        quanta = math.ceil((spans[-1].end + self._options.context - start) / self._options.quantum - 1e-9)
        end = start + min(quanta * self._options.quantum, self._options.window)
        self._previous = Region(start, end, tuple(spans), seam)
        return self._previous

    def _start(self, speech: float) -> float:
        """Where a region with this first word begins: on the grid."""
        grid = self._options.grid
        return math.floor(max(0.0, speech - self._options.context) / grid + 1e-6) * grid
