"""MedASR's front end against the published one, and what holds whatever the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.features.lasr import HOP_LENGTH, WIN_LENGTH, frame_count, lasr_log_mel, lasr_mel_filters

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.types import FloatArray

TOLERANCE = 1e-5
"""Measured: 4.8e-7 on speech, 9.6e-7 on noise of full scale."""


def noise(length: int, amplitude: float = 0.1) -> FloatArray:
    return (amplitude * np.random.default_rng(length).standard_normal(length)).astype(np.float32)


SIGNALS = {
    "25 ms": noise(400),
    "one sample more": noise(401),
    "two frames": noise(560),
    "less than a block": noise(WIN_LENGTH + 94 * HOP_LENGTH),
    "one block": noise(WIN_LENGTH + 95 * HOP_LENGTH),
    "more than a block": noise(WIN_LENGTH + 96 * HOP_LENGTH),
    "silence": np.zeros(50_000, np.float32),
    "constant": np.full(50_000, 0.5, np.float32),
    "all but nothing": noise(50_000, 1e-8),
    "near the floor": noise(50_000, 1e-4),
    "full scale": noise(100_000, 1.0),
    "20 s": noise(320_000),
}


@pytest.fixture(scope="module")
def published() -> Any:
    transformers = pytest.importorskip("transformers", reason="the published front end is in transformers")
    if not hasattr(transformers, "LasrFeatureExtractor"):
        pytest.skip(f"transformers {transformers.__version__} has no LasrFeatureExtractor, 5.0 has")
    return transformers.LasrFeatureExtractor()


def check(published: Any, samples: FloatArray) -> None:
    expected = published(samples, sampling_rate=16_000, return_tensors="np").input_features[0]
    ours = lasr_log_mel(samples)
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape == (frame_count(len(samples)), 128)
    assert np.abs(ours - expected).max() <= TOLERANCE


@pytest.mark.parametrize("name", SIGNALS)
def test_signals(published: Any, name: str) -> None:
    check(published, SIGNALS[name])


def test_real_speech(published: Any, jfk: Path) -> None:
    import soundfile

    samples, rate = soundfile.read(jfk, dtype="float32")
    assert rate == 16_000
    check(published, samples if samples.ndim == 1 else samples[:, 0])


def test_filters_are_the_published_ones() -> None:
    module = pytest.importorskip(
        "transformers.models.lasr.feature_extraction_lasr", reason="transformers before 5.0 has no LASR"
    )
    expected = module.linear_to_mel_weight_matrix(128, 257, 16_000, 125.0, 7500.0, np.float64)
    assert np.abs(lasr_mel_filters(128) - expected).max() < 1e-12
    assert not lasr_mel_filters(128)[0].any()
    assert lasr_mel_filters(80).shape == (257, 80)


@pytest.mark.parametrize("samples", [0, 1, 160, 399])
def test_below_25_ms_there_is_no_frame(samples: int) -> None:
    assert lasr_log_mel(noise(samples)).shape == (0, 128)


def test_silence_is_the_floor() -> None:
    assert np.all(lasr_log_mel(np.zeros(1000, np.float32)) == np.log(np.float32(1e-5)))


@settings(max_examples=30, deadline=None)
@given(st.integers(400, 40_000), st.integers(0, 300))
def test_a_frame_depends_on_its_own_samples_only(length: int, frame: int) -> None:
    """So a window's frames are the recording's: whatever comes before or after."""
    samples = noise(length)
    features = lasr_log_mel(samples)
    frame = min(frame, len(features) - 1)
    alone = lasr_log_mel(samples[frame * HOP_LENGTH : frame * HOP_LENGTH + WIN_LENGTH])
    assert np.abs(alone[0] - features[frame]).max() <= 1e-6


def test_writes_where_it_is_told() -> None:
    samples = noise(5000)
    out = np.full((frame_count(5000) + 2, 128), 7.0, np.float32)
    lasr_log_mel(samples, out=out[: frame_count(5000)])
    assert np.array_equal(out[:-2], lasr_log_mel(samples))
    assert np.all(out[-2:] == 7.0)
