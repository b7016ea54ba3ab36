"""Regions that can be decoded on their own: speech spans packed between pauses.

A region begins and ends in a pause, so no word is cut, and is at most one window long where the speech has pauses to
allow it. A region without a pause may be longer; it is then decoded window after window, each beginning where the
model stopped listening in the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voxport.types import Span
from voxport.windows.region import Region

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class CutOptions:
    """How speech is packed into regions.

    Fuller windows give Whisper more context, and fewer of them cost less. The row to choose the numbers by is the
    joined recording of many speakers in benchmarks/accuracy.py, in three orders: between 15 and 22 seconds the errors
    of tiny.en and base differ by chance only, from 26 on there are more, and so with more padding.

    Attributes:
        max_seconds: the model's window.
        min_seconds: a region is cut at the longest pause between here and `max_seconds`, not at the last one: the
            longer the pause, the surer it lies between sentences.
        padding: at most so much of a pause is kept at each end of a region, so that soft beginnings of words survive.
        edge: so much of the silence before the recording's first word and after its last is kept, as far as the window
            has room: a short recording is heard as it is, and the words are those the bare model says.
        max_pause: a longer pause always parts regions: in long silence inside a window models make words up.
    """

    max_seconds: float = 30.0
    min_seconds: float = 15.0
    padding: float = 0.2
    edge: float = 2.0
    max_pause: float = 8.0

    @property
    def reach(self) -> float:
        """Seconds before a word that a region may begin, at the most."""
        return max(self.padding, self.edge)


class RegionPlanner:
    """Speech spans in, regions out, as soon as each is certain. Incremental: spans come in order of time."""

    def __init__(self, options: CutOptions) -> None:
        self._options = options
        self.longest = options.max_seconds
        self.reach = options.reach
        self.context = 0.0
        self._spans: list[Span] = []
        self._previous_end = 0.0  # of the speech in the last region that was given out

    def feed(self, spans: Sequence[Span]) -> list[Region]:
        """Take further spans; returns the regions that no later span can change."""
        regions = []
        for span in spans:
            while self._spans and self._must_cut_before(span):
                regions.append(self._take(self._best_cut(span), span))
            self._spans.append(span)
        return regions

    def finish(self, duration: float) -> list[Region]:
        """The last region, of a recording of `duration` seconds."""
        if not self._spans:
            return []
        spans, self._spans = self._spans, []
        region = self._region(spans, duration)
        end = min(spans[-1].end + self._options.edge, region.start + self._options.max_seconds, duration)
        return [replace(region, end=max(region.end, end))]

    @property
    def needed_from(self) -> float | None:
        """Start of the earliest speech that is not given out yet, padding included; None if there is none."""
        return self._start(self._spans[0]) if self._spans else None

    def whole(self, start: float, end: float) -> Region:
        """The region from `start` to `end`, where nobody has looked for pauses."""
        return Region(start, end, (Span(start, end),), looked_for_speech=False)

    def _must_cut_before(self, span: Span) -> bool:
        room = self._options.max_seconds - 2 * self._options.padding
        return span.end - self._spans[0].start > room or span.start - self._spans[-1].end > self._options.max_pause

    def _best_cut(self, following: Span) -> int:
        """How many of the buffered spans the next region takes."""
        if following.start - self._spans[-1].end > self._options.max_pause:
            return len(self._spans)
        best, longest = len(self._spans), -1.0
        for count in range(1, len(self._spans) + 1):
            after = self._spans[count] if count < len(self._spans) else following
            pause = after.start - self._spans[count - 1].end
            if self._spans[count - 1].end - self._spans[0].start >= self._options.min_seconds and pause > longest:
                best, longest = count, pause
        return best

    def _take(self, count: int, following: Span) -> Region:
        spans, self._spans = self._spans[:count], self._spans[count:]
        after = self._spans[0] if self._spans else following
        # A pause is shared by its two neighbours, each hears half of it at most.
        return self._region(spans, (spans[-1].end + after.start) / 2)

    def _region(self, spans: Sequence[Span], limit: float) -> Region:
        start = self._start(spans[0])
        end = min(spans[-1].end + self._options.padding, limit)
        if not self._previous_end:
            padded = max(spans[0].start - self._options.padding, 0.0)
            start = min(padded, max(start, end - self._options.max_seconds))
        self._previous_end = spans[-1].end
        return Region(start, end, tuple(spans))

    def _start(self, span: Span) -> float:
        """Where a region that begins with this span may begin at the earliest."""
        if not self._previous_end:
            return max(span.start - self._options.reach, 0.0)
        return max(span.start - self._options.padding, (self._previous_end + span.start) / 2)
