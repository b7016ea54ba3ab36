"""Transcripts as text: txt, srt, vtt, tsv (openai/whisper's conventions, so that files can be swapped) and JSON.

Where openai/whisper's writers would give a file that readers trip over, these differ: an empty segment makes no cue, a
line break inside a segment becomes a space, ``&``, ``<`` and ``>`` are escaped in VTT, a cue lasts at least 1 ms and
never starts before the one above it.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from voxport.subtitles import Cue, CueMaker, SubtitleOptions, display_width

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.errors import VoxportError
    from voxport.types import Segment, Transcript

__all__ = ["FORMATS", "SegmentFormatter", "failure_object", "json_line", "line_of", "render", "timestamp"]

TEXT_FORMATS = ("txt", "srt", "vtt", "tsv")
"""Formats that are written segment by segment."""

FORMATS = (*TEXT_FORMATS, "json")

SUBTITLE_FORMATS = ("srt", "vtt")
"""Formats that hold one recording a file: two after another are not a valid file."""

# Line breaks of every kind, tabs, and the rest of the control characters: a segment is one line in every format.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONTROL_IN_REPORT = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]+")


def timestamp(milliseconds: int, *, decimal_marker: str = ".", always_hours: bool = False) -> str:
    """``HH:MM:SS.mmm``; the hours are left out below one hour unless `always_hours`.

    The time is a whole number of milliseconds, so that rounding comes before the split into fields: 59.9996 s is
    ``01:00.000`` and not ``00:60.000``.
    """
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    leading = f"{hours:02d}:" if always_hours or hours else ""
    return f"{leading}{minutes:02d}:{seconds:02d}{decimal_marker}{milliseconds:03d}"


def line_of(segment: Segment) -> str:
    """The segment's text, formatted if it is, on one line, without the space at its ends. Empty if nothing is left."""
    text = segment.text if segment.formatted_text is None else segment.formatted_text
    return _CONTROL.sub(" ", text).strip()


class SegmentFormatter:
    """One recording's segments, piece by piece, in one of `TEXT_FORMATS`.

    `header()`, then `segment()` for each, then `footer()`, joined, is the file. It keeps the number of the cue and the
    time of the last one; use a new one for each recording.

    Args:
        output_format: one of `TEXT_FORMATS`.
        split: name the channel of each segment: ``[channel 0] `` in txt and srt, ``<v Channel 0>`` in vtt, a column in
            tsv.
        file: tsv only: a first column with this name, for several recordings in one stream.
        subtitles: srt and vtt only: how segments become cues and lines; None = each is a cue of one line.
    """

    def __init__(
        self,
        output_format: str,
        *,
        split: bool = False,
        file: str | None = None,
        subtitles: SubtitleOptions | None = None,
    ) -> None:
        if output_format not in TEXT_FORMATS:
            raise ValueError(f"not a text format: {output_format!r}")
        self._make = {"txt": self._txt, "srt": self._srt, "vtt": self._vtt, "tsv": self._tsv}[output_format]
        self._cues: CueMaker | None = None
        if subtitles not in (None, SubtitleOptions()) and output_format in SUBTITLE_FORMATS:
            self._cues = CueMaker(subtitles, spanning=not split)
        self._format = output_format
        self._split = split
        self._file = file
        self._held: list[tuple[Cue, int | None]] = []
        self._number = 0
        self._earliest = 0
        self._in_report = False

    def header(self) -> str:
        """What stands above the first segment."""
        if self._format == "vtt":
            return "WEBVTT\n\n"
        if self._format == "tsv":
            columns = ["file"] * (self._file is not None) + ["start", "end"] + ["channel"] * self._split + ["text"]
            return "\t".join(columns) + "\n"
        return ""

    def segment(self, segment: Segment) -> str:
        """The segment with its line breaks, or ``""`` if it has no text.

        With `SubtitleOptions` it is the cues that are complete; words of the last one may come with the next segment.
        With `split` it is those that begin by this segment's start: later ones may come behind another channel's.

        Raises:
            UsageError: the options need words with times, and the segment has none.
        """
        if self._format == "txt" and not self._split and segment.formatted_text is not None:
            return self._report(segment.formatted_text)
        line = line_of(segment)
        if not line:
            return ""
        channel = segment.channel if self._split else None
        if self._cues is None:
            return self._cue(Cue(segment.start, segment.end, line), channel)
        label_width = display_width(_bracketed(channel)) if self._format == "srt" else 0
        cues = [(cue, channel) for cue in self._cues.add(segment, line, label_width=label_width)]
        if self._split:
            self._held = sorted([*self._held, *cues], key=_start)
            due = bisect_right(self._held, segment.start, key=_start)
            cues, self._held = self._held[:due], self._held[due:]
        return "".join(self._cue(cue, channel) for cue, channel in cues)

    def footer(self) -> str:
        """What stands below the last segment."""
        if self._cues is not None:
            cues = [*self._held, *((cue, None) for cue in self._cues.close())]
            return "".join(self._cue(cue, channel) for cue, channel in cues)
        return "\n" if self._in_report else ""

    def _cue(self, cue: Cue, channel: int | None) -> str:
        self._number += 1
        start = max(round(cue.start * 1000), self._earliest)
        end = max(round(cue.end * 1000), start + 1)
        self._earliest = start
        return self._make(cue, start, end, channel)

    def _report(self, text: str) -> str:
        """A part of a report, which has lines and paragraphs of its own."""
        text = _CONTROL_IN_REPORT.sub(" ", text)
        if not self._in_report:
            text = text.lstrip()
        self._in_report = self._in_report or bool(text)
        return text

    def _txt(self, cue: Cue, start: int, end: int, channel: int | None) -> str:
        return f"{_bracketed(channel)}{cue.text}\n"

    def _srt(self, cue: Cue, start: int, end: int, channel: int | None) -> str:
        times = " --> ".join(timestamp(time, decimal_marker=",", always_hours=True) for time in (start, end))
        return f"{self._number}\n{times}\n{_bracketed(channel)}{_marked(cue, _without_arrows)}\n\n"

    def _vtt(self, cue: Cue, start: int, end: int, channel: int | None) -> str:
        voice = "" if channel is None else f"<v Channel {channel}>"
        return f"{timestamp(start)} --> {timestamp(end)}\n{voice}{_marked(cue, _escaped)}\n\n"

    def _tsv(self, cue: Cue, start: int, end: int, channel: int | None) -> str:
        columns = [str(start), str(end), cue.text]
        if self._split:
            columns.insert(2, "" if channel is None else str(channel))
        if self._file is not None:
            columns.insert(0, _CONTROL.sub(" ", self._file))
        return "\t".join(columns) + "\n"


def render(transcript: Transcript, output_format: str, *, subtitles: SubtitleOptions | None = None) -> str:
    """A whole file in one of `FORMATS`; without speech it is an empty but valid one.

    Args:
        transcript: the recording's.
        output_format: one of `FORMATS`.
        subtitles: srt and vtt only: how segments become cues and lines; None = each is a cue of one line.

    Raises:
        UsageError: the options need words with times, and a segment has none.
    """
    if output_format == "json":
        return json_line(transcript.to_dict())
    formatter = SegmentFormatter(output_format, split=transcript.channel == "split", subtitles=subtitles)
    body = "".join(formatter.segment(segment) for segment in transcript.segments)
    return formatter.header() + body + formatter.footer()


def json_line(value: dict[str, Any]) -> str:
    """One line of JSON (UTF-8 text, not escaped to ASCII) with its line break.

    JSON has no NaN and no infinities: they become null. Bytes of a file name that are no UTF-8 (Python's lone
    surrogates) become ``\\udcXX``, which `json.loads` turns back.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def failure_object(file: str, error: VoxportError, partial: Transcript | None = None) -> dict[str, Any]:
    """The JSON object of an input that failed: ``schema``, ``file``, ``error``, beside what was done of it if any."""
    from voxport.types import SCHEMA_VERSION

    done = {} if partial is None else partial.to_dict()
    return {"schema": SCHEMA_VERSION, **done, "file": file, "error": error.to_dict()}


def _start(held: tuple[Cue, int | None]) -> float:
    return held[0].start


def _marked(cue: Cue, clean: Callable[[str], str]) -> str:
    """The cue's text, cleaned, with its underlined word in tags."""
    if cue.underlined is None:
        return clean(cue.text)
    start, end = cue.underlined
    return f"{clean(cue.text[:start])}<u>{clean(cue.text[start:end])}</u>{clean(cue.text[end:])}"


def _without_arrows(text: str) -> str:
    return text.replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _bracketed(channel: int | None) -> str:
    return "" if channel is None else f"[channel {channel}] "


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
