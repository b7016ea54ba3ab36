"""Words where speech is: what a window's alignment says of its words, put right by what is known of the recording.

An alignment shares all the time out among the words and the signs between them: a pause belongs to one of them, and a
comma takes the end of the word before it. Where there is speech is known better (`voxport.vad`). So a word goes on to
where the next one begins, and is cut to the stretch of speech that it has the most of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import Segment, Span, Word

__all__ = ["LONGEST_TAIL", "settled", "shifted"]

LONGEST_TAIL = 0.3
"""Seconds that a word goes on at the most behind where the alignment ends it: more is a pause that nobody found."""


def shifted(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """The same words, later by so much."""
    return tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in words)


def settled(
    segments: Sequence[Segment], speech: Sequence[Span], earliest: float, following: float, latest: float
) -> list[Segment]:
    """Segments whose words are in order and where speech is. They begin and end with their words.

    A word that has no part in any speech stays where it is: what is too soft to be found may have been heard all the
    same.

    Args:
        segments: of one window, on the recording's clock; those without words stay as they are.
        speech: where there is any, in order.
        earliest: where the segments before them end.
        following: where the next window begins: the words end there, unless they only begin there.
        latest: where this window ends.
    """
    starts = [word.start for segment in segments for word in segment.words or ()]
    if not starts:
        return list(segments)
    until = following if following > starts[-1] else latest
    nexts = iter([*starts[1:], until])
    result: list[Segment] = []
    for segment in segments:
        words: list[Word] = []
        for word in segment.words or ():
            start = min(max(word.start, earliest), until)
            end = max(word.end, min(next(nexts), word.end + LONGEST_TAIL))
            start, end = _within(start, min(max(end, start), until), speech)
            words.append(replace(word, start=round(start, 3), end=round(end, 3)))
            earliest = words[-1].end
        if words:
            segment = replace(segment, start=words[0].start, end=words[-1].end, words=tuple(words))
        result.append(segment)
    return result


def _within(start: float, end: float, speech: Sequence[Span]) -> tuple[float, float]:
    """The part that lies in the stretch of speech that has the most of it; all of it where there is none."""
    parts = [(max(start, span.start), min(end, span.end)) for span in speech if span.start < end and span.end > start]
    return max(parts, key=lambda part: part[1] - part[0], default=(start, end))
