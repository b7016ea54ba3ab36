"""One file over HTTP: resumed where it stopped, hashed while it is written, in place only when whole and right."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from voxport.errors import DigestError, DownloadError
from voxport.models.hub.progress import Progress, SilentProgress, megabytes
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import requests

__all__ = ["HTTPStatusError", "disk_full", "download", "new_session", "sha256_of"]

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
CHUNK = 1 << 16
"""Bytes; at most so many that came are lost when a connection breaks."""
ATTEMPTS = 5
BACKOFF = 0.5
"""Seconds before the second attempt; doubled for each further one."""


class HTTPStatusError(DownloadError):
    """The server answered with an error status, kept in `status`."""

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=f"http_{status}")
        self.status = status


class _InterruptedTransferError(Exception):
    """The connection ended early; what has come is kept and asked to go on."""


def new_session() -> requests.Session:
    """A session that says who it is. Proxies, certificates and netrc come from the environment, as requests has it."""
    import requests

    session = requests.Session()
    session.headers.update({"User-Agent": f"voxport/{__version__}", "Accept-Encoding": "identity"})
    return session


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_full(path: Path, needed: int | None = None) -> DownloadError:
    """The error for a file system without room."""
    amount = f"{megabytes(needed)} needed" if needed else "the disk is full"
    return DownloadError(
        f"no space left for {path.name} in {path.parent} ({amount})",
        hint="free some space, or set VOXPORT_HOME (HF_HOME for the hub's cache) to a larger disk",
        code="disk_full",
    )


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    session: requests.Session | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    label: str | None = None,
) -> Path:
    """Fetch `url` into `destination`; a file that is there already with the right digest is left alone.

    Bytes go to ``NAME.part`` beside it, which stays after an interruption so that the next call can go on with a Range
    request (only with a `sha256` to check the joined result by). The caller holds a lock if others may fetch the same.

    Args:
        url: http or https.
        destination: its folder is made.
        sha256: what the file must hash to, hex. Without one only its length is checked.
        size: in bytes, if known: checked, and asked of the disk before anything is fetched.
        session: whose proxies, certificates and credentials to use.
        headers: sent in addition.
        progress: told of every chunk.
        label: what to call it there.

    Raises:
        HTTPStatusError: the server refused.
        DigestError: the bytes are not what they should be; nothing is kept.
        DownloadError: no connection, or it broke off too often (the part is kept); or the disk is full (code
            ``disk_full``; nothing is kept).
    """
    if destination.is_file() and sha256 is not None and sha256_of(destination) == sha256:
        return destination
    progress = progress or SilentProgress()
    transfer = _Transfer(url, destination, sha256, size, session or new_session(), dict(headers or {}), progress)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        transfer.check_room()
        transfer.run(label or destination.name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            transfer.part.unlink(missing_ok=True)
            raise disk_full(destination, size) from error
        raise DownloadError(
            f"can't write {destination}: {error.strerror or error}", hint="check the folder's permissions"
        ) from error
    return destination


class _Transfer:
    """The state of one download."""

    def __init__(
        self,
        url: str,
        destination: Path,
        sha256: str | None,
        size: int | None,
        session: requests.Session,
        headers: dict[str, str],
        progress: Progress,
    ) -> None:
        self.url, self.destination, self.sha256, self.size = url, destination, sha256, size
        self.session, self.headers, self.progress = session, headers, progress
        self.part = destination.with_name(destination.name + ".part")
        self.digest = hashlib.sha256()
        self.received = 0
        self.started = False

    def check_room(self) -> None:
        """Before the first byte: is there room for the rest?"""
        if self.size is None:
            return
        present = self.part.stat().st_size if self.part.is_file() else 0
        needed = self.size - present
        if needed > shutil.disk_usage(self.destination.parent).free:
            raise disk_full(self.destination, needed)

    def run(self, label: str) -> None:
        import requests

        resumed_from = self._take_up_part()
        try:
            for attempt in range(ATTEMPTS):
                before = self.received
                try:
                    self._receive(label)
                    self._complete(resumed_from)
                    return
                except (requests.RequestException, _InterruptedTransferError) as error:
                    last_attempt = attempt == ATTEMPTS - 1
                    if last_attempt or (self.received == before and isinstance(error, requests.ConnectTimeout)):
                        raise DownloadError(
                            f"{self.url}: {_reason(error)}",
                            hint="run the same command again: it goes on where it stopped",
                        ) from error
                    time.sleep(BACKOFF * 2**attempt)
                except DigestError:
                    if not resumed_from:
                        raise
                    # The kept part may have been of an older file: one more try from the first byte.
                    resumed_from = 0
                    self._start_over()
        finally:
            if self.started:
                self.progress.finish()

    def _take_up_part(self) -> int:
        """Hash what an earlier run left, if there is a digest to check the result by; returns its length."""
        if self.sha256 is None or not self.part.is_file():
            self.part.unlink(missing_ok=True)
            return 0
        if self.size is not None and self.part.stat().st_size > self.size:
            self.part.unlink()
            return 0
        with self.part.open("rb") as file:
            while chunk := file.read(CHUNK):
                self.digest.update(chunk)
                self.received += len(chunk)
        return self.received

    def _start_over(self) -> None:
        self.part.unlink(missing_ok=True)
        if self.started:
            self.progress.advance(-self.received)
        self.digest = hashlib.sha256()
        self.received = 0

    def _receive(self, label: str) -> None:
        if self.size is not None and self.received == self.size:
            return  # an earlier run got every byte and stopped before the check
        headers = dict(self.headers)
        if self.received:
            headers["Range"] = f"bytes={self.received}-"
        with self.session.get(
            self.url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), allow_redirects=True
        ) as response:
            if response.status_code == 416 and self.received:
                self._start_over()
                raise _InterruptedTransferError("the server can't go on from where the transfer stopped")
            if response.status_code >= 500:
                raise _InterruptedTransferError(f"HTTP {response.status_code}")
            if response.status_code >= 400:
                raise HTTPStatusError(
                    f"{self.url}: HTTP {response.status_code} {response.reason}", response.status_code
                )
            if self.received and not _continues(response.headers.get("Content-Range"), self.received):
                self._start_over()  # a server that ignores Range sends the whole file
            expected = self._expected_length(response)
            if not self.started:
                self.progress.start(label, expected)
                self.progress.advance(self.received)
                self.started = True
            with self.part.open("ab" if self.received else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    self.digest.update(chunk)
                    self.received += len(chunk)
                    self.progress.advance(len(chunk))
                file.flush()
                os.fsync(file.fileno())
        if expected is not None and self.received < expected:
            raise _InterruptedTransferError(f"the connection ended after {self.received} of {expected} bytes")

    def _expected_length(self, response: requests.Response) -> int | None:
        """Length of the whole file as the server announces it."""
        length = response.headers.get("Content-Length")
        if length is None or not length.isdecimal() or response.headers.get("Content-Encoding"):
            return self.size
        announced = int(length) + self.received
        if self.size is not None and announced != self.size:
            raise DigestError(
                f"{self.url}: {announced} bytes instead of {self.size}", hint="try again later, or another --source"
            )
        return announced

    def _complete(self, resumed_from: int) -> None:
        if self.size is not None and self.received != self.size:
            problem = f"{self.received} bytes instead of {self.size}"
        elif self.sha256 is not None and self.digest.hexdigest() != self.sha256:
            problem = f"sha256 {self.digest.hexdigest()} instead of {self.sha256}"
        else:
            self.part.replace(self.destination)
            return
        if not resumed_from:
            self.part.unlink(missing_ok=True)
        raise DigestError(f"{self.url}: {problem}", hint="the file was discarded; try again later, or another --source")


def _continues(content_range: str | None, offset: int) -> bool:
    """True if a Content-Range header begins at `offset`."""
    return content_range is not None and content_range.replace("=", " ").startswith(f"bytes {offset}-")


def _reason(error: Exception) -> str:
    """The innermost cause in few words; requests wraps it in a page of text."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, requests.ReadTimeout):
        return f"no data for {READ_TIMEOUT:.0f} seconds"
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause) or type(cause).__name__
