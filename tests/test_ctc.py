"""CTC's greedy decoding: collapse, blanks, and real token ids of MedASR."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctc_paths import BLANK, frames_of, heard, posteriors
from medasr_vocabulary import published_pieces, write_tokenizer
from voxport.decoding.ctc import BestPath, Collapser, Emission, best_paths, collapse

if TYPE_CHECKING:
    from pathlib import Path


def tokens_of(path: list[int]) -> list[int]:
    return [token for token, _, _ in collapse(np.array(path, dtype=np.int64), BLANK)]


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([7], [7]),
        ([7, 7, 7], [7]),
        ([5, 5, 0, 5, 5], [5, 5]),  # the two s of "classes"
        ([0, 7, 7, 0, 0, 7, 8, 8, 7, 0], [7, 7, 8, 7]),
    ],
)
def test_collapse(path: list[int], tokens: list[int]) -> None:
    assert tokens_of(path) == tokens


def test_collapse_knows_first_and_last_frames() -> None:
    assert collapse(np.array([0, 7, 7, 0, 7, 8, 8]), BLANK) == [(7, 1, 2), (7, 4, 4), (8, 5, 6)]


def test_collapse_takes_any_blank() -> None:
    assert collapse(np.array([9, 0, 0, 9, 0]), 9) == [(0, 1, 2), (0, 4, 4)]


@given(st.lists(st.integers(1, 511), max_size=60), st.integers(0, 2**31))
def test_a_constructed_path_emits_its_tokens(tokens: list[int], seed: int) -> None:
    assert tokens_of(frames_of(tokens, seed).tolist()) == tokens


def test_best_paths_are_those_of_the_logits() -> None:
    paths = [frames_of([5, 5, 9], 1), frames_of([3, 4], 2)]
    longest = max(map(len, paths))
    logits = torch.full((2, longest, 512), float("nan"))  # beyond a window's frames nobody looks
    for row, path in enumerate(paths):
        logits[row, : len(path)] = posteriors(path, seed=row)[0]
    found = best_paths(logits, [len(path) for path in paths])
    assert found is not None
    for row, (path, best) in enumerate(zip(paths, found, strict=True)):
        assert best.tokens.tolist() == path.tolist()
        expected = logits[row, : len(path)].softmax(-1).max(-1).values
        np.testing.assert_allclose(best.probabilities, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_spoils_the_batch(value: float) -> None:
    logits = torch.zeros(2, 5, 8)
    assert best_paths(logits, [5, 5]) is not None
    logits[1, 3, 2] = value
    assert best_paths(logits, [5, 5]) is None
    assert best_paths(logits, [5, 3]) is not None


def test_no_frames_no_words() -> None:
    found = best_paths(torch.empty(2, 0, 8), [0, 0])
    assert found is not None
    assert [len(path) for path in found] == [0, 0]


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(0, 2**31), st.lists(st.integers(0, 120), max_size=6))
def test_in_pieces_the_same_emissions(tokens: list[int], seed: int, cuts: list[int]) -> None:
    """Wherever the path is cut, also within an emission or between two of the same token."""
    path = heard(frames_of(tokens, seed))
    edges = [0, *sorted(cut for cut in cuts if cut < len(path)), len(path)]
    collapser, found = Collapser(BLANK), []
    for start, end in itertools.pairwise(edges):
        found += collapser.feed(path.slice(start, end), 100 + start)
    found += collapser.finish()
    expected = [
        Emission(token, 100 + first, 100 + last, float(path.probabilities[first : last + 1].max()))
        for token, first, last in collapse(path.tokens, BLANK)
    ]
    assert found == expected


def test_the_probability_is_the_highest_of_the_run() -> None:
    path = BestPath(np.array([0, 7, 7, 7, 0]), np.array([0.9, 0.5, 0.8, 0.6, 0.9], np.float32))
    collapser = Collapser(BLANK)
    (emission,) = collapser.feed(path, 0)
    assert (emission.first, emission.last) == (1, 3)
    assert emission.probability == pytest.approx(0.8)


def test_real_token_ids_give_the_real_text(medasr_facts: Path, tmp_path: Path) -> None:
    fixture = json.loads((medasr_facts / "medasr_ctc_collapse_fixture.json").read_text(encoding="utf-8"))
    tokenizer = write_tokenizer(tmp_path, published_pieces(medasr_facts))
    tokens = tokens_of(fixture["argmax_token_ids"])
    assert tokens == fixture["greedy_token_ids"]
    assert tokens[-1] == 2  # </s>
    assert tokenizer.decode(tokens) == fixture["transcript"] == "quick brown fx jumps over the laazy dog."
