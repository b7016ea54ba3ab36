"""MedASR's log-mel spectrogram (model type ``lasr_ctc``).

The computation published in transformers (`LasrFeatureExtractor`): frames of 400 samples every 160 from the first
sample on (no centring, no padding), symmetric Hann window, Fourier transform of 512 points, power spectrum, 128
triangles from 125 to 7500 Hz on Kaldi's mel scale, natural logarithm of at least 1e-5. No normalisation, so a quiet
recording stays quiet.

As published, everything up to the power spectrum is float64 (on the CPU always: accelerators lack it or are slow at
it). From there on it is float32 here, which moves the logarithms by less than 1e-6.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from voxport.features.filters import FilterBand, group_filters

if TYPE_CHECKING:
    from voxport.types import FloatArray

__all__ = ["HOP_LENGTH", "N_FFT", "SAMPLE_RATE", "WIN_LENGTH", "frame_count", "lasr_log_mel", "lasr_mel_filters"]

SAMPLE_RATE = 16_000
WIN_LENGTH = 400
HOP_LENGTH = 160
N_FFT = 512

_LOWEST, _HIGHEST = 125.0, 7500.0
"""Edges of the filter bank, Hz."""
_FLOOR = np.float32(1e-5)
_ROWS = 16
"""Frames per matrix product: keeps each below the size at which OpenBLAS starts threads (262,144 multiply-adds), which
would compete with the model's for the same cores."""
_BLOCK = 6 * _ROWS
"""Frames per pass: about 1 MB of temporaries."""
_BANDS = 4


def frame_count(samples: int) -> int:
    """Frames of a recording of so many samples; none below 400 (25 ms)."""
    return max(0, (samples - WIN_LENGTH) // HOP_LENGTH + 1)


def lasr_log_mel(samples: FloatArray, n_mels: int = 128, *, out: FloatArray | None = None) -> FloatArray:
    """Natural-log mel spectrogram of one window.

    Args:
        samples: float32, shape (n,), 16 kHz, full scale ±1, finite.
        n_mels: mel bands.
        out: where to write, float32, shape (frame_count(n), n_mels); None = a new array.

    Returns:
        float32, shape (frame_count(n), n_mels).
    """
    frames = frame_count(len(samples))
    if out is None:
        out = np.empty((frames, n_mels), np.float32)
    if not frames:
        return out
    strided = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float32), WIN_LENGTH)[::HOP_LENGTH]
    window, bands = _hann(), _bands(n_mels)
    # Zero beyond the window's 400 samples, and of whole products in the last pass.
    windowed = np.zeros((_BLOCK, N_FFT), np.float64)
    power = np.zeros((_BLOCK, N_FFT // 2 + 1), np.float32)
    mel = np.empty((_BLOCK // _ROWS, _ROWS, n_mels), np.float32)
    for start in range(0, frames, _BLOCK):
        rows = min(_BLOCK, frames - start)
        np.multiply(strided[start : start + rows], window, out=windowed[:rows, :WIN_LENGTH])
        squares = np.fft.rfft(windowed[:rows]).view(np.float64)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=power[:rows], casting="same_kind")
        products = -(-rows // _ROWS)
        powers = power.reshape(-1, _ROWS, power.shape[1])[:products]
        for bins, filters, weights in bands:
            np.matmul(powers[:, :, bins], weights, out=mel[:products, :, filters])
        np.maximum(mel.reshape(_BLOCK, n_mels)[:rows], _FLOOR, out=out[start : start + rows])
    return np.log(out, out=out)


@cache
def _hann() -> npt.NDArray[np.float64]:
    """The symmetric Hann window of 400 samples."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WIN_LENGTH) / (WIN_LENGTH - 1))


@cache
def _bands(n_mels: int) -> list[FilterBand]:
    return group_filters(lasr_mel_filters(n_mels), _BANDS)


@cache
def lasr_mel_filters(n_mels: int = 128) -> npt.NDArray[np.float64]:
    """Kaldi's mel filter bank from 125 to 7500 Hz: float64, shape (257, n_mels), read-only.

    Triangles that are linear in mel, not in Hz, with height 1; the bin at 0 Hz belongs to none.
    """
    bins = _mel(np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1))[:, None]
    edges = np.linspace(_mel(np.asarray(_LOWEST)), _mel(np.asarray(_HIGHEST)), n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters[0] = 0.0
    filters.setflags(write=False)
    return filters


def _mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log(1.0 + hertz / 700.0)
