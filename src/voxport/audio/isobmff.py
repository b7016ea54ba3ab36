"""The index of mp4 and mov files (ISO 14496-12), checked before ffmpeg unfolds it.

A table in it may say "a thousand million samples of one byte" in twelve bytes. ffmpeg makes an entry of some 37 bytes
for each before it looks at any: 2.3 GB for a file of 8 kB. No sample is shorter than a byte, so a table that counts
more samples than the file has bytes is forged, or the file is cut off.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from voxport.errors import AudioError

if TYPE_CHECKING:
    from voxport.audio.source import SourceReader

__all__ = ["check_index"]

_INSIDE = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"tref", b"dinf")
)
_MOST_ENTRIES = 5_000_000
"""Always allowed: a day of the shortest usual frames (21 ms). Some 190 MB of index."""
_MOST_EDITS = 16
_MOST_BOXES = 1_000_000


def check_index(reader: SourceReader, what: str) -> None:
    """Raise AudioError where the tables claim what can't be; `reader` is moved. Other kinds of files pass at once."""
    samples = edits = boxes = 0
    ends = [reader.size]
    while reader.tell() + 8 <= reader.size:
        boxes += 1
        start = reader.tell()
        size, name = struct.unpack(">I4s", reader.read(8).ljust(8, b"\0"))
        if size == 1:
            size = struct.unpack(">Q", reader.read(8).ljust(8, b"\0"))[0]
        if size == 0:
            size = ends[-1] - start
        if size < 8 or not name.strip(b"\xa9").isalnum() or boxes > _MOST_BOXES:
            if boxes > _MOST_BOXES:
                raise _forged(what, f"more than {_MOST_BOXES} parts")
            size = ends[-1] - start  # nothing that can be walked: ffmpeg leaves the enclosing part, too
        if name == b"cmov":
            raise AudioError(
                f"{what} has a compressed index (cmov), which is not opened",
                hint="convert it with a player that can play it",
                code="audio_unsupported",
            )
        if name in (b"stsz", b"stz2", b"trun", b"elst"):
            body = reader.read(12).ljust(12, b"\0")
            samples += struct.unpack_from(">I", body, 8)[0] if name in (b"stsz", b"stz2") else 0
            samples += struct.unpack_from(">I", body, 4)[0] if name == b"trun" else 0
            edits += struct.unpack_from(">I", body, 4)[0] if name == b"elst" else 0
        if samples > max(_MOST_ENTRIES, reader.size):
            raise _forged(what, f"{samples} samples in {reader.size} bytes")
        if edits > _MOST_EDITS and edits * samples > _MOST_ENTRIES:
            raise _forged(what, f"{edits} edits of {samples} samples")
        if name in _INSIDE and size >= 8:
            ends.append(min(start + size, ends[-1]))
            reader.seek(start + 8)
        else:
            reader.seek(min(start + size, reader.size))
        while len(ends) > 1 and reader.tell() >= ends[-1]:
            reader.seek(ends.pop())


def _forged(what: str, claim: str) -> AudioError:
    return AudioError(
        f"{what} claims {claim}: its index is forged or damaged",
        hint="copy or download it again",
        code="audio_corrupt",
    )
