"""What a caller may ask of the pipeline, checked before anything is loaded or decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from voxport.errors import UsageError
from voxport.types import APPENDED, PREPENDED, Task


@dataclass(frozen=True)
class PipelineOptions:
    """Options of a transcription.

    Attributes:
        language: code or English name ("en", "English"), None = detect.
        task: "transcribe", or "translate" into English.
        vad: find speech first and decode only that; False decodes everything, cut at the quietest points.
        channels: "mix" (all channels averaged), "split" (each on its own), or one channel's number from 0.
        format_dictation: turn dictation marks (``{period}``, ``[FINDINGS]``) into a report; for models that write them.
        word_timestamps: give each segment its words with times and probabilities; models that always do, do so anyway.
        prepend_punctuations, append_punctuations: as in `DecodingOptions`.
        batch_size: windows decoded together; None = as many as suit the model's size, at most 8.

    Raises:
        UsageError: a value out of range.
    """

    language: str | None = None
    task: Task = "transcribe"
    vad: bool = True
    channels: int | Literal["mix", "split"] = "mix"
    format_dictation: bool = False
    word_timestamps: bool = False
    prepend_punctuations: str = PREPENDED
    append_punctuations: str = APPENDED
    batch_size: int | None = None

    def __post_init__(self) -> None:
        from voxport.tokenizer import language_code

        if self.language is not None:
            object.__setattr__(self, "language", language_code(self.language))
        if self.task not in get_args(Task):
            raise UsageError(f"unknown task {self.task!r}", hint="tasks are: transcribe, translate")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch size must be at least 1, not {self.batch_size}")
        if isinstance(self.channels, str) and self.channels not in ("mix", "split"):
            raise UsageError(f"unknown channels {self.channels!r}", hint="channels are: mix, split, or a number from 0")
        if isinstance(self.channels, int) and self.channels < 0:
            raise UsageError(f"channels count from 0, {self.channels} was asked for")
