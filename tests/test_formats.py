"""Transcripts as text and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.errors import AudioError
from voxport.formats import FORMATS, SegmentFormatter, failure_object, json_line, line_of, render, timestamp
from voxport.types import SCHEMA_VERSION, ModelInfo, Segment, Transcript, Word

MODEL = ModelInfo(name="whisper-tiny.en", family="whisper", identity="ab" * 32, path="models/whisper-tiny.en")


def segment(start: float, end: float, text: str, **fields: Any) -> Segment:
    return Segment(id=0, seek=0, start=start, end=end, text=text, **fields)


def transcript(*segments: Segment, **fields: Any) -> Transcript:
    values = {"file": "talk.wav", "language": "en", "duration": 11.0, "device": "cpu", "dtype": "float32"}
    text = "".join(one.text for one in segments).strip()
    return Transcript(segments=segments, text=text, model=MODEL, **{**values, **fields})


TWO = transcript(segment(0.0, 3.24, " And so my fellow Americans,"), segment(3.24, 3661.5, " ask not."))


def test_txt() -> None:
    assert render(TWO, "txt") == "And so my fellow Americans,\nask not.\n"


def test_srt() -> None:
    assert render(TWO, "srt") == (
        "1\n00:00:00,000 --> 00:00:03,240\nAnd so my fellow Americans,\n\n"
        "2\n00:00:03,240 --> 01:01:01,500\nask not.\n\n"
    )


def test_vtt_leaves_out_hours_below_one() -> None:
    assert render(TWO, "vtt") == (
        "WEBVTT\n\n00:00.000 --> 00:03.240\nAnd so my fellow Americans,\n\n00:03.240 --> 01:01:01.500\nask not.\n\n"
    )


def test_tsv_is_in_milliseconds() -> None:
    assert render(TWO, "tsv") == "start\tend\ttext\n0\t3240\tAnd so my fellow Americans,\n3240\t3661500\task not.\n"


@pytest.mark.parametrize(
    ("output_format", "expected"), [("txt", ""), ("srt", ""), ("vtt", "WEBVTT\n\n"), ("tsv", "start\tend\ttext\n")]
)
def test_no_speech_gives_an_empty_but_valid_file(output_format: str, expected: str) -> None:
    assert render(transcript(), output_format) == expected


def test_no_speech_in_json() -> None:
    value = json.loads(render(transcript(language=None), "json"))
    assert (value["text"], value["segments"], value["language"], value["duration"]) == ("", [], None, 11.0)


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "00:00.000"),
        (59_999, "00:59.999"),
        (60_000, "01:00.000"),
        (3_599_999, "59:59.999"),
        (3_600_000, "01:00:00.000"),
    ],
)
def test_timestamp(milliseconds: int, expected: str) -> None:
    assert timestamp(milliseconds) == expected


def test_timestamp_beyond_a_day_counts_hours_on() -> None:
    assert timestamp(100 * 3_600_000, decimal_marker=",", always_hours=True) == "100:00:00,000"


def test_rounding_carries_into_the_minute() -> None:
    text = render(transcript(segment(59.9996, 119.9996, " a")), "srt")
    assert "00:01:00,000 --> 00:02:00,000" in text


def test_times_are_never_negative_and_never_go_back() -> None:
    lines = render(transcript(segment(-0.02, 1.0, "a"), segment(2.0, 3.0, "b"), segment(1.5, 1.2, "c")), "tsv")
    assert lines.splitlines()[1:] == ["0\t1000\ta", "2000\t3000\tb", "2000\t2001\tc"]


def test_a_cue_lasts_at_least_a_millisecond() -> None:
    assert "00:01.000 --> 00:01.001" in render(transcript(segment(1.0, 1.0, "a")), "vtt")


@pytest.mark.parametrize("output_format", ["txt", "srt", "vtt", "tsv"])
def test_a_segment_without_text_is_left_out_and_not_counted(output_format: str) -> None:
    words = [segment(0, 1, " a"), segment(1, 2, "  "), segment(2, 3, ""), segment(3, 4, " b")]
    text = render(transcript(*words), output_format)
    assert text == render(transcript(words[0], words[3]), output_format)
    if output_format == "srt":
        assert re.findall(r"(?m)^\d+$", text) == ["1", "2"]


def test_line_breaks_and_tabs_inside_a_segment_become_spaces() -> None:
    assert line_of(segment(0, 1, " a\nb\r\nc\td\u2028e\x1b[31m")) == "a b c d e [31m"


def test_vtt_escapes_what_has_a_meaning_there() -> None:
    text = render(transcript(segment(0, 1, " a --> b < c & d")), "vtt")
    assert text.splitlines()[3] == "a --&gt; b &lt; c &amp; d"


def test_srt_has_no_arrow_but_its_own() -> None:
    assert render(transcript(segment(0, 1, " a --> b")), "srt").splitlines()[2] == "a -> b"


def test_split_channels_are_named() -> None:
    both = transcript(segment(0, 1, " Hello", channel=0), segment(0.5, 2, " Hi", channel=1), channel="split")
    assert render(both, "txt") == "[channel 0] Hello\n[channel 1] Hi\n"
    assert render(both, "srt").splitlines()[2::4] == ["[channel 0] Hello", "[channel 1] Hi"]
    assert render(both, "vtt").splitlines()[3::3] == ["<v Channel 0>Hello", "<v Channel 1>Hi"]
    assert render(both, "tsv") == "start\tend\tchannel\ttext\n0\t1000\t0\tHello\n500\t2000\t1\tHi\n"
    assert [one["channel"] for one in json.loads(render(both, "json"))["segments"]] == [0, 1]


def test_one_chosen_channel_is_not_named() -> None:
    assert render(transcript(segment(0, 1, " Hello", channel=1), channel=1), "txt") == "Hello\n"


def test_piece_by_piece_is_the_same_as_at_once() -> None:
    for output_format in ("txt", "srt", "vtt", "tsv"):
        formatter = SegmentFormatter(output_format)
        pieces = [formatter.header(), *(formatter.segment(one) for one in TWO.segments)]
        assert "".join(pieces) == render(TWO, output_format)


REPORT = (
    segment(0, 2, " chest clear {period} {new paragraph}", formatted_text="chest clear."),
    segment(2, 4, " [IMPRESSION] {colon} normal {period}", formatted_text="\n\nIMPRESSION: Normal."),
)


def test_a_report_keeps_its_lines_in_txt() -> None:
    assert render(transcript(*REPORT), "txt") == "chest clear.\n\nIMPRESSION: Normal.\n"
    formatter = SegmentFormatter("txt")
    pieces = [formatter.header(), *map(formatter.segment, REPORT), formatter.footer()]
    assert "".join(pieces) == render(transcript(*REPORT), "txt")


def test_a_report_is_a_line_a_segment_elsewhere() -> None:
    assert render(transcript(*REPORT), "srt").splitlines()[2::4] == ["chest clear.", "IMPRESSION: Normal."]
    table = render(transcript(*REPORT), "tsv").splitlines()
    assert table[1:] == ["0\t2000\tchest clear.", "2000\t4000\tIMPRESSION: Normal."]
    split = transcript(*(replace(one, channel=1) for one in REPORT), channel="split")
    assert render(split, "txt") == "[channel 1] chest clear.\n[channel 1] IMPRESSION: Normal.\n"
    found = json.loads(render(transcript(*REPORT), "json"))["segments"]
    assert [one["text"] for one in found] == [one.text for one in REPORT]
    assert [one["formatted_text"] for one in found] == [one.formatted_text for one in REPORT]


def test_a_report_without_words_is_an_empty_file() -> None:
    assert render(transcript(segment(0, 1, "", formatted_text="")), "txt") == ""


def test_a_report_has_no_control_characters_but_line_breaks() -> None:
    assert render(transcript(segment(0, 1, " a", formatted_text="a\x1b[31m\nb\r")), "txt") == "a [31m\nb \n"


def test_tsv_of_several_files_names_each() -> None:
    formatter = SegmentFormatter("tsv", file="a\tb.wav")
    assert formatter.header() + formatter.segment(TWO.segments[0]) == (
        "file\tstart\tend\ttext\na b.wav\t0\t3240\tAnd so my fellow Americans,\n"
    )


def test_json_has_the_documented_fields() -> None:
    words = (Word(" ask", 3.24, 3.5, 0.9),)
    value = json.loads(render(transcript(segment(3.24, 4.0, " ask", tokens=(1265,), words=words), words=words), "json"))
    assert list(value) == [
        "schema", "file", "text", "language", "duration", "segments", "model", "device", "dtype",
        "float32_modules", "words", "language_probability", "language_probabilities", "formatted_text", "channel",
        "simulated", "environment", "timings",
    ]  # fmt: skip
    assert value["schema"] == 1
    assert value["model"]["identity"] == "ab" * 32
    assert value["segments"][0] == {
        "id": 0, "seek": 0, "start": 3.24, "end": 4.0, "text": " ask", "tokens": [1265], "temperature": None,
        "avg_logprob": None, "compression_ratio": None, "no_speech_prob": None, "channel": None, "flags": [],
        "words": [{"word": " ask", "start": 3.24, "end": 3.5, "probability": 0.9}], "token_times": None,
        "token_probabilities": None, "language": None, "formatted_text": None,
    }  # fmt: skip


def test_json_is_one_line_of_utf_8() -> None:
    line = render(transcript(segment(0, 1, " ¿Qué?\n日本")), "json")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert "日本" in line


def test_json_has_no_nan() -> None:
    value = json.loads(render(transcript(segment(0, 1, "a", avg_logprob=math.nan, temperature=-math.inf)), "json"))
    assert value["segments"][0]["avg_logprob"] is None
    assert value["segments"][0]["temperature"] is None


def test_json_keeps_a_file_name_that_is_no_utf_8() -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    line = json_line({"file": name})
    assert line.encode("utf-8").decode("utf-8") == line
    assert json.loads(line)["file"] == name


def test_failed_input() -> None:
    error = AudioError("this is no recording", hint="check the file", code="audio_corrupt")
    assert failure_object("x.wav", error) == {
        "schema": 1,
        "file": "x.wav",
        "error": {"code": "audio_corrupt", "message": "this is no recording", "hint": "check the file"},
    }


def test_interrupted_input_keeps_what_was_done() -> None:
    value = failure_object("talk.wav", AudioError("interrupted"), TWO)
    assert value["text"] == "And so my fellow Americans, ask not."
    assert value["error"]["message"] == "interrupted"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="pdf"):
        SegmentFormatter("pdf")


TIMES = st.floats(min_value=-1, max_value=1e6, allow_nan=False)
SEGMENTS = st.lists(st.builds(segment, TIMES, TIMES, st.text(max_size=30)), max_size=8)


@given(SEGMENTS)
def test_all_formats_agree_on_the_words(segments: list[Segment]) -> None:
    whole = transcript(*segments)
    texts = {output_format: render(whole, output_format) for output_format in FORMATS}
    lines = [line_of(one) for one in segments if line_of(one)]
    assert texts["txt"].split("\n")[:-1] == lines
    assert [row.split("\t")[2] for row in texts["tsv"].split("\n")[1:-1]] == lines
    cues = texts["srt"].split("\n\n")[:-1]
    assert [cue.split("\n")[2] for cue in cues] == [line.replace("-->", "->") for line in lines]
    assert [one["text"] for one in json.loads(texts["json"])["segments"]] == [one.text for one in segments]
    blocks = texts["vtt"].split("\n\n")[1:-1]
    unescaped = [
        block.split("\n")[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for block in blocks
    ]
    assert unescaped == lines
    assert all(block.count("-->") == 1 for block in blocks)


def test_the_documentation_names_every_field_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs/reference/json.md").read_text(encoding="utf-8")
    sections = {section.splitlines()[0]: section for section in page.split("\n## ")[1:]}

    def documented(section: str) -> list[str]:
        return re.findall(r"(?m)^\| `(\w+)` \| (?!\|)", sections[section])

    def fields(kind: type) -> list[str]:
        return [field.name for field in dataclasses.fields(kind)]

    assert sorted(documented("The object")) == sorted(TWO.to_dict())
    assert sorted(documented("Segments")) == sorted(fields(Segment))
    assert documented("Words") == fields(Word)
    assert documented("Model") == fields(ModelInfo)
    assert f'"schema": {SCHEMA_VERSION}`' in page
