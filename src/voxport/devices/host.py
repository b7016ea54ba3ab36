"""What holds for the whole process, whatever device a model runs on: threads, buffers, and how torch is imported.

A model's front end, voice activity detection and the loop over steps run on the host's processor in any case.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

_AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"

_NODES = Path("/sys/devices/system/node")
_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")

_ARM_CORES = {
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x48", "0xd01"): "Kunpeng 920 (TaiShan-v110)",
    ("0x48", "0xd02"): "Kunpeng (TaiShan-v120)",
}
"""(implementer, part) in /proc/cpuinfo, which has no name on ARM -> the core, as in util-linux's lscpu."""

_torch_failure: MissingDependencyError | None = None


def import_torch() -> ModuleType:
    """torch, imported with the process prepared for it, and without the device backends that are installed beside it.

    By default `import torch` loads those too, and fails where one of them can't be loaded: torch_npu without CANN makes
    torch useless even for the CPU. A backend is loaded when its device is asked for. What the environment says stands.

    Raises:
        MissingDependencyError: torch is not installed, or its installation is broken.
    """
    global _torch_failure
    if "torch" in sys.modules:
        return sys.modules["torch"]
    if _torch_failure is not None:  # a second attempt would trip over what the first one left behind
        raise _torch_failure
    prepare_process()
    given = os.environ.get(_AUTOLOAD)
    if given is None:
        os.environ[_AUTOLOAD] = "0"
    try:
        import torch
    except Exception as error:  # whatever a broken installation raises
        _torch_failure = explain_torch(error)
        raise _torch_failure from error
    finally:
        if given is None:
            os.environ.pop(_AUTOLOAD, None)
    return torch


def explain_torch(error: BaseException) -> MissingDependencyError:
    """What an exception of `import torch` means, and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    reinstall = "pip install --force-reinstall torch; `voxport doctor` shows what is installed"
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return MissingDependencyError("torch is not installed", hint="pip install torch")
    backend = re.search(r"Failed to load the backend extension: (\w+)", text)
    if backend:
        return MissingDependencyError(
            f"torch can't be imported: {_AUTOLOAD}={os.environ.get(_AUTOLOAD, '')} has it load {backend[1]}, "
            f"which fails: {_root_cause(error)}",
            hint=f"unset {_AUTOLOAD}; `voxport doctor` tells what is wrong with {backend[1]}",
        )
    library = re.match(r"(\S+): cannot allocate memory in static TLS block", text)
    if library:  # on ARM, where libraries that were loaded before torch took the room
        return MissingDependencyError(
            f"torch can't be imported: {text[:300]}", hint=f"load that library first: export LD_PRELOAD={library[1]}"
        )
    return MissingDependencyError(f"torch can't be imported: {text[:300]}", hint=reinstall)


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300]


def prepare_process() -> None:
    """Make waiting threads and large buffers cheap; before torch is imported. What the environment says stands."""
    # A decoder step is a hundred short parallel pieces. By default a thread that has done its share spins for
    # milliseconds; where another program has taken a core, it spins on the core that the work is waiting for, and a
    # step takes twenty times as long. After some 0.1 ms it had better sleep. Read when libgomp is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    _keep_large_buffers()


def set_threads(threads: int | None) -> int:
    """Set torch's intra-operator threads for the whole process; None = `default_threads`. Returns the number in use."""
    torch = import_torch()
    wanted = threads if threads is not None else default_threads(torch.get_num_threads())
    if wanted != torch.get_num_threads():
        torch.set_num_threads(wanted)
    found: int = torch.get_num_threads()
    return found


def default_threads(torch_default: int) -> int:
    """As many threads as one NUMA node has physical cores that this process may use.

    More are slower: memory of another node is far, and a step of a decoder is too short to be shared by 128 cores.
    Where OMP_NUM_THREADS is set, or nothing is known of the cores, torch's own choice stands.
    """
    return choose_threads(torch_default)[0]


def choose_threads(torch_default: int) -> tuple[int, str]:
    """`default_threads`, and why so many."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name):
            return torch_default, f"{name} is set"
    choices = [(torch_default, "torch's own choice")]
    nodes = physical_cores_by_node()
    if nodes:
        cores = "the physical cores" if len(nodes) == 1 else f"the physical cores of one of {len(nodes)} NUMA nodes"
        choices.insert(0, (max(nodes), f"{cores} that this process may use"))
    limit = cpu_limit()
    if limit is not None:
        choices.append((int(limit), f"the container may use {limit:g} CPUs"))
    threads, why = min(choices, key=lambda choice: choice[0])
    return max(1, threads), why


def cpu_limit() -> float | None:
    """How many CPUs' worth of time the control group allows (``docker --cpus``); None without a limit.

    Threads beyond it all stand still together when the time is used up.
    """
    try:
        quota, period = (_CGROUPS / "cpu.max").read_text(encoding="ascii").split()  # version 2
    except (OSError, ValueError):
        try:
            folder = _CGROUPS / "cpu"  # version 1
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return limit if limit > 0 else None


def physical_cores_by_node() -> list[int]:
    """Physical cores of each NUMA node that this process may use, nodes without any left out; [] where nothing is
    known."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = os.sched_getaffinity(0)
    # A kernel that knows no NUMA has no nodes: all processors are one.
    nodes = [_cpu_list(node / "cpulist") for node in sorted(_NODES.glob("node[0-9]*"))] or [_cpu_list(_CPUS / "online")]
    counts = [len({_siblings(cpu) for cpu in node & allowed}) for node in nodes]
    return [count for count in counts if count]


def _siblings(cpu: int) -> frozenset[int]:
    """The logical processors of this one's physical core, itself among them."""
    return frozenset(_cpu_list(_CPUS / f"cpu{cpu}/topology/thread_siblings_list") | {cpu})


def _cpu_list(path: Path) -> set[int]:
    """What a kernel list says: "0-3,8" is {0, 1, 2, 3, 8}."""
    try:
        text = path.read_text(encoding="ascii").strip()
        ranges = [part.partition("-") for part in text.split(",") if part]
        return {cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)}
    except (OSError, ValueError):
        return set()


@cache
def _keep_large_buffers() -> bool:
    """Have glibc reuse buffers of up to 32 MiB instead of returning each to the system. False if it is not to, or
    there is no glibc.

    An encoder layer's intermediate results are some 10 MiB each; mapping them anew costs a tenth of the encoder's time.
    At most 256 MiB that are free stay with the process.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)
    return True


def return_free_memory() -> None:
    """Give pages that hold nothing back to the system, where `_keep_large_buffers` has glibc keep them.

    Batches differ in shape, so what one leaves free the next can't always use: without this, a process holds more and
    more beside what it needs.
    """
    if _keep_large_buffers():
        ctypes.CDLL(None).malloc_trim(0)


def processor_name() -> str:
    """The processor's marketing name on Linux (on ARM its core's, where it is known), else what Python knows."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    if facts.get("model name"):
        return facts["model name"]
    machine = platform.processor() or platform.machine()
    core = _ARM_CORES.get((facts.get("CPU implementer", ""), facts.get("CPU part", "")))
    return f"{core}, {machine}" if core else machine


def host_facts() -> dict[str, object]:
    """Of every result: what the host is."""
    torch = import_torch()
    return {
        "host": processor_name(),
        "logical_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
