"""What a run tells of the languages that it has detected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxport.pipeline.languages import LanguageEvidence
    from voxport.types import Transcript

__all__ = ["detected_line", "shares_line"]


SECOND = 0.2
"""From this probability on another language is told too. A window that is sure of it, among four, gives 0.25."""


def detected_line(detected: LanguageEvidence) -> str:
    """``French (98 %, from 4 windows)``, and what to do where there may be several."""
    (code, probability), *others = detected.probabilities().items()
    windows = f"{detected.windows} window{'' if detected.windows == 1 else 's'}"
    line = f"{_name(code)} ({100 * probability:.0f} %, from {windows})"
    if detected.windows > 1 and others and others[0][1] >= SECOND:
        other, share = others[0]
        line += f"; {_name(other)} {100 * share:.0f} %: if both are spoken, use --language auto-per-window"
    return line


def shares_line(transcript: Transcript) -> str:
    """``English 62 %, French 38 % of the speech``, the largest share first."""
    from voxport.pipeline.languages import spoken_seconds

    seconds = spoken_seconds(transcript.segments)
    total = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    shares = [f"{_name(code)} {100 * one / total:.0f} %" for code, one in ranked]
    return f"{', '.join(shares)} of the speech"


def _name(code: str) -> str:
    from voxport.tokenizer.languages import LANGUAGES

    return LANGUAGES.get(code, code).title()
