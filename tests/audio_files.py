"""Recordings made on the spot, in every container and codec that the tests need, and what is asked of them."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from voxport.audio import load_audio, open_audio
from voxport.errors import AudioError

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 6: "5.1", 8: "7.1"}
SCALES = {"u8": ("u1", 128), "s16": ("i2", 2**15), "s32": ("i4", 2**31), "flt": ("f4", 1), "dbl": ("f8", 1)}


def voice(samples: int, rate: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A gliding tone with overtones that swells like speech: float64, shape (samples, channels), peak below 0.6."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(samples) / rate
    columns = []
    for _ in range(channels):
        pitch = generator.uniform(110, 220)
        phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * seconds))) / rate
        tone = sum(np.sin(k * phase) / k for k in range(1, 8))
        columns.append(0.25 * np.asarray(tone) * (0.6 + 0.4 * np.sin(2 * np.pi * 2.1 * seconds)))
    return np.stack(columns, axis=1)


def encode(
    signal: np.ndarray,
    rate: int,
    container: str,
    codec: str,
    *,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    bit_rate: int | None = None,
    start: int = 0,
) -> bytes:
    """A file's bytes; `signal` has shape (n, channels), full scale ±1; `start` is the first time stamp, in samples."""
    layout = LAYOUTS[signal.shape[1]]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout=layout, options=codec_options or {})
        if bit_rate:
            stream.bit_rate = bit_rate
        stream.codec_context.open(strict=False)
        size = stream.codec_context.frame_size or 4096
        size = size if size <= 2**16 else 4096
        for offset in range(0, len(signal), size):
            frame = to_frame(signal[offset : offset + size], rate, stream.codec_context.format.name)
            frame.pts = start + offset
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def to_frame(samples: np.ndarray, rate: int, sample_format: str) -> av.AudioFrame:
    kind, scale = SCALES[sample_format.removesuffix("p")]
    values = samples * scale
    if kind[0] != "f":
        limits = np.iinfo(kind)
        values = np.clip(np.round(values) + (128 if kind == "u1" else 0), limits.min, limits.max)
    values = values.astype(kind)
    planar = sample_format.endswith("p")
    array = np.ascontiguousarray(values.T if planar else values.reshape(1, -1))
    frame = av.AudioFrame.from_ndarray(array, format=sample_format, layout=LAYOUTS[samples.shape[1]])
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    return frame


def film(signal: np.ndarray | None, rate: int, container: str, *, seconds: float = 1.0, late: float = 0.0) -> bytes:
    """A black picture with `signal` (shape (n, 1)) as its sound, which begins `late` seconds after the picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        video: Any = output.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio: Any = output.add_stream("aac", rate=rate, layout="mono") if signal is not None else None
        for _ in range(int(seconds * 10)):
            output.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(video.encode(None))
        if signal is not None:
            for offset in range(0, len(signal), 1024):
                frame = to_frame(signal[offset : offset + 1024], rate, "fltp")
                frame.pts = offset + round(late * rate)
                output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
    return buffer.getvalue()


def refused(source: Any, **options: Any) -> AudioError:
    """The error with which a recording is refused; it has a message, and a hint or a cause in the message."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    assert caught.value.message
    assert caught.value.exit_code == 1
    return caught.value


def decoded(source: Any, **options: Any) -> tuple[np.ndarray, list[str]]:
    with open_audio(source, **options) as stream:
        samples = np.concatenate(list(stream.blocks()))
        assert stream.duration == len(samples) / 16_000
        return samples, stream.warnings


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def put(data: bytes, offset: int, form: str, value: int) -> bytes:
    """`data` with a number written over it."""
    changed = bytearray(data)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def field(wav: bytes, chunk: bytes, offset: int) -> int:
    """Where in a wav file a field stands: `offset` bytes from the name of its chunk."""
    return wav.index(chunk) + offset
