"""Dictation marks in segments to a report, while the segments come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voxport.dictation import DictationFormatter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from voxport.types import Segment


def with_reports(segments: Iterable[Segment]) -> Generator[Segment, None, None]:
    """The segments, each with its part of the report. Joined, the parts are the report.

    Each segment comes when the next one is there: what the formatter holds back at the end belongs to the last.
    """
    formatter = DictationFormatter()
    waiting: Segment | None = None
    for segment in segments:
        if waiting is not None:
            yield waiting
        waiting = replace(segment, formatted_text=formatter.feed(segment.text))
    if waiting is not None:
        yield replace(waiting, formatted_text=f"{waiting.formatted_text}{formatter.finish()}")
