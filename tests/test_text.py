"""Text normalisers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.errors import UsageError
from voxport.text import NORMALIZERS, get_normalizer, normalize_medasr

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("The main PA is patent.", "the main pa is patent"),
        ("No saddle embolus {period}</s>", "no saddle embolus period"),
        ("No saddle embolus {period}</S>", "no saddle embolus period"),
        ("[EXAM TYPE] 54-year-old", "exam type 54 year old"),
        ("greater than left {period} {new paragraph} [IMPRESSION] {colon}",
         "greater than left period new paragraph impression colon"),
        ("the patient's  6.5\nmm", "the patient's 6 5 mm"),
        ("the patient’s café, 37 °C", "the patient s caf 37 c"),
    ],
)  # fmt: skip
def test_medasr(text: str, normal: str) -> None:
    assert normalize_medasr(text) == normal


@pytest.mark.parametrize(
    ("spoken", "written"),
    [("period.", "{period}"), ("comma", "{comma}"), ("colon.", "{colon}"), ("New paragraph.", "{new paragraph}")],
)
def test_a_spoken_command_is_its_mark(spoken: str, written: str) -> None:
    assert normalize_medasr(spoken) == normalize_medasr(written)


@given(st.text())
def test_medasr_leaves_words_of_its_alphabet_once_and_for_all(text: str) -> None:
    normal = normalize_medasr(text)
    assert re.fullmatch(r"([a-z0-9']+( [a-z0-9']+)*)?", normal)
    assert normalize_medasr(normal) == normal


def test_a_real_output_has_the_words_that_were_spoken(shared_data: Path) -> None:
    examples = shared_data.parent / "reference/medasr/medasr_real_output_examples.txt"
    if not examples.is_file():
        pytest.skip("needs reference/medasr beside the evaluation recordings")
    entries = map(json.loads, (shared_data / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    spoken = next(one["text"] for one in entries if one["file"] == "audio/syn-ct-pe.flac")
    lines = examples.read_text(encoding="utf-8").splitlines()
    output = next(line for line in lines if line.startswith("[EXAM TYPE]"))
    words = normalize_medasr(spoken).split(), normalize_medasr(output).split()
    assert [pair for pair in zip(*words, strict=True) if pair[0] != pair[1]] == []
    assert len(words[0]) == 82


def test_by_name() -> None:
    assert list(NORMALIZERS) == ["medasr"]
    assert get_normalizer("medasr") is normalize_medasr


@pytest.mark.parametrize("name", ["whisper", "MedASR", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_normalizer(name)
    assert caught.value.message == f"unknown normalizer {name!r}"
    assert caught.value.hint == "normalizers are: medasr"
