"""The longest ascending part of a row of numbers: of places that were looked at, those that are no slips."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ascending"]


def ascending(places: Sequence[float]) -> list[int]:
    """The most of them that are in order of time (a longest non-decreasing subsequence), by their numbers."""
    ends: list[int] = []  # of the subsequences of each length, the place that is earliest at its end
    before: list[int | None] = []
    for number, place in enumerate(places):
        length = bisect_right(ends, place, key=lambda end: places[end])
        before.append(ends[length - 1] if length else None)
        ends[length : length + 1] = [number]
    chain = []
    last = ends[-1] if ends else None
    while last is not None:
        chain.append(last)
        last = before[last]
    return chain[::-1]
