"""The NPU device without an NPU: what it says where something is missing, and which calls it makes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fakes.ascend import HELD, MISSING_CANN
from voxport import devices
from voxport.devices import get_device, get_devices, npu
from voxport.devices.ascend import AscendHost
from voxport.devices.npu import BUCKET, NPUDevice, explain_failure
from voxport.errors import DeviceError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = AscendHost(
    torch_npu="2.9.0.post1", torch_npu_wants="2.9.0", torch="2.9.0+cpu", cann=Path("/cann"), cann_version="8.5.1",
    set_env=Path("/cann/set_env.sh"), sourced=True, driver_version="24.1.0", device_files=(0, 1), manager=True,
    visible=None,
)  # fmt: skip
"""Where everything is right."""


class FakeNPU:
    """torch.npu, as far as it is called."""

    def __init__(self, count: int = 2, chip: str = "Ascend910B4", bfloat16: bool = True) -> None:
        self.count = count
        self.chip = chip
        self.bfloat16 = bfloat16
        self.calls: list[tuple[Any, ...]] = []
        self.config = SimpleNamespace(allow_internal_format=True)
        self.conv = SimpleNamespace(allow_hf32=True)
        self.matmul = SimpleNamespace(allow_hf32=False)

    def is_available(self) -> bool:
        return self.count > 0

    def device_count(self) -> int:
        return self.count

    def is_bf16_supported(self) -> bool:
        return self.bfloat16

    def get_device_name(self, index: int) -> str:
        assert 0 <= index < self.count
        return self.chip

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 3 * 2**30, 32 * 2**30

    def max_memory_allocated(self, index: int) -> int:
        return 1000 + index

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in ("set_compile_mode", "synchronize", "reset_peak_memory_stats", "use_compatible_impl"):
            raise AttributeError(name)
        return lambda *arguments, **options: self.calls.append((name, *arguments, *options.items()))


class Machine:
    """A machine as the device sees it: its files, torch_npu, and what torch_npu brings into torch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.host = HOST
        self.npu: Any = FakeNPU()
        monkeypatch.setattr(npu, "inspect_host", lambda: self.host)
        monkeypatch.setattr(NPUDevice, "_simulate", staticmethod(lambda: False))
        self.install(None)

    def install(self, failure: Exception | None) -> None:
        """torch_npu, whose import brings torch.npu, or fails."""
        real = npu.importlib.import_module

        def load(name: str) -> ModuleType:
            if name != "torch_npu":
                return real(name)
            if failure is not None:
                raise failure
            module = ModuleType("torch_npu")
            module.__version__ = "2.9.0.post1"  # type: ignore[attr-defined]
            self._patch.setitem(sys.modules, "torch_npu", module)
            self._patch.setattr(torch, "npu", self.npu, raising=False)
            return module

        self._patch.setattr(npu.importlib, "import_module", load)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def refusal(index: int | None = None) -> tuple[str, str]:
    """Message and hint."""
    error = NPUDevice(index).unavailable()
    assert error is not None
    assert isinstance(error, DeviceError)
    return error.message, error.hint or ""


def test_a_machine_where_everything_is_right(machine: Machine) -> None:
    device = NPUDevice()
    assert device.unavailable() is None
    assert device.unavailable() is None
    assert str(device) == "npu:0"
    assert machine.npu.calls == [("set_compile_mode", ("jit_compile", False))]  # once
    assert machine.npu.config.allow_internal_format is False
    assert [str(found) for found in get_devices("npu:0,1")] == ["npu:0", "npu:1"]
    facts = device.describe()
    assert facts.items() >= {
        "device": "npu:0", "chip": "Ascend910B4", "count": 2, "driver": "24.1.0", "cann": "8.5.1",
        "torch_npu": "2.9.0.post1", "simulated": None, "torch": torch.__version__,
    }.items()  # fmt: skip


def test_without_torch_npu(machine: Machine) -> None:
    machine.host = replace(HOST, torch_npu=None, device_files=(), torch="2.13.0+cpu")
    assert refusal() == (
        "torch_npu is not installed",
        "install CANN, then: pip install torch_npu==2.13.0 (the version must be torch's)",
    )
    machine.host = replace(HOST, torch_npu=None, torch=None)
    assert refusal()[0] == "torch_npu is not installed; there are 2 NPUs in /dev"
    assert "pip install torch_npu " in refusal()[1]


def test_without_cann_nothing_is_loaded(machine: Machine) -> None:
    machine.install(AssertionError("loaded"))
    machine.host = replace(HOST, cann=None, sourced=False)
    message, hint = refusal()
    assert message == "torch_npu 2.9.0.post1 is installed, CANN is not"
    assert "set_env.sh" in hint
    machine.host = replace(HOST, sourced=False)
    assert refusal() == (
        "CANN is in /cann, but its libraries aren't found in this shell (libhccl.so)",
        "source /cann/set_env.sh",
    )
    machine.host = replace(HOST, sourced=False, set_env=None)
    assert refusal()[1] == "source its set_env.sh"


def test_cann_that_the_loader_finds_in_a_place_unknown_here(machine: Machine) -> None:
    machine.host = replace(HOST, cann=None, cann_version=None)
    assert NPUDevice().unavailable() is None


@pytest.mark.parametrize(
    ("failure", "message", "hint"),
    [
        (ImportError(MISSING_CANN), "CANN's libraries aren't found (libhccl.so: cannot", "source /cann/set_env.sh"),
        (ImportError("libatb.so: cannot open shared object file"), "ATB library", "nnal/atb/set_env.sh"),
        (OSError("libascend_hal.so: cannot open shared object file"), "driver's libraries", "install the driver"),
        (ImportError("libgomp.so.1: cannot open shared object file"), "torch_npu needs isn't found", "pip install"),
        (ImportError("/x/libtorch_npu.so: undefined symbol: _ZN3c10"), "don't belong together", "very version"),
        (ImportError("libc.so.6: version `GLIBC_2.34' not found"), "don't belong together", "very version"),
        (RuntimeError("Two accelerators cannot be used at the same time in PyTorch: npu and gpu"), "CUDA build",
         "CPU build"),
        (AttributeError("module 'torch' has no attribute 'npus'"), "can't be loaded: module 'torch' has no", "doctor"),
        (RuntimeError(), "can't be loaded: RuntimeError", "`voxport doctor`"),
        (ValueError("odd"), "can't be loaded: odd", "`voxport doctor`"),
    ],
)  # fmt: skip
def test_torch_npu_that_cannot_be_loaded(machine: Machine, failure: Exception, message: str, hint: str) -> None:
    machine.install(failure)
    said = refusal()
    assert message in said[0]
    assert hint in said[1]


def test_versions_that_clash(machine: Machine) -> None:
    machine.install(ImportError("libtorch_npu.so: undefined symbol: aclnnFoo\nmore"))
    machine.host = replace(HOST, cann_version="8.3.RC1")
    message, hint = refusal()
    assert message == (
        "torch_npu can't be loaded: torch_npu 2.9.0.post1 is paired with CANN 8.5 or 9.0 or 9.1, installed is 8.3.RC1 "
        "(libtorch_npu.so: undefined symbol: aclnnFoo)"
    )
    assert "torch_npu==2.8.*" in hint
    machine.host = replace(HOST, torch="2.13.0")
    assert "is built for torch 2.9.0, torch is 2.13.0" in refusal()[0]
    machine.install(ImportError(MISSING_CANN))  # a cause that has nothing to do with it
    assert "CANN's libraries aren't found" in refusal()[0]


def test_versions_that_clash_in_a_table_only(machine: Machine) -> None:
    machine.host = replace(HOST, cann_version="8.3.RC1")
    assert NPUDevice().unavailable() is None


def test_a_torch_that_cannot_be_imported(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise MissingDependencyError("torch can't be imported: x", hint="reinstall")

    monkeypatch.setattr(npu, "import_torch", broken)
    assert refusal() == ("torch can't be imported: x", "reinstall")


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        (replace(HOST, visible="4"), "no NPU is visible: ASCEND_RT_VISIBLE_DEVICES is '4'", "unset it to see all"),
        (replace(HOST, visible=""), "no NPU is visible: ASCEND_RT_VISIBLE_DEVICES is ''", "without spaces"),
        (HOST, "the driver has 2 NPUs in /dev, CANN sees none", "HwHiAiUser"),
        (replace(HOST, device_files=()), "driver 24.1.0 is installed, but there is no NPU: no /dev/davinci0",
         "--device /dev/davinci0"),
        (replace(HOST, device_files=(), driver_version=None), "there is no NPU: no /dev/davinci0", "`npu-smi info`"),
    ],
)  # fmt: skip
def test_no_npu_is_seen(machine: Machine, host: AscendHost, message: str, hint: str) -> None:
    machine.npu.count = 0
    machine.host = host
    said = refusal()
    assert said[0] == message
    assert hint in said[1]


def test_an_index_that_is_not_there(machine: Machine) -> None:
    assert refusal(2) == ("there is no npu:2: 2 NPU(s) are visible", "their indices are 0 to 1")
    machine.npu.count = 1
    assert refusal(1)[1] == "its index is 0"
    with pytest.raises(DeviceError, match="there is no npu:1"):
        get_devices("npu:0,1")


VISIBLE_ERROR = """\
init:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:292 NPU function error: aclrtGetDeviceCount, error code is 207004
[Error]: The device is unavailable.
EE1001: The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:4 error, input data rang[0-2)"""


@pytest.mark.parametrize("where", ["is_available", "device_count", "set_compile_mode"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HELD, "the driver refuses the device: another process or container may hold it"),
        (VISIBLE_ERROR, "ASCEND_RT_VISIBLE_DEVICES names an NPU that isn't there (NPU function error: aclrtGet"),
        ("something new\nand more", "the NPU can't be used: something new"),
    ],
)
def test_a_driver_that_refuses(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, where: str, text: str, message: str
) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(machine.npu, where, refuse, raising=False)
    assert refusal()[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("get platform info failed, drvErr=87.", "the driver refuses"),
        ("halGetDeviceInfo get device type version failed , ret:87[FUNC:Init]", "the driver refuses"),
        ("NPU function error: c10_npu::SetDevice(device_id_), error code is 507033", "the driver refuses"),
        ("EZ9999: the AI Core execution timeout", "an operator failed"),
        ("error code is 507015", "an operator failed"),
        ("E30006: Failed to verify the OPP", "CANN's operators"),
        ("ERR99999 UNKNOWN applicaiton exception", None),  # follows every uncaught exception
        ("shape mismatch", None),
        ("", None),
    ],
)
def test_what_failures_mean(text: str, meaning: str | None) -> None:
    error = explain_failure(text, HOST)
    assert (error is None) == (meaning is None)
    if error is not None:
        assert error.message.startswith(meaning or "")
        assert error.hint
        assert "{" not in error.hint


def test_failures_while_it_works(machine: Machine) -> None:
    device = NPUDevice(1)
    assert device.unavailable() is None
    for error in (
        torch.OutOfMemoryError("NPU out of memory. Tried to allocate 2 GiB"),
        RuntimeError("NPU out of memory"),
    ):
        told = device.explain(error)
        assert told is not None
        assert told.code == "out_of_memory"
        assert told.message == "npu:1 is out of memory: 3.0 of 32.0 GiB are free"
    assert device.explain(RuntimeError("a mistake of ours")) is None
    assert device.explain(ValueError("drvErr=87")) is None
    assert "driver refuses" in str(device.explain(RuntimeError(HELD)))


def test_out_of_memory_where_not_even_that_is_known(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    device = NPUDevice()
    assert device.unavailable() is None

    def gone(_: int) -> None:
        raise RuntimeError("lost")

    monkeypatch.setattr(machine.npu, "mem_get_info", gone)
    assert str(device.explain(torch.OutOfMemoryError("NPU out of memory"))) == "npu:0 is out of memory"


CHIPS_WITHOUT_BFLOAT16 = [
    "Ascend310P3", "Ascend310P1", "Ascend310B4", "Ascend310", "Ascend910", "Ascend910A", "Ascend910ProA",
    "Ascend910PremiumA", "Ascend910B", "Ascend910ProB",
]  # fmt: skip


@pytest.mark.parametrize("chip", CHIPS_WITHOUT_BFLOAT16)
def test_chips_before_atlas_a2(machine: Machine, chip: str) -> None:
    machine.npu.chip = chip
    device = NPUDevice()
    assert device.unavailable() is None
    with pytest.raises(DeviceError, match=f"{chip} has no bfloat16") as caught:
        device.check_dtype("bfloat16")
    assert caught.value.code == "dtype_unsupported"
    device.check_dtype("float16")
    device.check_dtype("float32")
    assert device.saturates
    assert [device.bucket(length) for length in (1, 64, 65, 1500)] == [64, 64, 128, 1536]
    assert any(str(BUCKET) in note for note in device.notes())
    device.simulated = "npu"
    assert device.notes() == ["simulated: its numbers are the CPU's"]


@pytest.mark.parametrize("chip", ["Ascend910B1", "Ascend910B4", "Ascend910B4-1", "Ascend910_9362", "Ascend950DT"])
def test_atlas_a2_and_later(machine: Machine, chip: str) -> None:
    machine.npu.chip = chip
    device = NPUDevice()
    assert device.unavailable() is None
    for dtype in ("bfloat16", "float16", "float32"):
        device.check_dtype(dtype)
    assert not device.saturates
    assert device.bucket(65) == 65
    machine.npu.bfloat16 = False  # a chip unknown here that says so itself
    with pytest.raises(DeviceError, match="no bfloat16"):
        device.check_dtype("bfloat16")


def test_default_dtypes() -> None:
    assert NPUDevice().default_dtype("whisper") == "float16"
    assert NPUDevice().default_dtype("lasr_ctc") == "float32"


def test_precision(machine: Machine) -> None:
    device = NPUDevice()
    assert device.unavailable() is None
    machine.npu.calls.clear()
    machine.npu.matmul.allow_hf32 = True
    device.set_precision("strict")
    assert machine.npu.calls == [("use_compatible_impl", True)]
    assert (machine.npu.conv.allow_hf32, machine.npu.matmul.allow_hf32) == (False, False)
    device.set_precision("default")
    assert (machine.npu.conv.allow_hf32, machine.npu.matmul.allow_hf32) == (True, False)
    assert "strict computes both exactly" in device.notes()[0]


def test_strict_precision_that_this_torch_npu_cannot_give(machine: Machine) -> None:
    machine.npu = SimpleNamespace(
        conv=SimpleNamespace(), matmul=SimpleNamespace(), config=SimpleNamespace(), is_available=lambda: True,
        device_count=lambda: 1, set_compile_mode=lambda **_: None, get_device_name=lambda _: "Ascend910B4",
    )  # fmt: skip
    device = NPUDevice()
    assert device.unavailable() is None
    with pytest.raises(DeviceError, match="no exact GELU") as caught:
        device.set_precision("strict")
    assert caught.value.code == "precision_unsupported"
    device.set_precision("default")
    device.check_dtype("bfloat16")  # does not say, and the chip has it
    assert "--precision strict is refused" in device.notes()[0]


def test_calls_name_the_device(machine: Machine) -> None:
    device = NPUDevice(1)
    assert device.unavailable() is None
    machine.npu.calls.clear()
    device.synchronize()
    device.reset_peak_memory()
    assert machine.npu.calls == [("synchronize", 1), ("reset_peak_memory_stats", 1)]
    assert device.peak_memory() == 1001
    assert device.memory() == (3 * 2**30, 32 * 2**30)


def test_an_npu_that_was_asked_for_never_becomes_the_cpu(machine: Machine) -> None:
    machine.install(ImportError(MISSING_CANN))
    for name in ("npu", "npu:0", "npu:1", "npu:0,1"):
        with pytest.raises(DeviceError):
            get_devices(name)
    chosen = get_device("auto")  # which may
    assert chosen.kind != "npu"
    assert "no npu: CANN's libraries aren't found" in (chosen.choice or "")


def test_an_npu_that_fails_is_not_passed_over_for_another(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", {"npu": devices.DEVICES["npu"], "cpu": devices.DEVICES["cpu"]})
    assert str(get_device("auto")) == "npu:0"


def test_trying_out_a_device_that_is_held(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    device = NPUDevice()
    assert device.unavailable() is None

    def refuse(_: object) -> None:
        raise RuntimeError(HELD)

    monkeypatch.setattr(NPUDevice, "torch_device", property(refuse))
    error = device.try_out()
    assert error is not None
    assert error.message == (
        "the driver refuses the device: another process or container may hold it, or permission is missing "
        "(NPU function error: aclrtSetDevice, error code is 507899)"
    )
