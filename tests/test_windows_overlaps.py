"""Regions that overlap answer for all speech once, hear beyond it, and fit the window."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_windows import recordings
from voxport.pipeline.regions import RegionReader
from voxport.types import Span
from voxport.windows import OverlapOptions, OverlapPlanner, Region

OPTIONS = OverlapOptions(window=20.0, context=2.0, grid=0.04)
RATE = 16_000


def plan(spans: list[Span], duration: float, pieces: int = 1) -> list[Region]:
    planner = OverlapPlanner(OPTIONS)
    regions: list[Region] = []
    size = max(1, len(spans) // pieces)
    for start in range(0, len(spans), size):
        regions += planner.feed(spans[start : start + size])
    return regions + planner.finish(duration)


def check(regions: list[Region], duration: float) -> None:
    for region in regions:
        assert region.end - region.start <= OPTIONS.window + 1e-9
        assert region.start / OPTIONS.grid == pytest.approx(round(region.start / OPTIONS.grid), abs=1e-6)
        assert 0 <= region.start <= max(0.0, region.speech[0].start - OPTIONS.context) + 1e-9
        assert region.speech[-1].end <= min(region.end, duration) + 1e-9
    for before, after in itertools.pairwise(regions):
        pause = after.speech[0].start - before.speech[-1].end
        assert pause >= -1e-9
        if after.seam is None:
            assert before.end <= after.start + 2 * OPTIONS.grid
            assert pause > 2 * OPTIONS.context - 2 * OPTIONS.grid - OPTIONS.context
        else:
            assert before.speech[-1].end - 1e-9 <= after.seam <= after.speech[0].start + 1e-9
            assert after.start < before.end
            assert after.start <= after.seam <= before.end


@given(recordings(), st.integers(1, 7))
def test_all_speech_is_answered_for_once(recording: tuple[list[Span], float], pieces: int) -> None:
    spans, duration = recording
    regions = plan(spans, duration, pieces)
    assert regions == plan(spans, duration)  # however the spans come in
    check(regions, duration)
    parts = [part for region in regions for part in region.speech]
    rebuilt = []
    for span in spans:  # a long span is in parts that touch
        inside = [part for part in parts if span.start <= part.start and part.end <= span.end + 1e-9]
        assert inside[0].start == span.start
        assert inside[-1].end == span.end
        assert all(before.end == after.start for before, after in itertools.pairwise(inside))
        rebuilt += inside
    assert rebuilt == parts


@given(recordings())
def test_windows_have_few_lengths(recording: tuple[list[Span], float]) -> None:
    """Whole seconds, but where the recording ends: each length costs a network time and memory."""
    spans, duration = recording
    for region in plan(spans, duration):
        length = region.end - region.start
        assert length == pytest.approx(round(length)) or region.end == pytest.approx(duration) or duration < region.end


def test_what_fits_the_window_is_one_region() -> None:
    (region,) = plan([Span(0.5, 19.4)], 19.8)
    assert (region.start, region.end, region.seam) == (0.0, 19.8, None)


def test_a_cut_is_in_the_longest_pause_near_and_both_sides_hear_beyond_it() -> None:
    first, second = plan([Span(0.5, 9), Span(9.8, 14), Span(14.3, 17), Span(17.3, 25)], 26)
    assert first.speech[-1].end == 9
    assert second.seam == pytest.approx(9.4)
    assert first.end == pytest.approx(11.0)
    assert second.start == pytest.approx(7.8, abs=OPTIONS.grid)
    assert second.end == pytest.approx(26.0)


def test_speech_without_any_pause_is_cut_in_equal_parts() -> None:
    regions = plan([Span(1.0, 61.0)], 62.0)
    assert [part.duration for region in regions for part in region.speech] == pytest.approx([15.0] * 4)
    assert [region.seam for region in regions] == pytest.approx([None, 16.0, 31.0, 46.0])


def test_what_is_far_apart_is_not_joined_and_the_silence_not_heard() -> None:
    first, second = plan([Span(1.0, 3.0), Span(30.0, 32.0)], 40.0)
    assert (first.start, first.end) == (0.0, 5.0)
    assert second.seam is None
    assert second.start == pytest.approx(28.0, abs=OPTIONS.grid)
    assert second.end == pytest.approx(34.0)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 100), st.integers(1, 9), st.integers(0, 99))
def test_without_looking_for_speech_all_is_heard(seconds: float, pieces: int, seed: int) -> None:
    """And each region has the recording's own samples: here their value is their place."""
    samples = np.arange(round(seconds * RATE), dtype=np.float32)
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(samples) + 1, pieces))
    reader = RegionReader(np.split(samples, cuts), vad=False, planner=OverlapPlanner(OPTIONS))
    regions = list(reader)
    check([item.region for item in regions], len(samples) / RATE)
    assert regions[0].region.start == 0
    assert regions[-1].region.end == pytest.approx(len(samples) / RATE)
    for item in regions:
        first = round(item.region.start * RATE)
        assert np.array_equal(item.samples, samples[first : round(item.region.end * RATE)])
    edges = [span for item in regions for span in item.region.speech]
    assert edges[0].start == 0
    assert edges[-1].end == pytest.approx(len(samples) / RATE)
    assert all(before.end == after.start for before, after in itertools.pairwise(edges))


def test_regions_wait_for_what_they_hear_behind_their_last_word() -> None:
    """They come as soon as it is there, and the tape keeps what is still to be heard."""
    noise = (0.3 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    blocks = [noise] * 90
    taken = 0

    def read() -> itertools.chain[np.ndarray]:
        nonlocal taken
        for block in blocks:
            taken += 1
            yield block

    reader = RegionReader(read(), vad=False, planner=OverlapPlanner(OPTIONS))
    for item in reader:
        assert taken >= item.region.end - 1e-9
        assert taken <= item.region.end + OPTIONS.window
        assert reader._tape.end - reader._tape._start / RATE <= 3 * OPTIONS.window
