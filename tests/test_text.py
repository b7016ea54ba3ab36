"""Text normalisers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport import text as text_package
from voxport.errors import UsageError
from voxport.text import (
    NORMALIZERS,
    get_normalizer,
    normalize_medasr,
    normalize_nothing,
    normalize_whisper_basic,
    normalize_whisper_english,
    whisper_numbers,
)


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


GOLDEN = json.loads((Path(__file__).parent / "data/whisper_normalizers.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize(("text", "english", "basic"), GOLDEN)
def test_whisper_is_word_for_word_openais(text: str, english: str, basic: str) -> None:
    """Outputs of openai-whisper 20250625 itself."""
    assert normalize_whisper_english(text) == english
    assert normalize_whisper_basic(text) == basic


WORDS = [*sorted(whisper_numbers._WORDS), "the", "half", "and a half", "$5", "£3.20", "0", "10", "2.5", "3rd", "100",
         "¢7", "won't", "it's", "um", "[a]", "colour", ",", "1,000", "5%", "%", "café", "½", "-5", "x2"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=8))
@settings(max_examples=300, deadline=None)
def test_whisper_agrees_with_transformers_port_of_it(words: list[str]) -> None:
    published = pytest.importorskip("transformers.models.whisper.english_normalizer")
    spellings = json.loads((Path(text_package.__file__).parents[1] / "data/english_spellings.json").read_text("utf-8"))
    text = " ".join(words)
    assert normalize_whisper_english(text) == published.EnglishTextNormalizer(spellings)(text).strip()
    assert normalize_whisper_basic(text) == published.BasicTextNormalizer()(text).strip()


@given(st.text())
@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_any_text_gives_words_with_one_space_between_them(name: str, text: str) -> None:
    normal = get_normalizer(name)(text)
    assert normal == " ".join(normal.split())


def test_a_figure_too_long_to_be_read_stays_a_word() -> None:
    assert normalize_whisper_english("7" * 5000) == "7" * 5000


def test_none_leaves_case_and_punctuation() -> None:
    assert normalize_nothing("  Hello,\tWorld! ") == "Hello, World!"


def test_by_name() -> None:
    assert list(NORMALIZERS) == ["whisper-english", "whisper-basic", "google-medasr", "none"]
    assert get_normalizer("google-medasr") is get_normalizer("medasr") is normalize_medasr


@pytest.mark.parametrize("name", ["whisper", "MedASR", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_normalizer(name)
    assert caught.value.message == f"unknown normalizer {name!r}"
    assert caught.value.hint == "normalizers are: whisper-english, whisper-basic, google-medasr, none"
