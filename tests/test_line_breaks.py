"""Where lines break, and how wide they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.subtitles import CueMaker, SubtitleOptions, display_width
from voxport.subtitles.columns import clusters
from voxport.subtitles.line_breaks import line_breaks
from voxport.types import Segment


def lines(text: str, width: int) -> list[str]:
    (cue,) = CueMaker(SubtitleOptions(max_line_width=width)).add(Segment(0, 0, 0.0, 1.0, text), text)
    return cue.text.split("\n")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3), ("日本", 4), ("ＡＢ", 4), ("ｶﾅ", 2), ("e\u0301", 1), ("한국", 4), ("\u1112\u1161\u11ab", 2),
        ("น้ำ", 2), ("कि", 1), ("😀", 2), ("👍🏽", 2), ("👨‍👩‍👧", 2), ("🇯🇵", 2), ("🇯🇵🇨🇳", 4), ("❤\ufe0f", 2),
        ("1\ufe0f\u20e3", 2), ("\u200b", 0), ("", 0),
    ],
)  # fmt: skip
def test_display_width(text: str, columns: int) -> None:
    assert display_width(text) == columns


def test_what_is_one_character_to_a_reader() -> None:
    assert clusters("ae\u0301👨‍👩‍👧👍🏽🇯🇵🇨🇳!") == ["a", "e\u0301", "👨‍👩‍👧", "👍🏽", "🇯🇵", "🇨🇳", "!"]


def test_japanese_wraps_by_width_with_kinsoku() -> None:
    assert lines("今日はいい天気ですね。明日は「雨」でしょう。", 10) == [
        "今日はいい",
        "天気です",
        "ね。明日は",
        "「雨」で",
        "しょう。",
    ]


@pytest.mark.parametrize("mark", "、。，．・：；？！）］｝〉》」』】…ー々ゃッ％”’,.!?)")
def test_no_line_begins_with(mark: str) -> None:
    assert lines(f"日本{mark}語", 4) == ["日", f"本{mark}", "語"]


@pytest.mark.parametrize("mark", "（［｛〈《「『【“‘([￥$")
def test_no_line_ends_with(mark: str) -> None:
    assert lines(f"日{mark}本語", 4) == ["日", f"{mark}本", "語"]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("我用voxport很好", 10, ["我用", "voxport很", "好"]),
        ("use 日本語 here", 8, ["use 日本", "語 here"]),
        ("Bonjour ! Oui", 8, ["Bonjour !", "Oui"]),
        ("Ça va ? Oui", 6, ["Ça", "va ?", "Oui"]),
        ("10\u00a0000 km", 6, ["10\u00a0000", "km"]),
        ("ab\u200bcd", 2, ["ab\u200b", "cd"]),
        ("日\u2060本", 2, ["日\u2060本"]),
        ('他说"好"了', 4, ["他", '说"好"了']),
        ("한국어 문장입니다", 10, ["한국어", "문장입니다"]),
        ("문장입니다", 6, ["문장입", "니다"]),
        ("😀😀👨‍👩‍👧👍🏽", 4, ["😀😀", "👨‍👩‍👧👍🏽"]),
        ("สวัสดี ครับ", 6, ["สวัสดี", "ครับ"]),
        ("น้ำเย็น", 2, ["น้ำ", "เย็", "น"]),
        ("か\u3099き\u3099", 2, ["か\u3099", "き\u3099"]),
        ("e\u0301te\u0301 a", 3, ["e\u0301te\u0301", "a"]),
        ("日本　語", 4, ["日本", "語"]),
    ],
)
def test_where_lines_break(text: str, width: int, expected: list[str]) -> None:
    assert lines(text, width) == expected


LETTERS = st.sampled_from('ab,.- 日本。「」ーっ　e\u0301\u200d\u200b😀🏽🇯🇵นำเ한국\u00a0\u2060!?"<&>\n')
TEXTS = st.text(LETTERS, max_size=40)


@settings(deadline=None)
@given(TEXTS)
def test_breaks_never_part_what_a_reader_sees_as_one(text: str) -> None:
    text = text.strip()
    starts = {len("".join(clusters(text)[:n])) for n in range(len(clusters(text)))}
    assert "".join(clusters(text)) == text
    assert set(line_breaks(text)) <= starts
