"""Hotwords: what a token gains along a term, and that only whole terms keep it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from told_decoder import EOT, VOCABULARY, NoDoubles, ToldDecoder, bias
from voxport.decoding.beam import decode_beam
from voxport.decoding.candidates import best
from voxport.decoding.hotwords import HotwordTree

CPU = torch.device("cpu")


def gained(terms: list[list[int]], text: list[int], weight: float = 2.0) -> float:
    """What a text gains token by token."""
    bias_ = HotwordTree(terms, weight, VOCABULARY, CPU).start(1)
    total = 0.0
    for token in text:
        total += float(bias_.gains(torch.zeros(1, VOCABULARY))[0, token])
        bias_.take(torch.tensor([token]))
    return total


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([1, 2, 3, EOT], 6.0),  # the whole term
        ([5, 1, 2, 3, 5, EOT], 6.0),
        ([1, 2, EOT], 0.0),  # left in the middle: given back
        ([1, 2, 5, EOT], 0.0),
        ([1, 2, 1, 2, 3, EOT], 6.0),  # begun anew
        ([1, 2, 3, 1, 2, 3, EOT], 12.0),
        ([4, EOT], 2.0),
        ([1, 2, 4, EOT], 2.0),  # leaving one, beginning another
        ([6, 7, 8, EOT], 2.0),  # "6" is complete; "6 7 8 8" is not
        ([6, 7, 8, 8, EOT], 8.0),
    ],
)
def test_only_whole_terms_keep_what_they_gain(text: list[int], expected: float) -> None:
    assert gained([[1, 2, 3], [4], [6], [6, 7, 8, 8]], text) == pytest.approx(expected)


def by_hand(terms: list[list[int]], text: list[int], weight: float) -> float:
    """The same by going through the text: a term counts from where the one before was left or complete."""
    prefixes = {tuple(term[:end]) for term in terms for end in range(1, len(term) + 1)}
    total, at, owed = 0.0, (), 0
    for token in text:
        if at and (*at, token) in prefixes:
            at = (*at, token)
            owed += 1
        else:
            at = (token,) if (token,) in prefixes else ()
            owed = len(at)
        if list(at) in terms:
            total += owed * weight
            owed = 0
    return total


@given(
    terms=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=6),
    text=st.lists(st.integers(0, 6), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_a_text_gains_what_its_whole_terms_are_worth(terms: list[list[int]], text: list[int]) -> None:
    # In the end nothing is owed: the end of text leaves the tree.
    assert gained(terms, [*text, EOT], 1.5) == pytest.approx(by_hand(terms, text, 1.5), abs=1e-4)


def search(windows: list[int], terms: list[list[int]], weight: float) -> list[tuple[int, ...]]:
    tree = HotwordTree(terms, weight, VOCABULARY, CPU)
    found = decode_beam(
        ToldDecoder(windows),
        torch.zeros(len(windows), 1),
        NoDoubles(len(windows) * 4),
        beams=4,
        bias=bias(),
        eot=EOT,
        max_tokens=12,
        biasing=tree.start(len(windows) * 4),
    )
    for candidates in found:
        for candidate in candidates:
            worth = by_hand(terms, list(candidate.tokens), weight)
            if candidate.ended:
                assert candidate.score - candidate.logprob == pytest.approx(worth, abs=1e-4)
    return [best(candidates).tokens for candidates in found]


def test_the_search_is_drawn_to_terms_and_reports_the_models_own_probabilities() -> None:
    windows = list(range(30))

    def holding(texts: list[tuple[int, ...]]) -> int:
        return sum((1, 2) in pairwise(text) for text in texts)

    without, with_term = search(windows, [[8, 8, 8]], 1.0), search(windows, [[1, 2]], 2.0)
    assert holding(with_term) > holding(without) + 5
    assert search([7], [[1, 2]], 2.0) == [with_term[7]], "a window alone says what it says in a batch"
