"""The CPU."""

from __future__ import annotations

from typing import Any, ClassVar

from voxport.devices import Device
from voxport.devices.host import host_facts, processor_name, return_free_memory
from voxport.errors import DeviceError


class CPUDevice(Device):
    """Plain torch on the host's processor. There is one, so it has no index."""

    kind: ClassVar[str] = "cpu"
    # One window keeps all cores busy, and its intermediate results stay in the cache.
    windows_per_forward: int | None = 1
    # Reading a token costs nothing here, and one step too many costs milliseconds.
    sync_interval = 1

    def __init__(self, index: int | None = None) -> None:
        super().__init__(None)
        self._requested_index = index

    def unavailable(self) -> DeviceError | None:
        if self._requested_index:
            return DeviceError(f"device 'cpu:{self._requested_index}' does not exist", hint="there is one: cpu")
        return None

    def default_dtype(self, family: str) -> str:
        # The other dtypes change numbers; they become a default when a proof of equal words stands behind them.
        return "float32"

    def tidy(self) -> None:
        return_free_memory()

    def describe(self) -> dict[str, Any]:
        return {"device": str(self), "chip": processor_name(), "count": 1, **host_facts()}
