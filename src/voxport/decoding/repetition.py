"""Repetition loops: a decoder that says the same few tokens again and again until its limit."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_UNIT = 40
"""Longest repeated unit that is looked for, in tokens. A loop over a longer one reaches the token limit first."""

ENOUGH_REPEATS = 6
"""People repeat themselves too: "no, no, no, no". Six times over, and..."""

ENOUGH_TOKENS = 36
"""...this many tokens of nothing else, is no speech that was met in the data; a loop is."""


@dataclass(frozen=True)
class Loop:
    """A tail of the form unit, unit, unit, ...: it starts at `start` and its unit has `period` tokens."""

    start: int
    period: int


def find_loop(tokens: Sequence[int]) -> Loop | None:
    """The repetition loop that `tokens` (text only, no timestamps) end in, the shortest unit, or None.

    Costs at most ``LONGEST_UNIT * ENOUGH_TOKENS`` comparisons where there is no loop, in practice a few dozen.
    """
    for period in range(1, LONGEST_UNIT + 1):
        needed = max(ENOUGH_REPEATS * period, ENOUGH_TOKENS)
        if needed > len(tokens):
            # Longer units need even more tokens, unless ENOUGH_TOKENS decided.
            if ENOUGH_REPEATS * period > len(tokens):
                return None
            continue
        start = len(tokens) - period
        while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
            start -= 1
        if len(tokens) - start >= needed:
            return Loop(start, period)
    return None


def compression_ratio(text: str) -> float:
    """UTF-8 bytes of `text` over their zlib size, as openai/whisper: above 2.4 speaks of repetition. Empty: 0."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0
