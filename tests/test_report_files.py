"""A report as an acceptance test: whole or not at all, what is sent, whether it was changed, what is refused early."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from report_folders import make, report_command
from voxport.cli import main
from voxport.errors import OutputError, UsageError
from voxport.report import Measurements, make_report, making
from voxport.report.packing import pack
from voxport.report.sums import SUMS, is_plain_name, read_sums, sums_text

if TYPE_CHECKING:
    from collections.abc import Mapping

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models, recordings and a policy lie."""
    return tmp_path_factory.mktemp("jones")


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, with its zip."""
    folder = tmp_path_factory.mktemp("out") / "my report"
    make(place, folder, "--zip")
    return folder


@pytest.fixture(scope="module")
def measured(made: Path) -> Measurements:
    return Measurements.read(made / "results")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the report."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def on_npu(measured: Measurements) -> Measurements:
    """As if the candidate had been an NPU: the logs have other names."""
    sides = [{**measured.bench["sides"][0], "device": "npu:0"}, measured.bench["sides"][1]]
    return replace(measured, bench={**measured.bench, "sides": sides})


# ------------------------------------------------------------------------------------------------------- sums, check


def test_every_file_has_its_sum(made: Path) -> None:
    files = contents(made)
    sums = json.loads(files.pop(SUMS))["sha256"]
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {"README.md", "results/summary.json", "logs/accuracy_cpu.log"} < sums.keys()


def test_check_sees_what_was_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "check", str(folder)]) == 0
    digest = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    count = len(contents(folder)) - 1
    told = capsys.readouterr().out
    assert told == f"{count} of {count} files are as they were written\nsha256 of {SUMS}: {digest}\n"
    log = folder / "logs/accuracy_cpu.log"
    log.write_text(log.read_text(encoding="utf-8").replace("PASS", "pass"), encoding="utf-8")
    (folder / "inference.py").unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(["report", "check", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] == ["logs/accuracy_cpu.log"]
    assert found["missing"] == ["inference.py"]
    assert found["other"] == ["notes.txt"]
    assert (found["ok"], found["files"]) == (False, count)
    assert main(["report", "check", str(folder)]) == 1
    assert "missing: inference.py\nno part of the report: notes.txt\n" in capsys.readouterr().out


def test_check_of_a_zip(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = made.parent / "my report.zip"
    assert main(["report", "check", str(archive)]) == 0
    capsys.readouterr()
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        for name in whole.namelist():
            other.writestr(name, whole.read(name).replace(b"PASS", b"FAIL"))
    assert main(["report", "check", str(tmp_path / "other.zip"), "--json"]) == 1
    changed = json.loads(capsys.readouterr().out)["changed"]
    assert {"README.md", "logs/accuracy_cpu.log"} <= set(changed)
    assert "results/bench.json" not in changed


def test_check_needs_sums(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / SUMS).unlink()
    assert main(["report", "check", str(folder)]) == 2
    assert f"has no {SUMS}" in capsys.readouterr().err
    assert main(["report", "check", str(tmp_path)]) == 2
    assert "is no report: results/summary.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "C:/x", "a\\x", "", ".", "a//x", "a\0x", "a/"])
def test_names_that_lead_elsewhere(name: str) -> None:
    assert not is_plain_name(name)
    assert is_plain_name("logs/accuracy_cpu.log")
    with pytest.raises(UsageError, match="is no file of a report"):
        read_sums(sums_text({name: "0" * 64}).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[", "can't be read"),
        (b"[" * 100_000, "can't be read"),
        (b"\xff", "can't be read"),
        (b"[]", "not as this voxport writes it"),
        (b'{"schema": 2, "kind": "voxport report files", "sha256": {}}', "not as this voxport writes it"),
        (b'{"schema": 1, "kind": "voxport report files", "sha256": []}', "names no files"),
        (b'{"schema": 1, "kind": "voxport report files", "sha256": {"a": "b"}}', "is no file of a report"),
    ],
)
def test_sums_that_are_none(content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_sums(content)


# --------------------------------------------------------------------------------------------------------------- zip


def test_what_is_in_the_zip(made: Path, place: Path) -> None:
    with zipfile.ZipFile(made.parent / "my report.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names)
        packed = {name.removeprefix("my report/"): archive.read(name) for name in names}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert packed == contents(made)
    for name, content in packed.items():
        assert b"smith" not in content, name
        assert str(place.parent).encode() not in content, name
        assert b"jones" not in content, name


def test_the_zip_has_the_report_only_and_is_the_same_each_time(made: Path, folder: Path) -> None:
    (folder / "private.txt").write_text("mine", encoding="utf-8")
    first = pack(folder).read_bytes()
    assert pack(folder).read_bytes() == first
    with zipfile.ZipFile(folder.parent / "copy.zip") as archive:
        assert {name.removeprefix("copy/") for name in archive.namelist()} == contents(made).keys()


def test_the_zip_of_the_folder_where_one_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert pack(Path()).resolve() == folder.parent / "copy.zip"


def test_a_zip_that_cannot_be_written_is_refused_first(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxport.report.measure", nothing_is_measured)
    (tmp_path / "out.zip").mkdir()
    assert main(report_command(place, "-o", str(tmp_path / "out"), "--zip")) == 2
    assert "out.zip', which is a folder" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- whole, or not at all


def test_an_earlier_report_is_replaced_as_a_whole(measured: Measurements, folder: Path) -> None:
    (folder / "logs/mine.log").write_text("mine", encoding="utf-8")
    benchmark = folder / "logs/benchmark_cpu.log"
    benchmark.write_text("changed by a person", encoding="utf-8")
    make_report(on_npu(measured), folder)
    logs = {path.name for path in (folder / "logs").iterdir()}
    assert logs == {"inference_npu.log", "benchmark_npu.log", "accuracy_npu.log", "mine.log", "benchmark_cpu.log"}
    assert benchmark.read_text(encoding="utf-8") == "changed by a person"
    assert main(["report", "check", str(folder)]) == 0


def test_files_of_unknown_origin_stay(measured: Measurements, folder: Path) -> None:
    (folder / SUMS).unlink()
    make_report(on_npu(measured), folder)
    assert (folder / "logs/accuracy_cpu.log").exists()
    assert (folder / "logs/accuracy_npu.log").exists()


def test_a_list_of_files_removes_nothing_elsewhere(measured: Measurements, folder: Path) -> None:
    outside = folder.parent / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    digest = hashlib.sha256(b"mine").hexdigest()
    (folder / "link").symlink_to(folder.parent)
    for name in ("../outside.txt", "link/outside.txt"):
        (folder / SUMS).write_text(sums_text({name: digest}), encoding="utf-8")
        make_report(measured, folder)
        assert outside.read_text(encoding="utf-8") == "mine"


def test_the_same_folder_twice_is_the_same(measured: Measurements, folder: Path) -> None:
    before = contents(folder)
    make_report(measured, folder)
    assert contents(folder) == before


class Interrupted:
    """Stands for a step that is never done."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("exists", [True, False])
def test_nothing_is_left_of_a_report_that_is_not_finished(
    measured: Measurements, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, exists: bool
) -> None:
    monkeypatch.setattr(making, "markdown", Interrupted(error))
    target = folder if exists else folder.parent / "new"
    before = contents(folder.parent)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        make_report(on_npu(measured), target)
    assert contents(folder.parent) == before
    assert [path.name for path in folder.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize("moved", [0, 1, 5, 12])
def test_an_earlier_report_comes_back_if_the_new_one_cannot_take_its_place(
    measured: Measurements, folder: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    before = contents(folder)
    count = 0
    whole = Path.replace

    def replace_some(self: Path, target: Path) -> Path:
        nonlocal count
        final = ".part" in str(self) and ".part" not in str(target)
        count += final
        if final and count == moved + 1:  # the moves that take it back go well
            raise OSError(13, "Permission denied")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace_some)
    with pytest.raises(OutputError, match="Permission denied"):
        make_report(on_npu(measured), folder)
    monkeypatch.undo()
    assert count > moved
    assert contents(folder) == before


def test_something_else_in_a_files_place(measured: Measurements, folder: Path) -> None:
    (folder / "README.zh.md").unlink()
    (folder / "README.zh.md").mkdir()
    before = contents(folder)
    with pytest.raises(OutputError, match="something else is in its place"):
        make_report(on_npu(measured), folder)
    assert contents(folder) == before


def test_ctrl_c_leaves_the_earlier_report(
    place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    monkeypatch.setattr("voxport.report.measuring.measure_speed", Interrupted(KeyboardInterrupt()))
    assert main(report_command(place, "-o", str(folder))) == 130
    assert contents(folder) == before
    assert main(report_command(place, "-o", str(folder.parent / "new"))) == 130
    assert not (folder.parent / "new").exists()
    assert "interrupted" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- refused before work


def nothing_is_measured(*arguments: Any, **options: Mapping[str, Any]) -> None:
    raise AssertionError("something was measured")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candidate", "npu"], "torch_npu is not installed"),
        (["--reference", "npu:float16"], "torch_npu is not installed"),
        (["--manifest", "absent.jsonl"], "'absent.jsonl' is not there"),
        (["--manifest", "broken.jsonl"], "broken.jsonl"),
        (["--manifest", "lost.jsonl"], "1 of the clips of lost.jsonl have no recording"),
        (["--policy", "exact"], "the policy exact compares sides of one dtype, not float32 and bfloat16"),
        (["--policy", "absent.toml"], "the policy absent.toml can't be read"),
        (["-o", "a file"], "'a file' is a file, not a folder"),
        (["-o", "a file/out"], "'a file' is a file, not a folder"),
    ],
)
def test_refused_before_anything_is_measured(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("voxport.report.measure", nothing_is_measured)
    (tmp_path / "a file").write_text("mine", encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    (tmp_path / "lost.jsonl").write_text('{"audio_filepath": "lost.wav", "text": "a"}\n', encoding="utf-8")
    assert main(report_command(place, "-o", "out", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "a file").read_text(encoding="utf-8") == "mine"
