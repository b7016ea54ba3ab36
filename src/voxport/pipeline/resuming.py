"""Windows that go on where the one before stopped listening, for models that decode each window on its own (Whisper).

A region is decoded window after window, in batches with those of other regions; `voxport.pipeline.advancing` says where
the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from voxport.pipeline.advancing import AdvancingJob, advance
from voxport.pipeline.coverage import is_certain
from voxport.pipeline.languages import LanguageEvidence, window_language
from voxport.pipeline.schedule import Scheduler
from voxport.types import Audio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voxport.models import ASRModel, PlacingModel
    from voxport.pipeline.history import History
    from voxport.pipeline.languages import DetectionOptions
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import DecodingOptions, Hypothesis, Segment


@dataclass(eq=False)
class ResumingJob(AdvancingJob):
    """A region under way.

    Attributes:
        encoded: where this and other regions open the recording: their windows, encoded already.
    """

    encoded: Sequence[_Windows] = ()


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
            job.audio.region.speech_between(job.position, end) for job, end in zip(self.jobs, self.ends, strict=True)
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
        self.timings["places"] = 0.0
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
        encoded = self._encode(model, audio)
        detected = self._timed(model, "decode", model.detect_language, encoded) if detect else ()
        return _Windows(batch, ends, encoded, detected)

    def _hear(self, model: ASRModel, windows: _Windows) -> None:
        """Decode windows, and bring their regions on."""
        options = replace(self._options, language=self.language, window_languages=self._own_languages(windows))
        if self._history is not None and windows.jobs[0].stretch is None:  # a stretch was said before what is known
            options = replace(options, previous_tokens=self._history.tokens)
        hypotheses: list[Hypothesis] = self._timed(model, "decode", model.decode, windows.encoded, options)
        if self.language is None and not self._detection.per_window:  # this is the recording's only window
            self.language = hypotheses[0].language
            if hypotheses[0].language_probabilities is not None:
                self.evidence.add(hypotheses[0].language_probabilities, windows.speech()[0])
        places = self._places(model, windows, hypotheses, options)
        for job, end, hypothesis, own in zip(windows.jobs, windows.ends, hypotheses, places, strict=True):
            alone = job.stretch is not None
            kept = advance(job, end, hypothesis, own)
            if self._history is not None and not alone:
                self._history.add(kept, hypothesis)

    def _places(
        self, model: ASRModel, windows: _Windows, hypotheses: Sequence[Hypothesis], options: DecodingOptions
    ) -> Sequence[list[tuple[float, ...]] | None]:
        """Where the tokens of each window were heard, of those of which it matters."""
        nothing: list[None] = [None] * len(hypotheses)
        # A translation's words are not in the order in which they are heard.
        if "token_places" not in model.supports or options.task == "translate":
            return nothing
        asked = [
            one if _in_doubt(job, end, one) else None
            for job, end, one in zip(windows.jobs, windows.ends, hypotheses, strict=True)
        ]
        if not any(one is not None and one.segments for one in asked):
            return nothing
        placing = cast("PlacingModel", model)
        found: list[list[tuple[float, ...]] | None] = self._timed(
            model, "places", placing.token_places, windows.encoded, asked, options
        )
        return found

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


def _in_doubt(job: ResumingJob, end: float, hypothesis: Hypothesis) -> bool:
    """Whether a window's text may leave something out, as far as it is known where there is speech."""
    region = job.audio.region
    return region.looked_for_speech and not is_certain(hypothesis, region.speech, job.position, end)
