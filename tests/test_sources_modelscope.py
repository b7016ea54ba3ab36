"""ModelScope's protocol against a fake server written after its client's source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import model_files, repository_files
from fakes.environment import files_under, isolate
from fakes.modelscope import FakeModelScope
from voxport.errors import DigestError, DownloadError, GatedModelError, ModelNotFoundError
from voxport.models import hub
from voxport.models.hub.sources.modelscope import ModelScope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = repository_files() | {"sub/folder/notes.txt": b"some notes"}
API = "/api/v1/models/google/medasr/repo"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModelScope]:
    with FakeModelScope({"google/medasr": FILES, "openai-mirror/whisper-tiny": repository_files(1)}) as running:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        yield running


def test_pull_into_the_store(fake: FakeModelScope, home: Path) -> None:
    found = hub.resolve("medasr", source="modelscope")
    assert found.path.parent == home / "models/medasr"
    assert {name: (found.path / name).read_bytes() for name in model_files()} == model_files()
    assert files_under(found.path) == {*model_files(), "voxport.json"}
    record = json.loads((found.path / "voxport.json").read_text())
    assert record["source"] == "modelscope"
    assert record["repository"] == "google/medasr"
    assert record["source_revision"] == "master"
    assert record["identity"].startswith(found.revision)
    assert set(record["sha256"]) == set(model_files())
    assert files_under(home / "downloads") == set()
    fake.requests.clear()
    assert hub.resolve("google/medasr", offline=True) == found
    assert fake.requests == []


def test_requests_are_the_clients(fake: FakeModelScope) -> None:
    hub.pull("medasr", source="modelscope")
    listing = next(request for request in fake.requests if request.path == f"{API}/files")
    assert listing.query == {"Revision": "master", "Recursive": "True"}
    files = [request.query for request in fake.requests if request.path == API]
    assert {query["FilePath"] for query in files} == set(model_files())
    assert {query["Revision"] for query in files} == {"master"}
    assert all("authorization" not in request.headers for request in fake.requests)


def test_d_gives_the_whole_repository_as_the_client_does(fake: FakeModelScope, home: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    found = hub.pull("google/medasr", source="modelscope", directory=weights)
    assert found.path == weights
    assert {name: (weights / name).read_bytes() for name in FILES} == FILES
    assert files_under(weights) == set(FILES)
    assert files_under(home) == set()
    assert hub.resolve(str(weights)).path == weights


def test_interrupted_pull_goes_on(fake: FakeModelScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = bytes(300_000)
    fake.repositories["google/medasr"] = {**FILES, "lm.bin": large}
    monkeypatch.setattr("voxport.models.hub.download.ATTEMPTS", 1)
    fake.cuts = [131_072]
    weights = tmp_path / "weights"
    with pytest.raises(DownloadError):
        hub.pull("google/medasr", source="modelscope", directory=weights)
    assert (weights / "lm.bin.part").stat().st_size == 131_072
    assert not (weights / "lm.bin").exists()
    fake.requests.clear()
    hub.pull("google/medasr", source="modelscope", directory=weights)
    assert (weights / "lm.bin").read_bytes() == large
    ranges = [request.headers["range"] for request in fake.requests if "range" in request.headers]
    assert ranges == ["bytes=131072-"] * 2  # asked of the API, and of where it redirects to
    assert {request.query.get("FilePath") for request in fake.requests if request.path == API} == {"lm.bin"}


def test_token_goes_as_header_and_cookie(fake: FakeModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.private.add("google/medasr")
    with pytest.raises(GatedModelError, match="no permission") as caught:
        hub.pull("medasr", source="modelscope")
    assert "MODELSCOPE_API_TOKEN" in str(caught.value.hint)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    fake.requests.clear()
    hub.pull("medasr", source="modelscope")
    asked = [request for request in fake.requests if request.path.startswith("/api")]
    assert {request.headers["authorization"] for request in asked} == {"Bearer secret"}
    assert {request.headers["cookie"] for request in asked} == {"m_session_id=secret"}


def test_damaged_bytes_keep_nothing(fake: FakeModelScope, home: Path) -> None:
    fake.corrupt.add("model.safetensors")
    with pytest.raises(DigestError):
        hub.pull("medasr", source="modelscope")
    assert not any(name.endswith(("model.safetensors", ".part")) for name in files_under(home))
    assert files_under(home / "models") == set()


def test_unknown_model_and_revision(fake: FakeModelScope) -> None:
    with pytest.raises(ModelNotFoundError, match="record not found"):
        hub.pull("no/such", source="modelscope")
    with pytest.raises(ModelNotFoundError, match="revision 'v9'"):
        hub.pull("medasr", source="modelscope", revision="v9")


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/outside.txt", "a/../../outside.txt", "..\\outside.txt"])
def test_a_listing_can_not_lead_out_of_the_folder(fake: FakeModelScope, tmp_path: Path, path: str) -> None:
    fake.extra_entries = [{"Path": path, "Type": "blob", "Size": 3}]
    with pytest.raises(DownloadError, match="listing has the path"):
        hub.pull("google/medasr", source="modelscope", directory=tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_known_names_map_to_their_repositories(fake: FakeModelScope) -> None:
    found = hub.pull("whisper-tiny", source="modelscope")
    assert (found.path / "model.safetensors").read_bytes() == model_files(1)["model.safetensors"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "https://modelscope.cn"),
        ({"MODELSCOPE_DOMAIN": "www.modelscope.ai"}, "https://www.modelscope.ai"),
        ({"MODELSCOPE_DOMAIN": "a.example", "MODELSCOPE_ENDPOINT": "http://b.example/"}, "http://b.example"),
    ],
)
def test_endpoint(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ModelScope().endpoint() == expected
