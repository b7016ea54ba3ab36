"""Words where speech is: what a window's alignment says of its words, put right by what is known of the recording.

An alignment shares all the time out among the words and the signs between them: a pause belongs to one of them, and a
comma takes the end of the word before it. Where there is speech is known better (`voxport.vad`). So a word goes on to
where the next one begins, and is cut to the stretch of speech that it has the most of.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import Segment, Span, Word

__all__ = ["FARTHEST", "LENT", "LONGEST_TAIL", "settled", "shared", "shifted"]

Times: TypeAlias = "tuple[float, float]"

LONGEST_TAIL = 0.3
"""Seconds that a word goes on at the most behind where the alignment ends it: more is a pause that nobody found."""

FARTHEST = 1.0
"""Seconds between a word in silence and speech up to which it was driven out of that."""

LENT = 0.05
"""Seconds that a word of no length gets at the most from the word beside it, so that subtitles can show it."""


def shifted(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """The same words, later by so much."""
    return tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in words)


def settled(
    segments: Sequence[Segment], speech: Sequence[Span], earliest: float, following: float, latest: float
) -> list[Segment]:
    """Segments whose words are in order and where speech is. They begin and end with their words.

    A word that has no part in any speech was driven out of it: in silence an alignment is as good as any other. It
    shares the time of the word beside it. Only where speech is far off it stays where it is: what is too soft to be
    found may have been heard all the same.

    Args:
        segments: of one window, on the recording's clock; those without words stay as they are.
        speech: where there is any, in order.
        earliest: where the segments before them end.
        following: where the next window begins: the words end there, unless they only begin there.
        latest: where this window ends.
    """
    words = [word for segment in segments for word in segment.words or ()]
    if not words:
        return list(segments)
    until = following if following > words[-1].start else latest
    times: list[Times] = []
    for word, after in zip(words, [*(word.start for word in words[1:]), until], strict=True):
        start = min(max(word.start, earliest), until)
        end = max(word.end, min(after, word.end + LONGEST_TAIL))
        times.append((start, min(max(end, start), until)))
    placed = [(max(start, earliest), max(end, earliest)) for start, end in _placed(words, times, speech)]
    lengthened = _lengthened(words, placed)
    rounded = iter([_rounded(start, end, earliest, latest) for start, end in lengthened])
    result: list[Segment] = []
    for segment in segments:
        own = tuple(
            replace(word, start=start, end=end)
            for word, (start, end) in zip(segment.words or (), rounded, strict=False)
        )
        result.append(replace(segment, start=own[0].start, end=own[-1].end, words=own) if own else segment)
    return result


def _placed(words: Sequence[Word], times: Sequence[Times], speech: Sequence[Span]) -> list[Times]:
    """Where speech is, word for word, in order."""
    parts = [_within(start, end, speech) for start, end in times]
    found = [part or whole for part, whole in zip(parts, times, strict=True)]
    place = 0
    while place < len(words):
        first = place
        while place < len(words) and parts[place] is None:
            place += 1
        if first == place:
            place += 1
            continue
        # The words from `first` to before `place` are in silence.
        before, behind = parts[first - 1] if first else None, parts[place] if place < len(words) else None
        to_before = float("inf") if before is None else times[first][0] - before[1]
        to_behind = float("inf") if behind is None else behind[0] - times[place - 1][1]
        if min(to_before, to_behind) > FARTHEST:
            continue
        if behind is not None and to_behind <= to_before:
            found[first : place + 1] = shared(words[first : place + 1], behind)
        elif before is not None:
            found[first - 1 : place] = shared(words[first - 1 : place], found[first - 1])
    earliest = 0.0
    for number, (start, end) in enumerate(found):
        start = max(start, earliest)
        found[number] = (start, max(end, start))
        earliest = found[number][1]
    return found


def _lengthened(words: Sequence[Word], times: Sequence[Times]) -> list[Times]:
    """Words of no length get some time, at most a third, of the longer of the two words that touch them."""
    found = list(times)
    place = 0
    for (start, end), run in groupby(times):
        first, place = place, place + len(list(run))
        if end > start:
            continue
        before, behind = found[max(first - 1, 0)], found[min(place, len(found) - 1)]
        from_before = start - before[0] if before[1] == start else 0.0
        from_behind = behind[1] - start if behind[0] == start else 0.0
        lent = min(LENT * (place - first), max(from_before, from_behind) / 3)
        if not lent:
            continue
        if from_before >= from_behind:
            own = shared(words[first:place], (start - lent, start))
            found[first - 1 : place] = [(before[0], own[0][0]), *own]
        else:
            own = shared(words[first:place], (start, start + lent))
            found[first : place + 1] = [*own, (own[-1][1], behind[1])]
    return found


def shared(words: Sequence[Word], time: Times) -> list[Times]:
    """One stretch of time for several words, by the length of their text."""
    lengths = [max(1, len(word.word.strip())) for word in words]
    start, end = time
    edges = [start + (end - start) * sum(lengths[:count]) / sum(lengths) for count in range(len(words) + 1)]
    return list(pairwise(edges))


def _rounded(start: float, end: float, earliest: float, latest: float) -> Times:
    """To milliseconds, but not beyond what is allowed: the recording may end between two of them."""
    return max(min(round(start, 3), latest), earliest), max(min(round(end, 3), latest), earliest)


def _within(start: float, end: float, speech: Sequence[Span]) -> Times | None:
    """The part that lies in the stretch of speech that has the most of it; None where there is none."""
    parts = [(max(start, span.start), min(end, span.end)) for span in speech if span.start < end and span.end > start]
    return max(parts, key=lambda part: part[1] - part[0], default=None)
