"""Ctrl-C and SIGTERM: both end a run tidily, neither in the middle of keeping a result.

Signals that were ignored from the start (nohup, a script's background job) stay ignored, and off the main thread,
where Python allows no handlers, nothing changes.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EXIT_INTERRUPTED", "deferred", "ignored", "terminable"]

EXIT_INTERRUPTED = 130
"""As a shell reports a program that Ctrl-C ended."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `KeyboardInterrupt`, as Ctrl-C does."""
    with _handled(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """A signal waits until the block is through; the second one does not wait."""
    waiting: list[int] = []

    def wait(number: int, _: Any) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    with _handled(wait, signal.SIGINT, signal.SIGTERM):
        yield
    if waiting:
        raise KeyboardInterrupt


@contextmanager
def ignored() -> Iterator[None]:
    """Impatient further signals don't spoil what is being saved."""
    with _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], Any] | signal.Handlers, *numbers: signal.Signals) -> Iterator[None]:
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            before = signal.getsignal(number)
            if before is not None and before is not signal.SIG_IGN:
                previous[number] = before
                signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
