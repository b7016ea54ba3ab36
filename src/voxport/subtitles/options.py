"""What a caller may ask of subtitles."""

from __future__ import annotations

from dataclasses import dataclass

from voxport.errors import UsageError

__all__ = ["SubtitleOptions"]


@dataclass(frozen=True)
class SubtitleOptions:
    """How srt and vtt are cut into cues and lines. With the defaults a segment is a cue of one line.

    Attributes:
        max_line_width: columns of a line; Chinese, Japanese and Korean characters and emoji take two. A longer line
            breaks, but never inside a word of a script that has spaces.
        max_line_count: lines of a cue, with `max_line_width`. Where words have times, cues then run on from one
            segment into the next until they are full or somebody pauses for more than three seconds.
        max_words_per_line: words of a cue, instead of `max_line_width`; needs words with times.
        highlight_words: show each cue once for each of its words, that word underlined; needs words with times.

    Raises:
        UsageError: a value below 1, or options that do not go together.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    max_words_per_line: int | None = None
    highlight_words: bool = False

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} can't be {value}", hint="it must be at least 1")
        if self.max_line_count is not None and self.max_line_width is None:
            raise UsageError(
                "max_line_count does nothing without max_line_width", hint="say how wide lines are: --max_line_width 42"
            )
        if self.max_words_per_line is not None and self.max_line_width is not None:
            raise UsageError(
                "max_words_per_line and max_line_width can't both be", hint="lines end by their words or by their width"
            )

    @property
    def needs_words(self) -> bool:
        """Whether segments must have words with times."""
        return self.max_words_per_line is not None or self.highlight_words
