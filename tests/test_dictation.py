"""Dictation marks to a formatted report."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.dictation import COMMANDS, DictationFormatter, format_dictation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CT_CHEST = (
    "[EXAM TYPE] CT chest PE protocol {period} [INDICATION] 54-year-old female, shortness of breath, evaluate for PE "
    "{period} [TECHNIQUE] Standard protocol {period} [FINDINGS] {colon} Pulmonary vasculature {colon} The main PA is "
    "patent {period} There are filling defects in the segmental branches of the right lower lobe {comma} compatible "
    "with acute PE {period} No saddle embolus {period} Lungs {colon} No pneumothorax {period} Small bilateral "
    "effusions {comma} right greater than left {period} {new paragraph} [IMPRESSION] {colon} Acute segmental PE, "
    "right lower lobe {period}"
)
PROSE = (
    "Biopsy is a medical procedure in which a sample of tissue is removed from the body for examination. "
    "Osteoporosis is a condition in which bones become weak and brittle."
)
TAG_INSIDE = "The [DIAGNOSES] Includes cholecystitis, gastritis, and acid reflux."
SKIN_EXAM = (
    "[EXAM TYPE] Targeted skin exam . [INDICATION] 42-year-old male , suspicious mole . [FINDINGS] : Right upper back "
    ", 6 mm macule . {new paragraph} [IMPRESSION] : Atypical lesion . "
)

REAL = {
    CT_CHEST: (
        "EXAM TYPE: CT chest PE protocol.\n\n"
        "INDICATION: 54-year-old female, shortness of breath, evaluate for PE.\n\n"
        "TECHNIQUE: Standard protocol.\n\n"
        "FINDINGS: Pulmonary vasculature: The main PA is patent. There are filling defects in the segmental branches "
        "of the right lower lobe, compatible with acute PE. No saddle embolus. Lungs: No pneumothorax. Small bilateral "
        "effusions, right greater than left.\n\n"
        "IMPRESSION: Acute segmental PE, right lower lobe."
    ),
    PROSE: PROSE,
    TAG_INSIDE: "The diagnoses Includes cholecystitis, gastritis, and acid reflux.",
    SKIN_EXAM: (
        "EXAM TYPE: Targeted skin exam.\n\n"
        "INDICATION: 42-year-old male, suspicious mole.\n\n"
        "FINDINGS: Right upper back, 6 mm macule.\n\n"
        "IMPRESSION: Atypical lesion."
    ),
}


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> Path:
    folder = shared_data.parent / "reference/medasr"
    if not folder.is_dir():
        pytest.skip("needs reference/medasr beside the evaluation recordings")
    return folder


@pytest.fixture(scope="module")
def plain_texts(reference: Path) -> list[str]:
    """Real outputs for prose that was read: no marks."""
    value = json.loads((reference / "medasr_greedy_outputs_librispeech32.json").read_text(encoding="utf-8"))
    return list(value["texts"].values())


def fed(pieces: Iterable[str]) -> str:
    formatter = DictationFormatter()
    return "".join([formatter.feed(piece) for piece in pieces]) + formatter.finish()


# --- Real outputs


@pytest.mark.parametrize("text", REAL)
def test_real_outputs(text: str) -> None:
    assert format_dictation(text) == REAL[text]


def test_the_real_outputs_are_as_quoted(reference: Path) -> None:
    lines = (reference / "medasr_real_output_examples.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [CT_CHEST, PROSE, TAG_INSIDE]


def test_real_outputs_without_marks_are_unchanged(plain_texts: list[str]) -> None:
    assert len(plain_texts) == 32
    assert [format_dictation(text) for text in plain_texts] == plain_texts
    assert fed(plain_texts) == " ".join(plain_texts)


@pytest.mark.parametrize("text", REAL)
def test_real_outputs_may_be_cut_at_every_space(text: str) -> None:
    for space in (place for place, character in enumerate(text) if character == " "):
        assert fed([text[:space], text[space:]]) == REAL[text]
        assert fed([text[: space + 1], text[space + 1 :]]) == REAL[text]
        assert fed([text[:space], text[space + 1 :]]) == REAL[text]
    assert fed(text.split(" ")) == REAL[text]


# --- Rules


@pytest.mark.parametrize(
    ("command", "report"),
    [
        ("period", "a. B"),
        ("full stop", "a. B"),
        ("question mark", "a? B"),
        ("exclamation mark", "a! B"),
        ("exclamation point", "a! B"),
        ("comma", "a, b"),
        ("colon", "a: b"),
        ("semicolon", "a; b"),
        ("hyphen", "a-b"),
        ("dash", "a-b"),
        ("slash", "a/b"),
        ("open paren", "a (b"),
        ("open parenthesis", "a (b"),
        ("close paren", "a) b"),
        ("close parenthesis", "a) b"),
        ("open quote", 'a "b'),
        ("close quote", 'a" b'),
        ("new line", "a\nB"),
        ("newline", "a\nB"),
        ("next line", "a\nB"),
        ("new paragraph", "a\n\nB"),
        ("next paragraph", "a\n\nB"),
    ],
)
def test_every_command(command: str, report: str) -> None:
    assert command in COMMANDS
    for text in (f"a {{{command}}} b", f"a{{{command}}}b", f"a  {{ {command.upper().replace(' ', '  ')} }}  b"):
        assert format_dictation(text) == report


def test_no_command_is_untested() -> None:
    assert len(COMMANDS) == 22
    assert all(name == " ".join(name.lower().split()) for name in COMMANDS)


@pytest.mark.parametrize(
    ("text", "report"),
    [
        # A mark next to a mark
        ("he said {comma} {open quote} yes {period} {close quote} then left", 'he said, "yes." Then left'),
        ("L4 {hyphen} {open paren} a {close paren} {slash} L5", "L4-(a)/L5"),
        ("mass {open paren} 5 mm {close paren} {comma} stable {period}", "mass (5 mm), stable."),
        ("a {close paren} {open quote} b {close quote} {period}", 'a) "b".'),
        ("{open quote} {open paren} a {close paren} {close quote}", '"(a)"'),
        # The same twice is once, if it is one of , . ; : ? !
        ("a , {comma} b", "a, b"),
        ("a . {period} b", "a. B"),
        ("a {period} . b", "a. B"),
        ("a. {period} b", "a. B"),
        ("a {period} {period} {period} b", "a. B"),
        ("a : {colon} b ; {semicolon} c ? {question mark} d", "a: b; c? D"),
        ("a . . . b", "a. b"),
        ("a {hyphen} {hyphen} b", "a--b"),
        ("{open paren} {open paren} a", "((a"),
        # Others stay
        ("a , {period} b", "a,. B"),
        ("a {period} , b", "a., b"),
        ("a {period} {comma} b", "a., b"),
        ("a . {new line} {period} b", "a.\n. B"),
        # Nothing before
        ("{period} a", ". A"),
        (", a", ", a"),
        ("{hyphen} a {new line} {hyphen} b", "-a\n-b"),
    ],
)
def test_punctuation(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("a , b . c ; d : e ? f ! g", "a, b. c; d: e? f! g"),
        ("a ,b", "a ,b"),
        ("wait ... no", "wait ... no"),
        ("so ?! no", "so ?! no"),
        ('he said , "yes . "', 'he said, "yes. "'),
        ("a\n, b", "a\n, b"),
        ("{close quote}, a", '", a'),
        ("{foo}: a {foo}:a [1].5", "{foo}: a {foo}:a [1].5"),
    ],
)
def test_punctuation_of_the_text_itself(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("a {period} the", "a. The"),
        ("a {period} école", "a. École"),
        ("a {period} eGFR is low", "a. EGFR is low"),
        ("a {period} THE {period} tHE", "a. THE. THE"),
        ("a {period} 5 mm", "a. 5 mm"),
        ('a {period} "the" end', 'a. "the" end'),
        ("a {period} (the end)", "a. (the end)"),
        ("a {period} {open quote} the end", 'a. "The end'),
        ("a {period} {open paren} the end", "a. (The end"),
        ("a {period} {close quote} the end", 'a." The end'),
        ("a {period} {new paragraph} the end", "a.\n\nThe end"),
        ("a {new line} {hyphen} the end", "a\n-the end"),
        ("a . the", "a. the"),
        ("a. the", "a. the"),
        ("a\nthe", "a\nthe"),
        ("the", "the"),
        ("[FINDINGS] the", "FINDINGS: The"),
        ("[FINDINGS] {colon} the {colon} end", "FINDINGS: The: end"),
        ("[FINDINGS] 5 mm", "FINDINGS: 5 mm"),
    ],
)
def test_capitals(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("a {new line} {new line} b", "a\n\nB"),
        ("a {new line} {new line} {new line} b", "a\n\nB"),
        ("a {new paragraph} {new paragraph} b", "a\n\nB"),
        ("a {new line} {new paragraph} b", "a\n\nB"),
        ("{new paragraph} a {new paragraph}", "A"),
        (" {newline} ", ""),
        ("a {open quote} {new line} b", 'a "\nB'),
        ("a {hyphen} {new line} b", "a-\nB"),
        ("  a   b  ", "a b"),
        ("a\tb", "a b"),
        ("a \n b", "a\nb"),
        ("a\r\n\r\n\r\nb", "a\n\nb"),
        ("54\u00a0mm", "54\u00a0mm"),
        ("", ""),
    ],
)
def test_layout(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("[FINDINGS] a", "FINDINGS: A"),
        ("[ FINDINGS ] a", "FINDINGS: A"),
        ("[EXAM  TYPE ] a", "EXAM TYPE: A"),
        ("[HISTORY/PLAN & X-RAY] a", "HISTORY/PLAN & X-RAY: A"),
        # A colon after it is its own
        ("[FINDINGS] : a", "FINDINGS: A"),
        ("[FINDINGS]: a", "FINDINGS: A"),
        ("[FINDINGS]:a", "FINDINGS: A"),
        ("[FINDINGS] : {colon} a", "FINDINGS: A"),
        ("[FINDINGS] {period} a", "FINDINGS:. A"),
        # Where a heading may stand
        ("a {period} [FINDINGS] b", "a.\n\nFINDINGS: B"),
        ("a ? [FINDINGS] b", "a?\n\nFINDINGS: B"),
        ("a. [FINDINGS] b", "a.\n\nFINDINGS: B"),
        ('"a." [FINDINGS] b', '"a."\n\nFINDINGS: B'),
        ('a . " [FINDINGS] b', 'a. "\n\nFINDINGS: B'),
        ("a {period} {close paren} [FINDINGS] b", "a.)\n\nFINDINGS: B"),
        ("a {new line} [FINDINGS] b", "a\n\nFINDINGS: B"),
        ("a {new paragraph} [FINDINGS] b", "a\n\nFINDINGS: B"),
        ("a\n[FINDINGS] b", "a\n\nFINDINGS: B"),
        ("[FINDINGS] [IMPRESSION] a", "FINDINGS:\n\nIMPRESSION: A"),
        ("[FINDINGS] {colon} [IMPRESSION] {colon}", "FINDINGS:\n\nIMPRESSION:"),
        ("[FINDINGS] {new paragraph} a", "FINDINGS:\n\nA"),
        ("{new paragraph} [FINDINGS]", "FINDINGS:"),
        # And where not
        ("see [FINDINGS] b", "see findings b"),
        ("see [EXAM  TYPE] : b", "see exam type: b"),
        ("chest [FINDINGS] b", "chest\n\nFINDINGS: B"),  # a period that was not dictated
        ("chest , [FINDINGS] b", "chest,\n\nFINDINGS: B"),
        ("The {open quote} [FINDINGS] b", 'The "findings b'),
        ("see[FINDINGS]b", "see findings b"),
        ("see ([FINDINGS]), {open quote} [DIAGNOSES] {close quote}", 'see (findings), "diagnoses"'),
        # No section's name
        ("[Findings] [1] [T2] [] [ ] [see below]", "[Findings] [1] [T2] [] [ ] [see below]"),
    ],
)
def test_sections(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("a {insert macro} b", "a {insert macro} b"),
        ("a{Insert  Macro}b", "a{Insert Macro}b"),
        ("a {} { } {per iod} {periods} b", "a {} { } {per iod} {periods} b"),
        ("a {a , b} {comma}", "a {a , b},"),
        ("a {period} {macro} b", "a. {macro} B"),
        ("a {period} {macro} [FINDINGS] b", "a. {macro}\n\nFINDINGS: B"),
        ("a {macro} [FINDINGS] b", "a {macro} findings b"),
    ],
)
def test_unknown_commands_stay(text: str, report: str) -> None:
    assert format_dictation(text) == report


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("a { b", "a { b"),
        ("a {period", "a {period"),
        ("a period} ] b", "a period} ] b"),
        ("a { {period} b", "a {. B"),
        ("a {new {new line} b", "a {new\nB"),
        ("a [FIND {period} b", "a [FIND. B"),
        ("{FINDINGS] a {comma}", "{FINDINGS] a,"),
        ("{" + "x" * 41 + " , a}", "{" + "x" * 41 + ", a}"),
    ],
)
def test_an_orphan_bracket_is_text(text: str, report: str) -> None:
    assert format_dictation(text) == report


# --- Piece by piece


def test_what_is_certain_comes_at_once() -> None:
    formatter = DictationFormatter()
    assert formatter.feed("[EXAM TYPE] CT chest") == "EXAM TYPE: CT chest"
    assert formatter.feed("PE protocol {period} {new") == " PE protocol."
    assert formatter.feed("") == ""
    assert formatter.feed("paragraph}") == ""
    assert formatter.feed("[") == ""
    assert formatter.feed(" FINDINGS ] patent") == "\n\nFINDINGS: Patent"
    assert formatter.feed("{comma}") == ","
    assert formatter.finish() == ""
    assert formatter.finish() == ""


def test_an_open_bracket_waits_for_its_end_but_not_forever() -> None:
    formatter = DictationFormatter()
    assert formatter.feed("a {" + "x" * 38) == "a"
    assert formatter.feed("y") == ""
    assert formatter.feed("z") == " {" + "x" * 38 + " y z"
    assert formatter.feed("[FIND") == ""
    assert formatter.feed("{") == " [FIND"
    assert formatter.finish() == " {"


# --- Whatever comes

PIECES = st.one_of(
    st.sampled_from([f"{{{name}}}" for name in COMMANDS]),
    st.sampled_from(["{Period}", "{macro 5}", "[FINDINGS]", "[ EXAM  TYPE ]", "[1]", "{", "}", "[", "]"]),
    st.sampled_from([*",.;:?!\"'-", "...", "mole.", "a,", "the", "PE", "5", "ß", "x" * 20]),
    st.sampled_from([" ", "  ", "\n", "\t", " \n\n\n "]),
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=20).map(" ".join),
    st.lists(PIECES, max_size=20).map("".join),
    st.text(alphabet=" \n{}[].,:aB", max_size=60),
    st.text(),
)


@given(TEXTS, st.data())
def test_the_report_does_not_depend_on_the_cuts(text: str, data: st.DataObject) -> None:
    spaces = [place for place, character in enumerate(text) if character in " \n\t"]
    cuts = sorted(data.draw(st.sets(st.sampled_from(spaces)))) if spaces else []
    after = data.draw(st.booleans())
    edges = [0, *(cut + after for cut in cuts), len(text)]
    assert fed(text[start:end] for start, end in itertools.pairwise(edges)) == format_dictation(text)


@given(st.lists(TEXTS, max_size=4))
def test_pieces_are_words_apart(texts: list[str]) -> None:
    assert fed(texts) == format_dictation(" ".join(texts))


def letters(text: str) -> Counter[str]:
    return Counter(character for character in text.casefold() if character.isalnum())


def without_commands(text: str) -> str:
    def kept(command: re.Match[str]) -> str:
        return "" if " ".join(command[1].lower().split()) in COMMANDS else command[0]

    return re.sub(r"\{([^][{}]*)\}", kept, text)


@given(TEXTS)
def test_no_letter_is_lost_or_made_up(text: str) -> None:
    assert letters(format_dictation(text)) == letters(without_commands(text))


@given(TEXTS)
def test_a_report_has_no_white_space_too_many(text: str) -> None:
    report = format_dictation(text)
    assert report == report.strip(" \n\t\r\f\v")
    assert all(line == line.strip(" \t\r\f\v") for line in report.split("\n"))
    assert "\n\n\n" not in report
    assert "  " not in report


@given(TEXTS)
def test_a_report_without_brackets_stays_as_it_is(text: str) -> None:
    report = format_dictation(text)
    if not re.search(r"[{[]", report):
        assert format_dictation(report) == report


@given(st.lists(st.text(alphabet="abcXYZ019éß'\"()/-%+*_,.", min_size=2), max_size=12), st.sampled_from([" ", "\n\n"]))
def test_text_without_marks_is_unchanged(words: list[str], between: str) -> None:
    text = between.join(words)
    assert format_dictation(text) == text
    assert format_dictation(f"  {text}\n") == text


# --- Long texts: with a quadratic step these run into the time limit


@pytest.mark.parametrize(
    ("text", "report"),
    [
        (f"{CT_CHEST} {{new paragraph}} ", REAL[CT_CHEST] + "\n\n"),
        ("{", "{"),
        ("{ ", "{ "),
        ("[a ", "[a "),
        ("a}", "a}"),
        ("a", "a"),
        ("ab..", "ab.."),
        ("{x} ", "{x} "),
        ("\"'.a", "\"'.a"),
    ],
)
def test_a_megabyte(text: str, report: str) -> None:
    count = 1_000_000 // len(text)
    assert format_dictation(text * count) == (report * count).strip()


def test_a_megabyte_of_marks_and_of_space() -> None:
    assert format_dictation("a {period} " * 100_000) == "a." + " A." * 99_999
    assert format_dictation(". " * 500_000) == "."
    assert format_dictation("a" + " " * 1_000_000 + "b" + " \n" * 500_000 + "c") == "a b\n\nc"


def test_many_pieces() -> None:
    assert fed(["{", *[" "] * 100_000, "period}"]) == "."
    assert fed(["mole", "{period}"] * 50_000) == "mole." + " Mole." * 49_999
