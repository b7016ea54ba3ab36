"""Edit distances between what two sides said."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

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
    return Levenshtein.distance(left, right)
