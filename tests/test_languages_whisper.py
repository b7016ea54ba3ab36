"""Languages with the genuine whisper-base: speech in several of them, in batches, on replicas, on a simulated NPU."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import voxport
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.cli import main
from voxport.errors import UnsupportedOptionError
from voxport.pipeline import PipelineOptions, Transcription
from voxport.types import AUTO_PER_WINDOW, Audio, DecodingOptions, Transcript
from whisper_pairs import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxport.models.whisper.model import WhisperModel

RATE = 16_000
MIXED = ("pv-es", "ds-ru", "cv-ja-24511055", "jfk", "aishell-BAC009S0724W0121")
SPOKEN = ["es", "ru", "ja", "en", "zh"]
SILENCE = 9.0
"""Longer than a window bridges (`CutOptions.max_pause`): each clip is a window of its own."""


@pytest.fixture(scope="module")
def model(base: Path) -> WhisperModel:
    found: Any = voxport.load_model(str(base), "cpu")
    return found


@pytest.fixture(scope="module")
def mixed(shared_data: Path) -> Audio:
    """Clips in five languages, far enough apart to be windows of their own."""
    pieces = [piece for name in MIXED for piece in (_clip(shared_data, name), _silence(SILENCE))]
    return Audio(np.concatenate(pieces))


@pytest.fixture(scope="module")
def per_window(model: WhisperModel, mixed: Audio) -> Transcript:
    return voxport.transcribe(mixed, model=model, language=AUTO_PER_WINDOW, batch_size=1)


def _clip(folder: Path, name: str) -> np.ndarray:
    return read(folder / f"audio/{name}.flac").samples


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def told(transcript: Transcript) -> list[tuple[Any, ...]]:
    return [(one.language, one.text, one.start, one.end, one.tokens) for one in transcript.segments]


def test_each_window_is_decoded_in_its_language(per_window: Transcript) -> None:
    languages = [one.language for one in per_window.segments]
    assert list(dict.fromkeys(languages)) == SPOKEN
    text = {code: "".join(one.text for one in per_window.segments if one.language == code) for code in SPOKEN}
    assert "my fellow Americans" in text["en"]
    assert any("а" <= letter <= "я" for letter in text["ru"].lower())
    assert any("\u3040" <= letter <= "\u30ff" for letter in text["ja"])  # kana
    assert any("\u4e00" <= letter <= "\u9fff" for letter in text["zh"])
    assert per_window.language == "en"  # 11 s, the longest clip
    assert per_window.language_probabilities is not None
    assert per_window.language_probability == per_window.language_probabilities["en"]


@pytest.mark.parametrize("batch_size", [pytest.param(2, marks=pytest.mark.full), 8])
def test_batches_change_nothing(model: WhisperModel, mixed: Audio, per_window: Transcript, batch_size: int) -> None:
    found = voxport.transcribe(mixed, model=model, language=AUTO_PER_WINDOW, batch_size=batch_size)
    assert told(found) == told(per_window)
    assert found.language_probabilities == pytest.approx(per_window.language_probabilities, abs=1e-4)


def test_one_language_for_all_is_that_of_the_first_windows(model: WhisperModel, mixed: Audio) -> None:
    """Of the first four windows: 11 s English, 9 s Spanish, the others shorter."""
    found = voxport.transcribe(mixed, model=model)
    assert {one.language for one in found.segments} == {"en"}
    assert found.language == "en"
    assert found.language_probabilities is not None
    assert list(found.language_probabilities)[:2] == ["en", "es"]
    assert found.language_probability == found.language_probabilities["en"] < 0.5


def test_the_first_window_alone_would_say_another(model: WhisperModel, mixed: Audio) -> None:
    transcription = Transcription(mixed, model, PipelineOptions(language_detection_segments=1, batch_size=1))
    assert next(iter(transcription)).language == "es"
    assert transcription.detected is not None
    assert transcription.detected.probabilities()["es"] > 0.9


def test_a_short_recording_is_one_window(model: WhisperModel, shared_data: Path, monkeypatch: Any) -> None:
    """Nothing is computed twice: neither the encoding, nor what the decoder makes of it."""
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda features: calls.append(len(features.durations)) or encode(features))
    monkeypatch.setattr(model, "detect_language", None)
    found = voxport.transcribe(str(shared_data / "audio/ds-ru.flac"), model=model)
    assert calls == [1]
    assert found.language == "ru"
    assert found.language_probability is not None
    assert found.language_probability > 0.9


def test_translations_stay_in_the_spoken_languages(model: WhisperModel, mixed: Audio) -> None:
    found = voxport.transcribe(mixed, model=model, language=AUTO_PER_WINDOW, task="translate")
    assert list(dict.fromkeys(one.language for one in found.segments)) == SPOKEN
    foreign = "".join(one.text for one in found.segments if one.language in ("ru", "ja", "zh"))
    assert foreign.isascii()
    assert len(foreign.split()) > 8


def test_rows_of_a_batch_have_languages_of_their_own(model: WhisperModel, shared_data: Path) -> None:
    audio = [read(shared_data / f"audio/{name}.flac") for name in ("jfk", "ds-ru")]
    encoded = model.encode(model.features(audio))
    together = model.decode(encoded, DecodingOptions(window_languages=("en", "ru")))
    for row, (one, language) in enumerate(zip(together, ("en", "ru"), strict=True)):
        (alone,) = model.decode(encoded.select([row]), DecodingOptions(language=language))
        assert (one.language, one.tokens) == (language, alone.tokens)
        assert one.language_probabilities is None
    with pytest.raises(UnsupportedOptionError, match="'tlh'"):
        model.decode(encoded, DecodingOptions(window_languages=("en", "tlh")))


def test_a_language_without_a_token_is_refused(model: WhisperModel) -> None:
    """The 100th came with large-v3."""
    with pytest.raises(UnsupportedOptionError, match="does not know the language 'yue'") as caught:
        voxport.transcribe("nowhere.wav", model=model, language="cantonese")
    assert "large-v3" in str(caught.value.hint)


def test_the_command_line_tells_them(
    base: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(shared_data / "audio/ds-ru.flac")
    assert main(["transcribe", "--json", "--model", str(base), "--device", "cpu", recording]) == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["language"] == value["segments"][0]["language"] == "ru"
    assert f"language: Russian ({100 * value['language_probability']:.0f} %, from 1 window)\n" in err


# On a simulated NPU.


@pytest.fixture
def _simulated() -> Iterator[None]:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        yield


@pytest.mark.usefixtures("_simulated")
def test_on_simulated_npus(base: Path, mixed: Audio, per_window: Transcript) -> None:
    """Two replicas, each with windows in several languages; the words are the CPU's."""
    found = voxport.transcribe(
        mixed, model=str(base), device="npu:0,1", dtype="float32", language=AUTO_PER_WINDOW, batch_size=2
    )
    assert found.device == "npu:0, npu:1"
    assert [row[:3] for row in told(found)] == [row[:3] for row in told(per_window)]
    assert found.language_probabilities == pytest.approx(per_window.language_probabilities, abs=1e-3)
