"""The reports under examples/: whole, untouched, and what this voxport makes of their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxport.report import Measurements, make_report
from voxport.report.tampering import check_files

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def test_both_families_on_the_cpu_and_on_a_simulated_npu() -> None:
    found = set()
    for folder in FOLDERS:
        measured = Measurements.read(folder / "results")
        side = measured.bench["sides"][0]
        found.add((measured.summary["model"]["family"], side["device"].partition(":")[0], bool(side["simulated"])))
        assert measured.verify["reference"]["side"] == "transformers/cpu:float32"
    wanted = {(family, *device) for family in ("whisper", "lasr_ctc") for device in (("cpu", False), ("npu", True))}
    assert found >= wanted


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_they_are_what_is_made_of_their_results(folder: Path, tmp_path: Path) -> None:
    """Figures depend on matplotlib's version, and with them the page: these are only there."""
    findings = check_files(folder)
    assert findings.ok
    assert findings.other == ()
    files = make_report(Measurements.read(folder / "results"), tmp_path)
    assert sorted(files) == sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    for name in files:
        if not name.endswith((".svg", ".html", "files.json")):
            assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), f"make examples, or --again: {name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_first_lines_say_what_they_are_about(folder: Path) -> None:
    first = (folder / "README.md").read_text(encoding="utf-8").partition("## ")[0]
    assert ("Simulated device:" in first) == ("simulated" in folder.name)
    assert ("Random weights:" in first) == ("random" in folder.name)
    assert "hardware:" not in first
    assert "PASS" in first
