"""Words with times of Whisper: the published network's attention as the yardstick, and what must not depend on what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from voxport.decoding.whisper_attention import alignment_matrix, median_of_seven
from voxport.decoding.whisper_heads import FOUND, best_heads, published_heads, scores
from voxport.errors import ModelFormatError, UnsupportedOptionError
from voxport.models.whisper.alignment import align_tokens
from voxport.types import Audio, DecodingOptions
from whisper_pairs import parts, read

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.whisper import WhisperModel
    from voxport.types import Hypothesis
    from whisper_pairs import Pair

WORDS = DecodingOptions(language="en", word_timestamps=True)

# The matrix -------------------------------------------------------


def test_the_median_is_that_of_sorting() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5, 40)).astype(np.float32))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3)), mode="reflect")
    expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=-1), axis=-1)
    assert np.array_equal(median_of_seven(x).numpy(), expected)


def test_the_median_network_sorts_every_pattern() -> None:
    """If a network of comparisons is right for all zeros and ones, it is for all numbers."""
    patterns = torch.tensor([[float(number >> bit & 1) for bit in range(7)] for number in range(128)])
    assert torch.equal(median_of_seven(patterns)[:, 3], patterns.median(dim=1).values)


@pytest.mark.parametrize("frames", [1, 3])
def test_too_few_frames_for_a_median_stay(frames: int) -> None:
    x = torch.rand(2, 3, frames)
    assert torch.equal(median_of_seven(x), x)


def test_a_frame_that_all_tokens_look_at_alike_has_no_say() -> None:
    weights = torch.full((1, 3, 8), 0.125)
    assert torch.equal(alignment_matrix(weights), torch.zeros(3, 8))


# The heads --------------------------------------------------------


def walking(tokens: int, frames: int, backwards: bool = False) -> torch.Tensor:
    """Attention of a head that goes steadily from the beginning to the end, or the other way."""
    places = torch.linspace(0, frames - 1, tokens).round().long()
    weights = torch.zeros(tokens, frames)
    weights[torch.arange(tokens), places.flip(0) if backwards else places] = 1.0
    return weights


def test_a_head_that_walks_is_better_than_others() -> None:
    generator = torch.Generator().manual_seed(0)
    blurred = torch.rand(20, 300, generator=generator).softmax(dim=-1)
    standing = torch.zeros(20, 300)
    standing[:, 17] = 1.0
    found = scores(torch.stack([walking(20, 300), walking(20, 300, backwards=True), standing, blurred]))
    assert found[0] == pytest.approx(1.0)
    assert found[1:3].tolist() == pytest.approx([0.05, 0.05])
    assert found[3] < 0.1


def test_the_best_are_taken_in_the_networks_order() -> None:
    assert best_heads([(0.1, 0, 0), (0.9, 3, 1), (0.5, 1, 2), (0.9, 2, 0)], 3) == ((1, 2), (2, 0), (3, 1))


@pytest.mark.parametrize("value", [[[4, 0]], [[0, 6]], [[0]], [[-1, 0]], [["0", 1]], 7, [[True, 1]], {"a": 1}])
def test_heads_that_the_decoder_lacks_are_refused(value: object) -> None:
    with pytest.raises(ModelFormatError, match="alignment head") as caught:
        published_heads(value, 4, 6)
    assert caught.value.code == "alignment_heads"
    assert "alignment_heads" in (caught.value.hint or "")


def test_damaged_heads_hinder_only_who_asks_for_words(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pair.ours
    monkeypatch.setattr(model._words, "_published", [[99, 0]])
    monkeypatch.delitem(model._words.__dict__, "heads", raising=False)
    model.check(DecodingOptions())
    with pytest.raises(ModelFormatError, match=r"\[99, 0\]"):
        model.check(WORDS)
    model._words.__dict__.pop("heads", None)


# Beside the published network -------------------------------------


def reference_starts(pair: Pair, audio: Audio, tokens: list[int], heads: Any) -> tuple[list[float], list[float]]:
    """Times and probabilities by transformers' network, median and dynamic time warping, after openai/whisper."""
    from transformers.models.whisper import generation_whisper

    theirs = pair.theirs
    prompt = theirs.prompt("en", "transcribe", timestamps=False)
    given = torch.tensor([[*prompt, *tokens, theirs.eot]])
    mel = torch.from_numpy(theirs.features([audio]).mel)
    with torch.inference_mode():
        output = theirs.model(input_features=mel, decoder_input_ids=given, output_attentions=True)
    frames = int(audio.duration * 100) // 2
    weights = torch.stack([output.cross_attentions[layer][0, head, :, :frames] for layer, head in heads])
    weights = weights / weights.sum(dim=-1, keepdim=True)
    weights = (weights - weights.mean(dim=-2, keepdim=True)) / weights.std(dim=-2, keepdim=True, unbiased=False)
    matrix = generation_whisper._median_filter(weights, 7).mean(dim=0)[len(prompt) - 1 : -1]
    rows, places = generation_whisper._dynamic_time_warping(-matrix.double().numpy())
    starts = [places[np.flatnonzero(rows == row)[0]] * 0.02 for row in range(len(tokens) + 1)]
    logits = output.logits[0, len(prompt) - 1 : -2, : theirs.eot]
    return starts, logits.softmax(dim=-1)[range(len(tokens)), tokens].tolist()


@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
def test_times_and_probabilities_are_those_of_the_published_network(
    name: str, request: pytest.FixtureRequest, jfk: Path
) -> None:
    pair: Pair = request.getfixturevalue(name)
    model = pair.ours
    audio = parts(jfk)
    encoded = model.encode(model.features(audio))
    hypotheses = model.decode(encoded, WORDS)
    texts = [[token for token in one.tokens if token < model.tokenizer.eot] for one in hypotheses]
    found = aligned(model, encoded, texts)
    heads = pair.theirs.generation.alignment_heads
    assert model._words.heads == tuple(map(tuple, heads))
    for window, text, times in zip(audio, texts, found, strict=True):
        starts, probabilities = reference_starts(pair, window, text, heads)
        assert len(text) >= 6
        assert times.starts == pytest.approx(starts, abs=1e-6)
        assert times.probabilities == pytest.approx(probabilities, abs=1e-3)


def aligned(model: WhisperModel, encoded: Any, texts: list[list[int]], heads: Any = None) -> Any:
    with torch.inference_mode():
        return align_tokens(
            model._weights,
            encoded.hidden,
            encoded.durations,
            [model.tokenizer.sot_sequence("en", "transcribe", timestamps=False)] * len(texts),
            texts,
            eot=model.tokenizer.eot,
            heads=model._words.heads if heads is None else heads,
        )


# What it must not depend on ---------------------------------------


def spoken(hypotheses: list[Hypothesis]) -> list[list[tuple[str, float, float]]]:
    return [
        [(word.word, word.start, word.end) for segment in one.segments for word in segment.words or ()]
        for one in hypotheses
    ]


@pytest.mark.parametrize("heads", ["published", "found"])
@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
def test_a_window_alone_and_in_a_batch(
    name: str, heads: str, request: pytest.FixtureRequest, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(name).ours
    if heads == "found":
        monkeypatch.setattr(model._words, "heads", ())
    audio = parts(jfk)
    together = model.decode(model.encode(model.features(audio)), WORDS)
    alone = [model.decode(model.encode(model.features([window])), WORDS)[0] for window in audio]
    assert spoken(together) == spoken(alone)
    assert [len(words) for words in spoken(together)][0] == 22


def test_what_fills_a_row_up_is_not_seen(tiny_pair: Pair, jfk: Path) -> None:
    """The same window beside a longer text, and with rows filled up as for a chip that wants few shapes."""
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk)] * 2))
    text = model.tokenizer.encode(" And so my fellow Americans ask not what your country can do for you")
    (alone,) = aligned(model, encoded.select([0]), [text])
    beside = aligned(model, encoded, [text, text * 8])[0]
    assert beside.starts == alone.starts
    assert beside.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_text_and_resumption_are_the_same_without_words(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features(parts(jfk)))
    plain = model.decode(encoded, replace(WORDS, word_timestamps=False))
    assert [
        replace(one, segments=tuple(replace(segment, words=None) for segment in one.segments))
        for one in model.decode(encoded, WORDS)
    ] == plain


def test_words_are_the_segments_text_in_order_and_in_the_window(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    audio = parts(jfk)
    for window, one in zip(audio, model.decode(model.encode(model.features(audio)), WORDS), strict=True):
        previous = 0.0
        for segment in one.segments:
            assert segment.words
            assert "".join(word.word for word in segment.words) == segment.text
            for word in segment.words:
                assert previous <= word.start <= word.end <= window.duration + 1e-9
                assert 0.0 < (word.probability or 0.0) <= 1.0
                previous = word.start


def test_a_window_without_text_has_no_words(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([Audio(np.zeros(16_000, np.float32)), read(jfk)]))
    silent, heard = model.decode(encoded, replace(WORDS, no_speech_threshold=0.0, logprob_threshold=0.0))
    assert silent.segments == heard.segments == ()
    none, some = aligned(model, encoded, [[], model.tokenizer.encode(" ask not")])
    assert (none.starts, none.probabilities) == ((), ())
    assert len(some.starts) == 3


def test_a_window_shorter_than_a_frame_has_words_at_its_start(tiny_pair: Pair) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([Audio(np.zeros(100, np.float32))]))
    (times,) = aligned(model, encoded, [model.tokenizer.encode(" one two")])
    assert times.starts == (0.0, 0.0, 0.0)


def test_as_many_tokens_as_there_are_positions(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk)]))
    count = model.net.dims.max_target - 2  # behind a prompt of two, without the end of text
    (times,) = aligned(
        model,
        encoded,
        [
            [
                *model.tokenizer.encode(" a"),
            ]
            * count
        ],
    )
    assert len(times.starts) == count + 1
    assert len(times.probabilities) == count


def test_heads_are_found_where_none_are_published(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk)]))
    text = [token for token in model.decode(encoded, WORDS)[0].tokens if token < model.tokenizer.eot]
    (published,), (found,) = aligned(model, encoded, [text]), aligned(model, encoded, [text], ())
    assert len(found.heads) == FOUND
    assert len(set(found.heads) & set(published.heads)) >= FOUND // 2
    assert np.abs(np.subtract(found.starts, published.starts)).mean() < 0.4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fewer_bits_give_nearly_the_same_times(tiny_en: Path, tiny_pair: Pair, jfk: Path, dtype: str) -> None:
    from voxport.devices import get_device
    from voxport.models.whisper import WhisperModel

    less = WhisperModel.from_folder(tiny_en, get_device("cpu"), dtype)
    text = tiny_pair.ours.tokenizer.encode(" And so my fellow Americans ask not what your country can do for you")
    starts = [
        aligned(model, model.encode(model.features([read(jfk)])), [text])[0].starts for model in (tiny_pair.ours, less)
    ]
    assert np.abs(np.subtract(*starts)).mean() < 0.1


def test_the_published_implementation_refuses(tiny_pair: Pair) -> None:
    with pytest.raises(UnsupportedOptionError, match="no times of words"):
        tiny_pair.theirs.check(WORDS)
