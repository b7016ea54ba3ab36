"""``results/files.json``: every file of a report with its size and sha256, so that a change is seen."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SUMS", "Sums", "digest_of", "is_plain_name", "read_sums", "sums_of", "sums_text"]

SUMS = "results/files.json"
"""It has no line about itself: its own sha256, kept elsewhere, stands for the whole report."""

KIND = "voxport report files"
SCHEMA_VERSION = 1

Sums = dict[str, str]
"""File name in the report -> sha256."""


def sums_of(folder: Path) -> Sums:
    """Of all files below a folder but `SUMS`, sorted by name.

    Raises:
        OSError: one can't be read.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if name != SUMS}


def digest_of(folder: Path) -> str:
    """The sha256 of a report's `SUMS`: it stands for all of the report."""
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()


def sums_text(sums: Sums) -> str:
    """As it lies in the file."""
    return json.dumps({"schema": SCHEMA_VERSION, "kind": KIND, "sha256": sums}, indent=1, ensure_ascii=False) + "\n"


def read_sums(content: bytes) -> Sums:
    """From the file's content, which anybody may have written.

    Raises:
        UsageError: it is something else, of another version, or names a file outside the report.
    """
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{SUMS} can't be read: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("schema") != SCHEMA_VERSION:
        raise UsageError(f"{SUMS} is not as this voxport writes it", hint="make the report again with this voxport")
    sums = found.get("sha256")
    if not isinstance(sums, dict):
        raise UsageError(f"{SUMS} names no files")
    for name, digest in sums.items():
        if not is_plain_name(name) or not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise UsageError(f"{SUMS}: {name!r} is no file of a report with its sha256")
    return sums


def is_plain_name(name: str) -> bool:
    """Whether a name stays inside the folder that it is taken to be in, on every system."""
    return not re.search(r"[\\:\x00-\x1f]", name) and not {"", ".", ".."} & set(name.split("/"))
