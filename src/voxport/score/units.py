"""What is counted, and after which normaliser: decided by the language, declared in every report."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from voxport.score.clips import Clip

__all__ = ["CHARACTER_LANGUAGES", "UNITS", "Unit", "default_normalizer", "loses_marks", "split", "unit_of"]

Unit: TypeAlias = Literal["words", "characters"]
UNITS = ("auto", "words", "characters")

CHARACTER_LANGUAGES = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages that put no spaces between words, so that a "word" would be a matter of opinion."""

# Han with its extensions, kana, Thai, Lao, Tibetan, Myanmar, Khmer.
_WITHOUT_SPACES = (
    (0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF),
)  # fmt: skip


def unit_of(clip: Clip) -> Unit:
    """Characters for languages without spaces between words; where the language is not known, by the script."""
    if clip.language is not None:
        return "characters" if clip.language in CHARACTER_LANGUAGES else "words"
    letters = [character for character in clip.reference if character.isalpha()]
    unspaced = sum(any(low <= ord(letter) <= high for low, high in _WITHOUT_SPACES) for letter in letters)
    return "characters" if unspaced * 2 > len(letters) else "words"


def default_normalizer(language: str | None, family: str | None) -> str:
    """Google's for MedASR, Whisper's English one for English, Whisper's basic one for all else."""
    if family == "lasr_ctc":
        return "google-medasr"
    return "whisper-english" if language == "en" else "whisper-basic"


def split(normalized: str, unit: Unit) -> tuple[str, ...]:
    """The units of a normalised text. Spaces don't count among characters, so that it is no error to put some.

    A mark that belongs to the character before it (a Thai vowel sign) is not parted from it.
    """
    if unit == "words":
        return tuple(normalized.split())
    units: list[str] = []
    for character in "".join(normalized.split()):
        if units and unicodedata.category(character)[0] == "M":
            units[-1] += character
        else:
            units.append(character)
    return tuple(units)


def loses_marks(text: str) -> bool:
    """Whether ``whisper-basic`` would cut letters from the marks that belong to them, as it does in Hindi and Thai."""
    return any(unicodedata.category(character)[0] == "M" for character in unicodedata.normalize("NFKC", text))
