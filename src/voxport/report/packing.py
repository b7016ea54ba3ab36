"""One file to send: a report's files and no others, the same bytes each time."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from voxport.errors import UsageError
from voxport.report.sums import SUMS, read_sums
from voxport.writing import whole_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pack", "zip_path"]

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first moment that the format knows, for every file: equal reports are equal archives."""

PLAIN_FILE = 0o100644


def zip_path(folder: Path) -> Path:
    """``DIR.zip`` beside the folder DIR.

    Raises:
        UsageError: there is no such name, or a folder has it.
    """
    named = folder if folder.name not in ("", "..") else folder.resolve()
    if not named.name:
        raise UsageError(f"--zip: {str(folder)!r} has no name of its own", hint="-o takes another folder")
    path = named.parent / f"{named.name}.zip"
    if path.is_dir():
        raise UsageError(
            f"--zip would write {str(path)!r}, which is a folder", hint="move it away, or choose another -o"
        )
    return path


def pack(folder: Path) -> Path:
    """Write a report's files, those that `SUMS` names, as ``DIR.zip`` beside it, below one top folder of its name.

    Raises:
        UsageError: as `zip_path`.
        OutputError: it can't be written.
    """
    path = zip_path(folder)
    top = path.name.removesuffix(".zip").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    files = [*read_sums((folder / SUMS).read_bytes()), SUMS]
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "x") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{top}/{name}", EARLIEST)
            entry.create_system, entry.external_attr = 3, PLAIN_FILE << 16  # alike on every system
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return path
