"""The device contract and how a device is chosen. One file per device; probing is lazy and failures are explained."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from voxport.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICES", "DTYPES", "Device", "get_device"]

DEVICES: dict[str, str] = {"cpu": "voxport.devices.cpu:CPUDevice"}
"""Kind -> "module:Class", in the order in which ``auto`` tries them."""

DTYPES = ("float32", "float16", "bfloat16")


class Device:
    """Where a model runs. Base class; dispatch is on the device in use, never on what happens to be installed.

    Attributes:
        kind: "cpu", ...
        windows_per_forward: at most so many windows go through an encoder together; None = the whole batch.
        index: which one of its kind, or None where there is only one.
    """

    kind: ClassVar[str]
    windows_per_forward: ClassVar[int | None] = None
    simulated: str | None = None

    def __init__(self, index: int | None = None) -> None:
        self.index = index

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @property
    def torch_device(self) -> torch.device:
        import torch

        return torch.device(str(self))

    def unavailable(self) -> DeviceError | None:
        """Why this device can't be used, as an error with a hint, or None if it can. Never raises."""
        raise NotImplementedError

    def prepare_process(self) -> None:
        """Set what holds for the whole process and must be set before torch is imported. May be called again."""

    def default_dtype(self) -> str:
        """What ``--dtype auto`` means here."""
        raise NotImplementedError

    def prepare(self, module: torch.nn.Module) -> None:
        """Apply the device's quirks to a loaded module, once."""

    @property
    def sync_interval(self) -> int:
        """Decode this many steps between two looks at the tokens (a look makes the host wait for the device)."""
        raise NotImplementedError

    def set_threads(self, threads: int | None) -> int:
        """Ask for a number of host threads (None = the device's default); returns the number in use."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def describe(self) -> dict[str, Any]:
        """Chip and software versions, for result files."""
        raise NotImplementedError


def get_device(name: str = "auto") -> Device:
    """The device called `name`: "auto", "cpu", or "KIND:INDEX".

    Raises:
        UsageError: no device of that name is known.
        DeviceError: it is known but can't be used here; the error says why. Nothing falls back to another device.
    """
    kind, _, index = name.partition(":")
    if kind == "auto" and not index:
        for candidate in DEVICES:
            device = _load(candidate)(None)
            if device.unavailable() is None:
                return device
        raise DeviceError("no device is available")
    if kind not in DEVICES or (index and not index.isdecimal()):
        known = ", ".join(["auto", *DEVICES])
        raise UsageError(f"unknown device {name!r}", hint=f"this version of voxport runs on: {known}")
    device = _load(kind)(int(index) if index else None)
    error = device.unavailable()
    if error is not None:
        raise error
    return device


def _load(kind: str) -> type[Device]:
    module, _, attribute = DEVICES[kind].partition(":")
    loaded: type[Device] = getattr(import_module(module), attribute)
    return loaded
