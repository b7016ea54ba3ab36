"""Audio ingress: which samples come out of which file."""

from __future__ import annotations

import io
import warnings as warnings_module
from typing import TYPE_CHECKING, Any

import librosa
import numpy as np
import pytest
import soundfile

from audio_files import decoded, encode, voice
from voxport.audio import (
    load_audio,
    open_audio,
)
from voxport.audio.resample import StreamResampler, to_mono

if TYPE_CHECKING:
    from pathlib import Path


RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)
WAV_CODECS = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")


@pytest.fixture(scope="module", autouse=True)
def _load_librosa() -> None:
    """librosa loads its parts late; those of Python before 3.13 say that they are deprecated."""
    with warnings_module.catch_warnings():
        warnings_module.simplefilter("ignore", DeprecationWarning)
        __import__("audioread.rawread")
        librosa.resample(np.zeros(100, np.float32), orig_sr=8_000, target_sr=16_000)


@pytest.fixture(scope="module")
def wav() -> bytes:
    """Two seconds, 16 kHz, mono, 16 bits."""
    return encode(voice(32_000, 16_000), 16_000, "wav", "pcm_s16le")


# --- the same samples as librosa -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wav_equals_librosa_exactly(rate: int, channels: int, tmp_path: Path) -> None:
    for codec in WAV_CODECS:
        path = tmp_path / f"{codec}.wav"
        path.write_bytes(encode(voice(rate + 77, rate, channels=channels), rate, "wav", codec))
        reference, _ = librosa.load(path, sr=16_000)
        samples, warnings = decoded(path)
        assert samples.dtype == np.float32
        assert np.array_equal(samples, reference), codec
        assert warnings == []


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_flac_equals_librosa_exactly(rate: int, channels: int, tmp_path: Path) -> None:
    for sample_format in ("s16", "s32"):  # s32 makes ffmpeg's encoder write 24 bits
        path = tmp_path / f"{sample_format}.flac"
        signal = voice(rate + 77, rate, channels=channels)
        path.write_bytes(_flac(signal, rate, sample_format))
        reference, _ = librosa.load(path, sr=16_000)
        samples, warnings = decoded(path)
        assert np.array_equal(samples, reference), sample_format
        assert warnings == []


def _flac(signal: np.ndarray, rate: int, sample_format: str) -> bytes:
    buffer = io.BytesIO()
    data = signal.astype(np.float32)
    soundfile.write(buffer, data, rate, format="FLAC", subtype={"s16": "PCM_16", "s32": "PCM_24"}[sample_format])
    return buffer.getvalue()


def test_real_recordings_equal_librosa_exactly(shared_data: Path) -> None:
    for path in sorted((shared_data / "audio").glob("*.flac"))[::20]:
        reference, _ = librosa.load(path, sr=16_000)
        samples, warnings = decoded(path)
        assert np.array_equal(samples, reference), path.name
        assert warnings == []


def test_16_khz_mono_passes_bit_exact(wav: bytes) -> None:
    with soundfile.SoundFile(io.BytesIO(wav)) as file:
        numbers = file.read(dtype="int16")
    assert np.array_equal(load_audio(wav).samples, numbers / np.float32(32_768))


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 7_999, 384_000])
@pytest.mark.parametrize("size", [1_000, 12_345, 2**20])
def test_resampling_does_not_depend_on_the_pieces(rate: int, size: int) -> None:
    signal = np.random.default_rng(rate).standard_normal(rate * 2 + 13).astype(np.float32) * np.float32(0.2)
    reference = librosa.resample(signal, orig_sr=rate, target_sr=16_000)
    resampler = StreamResampler(rate, 16_000)
    pieces = [resampler.feed(signal[start : start + size]) for start in range(0, len(signal), size)]
    assert np.array_equal(np.concatenate([*pieces, resampler.finish()]), reference)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 7, 8, 9, 16])
@pytest.mark.parametrize("planar", [False, True])
def test_mixing_equals_librosa_exactly(channels: int, planar: bool) -> None:
    signal = np.random.default_rng(channels).standard_normal((5_000, channels)).astype(np.float32)
    given = np.asfortranarray(signal) if planar else signal
    assert np.array_equal(to_mono(given, None), librosa.to_mono(signal.T))
    assert np.array_equal(to_mono(given, channels - 1), signal[:, -1])


def test_blocks_are_bounded_and_join_to_the_whole(wav: bytes) -> None:
    long = encode(voice(8_000 * 70, 8_000), 8_000, "flac", "flac")
    with open_audio(long) as stream:
        blocks = list(stream.blocks())
        with pytest.raises(RuntimeError, match="once"):
            next(stream.blocks())
    assert [len(block) for block in blocks] == [480_000, 480_000, 160_000]
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    assert np.array_equal(np.concatenate(blocks), load_audio(long).samples)


# --- lossy formats -------------------------------------------------------------------------------------------------

# container, codec, rate, most root mean square error relative to the signal, most samples too long (16 kHz).
# The containers that tell the encoder's delay: it is taken away, so that the sound begins where it began.
LOSSY = [
    ("mp3", "libmp3lame", 44_100, 0.08, 0),
    ("mp3", "libmp3lame", 16_000, 0.08, 0),
    ("ogg", "libopus", 48_000, 0.05, 0),
    ("webm", "libopus", 48_000, 0.05, 0),
    ("matroska", "libopus", 48_000, 0.05, 0),
    ("ipod", "aac", 44_100, 0.08, 512),
    ("mp4", "aac", 16_000, 0.08, 1_024),
    ("mov", "aac", 48_000, 0.08, 512),
    ("3gp", "aac", 44_100, 0.08, 512),
    ("wv", "wavpack", 44_100, 0.02, 0),
    ("wav", "pcm_mulaw", 8_000, 0.03, 0),
    ("wav", "pcm_alaw", 8_000, 0.03, 0),
    ("wav", "adpcm_ms", 44_100, 0.05, 1_024),
    ("mp4", "alac", 44_100, 1e-4, 0),
    ("mov", "pcm_s24le", 44_100, 1e-4, 0),
    ("matroska", "flac", 44_100, 1e-3, 0),
    ("ogg", "flac", 44_100, 1e-3, 0),
    ("aiff", "pcm_s16be", 44_100, 1e-3, 0),
    ("au", "pcm_s16be", 44_100, 1e-3, 0),
    ("caf", "pcm_s16be", 44_100, 1e-3, 0),
]


@pytest.mark.parametrize(("container", "codec", "rate", "error", "excess"), LOSSY)
def test_other_formats_within_a_bound_and_in_time(
    container: str, codec: str, rate: int, error: float, excess: int
) -> None:
    signal = voice(rate * 2 + 77, rate)
    reference = librosa.resample(signal[:, 0].astype(np.float32), orig_sr=rate, target_sr=16_000)
    samples, warnings = decoded(encode(signal, rate, container, codec))
    assert warnings == []
    assert 0 <= len(samples) - len(reference) <= excess
    difference = samples[: len(reference)] - reference
    assert np.sqrt(np.mean(difference**2) / np.mean(reference**2)) < error


@pytest.mark.parametrize(
    ("container", "codec", "rate", "options"),
    [
        ("adts", "aac", 44_100, {}),
        ("mpegts", "aac", 48_000, {}),
        ("mpeg", "mp2", 44_100, {}),
        ("avi", "libmp3lame", 44_100, {}),
        ("flv", "aac", 44_100, {}),
        ("ac3", "ac3", 48_000, {}),
        ("eac3", "eac3", 48_000, {}),
        ("asf", "wmav2", 44_100, {"bit_rate": 128_000}),
        ("amr", "libopencore_amrnb", 8_000, {}),
    ],
)
def test_containers_without_a_delay_are_at_most_50_ms_off(
    container: str, codec: str, rate: int, options: dict[str, Any]
) -> None:
    signal = voice(rate * 2, rate)
    reference = librosa.resample(signal[:, 0].astype(np.float32), orig_sr=rate, target_sr=16_000)
    samples, warnings = decoded(encode(signal, rate, container, codec, **options))
    assert warnings == []
    assert abs(len(samples) - len(reference)) <= 800
    spectrum = np.fft.rfft(samples, 2**17) * np.conj(np.fft.rfft(reference, 2**17))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    assert min(lag, 2**17 - lag) <= 800


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_mp3_vorbis_and_opus_equal_libsndfile(kind: str, subtype: str) -> None:
    buffer = io.BytesIO()
    rate = 48_000 if subtype == "OPUS" else 44_100
    soundfile.write(buffer, voice(rate * 2, rate, channels=2), rate, format=kind, subtype=subtype)
    reference, _ = librosa.load(io.BytesIO(buffer.getvalue()), sr=16_000)
    samples, _ = decoded(buffer.getvalue())
    assert len(samples) == len(reference)
    # ffmpeg has an opus decoder of its own; the standard allows decoders to differ that much
    assert np.abs(samples - reference).max() < (0.02 if subtype == "OPUS" else 2e-6)
