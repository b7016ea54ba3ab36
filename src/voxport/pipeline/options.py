"""What a caller may ask of the pipeline, checked before anything is loaded or decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from voxport.errors import UsageError
from voxport.types import AUTO_PER_WINDOW, LANGUAGE_DETECTION_SEGMENTS, Task


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
        batch_size: windows decoded together; None = as many as suit the model's size, at most 8.

    Raises:
        UsageError: a value out of range.
    """

    language: str | None = None
    language_detection_segments: int = LANGUAGE_DETECTION_SEGMENTS
    task: Task = "transcribe"
    vad: bool = True
    channels: int | Literal["mix", "split"] = "mix"
    format_dictation: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        from voxport.tokenizer import language_code

        if self.language == "auto":
            object.__setattr__(self, "language", None)
        elif self.language not in (None, AUTO_PER_WINDOW):
            object.__setattr__(self, "language", language_code(self.language))
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
