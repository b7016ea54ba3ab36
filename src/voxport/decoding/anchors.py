"""Where the path of an alignment may go: near what each token was seen to look at.

Dynamic time warping follows the sum over all frames. In silence every frame has its say and none means anything, so a
long pause may draw all tokens behind it to where it begins. The frame that a token looks at most says more than all of
those: cells far from it cost so much that no sum over others makes up for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voxport.decoding.ascending import ascending

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["REACH", "away_from_peaks"]

REACH = 25
"""Frames of 20 ms from a token's peak, and so from those of the tokens beside it, within which all is left to the
path."""


def away_from_peaks(fits: npt.NDArray[np.floating], tokens: int) -> npt.NDArray[np.float32]:
    """How badly a cell stands for an alignment to go through it: a pause is left to the token before it.

    A token whose peak is out of order slipped: it may be anywhere between those beside it.

    Args:
        fits: (N, T) how well each token fits each frame, the larger the better.
        tokens: of the N rows, so many from the first are tokens that were looked for; what comes after them is not
            said, and begins behind the last one's peak.

    Returns:
        (N, T): 0 where all is left to the path, 0.5 where a token would be too late, 1 where it would be too early.
    """
    rows, frames = fits.shape
    if not tokens:
        return np.zeros((rows, frames), np.float32)
    peaks = fits[:tokens].argmax(axis=1)
    earliest, latest = np.zeros(rows), np.full(rows, float(frames))
    known = ascending(peaks.tolist())
    for token in known:
        earliest[token:] = peaks[token] - REACH
    for token in reversed(known):
        latest[: token + 1] = peaks[token] + REACH
    earliest[tokens:] += REACH
    places = np.arange(frames)
    away = np.zeros((rows, frames), np.float32)
    away[places > latest[:, None]] = 0.5
    away[places < earliest[:, None]] = 1.0
    return away
