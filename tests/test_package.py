"""`python -m build` makes a source archive and a wheel; the wheel works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email import message_from_string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from voxport.version import __version__

if TYPE_CHECKING:
    from email.message import Message

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source archive and the wheel that was built from it. Offline: hatchling must be installed."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling", reason="building offline needs hatchling in the environment")
    folder = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)], folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the wheel was installed into; its dependencies come from the environment."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    _run([*pip, str(wheel)], target)
    return target


def _run(command: list[str], folder: Path, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def _read(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name).decode()


@pytest.fixture(scope="module")
def described(wheel: Path) -> Message:
    return message_from_string(_read(wheel, ".dist-info/METADATA"))


def test_metadata(described: Message) -> None:
    assert described["Name"] == "voxport"
    assert described["Version"] == __version__
    assert described["License-Expression"] == "Apache-2.0 AND MIT"
    assert sorted(described.get_all("License-File", [])) == [
        "LICENSE", "NOTICE", "src/voxport/data/LICENSE.openai-whisper", "src/voxport/data/LICENSE.silero-vad",
    ]  # fmt: skip
    assert described["Requires-Python"] == ">=3.11"
    assert described["Description-Content-Type"] == "text/markdown"
    assert str(described.get_payload()).lstrip().startswith("#"), "the README is the long description"


def test_extras(described: Message) -> None:
    assert "reference" in described.get_all("Provides-Extra", [])
    requirements = described.get_all("Requires-Dist", [])
    assert [line for line in requirements if "transformers" in line] == ["transformers>=4.57; extra == 'reference'"]
    plain = {line.split(">")[0].strip() for line in requirements if "extra ==" not in line}
    assert {"av", "numpy", "safetensors", "soxr", "tokenizers", "torch"} <= plain


def test_entry_point(wheel: Path) -> None:
    parser = ConfigParser()
    parser.read_string(_read(wheel, ".dist-info/entry_points.txt"))
    assert dict(parser["console_scripts"]) == {"voxport": "voxport.cli:main"}


def test_wheel_holds_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    source = REPOSITORY / "src"
    expected = {
        file.relative_to(source).as_posix()
        for file in (source / "voxport").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"voxport-{__version__}.dist-info/")}
    assert names == expected
    assert "voxport/py.typed" in names
    assert "Apache License" in _read(wheel, "licenses/LICENSE")


def test_source_archive_holds_tests_and_licence(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "tests/conftest.py", "src/voxport/types.py"} <= names
    assert {"README.zh.md", "docker/Dockerfile.cann", ".dockerignore", "docs/README.md"} <= names, "what tests read"
    assert not [name for name in names if "__pycache__" in name or name.endswith((".safetensors.tmp", ".whl"))]


def test_installed_wheel_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = _run(
        [sys.executable, "-c", "import voxport; print(voxport.__file__); print(voxport.__version__)"],
        tmp_path,
        PYTHONPATH=str(installed),
    ).split()
    assert where == [str(installed / "voxport/__init__.py"), __version__]


def test_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed)}
    assert __version__ in _run([str(installed / "bin/voxport"), "--version"], tmp_path, **environment)
    assert "transcribe" in _run([str(installed / "bin/voxport"), "--help"], tmp_path, **environment)
    assert "--language" in _run([sys.executable, "-m", "voxport", "transcribe", "--help"], tmp_path, **environment)


def test_installed_wheel_imports_every_module(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, voxport
names = [m.name for m in pkgutil.walk_packages(voxport.__path__, "voxport.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
assert all(importlib.import_module(n).__file__.startswith(voxport.__path__[0]) for n in names)
print(len(names))
"""
    count = int(_run([sys.executable, "-W", "error", "-c", code], tmp_path, PYTHONPATH=str(installed)))
    files = [path for path in (installed / "voxport").rglob("*.py") if path.name != "__main__.py"]
    scripts = [path for path in files if path.parent.parent.name == "scripts"]  # written out by report, never imported
    assert scripts
    assert count == len(files) - len(scripts) - 1
