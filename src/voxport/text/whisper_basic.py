"""Whisper's normaliser for every language, and what its English one shares with it.

After openai/whisper's ``whisper/normalizers/basic.py``, Copyright (c) 2022 OpenAI, MIT License
(``data/LICENSE.openai-whisper``).
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalize_whisper_basic", "without_asides", "without_symbols_and_diacritics"]

# Letters that are not a letter and a mark to Unicode.
_DIACRITICS = {
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L",
}  # fmt: skip

_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]")
_PARENTHESES = re.compile(r"\(([^)]+?)\)")


def normalize_whisper_basic(text: str) -> str:
    """Lower case; words in ``[]``, ``<>`` and ``()`` go; marks, symbols and punctuation part words.

    Whisper's `BasicTextNormalizer` as its paper uses it for languages other than English (diacritics stay), but that no
    space is left at the ends. Its known fault is kept, so that figures can be compared: marks that belong to letters,
    such as vowel signs of Devanagari and Thai, part words too.
    """
    text = without_asides(text.lower())
    composed = unicodedata.normalize("NFKC", text)
    text = "".join(" " if unicodedata.category(character)[0] in "MSP" else character for character in composed)
    return " ".join(text.lower().split())


def without_asides(text: str) -> str:
    """Without what stands in brackets or parentheses: ``[laughter]``, ``<unk>``, ``(inaudible)``."""
    return _PARENTHESES.sub("", _BRACKETS.sub("", text))


def without_symbols_and_diacritics(text: str, keep: str) -> str:
    """Letters without their diacritics; symbols and punctuation become spaces, except those in `keep`."""

    def plain(character: str) -> str:
        if character in keep:
            return character
        if character in _DIACRITICS:
            return _DIACRITICS[character]
        category = unicodedata.category(character)
        if category == "Mn":
            return ""
        return " " if category[0] in "MSP" else character

    return "".join(map(plain, unicodedata.normalize("NFKD", text)))
