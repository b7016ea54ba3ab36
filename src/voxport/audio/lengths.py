"""How far the length that a container states can be believed, so that a recording that was cut off is noticed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxport.audio.riff import sound_of_wav

if TYPE_CHECKING:
    from voxport.audio.source import SourceReader

__all__ = ["Promise", "promised_length"]

_EXACT = ("wav", "flac", "aiff", "au", "wv", "ogg", "mov,mp4,m4a,3gp,3g2,mj2")
_STREAMED = 0x7FFF_0000
"""Writers that can't seek back put 0x7FFFFFFF, 0xFFFFFFFF or nearly so where the size of the sound belongs."""
_TAIL = 2**16
"""An ogg page is shorter than this (65 307 bytes at most)."""


@dataclass(frozen=True)
class Promise:
    """What a container says of its length.

    Attributes:
        seconds: None if it says nothing, or if its writer could not know.
        is_exact: so that a recording that turns out shorter was cut off.
        remark: what already looks wrong, in words for people, or None.
    """

    seconds: float | None
    is_exact: bool = False
    remark: str | None = None


def promised_length(
    reader: SourceReader, container: str, *, seconds: float | None, byte_rate: float, has_picture: bool
) -> Promise:
    """Judge the length that the demuxer reports.

    Args:
        reader: a reader of its own (it is moved).
        container: ffmpeg's name of the container.
        seconds: the length by the demuxer, or None.
        byte_rate: bytes of a second where that is constant, else 0.
        has_picture: whether there are pictures, which may go on for longer than the sound.
    """
    if container == "wav" and byte_rate > 0:
        return _wav(reader, byte_rate)
    if seconds is None or seconds <= 0:
        return Promise(None)
    if container in ("aiff", "au", "caf") and seconds * byte_rate >= max(_STREAMED, reader.size + 1):
        return Promise(None)
    if container == "mp3":  # without such a table of contents the length is an estimate from the first bit rate
        head = reader.read(2**14)
        return Promise(seconds, any(mark in head for mark in (b"Xing", b"Info", b"VBRI")))
    if container == "matroska,webm":
        return Promise(seconds, not has_picture)
    if container == "ogg":
        return Promise(seconds, not has_picture, _ogg_remark(reader))
    return Promise(seconds, container in _EXACT)


def _wav(reader: SourceReader, byte_rate: float) -> Promise:
    """The size in the header itself: the demuxer has already cut it to the file's."""
    sound = sound_of_wav(reader)
    if sound is None or sound[1] == 0 or _STREAMED <= sound[1] <= 0xFFFF_FFFF:
        return Promise(None)
    return Promise(sound[1] / byte_rate, True, _wav_remark(reader, sum(sound), byte_rate))


def _wav_remark(reader: SourceReader, end: int, byte_rate: float) -> str | None:
    """Whether something other than further chunks stands behind the sound: the stated size is too small then."""
    rest = reader.size - end
    if rest < 64:
        return None
    reader.seek(end)
    following = reader.read(10)
    for pad in (0, 1):
        name, size = following[pad : pad + 4], struct.unpack("<I", following[pad + 4 : pad + 8])[0]
        if all(32 <= byte < 127 for byte in name) and size <= rest:
            return None
    return f"behind the sound of its header's length stand {rest} more bytes, enough for {rest / byte_rate:.1f} s"


def _ogg_remark(reader: SourceReader) -> str | None:
    reader.seek(max(reader.size - _TAIL, 0))
    tail = reader.read(_TAIL)
    last = tail.rfind(b"OggS")
    if 0 <= last < len(tail) - 6 and tail[last + 5] & 4:
        return None
    return "its last page is not marked as the last: its end may be missing"
