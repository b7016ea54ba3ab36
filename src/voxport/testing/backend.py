"""Puts the simulated device into this process: torch's spare backend (PrivateUse1) becomes "npu"."""

from __future__ import annotations

import os
import sys
import threading

from voxport.errors import DeviceError, UsageError
from voxport.testing.settings import DEFAULT_CHIP, DEFAULT_MEMORY, Settings, visible_devices

_lock = threading.RLock()
_active: Settings | None = None
_hidden = False
_starting = False


def is_active() -> bool:
    return _active is not None and not _hidden


def is_starting() -> bool:
    return _starting


def activate(settings: Settings, *, torch_npu: bool = True) -> None:
    """As `voxport.testing.activate`."""
    global _active, _hidden, _starting
    with _lock:
        if _active is not None:
            _change(_active, settings)
            if _hidden:
                _show(True)
                _hidden = False
        else:
            _starting = True
            try:
                _start(settings)
            finally:
                _starting = False
            _active = settings
        if torch_npu:
            from voxport.testing import torch_npu_stub

            torch_npu_stub.install()


def deactivate() -> None:
    """As `voxport.testing.deactivate`."""
    global _hidden
    with _lock:
        if _active is None or _hidden:
            return
        from voxport.testing import torch_npu_stub

        torch_npu_stub.uninstall()
        _show(False)
        _hidden = True


def _show(shown: bool) -> None:
    from voxport.testing import npu_api

    npu_api.show(shown)


def _change(active: Settings, wanted: Settings) -> None:
    from voxport.testing import npu_api
    from voxport.testing.native import simulator

    if wanted.devices != active.devices or (wanted.chip or active.chip) != active.chip:
        raise UsageError(
            f"{active.devices} devices are simulated already, as {active.chip or DEFAULT_CHIP}",
            hint="that can't be changed in a running process",
        )
    if wanted.memory is not None:
        for index in npu_api.indices():
            simulator().set_limit(index, wanted.memory)


def _start(settings: Settings) -> None:
    if "torch_npu" in sys.modules:
        raise DeviceError(
            "torch_npu is loaded in this process: its NPU can't be simulated as well", hint="unset VOXPORT_SIMULATE"
        )
    import torch

    name = torch._C._get_privateuse1_backend_name()
    if name != "privateuseone":
        raise DeviceError(
            f"torch's spare backend is taken in this process, by {name!r}",
            hint="unset VOXPORT_SIMULATE, or set TORCH_DEVICE_BACKEND_AUTOLOAD=0 and call voxport.testing.activate()",
        )
    from torch.utils.backend_registration import generate_methods_for_privateuse1_backend, rename_privateuse1_backend

    from voxport.testing import build, faults, native, npu_api

    simulator = native.load(build.library(torch))
    rename_privateuse1_backend("npu")
    devices = visible_devices(settings.devices, os.environ)
    simulator.start(devices, settings.memory or DEFAULT_MEMORY, faults.MOVING)
    npu_api.start(devices, settings.chip or DEFAULT_CHIP, faults.refresh)
    torch._register_device_module("npu", npu_api)  # type: ignore[no-untyped-call]
    generate_methods_for_privateuse1_backend(for_storage=True)
