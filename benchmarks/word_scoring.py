"""Words with times beside what is known: how far off they are, and what their probabilities are worth."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from word_positions import Mark

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = {str(value): name for value, name in enumerate(NAMES)}

BINS = 10

Word = tuple[str, float, float, float]
"""Text, start, end, probability."""


def bare(text: str) -> str:
    """A word as it is compared: lower case, letters and figures only, a single digit by its name."""
    word = re.sub(r"[^a-z0-9]", "", text.lower().replace("'", ""))
    return DIGITS.get(word, word)


def split(text: str) -> list[str]:
    """The words of a reference as they are compared."""
    return [word for word in (bare(part) for part in re.split(r"[\s-]+", text)) if word]


def matches(reference: Sequence[str], words: Sequence[str]) -> list[tuple[int, int]]:
    """Places of words that are the same on both sides, in order."""
    matcher = difflib.SequenceMatcher(None, reference, words, autojunk=False)
    return [
        (block.a + offset, block.b + offset) for block in matcher.get_matching_blocks() for offset in range(block.size)
    ]


@dataclass(frozen=True)
class Errors:
    """Signed errors in seconds, heard minus known, of the words that were heard right; and how many there were."""

    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    known: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.starts + other.starts, self.ends + other.ends, self.known + other.known)


def errors(marks: Sequence[Mark], words: Sequence[Word]) -> Errors:
    """Of the first word's start and the last word's end of each stretch, where that word was heard."""
    reference: list[str] = []
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for mark in marks:
        starts[len(reference)] = mark.start
        reference += split(mark.text)
        ends[len(reference) - 1] = mark.end
    # A hyphen may part a word differently, so only what follows from whole words is looked at.
    pairs = matches(reference, [bare(word[0]) for word in words])
    return Errors(
        tuple(words[heard][1] - starts[place] for place, heard in pairs if place in starts),
        tuple(words[heard][2] - ends[place] for place, heard in pairs if place in ends),
        len(starts) + len(ends),
    )


@dataclass(frozen=True)
class Bin:
    """Words whose probability is in one tenth: how many, their mean probability, and the share that is right."""

    words: int
    probability: float
    right: float


def right(reference: str, words: Sequence[Word]) -> list[tuple[float, bool]]:
    """The probability of each word, and whether it is right by alignment with the reference."""
    texts = [bare(word[0]) for word in words]
    same = {heard for _, heard in matches(split(reference), texts)}
    return [(words[place][3], place in same) for place, text in enumerate(texts) if text]


def reliability(judged: Sequence[tuple[float, bool]]) -> tuple[list[Bin | None], float]:
    """The bins, None where one is empty, and the expected calibration error: the mean of the bins' distance between
    probability and share, by their words."""
    bins: list[Bin | None] = []
    total = 0.0
    for number in range(BINS):
        own = [(p, ok) for p, ok in judged if min(int(p * BINS), BINS - 1) == number]
        if not own:
            bins.append(None)
            continue
        found = Bin(len(own), sum(p for p, _ in own) / len(own), sum(ok for _, ok in own) / len(own))
        total += abs(found.probability - found.right) * found.words
        bins.append(found)
    return bins, total / max(1, len(judged))
