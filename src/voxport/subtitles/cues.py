"""Segments to cues, by the rules of openai/whisper's ``SubtitlesWriter`` where words have times.

Beyond openai's: lines are as wide as they look (`display_width`), a line never ends where the script has no break, and
segments whose words have no times are cut as well, their time shared out by width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voxport.errors import UsageError
from voxport.subtitles.columns import display_width
from voxport.subtitles.line_breaks import line_breaks, parted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.subtitles.options import SubtitleOptions
    from voxport.types import Segment, Word

__all__ = ["Cue", "CueMaker"]

WORDS_HINT = "ask for them with --word_timestamps, or use a model that always gives them: --model medasr"

LONG_PAUSE = 3.0
"""Seconds from one word's start to the next one's beyond which a cue of `max_line_count` lines ends early."""

# What `voxport.formats.line_of` makes spaces of, so that words are found in its text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Cue:
    """What is on the screen together.

    Attributes:
        start, end: seconds.
        text: lines with ``"\\n"`` between them, not escaped.
        underlined: from where to where in `text` the word lies that is said at this time, or None.
    """

    start: float
    end: float
    text: str
    underlined: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Piece:
    """A word, or another part that stays on one line; `text` has the white space or the line break before it."""

    text: str
    start: float
    end: float


class CueMaker:
    """One recording's segments, in order, to cues: `add` for each, then `close`.

    Args:
        options: how to cut.
        spanning: a cue may hold words of several segments; False where segments are of different channels.
    """

    def __init__(self, options: SubtitleOptions, *, spanning: bool = True) -> None:
        self._options = options
        self._spanning = spanning and options.max_line_count is not None
        self._cue: list[_Piece] = []
        self._columns = 0
        self._lines = 1
        self._last: float | None = None

    def add(self, segment: Segment, text: str, *, label_width: int = 0) -> Iterator[Cue]:
        """The cues that are complete with this segment.

        Args:
            segment: its times, and its words if they have times.
            text: what is shown of it: one line, not empty, no white space at its ends. Where the words are not those
                of the text, their times are not used.
            label_width: columns that the caller puts before each cue's first line.

        Raises:
            UsageError: the options need words with times, and the segment, or the report made of it, has none.
        """
        found = _located(text, segment.words or ())
        report = segment.formatted_text is not None and not found
        if self._options.needs_words and (segment.words is None or report):
            raise UsageError(
                "max_words_per_line and highlight_words need words with times",
                hint="a formatted report has none" if report else WORDS_HINT,
            )
        breaks = line_breaks(text)
        spanning = self._spanning and bool(found)
        pieces = list(self._pieces(text, breaks, found or [(len(text), segment.start, segment.end)], timed=bool(found)))
        if spanning and segment.text[:1].isspace():
            pieces[0] = replace(pieces[0], text=f" {pieces[0].text}")
        for index, piece in enumerate(pieces):
            ends = not spanning and index % (self._options.max_words_per_line or len(pieces)) == 0
            if self._cue and (ends or (found and self._pauses(piece))):
                yield from self.close()
            yield from self._place(piece, label_width)
        if not spanning:
            yield from self.close()

    def close(self) -> Iterator[Cue]:
        """What is left after the last segment."""
        pieces, self._cue = self._cue, []
        self._columns, self._lines = 0, 1
        if pieces:
            yield from _highlighted(pieces) if self._options.highlight_words else [_cue(pieces)]

    def _pieces(
        self, text: str, breaks: dict[int, bool], found: Sequence[tuple[int, float, float]], *, timed: bool
    ) -> Iterator[_Piece]:
        """The pieces of a segment: its words as they are, those that no line break may part as one."""
        width = self._options.max_line_width
        begun: tuple[int, float] | None = None
        place = 0
        for end_place, start, end in found:
            first, start = begun or (place, start)
            place = end_place
            if place < len(text) and place not in breaks:
                begun = (first, start)
                continue
            begun = None
            whole = timed and (width is None or display_width(text[first:place].strip()) <= width)
            spans = [(first, place)] if whole else parted(text, breaks, width, first=first, last=place)
            yield from _shared([text[a:b] for a, b in spans], start, end)

    def _pauses(self, piece: _Piece) -> bool:
        long = self._last is not None and piece.start - self._last > LONG_PAUSE
        return long and self._options.max_line_count is not None

    def _place(self, piece: _Piece, label_width: int) -> Iterator[Cue]:
        """Put a piece into the cue under way: on its line, on the next one, or into another cue, which it begins."""
        if not piece.text.strip():  # between words there may be several kinds of space, and a break between them
            return
        self._last = piece.start
        width = self._options.max_line_width
        columns = display_width(piece.text)
        if self._cue and (width is None or self._columns + columns <= width):
            self._cue.append(piece)
            self._columns += columns
            return
        if self._cue and self._lines == self._options.max_line_count:
            yield from self.close()
        bare = piece.text.strip()
        self._columns = display_width(bare)
        if self._cue:
            self._lines += 1
            self._cue.append(replace(piece, text=f"\n{bare}"))
        else:
            self._columns += label_width
            self._cue.append(replace(piece, text=bare))


def _located(text: str, words: Sequence[Word]) -> list[tuple[int, float, float]]:
    """Where each word ends in the text and its times; empty if the text is not these words and white space."""
    found: list[tuple[int, float, float]] = []
    place = 0
    for word in words:
        bare = _CONTROL.sub(" ", word.word).strip()
        if not bare:
            continue
        at = text.find(bare, place)
        if at < 0 or text[place:at].strip():
            return []
        place = at + len(bare)
        found.append((place, word.start, word.end))
    return [] if text[place:].strip() else found


def _shared(texts: Sequence[str], start: float, end: float) -> Iterator[_Piece]:
    """The time shared out by display width."""
    widths = [display_width(text.strip()) for text in texts]
    total = sum(widths) or 1
    done, since = 0, start
    for index, (text, width) in enumerate(zip(texts, widths, strict=True)):
        done += width
        until = end if index == len(texts) - 1 else start + (end - start) * done / total
        yield _Piece(text, since, until)
        since = until


def _cue(pieces: Sequence[_Piece]) -> Cue:
    return Cue(pieces[0].start, pieces[-1].end, "".join(piece.text for piece in pieces))


def _highlighted(pieces: Sequence[_Piece]) -> Iterator[Cue]:
    """The cue once for each word, underlined while it is said, and as it is in the pauses between words."""
    cue = _cue(pieces)
    since = cue.start
    place = 0
    for piece in pieces:
        if round(piece.start * 1000) > round(since * 1000):
            yield replace(cue, start=since, end=piece.start)
        after = place + len(piece.text)
        start = max(piece.start, since)
        since = max(piece.end, start)
        yield Cue(start, since, cue.text, (after - len(piece.text.lstrip()), after))
        place = after
