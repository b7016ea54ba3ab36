"""What a reader sees as one character, and how many columns it takes.

A simplification of Unicode's extended grapheme clusters (UAX 29) by what `unicodedata` knows.
"""

from __future__ import annotations

import unicodedata

__all__ = ["clusters", "display_width"]

_JOINER = "\u200d"
_WIDE_VARIANT = "\ufe0f"
_ZERO_WIDTH_SPACE = "\u200b"


def clusters(text: str) -> list[str]:
    """The text in pieces that are never parted: a base with its marks, emoji sequences, flags. Joined, it is `text`."""
    found: list[str] = []
    for character in text:
        if found and _extends(found[-1], character):
            found[-1] += character
        else:
            found.append(character)
    return found


def display_width(text: str) -> int:
    """Columns that `text` takes: 2 for what is wide or full-width in East Asia and for emoji, 0 for marks, else 1."""
    return sum(_width(cluster) for cluster in clusters(text))


def _extends(cluster: str, character: str) -> bool:
    last = cluster[-1]
    if cluster[0].isspace() or last == _ZERO_WIDTH_SPACE or character == _ZERO_WIDTH_SPACE:
        return False
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or (last == _JOINER and _is_pictograph(character))
        or (len(cluster) == 1 and _is_flag_half(last) and _is_flag_half(character))
        or "\u1160" <= character <= "\u11ff"  # vowels and finals of a Hangul syllable in parts
    )


def _width(cluster: str) -> int:
    base = cluster[0]
    if unicodedata.east_asian_width(base) in "WF" or _WIDE_VARIANT in cluster:
        return 2
    if len(cluster) > 1 and _is_flag_half(base) and _is_flag_half(cluster[1]):
        return 2
    return 0 if unicodedata.category(base) in ("Mn", "Mc", "Me", "Cf", "Cc") else 1


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_pictograph(character: str) -> bool:
    return unicodedata.category(character) == "So"
