"""Which language the pipeline finds, on a model that says what it is told: averages, batches, replicas, guards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import voxport
from test_pipeline import RATE, Recorder, region, said
from voxport.errors import UnsupportedOptionError, UsageError
from voxport.pipeline import PipelineOptions, Transcription
from voxport.pipeline.history import History
from voxport.pipeline.languages import PER_WINDOW_SECONDS, DetectionOptions, LanguageEvidence, window_language
from voxport.pipeline.resuming import ResumingScheduler
from voxport.types import AUTO_PER_WINDOW, LANGUAGE_DETECTION_SEGMENTS, DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.pipeline.regions import RegionAudio
    from voxport.types import Audio, Hypothesis, Segment

LANGUAGES = ("en", "de", "fr")


class Polyglot(Recorder):
    """`spoken`: which probabilities the window has that begins at so many seconds; English is sure elsewhere.

    Its text names the language that a window was decoded in.
    """

    languages = frozenset(LANGUAGES)

    def __init__(self, spoken: dict[int, dict[str, float]] | None = None) -> None:
        super().__init__()
        self.spoken = spoken or {}
        self.encoded: list[int] = []
        self.asked: list[int] = []

    def check(self, options: DecodingOptions) -> None:
        if not {*options.languages} <= self.languages:
            raise UnsupportedOptionError("no such language")

    def encode(self, features: list[Audio]) -> list[Audio]:
        self.encoded += [_label(window) for window in features]
        return features

    def _probabilities(self, window: Audio) -> dict[str, float]:
        return {"fr": 0.0, "de": 0.0, "en": 1.0, **self.spoken.get(_label(window), {})}

    def detect_language(self, encoded: list[Audio]) -> list[dict[str, float]]:
        self.asked += [_label(window) for window in encoded]
        return [self._probabilities(window) for window in encoded]

    def decode(self, encoded: list[Audio], options: DecodingOptions) -> list[Hypothesis]:
        found = super().decode(encoded, options)
        detected = [self._probabilities(window) for window in encoded]
        if options.window_languages is not None:
            languages: Sequence[str] = options.window_languages
        else:
            languages = [options.language or max(one, key=one.__getitem__) for one in detected]
        asked = options.language is None and options.window_languages is None
        return [
            replace(one, language=language, language_probabilities=among if asked else None)
            for one, language, among in zip(found, languages, detected, strict=True)
        ]


def _label(window: Audio) -> int:
    return round(float(window.samples[0]) * 1000)


def sure(code: str, probability: float = 0.98) -> dict[str, float]:
    """The rest goes to the others alike."""
    rest = (1 - probability) / (len(LANGUAGES) - 1)
    return {one: probability if one == code else rest for one in LANGUAGES}


def regions(*lengths: float) -> list[RegionAudio]:
    ends = np.cumsum(lengths).tolist()
    return [region(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def run(
    model: Recorder | list[Any], parts: Sequence[RegionAudio], batch_size: int = 4, **detection: Any
) -> tuple[ResumingScheduler, list[Segment]]:
    models = model if isinstance(model, list) else [model]
    scheduler = ResumingScheduler(models, DecodingOptions(), batch_size, DetectionOptions(**detection))
    return scheduler, list(scheduler.run(parts))


# One language for all.


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("replicas", [1, 3])
def test_the_first_windows_decide_whatever_the_batches(batch_size: int, replicas: int) -> None:
    """The greeting is English, most of what follows is German; the lengths would put other windows first."""
    spoken = {0: sure("en"), 10: sure("de"), 35: sure("de"), 55: sure("de")}
    spoken |= {start: sure("fr") for start in (60, 90, 100)}  # beyond the first four
    models = [Polyglot(spoken) for _ in range(replicas)]
    scheduler, segments = run(list(models), regions(10, 25, 20, 5, 30, 10, 30), batch_size)
    assert scheduler.language == "de"
    assert {segment.language for segment in segments} == {"de"}
    assert all(options.language == "de" for model in models for options in model.options)
    assert scheduler.evidence.windows == 4
    found = scheduler.evidence.probabilities()
    # By seconds: 10 English ones, 50 German ones.
    assert found["de"] == pytest.approx((10 * 0.01 + 50 * 0.98) / 60)
    assert list(found) == ["de", "en", "fr"]


@pytest.mark.parametrize(("asked", "language"), [(1, "en"), (2, "de"), (3, "de"), (7, "fr")])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_as_many_windows_as_wanted_are_asked(asked: int, language: str, batch_size: int) -> None:
    spoken = {0: sure("en"), 10: sure("de"), 30: sure("en"), 35: sure("fr"), 65: sure("fr"), 95: sure("fr")}
    scheduler, _ = run(Polyglot(spoken), regions(10, 20, 5, 30, 30, 30, 1), batch_size, segments=asked)
    assert (scheduler.language, scheduler.evidence.windows) == (language, asked)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_nothing_is_encoded_twice(batch_size: int, count: int) -> None:
    model = Polyglot()
    _, segments = run(model, regions(*[20.0] * count), batch_size)
    assert sorted(model.encoded) == [20 * number for number in range(count)]
    assert [segment.text for segment in segments] == [f" {20 * number}" for number in range(count)]
    assert all(len(batch) <= batch_size for batch in model.batches)


def test_a_single_window_is_asked_as_it_is_decoded() -> None:
    model = Polyglot({0: sure("fr", 0.8)})
    scheduler, (segment,) = run(model, regions(12))
    assert model.asked == []
    assert (scheduler.language, segment.language) == ("fr", "fr")
    assert scheduler.evidence.probabilities()["fr"] == pytest.approx(0.8)


def test_the_rest_of_a_single_region_keeps_its_language() -> None:
    model = Polyglot({0: sure("fr"), 9: sure("de")})
    model.script[0] = said(" first", 0.0, 9.0, resume=9.0)
    scheduler, segments = run(model, regions(20))
    assert [(segment.text, segment.language) for segment in segments] == [(" first", "fr"), (" 9", "fr")]
    assert scheduler.evidence.windows == 1


def test_a_language_that_is_given_is_not_detected() -> None:
    model = Polyglot({0: sure("fr")})
    scheduler = ResumingScheduler([model], DecodingOptions(language="de"), 4)
    segments = list(scheduler.run(regions(10, 10)))
    assert {segment.language for segment in segments} == {"de"}
    assert (model.asked, scheduler.evidence.windows) == ([], 0)


def test_the_first_batches_are_decoded_by_the_replica_that_encoded_them() -> None:
    first, second = Polyglot(), Polyglot()
    run([first, second], regions(*[20.0] * 12), 2)
    for model in (first, second):
        assert sorted(model.encoded) == sorted(model.heard)
    assert {0, 20, 40, 60} <= {*first.encoded}


@pytest.mark.parametrize("per_window", [False, True])
def test_what_was_said_before_is_told_in_order(per_window: bool) -> None:
    """The rest of a region comes before the next region, though that one is encoded already."""
    model = Polyglot()
    model.script[20] = said(" first", 0.0, 9.0, resume=9.0)
    detection = DetectionOptions(per_window=per_window)
    scheduler = ResumingScheduler([model], DecodingOptions(), 1, detection, History())
    list(scheduler.run(regions(20, 20, 20, 20, 20, 20)))
    assert model.heard == [0, 20, 29, 40, 60, 80, 100]
    assert sorted(model.encoded) == model.heard


# Each window in its own.


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LANGUAGES), st.integers(1, 30)), min_size=1, max_size=14),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_each_window_has_its_own(heard: list[tuple[str, int]], batch_size: int, replicas: int) -> None:
    parts = regions(*[float(length) for _, length in heard])
    spoken = {round(part.region.start): sure(code) for part, (code, _) in zip(parts, heard, strict=True)}
    scheduler, segments = run([Polyglot(spoken) for _ in range(replicas)], parts, batch_size, per_window=True)
    assert [segment.language for segment in segments] == [code for code, _ in heard]
    assert scheduler.evidence.windows == len(heard)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_window_that_is_not_certain_is_decoded_in_the_language_of_the_beginning(batch_size: int) -> None:
    spoken = {0: sure("de"), 20: sure("de"), 40: sure("fr", 0.45), 60: sure("fr"), 80: sure("en", 0.4), 100: sure("en")}
    _, segments = run(Polyglot(spoken), regions(*[20.0] * 6), batch_size, per_window=True)
    assert [segment.language for segment in segments] == ["de", "de", "de", "fr", "de", "en"]


def test_the_rest_of_a_region_that_is_not_certain_keeps_its_language() -> None:
    model = Polyglot({0: sure("de"), 25: sure("fr"), 34: sure("en", 0.4)})
    model.script[25] = said(" first", 0.0, 9.0, resume=9.0)
    _, segments = run(model, regions(25, 20), per_window=True)
    assert [segment.language for segment in segments] == ["de", "fr", "fr"]


def test_the_only_window_is_decoded_in_its_likeliest_language() -> None:
    _, (segment,) = run(Polyglot({0: sure("fr", 0.4)}), regions(10), per_window=True)
    assert segment.language == "fr"


@pytest.mark.parametrize(
    ("probability", "before", "language"),
    [(0.51, "de", "fr"), (0.49, "de", "de"), (0.49, None, "fr"), (0.49, "fr", "fr")],
)
def test_the_guard(probability: float, before: str | None, language: str) -> None:
    assert window_language(sure("fr", probability), before) == language


# What comes out of it.


def recording(*seconds_per_part: float) -> tuple[np.ndarray, int]:
    """Silence that tells its time, so that `Polyglot` knows where it is; cut every 30 s without VAD."""
    samples = (np.arange(round(sum(seconds_per_part) * RATE)) / RATE / 1000).astype(np.float32)
    return samples, RATE


class ByTime(Polyglot):
    """English up to second 50, German after it, in windows of whatever length."""

    def _probabilities(self, window: Audio) -> dict[str, float]:
        return sure("en" if _label(window) < 50 else "de", 0.9)


def test_the_transcript_tells_the_language_and_how_probable() -> None:
    transcript = voxport.transcribe(recording(40), model=ByTime(), vad=False)
    assert transcript.language == "en"
    assert transcript.language_probability == pytest.approx(0.9)
    assert transcript.language_probabilities == pytest.approx({"en": 0.9, "fr": 0.05, "de": 0.05})
    assert next(iter(transcript.to_dict()["language_probabilities"])) == "en"


def test_a_given_language_has_no_probability() -> None:
    transcript = voxport.transcribe(recording(40), model=ByTime(), vad=False, language="German")
    assert transcript.language == "de"
    assert (transcript.language_probability, transcript.language_probabilities) == (None, None)
    assert {segment.language for segment in transcript.segments} == {"de"}


@pytest.mark.parametrize("batch_size", [1, 8])
def test_per_window_the_transcript_names_the_language_of_most_seconds(batch_size: int) -> None:
    options = {"vad": False, "language": AUTO_PER_WINDOW, "batch_size": batch_size}
    transcript = voxport.transcribe(recording(240), model=ByTime(), **options)
    assert transcript.segments[0].language == "en"
    assert transcript.segments[-1].language == "de"
    assert transcript.language == "de"
    found = transcript.language_probabilities
    assert found is not None
    german = sum(one.end - one.start for one in transcript.segments if one.language == "de") / 240
    assert found["de"] == pytest.approx(0.9 * german + 0.05 * (1 - german), abs=1e-3)
    assert transcript.language_probability == found["de"]


def test_what_is_spoken_most_need_not_be_what_is_most_probable() -> None:
    class Doubtful(Polyglot):
        def _probabilities(self, window: Audio) -> dict[str, float]:
            return sure("en", 1.0) if _label(window) < 5 else {"de": 0.55, "en": 0.45, "fr": 0.0}

    transcript = voxport.transcribe(recording(50), model=Doubtful(), vad=False, language=AUTO_PER_WINDOW)
    assert transcript.language == "de"
    assert transcript.language_probabilities is not None
    assert next(iter(transcript.language_probabilities)) == "en"
    assert transcript.language_probability == transcript.language_probabilities["de"] < 0.45


def test_per_window_windows_are_shorter() -> None:
    """Long ones more often hold two languages."""
    model = ByTime()
    voxport.transcribe(recording(240), model=model, vad=False, language=AUTO_PER_WINDOW)
    assert max(length for batch in model.batches for length in batch) <= PER_WINDOW_SECONDS
    model = ByTime()
    voxport.transcribe(recording(240), model=model, vad=False)
    assert max(length for batch in model.batches for length in batch) > PER_WINDOW_SECONDS


def test_channels_that_are_split_have_each_a_language() -> None:
    quiet = np.full(RATE * 30, 0.001, np.float32)
    stereo = (np.stack([quiet, quiet * 2], axis=1), RATE)
    model = Polyglot({1: sure("en"), 2: sure("fr")})
    transcript = voxport.transcribe(stereo, model=model, vad=False, channels="split")
    assert [(one.channel, one.language) for one in transcript.segments] == [(0, "en"), (1, "fr")]
    found = transcript.language_probabilities
    assert found is not None
    assert found["en"] == found["fr"] == pytest.approx((0.98 + 0.01) / 2)


def test_the_language_is_known_before_the_first_segment_comes() -> None:
    options = PipelineOptions(vad=False, batch_size=1, language_detection_segments=2)
    transcription = Transcription(recording(300), ByTime(), options)
    assert transcription.detected is None
    next(iter(transcription))
    assert transcription.detected is not None
    assert transcription.detected.windows == 2
    assert transcription.detected.language() == "en"


def test_without_speech_there_is_no_language() -> None:
    transcript = voxport.transcribe((np.zeros(RATE * 5, np.float32), RATE), model=ByTime())
    assert (transcript.language, transcript.language_probability, transcript.language_probabilities) == (None,) * 3


def test_a_transcript_tells_the_likeliest_five() -> None:
    class Many(Polyglot):
        def _probabilities(self, window: Audio) -> dict[str, float]:
            return {f"l{number}": number / 45 for number in range(10)}

    transcript = voxport.transcribe(recording(10), model=Many(), vad=False)
    assert transcript.language_probabilities is not None
    assert list(transcript.language_probabilities) == ["l9", "l8", "l7", "l6", "l5"]


def test_evidence_of_windows_without_measured_speech_counts_a_little() -> None:
    evidence = LanguageEvidence()
    evidence.add({"en": 1.0}, 0.0)
    assert evidence.probabilities() == {"en": 1.0}
    evidence.add({"de": 1.0}, 10.0)
    assert evidence.language() == "de"


# What is refused, and what is said.


def test_auto_is_the_default() -> None:
    assert PipelineOptions(language="auto") == PipelineOptions()
    assert PipelineOptions().language_detection_segments == LANGUAGE_DETECTION_SEGMENTS


@pytest.mark.parametrize(
    ("given", "meant"),
    [("auto_per_window", "auto-per-window"), ("Auto-per-Window", "auto-per-window"), ("AUTO", "auto")],
)
def test_what_is_no_language_but_nearly_a_way_to_detect_it(given: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"unknown language '{given}'") as caught:
        PipelineOptions(language=given)
    assert (caught.value.hint or "").rstrip("?").split()[:4] == ["did", "you", "mean", meant]


def test_no_windows_to_detect_in_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least 1 window"):
        PipelineOptions(language_detection_segments=0)


def test_a_model_of_one_language_has_none_to_detect_in_each_window() -> None:
    class Monoglot(Recorder):
        languages = frozenset({"en"})
        supports = frozenset({"timestamps"})

    with pytest.raises(UnsupportedOptionError, match="detects no language") as caught:
        voxport.transcribe("nowhere.wav", model=Monoglot(), language=AUTO_PER_WINDOW)
    assert caught.value.hint is not None
    assert "whisper-base" in caught.value.hint


@pytest.mark.parametrize(("name", "warned"), [("whisper-large-v3-turbo", True), ("whisper-large-v3", False)])
def test_turbo_warns_of_translations(name: str, warned: bool) -> None:
    model = Polyglot()
    model.name = name
    audio = recording(5)
    warnings = Transcription(audio, model, PipelineOptions(task="translate")).warnings
    assert [f"{name} was not trained to translate" in text for text in warnings] == [True] * warned
    assert Transcription(audio, model, PipelineOptions()).warnings == []
