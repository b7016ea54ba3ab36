"""Audio ingress: one file opens no other, and no connection."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import TYPE_CHECKING

import av
import pytest

from audio_files import encode, refused, voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def wav() -> bytes:
    """Two seconds, 16 kHz, mono, 16 bits."""
    return encode(voice(32_000, 16_000), 16_000, "wav", "pcm_s16le")


# --- one file opens no other ---------------------------------------------------------------------------------------


class OpenWatch:
    """Counts the openings of files in a folder, whoever in this process does it (inotify; Linux)."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._file: int = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        in_open = 0x20
        assert self._library.inotify_add_watch(self._file, os.fsencode(folder), in_open) >= 0

    def seen(self) -> int:
        try:
            return len(os.read(self._file, 2**16))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._file)


@pytest.fixture
def trap(wav: bytes, tmp_path: Path) -> Iterator[tuple[list[str], Callable[[], int]]]:
    """Addresses of a decoy (a file and a local server), and how often it was touched."""
    folder = tmp_path / "decoys"
    folder.mkdir()
    (folder / "decoy.wav").write_bytes(wav)
    watch = OpenWatch(folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)

        def touched() -> int:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return watch.seen()
            return 1 + watch.seen()

        port = server.getsockname()[1]
        file = folder / "decoy.wav"
        yield [str(file), "decoys/decoy.wav", f"file:{file}", f"http://127.0.0.1:{port}/decoy.wav"], touched
    watch.close()


def _playlists(target: str) -> dict[str, str]:
    port = target.rsplit(":", 1)[-1].split("/")[0] if target.startswith("http") else "9999"
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
        "m3u": f"{target}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        f'<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
        "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
        "txt": f"RTSPtext\nrtsp://127.0.0.1:{port}/x\n",
    }


def test_playlists_open_nothing(trap: tuple[list[str], Callable[[], int]], tmp_path: Path) -> None:
    targets, touched = trap
    count = 0
    for target in targets:
        for kind, text in _playlists(target).items():
            for suffix in (kind, "wav", "mp3", "mp4"):
                path = tmp_path / f"list.{suffix}"
                path.write_text(text)
                error = refused(path)
                assert error.code == "audio_unsupported", (kind, suffix)
                count += 1
            assert refused(text.encode()).code == "audio_unsupported"
    assert count == 4 * 8 * 4
    assert touched() == 0


def test_the_trap_snaps_when_a_playlist_is_opened_without_the_lists(
    trap: tuple[list[str], Callable[[], int]], tmp_path: Path
) -> None:
    """The test above proves something only if its trap works: plain PyAV falls into it."""
    targets, touched = trap
    path = tmp_path / "list.ffconcat"
    path.write_text(f"ffconcat version 1.0\nfile '{targets[0]}'\n")
    with av.open(str(path), options={"safe": "0"}) as container:
        assert len(list(container.decode(audio=0))) > 0
    assert touched() > 0


def test_a_film_that_keeps_its_sound_in_another_file_gets_none(
    trap: tuple[list[str], Callable[[], int]], tmp_path: Path
) -> None:
    """QuickTime's data references: an alias with an absolute path."""
    targets, touched = trap
    whole = encode(voice(16_000, 16_000), 16_000, "mov", "pcm_s16le")
    path = tmp_path / "reference.mov"
    path.write_bytes(_with_alias(whole, targets[0]))
    error = refused(path)
    assert error.code in ("audio_empty", "audio_unsupported")
    assert touched() == 0


def _with_alias(mov: bytes, target: str) -> bytes:
    """The sound's data reference ("this file") replaced by an alias record that names `target`."""
    name = target.encode()
    name += b"\0" * (len(name) % 2)
    record = b"alis" + bytes(4) + bytes(10) + bytes(28) + bytes(12) + bytes([9]) + b"decoy.wav".ljust(63, b"\0")
    record += bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    record += struct.pack(">hH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I", len(record) + 4) + record
    data = bytearray(mov)
    start = data.index(b"dref", data.index(b"soun")) - 4
    size = struct.unpack_from(">I", data, start)[0]
    reference = struct.pack(">I", 16 + len(entry)) + b"dref" + bytes(4) + struct.pack(">I", 1) + entry
    data[start : start + size] = reference
    growth = len(reference) - size
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = data.rindex(box, 0, start) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + growth)
    return bytes(data)
