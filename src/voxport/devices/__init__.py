"""The device contract and how devices are chosen. One file per device; probing is lazy and failures are explained.

- `cpu`, `cuda`, `npu`: the devices.
- `host`: what holds for the whole process: threads, buffers, importing torch.
- `fused`, `npu_fused`: operations in one piece where torch needs several.
- `ascend`: what a host has of Huawei's software, found without loading any of it.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from voxport.devices.fused import NOTHING_FUSED, FusedOperations
from voxport.errors import DeviceError, UsageError, VoxportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

__all__ = [
    "DEVICES",
    "DTYPES",
    "PRECISIONS",
    "Device",
    "Precision",
    "choice_text",
    "get_device",
    "get_devices",
    "make_device",
]

DEVICES: dict[str, str] = {
    "npu": "voxport.devices.npu:NPUDevice",
    "cuda": "voxport.devices.cuda:CUDADevice",
    "cpu": "voxport.devices.cpu:CPUDevice",
}
"""Kind -> "module:Class", in the order in which ``auto`` tries them."""

DTYPES = ("float32", "float16", "bfloat16")

Precision = Literal["default", "strict"]
PRECISIONS = ("default", "strict")

_NAME = re.compile(r"([a-z]+)(?::([0-9]{1,4}(?:,[0-9]{1,4})*))?")


class Device:
    """Where a model runs. Base class; dispatch is on the device in use, never on what happens to be installed.

    Attributes:
        kind: "cpu", ...
        index: which one of its kind, or None where there is only one.
        windows_per_forward: at most so many windows go through an encoder together; None = the whole batch.
        sync_interval: decode this many steps between two looks at the tokens (a look makes the host wait for the
            device).
        simulated: what this device is a simulation of, or None. Results say so.
        graph: whether a decoder's steps are to be compiled, see `set_graph`.
        choice: why ``auto`` took this device, or None where it was asked for by name.
    """

    kind: ClassVar[str]
    windows_per_forward: int | None = None
    sync_interval: int = 1
    simulated: str | None = None
    graph: bool = False
    choice: str | None = None

    def __init__(self, index: int | None = None) -> None:
        self.index = index

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @property
    def torch_device(self) -> torch.device:
        from voxport.devices.host import import_torch

        found: torch.device = import_torch().device(str(self))
        return found

    def unavailable(self) -> DeviceError | None:
        """Why this device can't be used, as an error with a hint, or None if it can. Never raises."""
        raise NotImplementedError

    def default_dtype(self, family: str) -> str:
        """What ``--dtype auto`` means here for a model of this family (its Hugging Face model type)."""
        raise NotImplementedError

    def check_dtype(self, dtype: str) -> None:
        """Refuse a dtype that this device can't compute in.

        Raises:
            DeviceError: code ``dtype_unsupported``.
        """

    def set_precision(self, precision: Precision) -> None:
        """Choose how exactly float32 is computed: "default" as is usual on this device, "strict" without any shortcut
        (TF32, HF32, approximate GELU). For the whole process."""

    def prepare(self, module: torch.nn.Module) -> None:
        """Apply the device's quirks to a loaded module, once."""

    def tidy(self) -> None:
        """Called now and then in the middle of long work: what is held for nothing may be given back."""

    def bucket(self, length: int) -> int:
        """The length to which a dimension that varies is to be filled up, so that not every length is compiled anew."""
        return length

    def fused(self, dtype: str) -> FusedOperations:
        """Operations that this device has in one piece, for a model in `dtype` on it."""
        return NOTHING_FUSED

    def set_graph(self) -> None:
        """Have a decoder's steps compiled into graphs.

        Raises:
            DeviceError: this device has no graph mode, or what it needs is not here (code ``graph_unsupported``).
        """
        raise DeviceError(
            f"{self.kind} has no graph mode", hint="--graph is for NPUs (torchair)", code="graph_unsupported"
        )

    def compile(self, module: torch.nn.Module) -> Callable[..., Any]:
        """The module compiled, one graph for each set of shapes. Only after `set_graph`."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def reset_peak_memory(self) -> None:
        """Begin to measure `peak_memory`."""

    def peak_memory(self) -> int | None:
        """Bytes that tensors took on the device at most since `reset_peak_memory`; None where nobody counts them."""
        return None

    def peak_reserved_memory(self) -> int | None:
        """Bytes that torch held on the device at most since `reset_peak_memory`, for tensors or to reuse; None as
        above."""
        return None

    def held_memory(self) -> tuple[int, int] | None:
        """Bytes that tensors take on the device now, and bytes that torch holds there, for tensors or to reuse; None
        where nobody counts them. Starts no device: before anything ran there both are 0."""
        return None

    def memory(self) -> tuple[int, int] | None:
        """Bytes of the device's own memory that are free, and all; None where it has none of its own."""
        return None

    def notes(self) -> list[str]:
        """What a reader of its numbers should know of a device that can be used: how exactly it computes."""
        return []

    def try_out(self) -> VoxportError | None:
        """Compute something small here; what went wrong, if anything did. Never raises.

        A device may be there and refuse to work: held by another process, out of memory, too new for this torch.
        """
        from voxport.devices.host import import_torch

        try:
            torch = import_torch()
            values = torch.full((4, 4), 3.0, device=self.torch_device)
            found = float((values @ values).sum())
            self.synchronize()
        except VoxportError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a broken driver raises
            text = " ".join(str(error).split()) or type(error).__name__
            return self.explain(error) or DeviceError(f"{self} doesn't work: {text[:300]}")
        if found != 576.0:
            return DeviceError(f"{self} computes wrong numbers: {found} instead of 576", hint="don't use this device")
        return None

    def describe(self) -> dict[str, Any]:
        """Chip and software versions: goes into every result file."""
        raise NotImplementedError

    def explain(self, error: BaseException) -> VoxportError | None:
        """A failure of this device that people know what to do about, as an error with a hint; else None."""
        return None


def get_device(name: str = "auto") -> Device:
    """The one device called `name`: "auto", "cpu", "KIND" or "KIND:INDEX".

    Raises:
        UsageError: no device of that name is known, or it names several.
        DeviceError: it is known but can't be used here; the error says why. Nothing falls back to another device.
    """
    devices = get_devices(name)
    if len(devices) > 1:
        raise UsageError(
            f"{name!r} names {len(devices)} devices, and a model runs on one",
            hint="`voxport transcribe` shares recordings out among several",
        )
    return devices[0]


def get_devices(name: str = "auto") -> list[Device]:
    """The devices called `name`: as `get_device`, and "KIND:INDEX,INDEX,...".

    Raises:
        UsageError, DeviceError: as `get_device`.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or (match[1] != "auto" and match[1] not in DEVICES) or (match[1] == "auto" and match[2]):
        known = ", ".join(["auto", "cpu", "cuda[:INDEX]", "npu[:INDEX]"])
        raise UsageError(f"unknown device {name!r}", hint=f"devices are: {known}; several: npu:0,1")
    kind, indices = match[1], match[2]
    if kind == "auto":
        return [_choose()]
    numbers = [int(number) for number in indices.split(",")] if indices else [None]
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{name!r} names a device twice", hint="each index once")
    devices = [make_device(kind, number) for number in numbers]
    for device in devices:
        error = device.unavailable()
        if error is not None:
            raise error
    return devices


def make_device(kind: str, index: int | None = None) -> Device:
    """The device object, whether it can be used or not: ask `Device.unavailable`."""
    module, _, attribute = DEVICES[kind].partition(":")
    loaded: type[Device] = getattr(import_module(module), attribute)
    return loaded(index)


def choice_text(device: object, reasons: Mapping[str, str]) -> str:
    """Why ``auto`` takes `device`. `reasons`: the kinds before it -> why they can't be used."""
    text = "; ".join(f"no {kind}: {reason}" for kind, reason in reasons.items())
    return f"{device}, chosen by auto{': ' if text else ''}{text}"


def _choose() -> Device:
    """The first kind that can be used, and why."""
    reasons: dict[str, str] = {}
    for kind in DEVICES:
        device = make_device(kind)
        error = device.unavailable()
        # A simulation that a test has activated is not what anybody wants who names no device.
        unasked = device.simulated is not None and not os.environ.get("VOXPORT_SIMULATE")
        if error is None and not unasked:
            device.choice = choice_text(device, reasons)
            return device
        reasons[kind] = "it is only simulated" if error is None else error.message
    raise DeviceError(
        "no device is available", hint="; ".join(f"no {kind}: {reason}" for kind, reason in reasons.items())
    )
