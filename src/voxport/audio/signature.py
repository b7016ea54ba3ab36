"""Telling containers apart by their first bytes, for messages.

Which container is opened is never decided here: that is the demuxers' probing behind the allow-list.
"""

from __future__ import annotations

__all__ = ["kind_of"]


def kind_of(head: bytes) -> tuple[bool, str]:
    """Whether the first bytes (some thousand) are those of a container that is opened, and what to call it."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, name in (
        (b"#EXTM3U", "a playlist (m3u8)"),
        (b"#EXT", "a playlist (m3u8)"),
        (b"ffconcat", "a playlist (ffconcat)"),
        (b"[playlist]", "a playlist (pls)"),
        (b"v=0", "a session description (sdp)"),
        (b"<?xml", "XML, perhaps a playlist"),
        (b"<MPD", "a playlist (DASH)"),
        (b"%PDF", "a PDF"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"GIF8", "a picture"),
    ):
        if text.startswith(magic):
            return False, name
    for offset, magic, name in (
        (0, b"RIFF", "wav or avi"),
        (0, b"RIFX", "wav"),
        (0, b"RF64", "wav"),
        (0, b"riff", "w64"),
        (0, b"fLaC", "flac"),
        (0, b"OggS", "ogg"),
        (0, b"ID3", "mp3"),
        (4, b"ftyp", "mp4"),
        (4, b"moov", "mp4"),
        (4, b"mdat", "mp4"),
        (0, b"\x1aE\xdf\xa3", "matroska or webm"),
        (0, b"FORM", "aiff"),
        (0, b"caff", "caf"),
        (0, b".snd", "au"),
        (0, b"wvpk", "wavpack"),
        (0, b"0&\xb2u", "asf (wma)"),
        (0, b"#!AMR", "amr"),
        (0, b"FLV", "flv"),
        (0, b"\x0bw", "ac3"),
        (0, b"\x00\x00\x01\xba", "mpeg"),
        (0, b"G", "an mpeg transport stream"),
    ):
        if head[offset : offset + len(magic)] == magic and (magic != b"G" or head[188:189] == b"G"):
            return True, name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return True, "mp3 or aac"
    if not any(head):
        return False, "nothing but zero bytes"
    start = text[:16].decode("utf-8", "replace")
    if start.isprintable() and all(byte >= 32 or byte in b"\t\r\n" for byte in head[:512]):
        return False, f"text ({start!r}...)"
    return False, f"of no known kind (it begins with {head[:4].hex(' ')})"
