"""One recording on its way to a transcript."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from voxport.audio import AudioSource, open_audio, prepare_source
from voxport.errors import UnsupportedOptionError, UsageError
from voxport.pipeline.history import History
from voxport.pipeline.joining import JoiningScheduler
from voxport.pipeline.languages import LIKELIEST, DetectionOptions, LanguageEvidence, most_spoken, per_window_cut
from voxport.pipeline.options import PipelineOptions
from voxport.pipeline.regions import RegionReader
from voxport.pipeline.reports import with_reports
from voxport.pipeline.resuming import ResumingScheduler
from voxport.types import Segment, Transcript
from voxport.windows import CutOptions, OverlapOptions, OverlapPlanner, RegionPlanner

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from voxport.audio import AudioInput
    from voxport.models import ASRModel, JoiningModel
    from voxport.pipeline.schedule import Scheduler
    from voxport.types import DecodingOptions
    from voxport.windows import Planner


class Transcription:
    """Iterate for segments as they come, then ask for the `result`. To be iterated once.

    Attributes:
        duration: of the recording in seconds, as soon as it is known, else None.
        position: seconds of the recording whose segments are out.
        warnings: what a reader should know, e.g. that the file is damaged and its end is missing.
    """

    def __init__(
        self, audio: AudioInput, model: ASRModel | Sequence[ASRModel], options: PipelineOptions | None = None
    ) -> None:
        """
        Args:
            audio: a path, "-", bytes, a file object, an ``(array, rate)`` pair or an `Audio`.
            model: a model, or replicas of one on several devices, among which windows are shared out.
            options: None = the defaults.

        Raises:
            UnsupportedOptionError: the options ask for something this model lacks.
        """
        self._audio = audio
        self._models = list(model) if isinstance(model, Sequence) else [model]
        self._model = model = self._models[0]
        self._options = options or PipelineOptions()
        self._decoding = self._options.decoding()
        self._segments: list[Segment] = []
        self._timings: dict[str, float] = {}
        self._language: str | None = None
        self._evidence: list[LanguageEvidence] = []
        self._name: str | None = None
        self.duration: float | None = None
        self.position = 0.0
        self.warnings = self._options.idle()
        model.check(self._decoding)
        if self._options.word_timestamps and self._options.task == "translate":
            self.warnings.append("words of a translation have no certain place in what was said: their times are vague")
        if self._options.condition_on_previous_text:
            _check_conditioning(self._models)
        if self._options.format_dictation and "dictation" not in model.supports:
            raise UnsupportedOptionError(
                f"{model.name} writes no dictation marks, there is nothing to format",
                hint="MedASR does: --model medasr",
            )
        if self._options.per_window and "language_detection" not in model.supports:
            raise UnsupportedOptionError(
                f"{model.name} detects no language, so it can't find that of each window",
                hint="use a multilingual model, e.g. whisper-base, or leave --language out",
            )
        if self._options.task == "translate" and "turbo" in model.name.lower():
            self.warnings.append(
                f"{model.name} was not trained to translate: the words may stay in the language that is spoken; "
                "whisper-large-v3 translates"
            )

    @property
    def detected(self) -> LanguageEvidence | None:
        """What is known so far of the language that is spoken; None where it was given, or nobody spoke yet.

        Complete before the first segment comes, but with "auto-per-window", where each window adds to it.
        """
        joined = LanguageEvidence()
        for evidence in self._evidence:
            joined.join(evidence)
        return joined if joined.windows else None

    def __iter__(self) -> Iterator[Segment]:
        started = time.perf_counter()
        try:
            with prepare_source(self._audio) as source:
                self._name = source.name
                yield from self._run(source)
        finally:
            self._timings["total"] = time.perf_counter() - started

    def _run(self, source: AudioSource) -> Iterator[Segment]:
        if self._options.channels != "split":
            for segment in self._channel(source, self._options.channels, None):
                yield self._numbered(segment)
            return
        # Side by side, so that a conversation comes out as it was held, and while it is heard.
        with ExitStack() as stack:
            channels = [
                stack.enter_context(closing(self._channel(source, channel, channel)))
                for channel in range(source.channel_count)
            ]
            for segment in heapq.merge(*channels, key=lambda segment: segment.start):
                yield self._numbered(segment)

    def _channel(
        self, source: AudioSource, channels: int | Literal["mix"], label: int | None
    ) -> Generator[Segment, None, None]:
        with closing(self._heard(source, channels, label)) as segments:
            yield from with_reports(segments) if self._options.format_dictation else segments

    def _heard(
        self, source: AudioSource, channels: int | Literal["mix"], label: int | None
    ) -> Generator[Segment, None, None]:
        with open_audio(source, channels=channels, sample_rate=self._model.sample_rate) as stream:
            self.duration = stream.duration
            reader = RegionReader(stream.blocks(), vad=self._options.vad, planner=_planner(self._model, self._options))
            scheduler = _scheduler(self._models, self._decoding, self._options)
            self._evidence.append(scheduler.evidence)
            try:
                for segment in scheduler.run(reader):
                    self.position = scheduler.position
                    yield replace(segment, channel=label)
                self.duration = self.position = reader.seconds_read
                self._warn_if_short(reader.seconds_read)
            finally:
                self._language = self._language or scheduler.language
                for stage, seconds in {**reader.timings, **scheduler.timings}.items():
                    self._timings[stage] = self._timings.get(stage, 0.0) + seconds
                self.warnings += [text for text in stream.warnings if text not in self.warnings]

    def _warn_if_short(self, seconds: float) -> None:
        least = self._model.min_seconds
        if seconds < least:
            self.warnings.append(
                f"the recording is {seconds:.3f} s long; {self._model.name} hears no words in less than {least:.3f} s"
            )

    def _numbered(self, segment: Segment) -> Segment:
        segment = replace(segment, id=len(self._segments))
        self._segments.append(segment)
        return segment

    def result(self) -> Transcript:
        """What was found: everything after the iteration, what is done so far before its end."""
        detected = self.detected
        probabilities = detected.probabilities() if detected else {}
        language = most_spoken(self._segments) or self._language or next(iter(probabilities), None)
        return Transcript(
            file=self._name,
            text="".join(segment.text for segment in self._segments).strip(),
            formatted_text="".join(segment.formatted_text or "" for segment in self._segments).strip()
            if self._options.format_dictation
            else None,
            words=tuple(word for segment in self._segments for word in segment.words or ())
            if self._options.word_timestamps or "always_words" in self._model.supports
            else None,
            language=language,
            language_probability=probabilities.get(language or ""),
            language_probabilities=dict(islice(probabilities.items(), LIKELIEST)) if detected else None,
            duration=self.duration if self.duration is not None else self.position,
            segments=tuple(self._segments),
            model=self._model.info,
            device=", ".join(str(model.device) for model in self._models),
            dtype=self._model.dtype,
            float32_modules=self._model.float32_modules,
            channel=None if self._options.channels == "mix" else self._options.channels,
            simulated=self._model.device.simulated,
            environment=self._model.device.describe(),
            timings=dict(self._timings),
        )


def _planner(model: ASRModel, options: PipelineOptions) -> Planner:
    """How a recording is cut for this model."""
    if not model.context_seconds:
        return RegionPlanner(per_window_cut() if options.per_window else CutOptions(max_seconds=model.window_seconds))
    step = cast("JoiningModel", model).frame_seconds
    return OverlapPlanner(OverlapOptions(model.window_seconds, model.context_seconds, grid=step))


def _scheduler(models: Sequence[ASRModel], decoding: DecodingOptions, options: PipelineOptions) -> Scheduler[Any]:
    detection = DetectionOptions(options.language_detection_segments, options.per_window)
    if options.condition_on_previous_text:
        return ResumingScheduler(models, decoding, 1, detection, History())
    kind = JoiningScheduler if models[0].context_seconds else ResumingScheduler
    return kind(models, decoding, options.batch_size or models[0].batch_size, detection)


def _check_conditioning(models: Sequence[ASRModel]) -> None:
    if "prompt" not in models[0].supports:
        raise UnsupportedOptionError(
            f"{models[0].name} can't be told what was said before", hint="leave out --condition_on_previous_text"
        )
    if len(models) > 1:
        raise UsageError(
            "windows that are told what was said before them can't be shared out among several devices",
            hint="name one device, or leave out --condition_on_previous_text",
        )
