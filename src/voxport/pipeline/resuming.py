"""Windows that go on where the one before stopped listening, for models that decode each window on its own (Whisper).

A region is decoded window after window: where the model stops listening inside a window, or passes over speech, the
rest becomes another window.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from voxport.pipeline.languages import LanguageEvidence, window_language
from voxport.pipeline.schedule import Job, Scheduler
from voxport.pipeline.word_times import settled, shifted
from voxport.types import Audio, Hypothesis, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voxport.models import ASRModel
    from voxport.pipeline.history import History
    from voxport.pipeline.languages import DetectionOptions
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import DecodingOptions
    from voxport.windows import Region

LEAST_REST = 0.3
"""Speech (seconds) left in a region that is worth another window. Less is the tail of the last word."""

UNHEARD = 1.5
"""Speech (seconds) between two segments, or after the last, that the model passed over without a word."""

SPARSE_SPEECH, SPARSE_TOKENS = 8.0, 1.25
"""A segment over at least so much speech (seconds), with fewer tokens than this to a second of it: the model heard the
beginning and then jumped to the end. Slow speech has two tokens to a second, and more; jumps were met with one."""

USUAL_TOKENS = 4.0
"""To a second of speech: what such a segment did hear ends at the pause nearest to where so many tokens end."""

LEAST_STEP = 0.5
"""A window that brings the region on by less than this (seconds) got stuck."""

LONGEST_STEP = 5.0
"""Where it got stuck, the next window begins at the next pause, but after so much (seconds) at the latest."""


@dataclass(eq=False)
class ResumingJob(Job):
    """A region under way.

    Attributes:
        position: how far it is heard, seconds of the recording.
        segments: what it said so far.
        language: of the window before the next one, where each window has its own.
        encoded: where this and other regions open the recording: their windows, encoded already.
    """

    position: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    language: str | None = None
    encoded: Sequence[_Windows] = ()

    def window_end(self, longest: float) -> float:
        return min(self.position + longest, self.audio.region.end)

    def length(self, longest: float) -> float:
        return self.window_end(longest) - self.position


@dataclass(eq=False)
class _Windows:
    """The next windows of some regions, encoded together.

    Attributes:
        jobs: the regions.
        ends: of their windows, seconds of the recording.
        encoded: by one of the replicas.
        detected: how likely each language is in each window; empty where nobody has asked yet.
    """

    jobs: list[ResumingJob]
    ends: list[float]
    encoded: Any
    detected: Sequence[dict[str, float]] = ()

    def speech(self) -> list[float]:
        """Seconds of speech in each window."""
        return [
            job.audio.region.speech_after(job.position) - job.audio.region.speech_after(end)
            for job, end in zip(self.jobs, self.ends, strict=True)
        ]

    def by_speech(self) -> list[tuple[dict[str, float], float]]:
        """What was detected in each window, and its seconds of speech."""
        return list(zip(self.detected, self.speech(), strict=True))


class ResumingScheduler(Scheduler[ResumingJob]):
    """See the module. Where no language is given it is found first, see `_opening`."""

    _usual: str | None = None
    """The language of the recording's beginning, for windows in which none is certain."""

    def __init__(
        self,
        models: Sequence[ASRModel],
        options: DecodingOptions,
        batch_size: int,
        detection: DetectionOptions | None = None,
        history: History | None = None,
    ) -> None:
        """
        Args:
            models, options, batch_size, detection: as `Scheduler`.
            history: what was said so far, of which each window is told; batches of one only.
        """
        super().__init__(models, options, batch_size, detection)
        self._history = history

    def _job(self, order: int, audio: RegionAudio) -> ResumingJob:
        return ResumingJob(order, audio, position=audio.region.start)

    def _segments(self, job: ResumingJob) -> Iterable[Segment]:
        return job.segments

    def _opening(self, jobs: Iterator[ResumingJob]) -> list[ResumingJob]:
        """The recording's first regions, encoded in their order, so that the language is known before any is decoded.

        It is found on the first windows of the first regions, whatever the batch size and however many replicas there
        are, and they are decoded from the encoding it was found on. A recording of one window is left alone: it is
        asked as it is decoded, which is cheaper.
        """
        if self.language is not None or "language_detection" not in self._models[0].supports:
            return []
        size, asked = self._batch_size, self._detection.segments
        opening = list(islice(jobs, -(-asked // size) * size))
        if len(opening) < 2:
            return opening
        batches = [opening[start : start + size] for start in range(0, len(opening), size)]
        opening[0].encoded = [self._encoded(self._models[0], batch, detect=True) for batch in batches]
        found = [pair for windows in opening[0].encoded for pair in windows.by_speech()]
        evidence = LanguageEvidence() if self._detection.per_window else self.evidence
        for probabilities, seconds in found[:asked]:
            evidence.add(probabilities, seconds)
        if self._detection.per_window:
            self._usual = evidence.language()
        else:
            self.language = evidence.language()
        return opening

    def _decode(self, model: ASRModel, batch: list[ResumingJob]) -> None:
        encoded, batch[0].encoded = batch[0].encoded, ()
        for windows in encoded or [self._encoded(model, batch, detect=self._detection.per_window)]:
            self._hear(model, windows)
            if self._history is not None:  # which is told in order: what is left of a region before the next region
                (job,) = windows.jobs
                while not job.done:
                    self._hear(model, self._encoded(model, [job], detect=self._detection.per_window))

    def _encoded(self, model: ASRModel, batch: list[ResumingJob], *, detect: bool) -> _Windows:
        """The next windows of these regions."""
        ends = [job.window_end(model.max_seconds) for job in batch]
        audio = [Audio(job.audio.slice(job.position, end)) for job, end in zip(batch, ends, strict=True)]
        features = self._timed(model, "features", model.features, audio)
        encoded = self._timed(model, "encode", model.encode, features)
        detected = self._timed(model, "decode", model.detect_language, encoded) if detect else ()
        return _Windows(batch, ends, encoded, detected)

    def _hear(self, model: ASRModel, windows: _Windows) -> None:
        """Decode windows, and bring their regions on."""
        options = replace(self._options, language=self.language, window_languages=self._own_languages(windows))
        if self._history is not None:
            options = replace(options, previous_tokens=self._history.tokens)
        hypotheses: list[Hypothesis] = self._timed(model, "decode", model.decode, windows.encoded, options)
        if self.language is None and not self._detection.per_window:  # this is the recording's only window
            self.language = hypotheses[0].language
            if hypotheses[0].language_probabilities is not None:
                self.evidence.add(hypotheses[0].language_probabilities, windows.speech()[0])
        for job, end, hypothesis in zip(windows.jobs, windows.ends, hypotheses, strict=True):
            kept = _take(job, end, hypothesis)
            if self._history is not None:
                self._history.add(kept, hypothesis)

    def _own_languages(self, windows: _Windows) -> tuple[str, ...] | None:
        """In which language each window is to be decoded, where each has its own; else None."""
        if not self._detection.per_window:
            return None
        languages = []
        for job, (probabilities, seconds) in zip(windows.jobs, windows.by_speech(), strict=True):
            self.evidence.add(probabilities, seconds)
            job.language = window_language(probabilities, job.language or self._usual)
            languages.append(job.language)
        return tuple(languages)


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
            language=hypothesis.language,
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
    pauses = []
    for (start, end), (following, _) in pairwise(pieces):
        heard += end - start
        if heard >= LEAST_STEP:
            pauses.append((abs(heard - len(segment.tokens) / USUAL_TOKENS), end, following))
    return min(pauses)[1:] if pauses else None
