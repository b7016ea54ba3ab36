"""One line on standard error that says how far a run is and how fast: on a terminal only, wiped when it is done."""

from __future__ import annotations

import shutil
import sys
import time

from voxport.cli.terminal import is_capable

__all__ = ["Progress", "clock", "speed"]

REDRAW_SECONDS = 0.1
"""At most ten redraws a second."""


class Progress:
    """The progress line. Call `clear` before anything else is written to standard error, and `make_way`
    before results are written to standard output.

    Args:
        enabled: False (``--quiet``) shows nothing; nor does a standard error that is no terminal.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and is_capable(sys.stderr)
        self._shown = ""
        self._drawn_at = float("-inf")
        self._label = ""
        self._began = time.perf_counter()

    def status(self, text: str) -> None:
        """Show a line of text, e.g. what is being loaded."""
        self._draw(text)

    def begin(self, label: str) -> None:
        """A recording starts."""
        self._label = label
        self._began = time.perf_counter()
        self._draw(label)

    def update(self, position: float, duration: float | None) -> None:
        """So much of the recording is done.

        Args:
            position: seconds.
            duration: seconds, None while it is not known.
        """
        now = time.perf_counter()
        if now - self._drawn_at < REDRAW_SECONDS:
            return
        elapsed = now - self._began
        parts = [f"{self._label}  {clock(position)}"]
        if duration:
            parts[0] += f" of {clock(duration)}"
            parts.append(f"{min(100, round(100 * position / duration))} %")
        parts.append(speed(position, elapsed))
        if duration and position:
            parts.append(f"{clock(max(0.0, duration - position) * elapsed / position)} left")
        self._draw("  ".join(part for part in parts if part))

    def clear(self) -> None:
        """Wipe the line."""
        if self._shown:
            sys.stderr.write("\r" + " " * len(self._shown) + "\r")
            sys.stderr.flush()
            self._shown = ""
            self._drawn_at = float("-inf")  # show it again at the next chance

    def make_way(self) -> None:
        """Wipe the line if what is written to standard output next appears on the same screen."""
        if sys.stdout.isatty():
            self.clear()

    def _draw(self, text: str) -> None:
        if not self._enabled:
            return
        # One column short of the edge: some terminals wrap when the last one is written.
        text = text[: max(10, shutil.get_terminal_size().columns - 1)]
        # The cursor goes back to the start, so that whatever is written next covers the line.
        sys.stderr.write("\r" + text.ljust(len(self._shown)) + "\r")
        sys.stderr.flush()
        self._shown = text
        self._drawn_at = time.perf_counter()


def clock(seconds: float) -> str:
    """``M:SS``, from an hour on ``H:MM:SS``."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def speed(audio_seconds: float, wall_seconds: float) -> str:
    """``12.3x real time``; empty where nothing can be said."""
    if audio_seconds <= 0 or wall_seconds <= 0:
        return ""
    return f"{audio_seconds / wall_seconds:.1f}x real time"
