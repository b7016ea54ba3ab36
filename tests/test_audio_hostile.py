"""Audio ingress: what is refused and in which words; broken, forged and endless recordings."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from audio_files import decoded, encode, field, film, put, refused, to_frame, voice
from voxport.audio import (
    AUDIO_SUFFIXES,
    CODECS,
    DEMUXERS,
    AudioLimits,
    load_audio,
    open_audio,
)
from voxport.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def wav() -> bytes:
    """Two seconds, 16 kHz, mono, 16 bits."""
    return encode(voice(32_000, 16_000), 16_000, "wav", "pcm_s16le")


# --- what is refused, and in which words ---------------------------------------------------------------------------


def test_paths_that_are_no_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    assert refused(tmp_path).code == "audio_is_folder"
    assert refused(tmp_path / "missing.wav").code == "audio_not_found"
    assert refused(tmp_path / "secret.wav" / "below").code == "audio_not_found"
    assert refused("a\0b").code == "audio_not_found"
    assert refused("a" * 5_000).code == "audio_read"
    assert refused("/dev/zero").code == "audio_not_file"
    address = refused("https://example.org/visit.wav")
    assert address.code == "audio_not_found"
    assert address.hint is not None
    assert "not fetched" in address.hint

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # as root, a mode of 0 would not do
    assert refused(tmp_path / "secret.wav").code == "audio_permission"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "audio_empty", "is empty"),
        (b"R", "audio_unsupported", "text"),
        (b"Patient seen today.\n" * 50, "audio_unsupported", "is text ('Patient seen tod'...)"),
        (bytes(100_000), "audio_unsupported", "nothing but zero bytes"),
        (bytes(range(7, 256)) * 100, "audio_unsupported", "no known kind (it begins with 07 08 09 0a)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "audio_unsupported", "a picture"),
        (b"PK\x03\x04" + bytes(500), "audio_unsupported", "a zip archive"),
        (b"%PDF-1.7\n" * 50, "audio_unsupported", "a PDF"),
        (b"RIFF\x00\x00\x00\x00WAVE", "audio_corrupt", "looks like wav"),
        (b"fLaC" + bytes(500), "audio_corrupt", "looks like flac"),
        (b"OggS" + bytes(500), "audio_corrupt", "looks like ogg"),
    ],
)
def test_bytes_that_are_no_recording(data: bytes, code: str, words: str, tmp_path: Path) -> None:
    error = refused(data)
    assert error.code == code
    assert words in error.message
    path = tmp_path / "named.wav"
    path.write_bytes(data)
    named = refused(path)
    assert named.code == code
    assert str(path) in named.message


def test_a_picture_without_sound_and_one_with() -> None:
    silent = refused(film(None, 0, "mp4"))
    assert silent.code == "audio_no_stream"
    assert "no sound" in silent.message
    assert abs(len(decoded(film(voice(16_000, 16_000), 16_000, "mp4"))[0]) - 16_000) <= 512


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "mpegts"])
def test_sound_that_sets_in_late_keeps_the_clock_of_the_film(container: str) -> None:
    samples, warnings = decoded(film(voice(16_000, 16_000), 16_000, container, seconds=3, late=1.5))
    assert warnings == []
    onset = int(np.argmax(np.abs(samples) > 0.02)) / 16_000
    assert abs(onset - 1.5) < 0.07


def test_a_hole_in_the_time_stamps_becomes_silence() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream: Any = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for begin in (0, 80_000):  # one second, four seconds of nothing, one second
            frame = to_frame(voice(16_000, 16_000), 16_000, "s16")
            frame.pts = begin
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    samples, warnings = decoded(buffer.getvalue())
    assert len(samples) == 96_000
    assert not samples[16_000:80_000].any()
    assert np.abs(samples[80_000:]).max() > 0.1
    assert warnings == ["4.00 s of silence fill holes in its time stamps"]
    closed, warnings = decoded(buffer.getvalue(), limits=AudioLimits(max_gap_seconds=3))
    assert len(closed) == 32_000
    assert warnings[0] == "a hole of 4 s at 1.0 s was closed: the time stamps are doubtful"


def test_of_several_streams_one_is_read_and_that_is_said() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        streams: list[Any] = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            frame = to_frame(voice(16_000, 16_000, seed=number), 16_000, "s16")
            frame.pts = 0
            output.mux(stream.encode(frame))
    samples, warnings = decoded(buffer.getvalue())
    assert warnings == ["of 2 audio streams, number 1 is read"]
    assert np.abs(samples - voice(16_000, 16_000, seed=0)[:, 0]).max() < 1e-4


def test_codecs_off_the_list_do_not_run(monkeypatch: pytest.MonkeyPatch, wav: bytes) -> None:
    monkeypatch.setattr("voxport.audio.container.CODECS", ("flac",))
    error = refused(wav)
    assert error.code == "audio_unsupported"
    assert "pcm_s16le" in error.message


def test_containers_off_the_list_do_not_open(monkeypatch: pytest.MonkeyPatch, wav: bytes) -> None:
    monkeypatch.setattr("voxport.audio.container.DEMUXERS", ("flac",))
    assert refused(wav).code == "audio_corrupt"


def test_the_lists_are_sorted_and_known_to_ffmpeg() -> None:
    for names in (DEMUXERS, CODECS, AUDIO_SUFFIXES):
        assert list(names) == sorted(set(names))
    playlists = {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "image2", "lavfi", "webm_dash_manifest", "tty"}
    assert not playlists & set(DEMUXERS)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
    assert {av.Codec(name, "r").type for name in CODECS} == {"audio"}
    for name in DEMUXERS:
        assert av.ContainerFormat(name, "r").is_input


# --- broken and forged ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(codec: str, value: float) -> None:
    signal = voice(32_000, 16_000)
    signal[24_000] = value
    error = refused(encode(signal, 16_000, "wav", codec))
    assert error.code == "audio_non_finite"
    assert "at 1.50 s" in error.message


def test_samples_too_large_for_any_scale() -> None:
    assert refused(encode(voice(88_200, 44_100) * 1e39, 44_100, "wav", "pcm_f64le")).code == "audio_non_finite"
    near = np.full((88_200, 1), 3.4e38)
    assert refused(encode(near, 44_100, "wav", "pcm_f32le")).code == "audio_non_finite"
    signal = voice(32_000, 16_000)
    signal[24_000] = -3e29
    error = refused(encode(signal, 16_000, "wav", "pcm_f32le"))
    assert error.code == "audio_non_finite"
    assert "has a sample of 3e+29 times full scale at 1.50 s" in error.message
    signal[24_000] = 1e15
    assert decoded(encode(signal, 16_000, "wav", "pcm_f32le"))[0].max() == np.float32(1e15)


@pytest.mark.parametrize(
    ("offset", "form", "value", "code"),
    [
        (12, "<I", 0, "audio_corrupt"),
        (12, "<I", 1, "audio_limit"),
        (12, "<I", 999, "audio_limit"),
        (12, "<I", 8_000_000, "audio_limit"),
        (12, "<I", 0xFFFFFFFF, "audio_corrupt"),
        (10, "<H", 0, "audio_limit"),
        (10, "<H", 64, "audio_limit"),
        (10, "<H", 0xFFFF, "audio_limit"),
        (8, "<H", 0x1234, "audio_unsupported"),
    ],
)
def test_forged_rate_channels_and_codec(offset: int, form: str, value: int, code: str, wav: bytes) -> None:
    assert refused(put(wav, field(wav, b"fmt ", offset), form, value)).code == code


def test_forged_rate_within_the_range_is_believed_but_not_quietly(wav: bytes) -> None:
    samples, warnings = decoded(put(wav, field(wav, b"fmt ", 12), "<I", 655_350))
    assert len(samples) == 782
    assert warnings == ["it promises 2.0 s but holds 0.0 s: cut off, or its header is wrong"]


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 44])
def test_the_length_of_a_streaming_writer_simply_works(size: int, wav: bytes) -> None:
    streamed = put(put(wav, field(wav, b"data", 4), "<I", size), 4, "<I", size)
    with open_audio(streamed) as stream:
        assert stream.duration is None
        assert np.array_equal(np.concatenate(list(stream.blocks())), load_audio(wav).samples)
        assert stream.warnings == []
        assert stream.duration == 2.0


def test_a_wrong_length_is_noticed(wav: bytes) -> None:
    size = field(wav, b"data", 4)
    samples, warnings = decoded(put(wav, size, "<I", 2 * 64_000))
    assert len(samples) == 32_000
    assert warnings == ["it promises 4.0 s but holds 2.0 s: cut off, or its header is wrong"]
    samples, warnings = decoded(put(wav, size, "<I", 32_000))
    assert len(samples) == 16_000
    assert warnings == ["behind the sound of its header's length stand 32000 more bytes, enough for 1.0 s"]


def test_a_header_without_sound(wav: bytes) -> None:
    for size in (0, 64_000):
        error = refused(put(wav, field(wav, b"data", 4), "<I", size)[: field(wav, b"data", 8)])
        assert error.code == "audio_empty"
        assert "holds no sound" in error.message


@pytest.mark.parametrize(
    ("container", "codec", "rate", "options"),
    [
        ("wav", "pcm_s16le", 16_000, {}),
        ("flac", "flac", 16_000, {}),
        ("mp3", "libmp3lame", 16_000, {}),
        ("mp4", "aac", 16_000, {"options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("matroska", "aac", 16_000, {}),
        ("ogg", "libopus", 48_000, {}),
        ("aiff", "pcm_s16be", 16_000, {}),
        ("au", "pcm_s16be", 16_000, {}),
        ("wv", "wavpack", 44_100, {}),
    ],
)
def test_of_a_truncated_file_the_rest_is_kept_and_the_loss_told(
    container: str, codec: str, rate: int, options: dict[str, Any]
) -> None:
    whole = encode(voice(rate * 8, rate), rate, container, codec, **options)
    reference = load_audio(whole).samples
    samples, warnings = decoded(whole[: len(whole) // 2])
    assert 0.2 * len(reference) < len(samples) < 0.8 * len(reference)
    assert np.array_equal(samples[:-4_000], reference[: len(samples) - 4_000])
    assert any("cut off" in warning or "end may be missing" in warning for warning in warnings)


def test_a_file_whose_index_is_cut_off_says_so() -> None:
    whole = encode(voice(32_000, 16_000), 16_000, "mp4", "aac")
    error = refused(whole[: len(whole) // 2])
    assert error.code == "audio_corrupt"
    assert "looks like mp4" in error.message


def test_a_damaged_flac_frame_becomes_silence_and_is_told() -> None:
    whole = bytearray(encode(voice(16_000 * 8, 16_000), 16_000, "flac", "flac"))
    reference = load_audio(bytes(whole)).samples
    for changed in ({len(whole) // 2: 4}, dict.fromkeys(range(len(whole) // 2, len(whole) // 2 + 300), 0x55)):
        damaged = bytearray(whole)
        for offset, bits in changed.items():
            damaged[offset] ^= bits
        samples, warnings = decoded(bytes(damaged))
        assert len(samples) == len(reference)  # the clock holds
        differs = np.flatnonzero(samples != reference)
        assert 0 < differs[-1] - differs[0] < 3 * 4_608
        assert not samples[differs].any()
        assert any("silence" in warning or "silent" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mp3", "libmp3lame", 16_000), ("ogg", "libopus", 48_000), ("mp4", "aac", 16_000), ("matroska", "aac", 16_000)],
)
def test_damage_in_the_middle_is_not_silent(container: str, codec: str, rate: int) -> None:
    whole = bytearray(encode(voice(rate * 8, rate), rate, container, codec))
    middle = len(whole) // 2
    whole[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    samples, warnings = decoded(bytes(whole))
    assert len(samples) > 3 * 16_000
    assert warnings != []


# --- bounds --------------------------------------------------------------------------------------------------------


def _silence(rate: int, hours: float) -> bytes:
    """Digital silence as flac: a few kilobytes an hour."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as output:
        stream: Any = output.add_stream("flac", rate=rate, layout="mono")
        frame = to_frame(np.zeros((2**16 - 1, 1)), rate, "s16")
        for _ in range(int(hours * 3_600 * rate / 2**16) + 1):
            frame.pts = None
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


MEASURE = """
import resource, sys
import av, soxr, numpy
from voxport.audio import load_audio, open_audio
load_audio((numpy.zeros(16000), 8000))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with open_audio(sys.argv[1]) as stream:
    total = sum(len(block) for block in stream.blocks())
print(total, peak() - before)
"""


def _sparse(path: Path, rate: int, hours: float) -> None:
    """A wav file of 16 bits and silence, all of it a hole on the disk."""
    size = int(hours * 3_600 * rate) * 2
    form = struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE")
    form += struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", size)
    with path.open("wb") as file:
        file.write(form)
        file.truncate(size + len(form))


def test_an_hour_flows_through_at_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    _sparse(path, 11_025, 1)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    total, kilobytes = (int(word) for word in run.stdout.split())
    assert run.stderr == ""
    assert total == 3_600 * 16_000
    assert kilobytes < 32 * 1_024  # an hour of float32 at 16 kHz would be 220 MiB


@pytest.mark.full
def test_hours_of_compressed_silence_flow_through_at_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "hours.flac"
    path.write_bytes(_silence(16_000, 6))
    assert path.stat().st_size < 2**23  # as float32 1.3 GiB
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    total, kilobytes = (int(word) for word in run.stdout.split())
    assert total / 16_000 >= 6 * 3_600
    assert kilobytes < 32 * 1_024


@pytest.mark.full
def test_a_file_of_more_than_a_day_hits_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    _sparse(path, 8_000, 24.1)
    with open_audio(path, sample_rate=8_000) as stream, pytest.raises(AudioError) as caught:
        for _ in stream.blocks():
            pass
    assert caught.value.code == "audio_limit"
    assert "more than 24 hours" in caught.value.message


def test_the_limit_on_the_length(wav: bytes) -> None:
    assert len(decoded(wav, limits=AudioLimits(max_seconds=2.0))[0]) == 32_000
    error = refused(wav, limits=AudioLimits(max_seconds=1.5))
    assert error.code == "audio_limit"
    assert "more than 1.5 s" in error.message
    holes = AudioLimits(max_seconds=2.5)
    assert refused(film(voice(16_000, 16_000), 16_000, "mp4", seconds=5, late=3), limits=holes).code == "audio_limit"


def test_tags_that_claim_gigabytes_cost_nothing(wav: bytes) -> None:
    """ffmpeg's riff reader would set aside, and zero, as much as a tag claims: 800 MB in this file of 64 kB."""
    forged = put(put(wav, field(wav, b"LIST", 4), "<I", 0x40000000), field(wav, b"ISFT", 4), "<I", 0x30000000)
    assert refused(forged).code == "audio_corrupt"  # nothing can be found behind a list so long
    forged = put(put(wav, field(wav, b"LIST", 4), "<I", 0xFFFFFFE6), field(wav, b"ISFT", 4), "<I", 0x30000000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    samples, _ = decoded(wav[:36] + wav[field(wav, b"data", 0) :] + forged[36 : field(wav, b"data", 0)])
    assert len(samples) == 32_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1_024


def _box(data: bytes, name: bytes) -> int:
    """Where the content of the last box of that name starts."""
    return data.rindex(name) + 4


def test_an_index_that_claims_more_samples_than_bytes() -> None:
    """ffmpeg would make an entry for each: 2.3 GB for this file of 8 kB."""
    forged = encode(voice(16_000, 16_000), 16_000, "mp4", "aac")
    count = 0x4000000
    forged = put(put(forged, _box(forged, b"stsz") + 4, ">I", 1), _box(forged, b"stsz") + 8, ">I", count)
    forged = put(put(forged, _box(forged, b"stsc") + 12, ">I", count), _box(forged, b"stts") + 8, ">I", count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refused(forged)
    assert error.code == "audio_corrupt"
    assert f"claims {count} samples in {len(forged)} bytes" in error.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1_024


def test_a_fragment_that_claims_more_samples_than_bytes() -> None:
    forged = encode(voice(16_000, 16_000), 16_000, "mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"})
    error = refused(put(forged, _box(forged, b"trun") + 4, ">I", 0x0FFFFFFF))
    assert error.code == "audio_corrupt"
    assert "samples in" in error.message


def test_an_edit_list_that_multiplies_the_index() -> None:
    """ffmpeg would copy the index once for each edit: 720 MB for a file of 1.3 MB."""
    whole = encode(voice(16_000 * 20, 16_000), 16_000, "mp4", "aac")
    start = _box(whole, b"elst") - 8
    edits = 100_000
    entry = whole[start + 16 : start + 28]
    growth = (edits - 1) * len(entry)
    forged = bytearray(whole[: start + 28] + entry * (edits - 1) + whole[start + 28 :])
    struct.pack_into(">I", forged, start + 12, edits)
    for name in (b"elst", b"edts", b"trak", b"moov"):
        place = forged.rindex(name, 0, start + 8) - 4
        struct.pack_into(">I", forged, place, struct.unpack_from(">I", forged, place)[0] + growth)
    error = refused(bytes(forged))
    assert error.code == "audio_corrupt"
    assert "100000 edits of 314 samples" in error.message


def test_a_compressed_index_is_refused() -> None:
    whole = encode(voice(16_000, 16_000), 16_000, "mov", "pcm_s16le")
    error = refused(whole.replace(b"mvhd", b"cmov"))
    assert error.code == "audio_unsupported"
    assert "compressed index" in error.message
