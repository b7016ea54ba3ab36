"""Words of CTC to segments: sentences, parted at pauses and section tags, none longer than a subtitle can bear."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from voxport.types import Segment, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voxport.decoding.ctc_words import FrameClock, SpokenWord

LONGEST = 12.0
"""Seconds of a segment; a longer one is parted at its longest gap."""

PAUSE = 1.0
"""Seconds without a word that part two segments."""

_SENTENCE_ENDS = (".", "?", "!", "{period}", "{full stop}", "{question mark}", "{exclamation mark}")


class SegmentAssembler:
    """Words in, segments out, as soon as each is complete.

    Args:
        clock: when frames are.
    """

    def __init__(self, clock: FrameClock) -> None:
        self._clock = clock
        self._words: list[SpokenWord] = []
        self._latest = 0.0  # nothing starts before it

    def feed(self, words: Iterable[SpokenWord]) -> list[Segment]:
        """Take further words; give the segments that they complete."""
        segments: list[Segment] = []
        for word in words:
            if self._words and self._parts(self._words[-1], word):
                segments.append(self._take(len(self._words)))
            self._words.append(word)
            if self._length(self._words) > LONGEST:
                segments.append(self._take(self._longest_gap()))
        return segments

    def finish(self) -> list[Segment]:
        """End the text: the segment that was still going on, if there is one."""
        return [self._take(len(self._words))] if self._words else []

    def _parts(self, before: SpokenWord, after: SpokenWord) -> bool:
        """Whether a segment ends between two words. A mark in braces belongs to what stands before it."""
        if after.text.startswith("{") or not any(character.isalnum() for character in after.text):
            return False
        if after.text.startswith("[") or (before.text.endswith("}") and not self._goes_on(before.text)):
            return True
        return before.text.endswith(_SENTENCE_ENDS) or self._gap(before, after) >= PAUSE

    @staticmethod
    def _goes_on(mark: str) -> bool:
        """Whether a sentence goes on behind a mark: all but ends of sentences and new lines and paragraphs."""
        return mark not in _SENTENCE_ENDS and not mark.endswith(("line}", "paragraph}"))

    def _gap(self, before: SpokenWord, after: SpokenWord) -> float:
        return self._clock.start(after.first) - self._clock.end(before.last)

    def _length(self, words: list[SpokenWord]) -> float:
        return self._clock.end(words[-1].last) - self._clock.start(words[0].first)

    def _longest_gap(self) -> int:
        """How many words stand before the longest gap; all but the last where there is only one word."""
        gaps = [
            (self._gap(before, after), place)
            for place, (before, after) in enumerate(zip(self._words, self._words[1:], strict=False), start=1)
        ]
        return max(gaps)[1] if gaps else len(self._words)

    def _take(self, count: int) -> Segment:
        spoken, self._words = self._words[:count], self._words[count:]
        words: list[Word] = []
        times: list[tuple[float, float]] = []
        for word in spoken:
            start = self._latest
            for emission in word.emissions:
                # Where windows were joined, frames may step back a little.
                begin = max(self._clock.start(emission.first), self._latest)
                self._latest = begin
                times.append((begin, max(self._clock.end(emission.last), begin)))
            start = times[-len(word.emissions)][0]
            words.append(Word(f" {word.text}", start, times[-1][1], word.probability))
        emissions = [emission for word in spoken for emission in word.emissions]
        probabilities = tuple(emission.probability for emission in emissions)
        return Segment(
            id=0,
            seek=None,
            start=words[0].start,
            end=max(word.end for word in words),
            text="".join(word.word for word in words),
            tokens=tuple(emission.token for emission in emissions),
            avg_logprob=sum(math.log(max(value, 1e-30)) for value in probabilities) / len(probabilities),
            words=tuple(words),
            token_times=tuple(times),
            token_probabilities=probabilities,
        )
