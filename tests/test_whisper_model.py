"""Our Whisper against the published implementation on genuine weights: numbers, words, languages, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from voxport.devices.cpu import CPUDevice
from voxport.errors import AudioError, DecodingError, UnsupportedOptionError
from voxport.models import ASRModel
from voxport.types import Audio, DecodingOptions
from whisper_pairs import (
    ENCODER,
    LOGITS,
    PLAIN,
    TIMED,
    Pair,
    assert_numbers_agree,
    assert_tokens_equal,
    noise,
    pieces,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.whisper.model import EncodedWindows

ENOUGH = 40
"""Tokens that hold what is said in `pieces`; some models go on over noise until the limit."""


@pytest.fixture(scope="module", params=["tiny_pair", "base_pair"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> dict[str, Audio]:
    """Every recording of the data that fits a window: stem -> audio."""
    rows = [json.loads(line) for line in (shared_data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        row["file"].rpartition("/")[2].partition(".")[0]: read(shared_data / row["file"])
        for row in rows
        if row["seconds"] <= 30
    }


@pytest.fixture(scope="module")
def encoded_pieces(pair: Pair, jfk: Path) -> EncodedWindows:
    """`whisper_pairs.pieces`, encoded by ours."""
    return pair.ours.encode(pair.ours.features(pieces(jfk)))


# Numbers ----------------------------------------------------------


def test_fulfils_the_contract(pair: Pair) -> None:
    assert isinstance(pair.ours, ASRModel)
    assert pair.ours.languages == pair.theirs.languages
    own = {"word_timestamps", "token_places", "punctuation", "search", "prompt", "hotwords"}
    assert pair.ours.supports == pair.theirs.supports | own
    assert pair.ours.info.identity == pair.theirs.info.identity
    assert pair.ours.info.family == "whisper"


def test_features_equal(pair: Pair, jfk: Path) -> None:
    audio = [read(jfk), noise(30.0), Audio(np.zeros(1_000, np.float32))]
    ours = pair.ours.features(audio)
    assert ours.mel.dtype == np.float32
    assert ours.mel.shape == (3, pair.ours.net.dims.n_mels, 3000)
    assert ours.durations == (11.0, 30.0, 0.0625)
    np.testing.assert_allclose(ours.mel, pair.theirs.features(audio).mel, rtol=0, atol=5e-5)
    padded = np.stack([np.pad(window.samples, (0, 480_000 - len(window.samples))) for window in audio])
    in_numpy = pair.theirs.extractor._np_extract_fbank_features(padded, "cpu")
    np.testing.assert_allclose(ours.mel, in_numpy, rtol=0, atol=1e-5)


def test_encoder_and_logits_agree(pair: Pair, encoded_pieces: EncodedWindows, jfk: Path) -> None:
    assert_numbers_agree(pair, pieces(jfk)[:2], encoded_pieces.select([0, 1]))


def test_step_by_step_equals_all_at_once(base_pair: Pair, base_encoded: EncodedWindows) -> None:
    model, encoded = base_pair.ours, base_encoded
    tokens = [[*model.tokenizer.sot_sequence("en", "transcribe", True), 50_364, 400, 370, 452, 7177]]
    whole = model.logits(encoded, tokens)
    with torch.inference_mode():
        state = model.start(encoded, 16)
        steps = [state.logits(state.advance(torch.tensor(tokens)[:, :3]))]
        steps += [state.logits(state.advance(torch.tensor(tokens)[:, n : n + 1])) for n in range(3, len(tokens[0]))]
    np.testing.assert_allclose(torch.cat(steps, dim=1).numpy(), whole, rtol=0, atol=LOGITS)


def test_what_windows_are_heard_by_is_one_buffer(base_pair: Pair, base_encoded: EncodedWindows) -> None:
    """Apart they would be kept for other use, and leave holes: see `_cross_keys_values`."""
    state = base_pair.ours.start(base_encoded, 4)
    tensors = [tensor for pair in state._cross for tensor in pair]
    assert len(tensors) == 2 * base_pair.ours.net.dims.decoder_layers
    storage = tensors[0].untyped_storage()
    assert {tensor.untyped_storage().data_ptr() for tensor in tensors} == {storage.data_ptr()}
    assert storage.nbytes() == sum(tensor.nbytes for tensor in tensors)


# Words ----------------------------------------------------------


@pytest.mark.parametrize("options", [PLAIN, TIMED], ids=["plain", "timed"])
def test_words_of_a_few_windows(pair: Pair, encoded_pieces: EncodedWindows, options: DecodingOptions) -> None:
    options = replace(options, max_tokens=ENOUGH)
    found = pair.ours.decode(encoded_pieces, options)
    assert_tokens_equal(found, pair.theirs.decode(encoded_pieces, options))
    assert "my fellow Americans" in found[0].text
    assert len({len(hypothesis.tokens) for hypothesis in found}) > 2, "rows should end at different steps"


@pytest.mark.full
@pytest.mark.timeout(3600)  # the published implementation goes to the token limit wherever it loops
@pytest.mark.parametrize("options", [PLAIN, TIMED], ids=["plain", "timed"])
def test_words_of_every_clip(pair: Pair, clips: dict[str, Audio], options: DecodingOptions) -> None:
    """Each side with its own features, encoder and batches; the language is detected where there are several."""
    names = sorted(clips)
    assert len(names) > 80
    differing = []
    for start in range(0, len(names), 8):
        batch = names[start : start + 8]
        audio = [clips[name] for name in batch]
        ours = pair.ours.decode(pair.ours.encode(pair.ours.features(audio)), options)
        theirs = pair.theirs.decode(pair.theirs.encode(pair.theirs.features(audio)), options)
        for name, mine, reference in zip(batch, ours, theirs, strict=True):
            try:
                assert_tokens_equal([mine], [reference])
            except AssertionError:
                differing.append((name, mine.language, mine.text, reference.language, reference.text))
    assert not differing


def test_translation(base_pair: Pair, clips: dict[str, Audio]) -> None:
    encoded = base_pair.ours.encode(base_pair.ours.features([clips["ds-ru"]]))
    options = replace(TIMED, task="translate", language="ru")
    found = base_pair.ours.decode(encoded, options)
    assert_tokens_equal(found, base_pair.theirs.decode(encoded, options))
    assert found[0].text.isascii()


def test_many_at_once_equal_one_at_a_time(pair: Pair, encoded_pieces: EncodedWindows, jfk: Path) -> None:
    """Rows that end at different steps leave the batch; neither that nor the order moves a word."""
    model = pair.ours
    rows = range(len(encoded_pieces))
    for row, window in list(enumerate(pieces(jfk)))[1:3]:
        single = model.encode(model.features([window]))
        np.testing.assert_allclose(encoded_pieces.hidden[row], single.hidden[0], rtol=0, atol=ENCODER)
    for options in (replace(TIMED, max_tokens=ENOUGH), replace(PLAIN, max_tokens=ENOUGH)):
        found = model.decode(encoded_pieces, options)
        assert_tokens_equal([model.decode(encoded_pieces.select([row]), options)[0] for row in rows], found)
        assert_tokens_equal(model.decode(encoded_pieces.select(rows[::-1]), options)[::-1], found)


def test_silence_behind_the_words_is_the_padding(tiny_pair: Pair, jfk: Path) -> None:
    recording = read(jfk)
    longer = Audio(np.pad(recording.samples, (0, 16_000)))
    features = tiny_pair.ours.features([recording, longer])
    np.testing.assert_array_equal(features.mel[0], features.mel[1])
    first, second = tiny_pair.ours.decode(tiny_pair.ours.encode(features), TIMED)
    assert first.tokens == second.tokens


def test_looking_at_the_tokens_seldom_changes_nothing(
    pair: Pair, encoded_pieces: EncodedWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator's tokens are looked at every few steps only."""
    options = replace(TIMED, max_tokens=ENOUGH)
    every_step = pair.ours.decode(encoded_pieces, options)
    monkeypatch.setattr(CPUDevice, "sync_interval", 7)
    assert_tokens_equal(pair.ours.decode(encoded_pieces, options), every_step)


@pytest.mark.parametrize("tokens", [1, 5])
def test_token_limit(base_pair: Pair, base_encoded: EncodedWindows, tokens: int) -> None:
    options = replace(PLAIN, language="en", max_tokens=tokens)
    found = base_pair.ours.decode(base_encoded, options)
    assert_tokens_equal(found, base_pair.theirs.decode(base_encoded, options))
    assert len(found[0].tokens) == tokens
    assert "truncated" in found[0].flags


def test_language_detection(base_pair: Pair, clips: dict[str, Audio]) -> None:
    names = ["jfk", "ds-ru", "cv-ja-24511055", "aishell-BAC009S0724W0121"]
    encoded = base_pair.ours.encode(base_pair.ours.features([clips[name] for name in names]))
    ours, theirs = base_pair.ours.detect_language(encoded), base_pair.theirs.detect_language(encoded)
    assert [max(window, key=window.__getitem__) for window in ours] == ["en", "ru", "ja", "zh"]
    for mine, published in zip(ours, theirs, strict=True):
        assert mine.keys() == base_pair.ours.languages
        assert sum(mine.values()) == pytest.approx(1, abs=1e-4)
        assert mine == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("options", [PLAIN, TIMED], ids=["plain", "timed"])
def test_non_finite_values_are_an_error(
    pair: Pair, encoded_pieces: EncodedWindows, value: float, options: DecodingOptions
) -> None:
    """Never an empty text: a broken device must not look like silence."""
    hidden = encoded_pieces.hidden.clone()
    hidden[1, 3, 5] = value
    with pytest.raises(DecodingError) as caught:
        pair.ours.decode(replace(encoded_pieces, hidden=hidden), options)
    assert caught.value.code == "non_finite"
    assert caught.value.hint


def test_what_a_checkpoint_lacks_is_refused(tiny_pair: Pair, base_pair: Pair, jfk: Path) -> None:
    english, multilingual = tiny_pair.ours, base_pair.ours
    encoded = english.encode(english.features([read(jfk)]))
    for options in (DecodingOptions(language="de"), DecodingOptions(task="translate")):
        for call in (english.check, lambda options: english.decode(encoded, options)):
            with pytest.raises(UnsupportedOptionError) as caught:
                call(options)
            assert caught.value.hint
    with pytest.raises(UnsupportedOptionError):
        english.detect_language(encoded)
    with pytest.raises(UnsupportedOptionError, match="'tlh'"):
        multilingual.check(DecodingOptions(language="tlh"))
    english.check(DecodingOptions(language="en"))


@pytest.mark.parametrize("audio", [Audio(np.zeros(480_001, np.float32)), Audio(np.zeros(8_000, np.float32), 8_000)])
def test_windows_that_do_not_fit_are_refused(tiny_pair: Pair, audio: Audio) -> None:
    with pytest.raises(AudioError) as caught:
        tiny_pair.ours.features([audio])
    assert caught.value.code == "audio_window"
