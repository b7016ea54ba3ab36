"""How devices are named and chosen."""

from __future__ import annotations

import pytest
import torch

from voxport import devices
from voxport.devices import DEVICES, Device, choice_text, get_device, get_devices, make_device
from voxport.devices.cpu import CPUDevice
from voxport.errors import DeviceError, UsageError

HERE = [kind for kind in DEVICES if make_device(kind).unavailable() is None]


def test_the_cpu_is_always_there() -> None:
    assert "cpu" in HERE


def test_the_cpu_needs_no_index() -> None:
    assert [str(found) for found in get_devices("cpu:0")] == ["cpu"]
    with pytest.raises(DeviceError, match="'cpu:7' does not exist") as caught:
        get_device("cpu:7")
    assert caught.value.hint == "there is one: cpu"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "name", ["", "gpu", "tpu:0", "CPU", "auto:0", "auto:", "cpu:", "npu:a", "npu:0,", "npu:,1", "npu:-1", "npu: 1",
             "npu:0;1", "npu:١", "cpu,cuda", "npu:99999999999999999999"],
)  # fmt: skip
def test_what_is_no_device(name: str) -> None:
    with pytest.raises(UsageError, match="unknown device") as caught:
        get_devices(name)
    assert "auto, cpu, cuda[:INDEX], npu[:INDEX]" in (caught.value.hint or "")


class Present(Device):
    """A kind of which three are here."""

    kind = "npu"

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index or 0)

    def unavailable(self) -> DeviceError | None:
        return DeviceError(f"there is no {self}", hint="0 to 2") if (self.index or 0) > 2 else None


class Absent(Present):
    kind = "cuda"

    def unavailable(self) -> DeviceError | None:
        return DeviceError("no driver is loaded", hint="install the driver")


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda is absent, of npu there are three, and the cpu is there; tried in this order."""
    kinds = {"cuda": Absent, "npu": Present, "cpu": CPUDevice}
    monkeypatch.setattr(devices, "DEVICES", dict.fromkeys(kinds, ""))
    monkeypatch.setattr(devices, "make_device", lambda kind, index=None: kinds[kind](index))


@pytest.mark.usefixtures("some")
def test_several_devices() -> None:
    assert [str(found) for found in get_devices("npu:0,2")] == ["npu:0", "npu:2"]
    assert [str(found) for found in get_devices("npu:2,1")] == ["npu:2", "npu:1"]  # in the order given
    assert [str(found) for found in get_devices("npu")] == ["npu:0"]
    assert str(get_device("npu:1")) == "npu:1"
    with pytest.raises(UsageError, match="'npu:0,1' names 2 devices"):
        get_device("npu:0,1")
    for twice in ("npu:0,0", "npu:1,2,01"):
        with pytest.raises(UsageError, match="names a device twice"):
            get_devices(twice)
    with pytest.raises(DeviceError, match="there is no npu:3"):
        get_devices("npu:0,3")


@pytest.mark.usefixtures("some")
def test_a_device_asked_for_by_name_is_never_replaced() -> None:
    for name in ("cuda", "cuda:0", "cuda:0,1"):
        with pytest.raises(DeviceError, match="no driver is loaded") as caught:
            get_devices(name)
        assert caught.value.hint == "install the driver"
    assert get_device("npu:1").choice is None


@pytest.mark.usefixtures("some")
def test_auto_takes_the_first_that_is_there_and_says_why() -> None:
    chosen = get_device("auto")
    assert str(chosen) == "npu:0"
    assert chosen.choice == "npu:0, chosen by auto: no cuda: no driver is loaded"
    assert choice_text("cpu", {}) == "cpu, chosen by auto"


def test_auto_without_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", {"cuda": ""})
    monkeypatch.setattr(devices, "make_device", lambda kind, index=None: Absent(index))
    with pytest.raises(DeviceError, match="no device is available") as caught:
        get_device()
    assert caught.value.hint == "no cuda: no driver is loaded"


def test_auto_here() -> None:
    chosen = get_device("auto")
    assert str(chosen) in (chosen.choice or "")
    if chosen.kind == "cpu":
        assert "no npu: " in (chosen.choice or "")
        assert "no cuda: " in (chosen.choice or "")


class Broken(Device):
    kind = "cpu"

    def __init__(self, failure: Exception | None = None, value: float = 0.0) -> None:
        super().__init__()
        self.failure = failure

    @property
    def torch_device(self) -> torch.device:
        if self.failure is not None:
            raise self.failure
        return torch.device("meta")


def test_trying_out_never_raises() -> None:
    error = Broken(RuntimeError("driver says\nno")).try_out()
    assert error is not None
    assert error.message == "cpu doesn't work: driver says no"
    told = DeviceError("it is held")
    assert Broken(told).try_out() is told
    assert Broken().try_out() is not None  # gives no value at all


def test_a_device_that_computes_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "full", lambda *_, **__: torch.ones(4, 4))
    error = CPUDevice().try_out()
    assert error is not None
    assert error.message == "cpu computes wrong numbers: 64.0 instead of 576"
