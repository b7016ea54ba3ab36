"""MedASR from the hubs: usable at once, and what a refusal says."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load

import voxport
from fakes.environment import files_under, isolate
from fakes.hub import COMMIT, FakeHub
from fakes.lasr import SMALL, lasr_repository
from fakes.modelscope import FakeModelScope
from fakes.server import Answer
from voxport.errors import DownloadError, GatedModelError, OfflineError
from voxport.models import hub
from voxport.models.hub.model_files import select_files
from voxport.models.identity import model_identity
from voxport.models.lasr import LasrModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKEN = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
TOKEN = "Please enable access to public gated repositories in your fine-grained token settings"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> dict[str, bytes]:
    return lasr_repository(tmp_path / "published")


@pytest.fixture
def huggingface(repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub({"google/medasr": repository}) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def modelscope(repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModelScope]:
    with FakeModelScope({"google/medasr": repository}) as fake:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", fake.url)
        yield fake


def assert_loads(folder: Path, identity: str) -> None:
    """By its name, offline."""
    model = voxport.load_model("medasr", device="cpu", offline=True)
    assert isinstance(model, LasrModel)
    assert model.net.dims == SMALL
    assert (model.info.identity, model.info.path) == (identity, str(folder))
    assert model.info.random_weights


def test_what_is_taken_of_the_repository(repository: dict[str, bytes]) -> None:
    assert set(select_files(repository)) == TAKEN


def test_from_hugging_face(huggingface: FakeHub, tmp_path: Path) -> None:
    found = hub.pull("medasr")
    assert (found.source, found.revision) == ("huggingface", COMMIT)
    assert files_under(found.path) == TAKEN
    assert_loads(found.path, model_identity(tmp_path / "published"))


def test_from_modelscope(modelscope: FakeModelScope, home: Path, tmp_path: Path) -> None:
    found = hub.pull("google/medasr", source="modelscope")
    assert found.path.parent == home / "models/medasr"
    assert files_under(found.path) == {*TAKEN, "voxport.json"}
    assert_loads(found.path, model_identity(tmp_path / "published"))


def test_into_a_folder_all_of_it(modelscope: FakeModelScope, repository: dict[str, bytes], tmp_path: Path) -> None:
    hub.pull("google/medasr", source="modelscope", directory=tmp_path / "weights")
    assert files_under(tmp_path / "weights") == set(repository)
    model = voxport.load_model(str(tmp_path / "weights"), device="cpu", offline=True)
    assert model.info.identity == model_identity(tmp_path / "published")


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_pickled_weights_are_converted(
    huggingface: FakeHub,
    modelscope: FakeModelScope,
    repository: dict[str, bytes],
    home: Path,
    tmp_path: Path,
    source: str,
) -> None:
    file = io.BytesIO()
    torch.save(load(repository.pop("model.safetensors")), file)
    repository["pytorch_model.bin"] = file.getvalue()
    found = hub.pull("medasr", source=source)
    assert found.path.parent == home / "models/medasr"
    assert files_under(found.path) == {*TAKEN, "voxport.json"}
    assert_loads(found.path, model_identity(tmp_path / "published"))


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (Answer(401, headers={"X-Error-Code": "GatedRepo"}), "is gated: its terms have to be accepted first"),
        (Answer(403, headers={"X-Error-Code": "GatedRepo"}), "is gated: its terms have to be accepted first"),
        (Answer(403, headers={"X-Error-Message": TOKEN}), f"the Hugging Face hub refuses google/medasr: {TOKEN}"),
        (
            Answer(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"}),
            "refuses google/medasr: Invalid credentials",
        ),
    ],
    ids=["no token", "terms not accepted", "a token of too little reach", "an old token"],
)
def test_a_refusal_names_the_way_out_and_no_mirror_is_taken(
    huggingface: FakeHub, modelscope: FakeModelScope, home: Path, refusal: Answer, message: str
) -> None:
    huggingface.gated.add("google/medasr")
    huggingface.refusal = refusal
    with pytest.raises(GatedModelError, match=message) as caught:
        hub.pull("medasr")
    assert caught.value.hint == (
        f"accept the terms at {huggingface.url}/google/medasr, make a token at {huggingface.url}/settings/tokens and "
        "set HF_TOKEN to it (or run `hf auth login`); or choose a mirror yourself, under its own terms: "
        "--source modelscope or atomgit"
    )
    assert modelscope.requests == []
    assert files_under(home) == set()
    with pytest.raises(OfflineError):
        hub.resolve("medasr", offline=True)


def test_what_a_proxy_forbids_is_no_refusal_of_the_hub(huggingface: FakeHub, modelscope: FakeModelScope) -> None:
    huggingface.gated.add("google/medasr")
    huggingface.refusal = Answer(403, b"<html>blocked by your firm</html>")
    assert hub.pull("medasr").source == "modelscope"
    with pytest.raises(DownloadError):
        hub.pull("medasr", source="huggingface")


def test_an_old_token_is_no_matter_where_none_is_needed(
    huggingface: FakeHub, modelscope: FakeModelScope, repository: dict[str, bytes]
) -> None:
    huggingface.repositories["org/open"] = modelscope.repositories["org/open"] = repository
    huggingface.gated.add("org/open")
    huggingface.refusal = Answer(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
    assert hub.pull("org/open").source == "modelscope"


def test_modelscope_refuses_too(modelscope: FakeModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    modelscope.private.add("google/medasr")
    with pytest.raises(GatedModelError, match=r"only to those with access \(HTTP 403\)") as caught:
        hub.pull("medasr", source="modelscope")
    assert "MODELSCOPE_API_TOKEN" in str(caught.value.hint)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    assert hub.pull("medasr", source="modelscope").source == "modelscope"
