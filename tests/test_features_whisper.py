"""Whisper's front end against the published one, and what holds whatever the input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.errors import AudioError
from voxport.features.whisper import FRAMES, HOP_LENGTH, N_SAMPLES, LogMelExtractor, log_mel, mel_filters

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.types import FloatArray

# Measured: 2.4e-7 and 3.1e-5, on another processor 5.8e-5, the latter being the torch path's own error.
NUMPY_TOLERANCE, TORCH_TOLERANCE = 1e-5, 1.5e-4


def noise(length: int, amplitude: float = 0.1) -> FloatArray:
    return (amplitude * np.random.default_rng(length).standard_normal(length)).astype(np.float32)


def tones(length: int) -> FloatArray:
    time = np.arange(length) / 16_000
    signal = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 3 * time))
    return np.asarray(signal, np.float32)


SIGNALS = {
    "empty": np.zeros(0, np.float32),
    "one sample": np.ones(1, np.float32),
    "100 samples": noise(100),
    "200 samples": noise(200),
    "201 samples": noise(201),
    "silence": np.zeros(100_000, np.float32),
    "constant": np.full(50_000, 0.5, np.float32),
    "tones": tones(100_000),
    "tiny tones": 1e-5 * tones(100_000),
    "all but nothing": 1e-8 * tones(100_000),
    "noise": noise(80_000, 1.0),
    "30 s of noise": noise(N_SAMPLES),
    "30 s of tones": tones(N_SAMPLES),
    "30 s less one sample": noise(N_SAMPLES - 1),
    "30 s less 201 samples": noise(N_SAMPLES - 201),
}


@pytest.fixture(scope="module")
def published() -> dict[int, Any]:
    transformers = pytest.importorskip("transformers", reason="the published front end is in transformers")
    return {n_mels: transformers.WhisperFeatureExtractor(feature_size=n_mels) for n_mels in (80, 128)}


def check(published: dict[int, Any], n_mels: int, samples: FloatArray) -> None:
    found = log_mel(samples, n_mels)
    padded = np.zeros((1, N_SAMPLES), np.float32)
    padded[0, : len(samples)] = samples
    by_numpy = published[n_mels]._np_extract_fbank_features(padded, "cpu")[0]
    np.testing.assert_allclose(found, by_numpy, rtol=0, atol=NUMPY_TOLERANCE)
    default = published[n_mels](samples if len(samples) else padded[0], sampling_rate=16_000, return_tensors="np")
    np.testing.assert_allclose(found, default["input_features"][0], rtol=0, atol=TORCH_TOLERANCE)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("name", SIGNALS)
def test_equal_to_the_published_front_end(published: dict[int, Any], name: str, n_mels: int) -> None:
    check(published, n_mels, SIGNALS[name])


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("clip", ["jfk", "hv-spk1_snt5", "cv-ja-24511055", "noise-quiet"])
def test_equal_on_recordings(published: dict[int, Any], shared_data: Path, clip: str, n_mels: int) -> None:
    check(published, n_mels, read(shared_data / f"audio/{clip}.flac"))


@pytest.mark.full
@pytest.mark.parametrize("n_mels", [80, 128])
def test_equal_on_all_recordings(published: dict[int, Any], shared_data: Path, n_mels: int) -> None:
    for line in (shared_data / "manifest.jsonl").read_text("utf-8").splitlines():
        check(published, n_mels, read(shared_data / json.loads(line)["file"])[:N_SAMPLES])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_filters_are_slaneys(n_mels: int) -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=n_mels, dtype=np.float64).T
    np.testing.assert_allclose(mel_filters(n_mels), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_silence_is_one_value(n_mels: int) -> None:
    features = log_mel(np.zeros(1000, np.float32), n_mels)
    assert features.shape == (n_mels, FRAMES)
    assert features.dtype == np.float32
    assert np.all(features == -1.5)  # (log10(1e-10) + 4) / 4


def test_a_click_is_heard_where_it_is() -> None:
    samples = np.zeros(20_000, np.float32)
    samples[100 * HOP_LENGTH] = 1.0
    loud = np.flatnonzero(log_mel(samples).max(axis=0) > 0)
    assert loud.tolist() == [99, 100, 101]


@settings(max_examples=15, deadline=None)
@given(length=st.integers(0, 100_000), padding=st.integers(1, 100_000))
def test_padding_by_hand_moves_nothing(length: int, padding: int) -> None:
    samples = tones(length) + noise(length, 1e-3)
    padded = np.concatenate([samples, np.zeros(padding, np.float32)])
    np.testing.assert_array_equal(log_mel(padded), log_mel(samples))


@pytest.mark.parametrize("n_mels", [80, 128])
def test_batch_is_one_at_a_time(n_mels: int) -> None:
    windows = [SIGNALS[name] for name in ("noise", "silence", "30 s of tones", "one sample", "empty")]
    features = LogMelExtractor(n_mels)(windows)
    assert features.shape == (5, n_mels, FRAMES)
    assert features.flags.c_contiguous
    for window, found in zip(windows, features, strict=True):
        np.testing.assert_array_equal(found, log_mel(window, n_mels))
    np.testing.assert_array_equal(LogMelExtractor(n_mels)(windows), features)
    assert LogMelExtractor(n_mels)([]).shape == (0, n_mels, FRAMES)


def test_the_samples_given_are_left_alone() -> None:
    samples = noise(5000)
    samples.setflags(write=False)
    strided = np.repeat(samples, 2)[::2]
    np.testing.assert_array_equal(log_mel(strided), log_mel(samples))


def test_windows_that_are_too_long_are_refused() -> None:
    with pytest.raises(AudioError, match="480001 samples") as caught:
        log_mel(np.zeros(N_SAMPLES + 1, np.float32))
    assert caught.value.code == "audio_window"
    assert caught.value.hint is not None
    with pytest.raises(AudioError, match="45") as caught:
        LogMelExtractor()([np.zeros(100, np.float32), np.zeros(45 * 16_000, np.float32)])
    assert caught.value.code == "audio_window"


def test_windows_must_be_mono() -> None:
    with pytest.raises(AudioError, match=r"\(2, 100\)") as caught:
        log_mel(np.zeros((2, 100), np.float32))
    assert caught.value.code == "audio_window"


def read(path: Path) -> FloatArray:
    import av

    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert samples.dtype == np.int16
    return (samples / 32768.0).astype(np.float32)
