"""Text normalisers under their names: what two transcripts go through before their words are compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NORMALIZERS", "get_normalizer", "normalize_medasr"]

_NOT_MEDASR = re.compile("[^ a-z0-9']")


def normalize_medasr(text: str) -> str:
    """Lower case; ``</s>`` goes; all but ``a-z``, ``0-9`` and ``'`` parts words, which one space each separates.

    Word for word what Google's notebook does before it counts MedASR's errors (github.com/Google-Health/medasr,
    notebooks/quick_start_with_hugging_face.ipynb, Apache-2.0). ``{period}`` and a spoken "period" are the same then;
    letters beyond ASCII are lost.
    """
    return " ".join(_NOT_MEDASR.sub(" ", text.lower().replace("</s>", "")).split())


NORMALIZERS: dict[str, Callable[[str], str]] = {"medasr": normalize_medasr}


def get_normalizer(name: str) -> Callable[[str], str]:
    """The normaliser of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return NORMALIZERS[name]
    except KeyError:
        raise UsageError(f"unknown normalizer {name!r}", hint=f"normalizers are: {', '.join(NORMALIZERS)}") from None
