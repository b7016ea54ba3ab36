"""How a long transfer tells of itself: a bar on a terminal, a plain line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, TextIO

__all__ = ["BarProgress", "LineProgress", "Progress", "SilentProgress", "terminal_progress"]

LINE_INTERVAL = 10.0
"""Seconds between two plain lines of one transfer."""


class Progress(Protocol):
    """Told of one transfer after another: `start`, any number of `advance`, `finish`; and of other events by `note`."""

    def start(self, label: str, total: int | None) -> None:
        """A transfer of `total` bytes (None = unknown) begins; `label` says of what."""
        ...

    def advance(self, count: int) -> None:
        """So many bytes more are here. Negative when a transfer starts over."""
        ...

    def finish(self) -> None:
        """The transfer is over, well or not."""
        ...

    def note(self, message: str) -> None:
        """Something a waiting person should know."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, label: str, total: int | None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        pass


class LineProgress:
    """For logs: a line when a transfer starts, one every ten seconds, and one when it is over."""

    def __init__(self, stream: TextIO | None = None, interval: float = LINE_INTERVAL) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._label = ""
        self._total: int | None = None
        self._done = 0
        self._began = self._last = 0.0

    def start(self, label: str, total: int | None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._began = self._last = time.monotonic()
        self.note(f"downloading {label}" + (f" ({megabytes(total)})" if total else ""))

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            of_total = f" of {megabytes(self._total)}" if self._total else ""
            speed = self._done / max(now - self._began, 1e-6)
            self.note(f"  {self._label}: {megabytes(self._done)}{of_total}, {megabytes(speed)}/s")

    def finish(self) -> None:
        if self._total is not None and self._done >= self._total:
            self.note(f"  {self._label}: done in {time.monotonic() - self._began:.1f} s")

    def note(self, message: str) -> None:
        self._stream.write(message + "\n")
        self._stream.flush()


class BarProgress:
    """A tqdm bar per transfer."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None

    def start(self, label: str, total: int | None) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=label, unit="B", unit_scale=True, file=self._stream, leave=True)

    def advance(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, message: str) -> None:
        self._stream.write(message + "\n")
        self._stream.flush()


def terminal_progress(*, quiet: bool = False) -> Progress:
    """What suits standard error: nothing if `quiet`, a bar on a terminal, else plain lines."""
    if quiet:
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def megabytes(count: float) -> str:
    """Bytes for people, decimal: ``"75.5 MB"``."""
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
