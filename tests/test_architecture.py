"""The house rules that a machine can check: layers, lazy imports, the public names, and no traces of one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import voxport

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {
    "av",
    "huggingface_hub",
    "librosa",
    "pypi_simple",
    "safetensors",
    "soxr",
    "tokenizers",
    "torch",
    "transformers",
}


def test_imports_go_down_the_layers_only() -> None:
    pytest.importorskip("importlinter", reason="needs import-linter, of the lint group")
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def _modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_voxport_loads_nothing_heavy() -> None:
    loaded = _modules_after("import voxport")
    assert "voxport" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["transcribe", "--help"], ["models", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
from voxport.cli import main
try:
    status = main({arguments!r})
except SystemExit as stop:
    status = stop.code
assert not status, status
"""
    assert not _modules_after(code) & HEAVY


def test_public_names_are_sorted_and_there() -> None:
    names = voxport.__all__
    assert list(names) == sorted(set(names))
    assert all(isinstance(name, str) for name in names)
    missing = [name for name in names if not hasattr(voxport, name)]
    assert not missing


def test_public_names_are_complete() -> None:
    defined = {
        name
        for name, value in vars(voxport).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in ("annotations", "TYPE_CHECKING", "Any")
    }
    assert defined <= set(voxport.__all__)
    assert {"Transcript", "VoxportError", "load_model", "transcribe"} <= set(voxport.__all__)


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from voxport import *", names)
    assert set(voxport.__all__) <= names.keys()


def _text_files() -> list[Path]:
    """The repository's own files: what git knows or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.splitlines() if not name.startswith(".venv")]
    return [file for file in files if file.is_file() and file.stat().st_size < 2_000_000]


def test_no_paths_of_one_machine() -> None:
    # In two parts each, so that this file is clean as well.
    traces = ["/wo" + "rk/", "/ro" + "ot/", "/op" + "t/", "/ho" + "me/"]
    home = os.path.expanduser("~")  # noqa: PTH111 - the text is wanted
    found = []
    for file in _text_files():
        text = file.read_bytes()
        found += [
            f"{file.relative_to(REPOSITORY)}: {trace}" for trace in [*traces, home + "/"] if trace.encode() in text
        ]
    assert not found


def test_no_package_index_is_named_in_the_code() -> None:
    hosts = ["pypi" + ".org", "python" + "hosted", "tsinghua" + ".edu", "mirrors" + "."]
    found = [
        f"{file.relative_to(REPOSITORY)}: {host}"
        for file in _text_files()
        if file.is_relative_to(REPOSITORY / "src")
        for host in hosts
        if host.encode() in file.read_bytes()
    ]
    assert not found
