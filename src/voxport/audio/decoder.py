"""From an opened container to the pieces of its sound, on its clock, with an account of what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxport.errors import AudioError
from voxport.types import FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.audio.container import Container

__all__ = ["Decoder", "Piece"]

_BATCH = 2**16
"""Samples a channel that are gathered before they are converted: frames are small, and numpy's calls are not free."""
_GAP = 0.1
"""Seconds that time stamps may jump before silence is put in. Containers that count milliseconds jitter by less."""
_GAP_EXACT = 0.002
"""The same behind a damaged place, and for flac, whose frames are numbered: a smaller hole is a lost frame there."""
_SILENCE = 10
"""Seconds of silence made at once."""
_DEMUX_ERRORS = 16
"""So often in a row the container may fail to give a packet before the rest of it is given up."""

_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}
_DTYPES: dict[str, np.dtype[Any]] = {
    name + suffix: np.dtype(dtype) for name, dtype in _TYPES.items() for suffix in ("", "p")
}

Planes = list[npt.NDArray[Any]]

Piece = tuple[FloatArray, int]
"""Float32 samples of shape (n, channels) and their rate in Hz."""


class Decoder:
    """Decodes a container's sound, once.

    Attributes:
        seconds: of sound given so far, silence in holes included.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self.seconds = 0.0
        self._damaged = 0
        self._first_damage: float | None = None
        self._silence_added = 0.0
        self._after_loss = False
        self._clock: float | None = None
        self._tick = float(container.stream.time_base or 0)

    def pieces(self) -> Iterator[Piece]:
        """The sound in order, in small pieces. Rate and channel count may change between them.

        Raises:
            AudioError: nothing could be decoded, or a limit was passed.
        """
        batch: list[Planes] = []
        held = 0
        kind: tuple[Any, ...] = ()
        for planes, new_kind in self._frames():
            if batch and (new_kind != kind or held >= _BATCH):
                yield _convert(batch, kind), kind[1]
                batch, held = [], 0
            kind = new_kind
            batch.append(planes)
            held += planes[0].shape[0]
        if batch:
            yield _convert(batch, kind), kind[1]
        if self.seconds == 0.0:
            raise self._nothing_error()
        self._warn_of_losses()

    def _frames(self) -> Iterator[tuple[Planes, tuple[Any, ...]]]:
        """Samples as the codec gives them, and what those must share that are joined: format, rate, channels."""
        kind: tuple[Any, ...] = ()
        for frame in self._decoded():
            if frame.samples <= 0:
                continue
            rate = frame.sample_rate
            if kind != (new_kind := (frame.format.name, rate, frame.layout.nb_channels)):
                kind = new_kind
                self._container.check_layout(kind[2], rate)
            planes = _planes(frame, kind)
            for silence in self._fill_gap(frame.pts, frame.samples, rate):
                yield [np.full((silence, *plane.shape[1:]), _zero(plane.dtype), plane.dtype) for plane in planes], kind
            if frame.is_corrupt:
                self._note_damage()
            self._count(frame.samples, rate)
            yield planes, kind

    def _decoded(self) -> Iterator[Any]:
        """Every frame that can be had; what can't is noted."""
        import av

        packets = self._container.file.demux(self._container.stream)
        failures = 0
        while failures < _DEMUX_ERRORS:
            try:
                packet = next(packets)
                failures = 0
            except StopIteration:  # the end, or what the reader gave as one
                self._container.raise_failure()
                return
            except IndexError:  # PyAV 18 at the end of a container in which streams turned up late
                break
            except (av.error.FFmpegError, MemoryError):
                self._container.raise_failure()
                self._note_damage()
                failures += 1
                packets = self._container.file.demux(self._container.stream)
                continue
            self._container.raise_failure()
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(self._container.stream.codec_context.decode(packet) if packet is None else packet.decode())
        except (av.error.FFmpegError, MemoryError):
            self._note_damage()
            return []

    def _fill_gap(self, stamp: int | None, samples: int, rate: int) -> Iterator[int]:
        """Lengths of silence to put before a frame so that it comes at its time; moves the clock past the frame."""
        time = None if stamp is None else stamp * self._tick
        if self._clock is None:
            self._clock = self._origin(time)
        gap = 0.0 if time is None else time - self._clock
        exact = self._after_loss or self._container.file.format.name == "flac"
        tolerance = _GAP_EXACT if exact else _GAP
        self._after_loss = False
        if gap > self._container.limits.max_gap_seconds:
            self._container.warnings.append(
                f"a hole of {gap:.0f} s at {self.seconds:.1f} s was closed: the time stamps are doubtful"
            )
        elif gap > tolerance:
            missing = round(gap * rate)
            if self.seconds > 0:  # a film whose sound sets in later lost nothing
                self._silence_added += missing / rate
            while missing > 0:
                length = min(missing, _SILENCE * rate)
                self._count(length, rate)
                yield length
                missing -= length
        self._clock = (self._clock if time is None else time) + samples / rate

    def _origin(self, first: float | None) -> float:
        """Where the recording's clock starts: in a film with its picture, else with the first sound."""
        import av

        start = self._container.file.start_time
        moving = [
            stream
            for stream in self._container.file.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if moving and start is not None and first is not None:
            return float(min(first, start / 1_000_000))
        return first or 0.0

    def _count(self, samples: int, rate: int) -> None:
        self.seconds += samples / rate
        most = self._container.limits.max_seconds
        if self.seconds > most + 1e-6:
            length = f"{most / 3600:g} hours" if most >= 3600 else f"{most:g} s"
            raise AudioError(
                f"{self._container.what} holds more than {length} of sound",
                hint="cut it into parts",
                code="audio_limit",
            )

    def _note_damage(self) -> None:
        self._damaged += 1
        self._after_loss = True
        if self._first_damage is None:
            self._first_damage = self.seconds

    def _nothing_error(self) -> AudioError:
        if self._damaged:
            return AudioError(
                f"nothing in {self._container.what} can be decoded ({self._damaged} damaged places)",
                hint="it is damaged; copy or download it again",
                code="audio_corrupt",
            )
        return AudioError(
            f"{self._container.what} holds no sound: a header and nothing behind it",
            hint="the recording was stopped before it began",
            code="audio_empty",
        )

    def _warn_of_losses(self) -> None:
        if self._damaged:
            self._container.warnings.append(
                f"damaged in {self._damaged} place{'s' * (self._damaged > 1)}, first at {self._first_damage:.1f} s: "
                "what could not be decoded is missing or silent"
            )
        if self._silence_added:
            self._container.warnings.append(f"{self._silence_added:.2f} s of silence fill holes in its time stamps")
        promised = self._container.duration
        if (
            promised is not None
            and self._container.duration_is_exact
            and self.seconds < promised - max(0.5, 0.01 * promised)
        ):
            self._container.warnings.append(
                f"it promises {promised:.1f} s but holds {self.seconds:.1f} s: cut off, or its header is wrong"
            )


def _planes(frame: Any, kind: tuple[Any, ...]) -> Planes:
    """Views of a frame's samples: arrays of shape (n,), one a channel; interleaved: one of shape (n, channels)."""
    name, _, channels = kind
    dtype, count = _DTYPES[name], frame.samples
    if channels > 1 and not name.endswith("p"):
        return [np.frombuffer(frame.planes[0], dtype, count * channels).reshape(-1, channels)]
    return [np.frombuffer(plane, dtype, count) for plane in frame.planes[:channels]]


def _zero(dtype: np.dtype[Any]) -> int:
    """Silence in a codec's own numbers."""
    return 128 if dtype.kind == "u" else 0


def _convert(batch: list[Planes], kind: tuple[Any, ...]) -> FloatArray:
    """Joined and as float32 of shape (n, channels), full scale ±1: the same numbers as libsndfile gives."""
    joined = [np.concatenate(planes) for planes in zip(*batch, strict=True)]
    samples = np.stack(joined).T if joined[0].ndim == 1 else joined[0]
    dtype = samples.dtype
    if dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
            return samples.astype(np.float32, copy=False)
    if dtype.kind == "u":
        return (samples.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * dtype.itemsize))
