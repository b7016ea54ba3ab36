"""Whisper's tokens to segments: text between two timestamps, and where the model stopped listening.

The rule is openai/whisper's (`transcribe` in whisper/transcribe.py): consecutive timestamps part segments; a single one
at the end says that nothing was said after it; without one, the model stopped within the window, and what follows the
last pair is to be decoded again from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_PRECISION = 0.02
"""Seconds from one timestamp token to the next."""


@dataclass(frozen=True)
class TimedTokens:
    """Tokens (timestamps included) with their times in seconds from the window's start."""

    start: float
    end: float
    tokens: tuple[int, ...]


def split_segments(
    tokens: Sequence[int], timestamp_begin: int, duration: float
) -> tuple[list[TimedTokens], float | None]:
    """Part a window's tokens into segments.

    Args:
        tokens: of one window, without prompt and end of text.
        timestamp_begin: id of <|0.00|>.
        duration: of the window's audio, seconds; an open end is put there.

    Returns:
        The segments in order, and the time from which the window should be decoded again, None if it is covered.
    """
    is_time = [token >= timestamp_begin for token in tokens]
    single_ending = is_time[-2:] == [False, True]
    cuts = [i + 1 for i in range(len(tokens) - 1) if is_time[i] and is_time[i + 1]]
    if not cuts:
        return _whole_window(tokens, is_time, timestamp_begin, duration)
    if single_ending:
        cuts.append(len(tokens))
    segments = []
    previous = 0
    for cut in cuts:
        piece = tuple(tokens[previous:cut])
        start = (piece[0] - timestamp_begin) * TIME_PRECISION
        end = (piece[-1] - timestamp_begin) * TIME_PRECISION
        segments.append(TimedTokens(start, end, piece))
        previous = cut
    resume = None if single_ending else (tokens[previous - 1] - timestamp_begin) * TIME_PRECISION
    return segments, resume


def _whole_window(
    tokens: Sequence[int], is_time: Sequence[bool], timestamp_begin: int, duration: float
) -> tuple[list[TimedTokens], float | None]:
    """No pair of timestamps: one segment, to the last timestamp if it says more than <|0.00|>, else to the end."""
    times = [token for token, time in zip(tokens, is_time, strict=True) if time]
    start, end = 0.0, duration
    if times and is_time[0]:
        start = (times[0] - timestamp_begin) * TIME_PRECISION
    if times and times[-1] != timestamp_begin and not (len(times) == 1 and is_time[0]):
        end = (times[-1] - timestamp_begin) * TIME_PRECISION
    if start >= end:  # said to begin in the padding: its words are real all the same
        start = 0.0
    return [TimedTokens(start, end, tuple(tokens))], None
