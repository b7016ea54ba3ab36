"""The CUDA device without a GPU: what it says where something is missing, and which calls it makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from voxport.devices import cuda, get_device, get_devices
from voxport.devices.cuda import CUDADevice
from voxport.errors import DeviceError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """torch with CUDA, and a driver."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch = monkeypatch
        self.count = 2
        self.capability = (9, 0)
        self.bfloat16 = True
        self.calls: list[tuple[Any, ...]] = []
        self.driver = folder / "version"
        self.driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 UTC 2024\nGCC\n")
        monkeypatch.setattr(cuda, "_DRIVER", self.driver)
        monkeypatch.setattr(cuda, "_DEVICE_FILES", (folder / "nvidiactl", folder / "dxg"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        self.torch = SimpleNamespace(
            __version__="2.13.0+cu130",
            version=SimpleNamespace(cuda="13.0"),
            backends=SimpleNamespace(cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace())),
            OutOfMemoryError=torch.OutOfMemoryError,
            get_num_threads=lambda: 4,
            cuda=SimpleNamespace(
                device_count=lambda: self.count,
                get_device_name=lambda index: f"NVIDIA H200 #{index}",
                get_device_capability=lambda index: self.capability,
                is_bf16_supported=lambda including_emulation: self.bfloat16 or including_emulation,
                mem_get_info=lambda index: (2**30, 140 * 2**30),
                max_memory_allocated=lambda index: 1000 + index,
                synchronize=lambda index: self.calls.append(("synchronize", index)),
                reset_peak_memory_stats=lambda index: self.calls.append(("reset", index)),
            ),
        )
        monkeypatch.setattr(cuda, "import_torch", lambda: self.torch)
        monkeypatch.setattr("voxport.devices.host.import_torch", lambda: self.torch)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def refusal(index: int | None = None) -> tuple[str, str]:
    """Message and hint."""
    error = CUDADevice(index).unavailable()
    assert isinstance(error, DeviceError)
    return error.message, error.hint or ""


def test_a_machine_where_everything_is_right(machine: Machine) -> None:
    device = CUDADevice()
    assert device.unavailable() is None
    assert str(device) == "cuda:0"
    assert [str(found) for found in get_devices("cuda:0,1")] == ["cuda:0", "cuda:1"]
    assert device.describe().items() >= {
        "device": "cuda:0", "chip": "NVIDIA H200 #0", "count": 2, "driver": "550.54.15", "cuda": "13.0", "threads": 4,
    }.items()  # fmt: skip
    assert device.memory() == (2**30, 140 * 2**30)


def test_without_a_driver_torch_is_not_imported(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.driver.unlink()
    monkeypatch.setattr(cuda, "import_torch", lambda: pytest.fail("imported"))
    assert refusal() == ("no NVIDIA driver is loaded", "install the driver, or use --device cpu")
    assert cuda.driver_version() is None


@pytest.mark.parametrize("name", ["nvidiactl", "dxg"])
def test_a_driver_that_only_its_device_file_speaks_of(machine: Machine, name: str) -> None:
    machine.driver.unlink()
    (machine.driver.parent / name).touch()
    assert CUDADevice().unavailable() is None


def test_a_torch_without_cuda(machine: Machine) -> None:
    machine.torch.version.cuda = None
    machine.torch.__version__ = "2.13.0+cpu"
    message, hint = refusal()
    assert message == "torch 2.13.0+cpu is built without CUDA"
    assert "pytorch.org" in hint


def test_a_torch_that_cannot_be_imported(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise MissingDependencyError("torch can't be imported: x", hint="reinstall")

    monkeypatch.setattr(cuda, "import_torch", broken)
    assert refusal() == ("torch can't be imported: x", "reinstall")


def test_nothing_is_visible(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.count = 0
    assert refusal()[0] == "the NVIDIA driver has no GPU for torch"
    assert "CUDA 13.0" in refusal()[1]
    for value in ("", "-1", "9"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        message, hint = refusal()
        assert message == f"no GPU is visible: CUDA_VISIBLE_DEVICES is {value!r}"
        assert "nvidia-smi -L" in hint


def test_an_index_that_is_not_there(machine: Machine) -> None:
    assert refusal(2) == ("there is no cuda:2: 2 GPU(s) are visible", "their indices are 0 to 1")
    machine.count = 1
    assert refusal(1)[1] == "its index is 0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might", "refuses cuda:0"),
        ("The NVIDIA driver on your system is too old (found version 11040)", "too old for this torch (CUDA 13.0)"),
        ("CUDA driver version is insufficient for CUDA runtime version", "too old for this torch"),
        ("CUDA unknown error - this may be due to an incorrectly set up environment", "has lost cuda:0"),
        ("something new\nand more", "CUDA can't be used: something new"),
    ],
)
def test_a_driver_that_refuses(machine: Machine, text: str, message: str) -> None:
    def refuse() -> int:
        raise RuntimeError(text)

    machine.torch.cuda.device_count = refuse
    assert message in refusal()[0]
    assert "\n" not in refusal()[0]


def test_failures_while_it_works(machine: Machine) -> None:
    device = CUDADevice(1)
    for error in (torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDA error: out of memory\n...")):
        told = device.explain(error)
        assert told is not None
        assert told.code == "out_of_memory"
        assert told.message == "cuda:1 is out of memory: 1.0 of 140.0 GiB are free"
        assert "--batch_size" in (told.hint or "")
    told = device.explain(RuntimeError("CUDA error: no kernel image is available for execution on the device"))
    assert told is not None
    assert "this torch (for CUDA 13.0) has no code for cuda:1" in told.message
    assert device.explain(RuntimeError("a mistake of ours")) is None
    assert device.explain(ValueError("CUDA error: out of memory")) is None


def test_dtypes(machine: Machine) -> None:
    device = CUDADevice()
    assert device.default_dtype("whisper") == "float16"
    assert device.default_dtype("lasr_ctc") == "float32"
    device.check_dtype("bfloat16")
    machine.bfloat16 = False
    with pytest.raises(DeviceError, match="has no bfloat16") as caught:
        device.check_dtype("bfloat16")
    assert caught.value.code == "dtype_unsupported"
    device.check_dtype("float16")


def test_precision(machine: Machine) -> None:
    device, backends = CUDADevice(), machine.torch.backends
    device.set_precision("default")
    assert (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32) == (True, False)
    device.set_precision("strict")
    assert (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32) == (False, False)
    assert "TF32" in device.notes()[0]
    machine.capability = (7, 5)  # Turing has none
    assert device.notes() == []


def test_calls_name_the_device(machine: Machine) -> None:
    device = CUDADevice(1)
    device.synchronize()
    device.reset_peak_memory()
    assert machine.calls == [("synchronize", 1), ("reset", 1)]
    assert device.peak_memory() == 1001


def test_a_gpu_that_was_asked_for_never_becomes_the_cpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.count = 0
    for name in ("cuda", "cuda:0", "cuda:1"):
        with pytest.raises(DeviceError):
            get_device(name)
    monkeypatch.setattr("voxport.devices.DEVICES", {kind: f"voxport.devices.{kind}:{kind.upper()}Device"
                                                    for kind in ("cuda", "cpu")})  # fmt: skip
    chosen = get_device("auto")
    assert chosen.choice == "cpu, chosen by auto: no cuda: the NVIDIA driver has no GPU for torch"
