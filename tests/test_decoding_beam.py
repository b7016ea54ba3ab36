"""Beam search against openai/whisper's rules written out one window and one beam at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from told_decoder import EOT, VOCABULARY, NoDoubles, ToldDecoder, bias, next_logprobs
from voxport.decoding.beam import decode_beam
from voxport.decoding.candidates import Candidate, best
from voxport.errors import DecodingError

if TYPE_CHECKING:
    from collections.abc import Sequence


def by_the_rules(window: int, beams: int, patience: float, limit: int, ending: float) -> dict[tuple[int, ...], float]:
    """openai/whisper's `BeamSearchDecoder.update` and `finalize` with dictionaries, as published but for one thing:
    where enough ended, none that did not is taken beside them."""
    enough = round(beams * patience)
    live: dict[tuple[int, ...], float] = {(): 0.0}
    finished: dict[tuple[int, ...], float] = {}
    for _ in range(limit):
        scores: dict[tuple[int, ...], float] = {}
        for told, total in live.items():
            logprobs = next_logprobs(window, told, ending)
            for token in sorted(range(VOCABULARY), key=lambda token: -logprobs[token])[: beams + 1]:
                scores[*told, token] = total + logprobs[token]
        live = {}
        ended = {}
        for told in sorted(scores, key=lambda told: -scores[told]):
            if told[-1] == EOT:
                ended[told] = scores[told]
                continue
            live[told] = scores[told]
            if len(live) == beams:
                break
        for told, score in ended.items():
            if len(finished) < enough:
                finished[told] = score
        if len(finished) >= enough:
            return finished
    for told in sorted(live, key=lambda told: -live[told]):
        if len(finished) < beams:
            finished[told] = live[told]
    return finished


def search(
    windows: Sequence[int], beams: int, limit: int = 12, ending: float = 0.5, **options: object
) -> list[list[Candidate]]:
    return decode_beam(
        ToldDecoder(windows, ending),
        torch.zeros(len(windows), 1),
        NoDoubles(len(windows) * beams),
        beams=beams,
        bias=bias(),
        eot=EOT,
        max_tokens=limit,
        **options,  # type: ignore[arg-type]
    )


@given(
    windows=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    beams=st.integers(1, 5),
    patience=st.sampled_from([0.4, 1.0, 2.0]),
    limit=st.integers(1, 9),
    ending=st.sampled_from([0.0, 0.5, 2.0]),
    sync_interval=st.sampled_from([1, 3, 20]),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_finds_what_the_rules_find_for_each_window(
    windows: list[int], beams: int, patience: float, limit: int, ending: float, sync_interval: int
) -> None:
    found = search(windows, beams, limit, ending, patience=patience, sync_interval=sync_interval)
    for window, candidates in zip(windows, found, strict=True):
        expected = by_the_rules(window, beams, max(patience, 1 / beams), limit, ending)
        assert {c.tokens + ((EOT,) if c.ended else ()) for c in candidates} == set(expected)
        for candidate in candidates:
            total = expected[candidate.tokens + ((EOT,) if candidate.ended else ())]
            assert candidate.logprob == pytest.approx(total, abs=1e-4)
            assert candidate.score == candidate.logprob


def test_more_beams_find_likelier_texts() -> None:
    windows = range(40)
    averages = {}
    for beams in (1, 5):
        chosen = [best(candidates) for candidates in search(windows, beams)]
        averages[beams] = [candidate.logprob / max(len(candidate.tokens), 1) for candidate in chosen]
    assert sum(a < b for a, b in zip(averages[1], averages[5], strict=True)) > 20
    assert sum(averages[5]) > sum(averages[1])


def test_one_beam_is_greedy() -> None:
    for candidates, window in zip(search(range(20), 1), range(20), strict=True):
        told: list[int] = []
        while len(told) < 12:
            logprobs = next_logprobs(window, told, 0.5)
            token = logprobs.index(max(logprobs))
            if token == EOT:
                break
            told.append(token)
        assert candidates[0].tokens == tuple(told)


def text(tokens: tuple[int, ...], logprob: float) -> Candidate:
    return Candidate(tokens, (*[0.0] * len(tokens), logprob), logprob, ended=True)


def test_length_penalties_choose_between_texts() -> None:
    short, long = text((1, 2), -2.0), text((1, 2, 3, 4, 5, 6), -4.0)
    assert best([short, long]) is long  # -1.0 against -0.67 a token
    assert best([short, long], 0.0) is short  # by the sum
    assert best([short, long], 1.0) is short  # -2 / (7/6) = -1.71 against -4 / (11/6) = -2.18
    assert best([long, text((7,) * 6, -4.0)]) is long  # the first of equals
    assert short.average == pytest.approx(-2 / 3)


def test_an_average_counts_the_end_of_text() -> None:
    (candidates,) = search([3], 2)
    ended = next(candidate for candidate in candidates if candidate.ended)
    each = [next_logprobs(3, ended.tokens[:place], 0.5)[token] for place, token in enumerate((*ended.tokens, EOT))]
    assert ended.running == pytest.approx(list(accumulate(each)), abs=1e-5)
    assert ended.average == pytest.approx(sum(each) / (len(ended.tokens) + 1), abs=1e-5)


def test_a_search_can_be_stopped() -> None:
    asked: list[tuple[int, ...]] = []

    def after_three(tokens: Sequence[int]) -> bool:
        asked.append(tuple(tokens))
        return len(tokens) >= 3

    (candidates,) = search([1], 3, ending=9.0, should_stop=after_three)
    assert all(candidate.stopped and not candidate.ended for candidate in candidates)
    assert {len(candidate.tokens) for candidate in candidates} == {3}
    assert [len(tokens) for tokens in asked] == [1, 2, 3]


def test_what_was_stopped_wins_only_where_all_were() -> None:
    looped = replace(text((1,) * 9, -1.0), ended=False, stopped=True)
    unlikely = text((1, 2), -9.0)
    assert best([looped, unlikely]) is unlikely
    assert best([looped]) is looped


class Broken(ToldDecoder):
    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        logits = super().logits(hidden, bias)
        if self.steps == 2:
            logits[0] = math.nan
        return logits


def test_values_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(DecodingError, match="non-finite") as caught:
        decode_beam(Broken([1, 2]), torch.zeros(2, 1), NoDoubles(6), beams=3, bias=bias(), eot=EOT, max_tokens=9)
    assert caught.value.code == "non_finite"
