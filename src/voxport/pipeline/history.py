"""What was said so far, of which the next window is told: ``condition_on_previous_text``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voxport.types import Hypothesis, Segment

RESET_ABOVE = 0.5
"""A text drawn at a higher temperature than this is no good example for the next (openai/whisper)."""

KEPT = 448
"""Tokens that are kept: no decoder has room for more."""


class History:
    """Tokens of the windows so far; forgotten where one was drawn at a high temperature or ran in a loop.

    openai/whisper forgets for the former only (`prompt_reset_since` in whisper/transcribe.py). A loop that was cut is
    an example that the next window likes to follow.
    """

    def __init__(self) -> None:
        self.tokens: tuple[int, ...] = ()

    def add(self, segments: Iterable[Segment], hypothesis: Hypothesis) -> None:
        """Take what a window added to the transcript, and the window's hypothesis."""
        if (hypothesis.temperature or 0.0) > RESET_ABOVE or "repetition" in hypothesis.flags:
            self.tokens = ()
            return
        said = tuple(token for segment in segments for token in segment.tokens)
        self.tokens = (*self.tokens, *said)[-KEPT:]
