"""The arithmetic of benchmarks/languages.py, on answers made up here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from voxport.pipeline.languages import CERTAIN

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def languages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("languages")


def asked(languages: Any, kind: str, parts: Any, windows: Any) -> Any:
    """`windows`: (start, end, language, probability), speech all through."""
    heard = tuple(
        languages.Window(((start, end),), {code: probability, "xx": (1 - probability) / 2})
        for start, end, code, probability in windows
    )
    seconds = {code: 0.0 for _, _, code in parts}
    for start, end, code in parts:
        seconds[code] += end - start
    return languages.Asked("one", kind, max(seconds, key=seconds.__getitem__), tuple(parts), 30.0, heard)


def test_the_first_windows_are_averaged_by_their_seconds(languages: Any) -> None:
    one = asked(languages, "x", [(0, 60, "fr")], [(0, 5, "en", 0.9), (5, 30, "fr", 0.8), (30, 60, "fr", 0.9)])
    assert languages.found_by(one, 1) == ("en", pytest.approx(0.9))
    assert languages.found_by(one, 2) == ("fr", pytest.approx(25 * 0.8 / 30))
    assert languages.found_by(asked(languages, "x", [(0, 60, "fr")], []), 4) is None


def test_seconds_are_right_where_the_language_spoken_is_the_one_decoded(languages: Any) -> None:
    one = asked(languages, "x", [(0, 20, "fr"), (20, 60, "en")], [(0, 30, "fr", 0.9), (30, 60, "en", 0.9)])
    assert languages.right_seconds(one, ["fr", "en"]) == (50, 60)
    assert languages.right_seconds(one, ["en", "en"]) == (40, 60)
    assert languages.right_seconds(one, ["fr", "fr"]) == (20, 60)


def test_where_none_is_certain_the_beginning_decides(languages: Any) -> None:
    one = asked(languages, "x", [(0, 60, "fr")], [(0, 30, "fr", 0.9), (30, 60, "en", 0.6)])
    assert languages.per_window(one, 0.5, "fr") == ["fr", "en"]
    assert languages.per_window(one, 0.7, "fr") == ["fr", "fr"]
    assert languages.per_window(one, 0.7, None) == ["fr", "en"]


def test_tables_and_verdict(languages: Any) -> None:
    mixed = languages.mixed_kind(30)
    found = [
        asked(
            languages, languages.OTHER_OPENING, [(0, 9, "en"), (9, 60, "fr")], [(0, 30, "en", 0.6), (30, 60, "fr", 1.0)]
        ),
        asked(languages, languages.WORDS, [(0, 1, "fr")], [(0, 1, "fr", 0.95)]),
        asked(languages, languages.WORDS, [(0, 1, "fr")], [(0, 1, "es", 0.4)]),
        asked(languages, mixed, [(0, 30, "en"), (30, 60, "fr")], [(0, 30, "en", 0.9), (30, 60, "fr", 0.8)]),
    ]
    tables = languages.count(found, 30.0)
    assert tables.recordings[languages.OTHER_OPENING]["right"] == {1: 0, 2: 1, 4: 1, 8: 1}
    assert (tables.recordings[languages.WORDS]["windows_right"], tables.recordings[languages.WORDS]["windows"]) == (
        1,
        2,
    )
    assert tables.trust == {0.0: (0, 0), 0.3: (1, 0), 0.5: (0, 0), 0.7: (0, 0), 0.9: (1, 1)}
    (row,) = tables.mixed.values()
    assert row["one"] == pytest.approx(0.5)
    assert row["guarded"] == pytest.approx({0.0: 1.0, CERTAIN: 1.0, 0.7: 1.0, 0.9: 0.5})
    assert languages.worse(tables) == []
    tables.recordings[languages.OTHER_OPENING]["right"][1] = 2
    row["one"] = 1.1
    assert languages.worse(tables) == [languages.OTHER_OPENING, f"{mixed}, windows to 30 s"]
    assert "| 10 s in another, then 100 s | 1 | 2 | 1 | 1 | 1 | - | - |" in languages.report(tables, "m", MACHINE)


MACHINE = {
    "cpu": "a processor", "cores": 2, "flags": [], "memory_gib": 8, "system": "Linux", "load_average": [0.0],
    "date": "",
}  # fmt: skip
