"""Subtitles: what is on the screen together, on which lines and for how long.

- `options`: what a caller may ask for.
- `columns`: what a reader sees as one character, and how wide it is.
- `line_breaks`: where a line may end.
- `cues`: segments to cues, by openai/whisper's rules.
"""

from voxport.subtitles.columns import display_width
from voxport.subtitles.cues import WORDS_HINT, Cue, CueMaker
from voxport.subtitles.options import SubtitleOptions

__all__ = ["WORDS_HINT", "Cue", "CueMaker", "SubtitleOptions", "display_width"]
