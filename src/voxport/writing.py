"""Files written whole or not at all: a reader sees the old one or the new one, nothing between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING

from voxport.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["output_error", "replacing", "temporary_name", "whole_file", "write_atomically"]

_HINTS = {
    errno.ENOSPC: "the disk is full: make room, or choose another place",
    errno.EDQUOT: "your disk quota is used up: make room, or choose another place",
    errno.EACCES: "no permission to write there: choose another place",
    errno.EPERM: "no permission to write there: choose another place",
    errno.EROFS: "that disk is read-only: choose another place",
}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path in the same folder to write to; what lies there at the end goes to the disk, and only then gets the
    name. The folder is created.

    Raises:
        OSError: disk full, no permission, and the like. Nothing is left behind.
    """
    temporary = path.parent / temporary_name()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """As `replacing`.

    Raises:
        OutputError: instead of the system's errors, with what to do about them.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise output_error(path, error) from error


def write_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file.

    Raises:
        OutputError: as `whole_file`.
    """
    with (
        whole_file(path) as temporary,
        temporary.open("x", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        file.write(text)


def output_error(path: Path, error: OSError) -> OutputError:
    """The error of the system as ours, with what to do about it."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(f"can't write {str(path)!r}: {reason}", hint=_HINTS.get(error.errno or 0))


def temporary_name() -> str:
    """Hidden, and like no other."""
    return f".{secrets.token_hex(8)}.part"
