"""Hotwords as tokens: in the ways in which they may be written within a text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.tokenizer import WhisperTokenizer


def hotword_tokens(terms: Sequence[str], tokenizer: WhisperTokenizer) -> list[list[int]]:
    """The ways in which each term may be written within a text, as tokens.

    With a space before it, as given and beginning with a capital; without a space where its script has none.
    """
    found: list[list[int]] = []
    for term in terms:
        spellings = dict.fromkeys((term, term[:1].upper() + term[1:]))
        ways = list(spellings) if _without_spaces(term) else [f" {spelling}" for spelling in spellings]
        found += [tokenizer.encode(way) for way in ways]
    return found


def _without_spaces(term: str) -> bool:
    """Whether a term begins in a script that parts no words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    name = unicodedata.name(term[0], "")
    return name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
