"""Loops are found, speech that repeats itself is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.decoding.repetition import ENOUGH_REPEATS, ENOUGH_TOKENS, LONGEST_UNIT, compression_ratio, find_loop


@given(
    speech=st.lists(st.integers(0, 50), max_size=30),
    unit=st.lists(st.integers(100, 200), min_size=1, max_size=LONGEST_UNIT, unique=True),
    rounds=st.integers(ENOUGH_REPEATS, 12),
    rest=st.integers(0, 39),
)
def test_a_loop_is_found_with_its_start_and_unit(speech: list[int], unit: list[int], rounds: int, rest: int) -> None:
    tail = unit * rounds + unit[: rest % len(unit)]
    loop = find_loop(speech + tail)
    if len(tail) >= ENOUGH_TOKENS:
        assert loop is not None
        assert (loop.start, loop.period) == (len(speech), len(unit))
    else:
        assert loop is None


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=224))
def test_tokens_that_never_repeat_are_no_loop(tokens: list[int]) -> None:
    assert find_loop(tokens) is None


@pytest.mark.parametrize("tokens", [[5] * 12, [1, 2, 3, 4] * 4, [7, 8] * 10])
def test_people_repeat_themselves_too(tokens: list[int]) -> None:
    assert find_loop(tokens) is None


def test_compression_ratio_is_the_published_one() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio("thank you " * 40) > 2.4
    assert compression_ratio("and so my fellow americans ask not what your country can do for you") < 1.5
