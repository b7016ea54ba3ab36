"""One file over HTTP: whole, resumed, refused, damaged, and with no room left."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.environment import RecordingProgress, isolate, unused_port
from fakes.server import Answer, FakeServer, Request, file_answer
from voxport.errors import DigestError, DownloadError
from voxport.models.hub import download as download_module
from voxport.models.hub.download import CHUNK, HTTPStatusError, download

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(256)) * 9000  # 2.3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FileServer(FakeServer):
    """Serves CONTENT at any path; `ranges` off = it ignores Range, as some hosts do."""

    ranges = True
    status = 200

    def respond(self, request: Request) -> Answer:
        if self.status != 200:
            return Answer(self.status)
        return file_answer(request, CONTENT) if self.ranges else Answer(200, CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    isolate(monkeypatch, tmp_path / "home")
    with FileServer() as running:
        yield running


def test_whole_file_with_progress(server: FileServer, tmp_path: Path) -> None:
    progress = RecordingProgress()
    target = tmp_path / "folder" / "file.bin"
    assert download(f"{server.url}/x", target, sha256=SHA256, progress=progress, label="x") == target
    assert target.read_bytes() == CONTENT
    assert (progress.labels, progress.totals, progress.counts) == (["x"], [len(CONTENT)], [len(CONTENT)])
    assert progress.finished == 1
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].headers["user-agent"].startswith("voxport/")


def test_a_right_file_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    download(f"{server.url}/x", target, sha256=SHA256)
    assert server.requests == []


def test_broken_connection_goes_on_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [16 * CHUNK, 8 * CHUNK]
    target = tmp_path / "file.bin"
    progress = RecordingProgress()
    download(f"{server.url}/x", target, sha256=SHA256, progress=progress)
    assert target.read_bytes() == CONTENT
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges == [None, f"bytes={16 * CHUNK}-", f"bytes={24 * CHUNK}-"]
    assert progress.counts == [len(CONTENT)]


def test_next_run_goes_on_where_the_last_one_stopped(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "ATTEMPTS", 1)
    server.cuts = [20 * CHUNK]
    target = tmp_path / "file.bin"
    with pytest.raises(DownloadError, match=f"{20 * CHUNK}"):
        download(f"{server.url}/x", target, sha256=SHA256)
    assert not target.exists()
    assert (tmp_path / "file.bin.part").stat().st_size == 20 * CHUNK
    progress = RecordingProgress()
    download(f"{server.url}/x", target, sha256=SHA256, progress=progress)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1].headers["range"] == f"bytes={20 * CHUNK}-"
    assert progress.counts == [len(CONTENT)]  # what was there counts from the start


def test_a_complete_part_is_taken_without_asking(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256, size=len(CONTENT))
    assert server.requests == []
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_server_that_ignores_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1_000_000]
    progress = RecordingProgress()
    download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256, progress=progress)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert progress.counts == [len(CONTENT)]


@pytest.mark.parametrize("left_over", [b"from an older file" * 1000, CONTENT + b"longer"])
def test_a_stale_part_is_thrown_away(server: FileServer, tmp_path: Path, left_over: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(left_over)
    download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_without_a_digest_nothing_is_resumed(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"who knows")
    download(f"{server.url}/x", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert "range" not in server.requests[0].headers


def test_wrong_digest_keeps_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DigestError, match=SHA256) as caught:
        download(f"{server.url}/x", tmp_path / "file.bin", sha256="0" * 64)
    assert caught.value.code == "digest_mismatch"
    assert list(tmp_path.glob("file*")) == []
    assert len(server.requests) == 1  # the same bytes would only come again


def test_wrong_size_is_seen_before_the_body(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DigestError, match="2304000 bytes instead of 5"):
        download(f"{server.url}/x", tmp_path / "file.bin", size=5)
    assert list(tmp_path.glob("file*")) == []


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_refusal(server: FileServer, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(HTTPStatusError, match=f"HTTP {status}") as caught:
        download(f"{server.url}/x", tmp_path / "file.bin")
    assert (caught.value.status, caught.value.code) == (status, f"http_{status}")
    assert len(server.requests) == 1


def test_server_error_is_tried_again(server: FileServer, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(DownloadError, match="HTTP 503"):
        download(f"{server.url}/x", tmp_path / "file.bin")
    assert len(server.requests) == download_module.ATTEMPTS


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path / "home")
    with pytest.raises(DownloadError, match="refused") as caught:
        download(f"http://127.0.0.1:{unused_port()}/x", tmp_path / "file.bin")
    assert caught.value.hint is not None


def test_no_room_is_seen_before_the_first_byte(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"2\.3 MB needed") as caught:
        download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256, size=len(CONTENT))
    assert caught.value.code == "disk_full"
    assert server.requests == []


def test_full_disk_leaves_nothing(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Path.open

    class Full:
        """A file on a disk with room for a megabyte."""

        def __init__(self, file: Any) -> None:
            self.file, self.written = file, 0

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, chunk: bytes) -> int:
            self.written += len(chunk)
            if self.written > 1 << 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(chunk))

    def open_full(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = genuine(self, mode, *arguments, **options)
        return Full(file) if self.name.endswith(".part") and mode != "rb" else file

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(DownloadError) as caught:
        download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256)
    assert caught.value.code == "disk_full"
    assert "VOXPORT_HOME" in str(caught.value.hint)
    assert list(tmp_path.glob("file*")) == []


def test_file_size_limit_of_the_system_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))  # Python ignores the signal: EFBIG
    try:
        with pytest.raises(DownloadError) as caught:
            download(f"{server.url}/x", tmp_path / "file.bin", sha256=SHA256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "disk_full"
    assert list(tmp_path.glob("file*")) == []
