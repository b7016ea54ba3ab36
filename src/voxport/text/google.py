"""Google's normaliser of MedASR's output."""

from __future__ import annotations

import re

__all__ = ["normalize_medasr"]

_NOT_MEDASR = re.compile("[^ a-z0-9']")


def normalize_medasr(text: str) -> str:
    """Lower case; ``</s>`` goes; all but ``a-z``, ``0-9`` and ``'`` parts words, which one space each separates.

    Word for word what Google's notebook does before it counts MedASR's errors (github.com/Google-Health/medasr,
    notebooks/quick_start_with_hugging_face.ipynb, Apache-2.0). ``{period}`` and a spoken "period" are the same then;
    letters beyond ASCII are lost.
    """
    return " ".join(_NOT_MEDASR.sub(" ", text.lower().replace("</s>", "")).split())
