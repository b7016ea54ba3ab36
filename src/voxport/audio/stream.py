"""A recording as a stream of mono blocks at the rate that models want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from voxport.audio.container import Container
from voxport.audio.decoder import Decoder, Piece
from voxport.audio.limits import AudioLimits
from voxport.audio.resample import StreamResampler, to_mono
from voxport.audio.source import AudioInput, AudioSource, prepare_source
from voxport.errors import AudioError, UsageError
from voxport.types import Audio, FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BLOCK_SECONDS", "AudioStream", "load_audio", "open_audio"]

BLOCK_SECONDS = 30
"""No block that `AudioStream.blocks` gives is longer."""

_LOUD = 16.0
"""A peak so far above full scale comes from samples that were never scaled, not from a loud recording."""

_LARGEST = 1e15
"""A sample beyond this is no sound on any scale; from about 1e17 on its power is none of float32's numbers."""


class AudioStream:
    """An opened recording. A context manager; its blocks can be walked once.

    Attributes:
        name: as given, "-" for standard input, None for bytes and arrays.
        channel_count: of the source.
        sample_rate: of the source, Hz.
        duration: in seconds: as the container states it, or None; once the blocks are through, as counted.
        warnings: what was lost or looks wrong, in words for people; complete once the blocks are through.
    """

    def __init__(
        self,
        source: AudioSource,
        *,
        channel: int | None,
        target_rate: int,
        limits: AudioLimits,
        owns_source: bool,
    ) -> None:
        self.name = source.name
        self.warnings: list[str] = []
        self._what = source.describe()
        self._channel = channel
        self._target_rate = target_rate
        self._source = source
        self._owns_source = owns_source
        self._container: Container | None = None
        self._walked = False
        self._peak = 0.0
        self.duration: float | None = None
        try:
            if source.array is None:
                self._container = Container(source, limits)
                self.warnings = self._container.warnings
                self.channel_count, self.sample_rate = self._container.channel_count, self._container.sample_rate
                self.duration = self._container.duration
            else:
                self._open_array(source, limits)
            self._check_channel(self.channel_count)
        except BaseException:
            self.close()
            raise

    def _open_array(self, source: AudioSource, limits: AudioLimits) -> None:
        assert source.array is not None
        assert source.sample_rate is not None
        length, self.channel_count = source.array.shape
        self.sample_rate = source.sample_rate
        self.duration = length / self.sample_rate
        if self.channel_count > limits.max_channels:
            raise AudioError(f"the array has {self.channel_count} channels", code="audio_limit")
        if not limits.min_sample_rate <= self.sample_rate <= limits.max_sample_rate:
            raise AudioError(
                f"the array's sample rate is {self.sample_rate} Hz; "
                f"{limits.min_sample_rate} to {limits.max_sample_rate} are taken",
                hint="give it in Hz",
                code="audio_limit",
            )

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._owns_source:
            self._source.close()

    def blocks(self) -> Iterator[FloatArray]:
        """The sound: float32 arrays of shape (n,), 0 < n <= 30 s, full scale ±1, at the rate asked for.

        Raises:
            AudioError: nothing could be decoded, samples are not finite or too large for any scale, a limit was passed.
            RuntimeError: the blocks were walked before; open the recording again.
        """
        if self._walked:
            raise RuntimeError("the blocks of an AudioStream can be walked once: open the recording again")
        self._walked = True
        size = BLOCK_SECONDS * self._target_rate
        held: list[FloatArray] = []
        count = total = 0
        for piece in self._resampled():
            start = 0
            while start < len(piece):
                part = piece[start : start + size - count]
                start += len(part)
                held.append(part)
                count += len(part)
                if count == size:
                    total += count
                    yield np.concatenate(held)
                    held, count = [], 0
        if count:
            total += count
            yield np.concatenate(held)
        self.duration = total / self._target_rate
        if self._peak > _LOUD:
            self.warnings.append(f"the peak is {self._peak:.4g} times full scale: samples should lie within ±1")

    def _resampled(self) -> Iterator[FloatArray]:
        resampler: StreamResampler | None = None
        seconds = 0.0
        for samples, rate in self._pieces():
            self._check_channel(samples.shape[1])
            mono = to_mono(samples, self._channel)
            self._check_samples(mono, seconds, rate)
            seconds += len(mono) / rate
            if resampler is None or resampler.sample_rate != rate:
                if resampler is not None:
                    yield resampler.finish()
                resampler = StreamResampler(rate, self._target_rate)
            yield resampler.feed(mono)
        if resampler is not None:
            yield resampler.finish()

    def _pieces(self) -> Iterator[Piece]:
        if self._container is not None:
            yield from Decoder(self._container).pieces()
            return
        array, rate = self._source.array, self._source.sample_rate
        if array is None or rate is None:
            raise ValueError("this AudioStream is closed")
        for start in range(0, len(array), 2**20):
            yield array[start : start + 2**20], rate

    def _check_channel(self, count: int) -> None:
        if self._channel is not None and self._channel >= count:
            names = "0" if count == 1 else f"0 to {count - 1}"
            raise AudioError(
                f"{self._what} has no channel {self._channel}: it has {count}, numbered {names}",
                hint="choose one of these, or mix",
                code="audio_channel",
            )

    def _check_samples(self, mono: FloatArray, seconds: float, rate: int) -> None:
        if len(mono) == 0:
            return
        low, high = float(mono.min()), float(mono.max())  # NaN if any sample is
        if not np.isfinite(low) or not np.isfinite(high):
            place = seconds + int(np.argmin(np.isfinite(mono))) / rate
            raise AudioError(
                f"{self._what} has a sample that is not a finite number (NaN or infinite) at {place:.2f} s",
                hint="the program that wrote it made an error; export it again",
                code="audio_non_finite",
            )
        peak = max(-low, high)
        if peak > _LARGEST:
            place = seconds + int(np.argmax(np.abs(mono))) / rate
            raise AudioError(
                f"{self._what} has a sample of {peak:.3g} times full scale at {place:.2f} s",
                hint="scale it to ±1; if it is no sound at all, the program that wrote it made an error",
                code="audio_non_finite",
            )
        self._peak = max(self._peak, peak)


def open_audio(
    source: AudioInput,
    *,
    channels: Literal["mix"] | int = "mix",
    sample_rate: int = 16_000,
    limits: AudioLimits | None = None,
) -> AudioStream:
    """Open a recording for streaming.

    Args:
        source: what `prepare_source` takes, or what it returned (which then stays open when the stream is closed).
        channels: "mix" for the mean of all, or the number of one, counted from 0.
        sample_rate: to resample to, Hz.
        limits: what to refuse.

    Raises:
        AudioError: it can't be opened; see `voxport.audio` for the codes.
        UsageError: `channels` or `sample_rate` is out of range.
    """
    if channels != "mix" and (isinstance(channels, bool) or not isinstance(channels, int) or channels < 0):
        raise UsageError(f"channels is {channels!r}", hint='"mix", or the number of a channel, counted from 0')
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or not 1_000 <= sample_rate <= 768_000:
        raise UsageError(f"sample_rate is {sample_rate!r}", hint="give 1000 to 768000, in Hz; models want 16000")
    limits = limits or AudioLimits()
    prepared = prepare_source(source, limits=limits)
    return AudioStream(
        prepared,
        channel=None if channels == "mix" else channels,
        target_rate=sample_rate,
        limits=limits,
        owns_source=prepared is not source,
    )


def load_audio(
    source: AudioInput,
    *,
    channels: Literal["mix"] | int = "mix",
    sample_rate: int = 16_000,
    limits: AudioLimits | None = None,
) -> Audio:
    """A whole recording at once; arguments and errors as for `open_audio`."""
    with open_audio(source, channels=channels, sample_rate=sample_rate, limits=limits) as stream:
        return Audio(np.concatenate(list(stream.blocks())), sample_rate)
