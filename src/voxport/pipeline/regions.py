"""The recording as it streams in, cut into regions with their samples. Memory stays bounded, however long it is."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from voxport.types import FloatArray, Span
from voxport.vad import CHUNK, SpanFinder, SpeechDetector, VADOptions
from voxport.windows import Planner, Region, quietest_cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SAMPLE_RATE = 16_000

SPEECH = VADOptions(min_silence=0.2, speech_pad=0.0)
"""Every pause is of use as a place to cut, so short ones count; planners pad."""

LONGEST_SPAN = 240.0
"""Seconds of speech without any pause that are kept in memory at the most. Nobody speaks that long; noise does."""

LATE = 10.0
"""Seconds at the end of such a span in which the place to cut it is looked for."""


@dataclass(frozen=True)
class RegionAudio:
    """A region and its samples: float32 (n,), 16 kHz; the first is at ``region.start``."""

    region: Region
    samples: FloatArray

    def slice(self, start: float, end: float) -> FloatArray:
        """Samples from `start` to `end`, seconds of the recording."""
        first = round((start - self.region.start) * SAMPLE_RATE)
        return self.samples[first : round((end - self.region.start) * SAMPLE_RATE)]


class Tape:
    """The latest stretch of a recording: grows at the end, is forgotten at the start."""

    def __init__(self) -> None:
        self._blocks: list[FloatArray] = []
        self._start = 0  # sample number of the first that is kept
        self._end = 0

    @property
    def end(self) -> float:
        """Seconds that came in so far."""
        return self._end / SAMPLE_RATE

    def append(self, block: FloatArray) -> None:
        self._blocks.append(block)
        self._end += len(block)

    def cut(self, start: float, end: float) -> FloatArray:
        """A copy of the samples from `start` to `end` (seconds); they must still be there."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        first, last = round(start * SAMPLE_RATE) - self._start, round(end * SAMPLE_RATE) - self._start
        if first < 0:
            raise ValueError(f"{start} s is forgotten already")
        return self._blocks[0][first:last].copy() if self._blocks else np.zeros(0, np.float32)

    def forget_before(self, start: float) -> None:
        """Let go of what was before `start` (seconds)."""
        while self._blocks:
            surplus = round(start * SAMPLE_RATE) - self._start
            if surplus <= 0:
                return
            if surplus < len(self._blocks[0]):
                self._blocks[0] = self._blocks[0][surplus:].copy()
                self._start += surplus
                return
            self._start += len(self._blocks[0])
            self._blocks.pop(0)


class SpeechCutter:
    """Speech spans of a stream, none of them much longer than `LONGEST_SPAN`: music or noise can last for hours.

    A span that grows too long ends at its least speech-like moment of late, and another begins there.
    """

    def __init__(self) -> None:
        self._finder = SpanFinder(SPEECH)
        self._seen = 0  # chunks
        self._offset = 0  # chunks before the finder's first
        self._late = np.zeros(0, np.float32)  # probabilities of the latest chunks

    @property
    def pending_from(self) -> float:
        """Time before which nothing will change any more."""
        return _seconds(self._offset) + self._finder.pending_from

    def feed(self, probabilities: FloatArray) -> list[Span]:
        """Take the next chunks' probabilities; give the spans that are final now."""
        self._seen += len(probabilities)
        self._late = np.concatenate([self._late, probabilities])[-round(LATE * SAMPLE_RATE / CHUNK) :]
        spans = self._shifted(self._finder.feed(probabilities))
        if _seconds(self._seen) - self.pending_from > LONGEST_SPAN:
            spans += self._cut()
        return spans

    def finish(self) -> list[Span]:
        """End the recording: the spans not given yet."""
        return self._shifted(self._finder.finish())

    def _cut(self) -> list[Span]:
        rest = len(self._late) - int(np.argmin(self._late))
        cut = self._seen - rest
        spans = self._shifted(self._finder.finish((cut - self._offset) * CHUNK))
        self._offset, self._finder = cut, SpanFinder(SPEECH)
        return spans + self._shifted(self._finder.feed(self._late[-rest:]))

    def _shifted(self, spans: Iterable[Span]) -> list[Span]:
        shift = _seconds(self._offset)
        return [Span(span.start + shift, span.end + shift) for span in spans]


def _seconds(chunks: int) -> float:
    return chunks * CHUNK / SAMPLE_RATE


class RegionReader:
    """Iterates over a recording's regions.

    Attributes:
        seconds_read: of the recording, so far; its duration once the iteration is over.
        timings: "audio" (decoding and resampling) and "vad", seconds spent.
    """

    def __init__(self, blocks: Iterable[FloatArray], *, vad: bool, planner: Planner) -> None:
        self._blocks = iter(blocks)
        self._vad = vad
        self._planner = planner
        self._tape = Tape()
        self._certain: deque[Region] = deque()  # regions whose end isn't on the tape yet
        self.seconds_read = 0.0
        self.timings = {"audio": 0.0, "vad": 0.0}

    def __iter__(self) -> Iterator[RegionAudio]:
        return self._by_speech() if self._vad else self._by_quiet()

    def _by_speech(self) -> Iterator[RegionAudio]:
        detector, finder = SpeechDetector(), SpeechCutter()
        planner = self._planner
        for block in self._read():
            started = time.perf_counter()
            spans = finder.feed(detector.feed(block))
            self.timings["vad"] += time.perf_counter() - started
            yield from self._ready(planner.feed(spans))
            self._tape.forget_before(self._earliest(planner.needed_from, finder.pending_from))
        started = time.perf_counter()
        spans = [*finder.feed(detector.flush()), *finder.finish()]
        self.timings["vad"] += time.perf_counter() - started
        spans = [Span(span.start, min(span.end, self.seconds_read)) for span in spans]
        yield from self._rest([*planner.feed(spans), *planner.finish(self.seconds_read)])

    def _by_quiet(self) -> Iterator[RegionAudio]:
        planner = self._planner
        start, longest = 0.0, planner.longest
        for _ in self._read():
            while self._tape.end - start > longest + planner.context:
                samples = self._tape.cut(start, start + longest)
                cut = start + quietest_cut(samples, SAMPLE_RATE, longest * 2 / 3, longest)
                yield from self._ready([planner.whole(start, cut)])
                start = cut
                self._tape.forget_before(start - planner.reach)
        if self.seconds_read > start:
            yield from self._rest([planner.whole(start, self.seconds_read)])

    def _read(self) -> Iterator[FloatArray]:
        while True:
            started = time.perf_counter()
            block = next(self._blocks, None)
            self.timings["audio"] += time.perf_counter() - started
            if block is None:
                return
            self._tape.append(block)
            self.seconds_read = self._tape.end
            yield block

    def _ready(self, regions: Iterable[Region]) -> Iterator[RegionAudio]:
        """Regions with their samples, as far as those are there."""
        self._certain.extend(regions)
        while self._certain and self._certain[0].end <= self._tape.end:
            region = self._certain.popleft()
            yield RegionAudio(region, self._tape.cut(region.start, region.end))

    def _rest(self, regions: Iterable[Region]) -> Iterator[RegionAudio]:
        """The last regions: none hears more than there is."""
        self._certain.extend(regions)
        end = self._tape.end
        self._certain = deque(replace(region, end=min(region.end, end)) for region in self._certain)
        yield from self._ready([])

    def _earliest(self, planned: float | None, pending: float) -> float:
        """The earliest time whose samples may still be wanted."""
        waiting = [region.start for region in self._certain]
        return min([planned if planned is not None else max(0.0, pending - self._planner.reach), *waiting])
