"""What can be found out about a host without importing torch. Each function may raise: the caller copes."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from voxport.devices import ascend as ascend_software
from voxport.devices import cuda as cuda_software
from voxport.devices.host import choose_threads, cpu_limit, physical_cores_by_node, processor_name
from voxport.doctor.facts import (
    AscendFacts,
    CudaFacts,
    Home,
    Package,
    Processor,
    PythonFacts,
    ReadyModel,
    System,
)

__all__ = ["ascend", "cuda", "environment", "home", "models", "packages", "processor", "python", "system"]

VARIABLES = (
    "ASCEND_RT_VISIBLE_DEVICES",
    "ASCEND_HOME_PATH",
    "ASCEND_LAUNCH_BLOCKING",
    "TASK_QUEUE_ENABLE",
    "PYTORCH_NPU_ALLOC_CONF",
    "TORCH_NPU_USE_COMPATIBLE_IMPL",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "PYTORCH_ALLOC_CONF",
    "TORCH_DEVICE_BACKEND_AUTOLOAD",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "VOXPORT_HOME",
    "VOXPORT_SIMULATE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "MODELSCOPE_ENDPOINT",
    "ATOMGIT_ENDPOINT",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
"""Environment variables that change what happens here. Tokens are not among them."""

OTHER_PACKAGES = ("torch_npu", "transformers")
"""Packages that voxport can use and does without."""

REFERENCE_WANTS = {"Whisper": (4, 57), "MedASR": (5, 0)}
"""transformers from which a family's reference implementation runs, as in `voxport.models.reference`."""


def system() -> System:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    memory = _meminfo()
    container = any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")) or (
        "KUBERNETES_SERVICE_HOST" in os.environ
    )
    return System(
        name, platform.release(), platform.machine(), memory.get("MemTotal"), memory.get("MemAvailable"), container
    )


def _meminfo() -> dict[str, int]:
    """Of /proc/meminfo, in bytes."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: int(count) * 1024 for name, count in re.findall(r"(?m)^(\w+):\s+(\d+) kB", text)}


def python() -> PythonFacts:
    return PythonFacts(platform.python_version(), sys.executable, sys.prefix)


def processor(torch_threads: int | None) -> Processor:
    """`torch_threads`: that torch would use by itself, None where it can't be asked."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if torch_threads is None:
        threads, why = None, "torch can't be asked"
    else:
        threads, why = choose_threads(torch_threads)
    return Processor(
        processor_name(),
        platform.machine(),
        os.cpu_count(),
        usable,
        tuple(physical_cores_by_node()),
        cpu_limit(),
        threads,
        why,
    )


def ascend() -> AscendFacts:
    host = ascend_software.inspect_host()
    table, error = ascend_software.run_npu_smi()
    chips = None if table is None else tuple(asdict(chip) for chip in ascend_software.parse_npu_smi(table))
    return AscendFacts(
        torch_npu=host.torch_npu,
        torch_npu_wants=host.torch_npu_wants,
        cann=str(host.cann) if host.cann else None,
        cann_version=host.cann_version,
        set_env=str(host.set_env) if host.set_env else None,
        sourced=host.sourced,
        driver_version=host.driver_version,
        device_files=host.device_files,
        manager=host.manager,
        visible=host.visible,
        cann_wanted=host.cann_wanted,
        mismatch=host.mismatch(),
        chips=chips,
        npu_smi_error=error,
    )


def cuda() -> CudaFacts:
    return CudaFacts(cuda_software.has_driver(), cuda_software.driver_version(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def packages() -> tuple[Package, ...]:
    """What voxport requires, and what it can use."""
    found = [_required(name, wanted) for name, wanted in _requirements()]
    found += [_optional(name) for name in OTHER_PACKAGES]
    return tuple(sorted(found, key=lambda package: (package.name != "torch", package.name != "torch_npu")))


def _requirements() -> list[tuple[str, str | None]]:
    """Name and, where a lowest version is asked for, ">=VERSION" of each; without optional ones."""
    try:
        lines = metadata.requires("voxport") or []
    except metadata.PackageNotFoundError:  # not installed, only on the path
        lines = ["torch", "numpy", "tokenizers", "safetensors", "av"]
    found = []
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)[^;]*?(?:>=\s*([0-9.]+))?[^;]*(;.*extra\s*==.*)?$", line)
        if match and not match[3]:
            found.append((match[1], f">={match[2]}" if match[2] else None))
    return found


def _required(name: str, wanted: str | None) -> Package:
    version = _version(name)
    if version is None:
        return Package(name, None, wanted, fits=False, note=f'not installed: pip install "{name}{wanted or ""}"')
    if wanted and _numbers(version) < _numbers(wanted.removeprefix(">=")):
        return Package(name, version, wanted, fits=False, note=f'too old: pip install --upgrade "{name}{wanted}"')
    return Package(name, version, wanted)


def _optional(name: str) -> Package:
    version = _version(name)
    if name != "transformers":
        return Package(name, version, required=False, note=None if version else "for Ascend NPUs")
    newest = max(REFERENCE_WANTS.values())
    command = f'pip install "transformers>={newest[0]}.{newest[1]}"'
    if version is None:
        return Package(name, None, required=False, fits=False, note=f"for the reference implementations: {command}")
    lacking = [family for family, wanted in REFERENCE_WANTS.items() if _numbers(version) < wanted]
    if lacking:
        note = f"too old for the reference of {' and '.join(lacking)}: {command}"
        return Package(name, version, required=False, fits=False, note=note)
    return Package(name, version, required=False, note=f"the references of {' and '.join(REFERENCE_WANTS)}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """ "2.9.0+cpu" -> (2, 9, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def home() -> Home:
    from voxport.models.hub import store

    path = store.home()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return Home(str(path), there.is_dir() and os.access(there, os.W_OK | os.X_OK), shutil.disk_usage(there).free)


def models() -> tuple[ReadyModel, ...]:
    from voxport.models.hub import inventory

    return tuple(
        ReadyModel(entry.name, entry.size, entry.source, entry.revision, entry.random_weights)
        for entry in inventory.list_all()
        if entry.ready
    )


def environment() -> dict[str, str]:
    """Those of `VARIABLES` that are set; passwords in addresses left out."""
    return {name: _without_password(os.environ[name]) for name in VARIABLES if name in os.environ}


def _without_password(value: str) -> str:
    """``http://user:secret@host:1`` -> ``http://***@host:1``."""
    scheme, slashes, rest = value.rpartition("://")
    user, at, address = rest.rpartition("@")
    return f"{scheme}{slashes}***@{address}" if at and user else value
