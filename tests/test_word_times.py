"""Words put where speech is: in order, inside of their segments, and without a say in what is decoded next."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import voxport
from voxport.pipeline import PipelineOptions, Transcription
from voxport.pipeline.regions import RegionReader
from voxport.pipeline.word_times import LONGEST_TAIL, settled, shifted
from voxport.types import Segment, Span, Word
from voxport.windows import CutOptions, RegionPlanner
from whisper_pairs import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEECH = [Span(1.0, 3.0), Span(4.0, 6.0)]


def segment(*words: tuple[float, float], start: float = 0.0, end: float = 10.0) -> Segment:
    return Segment(0, 0, start, end, " a" * len(words), words=tuple(Word(" a", *times, 0.5) for times in words))


def placed(
    *words: tuple[float, float],
    speech: Sequence[Span] = SPEECH,
    earliest: float = 0.0,
    following: float = 10.0,
    latest: float = 10.0,
) -> list[tuple[float, float]]:
    (found,) = settled([segment(*words)], speech, earliest, following, latest)
    assert found.words is not None
    assert (found.start, found.end) == (found.words[0].start, found.words[-1].end)
    assert all((word.word, word.probability) == (" a", 0.5) for word in found.words)
    return [(word.start, word.end) for word in found.words]


def test_a_pause_belongs_to_no_word() -> None:
    assert placed((0.2, 2.0), (2.0, 3.9), (3.9, 4.5), (4.5, 9.0)) == [(1.0, 2.0), (2.0, 3.0), (4.0, 4.5), (4.5, 6.0)]


def test_a_word_is_where_it_has_the_most_speech() -> None:
    assert placed((2.8, 5.0)) == [(4.0, 5.3)]
    assert placed((1.5, 4.1)) == [(1.5, 3.0)]


def test_a_word_goes_on_to_the_next_one_but_not_far() -> None:
    assert placed((1.0, 1.4), (1.6, 1.7)) == [(1.0, 1.6), (1.6, 1.7 + LONGEST_TAIL)]


def test_a_word_far_from_any_speech_stays() -> None:
    assert placed((7.5, 7.8), following=7.8, latest=7.8) == [(7.5, 7.8)]


def test_a_word_driven_out_of_speech_shares_the_time_of_its_neighbour() -> None:
    assert placed((0.3, 0.3), (0.3, 2.0), (2.0, 2.4)) == [(1.0, 1.5), (1.5, 2.0), (2.0, 2.7)]
    assert placed((2.0, 2.5), (3.2, 3.4), following=3.5, latest=3.5) == [(2.0, 2.4), (2.4, 2.8)]
    with_third = placed((3.3, 3.3), (3.3, 3.5), (3.5, 4.6))
    assert [end for _, end in with_third] == pytest.approx([4.3, 4.6, 4.9])
    assert with_third[0][0] == 4.0
    assert placed((0.0, 0.0), (2.0, 2.2)) == [(0.0, 0.3), (2.0, 2.5)]  # too far


def test_words_end_where_the_next_window_begins() -> None:
    assert placed((1.0, 2.5), (2.5, 4.5), following=4.2) == [(1.0, 2.5), (2.5, 3.0)]
    assert placed((4.0, 5.0), (5.0, 5.9), following=5.5) == [(4.0, 5.0), (5.0, 5.5)]
    assert placed((4.0, 5.0), (5.0, 5.9), following=5.0) == [(4.0, 5.0), (5.0, 6.0)]  # it only begins there


def test_words_begin_where_those_before_them_end() -> None:
    assert placed((1.0, 1.5), (1.5, 2.0), earliest=1.8) == [(1.8, 1.85), (1.85, 2.3)]


def test_a_word_of_no_length_gets_some_of_the_longer_word_that_touches_it() -> None:
    assert placed((1.0, 1.6), (1.6, 1.6), (1.6, 2.0)) == [(1.0, 1.6), (1.6, 1.65), (1.65, 2.3)]
    assert placed((1.0, 1.9), (1.9, 1.9), (1.9, 2.0)) == [(1.0, 1.85), (1.85, 1.9), (1.9, 2.3)]
    assert placed((1.0, 2.0), (2.0, 2.0), (2.0, 2.0), latest=2.0, following=2.0) == [
        (1.0, 1.9), (1.9, 1.95), (1.95, 2.0),
    ]  # fmt: skip
    assert placed((1.0, 1.06), (1.06, 1.06), latest=1.06, following=1.06) == [(1.0, 1.04), (1.04, 1.06)]  # a third
    assert placed((2.0, 2.0), latest=2.0, following=2.0) == [(2.0, 2.0)]  # there is none


def test_rounding_moves_no_word_out_of_its_window() -> None:
    assert placed((1.0, 1.8), following=1.5976875, latest=1.5976875) == [(1.0, 1.5976875)]
    assert placed((1.0, 1.5), (1.5, 2.0), earliest=1.2003) == [(1.2003, 1.5), (1.5, 2.3)]


def test_segments_without_words_stay() -> None:
    bare = Segment(0, 0, 1.0, 2.0, " a")
    assert settled([bare], SPEECH, 0.0, 9.0, 9.0) == [bare]
    empty = replace(bare, words=())
    found = settled([empty, segment((4.0, 5.0))], SPEECH, 0.0, 9.0, 9.0)
    assert found[0] == empty
    assert found[1].start == 4.0


def test_shifted() -> None:
    assert shifted([Word(" a", 1.0, 2.0, 0.5)], 10.0) == (Word(" a", 11.0, 12.0, 0.5),)


times = st.floats(0, 30).map(lambda number: round(number, 2))


@settings(max_examples=300, deadline=None)
@given(
    starts=st.lists(times, min_size=1, max_size=12).map(sorted),
    lengths=st.lists(st.floats(0, 5), min_size=12, max_size=12),
    parts=st.lists(st.integers(1, 4), min_size=12, max_size=12),
    edges=st.lists(times, max_size=10, unique=True).map(sorted),
    bounds=st.tuples(*[st.floats(0, 30)] * 3).map(sorted),
)
def test_whatever_comes_in_is_in_order_inside_and_in_one_stretch_of_speech(
    starts: list[float], lengths: list[float], parts: list[int], edges: list[float], bounds: list[float]
) -> None:
    speech = [Span(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    pairs = [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
    segments = []
    while pairs:
        count = parts[len(segments)]
        segments.append(segment(*pairs[:count]))
        pairs = pairs[count:]
    earliest, following, latest = bounds
    found = settled(segments, speech, earliest, following, latest)
    assert [len(one.words or ()) for one in found] == [len(one.words or ()) for one in segments]
    words = [word for one in found for word in one.words or ()]
    for word in words:
        assert earliest <= word.start <= word.end <= latest
        touched = [span for span in speech if span.start < word.end and span.end > word.start]
        assert len(touched) <= 1
        assert all(span.start - 1e-3 <= word.start and word.end <= span.end + 1e-3 for span in touched)
    for before, after in pairwise(words):
        assert before.end <= after.start + 1e-9
    for one in found:
        assert one.words
        assert (one.start, one.end) == (one.words[0].start, one.words[-1].end)


# With a model ------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_en: Path) -> Any:
    return voxport.load_model(str(tiny_en), "cpu", "float32")


@pytest.fixture(scope="module")
def recording(jfk: Path) -> tuple[np.ndarray, int]:
    """Half a minute and more, in three regions at least: the recording three times, with pauses of a second between."""
    samples = read(jfk).samples
    pause = np.zeros(16_000, np.float32)
    return np.concatenate([pause, samples, pause, samples[:128_000], pause, samples, pause]), 16_000


def transcribed(model: Any, recording: Any, **options: Any) -> voxport.Transcript:
    transcription = Transcription(recording, model, PipelineOptions(language="en", **options))
    for _ in transcription:
        pass
    return transcription.result()


def test_words_of_a_recording_are_in_its_speech_and_change_no_text(model: Any, recording: Any) -> None:
    plain = transcribed(model, recording)
    timed = transcribed(model, recording, word_timestamps=True)
    assert plain.words is None
    assert [one.words for one in plain.segments] == [None] * len(plain.segments)
    assert [(one.text, one.tokens, one.seek, one.avg_logprob) for one in timed.segments] == [
        (one.text, one.tokens, one.seek, one.avg_logprob) for one in plain.segments
    ]
    assert timed.words is not None
    assert "".join(word.word for word in timed.words).strip() == timed.text
    blocks = [recording[0]]
    regions = list(RegionReader(blocks, vad=True, planner=RegionPlanner(CutOptions(max_seconds=30.0))))
    speech = [span for one in regions for span in one.region.speech]
    for word in timed.words:
        assert any(span.start - 1e-3 <= word.start and word.end <= span.end + 1e-3 for span in speech), word
    for before, after in pairwise(timed.words):
        assert before.end <= after.start


def test_batches_make_no_difference(model: Any, recording: Any) -> None:
    one, four = (transcribed(model, recording, word_timestamps=True, batch_size=size) for size in (1, 4))
    assert [(word.word, word.start, word.end) for word in one.words or ()] == [
        (word.word, word.start, word.end) for word in four.words or ()
    ]


def test_without_looking_for_speech_words_still_end(model: Any, jfk: Path) -> None:
    found = transcribed(model, (read(jfk).samples, 16_000), word_timestamps=True, vad=False)
    assert found.words
    assert max(word.end - word.start for word in found.words) < 2.5
    assert found.words[-1].end <= 11.0


def test_no_speech_has_no_words(model: Any) -> None:
    silence = (np.zeros(16_000, np.float32), 16_000)
    assert transcribed(model, silence, word_timestamps=True).words == ()
    assert transcribed(model, silence).words is None


def test_signs_are_passed_on(model: Any, jfk: Path) -> None:
    found = transcribed(model, (read(jfk).samples, 16_000), word_timestamps=True, append_punctuations="")
    assert "." in [word.word for word in found.words or ()]


def test_translations_warn(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "check", lambda options: None)
    options = PipelineOptions(word_timestamps=True, task="translate")
    assert "translation" in Transcription("a.wav", model, options).warnings[0]
    assert Transcription("a.wav", model, replace(options, word_timestamps=False)).warnings == []
