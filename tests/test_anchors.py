"""Where the path of an alignment may go."""

from __future__ import annotations

import numpy as np
import pytest

from voxport.decoding.anchors import REACH, away_from_peaks
from voxport.decoding.dtw import align

FRAMES = 600


def fitting(*peaks: int, rows: int | None = None) -> np.ndarray:
    """Each token fits one frame; a row behind them that fits none."""
    fits = np.zeros((rows or len(peaks) + 1, FRAMES), np.float32)
    for row, peak in enumerate(peaks):
        fits[row, peak] = 5.0
    return fits


def allowed(fits: np.ndarray, tokens: int) -> list[tuple[int, int]]:
    """First and last frame of each row that is allowed; what is allowed is in one piece."""
    found = []
    for row in away_from_peaks(fits, tokens):
        places = np.flatnonzero(row == 0)
        assert set(row[: places[0]]) <= {1.0}
        assert set(row[places[-1] + 1 :]) <= {0.5}
        assert len(places) == places[-1] - places[0] + 1
        found.append((int(places[0]), int(places[-1])))
    return found


def test_a_token_is_near_its_peak_and_what_comes_after_the_last_behind_it() -> None:
    reach = REACH
    assert allowed(fitting(100, 300), 2) == [(100 - reach, 100 + reach), (300 - reach, 300 + reach), (300, FRAMES - 1)]
    assert allowed(fitting(10, 590), 2)[0] == (0, 10 + reach)
    assert allowed(fitting(100, 300, rows=2), 2) == [(100 - reach, 100 + reach), (300 - reach, 300 + reach)]


def test_a_token_that_slipped_is_between_those_beside_it() -> None:
    assert allowed(fitting(100, 500, 200, 300), 4)[1] == (100 - REACH, 200 + REACH)
    assert allowed(fitting(400, 100, 200, 300), 4)[0] == (0, 100 + REACH)
    assert allowed(fitting(100, 200, 300, 50), 4)[3] == (300 - REACH, FRAMES - 1)


def test_a_long_pause_does_not_draw_the_tokens_behind_it_to_its_beginning() -> None:
    """In silence the row behind the last token fits every frame a little; all together that is more than the peaks."""
    fits = fitting(20, 40, 550, 570)
    fits[4, 60:540] = 0.1
    cost = -fits.astype(np.float64)
    assert align(cost)[2] < 100
    cost += 40.0 * away_from_peaks(fits, 4)
    starts = align(cost)
    assert 500 <= starts[2] <= 550
    assert 550 <= starts[3] <= 570
    assert starts[4] >= 570


@pytest.mark.parametrize("rows", [0, 1])
def test_without_a_token_all_is_allowed(rows: int) -> None:
    assert not away_from_peaks(np.zeros((rows, 4), np.float32), 0).any()
