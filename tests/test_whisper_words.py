"""Words with times of Whisper: the published network's attention as the yardstick, and what must not depend on what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from voxport.decoding.whisper_attention import alignment_matrix, median_of_seven
from voxport.decoding.whisper_heads import HEADS, LEAST_TOKENS, Head, choose, judge, published_heads
from voxport.errors import ModelFormatError, UnsupportedOptionError
from voxport.models.whisper.alignment import align_tokens
from voxport.models.whisper.forced_texts import ForcedTexts
from voxport.models.whisper.words import WordFinder
from voxport.types import Audio, DecodingOptions
from whisper_pairs import parts, read

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.whisper import WhisperModel
    from voxport.types import Hypothesis
    from whisper_pairs import Pair

SAID = [
    " And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    " ask not what your country can do for you,",
    " And so, my fellow Americans,",
]
"""In the `parts` of the recording."""

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
    weights = torch.stack([walking(20, 300), walking(20, 300, backwards=True), standing, blurred])
    (found,) = judge(5, weights, slice(0, 20))
    assert (found.layer, found.head, found.score) == (5, 0, pytest.approx(1.0))
    assert found.places.tolist() == torch.linspace(0, 299, 20).round().tolist()
    assert torch.equal(found.weights, weights[0])


def test_a_head_that_looks_back_once_loses_that_token() -> None:
    weights = walking(10, 200)
    weights[6] = weights[2]
    (found,) = judge(0, weights[None], slice(0, 10))
    assert found.score == pytest.approx(0.9)


def following(layer: int, score: float, later: float = 0.0, tokens: int = 9) -> Head:
    places = torch.arange(tokens) * 20 + later
    return Head(layer, 0, score, places, torch.full((tokens,), score), torch.zeros(tokens, 200))


def chosen(*found: Head, layers: int = 6) -> list[int]:
    return [head.layer for head in choose(found, layers)]


def test_the_best_of_the_lower_half_leads_and_takes_those_along_that_look_at_the_same() -> None:
    lower, same, other = following(2, 0.7), following(3, 0.8, later=8), following(4, 0.9, later=15)
    assert chosen(same, other, lower) == [2, 3]
    assert chosen(lower, following(0, 0.6, later=15)) == [2]  # the better one leads
    assert chosen(other, same) == []  # nobody there to lead
    assert chosen(following(2, 0.49), same) == []  # not clearly
    assert chosen(following(2, 0.9, tokens=LEAST_TOKENS - 1)) == []
    assert chosen() == []


def test_not_more_than_a_few_go_along() -> None:
    assert chosen(*(following(layer, 0.9 - layer / 100) for layer in range(9)), layers=20) == list(range(HEADS))


def test_one_token_far_off_does_not_part_heads() -> None:
    one, other = following(0, 0.9), following(1, 0.8)
    other.places[4] += 2000
    assert chosen(one, other) == [0, 1]


@pytest.mark.parametrize("value", [[[4, 0]], [[0, 6]], [[0]], [[-1, 0]], [["0", 1]], 7, [[True, 1]], {"a": 1}])
def test_heads_that_the_decoder_lacks_are_refused(value: object) -> None:
    with pytest.raises(ModelFormatError, match="alignment head") as caught:
        published_heads(value, 4, 6)
    assert caught.value.code == "alignment_heads"
    assert "alignment_heads" in (caught.value.hint or "")


def test_damaged_heads_hinder_only_who_asks_for_words(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pair.ours
    monkeypatch.setattr(model, "_words", WordFinder(model._weights, model.tokenizer, [[99, 0]]))
    model.check(DecodingOptions())
    with pytest.raises(ModelFormatError, match=r"\[99, 0\]"):
        model.check(WORDS)


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
    audio = parts(jfk) if name == "tiny_pair" else parts(jfk)[1:2]
    encoded = model.encode(model.features(audio))
    texts = [model.tokenizer.encode(text) for text in (SAID if name == "tiny_pair" else SAID[1:2])]
    found = aligned(model, encoded, texts, finding=False)
    heads = pair.theirs.generation.alignment_heads
    assert model._words.heads == tuple(map(tuple, heads))
    for window, text, times in zip(audio, texts, found, strict=True):
        starts, probabilities = reference_starts(pair, window, text, heads)
        assert times.heads == tuple(map(tuple, heads))
        assert times.starts == pytest.approx(starts, abs=1e-6)
        assert times.probabilities == pytest.approx(probabilities, abs=1e-3)


def aligned(
    model: WhisperModel, encoded: Any, texts: list[list[int]], *, finding: bool = True, heads: Any = None
) -> Any:
    with torch.inference_mode():
        return align_tokens(
            model._weights,
            encoded.hidden,
            ForcedTexts(
                encoded.durations,
                [model.tokenizer.sot_sequence("en", "transcribe", timestamps=False)] * len(texts),
                texts,
                model.tokenizer.eot,
            ),
            heads=model._words.heads if heads is None else heads,
            finding=finding,
        )


# What it must not depend on ---------------------------------------


def spoken(hypotheses: list[Hypothesis]) -> list[list[tuple[str, float, float]]]:
    return [
        [(word.word, word.start, word.end) for segment in one.segments for word in segment.words or ()]
        for one in hypotheses
    ]


@pytest.mark.parametrize("finding", [True, False])
def test_a_window_alone_and_in_a_batch(tiny_pair: Pair, finding: bool, jfk: Path) -> None:
    model = tiny_pair.ours
    audio = parts(jfk)
    texts = [model.tokenizer.encode(text) for text in SAID]
    together = aligned(model, model.encode(model.features(audio)), texts, finding=finding)
    for window, text, times in zip(audio, texts, together, strict=True):
        (alone,) = aligned(model, model.encode(model.features([window])), [text], finding=finding)
        assert (times.starts, times.heads) == (alone.starts, alone.heads)
        assert times.probabilities == pytest.approx(alone.probabilities, abs=1e-4)


def test_words_of_a_window_alone_and_in_a_batch(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    audio = parts(jfk)
    together = model.decode(model.encode(model.features(audio)), WORDS)
    alone = [model.decode(model.encode(model.features([window])), WORDS)[0] for window in audio]
    assert spoken(together) == spoken(alone)
    assert [len(words) for words in spoken(together)] == [22, 9, 6]


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
    (times,) = aligned(model, encoded, [model.tokenizer.encode(" a") * count])
    assert len(times.starts) == count + 1
    assert times.starts[-1] <= 11.0
    assert len(times.probabilities) == count


def test_found_heads_of_two_models_tell_the_same_and_the_published_ones_do_not(
    tiny_pair: Pair, base_pair: Pair, jfk: Path
) -> None:
    """Their tokens are the same ones, of other vocabularies."""
    starts: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for model in (tiny_pair.ours, base_pair.ours):
        encoded = model.encode(model.features([read(jfk)]))
        text = model.tokenizer.encode(SAID[0])
        for finding in (True, False):
            (times,) = aligned(model, encoded, [text], finding=finding)
            starts[finding].append(times.starts)
            if finding:
                assert aligned(model, encoded, [text], heads=()) == [times]  # whether heads are published or not
                assert 2 <= len(times.heads) <= HEADS
    found, published = (float(np.median(np.abs(np.subtract(*starts[finding])))) for finding in (True, False))
    assert found < 0.1
    assert published > 1.5 * found


def test_a_text_too_short_to_judge_heads_by_is_told_by_the_published_ones(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk)]))
    text = model.tokenizer.encode(" ask not")
    assert aligned(model, encoded, [text])[0].heads == model._words.heads
    assert len(aligned(model, encoded, [text], heads=())[0].heads) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fewer_bits_give_nearly_the_same_times(tiny_en: Path, tiny_pair: Pair, jfk: Path, dtype: str) -> None:
    from voxport.devices import get_device
    from voxport.models.whisper import WhisperModel

    less = WhisperModel.from_folder(tiny_en, get_device("cpu"), dtype)
    text = tiny_pair.ours.tokenizer.encode(SAID[0])
    starts = [
        aligned(model, model.encode(model.features([read(jfk)])), [text])[0].starts for model in (tiny_pair.ours, less)
    ]
    assert np.abs(np.subtract(*starts)).mean() < 0.1


def test_the_published_implementation_refuses(tiny_pair: Pair) -> None:
    with pytest.raises(UnsupportedOptionError, match="word_timestamps"):
        tiny_pair.theirs.check(WORDS)
