"""What holds for the whole process: threads on hosts of every shape, the processor's name, importing torch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fakes.ascend import write_torch_npu
from voxport.devices import host
from voxport.devices.ascend import inspect_host
from voxport.devices.host import choose_threads, cpu_limit, default_threads, explain_torch, physical_cores_by_node

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """A /sys tree: nodes of cores, each core of some logical processors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder
        monkeypatch.setattr(host, "_NODES", folder / "node")
        monkeypatch.setattr(host, "_CPUS", folder / "cpu")
        monkeypatch.setattr(host, "_CGROUPS", folder / "cgroup")
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        self.allow(set())

    def allow(self, processors: set[int]) -> None:
        self._monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(processors), raising=False)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")

    def build(self, nodes: list[str], siblings: dict[int, str] | None = None) -> None:
        """`nodes`: a kernel list of processors each; `siblings`: of those that share a core."""
        processors: set[int] = set()
        for number, processors_of_node in enumerate(nodes):
            self.write(f"node/node{number}/cpulist", processors_of_node)
            processors |= host._cpu_list(self.folder / f"node/node{number}/cpulist")
        self.write("node/online", "0")  # no node
        for processor in processors:
            alike = (siblings or {}).get(processor, str(processor))
            self.write(f"cpu/cpu{processor}/topology/thread_siblings_list", alike)
        self.write("cpu/online", ",".join(map(str, sorted(processors))))
        self.allow(processors)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


ARM = ["0-31", "32-63", "64-95", "96-127"]


def test_a_large_arm_host_uses_one_of_its_nodes(machine: Machine) -> None:
    machine.build(ARM)
    assert physical_cores_by_node() == [32, 32, 32, 32]
    assert default_threads(128) == 32
    assert choose_threads(128) == (32, "the physical cores of one of 4 NUMA nodes that this process may use")


def test_threads_of_one_core_count_once(machine: Machine) -> None:
    machine.build(["0-3,8-11", "4-7,12-15"], {cpu: f"{cpu % 8},{cpu % 8 + 8}" for cpu in range(16)})
    assert physical_cores_by_node() == [4, 4]
    assert default_threads(16) == 4


def test_only_what_the_process_may_use_counts(machine: Machine) -> None:
    machine.build(ARM)
    machine.allow(set(range(30, 36)))  # two of the first node, four of the second
    assert physical_cores_by_node() == [2, 4]
    assert default_threads(6) == 4
    machine.allow({64})
    assert default_threads(1) == 1
    assert choose_threads(128)[1] == "the physical cores that this process may use"


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_what_the_environment_says_stands(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine.build(ARM)
    monkeypatch.setenv(name, "100")
    assert choose_threads(100) == (100, f"{name} is set")
    monkeypatch.setenv(name, "")
    assert default_threads(100) == 32


def test_never_more_than_torch_would_use(machine: Machine) -> None:
    machine.build(ARM)
    assert choose_threads(8) == (8, "torch's own choice")


def test_a_host_of_which_nothing_is_known(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert physical_cores_by_node() == []
    assert choose_threads(12) == (12, "torch's own choice")
    machine.build(["not a list"])
    assert default_threads(12) == 12
    machine.build(ARM)
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS, Windows
    assert default_threads(12) == 12


def test_a_kernel_without_numa_is_one_node(machine: Machine) -> None:
    machine.write("cpu/online", "0-3")
    for cpu in range(4):
        machine.write(f"cpu/cpu{cpu}/topology/thread_siblings_list", f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}")
    machine.allow({0, 1, 2, 3})
    assert physical_cores_by_node() == [2]
    assert default_threads(4) == 2


def test_memory_without_processors_is_no_node(machine: Machine) -> None:
    machine.build(["0-7"])
    machine.write("node/node1/cpulist", "")
    assert physical_cores_by_node() == [8]


@pytest.mark.parametrize(
    ("files", "limit", "threads"),
    [
        ({"cpu.max": "400000 100000"}, 4.0, 4),
        ({"cpu.max": "350000 100000"}, 3.5, 3),
        ({"cpu.max": "20000 100000"}, 0.2, 1),
        ({"cpu.max": "max 100000"}, None, 32),
        ({"cpu.max": "nonsense"}, None, 32),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, 32),
        ({"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "0"}, None, 32),
        ({}, None, 32),
    ],
)
def test_a_container_with_less_time_than_cores(
    machine: Machine, files: dict[str, str], limit: float | None, threads: int
) -> None:
    machine.build(ARM)
    for name, text in files.items():
        machine.write(f"cgroup/{name}", text)
    assert cpu_limit() == limit
    assert default_threads(128) == threads
    if limit is not None:
        assert choose_threads(128)[1] == f"the container may use {limit:g} CPUs"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 7763\nmodel name\t: other\n", "AMD EPYC 7763"),
        ("CPU implementer\t: 0x48\nCPU part\t: 0xd01\n", "Kunpeng 920 (TaiShan-v110), aarch64"),
        ("CPU implementer\t: 0x99\nCPU part\t: 0x001\n", "aarch64"),
        ("", "aarch64"),
        (None, "aarch64"),
    ],
)
def test_the_processors_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str | None, name: str) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr(host, "_CPUINFO", path)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert host.processor_name() == name


# importing torch ------------------------------------------------------------------------------------------------

TORCH_NPU_WITHOUT_CANN = """\
def _autoload():
    raise ImportError("libhccl.so: cannot open shared object file: No such file or directory")
"""


@pytest.fixture
def broken_backend(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with torch_npu installed, and CANN not: `import torch` raises there."""
    if inspect_host().cann is not None:
        pytest.skip("this host has CANN")
    write_torch_npu(tmp_path / "packages", TORCH_NPU_WITHOUT_CANN)
    set_by_voxport = {"TORCH_DEVICE_BACKEND_AUTOLOAD", "GOMP_SPINCOUNT"}
    environment = {name: value for name, value in os.environ.items() if name not in set_by_voxport}
    return environment | {"PYTHONPATH": str(tmp_path / "packages")}


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_import_torch_loads_no_backend_and_leaves_the_environment(broken_backend: dict[str, str]) -> None:
    plain = run(broken_backend, "-c", "import torch")
    assert plain.returncode == 1
    assert "Failed to load the backend extension: torch_npu" in plain.stderr
    done = run(
        broken_backend,
        "-c",
        "import os; before = dict(os.environ)\n"
        "from voxport.devices.host import import_torch\n"
        "torch = import_torch(); assert import_torch() is torch; torch.ones(2).sum()\n"
        "added = {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "print(added, set(before) - set(os.environ))",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'GOMP_SPINCOUNT': '20000'} set()\n"


def test_what_the_environment_says_of_backends_stands(broken_backend: dict[str, str]) -> None:
    program = (
        "from voxport.devices import get_device\nfrom voxport.devices.host import import_torch\n"
        "from voxport.errors import MissingDependencyError\n"
        "for _ in range(2):\n"
        "    try: import_torch()\n"
        "    except MissingDependencyError as error: print(error.message, '|', error.hint)\n"
        "print(get_device('auto').choice)"
    )
    done = run(broken_backend | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}, "-c", program)
    first, second, choice = done.stdout.splitlines()
    assert first == second  # the failure is remembered; a second `import torch` fails otherwise
    assert first.startswith("torch can't be imported: TORCH_DEVICE_BACKEND_AUTOLOAD=1 has it load torch_npu")
    assert "libhccl.so" in first
    assert "| unset TORCH_DEVICE_BACKEND_AUTOLOAD" in first
    assert choice.startswith("cpu, chosen by auto: no npu: torch_npu ")


def test_transcribe_and_doctor_work_on_the_cpu_with_torch_npu_but_no_cann(
    broken_backend: dict[str, str], tiny_en: Path, jfk: Path
) -> None:
    done = run(broken_backend, "-m", "voxport", "transcribe", "--model", str(tiny_en), "--json", str(jfk))
    assert done.returncode == 0, done.stderr
    transcript = json.loads(done.stdout)
    assert "ask not what your country can do for you" in transcript["text"]
    assert transcript["environment"]["device"] == "cpu"
    assert "no npu: torch_npu" in done.stderr
    refused = run(broken_backend, "-m", "voxport", "transcribe", "--device", "npu", "--model", str(tiny_en), str(jfk))
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "CANN is not" in refused.stderr
    diagnosis = json.loads(run(broken_backend, "-m", "voxport", "doctor", "--json").stdout)
    assert diagnosis["auto"]["device"] == "cpu"
    assert diagnosis["ready"] is True


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch is not installed", "pip install torch"),
        (
            ImportError("/usr/lib/libgomp-d22c30c5.so.1: cannot allocate memory in static TLS block"),
            "torch can't be imported: /usr/lib/libgomp",
            "export LD_PRELOAD=/usr/lib/libgomp-d22c30c5.so.1",
        ),
        (
            OSError("libcudart.so.12: cannot open shared object file:\nNo such file or directory"),
            "torch can't be imported: libcudart.so.12: cannot open shared object file: No such file",
            "pip install --force-reinstall torch",
        ),
        (ModuleNotFoundError("No module named 'sympy'", name="sympy"), "No module named 'sympy'", "--force-reinstall"),
        (AttributeError(), "torch can't be imported: AttributeError", "--force-reinstall"),
    ],
)
def test_why_torch_cannot_be_imported(error: Exception, message: str, hint: str) -> None:
    explained = explain_torch(error)
    assert message in explained.message
    assert hint in (explained.hint or "")
    assert explained.exit_code == 2


FRAGMENTS = """
import re
from pathlib import Path
from voxport.devices import host

def resident():
    return int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

host.prepare_process()
kept = [bytes(2**20) + bytes([n]) for n in range(200)]  # 1 MiB each, side by side
kept = kept[::2]
before = resident()
host.return_free_memory()
print(before - resident())
"""


def test_pages_that_hold_nothing_are_given_back() -> None:
    """A hundred holes of 1 MiB between things that stay."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("glibc on Linux only")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    given_back = float(
        subprocess.run(
            [sys.executable, "-c", FRAGMENTS], env=environment, capture_output=True, text=True, check=True
        ).stdout
    )
    assert 90 <= given_back <= 110


def test_what_the_environment_says_of_memory_stands() -> None:
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    given_back = subprocess.run(
        [sys.executable, "-c", FRAGMENTS], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert abs(float(given_back)) < 5
