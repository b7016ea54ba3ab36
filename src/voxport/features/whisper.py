"""Whisper's log-mel spectrogram.

The computation published in openai/whisper (`whisper/audio.py`) and in transformers (`WhisperFeatureExtractor`): frames
of 400 samples every 160, centred and reflected at the ends, periodic Hann window, power spectrum, Slaney mel filters,
log10, everything more than 8 below the window's maximum raised to that, then (x + 4) / 4.

What is done differently, and changes nothing but the time it takes:

* Only frames that touch samples are computed. The rest of the 30 s is zero padding, whose value is known.
* Frames go through in blocks that stay in the CPU's cache. The Fourier transform is float64, as the published numpy
  path has it (numpy's float32 transform is no faster); from the power spectrum on it is float32.
* The filter bank is applied band by band, since each filter covers few bins, and as many small products: large ones
  would wake the threads of numpy's BLAS, which then compete with the model's for the same cores.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from voxport.errors import AudioError
from voxport.features.filters import FilterBand, group_filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import FloatArray

__all__ = ["FRAMES", "HOP_LENGTH", "N_FFT", "N_SAMPLES", "SAMPLE_RATE", "LogMelExtractor", "log_mel", "mel_filters"]

SAMPLE_RATE = 16_000
N_FFT = 400
HOP_LENGTH = 160
N_SAMPLES = 480_000
"""Samples in a full window of 30 s."""
FRAMES = N_SAMPLES // HOP_LENGTH
"""Frames in a full window: 3000, 10 ms each."""

_FLOOR = np.float32(1e-10)
_ROWS = 24
"""Frames per matrix product: divides 3000, and keeps each product below the size at which OpenBLAS starts threads
(262,144 multiply-adds)."""
_BLOCK = 5 * _ROWS
"""Frames per pass: about 1 MB of temporaries."""
_BANDS = 4
"""Groups of neighbouring filters; each multiplies only the bins that it covers."""


class LogMelExtractor:
    """Whisper's front end for a batch of windows.

    Args:
        n_mels: mel bands: 80, or 128 from large-v3 on.
    """

    def __init__(self, n_mels: int = 80) -> None:
        self.n_mels = n_mels

    def __call__(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Log-mel spectrograms of the windows, in their order.

        Args:
            windows: each float32, shape (n,), n <= 480,000, 16 kHz, full scale ±1, finite.

        Returns:
            float32, shape (len(windows), n_mels, 3000). A window's values do not depend on its neighbours.

        Raises:
            AudioError: a window is longer than 30 s or is not one-dimensional (code ``audio_window``).
        """
        features = np.empty((len(windows), self.n_mels, FRAMES), np.float32)
        for window, output in zip(windows, features, strict=True):
            log_mel(window, self.n_mels, out=output)
        return features


def log_mel(samples: FloatArray, n_mels: int = 80, *, out: FloatArray | None = None) -> FloatArray:
    """Whisper's log-mel spectrogram of one window, padded with silence to 30 s.

    Args:
        samples: float32, shape (n,), n <= 480,000, 16 kHz, full scale ±1, finite. Empty means silence.
        n_mels: mel bands.
        out: where to write, float32, shape (n_mels, 3000); None = a new array.

    Returns:
        float32, shape (n_mels, 3000).

    Raises:
        AudioError: longer than 30 s or not one-dimensional (code ``audio_window``).
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1:
        raise AudioError(
            f"a window must be mono, an array of shape (n,), not {samples.shape}",
            hint="mix the channels or take one",
            code="audio_window",
        )
    if len(samples) > N_SAMPLES:
        raise AudioError(
            f"a window of {len(samples)} samples ({len(samples) / SAMPLE_RATE:.3f} s) is too long: Whisper takes 30 s",
            hint="cut the recording into windows first",
            code="audio_window",
        )
    if out is None:
        out = np.empty((n_mels, FRAMES), np.float32)
    # Frame t looks at samples 160 t - 200 to 160 t + 199; further frames see padding only.
    touched = -(-(len(samples) + N_FFT // 2) // HOP_LENGTH)
    frames = min(-(-touched // _ROWS) * _ROWS, FRAMES)
    spectrum = _log_mel_frames(_pad(samples, frames), frames, n_mels)
    lowest = max(spectrum.max() - np.float32(8.0), np.float32(-10.0))  # -10: what padding gives
    np.maximum(spectrum, lowest, out=spectrum)
    spectrum += np.float32(4.0)
    np.multiply(spectrum.T, np.float32(0.25), out=out[:, :frames])
    out[:, frames:] = (lowest + np.float32(4.0)) * np.float32(0.25)
    return out


def _pad(samples: FloatArray, frames: int) -> FloatArray:
    """What the first `frames` frames look at: the window of 30 s with 200 samples reflected at either end."""
    half = N_FFT // 2
    padded = np.zeros((frames - 1) * HOP_LENGTH + N_FFT, np.float32)
    inside = samples[: len(padded) - half]
    padded[half : half + len(inside)] = inside
    padded[:half] = padded[2 * half : half : -1]
    beyond = len(padded) - half - N_SAMPLES  # the last frame of a full window reaches over its end
    if beyond > 0:
        last = half + N_SAMPLES - 1
        padded[last + 1 :] = padded[last - 1 : last - 1 - beyond : -1]
    return padded


def _log_mel_frames(padded: FloatArray, frames: int, n_mels: int) -> FloatArray:
    """log10 of the mel power, at least 1e-10: float32, shape (frames, n_mels); `frames` is a multiple of 24."""
    strided = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    window, bands = _hann(), _bands(n_mels)
    windowed = np.empty((_BLOCK, N_FFT), np.float64)
    power = np.empty((_BLOCK, N_FFT // 2 + 1), np.float32)
    mel = np.empty((frames, n_mels), np.float32)
    for start in range(0, frames, _BLOCK):
        rows = min(_BLOCK, frames - start)
        np.multiply(strided[start : start + rows], window, out=windowed[:rows])
        spectrum = np.fft.rfft(windowed[:rows])
        squares = spectrum.view(np.float64)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=power[:rows], casting="same_kind")
        powers = power[:rows].reshape(-1, _ROWS, power.shape[1])
        outputs = mel[start : start + rows].reshape(-1, _ROWS, n_mels)
        for bins, filters, weights in bands:
            np.matmul(powers[:, :, bins], weights, out=outputs[:, :, filters])
    np.maximum(mel, _FLOOR, out=mel)
    return np.log10(mel, out=mel)


@cache
def _hann() -> npt.NDArray[np.float64]:
    """The periodic Hann window of 400 samples."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)


@cache
def _bands(n_mels: int) -> list[FilterBand]:
    return group_filters(mel_filters(n_mels), _BANDS)


@cache
def mel_filters(n_mels: int) -> npt.NDArray[np.float64]:
    """Slaney's mel filter bank from 0 to 8000 Hz: float64, shape (201, n_mels), read-only.

    Triangles over the Fourier bins with unit area, on Slaney's scale (linear below 1 kHz, logarithmic above); what
    `librosa.filters.mel(sr=16000, n_fft=400, n_mels=n_mels)` computes, transposed.
    """
    linear_step, knee = 200.0 / 3.0, 1000.0  # Hz per mel below the knee
    knee_mel, log_step = knee / linear_step, np.log(6.4) / 27.0
    top_mel = knee_mel + np.log(SAMPLE_RATE / 2 / knee) / log_step
    mels = np.linspace(0.0, top_mel, n_mels + 2)
    edges = np.where(mels < knee_mel, mels * linear_step, knee * np.exp(log_step * (mels - knee_mel)))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    slopes = edges[None, :] - bins[:, None]
    rising = -slopes[:, :-2] / np.diff(edges)[:-1]
    falling = slopes[:, 2:] / np.diff(edges)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters *= 2.0 / (edges[2:] - edges[:-2])
    filters.setflags(write=False)
    return filters
