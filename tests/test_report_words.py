"""Which words of two texts are marked as different, and that no character is lost on the way."""

from __future__ import annotations

import pytest

from voxport.report.word_marks import marked


@pytest.mark.parametrize(
    ("reference", "candidate", "left", "right"),
    [
        ("a b c", "a c", ["a ", "missing:b ", "c"], ["a c"]),
        ("a c", "a b c", ["a c"], ["a ", "added:b ", "c"]),
        (
            "He, said no.",
            "he said yes.",
            ["form:He, ", "said ", "replaced:no."],
            ["form:he ", "said ", "replaced:yes."],
        ),
        (
            "twenty-five men",
            "twenty-six men",
            ["twenty-", "replaced:five ", "men"],
            ["twenty-", "replaced:six ", "men"],
        ),
        ("我喜欢你。", "我喜歡你", ["我喜", "replaced:欢", "form:你。"], ["我喜", "replaced:歡", "form:你"]),
        ("", "you", [], ["added:you"]),
        ("...", "", ["missing:..."], []),
        ("", "", [], []),
        (' "odd  spaces" ', ' "odd  spaces" ', [' "odd  spaces" '], [' "odd  spaces" ']),
        ("गर्म", "गर्म", ["गर्म"], ["गर्म"]),
    ],
)
def test_marks(reference: str, candidate: str, left: list[str], right: list[str]) -> None:
    for pieces, expected, text in zip(marked(reference, candidate), (left, right), (reference, candidate), strict=True):
        shown = [("" if piece.mark == "equal" else f"{piece.mark}:") + piece.text + piece.space for piece in pieces]
        assert shown == expected
        assert "".join(piece.text + piece.space for piece in pieces) == text
