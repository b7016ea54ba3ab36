"""Tokens to segments, by openai/whisper's rule."""

from __future__ import annotations

import pytest

from voxport.decoding.whisper_segments import split_segments

B = 1000


def at(seconds: float) -> int:
    return B + round(seconds / 0.02)


CASES = {
    "one segment, then silence": ([at(0), 1, 2, at(3.5)], [(0, 3.5, 4)], None),
    "two segments, then silence": ([at(0), 1, at(2), at(2), 2, at(5)], [(0, 2, 3), (2, 5, 3)], None),
    "stopped inside the window": ([at(0), 1, at(2), at(2)], [(0, 2, 3)], 2.0),
    "an unfinished end is decoded again": ([at(0), 1, at(2), at(2.5), 3, 4], [(0, 2, 3)], 2.0),
    "a pause between segments": ([at(1), 1, at(2), at(4), 2, at(6), at(6)], [(1, 2, 3), (4, 6, 3)], 6.0),
    "no timestamps at all": ([1, 2, 3], [(0, 10, 3)], None),
    "a start, no end": ([at(0.4), 1, 2], [(0.4, 10, 3)], None),
    "a start in the padding, no end": ([at(12), 1, 2], [(0, 10, 3)], None),
    "nothing": ([], [(0, 10, 0)], None),
}


@pytest.mark.parametrize("name", CASES)
def test_split(name: str) -> None:
    tokens, expected, resume = CASES[name]
    segments, again = split_segments(tokens, B, duration=10.0)
    assert [(round(s.start, 2), round(s.end, 2), len(s.tokens)) for s in segments] == expected
    assert again == (pytest.approx(resume) if resume is not None else None)
