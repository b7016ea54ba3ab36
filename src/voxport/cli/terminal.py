"""Standard output and standard error: encoding, colour, and how errors, hints and warnings look."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from voxport.errors import OutputError, VoxportError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "abandon_stdout",
    "flush_stdout",
    "is_capable",
    "note",
    "prepare_streams",
    "show_error",
    "warn",
    "write_stdout",
]

_RED, _YELLOW, _CYAN = 31, 33, 36


def prepare_streams() -> None:
    """Results are UTF-8 whatever the locale says; a terminal of another encoding gets ``\\uXXXX`` and no crash."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def write_stdout(text: str) -> None:
    """Write a piece of the result and let it be seen at once.

    Raises:
        BrokenPipeError: the reader has gone; no mistake of anyone's.
        OutputError: it can't be written, e.g. disk full.
    """
    with _explained():
        sys.stdout.write(text)
        sys.stdout.flush()


def flush_stdout() -> None:
    """Write what is still buffered; raises as `write_stdout` does."""
    with _explained():
        sys.stdout.flush()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"can't write to standard output: {error.strerror or error}") from error


def abandon_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush can't fail too."""
    # Under a test runner it may have no file descriptor; then there is nothing to do.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_capable(stream: TextIO) -> bool:
    """Whether the stream is a terminal that can rewrite a line."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def show_error(error: VoxportError, about: str | None = None) -> None:
    """``error: [about: ]message`` and ``hint: ...`` on standard error."""
    note("error", f"{about}: {error.message}" if about and about not in error.message else error.message, _RED)
    if error.hint:
        note("hint", error.hint, _CYAN)


def warn(message: str) -> None:
    """``warning: message`` on standard error."""
    note("warning", message, _YELLOW)


def note(label: str, message: str, colour: int = _CYAN) -> None:
    """``label: message`` on standard error, the label in colour on a terminal unless NO_COLOR is set."""
    # https://no-color.org: present and not empty.
    if is_capable(sys.stderr) and not os.environ.get("NO_COLOR"):
        label = f"\x1b[1;{colour}m{label}\x1b[0m"
    print(f"{label}: {message}", file=sys.stderr, flush=True)
