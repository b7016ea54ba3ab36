"""Summaries against numbers worked out by hand, and intervals against what they promise."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.bench.statistics import (
    Interval,
    bootstrap,
    compare_paired,
    compare_unpaired,
    expanded_tail,
    mean_interval,
    median_interval,
    relative_mad,
    student_quantile,
    summarise,
)


def test_a_summary_by_hand() -> None:
    found = summarise([[1.0], [2.0], [3.0], [4.0], [10.0]])
    assert (found.count, found.mean, found.median, found.minimum, found.maximum) == (5, 4.0, 3.0, 1.0, 10.0)
    # Squares of the differences: 9 + 4 + 1 + 0 + 36 = 50, over n - 1 = 4.
    assert found.std == pytest.approx(math.sqrt(12.5))
    # P90 lies at place 0.9 * 4 = 3.6 counted from 0: 4 + 0.6 * 6; P99 at 3.96: 4 + 0.96 * 6.
    assert found.p90 == pytest.approx(7.6)
    assert found.p99 == pytest.approx(9.76)


def test_one_call_has_neither_spread_nor_interval() -> None:
    found = summarise([[2.5]])
    assert (found.mean, found.median, found.p99, found.std) == (2.5, 2.5, 2.5, None)
    assert found.mean_interval is None
    assert found.median_interval is None


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        summarise([])
    with pytest.raises(ValueError, match="unequal"):
        bootstrap(np.ones(4), lambda drawn: drawn)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=40))
def test_summaries_agree_with_the_standard_library(values: list[float]) -> None:
    found = summarise([[value] for value in values[:3]])
    assert found.mean == pytest.approx(statistics.fmean(values[:3]))
    assert found.std == pytest.approx(statistics.stdev(values[:3]), abs=1e-9)
    whole = np.array(values)
    cut = statistics.quantiles(values, n=100, method="inclusive")
    assert np.percentile(whole, 90) == pytest.approx(cut[89])
    assert found.minimum <= found.median <= found.p90 * (1 + 1e-12) <= found.p99 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (29, 2.045), (120, 1.980)]
)
def test_students_quantiles_are_the_tables(freedom: int, expected: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(expected, abs=6e-4)


def test_few_rounds_leave_out_less_and_many_leave_out_two_and_a_half_percent() -> None:
    assert expanded_tail(5) < expanded_tail(10) < expanded_tail(1000) < 0.025
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-4)
    # Hesterberg's own example, n = 10: t(0.975, 9) = 2.262, times sqrt(10/9) = 2.385, whose normal tail is 0.0085.
    assert expanded_tail(10) == pytest.approx(0.0085, abs=1e-4)


def test_intervals_are_the_same_for_the_same_seed_and_hold_the_figure() -> None:
    rounds = [[1.0, 2.0], [1.2, 1.9], [0.9, 2.2], [1.1, 2.1], [1.0, 2.0]]
    one, two, other = mean_interval(rounds, 1), mean_interval(rounds, 1), mean_interval(rounds, 2)
    assert one == two
    assert one is not None
    assert other is not None
    assert one.holds(float(np.mean(rounds)))
    assert one.low == pytest.approx(other.low, abs=0.03)
    middle = median_interval(rounds)
    assert middle is not None
    assert middle.holds(float(np.median(rounds)))


def test_rounds_are_drawn_whole() -> None:
    """Two clips of very different lengths: the mean is sure all the same, since every round has both."""
    interval = mean_interval([[1.0, 100.0]] * 6)
    assert interval is not None
    assert (interval.low, interval.high) == (50.5, 50.5)


def test_fewer_than_four_rounds_give_no_interval() -> None:
    assert mean_interval([[1.0], [2.0], [3.0]]) is None
    assert compare_paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).interval is None


def test_the_mean_is_held_as_often_as_promised() -> None:
    random = np.random.default_rng(5)
    held = 0
    for trial in range(200):
        interval = mean_interval([[value] for value in random.normal(10, 1, 8)], trial)
        assert interval is not None
        held += interval.holds(10.0)
    assert 182 <= held <= 198


def test_a_side_against_itself_holds_one_under_shared_disturbance() -> None:
    """Two hundred comparisons of equals of ten rounds each, some of which are disturbed by half."""
    random = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        disturbance = 1 + 0.5 * (random.random(10) < 0.2)
        one, two = (disturbance * random.lognormal(0, 0.05, 10) for _ in range(2))
        interval = compare_paired(one, two, trial).interval
        assert interval is not None
        held += interval.holds(1.0)
    assert held >= 182


def test_a_difference_is_found() -> None:
    random = np.random.default_rng(3)
    slow = 1.2 * random.lognormal(0, 0.02, 10)
    ratio = compare_paired(slow, random.lognormal(0, 0.02, 10))
    assert ratio.interval is not None
    assert 1.1 < ratio.interval.low < ratio.median < ratio.interval.high < 1.3


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=4, max_size=12))
def test_a_ratio_is_the_inverse_of_the_other_way_round(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    assert compare_paired(ours, theirs).median == pytest.approx(1 / compare_paired(theirs, ours).median)
    assert compare_unpaired(ours, theirs).median == pytest.approx(1 / compare_unpaired(theirs, ours).median)


def test_position_in_a_pair_favours_nobody() -> None:
    """Who runs second takes 4 % less; turns alternate."""
    ours = [1.0, 0.96] * 5
    theirs = [0.96, 1.0] * 5
    ratio = compare_paired(theirs, ours)
    assert ratio.median == pytest.approx(1.0)
    assert ratio.interval is not None
    assert ratio.interval.holds(1.0)


def test_runs_apart_are_drawn_apart() -> None:
    ratio = compare_unpaired([2.0, 2.1, 1.9, 2.0], [1.0, 1.0, 1.05, 0.95])
    assert ratio.median == pytest.approx(2.0)
    assert ratio.of_means == pytest.approx(2.0)
    assert ratio.interval is not None
    assert 1.7 < ratio.interval.low < 2.0 < ratio.interval.high < 2.4
    assert compare_unpaired([1.0] * 3, [1.0] * 9).interval is None


def test_large_measurements_are_resampled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [[1.0, 2.0], [1.2, 1.9], [0.9, 2.2], [1.1, 2.1]]
    whole = mean_interval(rounds)
    monkeypatch.setattr("voxport.bench.statistics.LARGEST", 80)
    pieces = mean_interval(rounds)
    assert whole is not None
    assert pieces is not None
    assert pieces.low == pytest.approx(whole.low, abs=0.02)


def test_relative_mad() -> None:
    # Median 10; deviations 1, 0, 0, 2, 90: their median is 1.
    assert relative_mad([9.0, 10.0, 10.0, 12.0, 100.0]) == pytest.approx(0.1)
    assert relative_mad([9.0, 10.0, 11.0, 12.0, 100.0]) == pytest.approx(1 / 11)


def test_interval_holds_its_ends() -> None:
    assert Interval(1.0, 2.0).holds(1.0)
    assert not Interval(1.0, 2.0).holds(2.1)
