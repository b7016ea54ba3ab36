"""The longest ascending part of a row of numbers, against all there are."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from voxport.decoding.ascending import ascending


@given(st.lists(st.integers(0, 9), max_size=9))
def test_what_ascends_is_the_most_that_does(numbers: list[int]) -> None:
    longest = max(
        (
            len(chosen)
            for size in range(len(numbers) + 1)
            for chosen in itertools.combinations(numbers, size)
            if list(chosen) == sorted(chosen)
        ),
    )
    chain = ascending(numbers)
    assert chain == sorted(set(chain))  # in their order, each once
    assert [numbers[place] for place in chain] == sorted(numbers[place] for place in chain)
    assert len(chain) == longest
