"""How a window's text brings its region on: which segments stay, where the next window begins, what is heard once more.

Where the model stopped listening inside a window, the rest becomes another window. Where it passed over speech, as the
places show at which its tokens were heard (`voxport.pipeline.coverage`), that stretch is heard on its own. Where
they are not known, the timestamps have to do.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from voxport.pipeline.coverage import (
    LEAST_GAP,
    NEAR,
    Heard,
    in_order,
    is_doubtful,
    missed,
    within,
)
from voxport.pipeline.schedule import Job
from voxport.pipeline.word_times import settled, shared, shifted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.types import Hypothesis, Segment, Span
    from voxport.windows import Region

__all__ = ["AdvancingJob", "Stretch", "advance"]

LEAST_REST = 0.3
"""Speech (seconds) left in a region that is worth another window. Less is the tail of the last word."""

UNHEARD = 1.5
"""Speech (seconds) between two segments, or after the last, that the model passed over without a word: by timestamps
alone, where it can't be told what it heard."""

LATE = 0.3
"""A last word that was heard so much (seconds) behind where the model says it stopped listening was heard whole."""

AFTER, LONGEST_AFTER = 0.1, 0.5
"""Seconds from where a token was looked at most to where its word is over: a pause within the latter, or the former."""

NESTED = 0.8
"""Of the speech of a stretch that is heard on its own, what may be missed again and is worth another try, at most."""

MARGIN = 0.2
"""Seconds that are heard before and after a stretch of speech that was missed, if the pause is long enough."""

LEAST_STEP = 0.5
"""A window that brings the region on by less than this (seconds) got stuck."""

LONGEST_STEP = 5.0
"""Where it got stuck, the next window begins at the next pause, but after so much (seconds) at the latest."""


@dataclass(frozen=True)
class Stretch:
    """A part of a region that is to be heard on its own, seconds of the recording.

    Attributes:
        doubted: the model passed over it once; what it says now counts if there is probably speech.
    """

    start: float
    end: float
    doubted: bool


@dataclass(eq=False)
class AdvancingJob(Job):
    """A region under way.

    Attributes:
        position: how far it is heard, seconds of the recording; of the present stretch, if there is one.
        segments: what it said so far.
        stretches: what is to be heard on its own when the region's end is reached.
        stretch: that of them which is being heard.
        language: of the window before the next one, where each window has its own.
    """

    position: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    stretch: Stretch | None = None
    language: str | None = None

    @property
    def end(self) -> float:
        """Of the region, or of the present stretch."""
        return self.audio.region.end if self.stretch is None else self.stretch.end

    def window_end(self, longest: float) -> float:
        return min(self.position + longest, self.end)

    def length(self, longest: float) -> float:
        return self.window_end(longest) - self.position

    def go_on(self, following: float) -> None:
        """The next window begins at `following`, if there is speech; else with the next stretch."""
        speech = self.audio.region.speech_between(following, self.end)
        self.position = following
        if following < self.end and speech >= LEAST_REST:
            return
        self.stretch = self.stretches.pop(0) if self.stretches else None
        self.done = self.stretch is None
        if self.stretch is not None:
            self.position = self.stretch.start

    def add(self, segments: Iterable[Segment]) -> None:
        """Put segments where they belong by their time."""
        for segment in segments:
            insort(self.segments, segment, key=lambda one: one.start)


def advance(
    job: AdvancingJob, end: float, hypothesis: Hypothesis, places: Sequence[tuple[float, ...]] | None
) -> list[Segment]:
    """Add a window's segments to its region, and move on to where the next window begins; returns what was added.

    Args:
        job: the region, whose next window it is.
        end: of the window, seconds of the recording.
        hypothesis: of the window.
        places: where the tokens of each segment were heard, from the window's start; None = that isn't known.
    """
    start, region, stretch = job.position, job.audio.region, job.stretch
    # A time beyond the window's audio is in its padding.
    segments = [
        replace(
            segment,
            seek=round(start * 100),
            start=min(start + segment.start, end),
            end=min(start + segment.end, end),
            words=None if segment.words is None else shifted(segment.words, start),
            language=hypothesis.language,
        )
        for segment in hypothesis.segments
    ]
    following = end if hypothesis.resume is None else min(start + hypothesis.resume, end)
    if stretch is not None:
        if stretch.doubted and is_doubtful(hypothesis):
            segments, places = [], None
        segments = _between(segments, job.segments, start)
    if places is None:
        kept, following = _by_timestamps(segments, region, start, end, following)
    else:
        heard = [
            Heard(segment, tuple(start + place for place in own)) for segment, own in zip(segments, places, strict=True)
        ]
        kept, following = _by_places(job, in_order(heard), start, following)
    if following - start < LEAST_STEP:
        following = _next_start(region, start)
    # Last, so that words with times change nothing about where the next window begins.
    before = [segment.end for segment in job.segments if segment.start <= start]
    job.add(settled(kept, region.speech, before[-1] if before else region.start, following, end))
    job.go_on(following)
    return kept


def _between(segments: Sequence[Segment], others: Sequence[Segment], start: float) -> list[Segment]:
    """The segments of a stretch that begins at `start`, between those before and behind it: margins overlap."""
    earliest = max((one.end for one in others if one.start <= start), default=start)
    latest = min((one.start for one in others if one.start > start), default=math.inf)
    return [
        _clipped(segment, min(max(segment.start, earliest), latest), max(min(segment.end, latest), earliest))
        for segment in segments
    ]


def _next_start(region: Region, start: float) -> float:
    """Where to go on behind `start`, where a window got stuck: the next word after a pause, if it is near."""
    begins = [span.start for span in region.speech if span.start >= start + LEAST_STEP]
    return min([*begins, start + LONGEST_STEP, region.end])


def _by_timestamps(
    segments: list[Segment], region: Region, start: float, end: float, following: float
) -> tuple[list[Segment], float]:
    """The segments up to where a window passed over speech between two of them, and where the next window begins.

    Hearing it again must bring the region on, so what is passed over at the very beginning stays as it is.
    """
    for number, (before, after) in enumerate(pairwise(segments), 1):
        unheard = region.speech_between(before.end, after.start)
        if unheard >= UNHEARD and before.end >= start + LEAST_STEP:
            return segments[:number], before.end
    if following == end and segments and region.speech_after(segments[-1].end) >= UNHEARD:
        following = segments[-1].end
    return segments, following


def _by_places(job: AdvancingJob, heard: list[Heard], start: float, following: float) -> tuple[list[Segment], float]:
    """The segments that are kept, and where the next window begins; what was missed between is put down to be heard."""
    region = job.audio.region
    places = [place for one in heard for place in one.places]
    if places and following < job.end and following + LATE <= places[-1] <= following + 2 * LEAST_STEP:
        following = _word_end(places[-1], region)
    gaps = missed(places, region.speech, start, following)
    if job.stretch is not None:  # heard on its own already: nearly the same again would bring nothing new
        most = NESTED * region.speech_between(job.stretch.start, job.stretch.end)
        gaps = [gap for gap in gaps if region.speech_between(gap.start, gap.end) <= most]
    kept = heard
    for gap in gaps:
        if following < job.end and not within(region.speech, gap.end, following) and gap.start - start >= LEAST_STEP:
            following = gap.start  # nothing was heard from there on
            break
        torn = next(
            (one for one in kept if one.places and one.places[0] < gap.start and one.places[-1] > gap.end), None
        )
        if torn is None:
            job.stretches.append(_with_margin(gap, region))
        elif region.speech_between(gap.start, gap.end) >= LEAST_GAP:
            # Its text can't be parted: what is before the gap is heard again, the gap, and all that is behind.
            kept = kept[: kept.index(torn)]
            begin = min(max(torn.segment.start, kept[-1].segment.end if kept else start), torn.places[0])
            job.stretches += [Stretch(begin, gap.start, doubted=False), _with_margin(gap, region)]
            following = gap.end
            break
    return [_outside(one, gaps, region) for one in kept], following


def _word_end(place: float, region: Region) -> float:
    """Where a word is over whose last token was heard at `place`."""
    ends = [span.end for span in region.speech if place <= span.end <= place + LONGEST_AFTER]
    return min(ends, default=place + AFTER)


def _with_margin(gap: Span, region: Region) -> Stretch:
    """What is to be heard of speech that was missed: not more than half of the pauses beside it."""
    before = max((span.end for span in region.speech if span.end <= gap.start), default=region.start)
    after = min((span.start for span in region.speech if span.start >= gap.end), default=region.end)
    start = max(gap.start - MARGIN, (before + gap.start) / 2, region.start)
    return Stretch(start, min(gap.end + MARGIN, (gap.end + after) / 2, region.end), doubted=True)


def _outside(one: Heard, gaps: Sequence[Span], region: Region) -> Segment:
    """The segment without the gaps that its times, or those of its words, go over at either end.

    It lasts at least to where its last token was heard, whatever the model took for its end.
    """
    segment = one.segment
    for gap in gaps:
        places = one.besides(gap)
        if not places or gap.start >= segment.end or gap.end <= segment.start:
            continue
        if places[0] > gap.end - NEAR:
            begin = min((max(span.start, gap.end) for span in region.speech if span.end > gap.end), default=gap.end)
            last = min(_word_end(places[-1], region), region.end)
            segment = _clipped(segment, begin, max(segment.end, last, begin))
        elif places[-1] < gap.start + NEAR:
            segment = _clipped(segment, min(segment.start, gap.start), gap.start)
    return segment


def _clipped(segment: Segment, start: float, end: float) -> Segment:
    """With these times; words stay inside them, and share them where the alignment put all elsewhere."""
    if segment.words is None:
        return replace(segment, start=start, end=end)
    times = [(min(max(word.start, start), end), min(max(word.end, start), end)) for word in segment.words]
    if times and times[0][0] == times[-1][1]:
        times = shared(segment.words, (start, end))
    words = tuple(replace(word, start=own[0], end=own[1]) for word, own in zip(segment.words, times, strict=True))
    return replace(segment, start=start, end=end, words=words)
