"""Which windows are decoded together: batches of like length, results in the recording's order."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from voxport.types import Audio, DecodingOptions, Hypothesis, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voxport.models import ASRModel
    from voxport.pipeline.regions import RegionAudio
    from voxport.windows import Region

LOOK_AHEAD = 3
"""Batches of regions that are read ahead, to sort them by length: equal lengths end together."""

LEAST_REST = 0.3
"""Speech (seconds) left in a region that is worth another window. Less is the tail of the last word."""

UNHEARD = 1.5
"""Speech (seconds) between two segments, or after the last, that the model passed over without a word."""

SPARSE_SPEECH, SPARSE_TOKENS = 8.0, 0.75
"""A segment over at least so much speech (seconds), with fewer tokens than this to a second of it: the model heard the
beginning and then jumped to the end. Slow speech has two tokens to a second, and more."""

FAST_TOKENS = 4.0
"""To a second of speech: the beginning that such a segment did hear is taken to be as long as its tokens need."""

LEAST_STEP = 0.5
"""A window that brings the region on by less than this (seconds) got stuck."""

LONGEST_STEP = 5.0
"""Where it got stuck, the next window begins at the next pause, but after so much (seconds) at the latest."""


@dataclass
class Job:
    """A region under way."""

    order: int
    audio: RegionAudio
    position: float
    segments: list[Segment] = field(default_factory=list)
    done: bool = False

    def window_end(self, longest: float) -> float:
        return min(self.position + longest, self.audio.region.end)


class Scheduler:
    """Runs a model over regions.

    Attributes:
        language: of the recording: as asked for, or as detected on its first window.
        timings: "features", "encode" and "decode", seconds spent.
        position: seconds of the recording whose segments are out.
    """

    def __init__(self, model: ASRModel, options: DecodingOptions, batch_size: int) -> None:
        self._model = model
        self._options = options
        self._batch_size = batch_size
        self.language = options.language
        if self.language is None and len(model.languages) == 1:
            (self.language,) = model.languages
        self.position = 0.0
        self.timings = {"features": 0.0, "encode": 0.0, "decode": 0.0}

    def run(self, regions: Iterable[RegionAudio]) -> Iterator[Segment]:
        """Segments in order of time, as soon as all before them are known. `id` is left to the caller."""
        source = enumerate(regions)
        waiting: list[Job] = []
        emitting: dict[int, Job] = {}
        following = 0
        while True:
            room = LOOK_AHEAD * self._batch_size - len(waiting)
            for order, audio in islice(source, max(room, 0)):
                job = Job(order, audio, audio.region.start)
                waiting.append(job)
                emitting[order] = job
            if not waiting:
                return
            batch = self._next_batch(waiting)
            self._decode(batch)
            waiting = [job for job in waiting if not job.done]
            while following in emitting and emitting[following].done:
                job = emitting.pop(following)
                self.position = job.audio.region.end
                yield from job.segments
                following += 1

    def _next_batch(self, waiting: list[Job]) -> list[Job]:
        """The jobs of like length around the oldest, which the reader is waiting for."""
        longest = self._model.max_seconds
        by_length = sorted(waiting, key=lambda job: job.position - job.window_end(longest))
        oldest = min(range(len(by_length)), key=lambda place: by_length[place].order)
        first = oldest - oldest % self._batch_size
        return by_length[first : first + self._batch_size]

    def _decode(self, batch: list[Job]) -> None:
        ends = [job.window_end(self._model.max_seconds) for job in batch]
        windows = [Audio(job.audio.slice(job.position, end)) for job, end in zip(batch, ends, strict=True)]
        features = self._timed("features", self._model.features, windows)
        encoded = self._timed("encode", self._model.encode, features)
        # One window alone is asked as it is decoded, which is cheaper than before.
        if self.language is None and "language_detection" in self._model.supports and len(batch) > 1:
            self.language = self._detect(batch, encoded)
        options = replace(self._options, language=self.language)
        hypotheses = self._timed("decode", self._model.decode, encoded, options)
        self.language = self.language or hypotheses[0].language
        for job, end, hypothesis in zip(batch, ends, hypotheses, strict=True):
            _take(job, end, hypothesis)

    def _detect(self, batch: list[Job], encoded: Any) -> str:
        """The language of the earliest window: whatever else is in the batch, the answer is the same."""
        earliest = min(range(len(batch)), key=lambda place: batch[place].order)
        guesses: list[tuple[str, float]] = self._timed("decode", self._model.detect_language, encoded)
        return guesses[earliest][0]

    def _timed(self, stage: str, function: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self._model.device.synchronize()
            self.timings[stage] += time.perf_counter() - started


def _take(job: Job, end: float, hypothesis: Hypothesis) -> None:
    """Add a window's segments to its region, and move on to where the next window begins."""
    start, region = job.position, job.audio.region
    # A time beyond the window's audio is in its padding.
    segments = [
        replace(
            segment, seek=round(start * 100), start=min(start + segment.start, end), end=min(start + segment.end, end)
        )
        for segment in hypothesis.segments
    ]
    kept, passed_over = _heard(segments, region, start + LEAST_STEP)
    job.segments += kept
    following = end
    if passed_over is not None:
        following = passed_over
    elif hypothesis.resume is not None:
        following = start + hypothesis.resume
    elif kept and region.speech_after(kept[-1].end) >= UNHEARD:
        following = kept[-1].end
    if following - start < LEAST_STEP:
        following = _next_start(region, start)
    job.position = following
    job.done = following >= region.end or region.speech_after(following) < LEAST_REST


def _next_start(region: Region, start: float) -> float:
    """Where to go on behind `start`, where a window got stuck: the next word after a pause, if it is near."""
    begins = [span.start for span in region.speech if span.start >= start + LEAST_STEP]
    return min([*begins, start + LONGEST_STEP, region.end])


def _heard(segments: list[Segment], region: Region, earliest: float) -> tuple[list[Segment], float | None]:
    """The segments up to where a window passed over speech, and where that begins; all and None if it didn't.

    Hearing it again must bring the region on, so what is passed over before `earliest` stays as it is.
    """
    kept: list[Segment] = []
    for segment in segments:
        unheard = region.speech_after(kept[-1].end) - region.speech_after(segment.start) if kept else 0.0
        if unheard >= UNHEARD and kept[-1].end >= earliest:
            return kept, kept[-1].end
        jump = _jump(segment, region)
        if jump is not None and jump[1] >= earliest:
            ending, passed_over = jump
            return [*kept, replace(segment, end=ending)], passed_over
        kept.append(segment)
    return kept, None


def _jump(segment: Segment, region: Region) -> tuple[float, float] | None:
    """Where a segment that passes over most of its speech ends, and where what it passed over begins, or None.

    Both are ends of a pause, so no word is cut.
    """
    pieces = [
        (max(span.start, segment.start), min(span.end, segment.end))
        for span in region.speech
        if span.start < segment.end and span.end > segment.start
    ]
    speech = sum(end - start for start, end in pieces)
    if not segment.tokens or speech < SPARSE_SPEECH or len(segment.tokens) >= SPARSE_TOKENS * speech:
        return None
    heard = 0.0
    for (start, end), (following, _) in pairwise(pieces):
        heard += end - start
        if heard >= max(LEAST_STEP, len(segment.tokens) / FAST_TOKENS):
            return end, following
    return None
