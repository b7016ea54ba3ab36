"""What of the speech in a window no token was heard in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.decoding.ascending import ascending
from voxport.pipeline.coverage import (
    LEAST_GAP,
    LEAST_SPAN,
    NEAR,
    SLIP,
    Heard,
    in_order,
    is_certain,
    missed,
    within,
)
from voxport.types import Hypothesis, Segment, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

Times = tuple[float, float]


def spans(*times: Times) -> list[Span]:
    return [Span(*one) for one in times]


def found(places: Sequence[float], speech: list[Span], start: float, end: float) -> list[Times]:
    ordered = [places[number] for number in ascending(places)]
    return [(gap.start, gap.end) for gap in missed(ordered, speech, start, end)]


def steady(*stretches: Times, step: float = 0.5) -> list[float]:
    """A token every half second of some stretches."""
    return [start + step * n for start, end in stretches for n in range(round((end - start) / step) + 1)]


SPEECH = spans((1.0, 4.0), (5.0, 7.0), (7.4, 8.2), (10.0, 13.0))


@pytest.mark.parametrize(
    ("heard", "gaps"),
    [
        ([(1.0, 4.0), (5.0, 7.0), (7.5, 8.0), (10.0, 13.0)], []),
        ([(5.0, 7.0), (7.5, 8.0), (10.0, 13.0)], [(1.0, 4.0)]),
        ([(1.0, 4.0), (5.0, 7.0), (7.5, 8.0)], [(10.0, 13.0)]),
        ([(1.0, 4.0), (5.0, 7.0), (10.0, 13.0)], [(7.4, 8.2)]),
        ([(1.0, 4.0), (10.0, 13.0)], [(5.0, 8.2)]),
        ([(5.0, 7.0), (10.0, 13.0)], [(1.0, 4.0), (7.4, 8.2)]),
        ([(1.0, 2.0), (10.0, 13.0)], [(2.5, 8.2)]),
        ([(1.0, 4.0), (12.0, 13.0)], [(5.0, 11.5)]),
        ([(1.0, 4.0), (5.0, 7.0), (7.5, 8.0), (10.0, 10.5), (12.5, 13.0)], [(11.0, 12.0)]),
        ([(1.0, 1.0), (5.0, 7.0), (7.5, 8.0), (10.0, 13.0)], [(1.0, 4.0)]),
        ([(1.0, 4.0), (5.0, 7.0), (7.5, 8.0), (13.0, 13.0)], [(10.0, 13.0)]),
    ],
    ids=[
        "nothing", "the beginning", "the end", "between", "two at once", "two apart",
        "from within a span", "into a span", "inside a span", "but a slip at its start", "but a slip at its end",
    ],
)  # fmt: skip
def test_speech_without_a_token_is_missed(heard: list[Times], gaps: list[Times]) -> None:
    assert found(steady(*heard), SPEECH, 0.0, 14.0) == gaps


def test_a_breath_is_not_missed() -> None:
    speech = spans((1.0, 4.0), (5.0, 5.0 + LEAST_SPAN - 0.01), (8.0, 9.0))
    assert found(steady((1.0, 4.0), (8.0, 9.0)), speech, 0.0, 9.0) == []


def test_a_token_near_a_span_is_heard_in_it() -> None:
    speech = spans((1.0, 2.0), (4.0, 5.0))
    assert found([1.0, 1.5, 4.0 - NEAR], speech, 0.0, 5.0) == []
    assert found([1.0, 1.5, 3.8], speech, 0.0, 5.0) == [(4.0, 5.0)]


def test_a_slip_of_the_head_is_no_token_heard() -> None:
    """Seen with base: the place of one token of "The press yard" was in the sentence behind it, which was left out."""
    speech = spans((1.0, 3.0), (4.0, 7.0), (8.0, 10.0))
    heard = [1.2, 1.6, 4.1, 2.0, 2.4, 2.8, 8.1, 8.6, 9.2, 9.8]
    assert found(heard, speech, 0.0, 10.0) == [(4.0, 7.0)]


def test_the_rest_of_a_word_at_a_windows_start_is_not_missed() -> None:
    speech = spans((0.0, 3.0), (4.0, 5.0))
    assert found([4.2, 4.8], speech, 2.2, 5.0) == []
    assert found([4.2, 4.8], speech, 3.0 - LEAST_GAP, 5.0) == [(3.0 - LEAST_GAP, 3.0)]


def test_only_what_lies_in_the_window_counts() -> None:
    assert found(steady((5.0, 7.0)), SPEECH, 5.0, 7.2) == []
    assert found(steady((5.0, 6.0)), SPEECH, 4.5, 11.0) == [(7.4, 11.0)]


@given(
    st.lists(st.tuples(st.floats(0.2, 4.0), st.floats(0.25, 3.0)), min_size=1, max_size=8),
    st.lists(st.floats(0.0, 60.0), max_size=30),
)
def test_gaps_are_in_order_hold_speech_and_no_token(lengths: list[Times], places: list[float]) -> None:
    speech, time = [], 0.5
    for length, pause in lengths:
        speech.append(Span(time, time + length))
        time += length + pause
    kept = sorted(places)
    gaps = missed(kept, speech, 0.0, time)
    for gap in gaps:
        assert sum(span.duration for span in within(speech, gap.start, gap.end)) >= LEAST_SPAN - 1e-9
        spoken = within(speech, gap.start, gap.end)
        assert not any(span.start + SLIP < place < span.end - SLIP for place in kept for span in spoken)
    for before, after in itertools.pairwise(gaps):
        assert before.end <= after.start
        assert within(speech, before.end, after.start)
    for span in speech:  # and nothing else is missed
        rest = [gap for gap in gaps if gap.start < span.end and gap.end > span.start]
        if not rest and span.duration >= LEAST_SPAN:
            run = [place for place in kept if span.start - NEAR <= place <= span.end + NEAR]
            assert run
            assert all(b - a < LEAST_GAP for a, b in itertools.pairwise([span.start, *run, span.end]))


def test_places_out_of_order_are_left_aside() -> None:
    first, second = Segment(0, None, 0.0, 3.0, " a"), Segment(1, None, 3.0, 9.0, " b")
    heard = [Heard(first, (1.0, 8.0, 2.0)), Heard(second, (4.0, 1.5, 5.0)), Heard(second, ())]
    assert in_order(heard) == [Heard(first, (1.0, 2.0)), Heard(second, (4.0, 5.0)), Heard(second, ())]


def window(*segments: tuple[float, float, int], resume: float | None = None) -> Hypothesis:
    own = tuple(Segment(0, None, start, end, " text", tuple(range(count))) for start, end, count in segments)
    return Hypothesis("", (), own, resume=resume)


@pytest.mark.parametrize(
    ("hypothesis", "certain"),
    [
        (window((0.0, 3.2, 9), (4.0, 6.1, 8)), True),
        (window((0.0, 3.2, 9), (4.0, 6.1, 8), resume=6.1), False),
        (window((0.0, 6.1, 30)), False),
        (window((0.0, 3.2, 9)), False),
        (window((0.0, 3.2, 6), (4.0, 6.1, 8)), False),
        (window((0.0, 1.5, 9), (1.5, 3.2, 8), (4.0, 6.1, 8)), True),
    ],
    ids=["each span its text", "stopped", "one text for both", "a span without", "few tokens", "two texts for one"],
)
def test_timestamps_are_enough_where_each_span_has_a_text(hypothesis: Hypothesis, certain: bool) -> None:
    speech = spans((10.2, 13.0), (14.2, 16.0), (16.5, 16.7))
    assert is_certain(hypothesis, speech, 10.0, 17.0) is certain
