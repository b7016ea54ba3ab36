"""VOXPORT_HOME: whole models or none, two processes, and what listing and removing see."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import model_files, write_folder
from fakes.environment import RecordingProgress, files_under, isolate
from voxport.errors import DownloadError, ModelError, ModelFormatError, OutputError
from voxport.models.hub import store

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = "0123456789ab" + "c" * 52


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


def put(name: str = "ours", identity: str = IDENTITY, **record: object) -> store.StoredModel:
    with store.locked(name), store.staging(name) as folder:
        write_folder(folder / "model", model_files())
        return store.place(folder / "model", name, identity, {"source": "import", **record})


def test_home_is_where_the_environment_says(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert store.home() == home
    monkeypatch.setenv("VOXPORT_HOME", "~/elsewhere")
    assert store.home() == tmp_path / "elsewhere"
    monkeypatch.delenv("VOXPORT_HOME")
    assert store.home() == tmp_path / ".cache/voxport"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.home() == tmp_path / "xdg/voxport"


def test_layout_is_models_name_revision(home: Path) -> None:
    placed = put("org/name", licence="MIT")
    assert placed.path == home / "models/org--name/0123456789ab"
    expected = {f"models/org--name/0123456789ab/{name}" for name in [*model_files(), "voxport.json"]}
    assert files_under(home) == expected | {"models/org--name/latest"}
    record = json.loads((placed.path / "voxport.json").read_text())
    assert record == {
        "schema": 1, "name": "org/name", "identity": IDENTITY, "source": "import", "licence": "MIT",
    }  # fmt: skip
    found = store.find("org/name")
    assert found == placed


def test_the_same_weights_twice_are_one_folder(home: Path) -> None:
    first = put(imported_from="a.pt")
    marker = first.path / "marker"
    marker.touch()
    second = put(imported_from="b.pt")
    assert second.path == first.path
    assert marker.exists()  # the files stayed
    assert [model.record["imported_from"] for model in store.list_models()] == ["b.pt"]


def test_latest_wins_and_older_ones_can_be_named() -> None:
    old = put(identity="a" * 64, source_revision="v1")
    new = put(identity="b" * 64)
    again = store.find("ours")
    assert again is not None
    assert again.path == new.path
    for revision in ("a" * 12, "a" * 64, "v1"):
        found = store.find("ours", revision=revision)
        assert found is not None
        assert found.path == old.path
    assert store.find("ours", revision="c" * 12) is None
    assert store.find("ours", source="openai") is None
    assert [model.revision for model in store.list_models()] == ["b" * 12, "a" * 12]


def test_remove_takes_every_revision(home: Path) -> None:
    put(identity="a" * 64)
    put(identity="b" * 64)
    put("other")
    assert {model.revision for model in store.remove("ours")} == {"a" * 12, "b" * 12}
    assert [model.name for model in store.list_models()] == ["other"]
    assert not (home / "models/ours").exists()
    assert store.remove("ours") == []


def test_an_error_half_way_leaves_nothing(home: Path) -> None:
    def fail() -> None:
        with store.locked("ours"), store.staging("ours") as folder:
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files_under(home) == set()
    assert store.list_models() == []


def test_what_a_killed_process_left_is_cleared_away(home: Path) -> None:
    leftover = home / "models/.staging-ours-abc"
    write_folder(leftover, {"model.safetensors": b"half"})
    assert store.list_models() == []
    put()
    assert not leftover.exists()


@pytest.mark.parametrize("wrapped", [False, True])
def test_full_disk(home: Path, wrapped: bool) -> None:
    def fill() -> None:
        with store.locked("ours"), store.staging("ours") as folder:
            (folder / "config.json").write_text("{}")
            full = OSError(errno.ENOSPC, "No space left on device")
            if wrapped:
                raise OutputError("model.safetensors can't be written") from full
            raise full

    with pytest.raises(DownloadError) as caught:
        fill()
    assert caught.value.code == "disk_full"
    assert files_under(home) == set()


def test_a_home_that_can_not_be_written(home: Path) -> None:
    with pytest.raises(ModelError) as caught, store.store_errors(home):
        raise PermissionError(errno.EACCES, "Permission denied", str(home))
    assert caught.value.code == "home_not_writable"
    assert "VOXPORT_HOME" in str(caught.value.hint)
    assert str(home) in caught.value.message


def test_a_damaged_record_is_named() -> None:
    placed = put()
    (placed.path / "voxport.json").write_text("{")
    with pytest.raises(ModelFormatError, match=r"voxport\.json can't be read"):
        store.list_models()


def test_a_damaged_record_keeps_no_other_model_back_and_can_be_removed() -> None:
    placed, other = put(), put("other")
    (placed.path / "voxport.json").write_text("{")
    found = store.find("other")
    assert found is not None
    assert found.path == other.path
    assert [model.path for model in store.remove("ours")] == [placed.path]
    assert [model.name for model in store.list_models()] == ["other"]


def test_a_home_below_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "file/home"))
    with pytest.raises(ModelError, match="Not a directory") as caught, store.locked("ours"):
        pass
    assert "VOXPORT_HOME" in str(caught.value.hint)


def test_a_folder_put_there_by_hand_counts(home: Path) -> None:
    write_folder(home / "models/mine" / ("d" * 12), model_files())
    found = store.find("mine")
    assert found is not None
    assert (found.name, found.source, found.revision) == ("mine", "unknown", "d" * 12)


def test_the_second_one_waits_and_says_so() -> None:
    progress = RecordingProgress()
    order: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with store.locked("ours"):
            entered.set()
            leave.wait(20)
            order.append("first")

    def second() -> None:
        with store.locked("ours", progress=progress):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(20)
    threads[1].start()
    while not progress.notes:
        threads[1].join(0.01)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(20)
    assert order == ["first", "second"]
    assert progress.notes == ["waiting for another process that is working on ours"]


def test_a_killed_process_holds_no_lock() -> None:
    program = "from voxport.models.hub import store\nimport os\nwith store.locked('ours'):\n    os._exit(9)\n"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 9
    put()
    assert [model.name for model in store.list_models()] == ["ours"]
