"""Dynamic time warping: which stretch of the frames belongs to each token.

The path is openai/whisper's (`dtw` in whisper/timing.py): from the first token and frame to the last of both, each step
one token on, one frame on, or both; its cost is the sum over its cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["align"]


def align(cost: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """The frame in which each token begins, on the cheapest monotone path.

    Along a row a path can only go on to the right, so the best way to come to a cell is to enter its row somewhere and
    to walk: a minimum over the places of entry, which is a running one. So a whole row is a handful of operations, and
    the path needs no look at each of its cells.

    Args:
        cost: (N, M) of N tokens over M frames, finite. float64 inside.

    Returns:
        (N,) the first frame of each token's stretch, ascending, from 0.

    Raises:
        ValueError: no token, or no frame.
    """
    rows, frames = cost.shape
    if not rows or not frames:
        raise ValueError(f"nothing to align: {rows} tokens, {frames} frames")
    walked = np.zeros((rows, frames + 1))  # the costs of a row, summed from its beginning
    np.cumsum(cost, axis=1, out=walked[:, 1:], dtype=np.float64)
    entries = np.empty((rows, frames), np.intp)  # where the best path to each cell enters the cell's row
    entries[0] = 0
    places = np.arange(frames)
    total = walked[0, 1:]
    diagonal = np.empty((rows, frames), bool)  # whether it enters from the frame before, not from the same
    for row in range(1, rows):
        before = np.empty(frames)
        before[0] = np.inf
        before[1:] = total[:-1]
        np.less(before, total, out=diagonal[row])
        entering = np.minimum(before, total) - walked[row, :-1]
        best = np.minimum.accumulate(entering)
        # The frame in which the running minimum was last reached anew.
        is_new = np.empty(frames, bool)
        is_new[0] = True
        np.less(best[1:], best[:-1], out=is_new[1:])
        np.maximum.accumulate(np.where(is_new, places, 0), out=entries[row])
        total = best + walked[row, 1:]
    starts = np.empty(rows, np.intp)
    frame = frames - 1
    for row in range(rows - 1, -1, -1):
        starts[row] = frame = entries[row, frame]
        if row and diagonal[row, frame]:
            frame -= 1
    return starts
