"""The yardstick itself: that `ReferenceWhisper` says what transformers says when it is used in the ordinary way."""

from __future__ import annotations

import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from voxport.devices import get_device
from voxport.errors import (
    AudioError,
    DecodingError,
    MissingDependencyError,
    ModelFormatError,
    UnsupportedOptionError,
    UsageError,
)
from voxport.models import ASRModel
from voxport.models.reference import ReferenceEncoded, ReferenceWhisper
from voxport.types import Audio, DecodingOptions
from whisper_pairs import PLAIN, TIMED, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from whisper_pairs import Pair


@pytest.fixture(scope="module")
def english(tiny_pair: Pair) -> ReferenceWhisper:
    return tiny_pair.theirs


@pytest.fixture(scope="module")
def multilingual(base_pair: Pair) -> ReferenceWhisper:
    return base_pair.theirs


@pytest.fixture(scope="module")
def encoded(english: ReferenceWhisper, jfk: Path) -> ReferenceEncoded:
    return english.encode(english.features([read(jfk)]))


def test_fulfils_the_contract(english: ReferenceWhisper) -> None:
    assert isinstance(english, ASRModel)
    assert english.languages == {"en"}
    assert english.supports == {"timestamps", "no_speech"}
    assert english.info.family == "whisper"
    assert english.info.identity == "5680af45000b7c7c0624bd85ce2cdcd7180beda9ecab7142e6c322e68c0c77fc"


def test_multilingual_abilities(multilingual: ReferenceWhisper) -> None:
    assert {"en", "de", "ja", "zh"} <= multilingual.languages
    assert len(multilingual.languages) == 99
    assert {"translate", "language_detection"} <= multilingual.supports


def test_encode_equals_the_full_forward(english: ReferenceWhisper, jfk: Path) -> None:
    features = english.features([read(jfk)])
    prompt = [english.prompt("en", "transcribe", timestamps=False)]
    split = english.logits(english.encode(features), prompt)
    with torch.inference_mode():
        whole = english.model(
            input_features=torch.from_numpy(features.mel), decoder_input_ids=torch.tensor(prompt), use_cache=False
        ).logits
    np.testing.assert_array_equal(split, whole.numpy())


@pytest.mark.parametrize("name", ["english", "multilingual"])
def test_tokens_equal_stock_generate(name: str, request: pytest.FixtureRequest, jfk: Path) -> None:
    """Stock `generate` from features is sound for one window; only its use with a given encoding is not."""
    model: ReferenceWhisper = request.getfixturevalue(name)
    features = model.features([read(jfk)])
    (ours,) = model.decode(model.encode(features), PLAIN)
    published = model.model.generation_config
    model.model.generation_config = model.generation
    try:
        options = {"language": "en", "task": "transcribe"} if model.language_tokens else {}
        stock = model.model.generate(
            torch.from_numpy(features.mel), return_timestamps=False, max_new_tokens=224, **options
        )
    finally:
        model.model.generation_config = published
    stock = [token for token in stock[0].tolist() if token < model.eot]
    assert list(ours.tokens) == stock
    assert "my fellow Americans" in ours.text


def test_tokens_are_the_likeliest_allowed_ones(english: ReferenceWhisper, encoded: ReferenceEncoded) -> None:
    (hypothesis,) = english.decode(encoded, PLAIN)
    prompt = english.prompt("en", "transcribe", timestamps=False)
    logits = english.logits(encoded, [[*prompt, *hypothesis.tokens]])[0, len(prompt) - 1 :]
    logits[:, english.generation.suppress_tokens] = -np.inf
    logits[0, english.generation.begin_suppress_tokens] = -np.inf
    assert logits.argmax(axis=-1).tolist() == [*hypothesis.tokens, english.eot]
    logprobs = torch.from_numpy(logits).log_softmax(dim=-1).amax(dim=-1)
    assert hypothesis.avg_logprob == pytest.approx(logprobs.mean().item(), abs=1e-5)


def test_timestamps(english: ReferenceWhisper, encoded: ReferenceEncoded) -> None:
    (hypothesis,) = english.decode(encoded, TIMED)
    assert hypothesis.tokens[0] == english.timestamp_begin
    assert hypothesis.segments[0].start == 0.0
    assert 9.0 < hypothesis.segments[-1].end <= 11.0
    assert "".join(segment.text for segment in hypothesis.segments) == hypothesis.text
    assert hypothesis.no_speech_prob is not None
    assert hypothesis.no_speech_prob < 0.1


def test_token_limit_is_flagged(english: ReferenceWhisper, encoded: ReferenceEncoded) -> None:
    (whole,) = english.decode(encoded, PLAIN)
    (part,) = english.decode(encoded, DecodingOptions(timestamps=False, max_tokens=5))
    assert part.tokens == whole.tokens[:5]
    assert (part.flags, whole.flags) == (("truncated",), ())


def test_attention_implementations_agree(tiny_en: Path, english: ReferenceWhisper, encoded: ReferenceEncoded) -> None:
    other = ReferenceWhisper(tiny_en, get_device("cpu"), "float32", attention="sdpa")
    assert other.model.config._attn_implementation == "sdpa"
    assert english.model.config._attn_implementation == "eager"
    prompt = [english.prompt("en", "transcribe", timestamps=False)]
    np.testing.assert_allclose(other.logits(encoded, prompt), english.logits(encoded, prompt), atol=1e-3)


def test_half_precision(tiny_en: Path, jfk: Path) -> None:
    model = ReferenceWhisper(tiny_en, get_device("cpu"), "bfloat16")
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.bfloat16}
    (hypothesis,) = model.decode(model.encode(model.features([read(jfk)])), PLAIN)
    assert "my fellow Americans" in hypothesis.text


def test_language_detection_equals_the_published_method(multilingual: ReferenceWhisper, jfk: Path) -> None:
    features = multilingual.features([read(jfk)])
    (probabilities,) = multilingual.detect_language(multilingual.encode(features))
    language = max(probabilities, key=probabilities.__getitem__)
    published = multilingual.model.detect_language(
        input_features=torch.from_numpy(features.mel), generation_config=multilingual.generation
    )
    assert multilingual.language_tokens[language] == published.item()
    assert language == "en"
    assert 0.5 < probabilities["en"] <= 1.0
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_what_a_checkpoint_lacks_is_refused(english: ReferenceWhisper, encoded: ReferenceEncoded) -> None:
    with pytest.raises(UnsupportedOptionError):
        english.detect_language(encoded)
    with pytest.raises(UnsupportedOptionError, match="'de'"):
        english.decode(encoded, DecodingOptions(language="de"))
    with pytest.raises(UnsupportedOptionError, match="'translate'"):
        english.decode(encoded, DecodingOptions(task="translate"))
    with pytest.raises(UsageError):
        english.logits(encoded, [[1, 2], [1]])


@pytest.mark.parametrize("audio", [Audio(np.zeros(480_001, np.float32)), Audio(np.zeros(8_000, np.float32), 8_000)])
def test_windows_that_do_not_fit_are_refused(english: ReferenceWhisper, audio: Audio) -> None:
    with pytest.raises(AudioError) as caught:
        english.features([audio])
    assert caught.value.code == "audio_window"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_an_error(english: ReferenceWhisper, encoded: ReferenceEncoded, value: float) -> None:
    hidden = encoded.hidden.clone()
    hidden[0, 3, 5] = value
    with pytest.raises(DecodingError) as caught:
        english.decode(ReferenceEncoded(hidden, encoded.durations), TIMED)
    assert caught.value.code == "non_finite"


def _absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("version", "words", "hint"),
    [
        (_absent, "transformers", 'pip install "transformers>=4.57", or pip install "voxport[reference]"'),
        (lambda _: "4.56.2", "found 4.56.2", 'pip install "transformers>=4.57"'),
    ],
)
def test_transformers_absent_or_too_old(
    version: Callable[[str], str], words: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingDependencyError, match=words) as caught:
        ReferenceWhisper(tmp_path, get_device("cpu"), "float32")
    assert caught.value.hint == hint


def _copy(source: Path, target: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


NORM = "model.decoder.layers.1.final_layer_norm.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(NORM), NORM),
        (lambda t: t.update({"model.extra.weight": torch.ones(3)}), "model.extra.weight"),
        (lambda t: t.update({NORM: torch.ones(3)}), "shape|size|mismatch"),
    ],
    ids=["missing", "extra", "shape"],
)
def test_weights_that_do_not_fit_are_refused(
    tiny_en: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any], words: str
) -> None:
    """transformers would fill the gap with random numbers and warn."""
    folder = _copy(tiny_en, tmp_path / "model", change)
    with pytest.raises(ModelFormatError, match=words):
        ReferenceWhisper(folder, get_device("cpu"), "float32")


def test_folder_without_weights_is_refused(tiny_en: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_en / "config.json", tmp_path)
    with pytest.raises(ModelFormatError):
        ReferenceWhisper(tmp_path, get_device("cpu"), "float32")


def test_without_generation_config(tiny_en: Path, tmp_path: Path, encoded: ReferenceEncoded) -> None:
    """A fine-tuned folder may have none: the special tokens then come from the tokenizer."""
    folder = _copy(tiny_en, tmp_path / "model", lambda tensors: None)
    (folder / "generation_config.json").unlink(missing_ok=True)
    model = ReferenceWhisper(folder, get_device("cpu"), "float32")
    assert model.no_timestamps == 50_362
    assert "my fellow Americans" in model.decode(encoded, PLAIN)[0].text
