"""Speech detection: Silero's own numbers, streaming, the span rule, and what is found in real recordings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import voxport
from voxport.errors import AudioError, UsageError
from voxport.vad import CHUNK, SAMPLE_RATE, SpanFinder, SpeechDetector, VADOptions, speech_spans

if TYPE_CHECKING:
    from voxport.types import FloatArray, Span

WEIGHTS = Path(voxport.__file__).parent / "data/silero_vad_16k.safetensors"
EXPECTED = Path(__file__).parent / "data/silero_vad.npz"


def synthetic_speech() -> FloatArray:
    """6 s of voice-like syllables: gliding harmonics under two formants, in bursts, with a little noise."""
    time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    pitch = 120.0 + 30.0 * np.sin(2.0 * np.pi * 0.7 * time)
    phase = 2.0 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = (500.0 + 200.0 * np.sin(2.0 * np.pi * 2.1 * time), 1500.0 + 500.0 * np.sin(2.0 * np.pi * 1.3 * time))
    voice = np.zeros_like(time)
    for harmonic in range(1, 25):
        loudness = sum(np.exp(-(((harmonic * pitch - formant) / 150.0) ** 2)) for formant in formants)
        voice += (loudness + 0.02) * np.sin(harmonic * phase)
    syllables = np.maximum(0.0, np.sin(2.0 * np.pi * 3.0 * time)) * ((time % 3.0) < 2.0)
    noise = np.modf(np.sin(np.arange(len(time)) * 12.9898) * 43758.5453)[0]
    return np.asarray(0.1 * voice * syllables + 0.002 * noise, np.float32)


def probabilities(samples: FloatArray, max_gain: float = 30.0) -> FloatArray:
    detector = SpeechDetector(max_gain)
    return np.concatenate([detector.feed(samples), detector.flush()])


def spans_in(samples: FloatArray) -> list[Span]:
    return speech_spans(probabilities(samples), samples=len(samples))


def read(path: Path) -> FloatArray:
    import av

    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(frames)
    assert samples.dtype == np.int16
    return samples.astype(np.float32) / np.float32(32768.0)


def manifest(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if line["kind"] in kinds]


def test_the_weights_are_the_ones_in_the_readme() -> None:
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert digest == "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
    assert digest in (WEIGHTS.parent / "README.md").read_text("utf-8")
    assert (WEIGHTS.parent / "LICENSE.silero-vad").read_text("utf-8").startswith("MIT License")


def test_the_transform_that_replaces_the_first_layer_is_that_layer() -> None:
    basis = load_file(WEIGHTS)["stft_conv.weight"][:, 0]
    samples = np.arange(256)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * samples / 256)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(129), samples) / 256) * window
    np.testing.assert_allclose(basis[:129], transform.real, atol=1e-7)
    np.testing.assert_allclose(np.abs(basis[129:]), np.abs(transform.imag), atol=1e-7)


def test_equal_to_silero_on_synthetic_speech() -> None:
    found = probabilities(synthetic_speech(), max_gain=1.0)
    expected = np.load(EXPECTED)["synthetic"]
    assert expected.min() < 0.01
    assert expected.max() > 0.9
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("clip", ["jfk", "noise-1", "ls-1995-1837-0001-snr5", "mfa-cold_corpus"])
def test_equal_to_silero_on_recordings(shared_data: Path, clip: str) -> None:
    found = probabilities(read(shared_data / f"audio/{clip}.flac"), max_gain=1.0)
    np.testing.assert_allclose(found, np.load(EXPECTED)[clip], rtol=0, atol=1e-4)


def test_ordinary_level_is_not_amplified() -> None:
    loud = synthetic_speech()
    loud[:CHUNK] += 0.2  # so that the level is known from the first chunk on
    np.testing.assert_array_equal(probabilities(loud[: 4 * SAMPLE_RATE]), probabilities(loud[: 4 * SAMPLE_RATE], 1.0))


@pytest.mark.parametrize("amplitude", [1.0, 1e-3])
@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 63, 64, 511, 512, 513, 1000, 12 * 512, 30_000]), min_size=1))
def test_blocks_may_be_cut_anywhere(amplitude: float, sizes: list[int]) -> None:
    samples = amplitude * synthetic_speech()[SAMPLE_RATE : 3 * SAMPLE_RATE + 100]
    detector, found, start = SpeechDetector(), [], 0
    for size in sizes:
        found.append(detector.feed(samples[start : start + size]))
        assert sum(map(len, found)) == min(start + size, len(samples)) // CHUNK
        start += size
    found += [detector.feed(samples[start:]), detector.flush()]
    np.testing.assert_allclose(np.concatenate(found), probabilities(samples), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "count"), [(0, 0), (1, 1), (511, 1), (512, 1), (513, 2), (5120, 10)])
def test_one_probability_per_chunk(length: int, count: int) -> None:
    found = probabilities(np.zeros(length, np.float32))
    assert found.shape == (count,)
    assert found.dtype == np.float32
    assert np.all((found >= 0) & (found < 0.1))


def test_flush_begins_anew() -> None:
    samples, detector = synthetic_speech()[:20_000], SpeechDetector()
    first = np.concatenate([detector.feed(samples), detector.flush()])
    np.testing.assert_array_equal(np.concatenate([detector.feed(samples), detector.flush()]), first)


@pytest.mark.parametrize("peak", [3e29, 3.4e38])
def test_absurdly_large_samples_overflow_nothing(peak: float) -> None:
    speech = synthetic_speech().astype(np.float64)
    loud = (speech / np.abs(speech).max() * peak).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = probabilities(loud)
    assert np.all((found >= 0.0) & (found <= 1.0))


def test_the_samples_given_are_left_alone() -> None:
    samples = 0.01 * synthetic_speech()
    samples.setflags(write=False)
    assert len(SpeechDetector().feed(samples)) == len(samples) // CHUNK


def test_bad_arguments() -> None:
    with pytest.raises(AudioError, match=r"\(2, 512\)") as caught:
        SpeechDetector().feed(np.zeros((2, 512), np.float32))
    assert caught.value.code == "audio_window"
    for gain in (0.5, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="gain"):
            SpeechDetector(gain)
    for options in ({"threshold": 0.3}, {"threshold": 1.5}, {"negative_threshold": 0.0}):
        with pytest.raises(UsageError, match="threshold"):
            VADOptions(**options)
    for name in ("min_silence", "min_speech", "speech_pad"):
        with pytest.raises(UsageError, match=name):
            VADOptions(**{name: -0.1})


def published_rule(values: list[float], options: VADOptions, length: int) -> list[tuple[int, int]]:
    """silero-vad 6.2.3, `get_speech_timestamps_from_probs`, without its longest duration: samples."""
    min_speech, min_silence, pad = (
        round(seconds * SAMPLE_RATE) for seconds in (options.min_speech, options.min_silence, options.speech_pad)
    )
    triggered, speeches, start, temp_end = False, [], 0, 0
    for i, value in enumerate(values):
        sample = CHUNK * i
        if value >= options.threshold and temp_end:
            temp_end = 0
        if value >= options.threshold and not triggered:
            triggered, start = True, sample
            continue
        if value < options.negative_threshold and triggered:
            if not temp_end:
                temp_end = sample
            if sample - temp_end < min_silence:
                continue
            if temp_end - start > min_speech:
                speeches.append([start, temp_end])
            triggered, temp_end = False, 0
    if triggered and length - start > min_speech:
        speeches.append([start, length])
    for i, speech in enumerate(speeches):
        if i == 0:
            speech[0] = max(0, speech[0] - pad)
        if i != len(speeches) - 1:
            silence = speeches[i + 1][0] - speech[1]
            if silence < 2 * pad:
                speech[1] += silence // 2
                speeches[i + 1][0] = max(0, speeches[i + 1][0] - silence // 2)
            else:
                speech[1] = min(length, speech[1] + pad)
                speeches[i + 1][0] = max(0, speeches[i + 1][0] - pad)
        else:
            speech[1] = min(length, speech[1] + pad)
    return [(begin, end) for begin, end in speeches]


levels = st.sampled_from([0.0, 0.2, 0.35, 0.4, 0.5, 0.7, 1.0])
runs = st.lists(st.tuples(levels, st.integers(1, 12)), max_size=25)
option_sets = st.builds(
    VADOptions,
    threshold=st.sampled_from([0.5, 0.6]),
    negative_threshold=st.sampled_from([0.2, 0.35, 0.5]),
    min_silence=st.sampled_from([0.0, 0.032, 0.1, 0.33]),
    min_speech=st.sampled_from([0.0, 0.064, 0.15, 0.25]),
    speech_pad=st.sampled_from([0.0, 0.03, 0.1, 0.4]),
)


@settings(max_examples=200, deadline=None)
@given(runs=runs, options=option_sets, cuts=st.lists(st.integers(0, 60)), missing=st.integers(0, CHUNK - 1))
def test_spans_are_the_published_rule_however_they_are_fed(
    runs: list[tuple[float, int]], options: VADOptions, cuts: list[int], missing: int
) -> None:
    values = [value for value, count in runs for _ in range(count)]
    length = max(0, len(values) * CHUNK - missing)
    expected = published_rule(values, options, length)

    finder, batches, start = SpanFinder(options), [], 0
    pending = [finder.pending_from]
    for size in [*cuts, len(values)]:
        batches.append(finder.feed(np.asarray(values[start : start + size])))
        pending.append(finder.pending_from)
        start += size
    batches.append(finder.finish(length))

    found = [(round(span.start * SAMPLE_RATE), round(span.end * SAMPLE_RATE)) for batch in batches for span in batch]
    assert found == expected
    assert pending == sorted(pending)
    for number, time in enumerate(pending):
        assert all(span.start >= time for batch in batches[number:] for span in batch)


def test_spans_come_as_soon_as_they_are_final() -> None:
    finder = SpanFinder(VADOptions(min_silence=0.1, min_speech=0.1, speech_pad=0.064))
    speech, pause = np.ones(10, np.float32), np.zeros(1, np.float32)
    assert finder.feed(speech) == []
    # A pause of 0.1 s closes the span; its padding can't meet another's once 0.128 s have passed.
    given = [len(finder.feed(pause)) for _ in range(6)]
    assert given == [0, 0, 0, 0, 1, 0]
    assert finder.pending_from == 16 * 0.032 - 0.064
    assert finder.finish() == []


def test_no_speech_in_silence_and_noise() -> None:
    noise = np.modf(np.sin(np.arange(10 * SAMPLE_RATE) * 12.9898) * 43758.5453)[0].astype(np.float32)
    for amplitude in (0.0, 1e-4, 0.01, 0.3):
        assert spans_in(amplitude * noise) == []


def test_no_speech_in_recordings_without(shared_data: Path) -> None:
    lines = manifest(shared_data, "nonspeech")
    assert len(lines) == 5
    for line in lines:
        samples = read(shared_data / line["file"])
        assert spans_in(samples) == [], line["file"]
        assert spans_in(samples / max(float(np.abs(samples).max()), 1e-9)) == [], line["file"]


@pytest.mark.parametrize("peak", [None, 0.01])
@pytest.mark.parametrize("clip", ["jfk", "LJ001-0007", "fsdd-nicolas", "ls-1089-134686-0000-tel8k"])
def test_quiet_and_narrow_speech_is_found(shared_data: Path, clip: str, peak: float | None) -> None:
    samples = read(shared_data / f"audio/{clip}.flac")
    heard = samples if peak is None else samples * np.float32(peak / np.abs(samples).max())
    assert uncovered(samples, spans_in(heard)) <= 0.05


@pytest.mark.full
@pytest.mark.parametrize("peak", [None, 0.01])
def test_speech_of_every_recording_is_found(shared_data: Path, peak: float | None) -> None:
    lost = {}
    for line in manifest(shared_data, "real", "real-concat", "real+band"):
        samples = read(shared_data / line["file"])
        heard = samples if peak is None else samples * np.float32(peak / np.abs(samples).max())
        lost[line["file"]] = uncovered(samples, spans_in(heard))
    assert {file for file, seconds in lost.items() if seconds > 0.05} == LOUD_WITHOUT_SPEECH


@pytest.mark.full
def test_noise_hides_no_speech(shared_data: Path) -> None:
    """At 5 dB, what is found in the clean recording is found again, to 0.2 s at either end."""
    pairs = [(line, shared_data / line["file"].replace("-snr5", "")) for line in manifest(shared_data, "real+noise")]
    pairs = [(line, path) for line, path in pairs if path.is_file()]
    assert len(pairs) >= 4
    for line, path in pairs:
        noisy, clean = spans_in(read(shared_data / line["file"])), spans_in(read(path))
        heard = sum(
            max(0.0, min(a.end, b.end + 0.2) - max(a.start, b.start - 0.2)) > 0.8 * a.duration
            for a in clean
            for b in noisy
        )
        assert heard == len(clean), line["file"]


LOUD_WITHOUT_SPEECH = {"audio/mfa-cold_corpus.flac", "audio/beckett.flac"}


def uncovered(samples: FloatArray, spans: list[Span], margin: float = 0.4) -> float:
    """Seconds of loud sound (within 20 dB of the loudest) further than `margin` from all spans.

    0.4 s is what windows keep of a pause around speech.
    """
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    power = 10.0 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    middles = (np.arange(len(frames)) + 0.5) * 0.01
    outside = np.ones(len(frames), bool)
    for span in spans:
        outside &= (middles < span.start - margin) | (middles > span.end + margin)
    return 0.01 * float(np.count_nonzero(outside & (power > np.percentile(power, 95) - 20.0)))
