"""A folder of results written whole: made beside, then put in place; what an earlier report left there goes."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxport.errors import OutputError, UsageError
from voxport.report.sums import SUMS, Sums, read_sums, sums_of, sums_text
from voxport.writing import output_error, temporary_name, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["whole_folder"]


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write a report to. At the end it gets `SUMS` and becomes `folder`, or, where that is there
    already, its files take their places in it. Files of an earlier report that this one lacks are removed if they are
    as that report wrote them; any other file stays.

    Raises:
        OutputError: it can't be written. What was in `folder` is then as it was.
    """
    there = folder.is_dir()
    # Inside a folder that is there: beside it may be another disk, to which nothing can be moved in one step.
    place = (folder if there else folder.parent) / temporary_name()
    try:
        place.mkdir(parents=True)
        yield place
        sums = sums_of(place)
        write_atomically(place / SUMS, sums_text(sums))
        if there:
            _replace(folder, place, sums)
        else:
            place.rename(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _replace(folder: Path, place: Path, sums: Sums) -> None:
    """Move the files into the folder. Whatever can hinder that is looked for first."""
    for name in (*sums, SUMS):
        target = folder / name
        above = [parent for parent in target.parents if parent.is_relative_to(folder) and parent != folder]
        if target.is_dir() or any(parent.exists() and not parent.is_dir() for parent in above):
            raise OutputError(f"{str(target)!r} can't be written: something else is in its place", hint="move it away")
    stale = _stale(folder, sums)
    kept = place / temporary_name()
    for name in (*stale, *sums, SUMS):
        if (folder / name).is_file():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, kept / name)
    try:
        (folder / SUMS).unlink(missing_ok=True)  # without it no half-replaced folder passes for a report
        for name in stale:
            (folder / name).unlink()
        for name in (*sums, SUMS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).replace(folder / name)
    except BaseException:
        _restore(folder, kept, (*stale, *sums, SUMS))
        raise
    for name in stale:
        with contextlib.suppress(OSError):  # not empty
            (folder / name).parent.rmdir()


def _restore(folder: Path, kept: Path, names: Iterable[str]) -> None:
    """As it was before."""
    for name in names:
        with contextlib.suppress(OSError):  # the error that led here is the one to tell of
            if (kept / name).is_file():
                (kept / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def _stale(folder: Path, sums: Sums) -> list[str]:
    """Files that an earlier report wrote, nobody has changed since, and this report lacks."""
    try:
        earlier = read_sums((folder / SUMS).read_bytes())
    except (OSError, UsageError):
        return []  # nothing tells what was written by whom: all of it stays
    top = folder.resolve()
    return [
        name
        for name, digest in earlier.items()
        if name not in sums
        and (path := folder / name).is_file()
        and path.resolve() == top / name
        and hashlib.sha256(path.read_bytes()).hexdigest() == digest
    ]
