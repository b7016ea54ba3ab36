"""Windows that overlap are joined as if the recording had been decoded in one piece."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctc_paths import BLANK, frames_of, heard, jittered, shifted
from medasr_vocabulary import published_pieces, write_tokenizer
from voxport.decoding.ctc import BestPath, collapse
from voxport.decoding.ctc_seams import PathJoiner, find_seam

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTEXT = 50
"""Frames (2 s) that a window hears beyond what it answers for."""

Window = tuple[BestPath, int, "int | None"]


@pytest.fixture(scope="module")
def real_tokens(medasr_facts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """The 32 real transcripts as tokens."""
    tokenizer = write_tokenizer(tmp_path_factory.mktemp("tokenizer"), published_pieces(medasr_facts))
    value = json.loads((medasr_facts / "medasr_greedy_outputs_librispeech32.json").read_text(encoding="utf-8"))
    texts = list(value["texts"].values())
    assert len(texts) == 32
    encoded = [tokenizer.encode(text) for text in texts]
    assert [tokenizer.decode(tokens) for tokens in encoded] == texts
    return encoded


def tokens_of(path: np.ndarray) -> list[int]:
    return [token for token, _, _ in collapse(path, BLANK)]


def plain(path: np.ndarray) -> BestPath:
    return BestPath(path, np.ones(len(path), np.float32))


def joined(windows: Sequence[Window]) -> list[int]:
    """Tokens of the joined windows; the pieces must follow one another in time."""
    joiner, pieces = PathJoiner(BLANK), []
    for path, start, seam in windows:
        pieces += joiner.feed(path, start, seam)
    pieces += joiner.finish()
    starts = [piece.start for piece in pieces]
    assert starts == sorted(starts)
    return tokens_of(np.concatenate([piece.path.tokens for piece in pieces]))


def cut_in_two(left: np.ndarray, right: np.ndarray, cut: int) -> list[Window]:
    """Two windows of a recording, the first from one hearing of it and the second from another."""
    start = max(0, cut - CONTEXT)
    return [(plain(left[: cut + CONTEXT].copy()), 0, None), (plain(right[start:].copy()), start, cut)]


@pytest.mark.parametrize("jitter", [-2, -1, 0, 1, 2])
def test_a_cut_at_every_frame_of_every_transcript(real_tokens: list[list[int]], jitter: int) -> None:
    """Also where the windows hear the words some frames apart: no difference from the uncut decode."""
    for seed, tokens in enumerate(real_tokens):
        path = frames_of(tokens, seed)
        assert tokens_of(heard(path).tokens) == tokens
        other = shifted(path, jitter)
        for cut in range(1, len(path)):
            assert joined(cut_in_two(path, other, cut)) == tokens, (seed, cut)


@pytest.mark.parametrize("seed", range(4))
def test_every_token_for_itself_some_frames_apart(real_tokens: list[list[int]], seed: int) -> None:
    """As a network does it: each emission up to two frames earlier or later in each window."""
    for number, tokens in enumerate(real_tokens[seed::8]):
        path = frames_of(tokens, seed)
        left, right = jittered(path, 2, 10 * number + seed), jittered(path, 2, 10 * number + seed + 5)
        assert tokens_of(left) == tokens_of(right) == tokens
        for cut in range(1, len(path)):
            assert joined(cut_in_two(left, right, cut)) == tokens, (number, cut)


@pytest.mark.parametrize("seed", range(4))
def test_nonsense_near_the_edges_of_windows_does_no_harm(real_tokens: list[list[int]], seed: int) -> None:
    """Without context a network is unsure: what it says in the last 0.6 s before its window ends goes for nothing."""
    random = np.random.default_rng(seed)
    for tokens in real_tokens[seed::8]:
        path = frames_of(tokens, seed)
        for cut in range(CONTEXT, len(path) - CONTEXT):
            (left, _, _), (right, start, seam) = cut_in_two(path, shifted(path, int(random.integers(-2, 3))), cut)
            left.tokens[-15:] = random.integers(0, 512, 15) * (random.random(15) < 0.4)
            right.tokens[:15] = random.integers(0, 512, 15) * (random.random(15) < 0.4)
            assert joined([(left, 0, None), (right, start, seam)]) == tokens, cut


@pytest.mark.parametrize("offset", range(0, 400, 37))
def test_a_long_recording_in_many_windows(real_tokens: list[list[int]], offset: int) -> None:
    """All transcripts one after another, in windows of 20 s that answer for 16 s, each with its own jitter."""
    tokens = [token for transcript in real_tokens for token in transcript]
    path = np.concatenate([np.full(offset, BLANK), frames_of(tokens, 3)])
    windows: list[Window] = []
    for number, seam in enumerate(range(0, len(path), 400)):
        start, end = max(0, seam - CONTEXT), seam + 400 + CONTEXT
        hearing = jittered(shifted(path, number % 5 - 2), 1, number)
        windows.append((plain(hearing[start:end]), start, seam if number else None))
    assert joined(windows) == tokens


def test_a_fixed_cut_would_lose_and_double(real_tokens: list[list[int]]) -> None:
    """The test above can fail: cutting both windows at the same frame does."""
    path = frames_of(real_tokens[0], 0)
    wrong = 0
    for jitter in (-2, 2):
        other = shifted(path, jitter)
        for cut in range(1, len(path)):
            wrong += tokens_of(np.concatenate([path[:cut], other[cut:]])) != real_tokens[0]
    assert wrong > len(path) // 4


def test_the_seam_is_the_nearest_place_to_the_middle_that_both_agree_on() -> None:
    quiet = np.zeros(100, np.int64)
    assert find_seam(quiet, quiet, BLANK, 40) == (40, 40)
    left, right = quiet.copy(), quiet.copy()
    left[38:43], right[40:45] = 7, 7  # the same token, two frames apart
    assert find_seam(left, right, BLANK, 40) in {(37, 37), (43, 45)}
    left[20:60], right[22:62] = 7, 7
    assert find_seam(left, right, BLANK, 50) == (60, 62)


def test_repeats_at_the_seam_stay_two() -> None:
    path = np.array([0, 0, 5, 0, 5, 0, 0, 9, 0, 0])
    for cut in range(1, len(path)):
        assert joined([(plain(path), 0, None), (plain(path[max(0, cut - 4) :]), max(0, cut - 4), cut)]) == [5, 5, 9]


def test_windows_that_hear_different_things_are_cut_where_both_hear_nothing() -> None:
    left = np.array([0, 3, 0, 0, 0, 4, 0])
    right = np.array([0, 5, 0, 0, 0, 6, 0])
    assert joined([(plain(left), 0, None), (plain(right), 0, 3)]) == [3, 6]


def test_windows_that_hear_nothing_alike_are_cut_in_the_middle() -> None:
    left, right = np.full(10, 3), np.full(10, 4)
    assert find_seam(left, right, BLANK, 4) == (4, 4)
    assert find_seam(left, right, BLANK, 25) == (10, 10)


def test_windows_that_are_apart_are_put_one_behind_the_other() -> None:
    windows: list[Window] = [(plain(np.array([0, 3, 3])), 0, None), (plain(np.array([3, 0])), 500, None)]
    joiner = PathJoiner(BLANK)
    pieces = [*joiner.feed(*windows[0]), *joiner.feed(*windows[1]), *joiner.finish()]
    assert [(piece.start, piece.path.tokens.tolist()) for piece in pieces] == [(0, [0, 3, 3]), (500, [3, 0])]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_whatever_two_windows_hear_nothing_is_invented(data: st.DataObject) -> None:
    """The joined path is a beginning of the one and an end of the other."""
    tokens = st.lists(st.integers(0, 3), min_size=1, max_size=40)
    left, right = np.array(data.draw(tokens)), np.array(data.draw(tokens))
    before, after = find_seam(left, right, BLANK, data.draw(st.integers(-5, 50)))
    assert 0 <= before <= len(left)
    assert 0 <= after <= len(right)
