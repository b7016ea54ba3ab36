"""Emissions of CTC to words, and frames to seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.decoding.ctc import Emission

LONGEST_MARK = 5
"""Words that a mark in braces or brackets can have: "{less than or equal to}"."""

_CLOSING = {"{": "}", "[": "]"}


@dataclass(frozen=True)
class FrameClock:
    """When frames are, in seconds.

    Attributes:
        step: from one frame to the next.
        centre: of frame 0. A frame sees more than `step`, the time that it speaks for is the middle of that.
    """

    step: float
    centre: float

    def start(self, frame: int) -> float:
        """Where the time begins that belongs to this frame alone."""
        return round(self.centre + (frame - 0.5) * self.step, 6)

    def end(self, frame: int) -> float:
        return self.start(frame + 1)


@dataclass(frozen=True)
class SpokenWord:
    """A word, or a mark such as ``{new paragraph}``, and the tokens that spell it."""

    text: str
    emissions: tuple[Emission, ...]

    @property
    def first(self) -> int:
        """Its first frame."""
        return self.emissions[0].first

    @property
    def last(self) -> int:
        return self.emissions[-1].last

    @property
    def probability(self) -> float:
        """The mean of its tokens' probabilities, as openai/whisper has it."""
        return sum(emission.probability for emission in self.emissions) / len(self.emissions)


class WordAssembler:
    """Emissions in, words out, as soon as each is complete.

    Args:
        pieces: text of each token.
        special: tokens that are no text.
        word_start: what a piece begins with that begins a word.
    """

    def __init__(self, pieces: Sequence[str], special: frozenset[int], word_start: str) -> None:
        self._pieces = pieces
        self._special = special
        self._word_start = word_start
        self._emissions: list[Emission] = []
        self._text = ""
        self._mark: list[SpokenWord] = []  # words of a mark that isn't closed yet

    def feed(self, emissions: Iterable[Emission]) -> list[SpokenWord]:
        """Take further emissions; give the words that they complete."""
        words: list[SpokenWord] = []
        for emission in emissions:
            if emission.token in self._special:
                continue
            piece = self._pieces[emission.token]
            if piece.startswith(self._word_start):
                words += self._marked(self._take())
            self._emissions.append(emission)
            self._text += piece.removeprefix(self._word_start)
        return words

    def finish(self) -> list[SpokenWord]:
        """End the text: the word that was still going on, if there is one."""
        words = self._marked(self._take())
        rest, self._mark = self._mark, []
        return words + rest

    def _take(self) -> list[SpokenWord]:
        """The word so far. A bare word start without letters is nothing."""
        text, emissions = self._text.replace(self._word_start, " ").strip(), tuple(self._emissions)
        self._text, self._emissions = "", []
        return [SpokenWord(text, emissions)] if text else []

    def _marked(self, words: list[SpokenWord]) -> list[SpokenWord]:
        """Words of one mark are kept together: nothing may be parted within ``{new paragraph}``."""
        if not words:
            return []
        self._mark += words
        text = " ".join(word.text for word in self._mark)
        closing = _CLOSING.get(text[0])
        if closing is not None and closing not in text and len(self._mark) < LONGEST_MARK:
            return []
        mark, self._mark = self._mark, []
        if closing is not None and closing in text:
            return [SpokenWord(text, tuple(emission for word in mark for emission in word.emissions))]
        return mark
