"""Edit distances between what two sides said."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["edit_distance", "words"]


def words(text: str) -> list[str]:
    """Lower case, without punctuation; scripts without spaces by character."""
    text = unicodedata.normalize("NFKC", text).casefold()
    spaced = re.sub(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f])", r" \1 ", text)
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", spaced)


def edit_distance(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions from one to the other (Levenshtein, 1966)."""
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    left, right = left[start : len(left) - end], right[start : len(right) - end]
    row = list(range(len(right) + 1))
    for number, item in enumerate(left, 1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(right, 1):
            diagonal, row[column] = row[column], min(diagonal + (item != other), row[column] + 1, row[column - 1] + 1)
    return row[-1]
