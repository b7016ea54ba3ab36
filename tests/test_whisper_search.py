"""Whisper's searches on genuine weights: beams against transformers', fallback, prompts, hotwords, in every batch."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from voxport.devices import get_device
from voxport.errors import UnsupportedOptionError
from voxport.models.whisper import WhisperModel
from voxport.models.whisper import window_decoder as decoder
from voxport.models.whisper.hypotheses import Said
from voxport.types import Audio, DecodingOptions, Hypothesis
from whisper_pairs import PLAIN, TIMED, Pair, noise, parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEAMS = replace(TIMED, language="en", beam_size=5)
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def windows(jfk: Path) -> list[Audio]:
    return parts(jfk)


def published_beams(pair: Pair, window: Audio, beams: int, timestamps: bool) -> list[int]:
    """transformers' beam search by its own rules (length_penalty 1: the mean of log probabilities)."""
    from transformers import GenerationConfig
    from transformers.generation.utils import GenerationMixin
    from transformers.modeling_outputs import BaseModelOutput

    theirs = pair.theirs
    encoded = theirs.encode(pair.ours.features([window]))
    prompt = theirs.prompt("en", "transcribe", timestamps)

    class Ignored:
        """Log probabilities are not asked for: they'd be those of one beam a row."""

        logprobs: tuple[Any, ...] = ()

        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores

    with torch.inference_mode():
        output = GenerationMixin.generate(
            theirs.model,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.hidden),
            decoder_input_ids=torch.tensor([prompt]),
            generation_config=GenerationConfig(
                max_new_tokens=60,
                do_sample=False,
                num_beams=beams,
                length_penalty=1.0,
                eos_token_id=theirs.eot,
                pad_token_id=theirs.sot,
                bos_token_id=theirs.eot,
                decoder_start_token_id=theirs.sot,
            ),
            logits_processor=theirs._processors(len(prompt), timestamps, Ignored()),  # type: ignore[arg-type]
        )
    said: list[int] = output[0, len(prompt) :].tolist()
    return said[: said.index(theirs.eot)]


@pytest.mark.parametrize(
    ("beams", "timestamps"),
    [
        (5, True),
        (2, False),
        pytest.param(5, False, marks=pytest.mark.full),
        pytest.param(2, True, marks=pytest.mark.full),
    ],
)
def test_beams_are_transformers_beams(tiny_pair: Pair, windows: list[Audio], beams: int, timestamps: bool) -> None:
    options = replace(TIMED if timestamps else PLAIN, language="en", beam_size=beams, max_tokens=60)
    found = tiny_pair.ours.decode(tiny_pair.ours.encode(tiny_pair.ours.features(windows)), options)
    for window, hypothesis in zip(windows, found, strict=True):
        assert list(hypothesis.tokens) == published_beams(tiny_pair, window, beams, timestamps)


@pytest.mark.parametrize(
    "options",
    [
        BEAMS,
        replace(BEAMS, patience=2.0, length_penalty=0.6),
        replace(TIMED, language="en", temperatures=(0.6,), seed=3),
        replace(BEAMS, temperatures=(0.0, 0.4), logprob_threshold=-0.25),
        replace(BEAMS, hotwords=("Americas", "country"), hotword_weight=2.0),
        replace(BEAMS, initial_prompt="A speech by the president."),
    ],
    ids=["beams", "patience", "samples", "fallback", "hotwords", "prompt"],
)
def test_a_window_alone_says_what_it_says_in_a_batch(
    tiny_pair: Pair, windows: list[Audio], options: DecodingOptions
) -> None:
    model = tiny_pair.ours
    together = model.decode(model.encode(model.features(windows)), options)
    for window, expected in zip(windows, together, strict=True):
        (alone,) = model.decode(model.encode(model.features([window])), options)
        assert alone.tokens == expected.tokens
        assert alone.temperature == expected.temperature
        assert alone.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert len({len(hypothesis.tokens) for hypothesis in together}) == len(windows), "rows end one after the other"


def test_one_beam_is_greedy_decoding(tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    """By way of the search: what hotwords that never come do not change."""
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows))
    greedy = model.decode(encoded, TIMED)
    monkeypatch.setattr(decoder, "decode_greedy", None)  # the other way is taken
    searched = model.decode(encoded, replace(TIMED, hotwords=("zyxw",), hotword_weight=1e-6))
    assert [h.tokens for h in searched] == [h.tokens for h in greedy]
    for one, other in zip(searched, greedy, strict=True):
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-4)


# Fallback ---------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """(temperature, windows) of every attempt."""
    attempts: list[tuple[float, int]] = []
    begin = decoder.WindowDecoder._begin

    def counted(self: Any, encoded: Any, temperature: float, languages: Any) -> Any:
        attempts.append((temperature, len(encoded)))
        return begin(self, encoded, temperature, languages)

    monkeypatch.setattr(decoder.WindowDecoder, "_begin", counted)
    return attempts


def test_only_windows_that_need_it_are_decoded_again(
    tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pair.ours
    batch = [*windows, noise(4.0, seed=5)]
    encoded = model.encode(model.features(batch))
    greedy = model.decode(encoded, TIMED)
    threshold = sorted(h.avg_logprob or 0.0 for h in greedy)[1] - 1e-3  # all but the worst are above it
    attempts = counting(monkeypatch)
    options = replace(TIMED, temperatures=(0.0, 0.5), logprob_threshold=threshold)
    found = model.decode(encoded, options)
    assert attempts == [(0.0, 4), (0.5, 1)]
    worst = min(range(4), key=lambda place: greedy[place].avg_logprob or 0.0)
    for place in range(4):
        if place != worst:
            assert found[place] == greedy[place]
    (again,) = model.decode(encoded.select([worst]), options)
    assert again.tokens == found[worst].tokens
    # Neither attempt will do: the likelier one is taken.
    (drawn,) = model.decode(encoded.select([worst]), replace(options, temperatures=(0.5,)))
    likelier = max((greedy[worst], drawn), key=lambda h: h.avg_logprob or 0.0)
    assert found[worst].tokens == likelier.tokens
    assert found[worst].temperature == likelier.temperature


def test_a_state_is_gone_before_the_next_temperatures_is_made(
    tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the most that decoding holds."""
    model = tiny_pair.ours
    begin, states = model.start, []

    def start(*arguments: Any) -> Any:
        assert [state() for state in states] == [None] * len(states)
        state = begin(*arguments)
        states.append(weakref.ref(state))
        return state

    monkeypatch.setattr(model, "start", start)
    never = replace(BEAMS, temperatures=(0.0, 0.2, 0.4), logprob_threshold=1.0)
    model.decode(model.encode(model.features(windows[:2])), never)
    assert len(states) == 3


def test_of_texts_that_will_not_do_the_likeliest_and_earliest_is_taken() -> None:
    def attempt(average: float, temperature: float, repetitive: bool = False) -> Any:
        hypothesis = Hypothesis("", (), (), avg_logprob=average, temperature=temperature)
        return decoder._Attempt(hypothesis, average, repetitive, satisfying=False)

    def taken(*attempts: Any) -> float | None:
        return decoder._settled(attempts).hypothesis.temperature

    assert taken(attempt(-1.2, 0.0), attempt(-1.1, 0.2), attempt(-1.5, 0.4)) == 0.2
    assert taken(attempt(-1.2, 0.0), attempt(-1.2 + 1e-6, 0.2)) == 0.0, "the same text, rounded otherwise"
    assert taken(attempt(-0.1, 0.0, repetitive=True), attempt(-1.4, 0.2), attempt(-1.6, 0.4)) == 0.2
    assert taken(attempt(-0.3, 0.0, repetitive=True), attempt(-0.2, 0.2, repetitive=True)) == 0.2
    satisfying = replace(attempt(-0.9, 0.4), satisfying=True)
    assert taken(attempt(-0.5, 0.0, repetitive=True), satisfying) == 0.4


def test_silence_is_not_decoded_again(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([noise(6.0, seed=1)]))
    (plain,) = model.decode(encoded, TIMED)
    assert plain.text
    attempts = counting(monkeypatch)
    probability, average = plain.no_speech_prob or 0.0, plain.avg_logprob or 0.0
    options = replace(
        TIMED, temperatures=FALLBACK, no_speech_threshold=probability - 1e-3, logprob_threshold=average + 1e-3
    )
    (silent,) = model.decode(encoded, options)
    assert silent.text == ""
    assert silent.segments == ()
    assert attempts == [(0.0, 1)]
    (heard,) = model.decode(encoded, replace(options, no_speech_threshold=None))
    assert heard.text
    assert len(attempts) > 2


def test_a_repetition_is_decoded_again(tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows[:1]))
    (plain,) = model.decode(encoded, TIMED)
    assert plain.compression_ratio is not None
    attempts = counting(monkeypatch)
    limit = plain.compression_ratio - 0.01
    model.decode(encoded, replace(TIMED, temperatures=(0.0, 0.4), compression_ratio_threshold=limit))
    assert [temperature for temperature, _ in attempts] == [0.0, 0.4]
    attempts.clear()
    model.decode(encoded, replace(TIMED, temperatures=(0.0, 0.4), compression_ratio_threshold=None))
    assert [temperature for temperature, _ in attempts] == [0.0]


def test_a_loop_falls_back_whatever_its_cut_text_compresses_to(
    tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is cut before the ratio is taken: it must count all the same."""
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows[:1]))
    texts = decoder.WindowDecoder._texts

    def looping(self: Any, begun: Any, temperature: float) -> Sequence[Any]:
        (said,) = texts(self, begun, temperature)
        loop = [model.tokenizer.timestamp_begin, *model.tokenizer.encode(" again and") * 40]
        return [replace(said, tokens=loop)] if temperature == 0.0 else [said]

    monkeypatch.setattr(decoder.WindowDecoder, "_texts", looping)
    (once,) = model.decode(encoded, TIMED)
    assert once.text == " again and"
    assert once.flags == ("repetition",)
    (again,) = model.decode(encoded, replace(TIMED, temperatures=(0.0, 0.2)))
    assert again.temperature == 0.2
    assert "country" in again.text


@pytest.mark.parametrize(("likely", "temperature"), [(-4.0, 0.0), (-9.0, 0.2)])
def test_where_nothing_will_do_a_cut_loop_counts_as_what_is_left_of_it(
    likely: float, temperature: float, tiny_pair: Pair, windows: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows[:1]))
    start, words = model.tokenizer.timestamp_begin, model.tokenizer.encode(" again and")
    loop = [start, *words * 40]
    running = [likely * min(place, 1 + len(words)) for place in range(1, len(loop) + 1)]  # the rounds cost nothing
    looped = Said(loop, running[-1] / len(loop), running, ended=False, stopped=True)
    drawn = Said([start, *model.tokenizer.encode(" one thing")], -6.0, [], ended=True, stopped=False)
    assert looped.average > -0.4

    monkeypatch.setattr(decoder.WindowDecoder, "_texts", lambda *args: [looped if args[-1] == 0.0 else drawn])
    (taken,) = model.decode(encoded, replace(TIMED, temperatures=(0.0, 0.2), no_speech_threshold=None))
    assert taken.temperature == temperature
    assert taken.text == (" again and" if temperature == 0.0 else " one thing")


# What the model is told -------------------------------------------


def test_a_prompt_is_what_stands_before(tiny_pair: Pair, windows: list[Audio]) -> None:
    """The prompt's tokens by hand, with the published model's logits: the same first token, the same no-speech."""
    model, theirs = tiny_pair.ours, tiny_pair.theirs
    text = "hello there how are you i am fine"
    encoded = model.encode(model.features(windows[:1]))
    (found,) = model.decode(encoded, replace(PLAIN, initial_prompt=f" {text} "))
    prompt = [model.tokenizer.sot_prev, *model.tokenizer.encode(f" {text}"), *model.prompt("en", "transcribe", False)]
    given = [[*prompt, *found.tokens]]
    logits = torch.from_numpy(theirs.logits(theirs.encode(model.features(windows[:1])), given))[0]
    at_start = logits[len(prompt) - 2].softmax(-1)[model.tokenizer.no_speech].item()
    assert found.no_speech_prob == pytest.approx(at_start, abs=1e-4)
    greedy = logits[len(prompt) - 1 : -1].argmax(-1).tolist()
    assert list(found.tokens) == greedy
    (plain,) = model.decode(encoded, PLAIN)
    assert "fellow Americans" in plain.text
    assert "fellow americans" in found.text, "it goes on in the prompt's style"


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_a_prompt_of_nothing_is_none(prompt: str, tiny_pair: Pair, windows: list[Audio]) -> None:
    encoded = tiny_pair.ours.encode(tiny_pair.ours.features(windows[:1]))
    (plain,), (found,) = (
        tiny_pair.ours.decode(encoded, replace(PLAIN, initial_prompt=text)) for text in (None, prompt)
    )
    assert (found.tokens, found.no_speech_prob) == (plain.tokens, plain.no_speech_prob)


def test_a_prompt_too_long_keeps_its_end_and_room_for_words(tiny_pair: Pair, windows: list[Audio]) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows[:1]))
    long, tokens = " ".join(["word"] * 500), model.tokenizer.encode(" word")
    assert len(tokens) == 1
    (found,) = model.decode(encoded, replace(PLAIN, initial_prompt=long))
    (same,) = model.decode(encoded, replace(PLAIN, previous_tokens=tuple(tokens * 223)))
    assert found.tokens == same.tokens
    assert found.text
    # Both together: the prompt stays, the latest of the rest fills what is left.
    options = replace(PLAIN, initial_prompt="Kennedy.", previous_tokens=tuple(tokens * 300))
    length = len(model.tokenizer.encode(" Kennedy."))
    before = decoder.WindowDecoder(model, rules(model), options)._before()
    assert before == [model.tokenizer.sot_prev, *model.tokenizer.encode(" Kennedy."), *tokens * (223 - length)]


def rules(model: WhisperModel) -> Any:
    from voxport.decoding.whisper_rules import WhisperRules

    tokenizer = model.tokenizer
    return WhisperRules(
        model.net.dims.vocabulary, tokenizer.eot, tokenizer.no_timestamps, tokenizer.timestamp_begin, timestamps=False
    )


def test_the_tree_of_hotwords_is_made_once_for_a_recording(tiny_pair: Pair) -> None:
    tree = tiny_pair.ours.hotword_tree(("apixaban", "lisinopril"), 2.0)
    assert tiny_pair.ours.hotword_tree(("apixaban", "lisinopril"), 2.0) is tree
    heavier = tiny_pair.ours.hotword_tree(("apixaban", "lisinopril"), 3.0)
    assert heavier.weight == 3.0
    others = tiny_pair.ours.hotword_tree(("apixaban",), 3.0)
    assert len(others.pending) < len(heavier.pending)


def test_hotwords_bring_in_a_term(tiny_pair: Pair, windows: list[Audio]) -> None:
    """The weights change nothing where the term is far from what was said, and bring it in where it is near."""
    model = tiny_pair.ours
    encoded = model.encode(model.features(windows[:1]))
    (plain,) = model.decode(encoded, BEAMS)
    assert "Americans" in plain.text
    (near,) = model.decode(encoded, replace(BEAMS, hotwords=("Americas",), hotword_weight=8.0))
    bare = near.text.replace(",", ""), plain.text.replace(",", "")
    assert bare[0] == bare[1].replace("Americans", "Americas")
    (far,) = model.decode(encoded, replace(BEAMS, hotwords=("pantoprazole",), hotword_weight=1.0))
    assert far.tokens == plain.tokens
    assert far.avg_logprob == pytest.approx(plain.avg_logprob, abs=1e-5)


def test_what_a_family_lacks_is_refused(tiny_pair: Pair) -> None:
    for options, named in [
        (DecodingOptions(beam_size=5), "beam_size"),
        (DecodingOptions(temperatures=(0.0, 0.2)), "temperature"),
        (DecodingOptions(compression_ratio_threshold=None), "compression_ratio_threshold"),
        (DecodingOptions(seed=1), "seed"),
        (DecodingOptions(initial_prompt="x"), "initial_prompt"),
        (DecodingOptions(hotwords=("x",)), "hotwords"),
    ]:
        tiny_pair.ours.check(options)
        with pytest.raises(UnsupportedOptionError, match=f"has no use for --{named}"):
            tiny_pair.theirs.check(options)


# Devices ----------------------------------------------------------


@pytest.mark.parametrize("graph", [False, True])
def test_the_simulated_npu_searches_alike(tiny_en: Path, windows: list[Audio], graph: bool) -> None:
    import voxport
    from simulated_npu import activate_or_skip
    from voxport import testing

    activate_or_skip()
    testing.activate(2)
    cpu = WhisperModel.from_folder(tiny_en, get_device("cpu"), "float32")
    windows = windows[1:]  # the short ones
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        model: Any = voxport.load_model(str(tiny_en), "npu:0", "float32", graph=graph)
        encoded = cpu.encode(cpu.features(windows))
        for options in (replace(BEAMS, hotwords=("Americas",)), replace(TIMED, language="en", temperatures=(0.4,))):
            expected = [h.tokens for h in cpu.decode(encoded, options)]
            found = model.decode(model.encode(model.features(windows)), options)
            assert [h.tokens for h in found] == expected, options


def test_a_search_does_not_wait_inside_a_step(tiny_en: Path, windows: list[Audio]) -> None:
    import voxport
    from simulated_npu import activate_or_skip
    from voxport import testing

    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        model: Any = voxport.load_model(str(tiny_en), "npu:0", "float32")
        encoded = model.encode(model.features(windows[:1]))
        with testing.count_operations() as counted:
            (found,) = model.decode(encoded, BEAMS)
    longest = len(found.tokens) + 20  # others may end later than the best
    assert counted.synchronisations <= longest // model.device.sync_interval + 2
