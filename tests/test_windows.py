"""Regions hold all speech, cut only in pauses, and fit the model's window where the pauses allow it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.types import Span
from voxport.windows import CutOptions, OverlapOptions, OverlapPlanner, Region, RegionPlanner, quietest_cut

OPTIONS = CutOptions(min_seconds=15.0, padding=0.4, edge=0.4)


def plan(spans: list[Span], duration: float, pieces: int = 1) -> list[Region]:
    planner = RegionPlanner(OPTIONS)
    regions: list[Region] = []
    size = max(1, len(spans) // pieces)
    for start in range(0, len(spans), size):
        regions += planner.feed(spans[start : start + size])
    return regions + planner.finish(duration)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[Span], float]:
    lengths = draw(st.lists(st.floats(0.1, 45), max_size=40))
    pauses = draw(st.lists(st.floats(0.1, 12), min_size=len(lengths) + 1, max_size=len(lengths) + 1))
    time, spans = pauses[0], []
    for length, pause in zip(lengths, pauses[1:], strict=True):
        spans.append(Span(time, time + length))
        time += length + pause
    return spans, time


@given(recordings(), st.integers(1, 7))
def test_every_span_is_in_exactly_one_region(recording: tuple[list[Span], float], pieces: int) -> None:
    spans, duration = recording
    regions = plan(spans, duration, pieces)
    assert [span for region in regions for span in region.speech] == spans
    assert regions == plan(spans, duration)  # however the spans come in
    for region in regions:
        assert 0 <= region.start <= region.speech[0].start
        assert region.speech[-1].end <= region.end <= duration
        assert region.end - region.start <= OPTIONS.max_seconds + 1e-9 or len(region.speech) == 1
    for before, after in itertools.pairwise(regions):
        assert before.end <= after.start + 1e-9  # nothing is heard twice


def test_a_full_region_is_cut_at_its_longest_pause() -> None:
    spans = [Span(0.5, 9), Span(9.2, 18), Span(19.5, 24), Span(24.1, 28), Span(28.3, 33)]
    assert [region.speech for region in plan(spans, 34)] == [tuple(spans[:2]), tuple(spans[2:])]


def test_a_pause_is_shared_and_padding_is_bounded() -> None:
    first, second = plan([Span(1.0, 20.0), Span(20.3, 40.0)], 41.0)
    assert (first.start, first.end) == pytest.approx((0.6, 20.15))
    assert (second.start, second.end) == pytest.approx((20.15, 40.4))


def edges(spans: list[Span], duration: float) -> list[tuple[float, float]]:
    planner = RegionPlanner(CutOptions(min_seconds=15.0, padding=0.2, edge=2.0))
    return [(round(r.start, 3), round(r.end, 3)) for r in (*planner.feed(spans), *planner.finish(duration))]


def test_a_short_recording_is_heard_as_it_is() -> None:
    assert edges([Span(1.5, 4.0), Span(5.0, 9.0)], 10.5) == [(0.0, 10.5)]
    assert edges([Span(3.0, 4.0)], 9.0) == [(1.0, 6.0)]


def test_an_edge_shorter_than_the_padding_takes_none_of_it_away() -> None:
    planner = RegionPlanner(CutOptions(padding=0.4, edge=0.0))
    assert not planner.feed([Span(3.0, 4.0)])
    assert planner.needed_from == pytest.approx(2.6)
    (region,) = planner.finish(9.0)
    assert (region.start, region.end) == pytest.approx((2.6, 4.4))


def test_the_edges_take_what_room_the_window_has() -> None:
    assert edges([Span(1.0, 29.5)], 31.0) == [(0.0, 30.0)]
    assert edges([Span(1.0, 20.0), Span(21.0, 45.0)], 45.5) == [(0.0, 20.2), (20.8, 45.5)]
    assert edges([Span(2.5, 32.2)], 33.0) == [(2.3, 32.4)], "no room: as much padding as anywhere"


def test_a_long_silence_parts_regions() -> None:
    regions = plan([Span(0, 2), Span(11, 13)], 14)
    assert [(region.start, region.end) for region in regions] == [(0, 2.4), (10.6, 13.4)]


def test_a_region_knows_whether_speech_was_looked_for() -> None:
    """Where somebody speaks without a pause, its speech is all of it in either case."""
    for planner in (RegionPlanner(CutOptions()), OverlapPlanner(OverlapOptions(30.0, 2.0, 0.04))):
        whole = planner.whole(0.0, 20.0)
        assert (whole.speech, whole.looked_for_speech) == ((Span(0.0, 20.0),), False)
        assert planner.feed([Span(0.0, 20.0)]) == []
        (found,) = planner.finish(20.0)
        assert (found.start, found.end) == (0.0, 20.0)
        assert (found.speech, found.looked_for_speech) == ((Span(0.0, 20.0),), True)


def test_speech_after() -> None:
    region = Region(0, 10, (Span(1, 3), Span(5, 9)))
    assert region.speech_after(0) == 6
    assert region.speech_after(2) == 5
    assert region.speech_after(4) == 4
    assert region.speech_after(9) == 0


def test_the_quietest_cut_lies_in_the_quiet() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=16_000 * 30).astype(np.float32) * 0.1
    samples[16_000 * 24 : 16_000 * 24 + 4_000] *= 0.01
    assert quietest_cut(samples, 16_000, 20, 30) == pytest.approx(24.125, abs=0.05)
