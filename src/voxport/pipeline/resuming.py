"""Windows that go on where the one before stopped listening, for models that decode each window on its own (Whisper).

A region is decoded window after window: where the model stops listening inside a window, or passes over speech, the
rest becomes another window.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from voxport.pipeline.schedule import Job, Scheduler
from voxport.pipeline.word_times import settled, shifted
from voxport.types import Audio, Hypothesis, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.models import ASRModel
    from voxport.pipeline.history import History
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import DecodingOptions
    from voxport.windows import Region

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


@dataclass(eq=False)
class ResumingJob(Job):
    """A region, how far it is heard (`position`, seconds of the recording), and what it said so far."""

    position: float = 0.0
    segments: list[Segment] = field(default_factory=list)

    def window_end(self, longest: float) -> float:
        return min(self.position + longest, self.audio.region.end)

    def length(self, longest: float) -> float:
        return self.window_end(longest) - self.position


class ResumingScheduler(Scheduler[ResumingJob]):
    """See the module."""

    def __init__(
        self,
        models: Sequence[ASRModel],
        options: DecodingOptions,
        batch_size: int,
        history: History | None = None,
    ) -> None:
        """
        Args:
            models, options, batch_size: as `Scheduler`.
            history: what was said so far, of which each window is told; batches of one only.
        """
        super().__init__(models, options, batch_size)
        self._history = history

    def _job(self, order: int, audio: RegionAudio) -> ResumingJob:
        return ResumingJob(order, audio, position=audio.region.start)

    def _segments(self, job: ResumingJob) -> Iterable[Segment]:
        return job.segments

    def _decode(self, model: ASRModel, batch: list[ResumingJob]) -> None:
        ends = [job.window_end(model.max_seconds) for job in batch]
        windows = [Audio(job.audio.slice(job.position, end)) for job, end in zip(batch, ends, strict=True)]
        features = self._timed(model, "features", model.features, windows)
        encoded = self._timed(model, "encode", model.encode, features)
        # One window alone is asked as it is decoded, which is cheaper than before.
        if self.language is None and "language_detection" in model.supports and len(batch) > 1:
            self.language = self._detect(model, batch, encoded)
        options = replace(self._options, language=self.language)
        if self._history is not None:
            options = replace(options, previous_tokens=self._history.tokens)
        hypotheses = self._timed(model, "decode", model.decode, encoded, options)
        self.language = self.language or hypotheses[0].language
        for job, end, hypothesis in zip(batch, ends, hypotheses, strict=True):
            kept = _take(job, end, hypothesis)
            if self._history is not None:
                self._history.add(kept, hypothesis)

    def _detect(self, model: ASRModel, batch: list[ResumingJob], encoded: Any) -> str:
        """The language of the earliest window: whatever else is in the batch, the answer is the same."""
        earliest = min(range(len(batch)), key=lambda place: batch[place].order)
        guesses: list[tuple[str, float]] = self._timed(model, "decode", model.detect_language, encoded)
        return guesses[earliest][0]


def _take(job: ResumingJob, end: float, hypothesis: Hypothesis) -> list[Segment]:
    """Add a window's segments to its region, and move on to where the next window begins; returns what was added."""
    start, region = job.position, job.audio.region
    # A time beyond the window's audio is in its padding.
    segments = [
        replace(
            segment,
            seek=round(start * 100),
            start=min(start + segment.start, end),
            end=min(start + segment.end, end),
            words=None if segment.words is None else shifted(segment.words, start),
        )
        for segment in hypothesis.segments
    ]
    kept, passed_over = _heard(segments, region, start + LEAST_STEP)
    following = end
    if passed_over is not None:
        following = passed_over
    elif hypothesis.resume is not None:
        following = start + hypothesis.resume
    elif kept and region.speech_after(kept[-1].end) >= UNHEARD:
        following = kept[-1].end
    if following - start < LEAST_STEP:
        following = _next_start(region, start)
    # Last, so that words with times change nothing about where the next window begins.
    heard_before = job.segments[-1].end if job.segments else region.start
    job.segments += settled(kept, region.speech, heard_before, following, end)
    job.position = following
    job.done = following >= region.end or region.speech_after(following) < LEAST_REST
    return kept


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
