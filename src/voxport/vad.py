"""Where someone speaks: Silero VAD, and the rule that turns its probabilities into spans. numpy only.

The network is Silero's for 16 kHz: for each chunk of 512 samples (32 ms) with 64 samples of context a short-time
Fourier transform, four convolutions and one LSTM cell. The convolutions run over many chunks at once; only the LSTM
goes chunk by chunk. Weights and their origin: `data/README.md`.

Its probabilities fall off where speech is quiet (peaks below about 0.02), though nothing is wrong with such a
recording. So quiet stretches are amplified before the network sees them; at ordinary level nothing is changed.

Matrix products are cut into small ones: large ones would wake the threads of numpy's BLAS, which then compete with the
model's for the same cores. It also makes a chunk's probability independent of what else was in the same call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from voxport.errors import AudioError, UsageError
from voxport.types import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from voxport.types import FloatArray

__all__ = ["CHUNK", "SAMPLE_RATE", "SpanFinder", "SpeechDetector", "VADOptions", "speech_spans"]

SAMPLE_RATE = 16_000
CHUNK = 512
"""Samples per probability: 32 ms."""

_CONTEXT = 64
_STFT, _HOP = 256, 128
_UNITS = 128
_ROWS = 12
"""Chunks per matrix product: each stays below the size at which OpenBLAS starts threads (262,144 multiply-adds)."""
_BLOCK = 8 * _ROWS
"""Chunks per pass: temporaries of about 1 MB, whatever the length of the recording."""
_STRIDES = (1, 2, 2, 1)

_LARGEST = 1e12
"""Samples are clipped to this, far above those of unscaled whole numbers: from about 1e17 on float32 overflows."""

_TARGET_LEVEL = 0.1
"""Where the recent peak is below this, the detector amplifies up to it."""
_LEVEL_DECAY = 0.5 ** (CHUNK / SAMPLE_RATE / 5.0)
"""Per chunk: the memory of a peak halves in 5 s."""


@dataclass(frozen=True)
class _Network:
    """Silero's weights, arranged for `SpeechDetector`; float32, C order, inputs × outputs.

    Attributes:
        window: float64, (256,): the transform's, periodic Hann.
        convolutions: four times (taps: three matrices, bias).
        gates: (128, 512) and its bias (512,): the LSTM's input weights in the order input, forget, output, cell.
        recurrent: (128, 512).
        output, output_bias: (128,) and a number.
    """

    window: npt.NDArray[np.float64]
    convolutions: tuple[tuple[tuple[FloatArray, ...], FloatArray], ...]
    gates: FloatArray
    gates_bias: FloatArray
    recurrent: FloatArray
    output: FloatArray
    output_bias: np.float32


def _arrange(weights: dict[str, FloatArray]) -> _Network:
    """From the published tensors to `_Network`. What is halved here saves a step per chunk later, exactly.

    sigmoid(x) = (1 + tanh(x / 2)) / 2, so the three sigmoid gates are halved and take one tanh with the fourth. The
    hidden state is kept doubled, which halves what it is multiplied with. `stft_conv.weight` is not used: it is the
    Fourier basis under a Hann window (to 1e-7), for which there is a fast transform.
    """
    convolutions = tuple(
        (
            tuple(np.ascontiguousarray(weights[f"conv{layer}.weight"][:, :, tap].T) for tap in range(3)),
            weights[f"conv{layer}.bias"],
        )
        for layer in (1, 2, 3, 4)
    )
    order = np.r_[0 : 2 * _UNITS, 3 * _UNITS : 4 * _UNITS, 2 * _UNITS : 3 * _UNITS]  # torch's: i, f, g, o
    scale = np.repeat(np.array([0.5, 1.0], np.float32), [3 * _UNITS, _UNITS])
    bias = weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]
    return _Network(
        window=0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_STFT) / _STFT),
        convolutions=convolutions,
        gates=np.ascontiguousarray(weights["lstm_cell.weight_ih"][order].T * scale),
        gates_bias=bias[order] * scale,
        recurrent=np.ascontiguousarray(weights["lstm_cell.weight_hh"][order].T * scale * np.float32(0.5)),
        output=weights["final_conv.weight"][0, :, 0] * np.float32(0.5),
        output_bias=weights["final_conv.bias"][0],
    )


@cache
def _network() -> _Network:
    """The network that comes with the package."""
    from safetensors.numpy import load

    return _arrange(load(resources.files("voxport").joinpath("data/silero_vad_16k.safetensors").read_bytes()))


class SpeechDetector:
    """Speech probabilities of one recording, as it comes in.

    Holds what the network remembers between calls, so that the blocks may be cut anywhere.

    Args:
        max_gain: amplify quiet stretches by at most this factor; 1 = never, which gives Silero's own probabilities.
    """

    def __init__(self, max_gain: float = 30.0) -> None:
        if not 1.0 <= max_gain < float("inf"):
            raise UsageError(f"a gain of {max_gain} is out of range", hint="choose 1 (none) or more")
        self._network = _network()
        self._max_gain = max_gain
        self._reset()

    def _reset(self) -> None:
        self._pending = np.zeros(_CONTEXT, np.float32)  # context, then what does not fill a chunk yet
        self._hidden = np.zeros(_UNITS, np.float32)  # doubled, see _arrange
        self._cell = np.zeros(_UNITS, np.float32)
        self._level = 0.0  # the recent peak

    def feed(self, block: FloatArray) -> FloatArray:
        """Take the next samples; give the probabilities of the chunks that are now complete.

        Args:
            block: float32, shape (n,), any n, 16 kHz mono, full scale ±1.

        Returns:
            float32, shape (complete chunks,), each in [0, 1]: the probability of speech in 512 samples.

        Raises:
            AudioError: `block` is not one-dimensional (code ``audio_window``).
        """
        block = np.asarray(block, np.float32)
        if block.ndim != 1:
            raise AudioError(
                f"speech is looked for in one channel, an array of shape (n,), not {block.shape}",
                hint="mix the channels or take one",
                code="audio_window",
            )
        samples = np.concatenate((self._pending, np.clip(block, -_LARGEST, _LARGEST)))
        count = (len(samples) - _CONTEXT) // CHUNK
        self._pending = samples[count * CHUNK :].copy()
        if count == 0:
            return np.empty(0, np.float32)
        chunks = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + CHUNK)[::CHUNK]
        probabilities = np.empty(count, np.float32)
        for start in range(0, count, _BLOCK):
            block_chunks = chunks[start : min(start + _BLOCK, count)]
            hidden = self._recur(_encode(self._network, block_chunks, self._gains(block_chunks)))
            np.maximum(hidden, 0.0, out=hidden)
            hidden *= self._network.output
            logits = hidden.sum(axis=1) + self._network.output_bias
            probabilities[start : start + len(logits)] = 0.5 + 0.5 * np.tanh(0.5 * logits)
        return probabilities

    def flush(self) -> FloatArray:
        """End the recording: the probability of the last, incomplete chunk, filled up with silence, if there is one.

        Returns:
            float32, shape (0,) or (1,). Afterwards the detector is ready for another recording.
        """
        missing = -(len(self._pending) - _CONTEXT) % CHUNK
        probabilities = self.feed(np.zeros(missing, np.float32))
        self._reset()
        return probabilities

    def _gains(self, chunks: FloatArray) -> FloatArray:
        """By how much to amplify each chunk and its context: float32, shape (n,)."""
        peaks = np.maximum(chunks[:, _CONTEXT:].max(axis=1), -chunks[:, _CONTEXT:].min(axis=1))
        gains = np.ones(len(chunks), np.float32)
        for number, peak in enumerate(peaks.tolist()):
            self._level = max(peak, self._level * _LEVEL_DECAY)
            if self._level * self._max_gain < _TARGET_LEVEL:
                gains[number] = self._max_gain
            elif self._level < _TARGET_LEVEL:
                gains[number] = _TARGET_LEVEL / self._level
        return gains

    def _recur(self, gates: FloatArray) -> FloatArray:
        """The LSTM over chunks: gate inputs (n, 512) to doubled hidden states (n, 128).

        This loop is most of what voice activity detection costs: nine calls per chunk, none of which allocates.
        """
        states = np.empty((len(gates), _UNITS), np.float32)
        z = np.empty(5 * _UNITS, np.float32)  # input, forget, output, cell candidate | cell state
        activations, sigmoids, cell = z[: 4 * _UNITS], z[: 3 * _UNITS], z[4 * _UNITS :]
        factors, terms, output_gate = z[: 2 * _UNITS], z[3 * _UNITS :], z[2 * _UNITS : 3 * _UNITS]
        products = np.empty(2 * _UNITS, np.float32)
        new, kept = products[:_UNITS], products[_UNITS:]
        recurrent = self._network.recurrent
        one, half = np.ones(3 * _UNITS, np.float32), np.full(_UNITS, 0.5, np.float32)  # arrays: scalars are slower
        add, multiply, tanh = np.add, np.multiply, np.tanh
        hidden = self._hidden
        cell[:] = self._cell
        for gate, state in zip(gates, states, strict=True):
            hidden.dot(recurrent, activations)
            add(activations, gate, activations)
            tanh(activations, activations)
            add(sigmoids, one, sigmoids)
            multiply(factors, terms, products)  # 2 i g and 2 f c
            add(new, kept, new)
            multiply(new, half, cell)
            tanh(cell, kept)
            multiply(output_gate, kept, state)
            hidden = state
        self._hidden, self._cell = hidden.copy(), cell.copy()
        return states


def _encode(network: _Network, chunks: FloatArray, gains: FloatArray) -> FloatArray:
    """Chunks with context (n, 576), each times its gain (n,), to the LSTM's gate inputs (n, 512).

    Inside, arrays are (positions, chunks, channels), chunks filled up to whole rows of products.
    """
    count = len(chunks)
    rows = -(-count // _ROWS) * _ROWS
    samples = np.zeros((rows, _CONTEXT + CHUNK + _STFT // 4), np.float32)
    end = _CONTEXT + CHUNK
    np.multiply(chunks, gains[:, None], out=samples[:count, :end])
    samples[:, end:] = samples[:, end - 2 : end - 2 - _STFT // 4 : -1]  # reflected on the right
    x = np.empty((4, rows, _STFT // 2 + 1), np.float32)
    for position, magnitude in enumerate(x):
        frame = samples[:, position * _HOP : position * _HOP + _STFT]
        squares = np.fft.rfft(frame * network.window).view(np.float64)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=magnitude, casting="same_kind")
    np.sqrt(x, out=x)
    for (taps, bias), stride in zip(network.convolutions, _STRIDES, strict=True):
        x = _convolve(x, taps, bias, stride)
    gates = np.empty((rows, 4 * _UNITS), np.float32)
    for gate in range(4):
        part = slice(gate * _UNITS, (gate + 1) * _UNITS)
        gates[:, part] = _product(x[0], network.gates[:, part])
    gates += network.gates_bias
    return gates[:count]


def _convolve(x: FloatArray, taps: Sequence[FloatArray], bias: FloatArray, stride: int) -> FloatArray:
    """1-D convolution, kernel 3, padding 1, with ReLU: (positions, rows, in) to (positions / stride, rows, out)."""
    positions = -(-len(x) // stride)
    y = np.empty((positions, x.shape[1], len(bias)), np.float32)
    y[:] = bias
    for position in range(positions):
        for tap, weight in enumerate(taps):
            source = position * stride + tap - 1
            if 0 <= source < len(x):
                y[position] += _product(x[source], weight)
    return np.maximum(y, 0.0, out=y)


def _product(x: FloatArray, weight: FloatArray) -> FloatArray:
    """x @ weight, in pieces of `_ROWS` rows."""
    pieces: FloatArray = np.matmul(x.reshape(-1, _ROWS, x.shape[1]), weight)
    return pieces.reshape(len(x), -1)


@dataclass(frozen=True)
class VADOptions:
    """How probabilities become spans. Times in seconds.

    The defaults are Silero's but for `min_speech`, which is shorter so that no "yes" is lost. Every pause counts, since
    a caller that packs spans into windows wants to choose among all of them, and adds its own margin around a window.

    Attributes:
        threshold: speech begins with a chunk of at least this probability.
        negative_threshold: speech may end with a chunk below this one; between the two it goes on.
        min_silence: speech ends where it stayed away for this long.
        min_speech: what is not longer than this is no speech.
        speech_pad: added before and after; where two spans would meet, each gets half of the pause.
    """

    threshold: float = 0.5
    negative_threshold: float = 0.35
    min_silence: float = 0.1
    min_speech: float = 0.15
    speech_pad: float = 0.03

    def __post_init__(self) -> None:
        if not 0.0 < self.negative_threshold <= self.threshold <= 1.0:
            raise UsageError(
                f"the speech thresholds {self.negative_threshold} and {self.threshold} are off",
                hint="choose 0 < negative_threshold <= threshold <= 1",
            )
        for name in ("min_silence", "min_speech", "speech_pad"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}", hint="choose a number of seconds, 0 or more")


class SpanFinder:
    """Spans of speech from probabilities, as these come in: the rule of Silero's `get_speech_timestamps`.

    Its rule for a longest duration is left out. Where the caller cuts the probabilities makes no difference.
    """

    def __init__(self, options: VADOptions | None = None) -> None:
        options = options or VADOptions()
        self._threshold, self._negative_threshold = options.threshold, options.negative_threshold
        self._min_silence, self._min_speech, self._pad = (
            round(seconds * SAMPLE_RATE) for seconds in (options.min_silence, options.min_speech, options.speech_pad)
        )
        self._chunks = 0
        # In samples. Speech in progress, before padding, and where its end may be:
        self._start: int | None = None
        self._pause: int | None = None
        # The last span found: its start is padded; its end is not, for that depends on what follows.
        self._last: tuple[int, int] | None = None

    @property
    def pending_from(self) -> float:
        """Seconds: every span that is not given out yet begins here or later. Never goes back."""
        if self._last is not None:
            return self._last[0] / SAMPLE_RATE
        start = self._chunks * CHUNK if self._start is None else self._start
        return max(0, start - self._pad) / SAMPLE_RATE

    def feed(self, probabilities: FloatArray) -> list[Span]:
        """Take the next chunks' probabilities, float32, shape (n,); give the spans that are final now."""
        spans = []
        for probability in np.asarray(probabilities).tolist():
            position = self._chunks * CHUNK
            self._chunks += 1
            if probability >= self._threshold:
                self._pause = None
                if self._start is None:
                    self._start = position
            elif probability < self._negative_threshold and self._start is not None:
                if self._pause is None:
                    self._pause = position
                if position - self._pause >= self._min_silence:
                    spans += self._close(self._start, self._pause)
                    self._start = self._pause = None
        # Without speech in progress, or with speech that began far enough away, the last span's end can't move.
        if self._last is not None:
            following = self._chunks * CHUNK if self._start is None else self._start
            if following - self._last[1] >= 2 * self._pad:
                spans.append(_span(self._last[0], self._last[1] + self._pad))
                self._last = None
        return spans

    def finish(self, samples: int | None = None) -> list[Span]:
        """End the recording: the spans not given yet. The finder can't be fed again.

        Args:
            samples: the recording's length, which ends the last span; None = all chunks were full.
        """
        length = self._chunks * CHUNK if samples is None else samples
        spans = []
        if self._start is not None:
            spans += self._close(self._start, length)
        if self._last is not None:
            spans.append(_span(self._last[0], min(length, self._last[1] + self._pad)))
        self._start = self._pause = self._last = None
        return spans

    def _close(self, start: int, end: int) -> list[Span]:
        """Speech ended. What is too short is dropped; else the span before it, if still held back, is final now."""
        if end - start <= self._min_speech:
            return []
        spans = []
        room = self._pad
        if self._last is not None:
            silence = start - self._last[1]
            room = self._pad if silence >= 2 * self._pad else silence // 2
            spans.append(_span(self._last[0], self._last[1] + room))
        self._last = (max(0, start - room), end)
        return spans


def speech_spans(
    probabilities: FloatArray, options: VADOptions | None = None, *, samples: int | None = None
) -> list[Span]:
    """The spans of speech in a whole recording, in time order, without overlap.

    Args:
        probabilities: float32, shape (n,), one per 512 samples, as `SpeechDetector` gives them.
        options: None = the defaults.
        samples: the recording's length, which ends the last span; None = all chunks were full.
    """
    finder = SpanFinder(options)
    return finder.feed(probabilities) + finder.finish(samples)


def _span(start: int, end: int) -> Span:
    return Span(start / SAMPLE_RATE, end / SAMPLE_RATE)
