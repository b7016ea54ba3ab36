"""Dynamic time warping beside openai/whisper's loop written out, and its path's own properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from voxport.decoding.dtw import align


def written_out(cost: np.ndarray) -> tuple[list[int], float]:
    """openai/whisper's `dtw_cpu` and `backtrace`: the first frame of each token, and what the path costs."""
    rows, frames = cost.shape
    total = np.full((rows + 1, frames + 1), np.inf)
    total[0, 0] = 0
    trace = np.zeros((rows + 1, frames + 1), int)
    for j in range(1, frames + 1):
        for i in range(1, rows + 1):
            ways = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
            trace[i, j] = min(range(3), key=lambda way: ways[way])
            total[i, j] = cost[i - 1, j - 1] + min(ways)
    trace[0, :] = 2
    trace[:, 0] = 1
    i, j = rows, frames
    path = []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        step = trace[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return [min(j for i, j in path if i == row) for row in range(rows)], float(total[rows, frames])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 4), (7, 30), (30, 7), (12, 150)])
def test_is_the_path_of_the_loop_written_out(shape: tuple[int, int]) -> None:
    for seed in range(20):
        cost = np.random.default_rng(seed).normal(size=shape)
        assert align(cost).tolist() == written_out(cost)[0], seed


def test_tokens_begin_where_their_frames_do() -> None:
    fit = np.full((3, 10), -1.0)
    fit[0, :4] = fit[1, 4:5] = fit[2, 5:] = 1
    assert align(-fit).tolist() == [0, 4, 5]


def test_more_tokens_than_frames_share_them() -> None:
    assert align(np.zeros((5, 1))).tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_nothing_to_align_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="nothing to align"):
        align(np.zeros(shape))


@settings(max_examples=100, deadline=None)
@given(npst.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 20)), elements=st.floats(-8, 8, width=16)))
def test_ascends_and_costs_the_least_even_with_ties(cost: np.ndarray) -> None:
    starts = align(cost)
    assert starts[0] == 0
    assert (np.diff(starts) >= 0).all()
    assert starts[-1] < cost.shape[1]
    least = written_out(cost)[1]
    # The first frame of a token may be the last of the one before it; the cheaper of both is what the path has.
    assert _cheapest(cost, starts) == pytest.approx(least, abs=1e-9)


def _cheapest(cost: np.ndarray, starts: np.ndarray) -> float:
    """The least cost of a path whose tokens begin in these frames."""
    frames = cost.shape[1]
    total = 0.0
    ends = [*starts[1:], frames]
    for row, (start, following) in enumerate(zip(starts, ends, strict=True)):
        until = max(int(following), int(start) + 1)
        here = float(cost[row, start:until].sum())
        if row < len(starts) - 1 and following > start:  # it may stay for the first frame of the next one
            here += min(0.0, float(cost[row, following]))
        total += here
    return total
