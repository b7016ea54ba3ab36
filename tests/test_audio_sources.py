"""Audio ingress: every kind of source, channels, arrays, and the manners of a guest in its process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audio_files import decoded, descriptors, encode, refused, voice
from voxport.audio import (
    AudioLimits,
    AudioSource,
    load_audio,
    open_audio,
    prepare_source,
)
from voxport.errors import AudioError, UsageError
from voxport.types import Audio

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def wav() -> bytes:
    """Two seconds, 16 kHz, mono, 16 bits."""
    return encode(voice(32_000, 16_000), 16_000, "wav", "pcm_s16le")


# --- channels and rates --------------------------------------------------------------------------------------------


def test_channels_mix_or_one() -> None:
    signal = voice(16_000, 16_000, channels=2)
    data = encode(signal, 16_000, "wav", "pcm_f32le")
    for number in (0, 1):
        assert np.array_equal(load_audio(data, channels=number).samples, signal[:, number].astype(np.float32))
    halves = signal.astype(np.float32)
    assert np.array_equal(load_audio(data, channels="mix").samples, (halves[:, 0] + halves[:, 1]) / np.float32(2))
    error = refused(data, channels=2)
    assert error.code == "audio_channel"
    assert "it has 2, numbered 0 to 1" in error.message


@pytest.mark.parametrize("channels", ["split", "left", -1, True, 1.0, None])
def test_channels_out_of_range_is_a_usage_error(channels: Any, wav: bytes) -> None:
    with pytest.raises(UsageError, match="channels is"):
        open_audio(wav, channels=channels)


@pytest.mark.parametrize("rate", [0, -16_000, True, 16_000.0, 999, 10**6])
def test_target_rate_out_of_range_is_a_usage_error(rate: Any, wav: bytes) -> None:
    with pytest.raises(UsageError, match="sample_rate is"):
        open_audio(wav, sample_rate=rate)


def test_another_target_rate(wav: bytes) -> None:
    audio = load_audio(wav, sample_rate=8_000)
    assert (audio.sample_rate, len(audio.samples), audio.duration) == (8_000, 16_000, 2.0)


def test_a_source_is_opened_once_per_channel() -> None:
    signal = voice(16_000, 16_000, channels=2).astype(np.float32)
    with prepare_source(io.BytesIO(encode(signal, 16_000, "wav", "pcm_f32le"))) as source:
        assert source.channel_count == 2
        streams = [open_audio(source, channels=number) for number in range(2)]
        walks = [stream.blocks() for stream in streams]  # side by side: positions are not shared
        both = [np.concatenate([next(walk), *walk]) for walk in walks]
        assert streams[0].channel_count == 2
        for stream in streams:
            stream.close()
        assert np.array_equal(np.stack(both, axis=1), signal)
        assert len(load_audio(source).samples) == 16_000  # closing a stream leaves the source open


def test_rate_and_layout_may_change_midway() -> None:
    first = encode(voice(88_200, 44_100), 44_100, "adts", "aac")
    second = encode(voice(96_000, 48_000, channels=2), 48_000, "adts", "aac")
    samples, _ = decoded(first + second)
    assert abs(len(samples) - 64_000) < 2_000
    assert np.abs(samples[4_000:60_000]).reshape(-1, 8_000).max(axis=1).min() > 0.1
    assert refused(second + first, channels=1).code == "audio_channel"
    speeds = encode(voice(88_200, 44_100), 44_100, "mp3", "libmp3lame")
    speeds += encode(voice(32_000, 16_000), 16_000, "mp3", "libmp3lame")
    assert abs(len(decoded(speeds)[0]) - 64_000) < 4_000


def test_chained_ogg_is_read_to_its_end() -> None:
    part = encode(voice(48_000, 48_000), 48_000, "ogg", "libopus")
    assert len(decoded(part + part)[0]) == 32_000


# --- sources -------------------------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_samples(
    wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a recording, löng.wav"
    path.write_bytes(wav)
    reference = load_audio(wav).samples
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(wav)))
    names = []
    with path.open("rb") as opened:
        for source in (
            path,
            str(path),
            os.fsencode(path),
            "-",
            bytearray(wav),
            memoryview(wav),
            io.BytesIO(wav),
            opened,
        ):
            given = os.fsdecode(source) if isinstance(source, bytes) else source
            with open_audio(given) as stream:
                names.append(stream.name)
                assert (stream.channel_count, stream.sample_rate, stream.duration) == (1, 16_000, 2.0)
                assert np.array_equal(np.concatenate(list(stream.blocks())), reference)
    assert names == [str(path)] * 3 + ["-"] + [None] * 3 + [str(path)]
    for source in (reference, reference[:, None], reference.astype(np.float64), (reference * 32_768).astype(np.int16)):
        assert np.array_equal(load_audio((source, 16_000)).samples, reference)
    assert np.array_equal(load_audio(Audio(reference)).samples, reference)
    with pytest.raises(TypeError, match="not int"):
        load_audio(3)


def test_a_pipe_is_spooled_and_its_copy_removed(wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("voxport.audio.source._SPOOL_IN_MEMORY", 1_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = descriptors()
    writer = threading.Thread(target=pipe.write_bytes, args=(wav,))
    writer.start()
    with prepare_source(pipe) as source:
        writer.join()
        assert source._file is not None
        assert load_audio(source, channels=0).duration == 2.0
        assert load_audio(source).duration == 2.0
    assert list((tmp_path / "temporary").iterdir()) == []
    assert descriptors() == before
    with pytest.raises(ValueError, match="closed"):
        load_audio(source)


def test_an_endless_pipe_hits_the_limit_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        error = refused(endless, limits=AudioLimits(max_spool_bytes=40 * 2**20))
    assert error.code == "audio_limit"
    assert "/dev/zero goes on after 41943040 bytes" in error.message
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_copy(wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxport.audio.source._SPOOL_IN_MEMORY", 1_000)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    error = refused(io.BytesIO(wav))
    assert error.code == "audio_read"
    assert "No space left on device" in error.message


def test_text_mode_and_failing_file_objects(wav: bytes) -> None:
    assert refused(io.StringIO("RIFF")).code == "audio_unsupported"

    class Broken:
        def read(self, count: int) -> bytes:
            raise OSError(5, "Input/output error")

    assert refused(Broken()).code == "audio_read"


def test_a_disk_that_fails_while_decoding(wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav * 20)
    genuine = os.pread

    def failing(file: int, count: int, offset: int) -> bytes:
        if offset >= 2**16:
            raise OSError(5, "Input/output error")
        return genuine(file, count, offset)

    monkeypatch.setattr("os.pread", failing)
    error = refused(path)
    assert error.code == "audio_read"
    assert "Input/output error" in error.message


def test_ctrl_c_inside_the_demuxer_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encode(voice(160_000, 16_000), 16_000, "flac", "flac"))
    genuine = os.pread

    def interrupted(file: int, count: int, offset: int) -> bytes:
        if offset >= 2**16:
            raise KeyboardInterrupt
        return genuine(file, count, offset)

    monkeypatch.setattr("os.pread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_audio(path)


# --- arrays --------------------------------------------------------------------------------------------------------


def test_whole_numbers_are_scaled_by_their_type() -> None:
    for dtype, low, high in ((np.int8, -128, 127), (np.int16, -(2**15), 2**15 - 1), (np.int32, -(2**31), 2**31 - 1)):
        samples = load_audio((np.array([low, 0, high], dtype), 16_000)).samples
        assert samples[0] == -1.0
        assert samples[1] == 0.0
        assert 0.99 < samples[2] <= 1.0
    assert load_audio((np.array([0, 128, 255], np.uint8), 16_000)).samples.tolist() == [-1.0, 0.0, 127 / 128]


@pytest.mark.parametrize(
    ("array", "rate", "code"),
    [
        (np.zeros(0), 16_000, "audio_empty"),
        (np.zeros((2, 2, 2)), 16_000, "audio_array"),
        (np.zeros((2, 16_000)), 16_000, "audio_array"),
        (np.zeros(100, np.int64), 16_000, "audio_array"),
        (np.zeros(100, np.uint16), 16_000, "audio_array"),
        (np.zeros(100, bool), 16_000, "audio_array"),
        (np.zeros(100, complex), 16_000, "audio_array"),
        (np.array(["a"] * 100), 16_000, "audio_array"),
        (np.zeros((100, 33)), 16_000, "audio_limit"),
        (np.zeros(100), 0, "audio_array"),
        (np.zeros(100), -8_000, "audio_array"),
        (np.zeros(100), 16_000.5, "audio_array"),
        (np.zeros(100), "16000", "audio_array"),
        (np.zeros(100), float("nan"), "audio_array"),
        (np.zeros(100), True, "audio_array"),
        (np.zeros(100), 10**7, "audio_limit"),
        (np.full(100, np.nan), 16_000, "audio_non_finite"),
        (np.full(100, 1e300), 16_000, "audio_non_finite"),
        (np.full(100, -np.inf), 8_000, "audio_non_finite"),
        (np.tile([[np.inf, -np.inf]], (100, 1)), 16_000, "audio_non_finite"),
    ],
)
def test_arrays_that_make_no_sense(array: np.ndarray, rate: Any, code: str) -> None:
    assert refused((array, rate)).code == code


def test_unscaled_samples_are_pointed_out() -> None:
    _, warnings = decoded((voice(16_000, 16_000)[:, 0] * 32_768, 16_000))
    assert len(warnings) == 1
    assert "times full scale: samples should lie within ±1" in warnings[0]
    assert decoded((voice(16_000, 16_000)[:, 0] * 3, 16_000))[1] == []


# --- a good guest in its process -----------------------------------------------------------------------------------


GUEST = """
import io, logging, sys
import av
before = (av.logging.get_level(), logging.getLogger("libav").level)
from voxport.audio import load_audio
from voxport.errors import AudioError
for name in sys.argv[1:]:
    try:
        load_audio(name)
    except AudioError as error:
        print(error.code)
assert (av.logging.get_level(), logging.getLogger("libav").level) == before
"""


def test_ffmpeg_says_nothing_and_no_setting_changes(wav: bytes, tmp_path: Path) -> None:
    flac = bytearray(encode(voice(32_000, 16_000), 16_000, "flac", "flac"))
    flac[1_000:3_000] = bytes(2_000)
    mp3 = bytearray(encode(voice(32_000, 16_000), 16_000, "mp3", "libmp3lame"))
    mp3[2_000:3_000] = bytes(range(250)) * 4
    for name, data in (("a.flac", flac), ("b.mp3", mp3), ("c.wav", wav[:60]), ("d.mp4", b"\0\0\0\x08ftyp" * 50)):
        (tmp_path / name).write_bytes(data)
    names = [str(tmp_path / name) for name in ("a.flac", "b.mp3", "c.wav", "d.mp4")]
    run = subprocess.run([sys.executable, "-c", GUEST, *names], capture_output=True, text=True, check=True, timeout=300)
    assert run.stderr == ""
    assert run.stdout.split() == ["audio_corrupt", "audio_corrupt"]


def test_importing_loads_neither_av_nor_soxr() -> None:
    code = "import sys, voxport.audio; print(sorted({'av', 'soxr', 'torch', 'librosa'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert run.stdout.strip() == "[]"


def test_nothing_stays_open(wav: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav)
    before = descriptors()
    with open_audio(path) as stream:
        next(stream.blocks())
    for source in (path, tmp_path, tmp_path / "missing"):
        with pytest.raises(AudioError):
            open_audio(source, channels=5)
    path.write_bytes(b"text, not sound")
    refused(path)
    assert descriptors() == before


def test_an_audio_source_describes_itself() -> None:
    assert AudioSource(None).describe() == "the recording"
    assert AudioSource("-").describe() == "standard input"
    assert AudioSource("a.wav").describe() == "a.wav"
