"""Subtitles: cues, lines and their times.

The expected texts with words in time are what openai/whisper's ``SubtitlesWriter`` makes of the same words, worked out
by hand.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxport.errors import UsageError
from voxport.formats import SegmentFormatter, line_of, render
from voxport.subtitles import Cue, CueMaker, SubtitleOptions, display_width
from voxport.subtitles.line_breaks import line_breaks, parted
from voxport.types import ModelInfo, Segment, Transcript, Word

MODEL = ModelInfo(name="whisper-base", family="whisper", identity="ab" * 32, path="models/whisper-base")

Timed = tuple[str, float, float]


def segment(start: float, end: float, text: str, *words: Timed, **fields: Any) -> Segment:
    timed = tuple(Word(*word) for word in words) or None
    return Segment(id=0, seek=0, start=start, end=end, text=text, words=timed, **fields)


def spoken(*words: Timed, **fields: Any) -> Segment:
    return segment(words[0][1], words[-1][2], "".join(word for word, _, _ in words), *words, **fields)


def transcript(*segments: Segment, **fields: Any) -> Transcript:
    values = {"file": "talk.wav", "language": "en", "duration": 11.0, "device": "cpu", "dtype": "float32", **fields}
    return Transcript(segments=segments, text="".join(one.text for one in segments).strip(), model=MODEL, **values)


def cues(options: SubtitleOptions, *segments: Segment, spanning: bool = True) -> list[Cue]:
    maker = CueMaker(options, spanning=spanning)
    return [cue for one in segments for cue in maker.add(one, line_of(one))] + list(maker.close())


def shown(options: SubtitleOptions, *segments: Segment) -> list[tuple[float, float, str]]:
    return [(round(cue.start, 3), round(cue.end, 3), cue.text) for cue in cues(options, *segments)]


FELLOW = spoken(
    (" And", 0.0, 0.3), (" so", 0.3, 0.6), (" my", 0.6, 0.9), (" fellow", 0.9, 1.4), (" Americans,", 1.4, 2.2),
    (" ask", 5.3, 5.6), (" not", 5.6, 6.0),
)  # fmt: skip
COUNTRY = spoken((" what", 6.0, 6.2), (" your", 6.2, 6.5), (" country", 6.7, 7.0))


# As openai/whisper, where words have times.


def test_lines_break_at_the_width_and_a_segment_stays_a_cue() -> None:
    assert shown(SubtitleOptions(max_line_width=12), FELLOW, COUNTRY) == [
        (0.0, 6.0, "And so my\nfellow\nAmericans,\nask not"),
        (6.0, 7.0, "what your\ncountry"),
    ]


def test_a_word_that_fits_exactly_stays_on_the_line() -> None:
    assert shown(SubtitleOptions(max_line_width=9), FELLOW)[0][2].startswith("And so my\nfellow\n")
    assert shown(SubtitleOptions(max_line_width=8), FELLOW)[0][2].startswith("And so\nmy\nfellow\n")


def test_cues_break_at_the_count_and_at_a_long_pause_and_run_on_over_segments() -> None:
    assert shown(SubtitleOptions(max_line_width=12, max_line_count=2), FELLOW, COUNTRY) == [
        (0.0, 1.4, "And so my\nfellow"),
        (1.4, 2.2, "Americans,"),
        (5.3, 7.0, "ask not what\nyour country"),
    ]


@pytest.mark.parametrize(("pause", "texts"), [(3.0, ["a b"]), (3.001, ["a", "b"])])
def test_a_pause_is_long_above_three_seconds_from_start_to_start(pause: float, texts: list[str]) -> None:
    words = spoken((" a", 1.0, 1.2), (" b", 1.0 + pause, 5.0))
    assert [text for _, _, text in shown(SubtitleOptions(max_line_width=40, max_line_count=2), words)] == texts
    assert [text for _, _, text in shown(SubtitleOptions(max_line_width=40), words)] == ["a b"]


def test_cues_of_so_many_words_end_with_their_segment() -> None:
    assert shown(SubtitleOptions(max_words_per_line=3), FELLOW, COUNTRY) == [
        (0.0, 0.9, "And so my"),
        (0.9, 5.6, "fellow Americans, ask"),
        (5.6, 6.0, "not"),
        (6.0, 7.0, "what your country"),
    ]


def test_each_word_is_underlined_in_its_time() -> None:
    assert render(transcript(COUNTRY), "srt", subtitles=SubtitleOptions(highlight_words=True)) == (
        "1\n00:00:06,000 --> 00:00:06,200\n<u>what</u> your country\n\n"
        "2\n00:00:06,200 --> 00:00:06,500\nwhat <u>your</u> country\n\n"
        "3\n00:00:06,500 --> 00:00:06,700\nwhat your country\n\n"
        "4\n00:00:06,700 --> 00:00:07,000\nwhat your <u>country</u>\n\n"
    )


def test_underlining_and_line_breaks() -> None:
    options = SubtitleOptions(max_line_width=9, max_line_count=1, highlight_words=True)
    assert render(transcript(COUNTRY), "vtt", subtitles=options) == (
        "WEBVTT\n\n"
        "00:06.000 --> 00:06.200\n<u>what</u> your\n\n"
        "00:06.200 --> 00:06.500\nwhat <u>your</u>\n\n"
        "00:06.700 --> 00:07.000\n<u>country</u>\n\n"
    )
    options = SubtitleOptions(max_line_width=9, highlight_words=True)
    assert render(transcript(COUNTRY), "vtt", subtitles=options).endswith("what your\n<u>country</u>\n\n")


def test_underlining_words_that_overlap_never_goes_back() -> None:
    words = spoken((" a", 1.0, 2.0), (" b", 1.5, 1.8), (" c", 2.5, 3.0))
    found = cues(SubtitleOptions(highlight_words=True), words)
    assert [(cue.start, cue.end, cue.underlined) for cue in found] == [
        (1.0, 2.0, (0, 1)), (2.0, 2.0, (2, 3)), (2.0, 2.5, None), (2.5, 3.0, (4, 5)),
    ]  # fmt: skip


def test_vtt_escapes_what_is_said_and_not_its_own_tags() -> None:
    words = spoken((" a<b", 0, 1), (" &", 1, 2), (" -->", 2, 3))
    highlighted = SubtitleOptions(highlight_words=True)
    assert render(transcript(words), "vtt", subtitles=highlighted).split("\n")[3::3] == [
        "<u>a&lt;b</u> &amp; --&gt;", "a&lt;b <u>&amp;</u> --&gt;", "a&lt;b &amp; <u>--&gt;</u>",
    ]  # fmt: skip
    assert render(transcript(words), "srt", subtitles=highlighted).split("\n")[2::4] == [
        "<u>a<b</u> & ->", "a<b <u>&</u> ->", "a<b & <u>-></u>",
    ]  # fmt: skip


def test_words_that_no_space_parts_stay_together() -> None:
    words = spoken((" a", 0, 1), (" well", 1, 2), ("-known", 2, 3), (" fact", 3, 4))
    assert shown(SubtitleOptions(max_words_per_line=1), words) == [(0, 1, "a"), (1, 3, "well-known"), (3, 4, "fact")]
    assert shown(SubtitleOptions(max_line_width=6), words) == [(0, 4, "a\nwell-known\nfact")]


def test_chinese_words_are_parted_without_spaces_and_keep_their_punctuation() -> None:
    words = spoken(("今天", 0, 1), ("天气", 1, 2), ("很好", 2, 3), ("。", 3, 3.1), ("我们", 3.1, 4), ("出去", 4, 5))
    assert shown(SubtitleOptions(max_line_width=8, max_line_count=1), words) == [
        (0, 2, "今天天气"), (2, 3.1, "很好。"), (3.1, 5, "我们出去"),
    ]  # fmt: skip
    assert shown(SubtitleOptions(max_words_per_line=2), words)[1] == (2, 4, "很好。我们")


def test_a_word_wider_than_a_line_is_parted_in_scripts_that_allow_it() -> None:
    assert shown(SubtitleOptions(max_line_width=4, max_line_count=1), spoken(("東京都庁", 0, 2), ("前", 2, 3))) == [
        (0, 1, "東京"), (1, 2, "都庁"), (2, 3, "前"),
    ]  # fmt: skip
    assert shown(SubtitleOptions(max_line_width=4), spoken((" extraordinary", 0, 2), (" a", 2, 3))) == [
        (0, 3, "extraordinary\na")
    ]


def test_words_that_are_not_the_text_give_no_times() -> None:
    strange = segment(0, 4, " ab cd", (" ab", 0, 1), (" xx", 1, 2))
    assert shown(SubtitleOptions(max_line_width=2, max_line_count=1), strange) == [(0, 2, "ab"), (2, 4, "cd")]


def test_a_word_without_text_is_passed_over() -> None:
    words = segment(0, 4, " ab\ncd", (" ab\n", 0, 1), (" ", 1, 1), ("cd", 3, 4))
    assert shown(SubtitleOptions(max_words_per_line=1), words) == [(0, 1, "ab"), (3, 4, "cd")]


# Without times of words.


def test_segments_without_word_times_are_wrapped_and_their_time_is_shared_out_by_width() -> None:
    text = segment(10.0, 20.0, " one two six ten.")
    assert shown(SubtitleOptions(max_line_width=7), text) == [(10.0, 20.0, "one two\nsix\nten.")]
    # 6, 3 and 4 of 13 columns, spaces not counted.
    assert shown(SubtitleOptions(max_line_width=7, max_line_count=1), text) == [
        (10.0, 14.615, "one two"), (14.615, 16.923, "six"), (16.923, 20.0, "ten."),
    ]  # fmt: skip
    assert shown(SubtitleOptions(max_line_width=7, max_line_count=2), text) == [
        (10.0, 16.923, "one two\nsix"), (16.923, 20.0, "ten."),
    ]  # fmt: skip


def test_japanese_cues_share_the_time_by_width() -> None:
    options = SubtitleOptions(max_line_width=10, max_line_count=2)
    assert shown(options, segment(0, 11, "今日はいい天気ですね。明日は「雨」でしょう。")) == [
        (0.0, 4.5, "今日はいい\n天気です"),
        (4.5, 9.0, "ね。明日は\n「雨」で"),
        (9.0, 11.0, "しょう。"),
    ]


def test_segments_with_and_without_word_times_do_not_share_a_cue() -> None:
    options = SubtitleOptions(max_line_width=20, max_line_count=2)
    plain = segment(7.0, 8.0, " can do")
    later = spoken((" for", 8, 8.5), (" you", 8.5, 9))
    assert [text for _, _, text in shown(options, COUNTRY, plain, later)] == ["what your country", "can do", "for you"]


@pytest.mark.parametrize("options", [SubtitleOptions(max_words_per_line=3), SubtitleOptions(highlight_words=True)])
def test_what_needs_word_times_says_so(options: SubtitleOptions) -> None:
    with pytest.raises(UsageError, match="need words with times") as caught:
        render(transcript(segment(0, 1, " a")), "srt", subtitles=options)
    assert "--word_timestamps" in (caught.value.hint or "")
    report = spoken((" a", 0, 1), (" {period}", 1, 2), formatted_text="A.")
    with pytest.raises(UsageError, match="need words with times") as caught:
        render(transcript(report), "vtt", subtitles=options)
    assert caught.value.hint == "a formatted report has none"


def test_a_report_is_wrapped() -> None:
    report = spoken((" chest", 0, 1), (" clear", 1, 2), (" {period}", 2, 3), formatted_text="Chest clear.")
    options = SubtitleOptions(max_line_width=6)
    assert render(transcript(report), "vtt", subtitles=options).split("\n")[2:5] == [
        "00:00.000 --> 00:03.000", "Chest", "clear.",
    ]  # fmt: skip


# Options.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_line_width": 0}, "max_line_width can't be 0"),
        ({"max_line_width": 9, "max_line_count": -1}, "max_line_count can't be -1"),
        ({"max_words_per_line": 0}, "max_words_per_line can't be 0"),
        ({"max_line_count": 2}, "max_line_count does nothing without max_line_width"),
        ({"max_words_per_line": 2, "max_line_width": 9}, "can't both be"),
    ],
)
def test_options_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SubtitleOptions(**values)


def test_the_defaults_and_other_formats_change_nothing() -> None:
    whole = transcript(FELLOW, COUNTRY)
    assert render(whole, "srt", subtitles=SubtitleOptions()) == render(whole, "srt")
    narrow = SubtitleOptions(max_line_width=3)
    for output_format in ("txt", "tsv", "json"):
        assert render(whole, output_format, subtitles=narrow) == render(whole, output_format)


# Channels, streaming, times.


def test_split_channels_keep_their_cues_and_their_names() -> None:
    left = spoken((" Hello", 0, 1), (" there", 1, 2), channel=0)
    right = spoken((" Hi", 2, 3), channel=1)
    both = transcript(left, right, channel="split")
    options = SubtitleOptions(max_line_width=18, max_line_count=1)
    # The name takes 12 columns of the line in srt; in vtt it is not shown.
    assert render(both, "srt", subtitles=options).split("\n")[2::4] == [
        "[channel 0] Hello", "[channel 0] there", "[channel 1] Hi",
    ]  # fmt: skip
    assert render(both, "vtt", subtitles=options).split("\n")[3::3] == [
        "<v Channel 0>Hello there",
        "<v Channel 1>Hi",
    ]


LONG = spoken((" a", 0.0, 1.0), (" b", 1.0, 5.0), (" c", 7.0, 8.0), channel=0)
SHORT = spoken((" x", 1.0, 1.5), (" y", 1.5, 2.5), channel=1)
LATE = spoken((" d", 7.0, 9.0), channel=1)


def test_cues_of_split_channels_are_merged_by_start_and_keep_their_times() -> None:
    both = transcript(LONG, SHORT, LATE, channel="split")
    found = render(both, "vtt", subtitles=SubtitleOptions(max_words_per_line=1)).split("\n\n")[1:-1]
    assert [tuple(cue.split("\n")) for cue in found] == [
        ("00:00.000 --> 00:01.000", "<v Channel 0>a"),
        ("00:01.000 --> 00:05.000", "<v Channel 0>b"),
        ("00:01.000 --> 00:01.500", "<v Channel 1>x"),
        ("00:01.500 --> 00:02.500", "<v Channel 1>y"),
        ("00:07.000 --> 00:08.000", "<v Channel 0>c"),
        ("00:07.000 --> 00:09.000", "<v Channel 1>d"),
    ]
    highlighted = render(both, "srt", subtitles=SubtitleOptions(highlight_words=True)).split("\n")
    assert highlighted[0::4] == ["1", "2", "3", "4", "5", "6", "7", ""]
    assert "00:00:01,500 --> 00:00:02,500" in highlighted


def test_a_cue_of_a_split_channel_is_written_as_soon_as_none_can_come_before_it() -> None:
    formatter = SegmentFormatter("tsv", split=True, subtitles=SubtitleOptions(max_words_per_line=1))
    assert [formatter.segment(one).count("\n") for one in (LONG, SHORT, LATE)] == [1, 1, 1]
    formatter = SegmentFormatter("srt", split=True, subtitles=SubtitleOptions(max_words_per_line=1))
    assert [formatter.segment(one).count("-->") for one in (LONG, SHORT, LATE)] == [1, 2, 3]
    assert formatter.footer() == ""
    formatter = SegmentFormatter("srt", split=True, subtitles=SubtitleOptions(max_words_per_line=1))
    assert formatter.segment(LONG).count("-->") == 1
    assert re.findall(r"\] (.)", formatter.footer()) == ["b", "c"]


def test_a_cue_is_written_as_soon_as_it_is_complete() -> None:
    formatter = SegmentFormatter("srt", subtitles=SubtitleOptions(max_line_width=12, max_line_count=2))
    assert formatter.segment(FELLOW).count("-->") == 2
    assert formatter.segment(COUNTRY) == ""
    assert formatter.footer() == "3\n00:00:05,300 --> 00:00:07,000\nask not what\nyour country\n\n"
    formatter = SegmentFormatter("srt", subtitles=SubtitleOptions(max_line_width=12))
    assert formatter.segment(FELLOW).count("-->") == 1
    assert (formatter.segment(COUNTRY).count("-->"), formatter.footer()) == (1, "")


LETTERS = st.sampled_from('ab,.- 日本。「」ーっ　e\u0301\u200d\u200b😀🏽🇯🇵นำเ한국\u00a0\u2060!?"<&>\n')
TEXTS = st.text(LETTERS, max_size=40)
OPTIONS = st.one_of(
    st.builds(SubtitleOptions, max_line_width=st.integers(1, 30), max_line_count=st.none() | st.integers(1, 3)),
    st.builds(SubtitleOptions, max_line_width=st.integers(1, 30), highlight_words=st.booleans()),
    st.builds(SubtitleOptions, max_words_per_line=st.integers(1, 4), highlight_words=st.booleans()),
)


@st.composite
def timed_segments(draw: st.DrawFn) -> Segment:
    start = draw(st.integers(0, 100))
    times = sorted(draw(st.lists(st.integers(start, start + 20), min_size=2, max_size=12)))
    words = [(draw(TEXTS.map(lambda text: f" {text[:8]}")), float(a), float(b)) for a, b in pairwise(times)]
    return spoken(*words)


def bare(text: str) -> str:
    return "".join(text.split())


@settings(deadline=None)
@given(OPTIONS, st.lists(timed_segments(), max_size=5), st.sampled_from(["srt", "vtt"]))
def test_piece_by_piece_is_the_same_as_at_once(
    options: SubtitleOptions, segments: list[Segment], output_format: str
) -> None:
    formatter = SegmentFormatter(output_format, subtitles=options)
    pieces = [formatter.header(), *map(formatter.segment, segments), formatter.footer()]
    assert "".join(pieces) == render(transcript(*segments), output_format, subtitles=options)


@settings(deadline=None)
@given(OPTIONS, st.lists(timed_segments(), max_size=5))
@example(SubtitleOptions(max_line_width=1), [spoken((" <", 0.0, 0.0), (" \xa0", 0.0, 0.0), (" <<", 0.0, 0.0))])
def test_no_text_is_lost_or_doubled(options: SubtitleOptions, segments: list[Segment]) -> None:
    segments = [one for one in segments if line_of(one)]
    found = cues(options, *segments)
    words = "".join(
        cue.text if cue.underlined is None else cue.text[slice(*cue.underlined)]
        for cue in found
        if not options.highlight_words or cue.underlined
    )
    assert bare(words) == bare("".join(map(line_of, segments)))
    for cue in found:
        assert all(line.strip() and line == line.strip(" \u3000") for line in cue.text.split("\n"))
        assert cue.text.count("\n") < (options.max_line_count or 1000)


@settings(deadline=None)
@given(st.builds(segment, st.just(2.0), st.just(7.0), TEXTS), st.integers(1, 30), st.none() | st.integers(1, 3))
@example(segment(2.0, 7.0, "\u200b"), 1, 1)
def test_without_word_times(one: Segment, width: int, count: int | None) -> None:
    text = line_of(one)
    if not text:
        return
    found = cues(SubtitleOptions(max_line_width=width, max_line_count=count), one)
    assert bare("".join(cue.text for cue in found)) == bare(text)
    assert (found[0].start, found[-1].end) == (2.0, 7.0)
    assert all(cue.start <= cue.end for cue in found)
    assert all(before.end == after.start for before, after in pairwise(found))
    breaks = line_breaks(text)
    whole = {text[a:b].strip() for a, b in parted(text, breaks, width, first=0, last=len(text))}
    for cue in found:
        for line in cue.text.split("\n"):
            assert display_width(line) <= width or line in whole


@settings(deadline=None)
@given(OPTIONS, st.lists(timed_segments(), max_size=5), st.sampled_from(["srt", "vtt"]))
def test_files_stay_well_formed(options: SubtitleOptions, segments: list[Segment], output_format: str) -> None:
    text = render(transcript(*segments), output_format, subtitles=options)
    blocks = text.removeprefix("WEBVTT\n\n").split("\n\n")[:-1]
    earliest = 0
    for number, block in enumerate(blocks, start=1):
        rows = block.split("\n")
        if output_format == "srt":
            assert rows.pop(0) == str(number)
        start, end = (_milliseconds(time) for time in rows[0].split(" --> "))
        assert earliest <= start < end
        earliest = start
        assert "-->" not in "".join(rows[1:])
        if output_format == "vtt":
            assert set(re.findall("<.*?>", "".join(rows[1:]))) <= {"<u>", "</u>"}


def _milliseconds(time: str) -> int:
    *fields, milliseconds = re.split("[:.,]", time)
    seconds = 0
    for field in fields:
        seconds = 60 * seconds + int(field)
    return 1000 * seconds + int(milliseconds)
