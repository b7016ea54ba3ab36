"""Hugging Face's protocol against a fake hub, through the genuine huggingface_hub; AtomGit's after its own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import model_files, repository_files, write_folder
from fakes.environment import RecordingProgress, files_under, isolate
from fakes.hub import COMMIT, FakeHub
from voxport.errors import (
    DigestError,
    DownloadError,
    GatedModelError,
    ModelFormatError,
    ModelNotFoundError,
    OfflineError,
)
from voxport.models import hub
from voxport.models.hub.sources.atomgit import flat_repository_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDED = {f"/openai/whisper-tiny/resolve/{COMMIT}/{name}" for name in model_files()}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({"openai/whisper-tiny": repository_files()}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def atomgit(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({"hf_mirrors-google/medasr": repository_files()}, branch="master") as running:
        monkeypatch.setenv("ATOMGIT_ENDPOINT", running.url)
        yield running


def test_only_what_is_needed_goes_into_the_hubs_own_cache(fake: FakeHub, home: Path, tmp_path: Path) -> None:
    progress = RecordingProgress()
    found = hub.resolve("whisper-tiny", progress=progress)
    folder = tmp_path / "hf/hub/models--openai--whisper-tiny"
    assert found == hub.ResolvedModel("whisper-tiny", folder / "snapshots" / COMMIT, "huggingface", COMMIT)
    assert {path.name: path.read_bytes() for path in found.path.iterdir()} == model_files()
    assert set(fake.asked("GET")) & {path for path in fake.asked() if "/resolve/" in path} == NEEDED
    assert (folder / "refs/main").read_text() == COMMIT
    assert files_under(home) == set()  # nothing of it in the store
    assert progress.labels == ["openai/whisper-tiny/model.safetensors from the Hugging Face hub"]
    assert progress.totals == progress.counts == [len(model_files()["model.safetensors"])]


def test_the_second_time_asks_nobody(fake: FakeHub) -> None:
    first = hub.resolve("whisper-tiny")
    fake.requests.clear()
    assert hub.resolve("openai/whisper-tiny") == first
    assert hub.resolve("tiny", offline=True) == first
    assert hub.pull("whisper-tiny", revision="main") == first
    assert hub.resolve("whisper-tiny", revision=COMMIT[:12]) == first
    assert fake.requests == []


def test_what_other_tools_downloaded_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "hf/hub/models--someone--finetuned"
    write_folder(folder / "snapshots" / COMMIT, model_files())
    write_folder(folder / "refs", {"main": COMMIT.encode()})
    found = hub.resolve("someone/finetuned", offline=True)
    assert (found.path, found.source) == (folder / "snapshots" / COMMIT, "huggingface")


def test_an_incomplete_snapshot_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "hf/hub/models--someone--finetuned"
    files = model_files()
    del files["model.safetensors"]
    write_folder(folder / "snapshots" / COMMIT, files)
    write_folder(folder / "refs", {"main": COMMIT.encode()})
    with pytest.raises(OfflineError):
        hub.resolve("someone/finetuned", offline=True)


def test_shards_are_fetched_with_their_index(fake: FakeHub) -> None:
    files = model_files()
    weights = files.pop("model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"model.encoder.conv1.weight": names[0], "model.decoder.layer_norm.bias": names[1]}}
    files |= {"model.safetensors.index.json": json.dumps(index).encode(), names[0]: weights, names[1]: weights}
    fake.repositories["org/sharded"] = files | {"model.fp32.safetensors.index.json": b"{}"}
    found = hub.resolve("org/sharded")
    assert {path.name for path in found.path.iterdir()} == set(files)


def test_interrupted_pull_goes_on(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = bytes(300_000)
    fake.repositories["org/large"] = {**model_files(), "model.safetensors": large}
    monkeypatch.setattr("voxport.models.hub.download.ATTEMPTS", 1)
    for place in ({}, {"directory": tmp_path / "weights"}):
        fake.cuts = [131_072]
        with pytest.raises(DownloadError):
            hub.pull("org/large", source="huggingface", **place)  # type: ignore[arg-type]
        fake.requests.clear()
        found = hub.pull("org/large", source="huggingface", **place)  # type: ignore[arg-type]
        assert (found.path / "model.safetensors").read_bytes() == large
        ranges = [request.headers.get("range") for request in fake.requests if request.method == "GET"]
        assert [value for value in ranges if value] == ["bytes=131072-"]
        fetched = [path for path in fake.asked("GET") if path.endswith("model.safetensors")]
        assert len(fetched) == 1  # the library takes what we put there


def test_a_token_goes_along(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.gated.add("openai/whisper-tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.resolve("whisper-tiny")
    sent = {request.headers.get("authorization") for request in fake.requests if request.path in NEEDED}
    assert sent == {"Bearer hf_secret"}


def test_gated_says_what_to_do_and_takes_no_mirror(fake: FakeHub, atomgit: FakeHub) -> None:
    fake.repositories["google/medasr"] = model_files()
    fake.gated.add("google/medasr")
    with pytest.raises(GatedModelError) as caught:
        hub.resolve("medasr")
    assert caught.value.code == "model_gated"
    assert f"{fake.url}/google/medasr" in str(caught.value.hint)
    assert "HF_TOKEN" in str(caught.value.hint)
    assert "--source modelscope or atomgit" in str(caught.value.hint)
    assert atomgit.requests == []


def test_unknown_repository_and_revision(fake: FakeHub) -> None:
    with pytest.raises(ModelNotFoundError, match="no model no/such"):
        hub.pull("no/such", source="huggingface")
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        hub.pull("whisper-tiny", source="huggingface", revision="v9")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_damaged_bytes_are_thrown_away(fake: FakeHub, name: str) -> None:
    fake.corrupt.add(name)
    with pytest.raises(DigestError, match=name):
        hub.pull("whisper-tiny", source="huggingface")
    fake.corrupt.clear()
    found = hub.pull("whisper-tiny", source="huggingface")
    assert (found.path / name).read_bytes() == model_files()[name]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, "LoRA adapter"),
        ({"config.json": b"{}", "model.bin": b"", "vocabulary.json": b""}, "CTranslate2"),
        ({"ggml-base.bin": b""}, "GGML"),
        ({"config.json": b"{}", "flax_model.msgpack": b""}, "neither safetensors nor"),
    ],
)
def test_a_repository_that_holds_something_else(fake: FakeHub, files: dict[str, bytes], words: str) -> None:
    fake.repositories["org/other"] = files
    with pytest.raises(ModelFormatError, match=f"org/other can't be used: .*{words}"):
        hub.pull("org/other", source="huggingface")


def test_pickled_weights_are_converted_into_the_store(
    fake: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = model_files()
    del files["model.safetensors"]
    fake.repositories["org/old"] = files | {"pytorch_model.bin": b"a pickle"}
    seen: list[Path] = []

    def convert(path: Path, destination: Path, fetch_member: object) -> str:
        seen.append(path)
        write_folder(destination, model_files())
        return "huggingface"

    monkeypatch.setattr("voxport.models.convert.convert", convert)
    found = hub.resolve("org/old")
    assert found.path.parent == home / "models/org--old"
    assert found.source == "huggingface"
    assert (seen[0] / "pytorch_model.bin").exists()  # the hub's cache keeps what it has
    assert hub.resolve("org/old", offline=True).path == found.path


def test_into_a_folder_of_ones_own(fake: FakeHub, home: Path, tmp_path: Path) -> None:
    known = hub.pull("whisper-tiny", source="huggingface", directory=tmp_path / "some")
    assert files_under(tmp_path / "some").issuperset(model_files())
    assert not (tmp_path / "some/tf_model.h5").exists()
    assert hub.resolve(str(known.path)).source == "folder"
    hub.pull("openai/whisper-tiny", source="huggingface", directory=tmp_path / "whole")
    for name, content in repository_files().items():
        assert (tmp_path / "whole" / name).read_bytes() == content
    assert files_under(home) == set()


def test_hub_that_is_down(fake: FakeHub) -> None:
    fake.status = 503
    with pytest.raises(DownloadError, match="HTTP 503") as caught:
        hub.pull("whisper-tiny", source="huggingface")
    assert caught.value.code == "unreachable"
    assert len(fake.requests) == 1  # no row of retries


def test_atomgit_ids() -> None:
    assert flat_repository_id("hf_mirrors/google/medasr") == "hf_mirrors-google/medasr"
    assert flat_repository_id("org/name") == "org/name"


@pytest.mark.parametrize("says_branch", [True, False])
def test_atomgit_as_its_client_does(
    atomgit: FakeHub, tmp_path: Path, says_branch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    atomgit.default_branch = "master" if says_branch else None
    found = hub.pull("medasr", source="atomgit")
    cache = tmp_path / ".cache/atomgit/hub/models--hf_mirrors-google--medasr"
    assert found.path == cache / "snapshots" / COMMIT
    assert (cache / "refs/master").read_text() == COMMIT
    assert {path.name: path.read_bytes() for path in found.path.iterdir()} == model_files()
    assert all("authorization" not in request.headers for request in atomgit.requests)  # the hub's token stays home
    details = "/api/models/hf_mirrors-google/medasr"
    first = [path for path in atomgit.asked("GET") if path != "/"]
    expected = [details] if says_branch else [details, f"{details}/revision/main", f"{details}/revision/master"]
    assert first[: len(expected)] == expected
    assert hub.resolve("google/medasr", offline=True).path == found.path


@pytest.mark.parametrize("stored", [True, False])
def test_atomgit_token(atomgit: FakeHub, tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    atomgit.default_branch = "master"
    atomgit.gated.add("hf_mirrors-google/medasr")
    with pytest.raises(GatedModelError, match="AtomGit is gated"):
        hub.pull("medasr", source="atomgit")
    if stored:
        write_folder(tmp_path / ".atomgit", {"config.json": b'{"token": "ag_secret"}'})
    else:
        monkeypatch.setenv("ATOMGIT_TOKEN", "ag_secret")
    hub.pull("medasr", source="atomgit")
    assert atomgit.requests[-1].headers["authorization"] == "Bearer ag_secret"


def test_atomgit_into_a_folder(atomgit: FakeHub, tmp_path: Path) -> None:
    atomgit.default_branch = "master"
    hub.pull("hf_mirrors/google/medasr", source="atomgit", directory=tmp_path / "weights")
    for name, content in repository_files().items():
        assert (tmp_path / "weights" / name).read_bytes() == content
