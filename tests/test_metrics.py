"""The metrics of a comparison, against their definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from voxport import metrics
from voxport.metrics import CANN, DEFINITIONS, SMALL_VALUES, Sums, distance, histogram, probability_distance

FINITE = st.floats(-1e4, 1e4, width=32).map(lambda value: 0.0 if abs(value) < 1e-6 else value)


def test_by_hand() -> None:
    found = distance(np.array([1.0, 2.0, -4.0, 0.0], np.float32), np.array([1.0, 1.0, -2.0, 0.0], np.float32))
    assert found["max_abs"] == 2.0
    assert found["mean_abs"] == 0.75
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 4))
    assert found["relative_l2"] == pytest.approx(math.sqrt(5 / 6))
    assert found["cosine"] == pytest.approx(11 / math.sqrt(21 * 6))
    assert found["mean_relative"] == pytest.approx(2 / 3)  # the reference's 0 has no relative error
    assert found["max_relative"] == 1.0
    assert found["over_hundredth"] == found["over_thousandth"] == found["over_ten_thousandth"] == 0.5
    assert found["max_magnitude"] == 4.0
    assert found["non_finite"] == 0.0
    assert found["cann_matched"] == 0.5
    assert found["cann_beyond"] == 2.0
    assert found.keys() < DEFINITIONS.keys()


@settings(deadline=None)
@given(
    arrays.arrays(np.float32, st.integers(1, 200), elements=FINITE),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["float32", "float16", "bfloat16"]),
    st.integers(1, 64),
)
def test_the_definitions(reference: np.ndarray, seed: int, dtype: str, piece: int) -> None:
    """In pieces of any size, as large arrays are."""
    noise = np.random.default_rng(seed).standard_normal(reference.size) * 10.0 ** np.random.default_rng(seed).integers(
        -6, 2
    )
    candidate = (reference + noise).astype(np.float32)
    before, metrics.PIECE = metrics.PIECE, piece
    try:
        found = distance(candidate, reference, dtype)
    finally:
        metrics.PIECE = before
    c, r = candidate.astype(np.float64), reference.astype(np.float64)
    d, size = np.abs((candidate - reference).astype(np.float64)), np.abs(r)
    close = {"rel": 1e-4, "abs": 1e-9}
    assert found["max_abs"] == pytest.approx(d.max(), **close)
    assert found["mean_abs"] == pytest.approx(d.mean(), **close)
    assert found["rmse"] == pytest.approx(np.sqrt((d**2).mean()), **close)
    assert found["relative_l2"] == pytest.approx(np.sqrt((d**2).sum() / ((r**2).sum() + 1e-12)), **close)
    if np.linalg.norm(c) > 1e-3 and np.linalg.norm(r) > 1e-3:
        assert found["cosine"] == pytest.approx(c @ r / np.linalg.norm(c) / np.linalg.norm(r), abs=1e-5)
    large = size > 1e-6
    relative = d[large] / size[large]
    assert found["mean_relative"] == pytest.approx(relative.mean() if large.any() else 0.0, **close)
    rtol, atol, _ = CANN[dtype]
    assert found["cann_matched"] == pytest.approx((d <= atol + rtol * size).mean(), abs=1.5 / d.size)
    floored = d / np.maximum(size, SMALL_VALUES[dtype])
    assert found["over_thousandth"] == pytest.approx((floored > 1e-3).mean(), abs=1.5 / d.size)


def test_what_is_nearly_one_keeps_its_digits() -> None:
    random = np.random.default_rng(0)
    reference = random.standard_normal(100_000).astype(np.float32)
    candidate = (reference + 1e-4 * random.standard_normal(reference.size)).astype(np.float32)
    c, r = candidate.astype(np.float64), reference.astype(np.float64)
    assert distance(candidate, reference)["cosine"] == pytest.approx(c @ r / np.sqrt((c @ c) * (r @ r)), abs=1e-12)


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    candidate = np.array([1.0, np.nan, np.inf, 4.0], np.float32)
    found = distance(candidate, np.array([1.0, 2.0, 3.0, np.nan], np.float32))
    assert found["non_finite"] == 3
    assert found["max_abs"] == 0.0
    nothing = distance(np.array([np.nan], np.float32), np.array([1.0], np.float32))
    assert nothing["non_finite"] == 1
    assert math.isnan(nothing["relative_l2"])
    assert nothing.keys() == found.keys()


def test_pieces_add_up_and_shapes_must_agree() -> None:
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 3, 40)).astype(np.float32)
    whole = distance(a, b)
    parts = Sums()
    for row in range(3):
        parts.add(a[row], b[row])
    for name, value in parts.metrics().items():
        assert value == pytest.approx(whole[name], rel=1e-6)
    with pytest.raises(ValueError, match="shapes differ"):
        distance(a, b[:2])


def test_probabilities() -> None:
    reference = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]], np.float32))
    candidate = np.log(np.array([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1]], np.float32))
    found = probability_distance(candidate, reference)
    assert found["max_probability"] == pytest.approx(0.1, abs=1e-6)
    assert found["top1"] == 0.5
    first = 0.7 * math.log(0.7 / 0.6) + 0.2 * math.log(0.2 / 0.3)
    second = 0.5 * math.log(0.5 / 0.4) + 0.4 * math.log(0.4 / 0.5)
    assert found["kl"] == pytest.approx((first + second) / 2, abs=1e-6)
    candidate[1, 0] = np.nan
    assert probability_distance(candidate, reference)["top1"] == 1.0
    assert math.isnan(probability_distance(candidate[1:], reference[1:])["kl"])


def test_suppressed_tokens_do_not_spoil_the_divergence() -> None:
    logits = np.array([[0.0, -1e30, 1.0]], np.float32)
    assert probability_distance(logits, logits) == {"max_probability": 0.0, "kl": 0.0, "top1": 1.0}


def test_a_histogram_by_hand() -> None:
    reference = np.zeros(9, dtype=np.float32)
    candidate = np.array([0, 1e-12, -1.2e-9, 0.5, -0.5, 1e2, 2e3, np.nan, np.inf], dtype=np.float32)
    found = histogram(candidate, reference)
    assert (found.zero, found.below, found.above, found.non_finite) == (1, 1, 1, 2)
    used = {place: count for place, count in enumerate(found.counts) if count}
    edges = {place: 10 ** (found.lowest + place / found.per_decade) for place in (*used, *(one + 1 for one in used))}
    assert sum(used.values()) == 4
    for value, count in ((1.2e-9, 1), (0.5, 2), (1e2 * (1 + 1e-5), 1)):
        assert [used[place] for place in used if edges[place] <= value < edges[place + 1]] == [count]


@pytest.mark.parametrize("piece", [1, 7, 1 << 15])
def test_histograms_count_every_element(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    reference = random.standard_normal((40, 25)).astype(np.float32)
    candidate = reference + random.choice([0, 1], reference.shape) * 10 ** random.uniform(-12, 5, reference.shape)
    candidate[3, 4] = np.nan
    whole = histogram(candidate, reference)
    assert sum(whole.counts) + whole.zero + whole.below + whole.above + whole.non_finite == 1000
    monkeypatch.setattr(metrics, "PIECE", piece)
    assert histogram(candidate, reference) == whole
    halves = [histogram(candidate[part], reference[part]) for part in (slice(0, 11), slice(11, None))]
    assert [sum(pair) for pair in zip(halves[0].counts, halves[1].counts, strict=True)] == list(whole.counts)
    with pytest.raises(ValueError, match="shapes differ"):
        histogram(candidate, reference[:3])


def test_a_difference_that_overflows_is_above_the_last_edge() -> None:
    most = np.array([3e38], dtype=np.float32)
    assert histogram(most, -most).above == 1
