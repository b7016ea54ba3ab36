"""The nouns of a diagnosis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = [
    "AscendFacts",
    "Choice",
    "CudaFacts",
    "DeviceReport",
    "Diagnosis",
    "Home",
    "KindReport",
    "Package",
    "Problem",
    "Processor",
    "PythonFacts",
    "ReadyModel",
    "RunPlan",
    "System",
    "TorchFacts",
]

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        severity: "error": something that is here can't be used, or nothing can run. "warning": it works, but not as one
            may expect.
        what: is wrong.
        remedy: the command that mends it, or what to do where no one command does; None where nothing is known.
    """

    severity: Severity
    what: str
    remedy: str | None = None


@dataclass(frozen=True)
class System:
    """The operating system. Memory in bytes, None where unknown; `container`: whether this seems to be one."""

    name: str
    kernel: str
    machine: str
    memory_total: int | None
    memory_available: int | None
    container: bool


@dataclass(frozen=True)
class PythonFacts:
    """The interpreter; `prefix` is the environment it runs in."""

    version: str
    executable: str
    prefix: str


@dataclass(frozen=True)
class TorchFacts:
    """torch as it was found by importing it in a process of its own.

    Attributes:
        version: None where it can't be imported; `error` and `hint` tell why.
        cuda: the CUDA version that it was built for, or None.
        capability: the processor's instructions that it uses, e.g. "AVX512".
        threads: that it would use by itself.
    """

    version: str | None
    cuda: str | None = None
    capability: str | None = None
    threads: int | None = None
    error: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Processor:
    """The host's processor.

    Attributes:
        logical_cores: of the machine; usable_cores: of them, that this process may run on.
        cores_by_node: physical cores that this process may use, for each NUMA node.
        cpu_limit: CPUs' worth of time that a container allows, or None.
        threads: that voxport would use by default, None where torch can't be asked; `threads_why`: why so many.
    """

    name: str
    machine: str
    logical_cores: int | None
    usable_cores: int | None
    cores_by_node: tuple[int, ...]
    cpu_limit: float | None
    threads: int | None
    threads_why: str


@dataclass(frozen=True)
class DeviceReport:
    """One device, tried out in a process of its own.

    Attributes:
        name: as ``--device`` has it.
        usable: it computed something. If not, `problem` and `hint` tell why.
        chip: its name.
        dtypes: model family -> what ``--dtype auto`` means.
        supported: the dtypes it can compute in.
        notes: how exactly it computes.
        memory_free, memory_total: bytes of its own memory, or None.
        simulated: what it is a simulation of, or None.
    """

    name: str
    kind: str
    index: int | None = None
    usable: bool = False
    problem: str | None = None
    hint: str | None = None
    chip: str | None = None
    dtypes: dict[str, str] | None = None
    supported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    memory_free: int | None = None
    memory_total: int | None = None
    simulated: str | None = None


@dataclass(frozen=True)
class KindReport:
    """What became of looking at one kind of device.

    Attributes:
        error, hint: why there is none that ``auto`` could take, or None.
        loaded: its software could be loaded.
        devices: those that are visible; one entry without an index where there is none.
        torch: known where it was imported.
    """

    kind: str
    error: str | None
    hint: str | None
    loaded: bool
    devices: tuple[DeviceReport, ...]
    torch: TorchFacts | None = None

    @property
    def usable(self) -> bool:
        return any(device.usable for device in self.devices)


@dataclass(frozen=True)
class AscendFacts:
    """Huawei's software and hardware, as `voxport.devices.ascend.AscendHost` has them, and what npu-smi shows.

    Attributes:
        cann_wanted: the CANN versions that this torch_npu is paired with; empty where that isn't known here.
        mismatch: versions that don't belong together, and the command that mends it; None where none are known to.
        chips: rows of npu-smi's table, None where there is no npu-smi or it fails; `npu_smi_error` tells how.
    """

    torch_npu: str | None = None
    torch_npu_wants: str | None = None
    cann: str | None = None
    cann_version: str | None = None
    set_env: str | None = None
    sourced: bool = False
    driver_version: str | None = None
    device_files: tuple[int, ...] = ()
    manager: bool = False
    visible: str | None = None
    cann_wanted: tuple[str, ...] = ()
    mismatch: tuple[str, str] | None = None
    chips: tuple[dict[str, Any], ...] | None = None
    npu_smi_error: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything of Huawei's is here at all."""
        return bool(self.torch_npu or self.cann or self.driver_version or self.device_files or self.chips)


@dataclass(frozen=True)
class CudaFacts:
    """`driver`: whether there is one; `visible`: CUDA_VISIBLE_DEVICES as it is set, or None."""

    driver: bool = False
    driver_version: str | None = None
    visible: str | None = None


@dataclass(frozen=True)
class Package:
    """A Python package.

    Attributes:
        version: None where it isn't installed.
        wanted: e.g. ">=2.9", or None.
        required: whether voxport can't do without it.
        fits: it is here, and new enough.
        note: what it is for, or what it is too old for, with the command that helps.
    """

    name: str
    version: str | None
    wanted: str | None = None
    required: bool = True
    fits: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Home:
    """VOXPORT_HOME, and bytes free on its file system."""

    path: str
    writable: bool
    free: int | None


@dataclass(frozen=True)
class ReadyModel:
    """A model whose files are here."""

    name: str
    size: int | None
    source: str | None
    revision: str | None
    random_weights: bool


@dataclass(frozen=True)
class Choice:
    """What ``--device auto`` takes, None where there is nothing to take; and why."""

    device: str | None
    why: str


@dataclass(frozen=True)
class RunPlan:
    """`family` on `device` is computed in `dtype`, unless ``--dtype`` says otherwise."""

    family: str
    device: str
    dtype: str


@dataclass(frozen=True)
class Diagnosis:
    """All that was found. `to_dict` is what ``voxport doctor --json`` prints."""

    voxport: str
    system: System
    python: PythonFacts
    torch: TorchFacts
    processor: Processor
    devices: tuple[DeviceReport, ...]
    ascend: AscendFacts
    cuda: CudaFacts
    packages: tuple[Package, ...]
    home: Home
    models: tuple[ReadyModel, ...]
    auto: Choice
    plan: tuple[RunPlan, ...]
    environment: dict[str, str]
    problems: tuple[Problem, ...] = ()

    @property
    def usable(self) -> tuple[str, ...]:
        """The devices that work, the choice of ``auto`` first."""
        names = [device.name for device in self.devices if device.usable]
        return tuple(sorted(names, key=lambda name: name != self.auto.device))

    @property
    def ready(self) -> bool:
        """Whether `voxport transcribe` works without further options, once a model is here."""
        return self.auto.device in self.usable and all(package.fits for package in self.packages if package.required)

    @property
    def ok(self) -> bool:
        """A device can be used, and nothing is wrong but for warnings."""
        return bool(self.usable) and not any(problem.severity == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, "ready": self.ready, "ok": self.ok, **asdict(self)}
