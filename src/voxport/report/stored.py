"""A report as somebody sent it: its folder, or the zip of it. Nothing is unpacked, and nothing in it is trusted."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from voxport.errors import UsageError
from voxport.report.measurements import Measurements
from voxport.report.sums import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["StoredReport", "open_report", "read_report"]

LARGEST_PART = 64 * 2**20
"""Bytes of one file of results; Whisper large with every stage of two windows takes some 4 MB."""

LARGEST_FILE = 2**30
BLOCK = 2**20

MOST_FILES = 1000
SUMMARY = "results/summary.json"
HINT = "`voxport report ... -o DIR` makes such a folder, --zip such a file"


class StoredReport:
    """A report's files by their names in its folder."""

    def names(self) -> list[str]:
        """All files, sorted."""
        raise NotImplementedError

    def open(self, name: str) -> IO[bytes]:
        """One of them.

        Raises:
            FileNotFoundError: there is none.
            UsageError: it is packed as no report is.
        """
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """All of one.

        Raises:
            FileNotFoundError, UsageError: as `open`, or it is larger than `LARGEST_PART`.
        """
        with self.open(name) as file:  # what a zip says of a size need not be true
            content = file.read(LARGEST_PART + 1)
        return _within(content, len(content), LARGEST_PART, name)

    def sha256(self, name: str) -> str:
        """Of the content of one; of any size up to `LARGEST_FILE` (a page with recordings in it).

        Raises:
            FileNotFoundError, UsageError: as `open`, or it is larger.
        """
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while block := file.read(BLOCK):
                size += len(block)
                digest.update(_within(block, size, LARGEST_FILE, name))
        return digest.hexdigest()


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


class _Folder(StoredReport):
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return sorted(path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file())

    def open(self, name: str) -> IO[bytes]:
        path = self._path / name
        if not path.is_file():
            raise FileNotFoundError(name)
        return path.open("rb")


class _Zip(StoredReport):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
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

    def open(self, name: str) -> IO[bytes]:
        if name not in self._entries:
            raise FileNotFoundError(name)
        entry = self._entries[name]
        # Of other methods Python unpacks without a limit. Bit 0: encrypted.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise UsageError(f"{str(self._path)!r}: {name} is packed or encrypted in a way that --zip never does")
        return self._archive.open(entry)


def _within(content: bytes, size: int, limit: int, name: str) -> bytes:
    if size > limit:
        raise UsageError(f"{name} is larger than {limit >> 20} MiB: no such file of a report is")
    return content
