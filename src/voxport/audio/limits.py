"""What the audio ingress accepts: sizes and rates, containers, codecs, file names."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AUDIO_SUFFIXES", "CODECS", "DEMUXERS", "AudioLimits"]


@dataclass(frozen=True)
class AudioLimits:
    """How much of a recording is taken before it is refused (`AudioError`, code ``audio_limit``).

    The defaults are far above any recording of speech and far below what would harm the machine: a small compressed
    file can claim, or really hold, any amount of sound.

    Attributes:
        max_seconds: of decoded sound, silence that fills gaps included.
        max_channels: in the stream.
        min_sample_rate, max_sample_rate: of the stream, Hz.
        max_spool_bytes: copied to a temporary file from a source that can't seek (standard input, a pipe, a file
            object).
        max_gap_seconds: of silence put in where time stamps leave a hole; a longer hole is closed, with a warning.
        max_frame_samples: samples times channels that one compressed frame may unfold to.
        read_factor: a file may be read so many times over (plus 64 MiB) while its container seeks about in it.
    """

    max_seconds: float = 24 * 3600.0
    max_channels: int = 32
    min_sample_rate: int = 1_000
    max_sample_rate: int = 768_000
    max_spool_bytes: int = 4 * 2**30
    max_gap_seconds: float = 3600.0
    max_frame_samples: int = 8 * 2**20
    read_factor: int = 32


DEMUXERS: tuple[str, ...] = (
    "aac", "ac3", "aiff", "amr", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "matroska", "mov", "mp3",
    "mpeg", "mpegts", "ogg", "w64", "wav", "webm", "wv",
)  # fmt: skip
"""ffmpeg's names of the containers that may be opened. None of them is a playlist; with what this package sets, none of
them opens a second file. Everything else that ffmpeg knows (350 formats, some of which fetch addresses) is refused."""

CODECS: tuple[str, ...] = (
    "aac", "aac_latm", "ac3", "adpcm_g726", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha",
    "alac", "amrnb", "amrwb", "dca", "eac3", "flac", "g722", "g726", "g726le", "gsm", "gsm_ms", "libopencore_amrnb",
    "libopencore_amrwb", "libopus", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "nellymoser", "opus",
    "pcm_alaw", "pcm_bluray", "pcm_dvd", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be",
    "pcm_s16be_planar", "pcm_s16le", "pcm_s16le_planar", "pcm_s24be", "pcm_s24le", "pcm_s24le_planar", "pcm_s32be",
    "pcm_s32le", "pcm_s32le_planar", "pcm_s64be", "pcm_s64le", "pcm_s8", "pcm_s8_planar", "pcm_u16be", "pcm_u16le",
    "pcm_u24be", "pcm_u24le", "pcm_u32be", "pcm_u32le", "pcm_u8", "speex", "truehd", "vorbis", "wavpack",
    "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
)  # fmt: skip
"""Decoders that may run. No picture decoder is among them: the pictures of a film are never decoded."""

AUDIO_SUFFIXES: tuple[str, ...] = (
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".asf", ".au", ".avi", ".caf", ".eac3", ".flac",
    ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mpga",
    ".mts", ".oga", ".ogg", ".ogv", ".opus", ".snd", ".spx", ".ts", ".vob", ".w64", ".wav", ".wave", ".weba", ".webm",
    ".wma", ".wmv", ".wv",
)  # fmt: skip
"""Endings, in lower case, by which recordings are picked from a folder. A file named on its own may have any name."""
