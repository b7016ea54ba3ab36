"""What is timed of a side, and what each figure means.

Two tasks a round, each over all clips:

- ``model``: for each batch of windows the laps ``features``, ``encode`` and ``decode``. Models that go token by token
  decode exactly N tokens, N being the same for all sides, and then exactly one (``prefill``). The model-only scope is
  encode + decode.
- ``end to end``: one lap ``end_to_end`` for each clip, from its samples to its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from voxport.bench.timing import Samples, Stopwatch
from voxport.errors import UsageError
from voxport.types import DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from voxport.bench.clips import Clip
    from voxport.models import ASRModel
    from voxport.types import Audio, Hypothesis

__all__ = ["DEFINITIONS", "TASKS", "ExactDecoder", "Work", "agree", "settle"]

TASKS = ("model", "end to end")

DEFINITIONS = {
    "model": (
        "model only: encode + decode of each clip's first window (at most the model's longest), features in memory; "
        "the device is synchronised before, between and after. Greedy, no timestamps."
    ),
    "end_to_end": (
        "end to end: decoded samples in memory to text, one recording after the other, as `voxport transcribe` does: "
        "speech detection, windows, features, encode, decode with the family's defaults (Whisper: timestamps)."
    ),
    "end_to_end_windows": (
        "end to end: decoded samples in memory to text, each recording as one window: features, encode, decode. A side "
        "here can't join windows, so no side does."
    ),
    "features": "features: samples to the model's input, on the host's processor",
    "encode": "encode: one call of the encoder over the batch (CTC: up to the logits), input copied to the device",
    "decode": (
        "decode: encoder output to N tokens. N is what the first side says in the window, end of text included (or "
        "--tokens), the same for every side: equal work. CTC: best path and its text"
    ),
    "prefill": (
        "prefill: encoder output to the first token: keys and values of the encoder's output, the prompt, one choice"
    ),
    "token": ("per token: (decode of N tokens - prefill) / (N - 1): one step of the whole batch"),
    "rtf": "RTF: seconds of work for a second of audio, sums over all calls; RTFx = 1 / RTF",
    "clips_per_second": "clips/s: batch / mean latency of a call",
    "latency": "latency: of one call, over all calls (clips or batches x iterations)",
    "speed_up": (
        "speed-up: median over rounds of (the other side's time / this side's), per second of audio, runs of one round "
        "paired; 95 % bootstrap interval"
    ),
}


@runtime_checkable
class ExactDecoder(Protocol):
    """A model that decodes as many tokens as it is told."""

    def decode_exactly(self, encoded: Any, count: int) -> list[list[int]]:
        """So many tokens of each window, the end of text forbidden."""
        ...


@dataclass
class Work:
    """A loaded side's work on the clips: a `timing.Contestant`.

    Attributes:
        model: it.
        environment: the process as the side wants it.
        groups: windows of each call of the model-only scope.
        clips: the recordings of the end-to-end scope.
        language, vad: see `BenchOptions`.
        pipeline_batch: windows that the pipeline decodes together, None = what suits the model.
        whole: end to end in one window instead of through the pipeline.
        counts: N of each group; empty of models that don't go token by token, and until it is known: decoding is then
            as ever, up to the end of text.
        hypotheses: what was heard in each group by decoding as ever.
        texts: of each clip, end to end.
    """

    model: ASRModel
    environment: Any
    groups: Sequence[Sequence[Audio]]
    clips: Sequence[Clip]
    language: str | None = None
    vad: bool = True
    pipeline_batch: int | None = None
    whole: bool = False
    counts: Sequence[int] = ()
    hypotheses: list[list[Hypothesis]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tasks: Sequence[str] = TASKS

    def running(self) -> AbstractContextManager[None]:
        found: AbstractContextManager[None] = self.environment()
        return found

    def synchronize(self) -> None:
        self.model.device.synchronize()

    def run(self, task: str, watch: Stopwatch) -> None:
        """Do a task once."""
        {"model": self._model_only, "end to end": self._end_to_end}[task](watch)

    def check(self) -> None:
        """Refuse, before any work, what this side can't do.

        Raises:
            UsageError: a clip is too long for one window, where it has to be one.
            UnsupportedOptionError: a language that the model lacks.
        """
        self.model.check(self._options())
        if self.whole:
            for clip in self.clips:
                if clip.seconds > self.model.max_seconds:
                    raise UsageError(
                        f"{clip.name} has {clip.seconds:.1f} s, {self.model.name} hears {self.model.max_seconds:g} s "
                        "at once, and this engine can't join windows",
                        hint="give a shorter recording, or measure voxport's own engine",
                    )

    def window_seconds(self) -> float:
        """Of all windows that a round of the model-only scope hears."""
        return sum(window.duration for group in self.groups for window in group)

    def clip_seconds(self) -> float:
        """Of all clips."""
        return sum(clip.seconds for clip in self.clips)

    def _options(self) -> DecodingOptions:
        return DecodingOptions(language=self.language, timestamps=False, no_speech_threshold=None)

    def _model_only(self, watch: Stopwatch) -> None:
        model = self.model
        heard: list[list[Hypothesis]] = []
        for place, group in enumerate(self.groups):
            features = watch.lap("features", model.features, group)
            encoded = watch.lap("encode", model.encode, features)
            if isinstance(model, ExactDecoder) and self.counts:
                watch.lap("decode", model.decode_exactly, encoded, self.counts[place])
                watch.lap("prefill", model.decode_exactly, encoded, 1)
            else:
                heard.append(watch.lap("decode", model.decode, encoded, self._options()))
        self.hypotheses = heard or self.hypotheses

    def _end_to_end(self, watch: Stopwatch) -> None:
        hear = self._hear_whole if self.whole else self._hear
        self.texts = [watch.lap("end_to_end", hear, clip) for clip in self.clips]

    def _hear(self, clip: Clip) -> str:
        from voxport.pipeline import PipelineOptions, Transcription

        options = PipelineOptions(language=self.language, vad=self.vad, batch_size=self.pipeline_batch)
        return "".join(segment.text for segment in Transcription(clip.audio, self.model, options)).strip()

    def _hear_whole(self, clip: Clip) -> str:
        encoded = self.model.encode(self.model.features([clip.audio]))
        return self.model.decode(encoded, DecodingOptions(language=self.language))[0].text.strip()


def agree(works: Sequence[Work], forced: int | None = None) -> None:
    """Have all sides that go token by token decode equally many tokens.

    So many as told, else what the first such side has said in each group: the most of the batch, its end of text
    included, and at least 2.
    """
    going = [work for work in works if isinstance(work.model, ExactDecoder)]
    for work in going:
        if forced is not None:
            work.counts = [forced] * len(work.groups)
            continue
        heard = [max(2, 1 + max(len(one.tokens) for one in group)) for group in going[0].hypotheses]
        # Sides of different batch sizes have different groups: each is then as long as the longest.
        same = len(heard) == len(work.groups)
        work.counts = heard if same else [max(heard)] * len(work.groups)


def settle(works: Sequence[Work]) -> None:
    """Do everything once, untimed: shapes that were not met before are compiled, buffers are there."""
    for work in works:
        untimed = Samples()
        untimed.begin_round()
        watch = Stopwatch(work.synchronize, untimed.add)
        with work.running():
            for task in TASKS:
                work.run(task, watch)
