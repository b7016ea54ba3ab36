"""Long recordings through a model that joins windows: the words are those of the recording in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from lasr_folders import small_folder
from voxport.devices import get_device
from voxport.errors import UnsupportedOptionError
from voxport.models.lasr import LasrModel
from voxport.pipeline import PipelineOptions, Transcription
from voxport.types import Audio, DecodingOptions, Transcript
from voxport.windows import OverlapOptions, OverlapPlanner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

RATE = 16_000
LEVELS = 40
"""Loudnesses that are told apart, each a token of its own."""


def listening(mel: Tensor, lengths: Sequence[int] | None = None, watch: Any = None) -> Tensor:
    """A network that hears loudness: the token of a frame depends on its middle mel frame alone, silence is blank."""
    middle = mel[:, 6::4, :].mean(dim=2)
    frames = max(0, ((mel.shape[1] - 5) // 2 + 1 - 5) // 2 + 1)
    tokens = ((middle + 11.0) * 3).clamp(0, LEVELS).long()[:, :frames]
    return torch.nn.functional.one_hot(torch.where(tokens > 0, tokens + 4, 0), 160).float() * 9


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LasrModel:
    folder = small_folder(tmp_path_factory.mktemp("small") / "model", max_positions=10_000)
    model = LasrModel.from_folder(folder, get_device("cpu"), "float32")
    model.net.forward = listening  # type: ignore[method-assign,assignment]
    return model


def syllables(seconds: float, seed: int, pauses: float) -> Audio:
    """Bursts of noise of different loudness, 0.1 to 0.4 s each, a share of them silent."""
    random = np.random.default_rng(seed)
    bursts: list[np.ndarray] = []
    total = 0
    while total < seconds * RATE:
        count = int(random.integers(RATE // 10, RATE * 4 // 10))
        loudness = 0.0 if random.random() < pauses else 10 ** random.uniform(-3, -0.5)
        bursts.append(loudness * random.standard_normal(count))
        total += count
    return Audio(np.concatenate(bursts)[: round(seconds * RATE)].astype(np.float32))


def transcribe(audio: Audio, model: LasrModel, **options: Any) -> Transcript:
    transcription = Transcription(audio, model, PipelineOptions(**options))
    for _ in transcription:
        pass
    return transcription.result()


def tokens(transcript: Transcript) -> list[int]:
    return [token for segment in transcript.segments for token in segment.tokens]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_size", [1, 3])
def test_in_windows_as_in_one_piece(model: LasrModel, seed: int, batch_size: int) -> None:
    """Every token, every time, every probability: a minute and a half without pauses, cut in six."""
    audio = syllables(95 + seed, seed, pauses=0.1)
    (whole,) = model.decode(model.encode(model.features([audio])), DecodingOptions())
    found = transcribe(audio, model, vad=False, batch_size=batch_size)
    assert len(whole.tokens) > 150
    assert tokens(found) == list(whole.tokens)
    assert found.text == whole.text.strip()
    for ours, theirs in zip(found.segments, whole.segments, strict=True):
        assert (ours.start, ours.end) == pytest.approx((theirs.start, theirs.end))
        assert np.asarray(ours.token_times) == pytest.approx(np.asarray(theirs.token_times))
        assert ours.token_probabilities == pytest.approx(theirs.token_probabilities)
    assert [segment.id for segment in found.segments] == list(range(len(found.segments)))
    assert found.words == tuple(word for segment in found.segments for word in segment.words or ())


def test_times_are_those_of_the_recording(model: LasrModel) -> None:
    """One burst at a known place in each window."""
    samples = np.zeros(100 * RATE, np.float32)
    random = np.random.default_rng(5)
    places = [3.0, 17.2, 34.5, 61.0, 98.0]
    for place in places:
        first = round(place * RATE)
        samples[first : first + RATE // 4] = 0.2 * random.standard_normal(RATE // 4)
    found = transcribe(Audio(samples), model, vad=False)
    times = [pair for segment in found.segments for pair in segment.token_times or ()]
    for place in places:
        inside = [(start, end) for start, end in times if place - 0.1 <= start <= place + 0.4]
        assert min(start for start, _ in inside) == pytest.approx(place, abs=0.06)
        assert max(end for _, end in inside) == pytest.approx(place + 0.25, abs=0.06)
    assert all(any(place - 0.1 <= start <= place + 0.4 for place in places) for start, _ in times)


def test_windows_are_at_most_as_long_as_recommended(model: LasrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[float] = []
    features = model.features

    def spied(windows: Sequence[Audio]) -> Any:
        lengths.extend(window.duration for window in windows)
        return features(windows)

    monkeypatch.setattr(model, "features", spied)
    transcribe(syllables(130, 1, pauses=0.2), model, vad=False)
    assert max(lengths) <= 20.0 + 1e-9
    assert sum(lengths) < 130 * 1.4  # what the overlaps cost


def test_silence_between_is_not_heard(model: LasrModel, jfk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With voice activity detection: the same words once more a minute later, at their time."""
    import soundfile

    samples, _ = soundfile.read(jfk, dtype="float32")
    once = transcribe(Audio(samples), model)
    twice = transcribe(Audio(np.concatenate([samples, np.zeros(60 * RATE, np.float32), samples])), model)
    assert once.segments
    assert [segment.start for segment in twice.segments if segment.start < 30] == pytest.approx(
        [segment.start for segment in once.segments], abs=0.2
    )
    later = [segment.start - 60 - len(samples) / RATE for segment in twice.segments if segment.start > 30]
    assert later == pytest.approx([segment.start for segment in once.segments], abs=0.2)


@pytest.mark.parametrize(("samples", "warned"), [(1, True), (300, True), (2_319, True), (2_320, False)])
def test_what_is_too_short_for_words_is_said(model: LasrModel, samples: int, warned: bool) -> None:
    transcription = Transcription(Audio(np.full(samples, 0.1, np.float32)), model, PipelineOptions(vad=False))
    assert [segment.text for segment in transcription] == ([] if warned else [" ."]) or not warned
    assert bool(transcription.warnings) == warned
    if warned:
        assert "hears no words in less than 0.145 s" in transcription.warnings[0]
    assert transcription.result().language == "en"


def test_options_that_it_lacks_are_refused_at_once(model: LasrModel) -> None:
    with pytest.raises(UnsupportedOptionError, match="knows English only"):
        Transcription(syllables(1, 0, 0), model, PipelineOptions(language="de"))


# Reports ----------------------------------------------------------------------------------------------------------


class Dictating:
    """A joiner that says given segments."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)

    def feed(self, path: Any, start: float, seam: float | None) -> list[Any]:
        from voxport.types import Segment

        texts, self._texts = self._texts, []
        return [Segment(0, None, float(n), n + 0.9, text, words=()) for n, text in enumerate(texts)]

    def finish(self) -> list[Any]:
        return []


TEXTS = (
    " [FINDINGS] {colon} lungs are clear {period}",
    " no effusion {period} {new paragraph}",
    " [IMPRESSION] normal {macro",
)
REPORT = "FINDINGS: Lungs are clear. No effusion.\n\nIMPRESSION: Normal {macro"


def test_a_report_beside_the_raw_text(model: LasrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "joiner", lambda: Dictating(TEXTS))
    audio = syllables(3, 0, 0)
    found = transcribe(audio, model, vad=False, format_dictation=True)
    assert found.text == "".join(TEXTS).strip()
    assert found.formatted_text == REPORT
    assert "".join(segment.formatted_text or "" for segment in found.segments) == REPORT
    assert [segment.text for segment in found.segments] == list(TEXTS)
    raw = transcribe(audio, model, vad=False)
    assert raw.formatted_text is None
    assert all(segment.formatted_text is None for segment in raw.segments)


def test_a_model_without_marks_has_no_reports(model: LasrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "supports", frozenset({"timestamps"}))
    with pytest.raises(UnsupportedOptionError, match="writes no dictation marks"):
        Transcription(syllables(1, 0, 0), model, PipelineOptions(format_dictation=True))


def test_the_planner_is_the_models(model: LasrModel) -> None:
    from voxport.pipeline.transcription import _planner

    planner = _planner(model, PipelineOptions())
    assert isinstance(planner, OverlapPlanner)
    assert planner._options == OverlapOptions(window=20.0, context=2.0, grid=0.04)
