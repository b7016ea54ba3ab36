"""Reading JSON lines that people and programs wrote: every fault with its line, as many as there are at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["LineError", "first_text", "read_objects", "refuse"]

SHOWN_FAULTS = 5


class LineError(ValueError):
    """A line that can't be used; says why."""


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | LineError]]:
    """The file's lines that are not empty, counted from 1: the object, or what is wrong with it.

    UTF-8 with or without a byte order mark; lines end in LF or CRLF.

    Raises:
        UsageError: the file can't be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror or error}") from error
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            try:
                yield number, _object(raw)
            except LineError as error:
                yield number, error


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise LineError(f"byte {error.start + 1} is no UTF-8") from error
    except json.JSONDecodeError as error:
        if raw.lstrip().startswith(b"[") or raw.strip() in (b"{", b"}", b"]"):
            raise LineError("one object a line is read, this looks like JSON over several lines") from error
        raise LineError(f"no JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise LineError("no JSON of a manifest: nested too deeply") from error
    if isinstance(value, list):
        raise LineError("a JSON array; one object a line is read (`jq -c '.[]'` makes them)")
    if not isinstance(value, dict):
        raise LineError(f"a JSON object is needed, not {json.dumps(value)[:40]}")
    return value


def _refuse_constant(name: str) -> float:
    raise LineError(f"{name} is no number")


def first_text(entry: dict[str, Any], keys: Sequence[str]) -> tuple[str, str] | None:
    """The first of the keys that the object has, with its text.

    Raises:
        LineError: it is no text.
    """
    for key in keys:
        if entry.get(key) is not None:
            if not isinstance(entry[key], str):
                raise LineError(f"{key} is no text: {json.dumps(entry[key])[:40]}")
            return key, entry[key]
    return None


def refuse(path: Path | str, faults: Sequence[tuple[int, str]], hint: str) -> None:
    """Raise if there are faults.

    Raises:
        UsageError: naming the first few with their lines.
    """
    if not faults:
        return
    shown = [f"line {number}: {message}" for number, message in faults[:SHOWN_FAULTS]]
    more = len(faults) - len(shown)
    lines = "\n  ".join([*shown, *([f"and {more} more"] if more else [])])
    count = "1 line" if len(faults) == 1 else f"{len(faults)} lines"
    raise UsageError(f"{count} of {path} can't be used\n  {lines}", hint=hint)
