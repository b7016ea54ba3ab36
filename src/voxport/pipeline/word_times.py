"""Words where speech is: what a window's alignment says of its words, put right by what is known of the whole recording.

A model that is asked where a word is has to say something about pauses too: it counts them to the word before or after
them. Where there is speech is known better (`voxport.vad`), so a word is cut to the stretch of speech that it shares
the most with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import Segment, Span, Word

__all__ = ["settled", "shifted"]


def shifted(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """The same words, later by so much."""
    return tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in words)


def settled(segments: Sequence[Segment], speech: Sequence[Span], earliest: float, latest: float) -> list[Segment]:
    """Segments whose words are in order and inside of their segment, and where speech is.

    Segments begin and end with their words. A word that shares nothing with any speech stays where it is: what is too
    soft to be found may have been heard all the same.

    Args:
        segments: of one window, on the recording's clock; those without words stay as they are.
        speech: where there is any, in order.
        earliest: where the words before them end.
        latest: where the window ends.
    """
    result: list[Segment] = []
    for segment in segments:
        if not segment.words:
            result.append(segment)
            continue
        words: list[Word] = []
        for word in segment.words:
            start = min(max(word.start, earliest), latest)
            end = min(max(word.end, start), latest)
            start, end = _within(start, end, speech)
            words.append(replace(word, start=round(start, 3), end=round(end, 3)))
            earliest = end
        result.append(replace(segment, start=words[0].start, end=words[-1].end, words=tuple(words)))
    return result


def _within(start: float, end: float, speech: Sequence[Span]) -> tuple[float, float]:
    """The part that lies in the stretch of speech that has the most of it; all where there is none."""
    parts = [(max(start, span.start), min(end, span.end)) for span in speech if span.start < end and span.end > start]
    return max(parts, key=lambda part: part[1] - part[0], default=(start, end))
