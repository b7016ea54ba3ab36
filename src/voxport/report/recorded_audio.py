"""The samples that both sides heard, small enough for a page. They are people's voices: only on request.

MP3 (MPEG-2 layer III, 16 kHz mono), since every browser plays it: Ogg with Opus, which would be smaller, is silent in
Safari before 18.4, and AAC in browsers built without it. Where PyAV's FFmpeg can't write MP3 it is WAV.
"""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.audio import load_audio
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.types import FloatArray

__all__ = ["RecordedAudio", "recorded_audio"]

RATE = 16_000
BIT_RATE = 48_000
"""6 kB a second, a fifth of the samples as they are."""


@dataclass(frozen=True)
class RecordedAudio:
    """One window's sound as a file."""

    mime: str
    data: bytes

    @property
    def uri(self) -> str:
        """As a ``data:`` address."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


def recorded_audio(windows: Sequence[dict[str, Any]], recordings: Sequence[str]) -> list[RecordedAudio]:
    """One for each window.

    Args:
        windows: of ``verify``, in the order of the recordings.
        recordings: the files that were measured; read again.

    Raises:
        AudioError: one can't be read any more.
        UsageError: they are not the recordings of these windows.
    """
    found = []
    for recording, own in _by_recording(windows, recordings):
        samples = load_audio(recording, sample_rate=RATE).samples
        for window in own:
            start = round(window["start"] * RATE)
            found.append(_encoded(samples[start : start + round(window["seconds"] * RATE)]))
    return found


def _by_recording(
    windows: Sequence[dict[str, Any]], recordings: Sequence[str]
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Windows name their file without its folder, so that two may share a name: each begins at 0 s."""
    begin = 0
    for recording in recordings:
        end = begin
        while (
            end < len(windows)
            and Path(windows[end]["file"]).name == Path(recording).name
            and (end == begin or windows[end]["start"] > 0)
        ):
            end += 1
        if end > begin:  # a recording too short for the model has none
            yield recording, windows[begin:end]
        begin = end
    if begin < len(windows):
        raise UsageError(f"{windows[begin]['file']} is not among the recordings whose sound is to be embedded")


def _encoded(samples: FloatArray) -> RecordedAudio:
    import av

    samples = np.clip(samples, -1, 1)
    try:
        av.Codec("libmp3lame", "w")
    except av.codec.codec.UnknownCodecError:
        return RecordedAudio("audio/wav", _wav(samples))
    return RecordedAudio("audio/mpeg", _mp3(samples))


def _mp3(samples: FloatArray) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono", format="fltp")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


def _wav(samples: FloatArray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as container:
        container.setnchannels(1)
        container.setsampwidth(2)
        container.setframerate(RATE)
        container.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()
