"""The pipeline on a model that writes down what it is given: order, clock, batches, rests, bounds."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import voxport
from voxport.devices import get_device
from voxport.errors import UnsupportedOptionError, UsageError
from voxport.pipeline import PipelineOptions, Transcription
from voxport.pipeline.history import History
from voxport.pipeline.regions import LONGEST_SPAN, RegionAudio, RegionReader, SpeechCutter, Tape
from voxport.pipeline.resuming import ResumingScheduler
from voxport.pipeline.schedule import LOOK_AHEAD
from voxport.types import Audio, DecodingOptions, Hypothesis, ModelInfo, Segment, Span, Word
from voxport.vad import CHUNK
from voxport.windows import CutOptions, Region, RegionPlanner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATE = 16_000


class Recorder:
    """A model whose text is its window's first sample, so that a test sees which window gave which text."""

    name = "recorder"
    info = ModelInfo("recorder", "fake", "0" * 64, "-")
    dtype = "float32"
    float32_modules: tuple[str, ...] = ()
    sample_rate = RATE
    max_seconds = window_seconds = 30.0
    min_seconds = context_seconds = 0.0
    languages = frozenset({"en", "de"})
    supports = frozenset({"language_detection"})
    batch_size = 4

    def __init__(self) -> None:
        self.device = get_device("cpu")
        self.batches: list[list[float]] = []
        self.heard: list[int] = []
        self.options: list[DecodingOptions] = []
        self.script: dict[int, Hypothesis] = {}

    def check(self, options: DecodingOptions) -> None:
        if options.language not in (None, "en", "de"):
            raise UnsupportedOptionError("no such language")

    def features(self, audio: Sequence[Audio]) -> list[Audio]:
        return list(audio)

    def encode(self, features: list[Audio]) -> list[Audio]:
        return features

    def detect_language(self, encoded: list[Audio]) -> list[dict[str, float]]:
        return [{"en": 0.1, "de": 0.9} if window.samples[0] < 0 else {"en": 0.9, "de": 0.1} for window in encoded]

    def decode(self, encoded: list[Audio], options: DecodingOptions) -> list[Hypothesis]:
        self.batches.append([round(window.duration, 3) for window in encoded])
        self.options.append(options)
        self.heard += [round(float(window.samples[0]) * 1000) for window in encoded]
        return [self.hypothesis(window) for window in encoded]

    def hypothesis(self, window: Audio) -> Hypothesis:
        label = round(float(window.samples[0]) * 1000)
        if label in self.script:
            return self.script[label]
        return said(f" {label}", 0.0, window.duration)

    def logits(self, encoded: Any, tokens: Any = None) -> np.ndarray:
        raise NotImplementedError


class Placing(Recorder):
    """One that also tells where it heard what, as scripted: the places of each segment by the window's first sample."""

    supports = frozenset({"language_detection", "token_places"})

    def __init__(self) -> None:
        super().__init__()
        self.heard_at: dict[int, list[tuple[float, ...]]] = {}
        self.asked: list[int] = []

    def token_places(
        self, encoded: list[Audio], hypotheses: list[Hypothesis | None], options: DecodingOptions
    ) -> list[list[tuple[float, ...]] | None]:
        labels = [round(float(window.samples[0]) * 1000) for window in encoded]
        self.asked += [label for label, one in zip(labels, hypotheses, strict=True) if one is not None]
        return [self.heard_at.get(label) if one else None for label, one in zip(labels, hypotheses, strict=True)]


def said(text: str, start: float, end: float, resume: float | None = None) -> Hypothesis:
    return Hypothesis(text, (), (Segment(0, None, start, end, text),), resume=resume)


def region(start: float, end: float, speech: Sequence[tuple[float, float]] = ()) -> RegionAudio:
    """Samples tell their time: value = seconds / 1000."""
    times = np.arange(round(start * RATE), round(end * RATE)) / RATE
    spans = tuple(Span(*span) for span in speech) or (Span(start, end),)
    return RegionAudio(Region(start, end, spans, looked_for_speech=bool(speech)), (times / 1000).astype(np.float32))


def run(model: Recorder, regions: Sequence[RegionAudio], batch_size: int = 4) -> list[Segment]:
    return list(ResumingScheduler([model], DecodingOptions(language="en"), batch_size).run(regions))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=25), st.integers(1, 5))
def test_segments_come_in_order_and_cover_everything(lengths: list[int], batch_size: int) -> None:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    regions = [region(float(a), float(b)) for a, b in itertools.pairwise(starts)]
    model = Recorder()
    segments = run(model, regions, batch_size)
    assert segments[0].start == 0
    assert segments[-1].end == starts[-1]
    for before, after in itertools.pairwise(segments):
        assert before.end == pytest.approx(after.start)
    # Each text is the time its window began at: the samples given were those of that time.
    assert [segment.text for segment in segments] == [f" {round(segment.start)}" for segment in segments]
    assert all(length <= 30 for batch in model.batches for length in batch)
    assert all(len(batch) <= batch_size for batch in model.batches)


def test_batches_hold_like_lengths() -> None:
    lengths = [2, 29, 3, 28, 2, 27, 3, 26]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    model = Recorder()
    run(model, [region(float(a), float(b)) for a, b in itertools.pairwise(starts)])
    assert sorted(map(sorted, model.batches)) == [[2, 2, 3, 3], [26, 27, 28, 29]]


def test_the_look_ahead_is_bounded() -> None:
    taken = 0

    def endless() -> Iterator[RegionAudio]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield region(number * 10.0, number * 10.0 + 10)

    segments = ResumingScheduler([Recorder()], DecodingOptions(), 4).run(endless())
    for _ in range(20):
        next(segments)
    assert taken <= 20 + LOOK_AHEAD * 4


def test_the_device_tidies_up_in_the_middle_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the encoder, before anything of the batch is decoded, if it makes four windows with those before."""
    tidied: list[int] = []
    model = Recorder()
    monkeypatch.setattr(model.device, "tidy", lambda: tidied.append(len(model.heard)), raising=False)
    run(model, [region(start, start + 10.0) for start in range(0, 300, 10)], batch_size=3)
    assert tidied == [3, 9, 15, 21, 27]
    tidied.clear()
    run(model, [region(0, 10)])
    assert tidied == []


def test_what_the_model_did_not_hear_is_decoded_again() -> None:
    model = Recorder()
    model.script[0] = said(" first", 0.0, 9.0, resume=9.0)
    segments = run(model, [region(0, 20)])
    assert [(s.text, s.start, s.end, s.seek) for s in segments] == [(" first", 0, 9, 0), (" 9", 9, 20, 900)]


def test_silence_after_the_last_word_is_not_decoded_again() -> None:
    model = Recorder()
    model.script[0] = said(" first", 0.0, 9.0, resume=9.0)
    assert len(run(model, [region(0, 20, speech=[(0.5, 9.1)])])) == 1


def test_speech_that_the_model_passed_over_is_decoded_again() -> None:
    model = Recorder()
    model.script[0] = said(" first", 0.0, 9.0)
    passed_over = run(model, [region(0, 20, speech=[(0.5, 9), (12, 19)])])
    assert [segment.text for segment in passed_over] == [" first", " 9"]
    model.script[0] = said(" first", 0.0, 9.0)
    assert len(run(model, [region(0, 20, speech=[(0.5, 9), (12, 13)])])) == 1


def test_speech_between_two_segments_is_decoded_again() -> None:
    model = Recorder()
    two = (Segment(0, None, 0.0, 5.0, " first"), Segment(1, None, 9.0, 20.0, " second"))
    model.script[0] = Hypothesis("", (), two)
    segments = run(model, [region(0, 20, speech=[(0.5, 5.2), (5.6, 7.5), (9, 19)])])
    assert [(s.text, s.start, s.end) for s in segments] == [(" first", 0, 5), (" 5", 5, 20)]
    model.script[0] = Hypothesis("", (), two)
    segments = run(model, [region(0, 20, speech=[(0.5, 5.2), (5.6, 6.5), (9, 19)])])
    assert [(s.text, s.start, s.end) for s in segments] == [(" first", 0, 5), (" second", 9, 20)]


def parted(*texts: tuple[str, float, float, int], resume: float | None = None) -> Hypothesis:
    """Segments of so many tokens."""
    segments = tuple(Segment(0, None, start, end, text, tuple(range(n))) for text, start, end, n in texts)
    return Hypothesis("", (), segments, resume=resume)


def heard(model: Recorder, *regions: RegionAudio) -> list[tuple[str, float, float]]:
    return [(s.text, round(s.start, 3), round(s.end, 3)) for s in run(model, regions)]


def evenly(*stretches: tuple[float, float]) -> tuple[float, ...]:
    """A place every half second."""
    return tuple(start + 0.5 * n for start, end in stretches for n in range(round(2 * (end - start)) + 1))


SPOKEN = [(1.2, 4.0), (5.0, 8.0), (9.0, 12.0), (13.0, 19.8)]


def test_what_was_missed_at_a_windows_beginning_is_heard_on_its_own_and_comes_first() -> None:
    """Seen with tiny.en: a window began with the second sentence, and its timestamps with the first."""
    model = Placing()
    model.script[0] = parted((" second", 0.0, 8.2, 20), (" third", 9.0, 12.0, 20), (" fourth", 13.0, 20.0, 20))
    model.heard_at[0] = [evenly((5.0, 8.0)), evenly((9.0, 12.0)), evenly((13.0, 19.5))]
    assert heard(model, region(0, 20, speech=SPOKEN)) == [
        (" 1", 1.0, 4.2), (" second", 5.0, 8.2), (" third", 9.0, 12.0), (" fourth", 13.0, 20.0),
    ]  # fmt: skip
    assert model.batches == [[20.0], [3.2]]


def test_what_was_missed_at_a_regions_end_is_heard_on_its_own() -> None:
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.2, 20), (" second", 5.0, 8.2, 20), (" third", 9.0, 20.0, 20))
    model.heard_at[0] = [evenly((1.5, 4.0)), evenly((5.0, 8.0)), evenly((9.0, 12.0))]
    assert heard(model, region(0, 20, speech=SPOKEN)) == [
        (" first", 0.0, 4.2), (" second", 5.0, 8.2), (" third", 9.0, 13.0), (" 13", 13.0, 19.9),
    ]  # fmt: skip


def test_where_a_window_ends_before_its_region_the_next_one_begins_with_what_was_missed() -> None:
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.2, 20), (" second", 5.0, 20.0, 20), resume=20.0)
    model.heard_at[0] = [evenly((1.5, 4.0)), evenly((5.0, 12.0))]
    speech = [*SPOKEN, (21.0, 39.8)]
    assert heard(model, region(0, 40, speech=speech)) == [(" first", 0, 4.2), (" second", 5, 13), (" 13", 13, 40)]


def test_what_was_missed_between_two_segments_is_put_between_them() -> None:
    model = Placing()
    model.script[0] = parted((" first", 0.0, 8.2, 20), (" third", 9.0, 12.0, 20), (" fourth", 13.0, 20.0, 20))
    model.heard_at[0] = [evenly((1.5, 4.0)), evenly((9.0, 12.0)), evenly((13.0, 19.5))]
    assert [text for text, _, _ in heard(model, region(0, 20, speech=SPOKEN))] == [" first", " 5", " third", " fourth"]


def test_asking_for_places_is_timed_apart_from_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, clock = Placing(), [0.0]
    asking = model.token_places

    def slowly(*arguments: Any) -> Any:
        clock[0] += 0.3
        return asking(*arguments)

    monkeypatch.setattr(model, "token_places", slowly)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    model.script[0] = parted((" all", 0.0, 20.0, 20))
    scheduler = ResumingScheduler([model], DecodingOptions(language="en"), 4)
    list(scheduler.run([region(0, 20, speech=SPOKEN)]))
    assert scheduler.timings["places"] == pytest.approx(0.3)
    assert scheduler.timings["decode"] == 0.0


def test_a_text_with_something_missing_inside_is_heard_again_in_parts() -> None:
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.2, 20), (" second and fourth", 5.0, 20.0, 20))
    model.heard_at[0] = [evenly((1.5, 4.0)), evenly((5.0, 8.0), (13.0, 19.5))]
    found = heard(model, region(0, 20, speech=SPOKEN))
    assert [text for text, _, _ in found] == [" first", " 5", " 9", " 12"]
    assert sorted(itertools.chain(*model.batches)) == [3.4, 4.0, 8.0, 20.0]


def test_what_the_model_is_not_sure_of_after_missing_it_is_left_out() -> None:
    """An "um" is passed over with good reason."""
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.2, 20), (" third", 5.0, 20.0, 40))
    model.heard_at[0] = [evenly((1.5, 4.0)), evenly((9.0, 12.0), (13.0, 19.5))]
    model.script[5] = replace(said(" Um.", 0.0, 3.0), no_speech_prob=0.45, avg_logprob=-0.9)
    assert [text for text, _, _ in heard(model, region(0, 20, speech=SPOKEN))] == [" first", " third"]
    for no_speech, likely in ((0.05, -0.9), (0.45, -0.4)):
        model.script[5] = replace(said(" Mind.", 0.0, 3.0), no_speech_prob=no_speech, avg_logprob=likely)
        assert [text for text, _, _ in heard(model, region(0, 20, speech=SPOKEN))] == [" first", " Mind.", " third"]


def test_a_word_that_was_heard_whole_is_not_said_twice() -> None:
    """Seen with base: the last timestamp lay before the last word, which the next window said again."""
    model = Placing()
    model.script[0] = parted((" all", 0.0, 19.0, 60), resume=19.0)
    model.heard_at[0] = [evenly((0.5, 19.5))]
    assert [text for text, _, _ in heard(model, region(0, 20, speech=[(0.2, 19.8)]))] == [" all"]
    assert model.batches == [[20.0]]  # nor is the end of the word heard, in which Whisper thanks for watching
    model.heard_at[0] = [evenly((0.5, 19.0))]
    assert [text for text, _, _ in heard(model, region(0, 20, speech=[(0.2, 19.8)]))] == [" all", " 19"]


def test_a_text_behind_a_gap_inside_a_span_begins_where_the_gap_ends() -> None:
    """Seen with tiny.en: it was put behind the sentence that follows it."""
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.0, 20), (" second", 4.0, 12.0, 20), (" third", 13.0, 20.0, 30))
    model.heard_at[0] = [evenly((0.5, 3.5)), evenly((6.0, 11.5)), evenly((13.0, 19.5))]
    found = heard(model, region(0, 20, speech=[(0.2, 12.0), (13.0, 19.8)]))
    assert [text for text, _, _ in found] == [" first", " 4", " second", " third"]
    assert found[2][1:] == (5.5, 12.0)


def test_a_text_lasts_to_where_it_was_heard_whatever_its_timestamps_say() -> None:
    """Seen with base: the model took the time of the sentence that it passed over for that of the one it said."""
    model = Placing()
    model.script[0] = parted((" first", 0.0, 8.0, 20), (" third", 8.0, 11.0, 20))
    model.heard_at[0] = [evenly((1.2, 4.0), (5.0, 8.0)), evenly((13.0, 19.5))]
    found = heard(model, region(0, 20, speech=SPOKEN))
    assert [text for text, _, _ in found] == [" first", " 9", " third"]
    assert found[2][1:] == (13.0, 19.8)


def test_what_is_said_twice_and_written_once_is_put_in_its_two_places() -> None:
    """Seen with base: of one text some tokens were heard in the first saying, at its edge, and some in the second."""
    model = Placing()
    text = said(" go forward", 0.0, 9.0)
    words = tuple(Word(f" {word}", start, start + 0.5, 0.9) for word, start in (("go", 2.5), ("forward", 3.0)))
    model.script[0] = replace(text, segments=(replace(text.segments[0], words=words),))
    model.heard_at[0] = [(2.54, 7.72, 8.1)]
    first, second = run(model, [region(0, 9.5, speech=[(2.5, 4.2), (7.3, 9.0)])])
    assert (first.text, first.start, first.end) == (" 2", pytest.approx(2.3), pytest.approx(4.4))
    assert (second.text, second.start, second.end) == (" go forward", 7.3, 9.0)
    assert second.words is not None
    assert [word.start for word in second.words] == pytest.approx([7.3, 7.3 + 1.7 * 2 / 9], abs=1e-3)


def test_a_window_is_not_asked_where_it_heard_what_where_its_times_tell() -> None:
    model = Placing()
    model.script[0] = parted((" first", 0.0, 4.2, 20), (" second", 5.0, 20.0, 40))
    heard(model, region(0, 20, speech=[(0.2, 4.0), (5.0, 19.8)]))
    assert model.asked == []


@pytest.mark.parametrize(
    ("options", "speech"),
    [(DecodingOptions(language="de", task="translate"), SPOKEN), (DecodingOptions(language="en"), [])],
    ids=["translated", "speech was not looked for"],
)
def test_a_window_is_not_asked_where_the_answer_means_nothing(
    options: DecodingOptions, speech: list[tuple[float, float]]
) -> None:
    model = Placing()
    model.script[0] = parted((" all", 0.0, 20.0, 20))
    model.heard_at[0] = [evenly((9.0, 12.0))]
    assert len(list(ResumingScheduler([model], options, 4).run([region(0, 20, speech=speech)]))) == 1
    assert model.asked == []


def test_what_was_missed_is_not_told_what_was_said_behind_it() -> None:
    model = Placing()
    model.script[0] = parted((" second", 0.0, 8.2, 20), (" third", 9.0, 12.0, 20), (" fourth", 13.0, 20.0, 20))
    model.heard_at[0] = [evenly((5.0, 8.0)), evenly((9.0, 12.0)), evenly((13.0, 19.5))]
    history = History()
    scheduler = ResumingScheduler([model], DecodingOptions(language="en"), 1, history=history)
    list(scheduler.run([region(0, 20, speech=SPOKEN), region(30, 40, speech=[(30.5, 39.5)])]))
    told = tuple(range(20)) * 3
    assert [one.previous_tokens for one in model.options] == [(), (), told]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(0.0, 30.0), max_size=6), min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0.3, 6.0), st.floats(0.25, 2.0)), min_size=1, max_size=8),
    st.sampled_from([None, 3.0, 10.0, 29.0]),
)
def test_whatever_the_places_say_decoding_ends_and_texts_are_in_order(
    places: list[list[float]], lengths: list[tuple[float, float]], resume: float | None
) -> None:
    class Erratic(Placing):
        def hypothesis(self, window: Audio) -> Hypothesis:
            step = window.duration / len(places)
            return parted(*((" x", n * step, (n + 1) * step, 5) for n in range(len(places))), resume=resume)

        def token_places(self, encoded: Any, hypotheses: Any, options: Any) -> Any:
            return [None if one is None else [tuple(own) for own in places] for one in hypotheses]

    speech, time = [], 0.2
    for length, pause in lengths:
        speech.append((time, time + length))
        time += length + pause
    model = Erratic()
    segments = run(model, [region(0, time, speech=speech)])
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    assert all(0.0 <= s.start <= s.end <= time + 1e-6 for s in segments)
    assert sum(map(len, model.batches)) <= 8 * time


@pytest.mark.parametrize(
    ("speech", "following"),
    [([(0.1, 2.0), (2.5, 19.0)], 2.5), ([(0.1, 19.0)], 5.0)],
    ids=["to the next word after a pause", "not far"],
)
def test_behind_a_window_that_brings_nothing_on_decoding_goes_on(
    speech: list[tuple[float, float]], following: float
) -> None:
    model = Recorder()
    model.script[0] = said(" stuck", 0.0, 0.1, resume=0.1)
    segments = run(model, [region(0, 20, speech=speech)])
    assert [(s.start, s.end) for s in segments] == [(0, 0.1), (following, 20)]


def test_what_was_passed_over_at_the_very_beginning_costs_no_other_segment() -> None:
    """Hearing it again would begin at the same place: the later segments are kept."""
    model = Recorder()
    two = (Segment(0, None, 0.0, 0.4, " first"), Segment(1, None, 9.0, 20.0, " second"))
    model.script[0] = Hypothesis("", (), two)
    segments = run(model, [region(0, 20, speech=[(0.1, 4.0), (9, 19)])])
    assert [s.text for s in segments] == [" first", " second"]


def test_times_stay_inside_the_window() -> None:
    model = Recorder()
    model.script[5] = said(" long", 0.0, 30.0)
    (segment,) = run(model, [region(5, 12)])
    assert (segment.start, segment.end) == (5, 12)


def test_the_tape_forgets_and_says_so() -> None:
    tape = Tape()
    for start in range(0, 100, 10):
        tape.append(region(start, start + 10).samples)
    tape.forget_before(42.5)
    assert tape.cut(42.5, 43.0)[0] == pytest.approx(0.0425)
    assert tape.cut(55.0, 71.0).shape == (16 * RATE,)
    assert tape.cut(99.0, 100.0)[-1] == pytest.approx(0.1, abs=1e-6)
    with pytest.raises(ValueError, match="forgotten"):
        tape.cut(42.0, 43.0)


def test_without_vad_everything_is_decoded() -> None:
    samples = np.random.default_rng(0).normal(size=RATE * 95).astype(np.float32) * 0.1
    samples[24 * RATE : 25 * RATE] = 0
    reader = RegionReader(np.array_split(samples, 7), vad=False, planner=RegionPlanner(CutOptions()))
    regions = list(reader)
    assert regions[0].region.end == pytest.approx(24.5, abs=0.5)
    assert np.array_equal(np.concatenate([r.samples for r in regions]), samples)
    assert reader.seconds_read == 95


@given(st.lists(st.integers(10, 900), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_endless_speech_is_cut_at_its_least_speech_like_moment(pieces: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.uniform(0.5, 1.0, sum(pieces)).astype(np.float32)
    cutter = SpeechCutter()
    spans = [
        span
        for piece in np.split(probabilities, np.cumsum(pieces)[:-1])
        for span in cutter.feed(piece)
        if cutter.pending_from >= span.end
    ] + cutter.finish()
    chunk = CHUNK / RATE
    assert spans[0].start == 0
    assert spans[-1].end == pytest.approx(len(probabilities) * chunk)
    for before, after in itertools.pairwise(spans):
        assert before.end == after.start
        cut = round(before.end / chunk)
        assert probabilities[cut] == probabilities[max(0, cut - 20) : cut + 20].min()
    assert all(span.duration <= LONGEST_SPAN + 900 * chunk for span in spans)


def test_channels_are_mixed_chosen_or_split() -> None:
    left, right = np.full(RATE * 5, 0.002, np.float32), np.full(RATE * 5, 0.006, np.float32)
    stereo = (np.stack([left, right], axis=1), RATE)
    model = Recorder()

    def texts(channels: int | str) -> list[tuple[str, int | None]]:
        transcript = voxport.transcribe(stereo, model=model, vad=False, channels=channels)
        assert transcript.channel == (None if channels == "mix" else channels)
        return [(segment.text.strip(), segment.channel) for segment in transcript.segments]

    assert texts("mix") == [("4", None)]
    assert texts(0) == [("2", None)]
    assert texts(1) == [("6", None)]
    assert texts("split") == [("2", 0), ("6", 1)]


def test_split_channels_come_out_side_by_side_while_they_are_heard() -> None:
    stereo = np.full((RATE * 600, 2), 0.002, np.float32)
    options = PipelineOptions(vad=False, channels="split", batch_size=1, language="en")
    transcription = Transcription((stereo, RATE), Recorder(), options)
    segments = iter(transcription)
    first = [next(segments) for _ in range(4)]
    assert [segment.channel for segment in first] == [0, 1, 0, 1]
    assert [segment.id for segment in first] == [0, 1, 2, 3]
    assert transcription.position < 100
    following = list(segments)
    starts = [segment.start for segment in (*first, *following)]
    assert starts == sorted(starts)
    assert following[-1].end == pytest.approx(600)


def test_a_part_can_be_kept() -> None:
    samples = np.full(RATE * 200, 0.001, np.float32)
    transcription = Transcription((samples, RATE), Recorder(), PipelineOptions(vad=False, batch_size=1, language="en"))
    segments = iter(transcription)
    first = next(segments)
    segments.close()  # type: ignore[attr-defined] - what an interrupt does
    partial = transcription.result()
    assert partial.segments == (replace(first, id=0),)
    assert partial.language == "en"
    assert {"audio", "vad", "features", "encode", "decode", "total"} <= partial.timings.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"task": "sing"}, "sing"),
        ({"batch_size": 0}, "at least 1"),
        ({"channels": "left"}, "left"),
        ({"channels": -1}, "-1"),
        ({"beams": 5}, "beams"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        voxport.transcribe("nowhere.wav", model=Recorder(), **options)


@pytest.mark.parametrize("model", [None, 5, Path("whisper-base")])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="no model: ") as caught:
        voxport.transcribe("nowhere.wav", model=model, device="cpu")
    assert "voxport.load_model" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="a model's name is text, not "):
        voxport.load_model(model, "cpu")


def test_a_device_that_is_no_text_is_refused() -> None:
    device: Any = 5
    with pytest.raises(UsageError, match="unknown device 5"):
        voxport.transcribe("nowhere.wav", device=device)
    with pytest.raises(UsageError, match="unknown device 5"):
        voxport.load_model("whisper-base", device)


def test_a_language_by_its_name() -> None:
    assert PipelineOptions(language="German").language == "de"


def test_the_model_refuses_what_it_lacks_before_the_audio_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOptionError):
        voxport.transcribe(tmp_path / "absent.wav", model=Recorder(), language="fr")
