"""The arithmetic of benchmarks/word_times.py: positions, matches, errors and reliability."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("word_scoring")


@pytest.fixture
def positions(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("word_positions")


def test_errors_are_of_the_edges_that_were_heard(scoring: Any, positions: Any) -> None:
    marks = [
        positions.Mark(0.0, 1.0, "Ask not"),
        positions.Mark(2.0, 3.0, "what well-known"),
        positions.Mark(4, 5, "you"),
    ]
    words = [(" Ask", 0.1, 0.4, 0.9), (" not,", 0.4, 0.8, 0.9), (" what", 2.5, 2.6, 0.9), (" well", 2.6, 2.7, 0.9)]
    found = scoring.errors(marks, [*words, ("-known.", 2.7, 3.3, 0.9), (" him", 4.0, 5.0, 0.9)])
    assert found.starts == pytest.approx((0.1, 0.5))
    assert found.ends == pytest.approx((-0.2, 0.3))
    assert found.known == 6
    assert (found + found).known == 12


def test_a_figure_is_its_name(scoring: Any, positions: Any) -> None:
    found = scoring.errors([positions.Mark(0.0, 1.0, "seven")], [(" 7,", 0.25, 1.0, 0.9)])
    assert found.starts == (0.25,)


def test_reliability(scoring: Any) -> None:
    judged = [(0.95, True)] * 8 + [(1.0, False)] * 2 + [(0.15, False)] * 10
    bins, error = scoring.reliability(judged)
    assert [number for number, found in enumerate(bins) if found is not None] == [1, 9]
    assert (bins[9].words, bins[9].probability, bins[9].right) == (10, pytest.approx(0.96), 0.8)
    assert error == pytest.approx((0.16 * 10 + 0.15 * 10) / 20)
    assert scoring.reliability([])[1] == 0.0


def test_right_words(scoring: Any) -> None:
    words = [(" Ask", 0.0, 0.0, 0.9), (" knot", 0.0, 0.0, 0.4), (" ...", 0.0, 0.0, 0.1), (" what", 0.0, 0.0, 0.8)]
    assert scoring.right("ask not what", words) == [(0.9, True), (0.4, False), (0.8, True)]


def test_digits_are_found_by_the_silence_between_and_joined_anew(positions: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    lengths = [4000, 5000, 6000]
    pieces = []
    for length in lengths:
        pieces += [generator.uniform(0.1, 0.5, length).astype(np.float32), np.zeros(2880, np.float32)]
    clip = tmp_path / "clip.flac"
    soundfile.write(clip, np.concatenate(pieces[:-1]), 16_000, subtype="PCM_16")
    entry = {"file": "clip.flac", "text": "one two three", "lang": "en", "kind": "real-concat"}
    long = {"file": "clip.flac", "text": "a", "lang": "en", "kind": "longform"}
    long["segments"] = [{"start": 0.0, "end": 0.25, "text": "one"}]  # type: ignore[assignment]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps(line) for line in (entry, long)))
    assert positions.parts(clip, ["one", "two", "three"]) == [
        ("one", 0, 4000), ("two", 6880, 11880), ("three", 14760, 20760)
    ]  # fmt: skip
    found = positions.known_recordings(manifest, tmp_path, seed=3)
    assert len(found) == 2 + 2 * positions.ORDERS
    for one in found:
        samples = soundfile.read(one.file)[0]
        ends = 0.0
        for mark in one.marks:
            assert mark.start >= ends
            inside = samples[round(mark.start * 16_000) : round(mark.end * 16_000)]
            assert np.abs(inside).min() > 0.05
            ends = mark.end
    with pytest.raises(ValueError, match="3 parts"):
        positions.parts(clip, ["one"])
    again = positions.known_recordings(manifest, tmp_path, seed=3)
    assert [one.marks for one in again] == [one.marks for one in found]


def test_pauses_are_as_asked_for(positions: Any, tmp_path: Path) -> None:
    pieces = [("a", np.ones(1600, np.float32)), ("b", np.ones(800, np.float32))]
    first, second = positions.join(pieces, (0.1, 0.2), random.Random(0), tmp_path / "x.flac")
    assert 0.1 <= first.start <= 0.2
    assert first.end - first.start == pytest.approx(0.1)
    assert 0.1 <= second.start - first.end <= 0.2
