"""A report as somebody sent it: its folder, or the zip of it. Nothing is unpacked, and nothing in it is trusted."""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from voxport.errors import UsageError
from voxport.report.measurements import Measurements
from voxport.report.sums import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["StoredReport", "open_report", "read_report"]

LARGEST_FILE = 64 * 2**20
"""Bytes of one file; Whisper large with every stage of two windows takes some 4 MB."""

MOST_FILES = 1000
SUMMARY = "results/summary.json"
HINT = "`voxport report ... -o DIR` makes such a folder, --zip such a file"


class StoredReport(Protocol):
    """A report's files by their names in its folder."""

    path: Path

    def names(self) -> list[str]:
        """All files, sorted."""

    def read(self, name: str) -> bytes:
        """The content of one.

        Raises:
            FileNotFoundError: there is none.
            UsageError: it is larger than `LARGEST_FILE`, or damaged.
        """


@contextmanager
def open_report(path: Path) -> Iterator[StoredReport]:
    """A report's folder or zip.

    Raises:
        UsageError: it is neither.
    """
    if path.is_dir():
        folder = _Folder(path)
        if not (path / SUMMARY).is_file():
            raise UsageError(f"{str(path)!r} is no report: {SUMMARY} is missing", hint=HINT)
        yield folder
        return
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is not there", hint=HINT)
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Zip(path, archive)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{str(path)!r} is no report, or is damaged: {error}", hint=HINT) from error


def read_report(path: Path) -> Measurements:
    """The measurements of a report.

    Raises:
        UsageError: it is no report, of another version, or not whole.
    """
    with open_report(path) as report:
        return Measurements.load(str(path), lambda name: report.read(f"results/{name}"))


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(name)
        with path.open("rb") as file:
            return _limited(file.read(LARGEST_FILE + 1), name)


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MOST_FILES:
            raise UsageError(f"{str(path)!r} has {len(entries)} files, a report at most {MOST_FILES}")
        for entry in entries:
            if not is_plain_name(entry.filename):
                raise UsageError(f"{str(path)!r} is no zip of a report: it names {entry.filename!r}")
        if len({entry.filename for entry in entries}) < len(entries):
            raise UsageError(f"{str(path)!r} is no zip of a report: it has two files of one name")
        tops = [
            entry.filename.removesuffix(SUMMARY)
            for entry in entries
            if entry.filename.endswith(SUMMARY) and entry.filename.removesuffix(SUMMARY).count("/") <= 1
        ]
        tops = [top for top in tops if not top or top.endswith("/")]
        if len(tops) != 1:
            what = f"{SUMMARY} is missing" if not tops else f"it has {len(tops)} times {SUMMARY}"
            raise UsageError(f"{str(path)!r} is no report: {what}", hint=HINT)
        self._top = tops[0]
        self._entries = {
            entry.filename.removeprefix(self._top): entry for entry in entries if entry.filename.startswith(self._top)
        }

    def names(self) -> list[str]:
        return sorted(self._entries)

    def read(self, name: str) -> bytes:
        if name not in self._entries:
            raise FileNotFoundError(name)
        entry = self._entries[name]
        # Of other methods Python unpacks without a limit. Bit 0: encrypted.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise UsageError(f"{str(self.path)!r}: {name} is packed or encrypted in a way that --zip never does")
        if entry.file_size > LARGEST_FILE:
            return _limited(b"", name, entry.file_size)
        with self._archive.open(entry) as file:  # what an entry says of its size need not be true
            return _limited(file.read(LARGEST_FILE + 1), name)


def _limited(content: bytes, name: str, size: int = 0) -> bytes:
    if max(size, len(content)) > LARGEST_FILE:
        raise UsageError(f"{name} is larger than {LARGEST_FILE >> 20} MiB: no file of a report is")
    return content
