"""Texts that the decoder is led through to see what it listens to: of each window its prompt and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.tokenizer import WhisperTokenizer
    from voxport.types import Hypothesis

__all__ = ["ForcedTexts", "ForcedWindow"]


@dataclass(frozen=True)
class ForcedWindow:
    """One window's part of the batch: `tokens` from the prompt to the end of text, `frames` of audio."""

    row: int
    tokens: tuple[int, ...]
    frames: int


@dataclass(frozen=True)
class ForcedTexts:
    """Of the windows of a batch.

    Attributes:
        durations: of their audio, seconds.
        prompts: of each window, ending with the token that says that there are no timestamps.
        texts: text tokens of each window; one with none is left out.
        eot: the id of the end of text, which all text tokens are below.
    """

    durations: Sequence[float]
    prompts: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    eot: int

    @classmethod
    def of(
        cls,
        hypotheses: Sequence[Hypothesis | None],
        durations: Sequence[float],
        tokenizer: WhisperTokenizer,
        task: str,
    ) -> ForcedTexts:
        """What was decoded; of a window with None, or without segments, there is no text."""
        said = [one if one is not None and one.segments else None for one in hypotheses]
        return cls(
            durations,
            [tokenizer.sot_sequence(one.language, task, timestamps=False) if one else () for one in said],
            [[token for token in one.tokens if token < tokenizer.eot] if one else [] for one in said],
            tokenizer.eot,
        )

    def windows(self, *, most_frames: int, most_tokens: int) -> list[ForcedWindow]:
        """The windows that have a text.

        Args:
            most_frames: encoder positions of a window.
            most_tokens: positions of the decoder. Where a window has a text token in each, the end of text has none.
        """
        return [
            ForcedWindow(
                row,
                (*prompt, *text, self.eot)[:most_tokens],
                max(1, min(int(duration * 100) // 2, most_frames)),
            )
            for row, (duration, prompt, text) in enumerate(zip(self.durations, self.prompts, self.texts, strict=True))
            if text
        ]
