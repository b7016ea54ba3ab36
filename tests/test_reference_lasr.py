"""The yardstick itself: that `ReferenceLasr` says what transformers says when it is used in the ordinary way."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

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
from voxport.models import reference as references
from voxport.models.reference import ReferenceLasr, ReferenceLasrEncoded, ReferenceLasrFeatures, load_reference
from voxport.types import Audio, DecodingOptions, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# The published convolution has an even kernel, and torch says that it may have to copy its input.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")

PIECES = ["<epsilon>", "<s>", "</s>", "<unk>", "▁", "▁the", "▁pa", "s", "▁t", "e", "{period}", "▁no"]
BLANK, END, THE, PA, S, PERIOD = 0, 2, 5, 6, 7, 10
SPECIAL = {"eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>", "pad_token": "<epsilon>", "extra_ids": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny published folder with random weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LasrCTCConfig, LasrFeatureExtractor, LasrForCTC

    folder = tmp_path_factory.mktemp("published") / "tiny-lasr"
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "subsampling_conv_channels": 16,
    }
    torch.manual_seed(0)
    config = LasrCTCConfig(
        vocab_size=len(PIECES), pad_token_id=BLANK, encoder_config=encoder, voxport_random_weights=True
    )
    model = LasrForCTC(config)
    with torch.no_grad():
        model.ctc_head.weight *= 10  # or all frames say nearly the same
    model.save_pretrained(folder)
    LasrFeatureExtractor().save_pretrained(folder)
    tokenizer = Tokenizer(models.Unigram([(piece, 0.0) for piece in PIECES], unk_id=3, byte_fallback=False))
    metaspace = {"replacement": "▁", "prepend_scheme": "always", "split": True}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.save(str(folder / "tokenizer.json"))
    _configure_tokenizer(folder, SPECIAL)
    return folder


def _configure_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LasrTokenizer", **config}))


def _load(folder: Path, dtype: str = "float32", **options: Any) -> ReferenceLasr:
    model = load_reference(folder, get_device("cpu"), dtype, **options)
    assert isinstance(model, ReferenceLasr)
    return model


@pytest.fixture(scope="module")
def model(folder: Path) -> ReferenceLasr:
    return _load(folder)


def _noise(samples: int, seed: int = 0) -> Audio:
    return Audio(np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32))


@pytest.fixture(scope="module")
def windows() -> list[Audio]:
    return [_noise(samples, seed) for seed, samples in enumerate((16_000, 40_000, 23_456, 8_000))]


def _said(rows: Sequence[Sequence[int]], frames: Sequence[int] | None = None) -> ReferenceLasrEncoded:
    """An encoding whose likeliest tokens are `rows`; the frames of 40 ms are all valid unless told."""
    logits = torch.nn.functional.one_hot(torch.tensor(rows), len(PIECES)).float()
    counts = tuple(frames or [len(row) for row in rows])
    return ReferenceLasrEncoded(logits, counts, tuple(0.04 * count for count in counts))


def test_fulfils_the_contract(model: ReferenceLasr, folder: Path) -> None:
    assert isinstance(model, ASRModel)
    assert model.languages == {"en"}
    assert model.supports == {"timestamps"}
    assert (model.sample_rate, model.max_seconds) == (16_000, 400.0)
    assert (model.window_seconds, model.context_seconds) == (20.0, 2.0)
    assert (model.name, model.info.name, model.info.family) == ("tiny-lasr", "tiny-lasr", "lasr_ctc")
    assert model.info.random_weights
    assert model.info.path == str(folder)
    assert _load(folder, name="medasr").info.name == "medasr"


def test_features_equal_the_published_ones(model: ReferenceLasr, folder: Path, windows: list[Audio]) -> None:
    from transformers import LasrFeatureExtractor

    ours = model.features(windows)
    published = LasrFeatureExtractor.from_pretrained(folder)(
        [window.samples for window in windows],
        sampling_rate=16_000,
        padding="longest",
        return_attention_mask=True,
        return_tensors="pt",
    )
    assert ours.mel.dtype == np.float32
    assert ours.mel.shape == (4, 248, 128)
    np.testing.assert_array_equal(ours.mel, published.input_features.numpy())
    assert ours.frames == (98, 248, 145, 48) == tuple(published.attention_mask.sum(-1).tolist())
    assert ours.durations == (1.0, 2.5, 23_456 / 16_000, 0.5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_equal_the_published_ones(attention: str, folder: Path, windows: list[Audio]) -> None:
    from transformers import LasrFeatureExtractor

    model = _load(folder, attention=attention)
    assert model.model.config._attn_implementation == attention
    inputs = LasrFeatureExtractor.from_pretrained(folder)(
        [window.samples for window in windows], sampling_rate=16_000, return_attention_mask=True, return_tensors="pt"
    )
    with torch.inference_mode():
        published = model.model(**inputs).logits
    encoded = model.encode(model.features(windows))
    assert encoded.frames == (22, 59, 34, 9)
    found = model.logits(encoded)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, published.numpy())


def test_text_equals_stock_generate(model: ReferenceLasr, windows: list[Audio]) -> None:
    features = model.features(windows)
    mask = torch.arange(features.mel.shape[1]) < torch.tensor(features.frames)[:, None]
    sequences = model.model.generate(input_features=torch.from_numpy(features.mel), attention_mask=mask)
    found = model.decode(model.encode(features), DecodingOptions())
    assert [hypothesis.text for hypothesis in found] == model.tokenizer.batch_decode(
        sequences, skip_special_tokens=True
    )
    assert len({hypothesis.tokens for hypothesis in found}) > 1


def test_a_batch_equals_its_windows_one_by_one(model: ReferenceLasr, windows: list[Audio]) -> None:
    together = model.encode(model.features(windows))
    logits = model.logits(together)
    for row, window in enumerate(windows):
        alone = model.encode(model.features([window]))
        assert alone.frames == (together.frames[row],) == (alone.logits.shape[1],)
        np.testing.assert_allclose(logits[row, : alone.frames[0]], model.logits(alone)[0], atol=1e-5)


def test_equal_windows_need_no_mask(model: ReferenceLasr, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Any] = []
    forward = model.model.forward

    def spy(**inputs: Any) -> Any:
        masks.append(inputs["attention_mask"])
        return forward(**inputs)

    monkeypatch.setattr(model.model, "forward", spy)
    features = model.features([_noise(16_000, 1), _noise(16_000, 2)])
    plain = model.encode(features)
    assert masks == [None]
    padded = np.pad(features.mel, ((0, 0), (0, 40), (0, 0)))
    longer = model.encode(ReferenceLasrFeatures(padded, features.frames, features.durations))
    assert masks[1].sum(-1).tolist() == [98, 98]
    torch.testing.assert_close(longer.logits[:, :22], plain.logits, atol=1e-5, rtol=0)


def test_half_precision(folder: Path, windows: list[Audio]) -> None:
    model = _load(folder, "bfloat16")
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.bfloat16}
    encoded = model.encode(model.features(windows))
    assert encoded.logits.dtype == torch.float32
    assert len(model.decode(encoded, DecodingOptions())) == len(windows)


# Words ---------------------------------------------------------------------------------------------------------------


def test_frames_become_words(model: ReferenceLasr) -> None:
    row = [BLANK, THE, THE, BLANK, PA, S, S, BLANK, S, PERIOD, PERIOD, BLANK, END]
    (hypothesis,) = model.decode(_said([row]), DecodingOptions(language="en"))
    assert hypothesis.text == "the pass{period}"
    assert hypothesis.tokens == (THE, PA, S, S, PERIOD)
    assert hypothesis.segments == (Segment(0, None, 0.0, 0.04 * 13, "the pass{period}", hypothesis.tokens),)


def test_frames_of_padding_say_nothing(model: ReferenceLasr) -> None:
    rows = [[BLANK, THE, BLANK, PA, S, END], [PA, S, S, THE, THE, PERIOD]]
    first, second = model.decode(_said(rows, frames=[6, 3]), DecodingOptions())
    assert (first.text, second.text) == ("the pas", "pas")
    assert second.tokens == (PA, S)


def test_no_words_no_segment(model: ReferenceLasr) -> None:
    for hypothesis in model.decode(_said([[BLANK] * 4, [END, END, BLANK, BLANK]]), DecodingOptions()):
        assert (hypothesis.text, hypothesis.segments) == ("", ())


@pytest.mark.parametrize("pad", ["<unk>", "</s>", None])
def test_a_tokenizer_with_another_padding_token(pad: str | None, folder: Path, tmp_path: Path) -> None:
    """It would leave its padding token out, and take the blank for text."""
    shutil.copytree(folder, tmp_path / "model")
    config = {key: value for key, value in {**SPECIAL, "pad_token": pad}.items() if value is not None}
    _configure_tokenizer(tmp_path / "model", config)
    model = _load(tmp_path / "model")
    assert model.tokenizer.pad_token_id != BLANK
    row = [BLANK, THE, THE, BLANK, PA, S, S, BLANK, S, PERIOD, END]
    (hypothesis,) = model.decode(_said([row]), DecodingOptions())
    assert hypothesis.text == "the pass{period}"
    assert hypothesis.tokens == (THE, PA, S, S, PERIOD)


# Edges ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [(), (0,), (399, 7)])
def test_windows_without_a_frame(samples: tuple[int, ...], model: ReferenceLasr) -> None:
    features = model.features([_noise(count) for count in samples])
    assert features.mel.shape == (len(samples), 0, 128)
    assert features.mel.dtype == np.float32
    assert features.frames == (0,) * len(samples)
    encoded = model.encode(features)
    assert len(encoded) == len(samples)
    assert model.logits(encoded).shape == (len(samples), 0, len(PIECES))
    assert [hypothesis.text for hypothesis in model.decode(encoded, DecodingOptions())] == [""] * len(samples)


@pytest.mark.parametrize(("samples", "mel", "frames"), [(400, 1, 0), (2_319, 12, 0), (2_320, 13, 1)])
def test_the_shortest_windows(samples: int, mel: int, frames: int, model: ReferenceLasr) -> None:
    features = model.features([_noise(samples)])
    assert (features.mel.shape, features.frames) == ((1, mel, 128), (mel,))
    encoded = model.encode(features)
    assert (encoded.logits.shape, encoded.frames) == ((1, frames, len(PIECES)), (frames,))
    assert len(model.decode(encoded, DecodingOptions())) == 1


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_short_windows_beside_a_long_one(attention: str, folder: Path, windows: list[Audio]) -> None:
    model = _load(folder, attention=attention)
    features = model.features([_noise(0), windows[0], _noise(399), _noise(2_000)])
    assert features.frames == (0, 98, 0, 11)
    encoded = model.encode(features)
    assert encoded.frames == (0, 22, 0, 0)
    hypotheses = model.decode(encoded, DecodingOptions())
    (alone,) = model.decode(model.encode(model.features(windows[:1])), DecodingOptions())
    assert hypotheses[1] == alone
    assert [hypotheses[row].tokens for row in (0, 2, 3)] == [(), (), ()]


@pytest.mark.parametrize(
    "audio",
    [Audio(np.zeros(400 * 16_000 + 1, np.float32)), Audio(np.zeros(8_000, np.float32), 8_000)],
    ids=["length", "rate"],
)
def test_windows_that_do_not_fit_are_refused(model: ReferenceLasr, audio: Audio) -> None:
    with pytest.raises(AudioError) as caught:
        model.features([audio])
    assert caught.value.code == "audio_window"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_an_error(model: ReferenceLasr, value: float) -> None:
    encoded = _said([[THE, PA], [THE, PA]], frames=[2, 1])
    encoded.logits[1, 1, 3] = value  # padding: nobody reads it
    assert [hypothesis.text for hypothesis in model.decode(encoded, DecodingOptions())] == ["the pa", "the"]
    encoded.logits[0, 1, 3] = value
    with pytest.raises(DecodingError) as caught:
        model.decode(encoded, DecodingOptions())
    assert caught.value.code == "non_finite"


@pytest.mark.parametrize(
    "options",
    [DecodingOptions(language="de"), DecodingOptions(task="translate"), DecodingOptions(max_tokens=5)],
    ids=["language", "task", "max_tokens"],
)
def test_what_ctc_lacks_is_refused(model: ReferenceLasr, options: DecodingOptions) -> None:
    with pytest.raises(UnsupportedOptionError):
        model.check(options)
    with pytest.raises(UnsupportedOptionError):
        model.decode(_said([[THE]]), options)


def test_there_is_no_language_to_detect_and_no_token_to_force(model: ReferenceLasr) -> None:
    with pytest.raises(UnsupportedOptionError):
        model.detect_language(_said([[THE]]))
    with pytest.raises(UsageError):
        model.logits(_said([[THE]]), [[THE]])


# Loading -------------------------------------------------------------------------------------------------------------


def _absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("version", "words", "hint"),
    [
        (lambda _: "4.57.1", "needs transformers >= 5.0, found 4.57.1", 'pip install "transformers>=5.0"'),
        (_absent, "transformers", 'pip install "transformers>=5.0", or pip install "voxport[reference]"'),
    ],
    ids=["old", "absent"],
)
def test_transformers_absent_or_too_old(
    version: Callable[[str], str], words: str, hint: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingDependencyError, match=words) as caught:
        load_reference(folder, get_device("cpu"), "float32")
    assert caught.value.hint == hint


@pytest.mark.parametrize("version", ["5.0.0", "5.0rc1", "6.1.dev0"])
def test_new_versions_of_any_spelling(version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    assert _load(folder).info.family == "lasr_ctc"


@pytest.mark.parametrize("text", ['{"model_type": "bert"}', "{}", "[]", "{", None])
def test_unknown_families_are_refused(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFormatError) as caught:
        load_reference(tmp_path, get_device("cpu"), "float32")
    if text == '{"model_type": "bert"}':
        assert "'bert'" in caught.value.message
        assert caught.value.hint == "there are references for: lasr_ctc, whisper"


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_incomplete_folders_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns(name))
    with pytest.raises(ModelFormatError):
        _load(tmp_path / "model")


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_damaged_tokenizer_is_refused(text: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text(text)
    with pytest.raises(ModelFormatError):
        _load(tmp_path / "model")


@pytest.mark.parametrize("name", ["encoder.out_norm.weight", "ctc_head.bias"])
def test_weights_that_do_not_fit_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    """transformers would fill the gap with random numbers and warn."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(name)
    save_file(tensors, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=name):
        _load(tmp_path / "model")


def test_every_public_name_is_there() -> None:
    assert [name for name in references.__all__ if not hasattr(references, name)] == []
    assert not hasattr(references, "nothing")
