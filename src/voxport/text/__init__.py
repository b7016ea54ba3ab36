"""Text normalisers under their names: what two transcripts go through before their words are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.errors import UsageError
from voxport.text.google import normalize_medasr
from voxport.text.whisper_basic import normalize_whisper_basic
from voxport.text.whisper_english import normalize_whisper_english

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NORMALIZERS",
    "get_normalizer",
    "normalize_medasr",
    "normalize_nothing",
    "normalize_whisper_basic",
    "normalize_whisper_english",
]


def normalize_nothing(text: str) -> str:
    """The text as it is, but for white space: one space each separates the words. Case and punctuation count."""
    return " ".join(text.split())


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "whisper-english": normalize_whisper_english,
    "whisper-basic": normalize_whisper_basic,
    "google-medasr": normalize_medasr,
    "none": normalize_nothing,
}

_ALIASES = {"medasr": "google-medasr"}


def get_normalizer(name: str) -> Callable[[str], str]:
    """The normaliser of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return NORMALIZERS[_ALIASES.get(name, name)]
    except KeyError:
        raise UsageError(f"unknown normalizer {name!r}", hint=f"normalizers are: {', '.join(NORMALIZERS)}") from None
