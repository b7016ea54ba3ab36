"""What a caller may ask of the pipeline, checked before anything is loaded or decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from voxport.errors import UsageError
from voxport.pipeline.kinds import KINDS, plain_value
from voxport.types import (
    APPENDED,
    AUTO_PER_WINDOW,
    LANGUAGE_DETECTION_SEGMENTS,
    PREPENDED,
    DecodingOptions,
    Task,
)

DEFAULT_BEAMS = 5
"""Of a search that needs several and was given no number, as in openai/whisper."""

_RANGES = {
    "beam_size": (1, 100, "from 1 to 100"),
    "best_of": (1, 100, "from 1 to 100"),
    "length_penalty": (0.0, 1.0, "from 0 to 1"),
    "compression_ratio_threshold": (0.0, math.inf, "at least 0"),
    "logprob_threshold": (-math.inf, 0.0, "at most 0, as logarithms of probabilities are"),
    "no_speech_threshold": (0.0, 1.0, "a probability, from 0 to 1"),
}
"""Lowest, highest, and both in words."""


@dataclass(frozen=True)
class PipelineOptions:
    """Options of a transcription.

    Attributes:
        language: code or English name ("en", "English"); None or "auto" = detect it, one for all of the recording;
            "auto-per-window" = detect it in each window and decode that in it, for recordings in several languages.
        language_detection_segments: windows at the recording's beginning by which its language is detected.
        task: "transcribe", or "translate" into English.
        vad: find speech first and decode only that; False decodes everything, cut at the quietest points.
        channels: "mix" (all channels averaged), "split" (each on its own), or one channel's number from 0.
        format_dictation: turn dictation marks (``{period}``, ``[FINDINGS]``) into a report; for models that write them.
        word_timestamps: give each segment its words with times and probabilities; models that always do, do so anyway.
        prepend_punctuations, append_punctuations: as in `DecodingOptions`.
        batch_size: windows decoded together; None = as many as suit the model's size, at most 8.
        beam_size: texts that are followed at temperature 0; None = 1, which is greedy, or 5 where hotwords are given.
        patience: a window's search goes on until ``round(beam_size * patience)`` texts ended.
        length_penalty: alpha of ((5 + length) / 6)^alpha, by which a text's log probability is divided; None = its
            length.
        best_of: texts that are drawn above temperature 0.
        temperature: one, or several in ascending order: the first that gives a text within the thresholds is taken.
        compression_ratio_threshold: a text above it, or one that ends in a loop, is decoded again at the next
            temperature; None = never.
        logprob_threshold: so is a text with a mean log probability below it; None = never.
        no_speech_threshold: a window whose no-speech probability is above it and whose text is below
            `logprob_threshold` is silent; None = no such rule.
        seed: of what is drawn above temperature 0.
        initial_prompt: text that is taken to stand before every window: names, spelling, style.
        condition_on_previous_text: each window is told what was said before it. Windows are then decoded one after
            the other.
        hotwords: terms that the search is drawn towards.
        hotword_weight: natural-log units that each of their tokens gains.

    Raises:
        UsageError: a value of another kind, or out of range.
    """

    language: str | None = None
    language_detection_segments: int = LANGUAGE_DETECTION_SEGMENTS
    task: Task = "transcribe"
    vad: bool = True
    channels: int | Literal["mix", "split"] = "mix"
    format_dictation: bool = False
    word_timestamps: bool = False
    prepend_punctuations: str = PREPENDED
    append_punctuations: str = APPENDED
    batch_size: int | None = None
    beam_size: int | None = None
    patience: float = 1.0
    length_penalty: float | None = None
    best_of: int = 5
    temperature: float | Sequence[float] = 0.0
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    seed: int = 0
    initial_prompt: str | None = None
    condition_on_previous_text: bool = False
    hotwords: Sequence[str] = ()
    hotword_weight: float = DecodingOptions.hotword_weight

    def __post_init__(self) -> None:
        from voxport.tokenizer import language_code

        for name in KINDS:
            object.__setattr__(self, name, plain_value(name, getattr(self, name)))
        if self.language == "auto":
            object.__setattr__(self, "language", None)
        elif self.language not in (None, AUTO_PER_WINDOW):
            object.__setattr__(self, "language", language_code(self.language, others=("auto", AUTO_PER_WINDOW)))
        if self.language_detection_segments < 1:
            raise UsageError(
                f"language detection needs at least 1 window, not {self.language_detection_segments}",
                hint="--language_detection_segments is how many are asked",
            )
        if self.task not in get_args(Task):
            raise UsageError(f"unknown task {self.task!r}", hint="tasks are: transcribe, translate")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch size must be at least 1, not {self.batch_size}")
        if isinstance(self.channels, str) and self.channels not in ("mix", "split"):
            raise UsageError(f"unknown channels {self.channels!r}", hint="channels are: mix, split, or a number from 0")
        if isinstance(self.channels, int) and self.channels < 0:
            raise UsageError(f"channels count from 0, {self.channels} was asked for")
        if self.condition_on_previous_text and (self.batch_size or 1) > 1:
            raise UsageError(
                "windows that are told what was said before them can't be decoded together",
                hint="leave out the batch size, or condition_on_previous_text",
            )
        self._check_search()
        object.__setattr__(self, "hotwords", _terms(self.hotwords))
        if self.hotwords and self.beam_size == 1:
            raise UsageError("hotwords need a search over several texts", hint="leave out the beam size, or raise it")

    def _check_search(self) -> None:
        temperatures = self.temperatures
        if not temperatures or not all(value == 0.0 or 0.01 <= value <= 100.0 for value in temperatures):
            raise UsageError(
                f"temperatures are 0, or from 0.01 to 100, not {self.temperature!r}",
                hint="0 is greedy: it takes the likeliest text",
            )
        if list(temperatures) != sorted(set(temperatures)):
            raise UsageError(f"temperatures must rise: {temperatures!r}", hint="e.g. 0, 0.2, 0.4")
        for name, (lowest, highest, words) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise UsageError(f"{name} must be {words}, not {value}")
        if not 0.0 < self.patience <= 100.0:
            hint = "1 is the usual beam search"
            raise UsageError(f"patience must be above 0 and at most 100, not {self.patience}", hint=hint)
        if self.patience != 1.0 and self._beams == 1:
            raise UsageError("patience is about a beam search", hint="give a beam size too, e.g. 5")
        if not 0.0 < self.hotword_weight <= 100.0:
            hint = "about 2 is usual; much higher ones put terms where nobody said them"
            raise UsageError(f"hotword_weight must be above 0 and at most 100, not {self.hotword_weight}", hint=hint)
        if self.seed < 0:
            raise UsageError(f"the seed must be at least 0, not {self.seed}")

    @property
    def per_window(self) -> bool:
        """Whether each window is decoded in the language that is detected in it."""
        return self.language == AUTO_PER_WINDOW

    @property
    def temperatures(self) -> tuple[float, ...]:
        """All of them."""
        return tuple(self.temperature) if isinstance(self.temperature, Sequence) else (self.temperature,)

    @property
    def _beams(self) -> int:
        return self.beam_size or (DEFAULT_BEAMS if self.hotwords else 1)

    def idle(self) -> list[str]:
        """Which options were given and make no difference beside the others, in words."""
        temperatures = self.temperatures
        one_text = all((self.best_of if temperature else self._beams) == 1 for temperature in temperatures)
        drawn_only = all(temperatures)
        samples_asked = self.best_of != PipelineOptions.best_of
        found = (
            ("best_of", samples_asked and not any(temperatures), "nothing is drawn at temperature 0"),
            ("length_penalty", self.length_penalty is not None and one_text, "there is one text to choose from"),
            ("beam_size", (self.beam_size or 1) > 1 and drawn_only, "texts are followed at temperature 0 only"),
            ("hotwords", self.hotwords and drawn_only, "they draw the search at temperature 0 only"),
        )
        return [f"{name} has no effect: {reason}" for name, idle, reason in found if idle]

    def decoding(self) -> DecodingOptions:
        """The options of each window."""
        return DecodingOptions(
            task=self.task,
            language=None if self.per_window else self.language,
            no_speech_threshold=self.no_speech_threshold,
            logprob_threshold=self.logprob_threshold,
            compression_ratio_threshold=self.compression_ratio_threshold,
            word_timestamps=self.word_timestamps,
            prepend_punctuations=self.prepend_punctuations,
            append_punctuations=self.append_punctuations,
            beam_size=self._beams,
            patience=self.patience,
            length_penalty=self.length_penalty,
            best_of=self.best_of,
            temperatures=self.temperatures,
            seed=self.seed,
            initial_prompt=self.initial_prompt,
            hotwords=tuple(self.hotwords),
            hotword_weight=self.hotword_weight,
        )


def _terms(hotwords: Sequence[str]) -> tuple[str, ...]:
    """With single spaces, and without what is empty or said twice."""
    terms = (" ".join(term.split()) for term in hotwords)
    return tuple(dict.fromkeys(term for term in terms if term))
