"""Joining the paths of overlapping windows into one path, as if the recording had been decoded in one piece.

Two windows that overlap hear the same words, but not in exactly the same frames: the network may emit a token a frame
or two earlier in one than in the other. Cutting both at the same moment, as is usual, doubles a token that lies before
the cut in one window and behind it in the other, or loses it. So the emissions of the overlap are first matched, as in
a longest common subsequence, and the seam goes where both windows agree on what lies before it: through a frame that is
blank in both, or behind a matched token, in each window behind its own.

Of all such places the nearest to the middle is taken: near its edges a window lacks context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voxport.decoding.ctc import BestPath, collapse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

TOLERANCE = 6
"""Frames (0.24 s) by which the same token may lie apart in two windows."""

Run = tuple[int, int, int]
"""A token, and the first and last frame of its run."""


@dataclass(frozen=True)
class Piece:
    """A stretch of the joined path: `path`, whose first frame is number `start`."""

    path: BestPath
    start: int


class PathJoiner:
    """Paths of windows in, one path out, in pieces. Windows come in order of time on a common clock of frames."""

    def __init__(self, blank: int) -> None:
        self._blank = blank
        self._path: BestPath | None = None  # of the last window, as far as it isn't given out
        self._start = 0  # its first frame

    def feed(self, path: BestPath, start: int, seam: int | None) -> Iterator[Piece]:
        """Take a window.

        Args:
            path: of the window.
            start: number of its first frame.
            seam: the frame before which the window before this one should have the say, or None if they are apart.

        Yields:
            what is certain: the window before this one up to the seam, and all of it if they are apart.
        """
        if self._path is not None:
            end = self._start + len(self._path)
            if seam is not None and start < self._start:  # nothing may be said twice
                path, start = path.slice(self._start - start), self._start
            if seam is None or start >= end:
                yield Piece(self._path, self._start)
            else:
                overlap = self._path.tokens[max(0, start - self._start) :]
                left, right = find_seam(overlap, path.tokens[: len(overlap)], self._blank, seam - start)
                yield Piece(self._path.slice(0, len(self._path) - len(overlap) + left), self._start)
                path, start = path.slice(right), start + right
        self._path, self._start = path, start

    def finish(self) -> Iterator[Piece]:
        """End the path: the rest of the last window."""
        if self._path is not None:
            yield Piece(self._path, self._start)
        self._path = None


def find_seam(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], blank: int, middle: int) -> tuple[int, int]:
    """Where to leave one window's path and enter the next one's.

    Args:
        left, right: tokens of the overlapping frames, each shape (n,); the right one may be shorter.
        blank: CTC's blank.
        middle: frame near which the seam should be.

    Returns:
        So many frames of the overlap to take from the left, and the first to take from the right.
    """
    left_runs, right_runs = collapse(left, blank), collapse(right, blank)
    pairs = _match(left_runs, right_runs)
    # Behind matched tokens.
    places = [(left_runs[i][2] + 1, right_runs[j][2] + 1) for i, j in pairs]
    # Through blanks of both, where no matched token is on different sides.
    shared = min(len(left), len(right))
    quiet = (left[:shared] == blank) & (right[:shared] == blank)
    for i, j in pairs:
        earlier = min(left_runs[i][1], right_runs[j][1])
        later = max(left_runs[i][2], right_runs[j][2])
        quiet[earlier : later + 1] = False
    places += [(frame, frame) for frame in np.flatnonzero(quiet).tolist()]
    if not places:  # they hear nothing alike: noise
        middle = min(max(middle, 0), shared)
        return middle, middle
    return min(places, key=lambda place: abs(place[0] + place[1] - 2 * middle))


def _match(left: list[Run], right: list[Run]) -> list[tuple[int, int]]:
    """Runs that are the same emission, as pairs of indices: the most pairs, and of those the nearest ones.

    The longest common subsequence by dynamic programming, with pairs at most `TOLERANCE` frames apart.
    """
    best: list[list[tuple[int, int]]] = [[(0, 0)] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            found = max(best[i + 1][j], best[i][j + 1])
            distance = _distance(left[i], right[j])
            if left[i][0] == right[j][0] and distance <= TOLERANCE:
                count, nearness = best[i + 1][j + 1]
                found = max(found, (count + 1, nearness - distance))
            best[i][j] = found
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _distance(left: Run, right: Run) -> int:
    """Frames by which two runs are apart, by their beginnings or by their ends, whichever is nearer: one of them may be
    cut off by the edge of its window."""
    return min(abs(left[1] - right[1]), abs(left[2] - right[2]))
