"""OpenAI's checkpoints: fetched by digest, converted, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import fake_convert, model_files
from fakes.environment import files_under, isolate
from fakes.server import Answer, FakeServer, Request, file_answer
from voxport.errors import DigestError, DownloadError, ModelNotFoundError, UsageError
from voxport.models import hub
from voxport.models.hub import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKPOINT = b"a checkpoint" * 30_000
SHA256 = hashlib.sha256(CHECKPOINT).hexdigest()
FILE = f"{SHA256}/tiny.pt"


class FakeOpenAI(FakeServer):
    content = CHECKPOINT

    def respond(self, request: Request) -> Answer:
        return file_answer(request, self.content) if request.path == f"/models/{FILE}" else Answer(404)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("voxport.models.convert.convert", fake_convert)
    monkeypatch.setitem(catalog.MODELS, "whisper-tiny", replace(catalog.MODELS["whisper-tiny"], openai_file=FILE))
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        monkeypatch.setenv("VOXPORT_OPENAI_ENDPOINT", f"{running.url}/models/")
        yield running


def test_the_table_is_openai_whispers() -> None:
    files = {model.openai_file for model in catalog.MODELS.values() if model.openai_file}
    assert "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03/tiny.en.pt" in files
    assert "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a/large-v3-turbo.pt" in files
    assert len(files) == len(catalog.MODELS) - 1  # all but medasr
    assert all(len(file.partition("/")[0]) == 64 for file in files)


def test_pull_converts_into_the_store(fake: FakeOpenAI, home: Path) -> None:
    found = hub.pull("whisper-tiny", source="openai")
    assert found.path.parent == home / "models/whisper-tiny"
    assert (found.path / "model.safetensors").read_bytes() == model_files(len(CHECKPOINT))["model.safetensors"]
    record = json.loads((found.path / "voxport.json").read_text())
    assert (record["source"], record["format"], record["sha256"]) == ("openai", "openai", {"tiny.pt": SHA256})
    assert files_under(home / "downloads") == set()  # the checkpoint has served
    assert hub.resolve("tiny", offline=True) == found
    assert hub.resolve("tiny", source="openai", offline=True) == found


def test_into_a_folder(fake: FakeOpenAI, home: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    found = hub.pull("whisper-tiny", source="openai", directory=tmp_path / "weights")
    assert found.path == tmp_path / "weights"
    assert files_under(found.path) == set(model_files())
    assert files_under(home) == set()
    assert [path.name for path in tmp_path.glob(".staging*")] == []


def test_a_filled_folder_is_not_overwritten(fake: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        hub.pull("whisper-tiny", source="openai", directory=tmp_path / "weights")
    assert (tmp_path / "weights/thesis.txt").read_text() == "precious"
    assert "GET" not in {request.method for request in fake.requests}


def test_wrong_bytes(fake: FakeOpenAI, home: Path) -> None:
    fake.content = CHECKPOINT[:-1] + b"?"
    with pytest.raises(DigestError, match=SHA256):
        hub.pull("whisper-tiny", source="openai")
    assert files_under(home) == set()


def test_interrupted_pull_goes_on(fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxport.models.hub.download.ATTEMPTS", 1)
    fake.cuts = [131_072]
    with pytest.raises(DownloadError):
        hub.pull("whisper-tiny", source="openai")
    hub.pull("whisper-tiny", source="openai")
    assert fake.requests[-1].headers["range"] == "bytes=131072-"


def test_a_converter_that_fails_leaves_only_the_download(
    fake: FakeOpenAI, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, destination: Path, fetch_member: object) -> str:
        (destination / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("voxport.models.convert.convert", fail)
        with pytest.raises(DownloadError) as caught:
            hub.pull("whisper-tiny", source="openai")
    assert caught.value.code == "disk_full"
    assert files_under(home / "models") == set()
    fake.requests.clear()
    hub.pull("whisper-tiny", source="openai")
    assert fake.asked("GET") == []  # not fetched again


def test_no_longer_offered_and_no_revisions(fake: FakeOpenAI) -> None:
    with pytest.raises(ModelNotFoundError, match="no longer offers"):
        hub.pull("whisper-base", source="openai")
    with pytest.raises(UsageError, match="no revisions"):
        hub.pull("whisper-tiny", source="openai", revision="main")
    with pytest.raises(ModelNotFoundError, match="openai doesn't have medasr"):
        hub.pull("medasr", source="openai")
