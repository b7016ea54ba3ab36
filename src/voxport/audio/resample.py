"""Mixing to mono and resampling in a stream, with the very samples that `librosa.load` gives at once.

librosa 0.11 takes the mean over the channels, resamples that with soxr's "HQ" recipe and pads or cuts the result to
ceil(n * target / rate) samples. libsoxr's stream gives the same samples whatever pieces it is fed, so all of this can
be done at bounded memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from voxport.types import FloatArray

__all__ = ["StreamResampler", "to_mono"]


def to_mono(samples: FloatArray, channel: int | None) -> FloatArray:
    """One channel, or with None the mean of all; shape (n, channels) -> (n,), float32.

    Up to seven channels numpy's mean adds them one after the other, and so does this, only faster; from eight on it
    adds in pairs if the memory is interleaved, which is seen to here.
    """
    count = samples.shape[1]
    if channel is not None:
        return samples[:, channel]
    if count == 1:
        return samples[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by the caller
        if count >= 8:
            mean: FloatArray = np.mean(np.ascontiguousarray(samples).T, axis=0)
            return mean
        total = samples[:, 0] + samples[:, 1]
        for column in range(2, count):
            total += samples[:, column]
        total /= np.float32(count)
    return total


class StreamResampler:
    """Float32 mono from one rate to another, piece by piece."""

    def __init__(self, sample_rate: int, target_rate: int) -> None:
        self.sample_rate = sample_rate
        self._target_rate = target_rate
        self._taken = 0
        self._given = 0
        self._stream: Any = None
        if sample_rate != target_rate:
            import soxr

            self._stream = soxr.ResampleStream(sample_rate, target_rate, 1, dtype="float32", quality="HQ")

    def feed(self, samples: FloatArray) -> FloatArray:
        """What is ready after these samples: shape (n,) -> (m,), m may be 0."""
        if self._stream is None:
            return samples
        self._taken += len(samples)
        output: FloatArray = self._stream.resample_chunk(np.ascontiguousarray(samples))
        self._given += len(output)
        return output

    def finish(self) -> FloatArray:
        """The rest, padded with zeros or cut so that ceil(n * target / rate) samples were given in all."""
        if self._stream is None or self._taken == 0:
            return np.zeros(0, np.float32)
        rest: FloatArray = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        # librosa's own expression, its rounding included
        wanted = math.ceil(self._taken * (float(self._target_rate) / self.sample_rate)) - self._given
        return np.pad(rest, (0, wanted - len(rest))) if wanted > len(rest) else rest[: max(wanted, 0)]
