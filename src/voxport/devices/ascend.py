"""What a host has of Huawei's Ascend software and hardware, found by looking at files: nothing of it is loaded.

Loading is what fails where something is missing, and it fails in ways that say little: with torch_npu installed but
CANN not, even `import torch` raises. So what is there is looked at first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import metadata, util
from pathlib import Path

__all__ = [
    "AscendHost",
    "NPUProcess",
    "NPUStatus",
    "inspect_host",
    "npu_status",
    "parse_npu_smi",
    "run_npu_smi",
]

# Below the folder that holds Huawei's software: /usr/local/Ascend, or ~/Ascend of an install without root.
_INSTALL_FOLDERS = ("ascend-toolkit/latest", "cann", "latest")
_VERSION_FILES = ("version.cfg", "ascend_toolkit_install.info", "*-linux/ascend_toolkit_install.info", "version.info")
_VERSIONS = tuple(
    re.compile(rf"(?im)^\s*(?:{keys})\s*=\s*\[?(?:.*:)?([0-9][\w.-]*?)\]?\s*$")
    for keys in ("version|toolkit_running_version", r"package_version|\w+_(?:running|installed|upgrade)_version")
)
"""In the order in which they are believed."""

_UNKNOWN = "unknown"

_LIBRARY = "libhccl.so"
"""The first of CANN's libraries that torch_npu wants."""

CANN_OF_TORCH_NPU: dict[str, tuple[str, ...]] = {
    "2.12": ("9.1",),
    "2.11": ("9.1",),
    "2.10": ("9.0", "9.1"),
    "2.9": ("8.5", "9.0", "9.1"),
    "2.8": ("8.3", "8.5"),
    "2.7": ("8.3", "9.1"),
}
"""torch_npu's minor version, newest first -> the CANN versions that its releases are paired with (COMPATIBILITY.md of
Ascend/pytorch, August 2026; post releases of one minor version differ)."""


@dataclass(frozen=True)
class AscendHost:
    """What was found.

    Attributes:
        torch_npu: its version, or None where it isn't installed.
        torch_npu_wants: the torch version that it was built for, e.g. "2.9.0", or None.
        torch: torch's version.
        cann: the folder CANN is installed in, or None.
        cann_version: e.g. "8.5.0", or None.
        set_env: the script that makes CANN's libraries found, or None.
        sourced: whether CANN's libraries can be found: it has been sourced in this shell, or they are in the loader's
            cache.
        driver_version: of the kernel driver, or None.
        device_files: indices of /dev/davinciN.
        manager: whether /dev/davinci_manager is there.
        visible: ASCEND_RT_VISIBLE_DEVICES as it is set, or None.
    """

    torch_npu: str | None
    torch_npu_wants: str | None
    torch: str | None
    cann: Path | None
    cann_version: str | None
    set_env: Path | None
    sourced: bool
    driver_version: str | None
    device_files: tuple[int, ...]
    manager: bool
    visible: str | None

    @property
    def has_hardware(self) -> bool:
        return bool(self.device_files)

    @property
    def cann_wanted(self) -> tuple[str, ...]:
        """The CANN versions that this torch_npu is paired with; empty where that isn't known here."""
        return CANN_OF_TORCH_NPU.get(".".join((self.torch_npu or "").split(".")[:2]), ())

    def mismatch(self) -> tuple[str, str] | None:
        """What doesn't belong together, and the command that mends it; None where nothing is known to clash."""
        wanted = self.torch_npu_wants
        if self.torch_npu and self.torch not in (None, _UNKNOWN) and wanted and not _fits(str(self.torch), wanted):
            return (
                f"torch_npu {self.torch_npu} is built for torch {wanted}, torch is {self.torch}",
                f"pip install torch=={wanted}  (or the torch_npu of torch {_plain(str(self.torch))})",
            )
        paired = self.cann_wanted
        if self.cann_version and paired and not any(_fits(self.cann_version, version) for version in paired):
            versions = " or ".join(paired)
            return (
                f"torch_npu {self.torch_npu} is paired with CANN {versions}, installed is {self.cann_version}",
                _other_torch_npu(self.cann_version) or f"install CANN {paired[-1]} (toolkit and ops) from hiascend.com",
            )
        return None


def inspect_host(root: Path = Path("/")) -> AscendHost:
    """Look at this host. `root`: where its file system begins, for tests."""
    cann = _cann(root)
    return AscendHost(
        torch_npu=_version("torch_npu") if _is_importable("torch_npu") else None,
        torch_npu_wants=_wanted_torch(),
        torch=_version("torch"),
        cann=cann,
        cann_version=_version_in(cann, _VERSION_FILES) if cann else None,
        set_env=_set_env(root, cann),
        sourced=_is_sourced(root),
        driver_version=_version_in(root / "usr/local/Ascend/driver", ("version.info",)),
        device_files=tuple(
            sorted(int(path.name[7:]) for path in (root / "dev").glob("davinci*") if path.name[7:].isdecimal())
        ),
        manager=(root / "dev/davinci_manager").exists(),
        visible=os.environ.get("ASCEND_RT_VISIBLE_DEVICES"),
    )


def _is_importable(package: str) -> bool:
    if package in sys.modules:
        return True
    try:
        return util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _version(package: str) -> str | None:
    """Of an installed package; "unknown" where it lies on the path without having been installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return _UNKNOWN if _is_importable(package) else None


def _wanted_torch() -> str | None:
    """From torch_npu's own requirement, "torch==2.9.0.*"."""
    try:
        requirements = metadata.requires("torch_npu") or []
    except metadata.PackageNotFoundError:
        return None
    for requirement in requirements:
        match = re.match(r"torch\s*\(?==\s*([0-9.]+?)(?:\.\*)?(?:\+\w+)?\)?\s*(?:;|$)", requirement)
        if match:
            return match[1]
    return None


def _fits(version: str, wanted: str) -> bool:
    plain = _plain(version).split(".")
    return plain[: len(wanted.split("."))] == wanted.split(".")


def _plain(version: str) -> str:
    return version.partition("+")[0]


def _install_roots(root: Path) -> list[Path]:
    roots = [root / "usr/local/Ascend"]
    home = os.environ.get("HOME")
    if home:
        roots.append(root / home.lstrip("/") / "Ascend")
    return roots


def _other_torch_npu(cann: str) -> str | None:
    """The command that installs the newest torch_npu that goes with this CANN, or None."""
    for minor, paired in CANN_OF_TORCH_NPU.items():
        if any(_fits(cann, version) for version in paired):
            return f'pip install "torch=={minor}.*" "torch_npu=={minor}.*"  (paired with CANN {cann})'
    return None


def _cann(root: Path) -> Path | None:
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        given = os.environ.get(name)
        if given and Path(given).is_dir():
            return Path(given)
    for place in _install_roots(root):
        candidates = [place / folder for folder in _INSTALL_FOLDERS]
        candidates += sorted(place.glob("cann-*"), key=_numbers, reverse=True)
        candidates += sorted(place.glob("ascend-toolkit/[0-9]*"), key=_numbers, reverse=True)
        found = next((folder for folder in candidates if folder.is_dir()), None)
        if found is not None:
            return found
    return None


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def _set_env(root: Path, cann: Path | None) -> Path | None:
    folders = [cann, cann.parent] if cann else []
    folders += [place / "ascend-toolkit" for place in _install_roots(root)]
    return next((folder / "set_env.sh" for folder in folders if (folder / "set_env.sh").is_file()), None)


def _is_sourced(root: Path) -> bool:
    """Whether CANN's libraries can be found: set_env.sh puts their folder on LD_LIBRARY_PATH."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if any(folder and (Path(folder) / _LIBRARY).exists() for folder in folders):
        return True
    try:
        return f"{_LIBRARY}\0".encode() in (root / "etc/ld.so.cache").read_bytes()
    except OSError:
        return False


def _version_in(folder: Path, names: tuple[str, ...]) -> str | None:
    for name in names:
        for path in sorted(folder.glob(name)):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            for pattern in _VERSIONS:
                match = pattern.search(text)
                if match:
                    return match[1]
    return None


# npu-smi ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NPUProcess:
    """A process that npu-smi shows on a chip; `memory` in MiB."""

    pid: int
    name: str
    memory: int | None


@dataclass(frozen=True)
class NPUStatus:
    """One chip as `npu-smi info` shows it.

    Attributes:
        index: of the NPU, which may have several chips.
        name: e.g. "910B4".
        health: e.g. "OK".
        power: watts, temperature: degrees Celsius, usage: of the AI cores, percent; None where not shown.
        memory_used, memory_total: MiB of device memory (HBM where there is any), or None.
        chip: which one of the NPU's.
        device: N of /dev/davinciN, or None where not shown.
        processes: that are on it.
    """

    index: int
    name: str
    health: str
    power: float | None
    temperature: float | None
    usage: float | None
    memory_used: int | None
    memory_total: int | None
    chip: int = 0
    device: int | None = None
    processes: tuple[NPUProcess, ...] = ()


def npu_status(timeout: float = 10.0) -> list[NPUStatus] | None:
    """What `npu-smi info` says, or None where it isn't installed, fails, or doesn't answer in time."""
    text, _ = run_npu_smi(timeout)
    return None if text is None else parse_npu_smi(text)


def run_npu_smi(timeout: float = 10.0) -> tuple[str | None, str | None]:
    """What `npu-smi info` prints, and what went wrong; neither where it isn't installed."""
    program = shutil.which("npu-smi") or "/usr/local/bin/npu-smi"
    try:
        done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"npu-smi can't be run: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return None, f"npu-smi gave no answer within {timeout:g} s"
    if done.returncode == 0 and "|" in done.stdout:
        return done.stdout, None
    said = " ".join((done.stdout + done.stderr).split())
    return None, f"npu-smi failed ({done.returncode}): {said[:300]}"


def parse_npu_smi(text: str) -> list[NPUStatus]:
    """The table of `npu-smi info`: two lines a chip, of which newer versions show more columns than older ones, and
    below it the processes."""
    found: list[NPUStatus] = []
    processes: dict[tuple[int, int], list[NPUProcess]] = {}
    above: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not re.match(r"\d{1,9}(\s|$)", cells[0]):
            continue
        if len(cells) == 4:
            match = re.fullmatch(r"(\d{1,9})\s+(\d{1,9})", cells[0])
            if match and re.fullmatch(r"\d{1,9}", cells[1]):
                process = NPUProcess(int(cells[1]), cells[2], _whole(cells[3]))
                processes.setdefault((int(match[1]), int(match[2])), []).append(process)
        elif len(cells) == 3:
            if above is None:
                above = cells if len(cells[0].split()) > 1 else None  # a number and a name
            else:
                found.append(_chip(above, cells))
                above = None
    return [replace(chip, processes=tuple(processes.get((chip.index, chip.chip), ()))) for chip in found]


def _chip(above: list[str], below: list[str]) -> NPUStatus:
    """From the three cells of either line."""
    index, name = above[0].split(maxsplit=1)
    numbers = below[0].split()  # chip, and which device or physical id it is, where that is shown
    shown = [*above[2].split(), "", ""]
    pairs = re.findall(r"(\d{1,9})\s*/\s*(\d{1,9})", below[2])  # memory, and on chips that have it HBM behind it
    used, total = (int(number) for number in pairs[-1]) if pairs else (None, None)
    return NPUStatus(
        index=int(index),
        name=name,
        health=above[1],
        power=_number(shown[0]),
        temperature=_number(shown[1]),
        usage=_number((below[2].split() or [""])[0]),
        memory_used=used,
        memory_total=total,
        chip=int(numbers[0]),
        device=_whole(numbers[1]) if len(numbers) > 1 else None,
    )


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _number(text: str) -> float | None:
    """ "NA" and "-" are none."""
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
