"""The chunks of RIFF files (wav, avi), walked by ourselves for two things that the demuxer does not do well."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.audio.source import SourceReader

__all__ = ["boastful_tags", "sound_of_wav"]

_MOST_CHUNKS = 100_000


def _chunks(reader: SourceReader) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and stated size of each chunk; avi's lists are walked into, save for its frames."""
    form = reader.read(12)
    order = ">" if form[:4] == b"RIFX" else "<"
    for _ in range(_MOST_CHUNKS):
        head = reader.read(8)
        if len(head) < 8:
            return
        name, start = head[:4], reader.tell()
        size: int = struct.unpack(f"{order}I", head[4:])[0]
        yield name, start, size
        inside = form[8:] == b"AVI " and name == b"LIST"
        reader.seek(start)
        if inside and reader.read(4) not in (b"movi", b"INFO"):
            continue
        reader.seek(start + size + size % 2)


def sound_of_wav(reader: SourceReader) -> tuple[int, int] | None:
    """Start and stated size of a wav file's sound in bytes, a 64-bit size (RF64) included; None if there is none."""
    form = reader.read(4)
    reader.seek(0)
    large = 0
    for name, start, size in _chunks(reader):
        if name == b"ds64":
            fields = reader.read(16)
            large = struct.unpack("<QQ", fields)[1] if len(fields) == 16 else 0
        if name == b"data":
            return start, large if form == b"RF64" and size == 0xFFFF_FFFF and large else size
    return None


def boastful_tags(reader: SourceReader) -> list[int]:
    """Offsets of the names of tag lists that claim to be longer than the file.

    ffmpeg's reader of such a list sets aside, and zeroes, whatever a tag in it claims: up to 2 GiB for a file of 4 kB.
    """
    if reader.read(4) not in (b"RIFF", b"RF64", b"RIFX"):
        return []
    reader.seek(0)
    return [start - 8 for name, start, size in _chunks(reader) if name == b"LIST" and start + size > reader.size]
