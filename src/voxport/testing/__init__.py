"""A simulated Ascend NPU on the CPU, for development and tests without hardware.

    VOXPORT_SIMULATE=npu:2 python script.py       # plain torch code has torch.npu and two devices

    from voxport import testing

    testing.activate()                            # the same, for this process
    with testing.count_operations() as counted, testing.faults.inject("gelu_tanh"):
        model.to("npu:1")(x)

Memory is the host's and kernels are torch's own for the CPU, so results equal the CPU's bit for bit: what it shows is
placement, API use, memory bookkeeping, waiting for the device, and how code copes with a device that is wrong. It shows
no performance and no numerics of an NPU; those are imitated one by one with `faults`. Whatever is made on it says
"simulated".

The device is C++ (simulator.cpp), compiled on first use and kept in ``VOXPORT_HOME/simulator``. Importing this package
imports no torch. Development only: its interface may change between minor versions.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from voxport.testing import faults
    from voxport.testing.counting import Counts

__all__ = [
    "ENVIRONMENT",
    "activate",
    "activate_from_environment",
    "autoload",
    "count_operations",
    "counters",
    "deactivate",
    "faults",
    "is_active",
    "memory_limit",
    "reset_counters",
    "unsupported",
]

ENVIRONMENT = "VOXPORT_SIMULATE"
"""The variable that switches it on: "npu", "npu:2", "npu:2,memory=2GiB,chip=Ascend310P3"."""


def activate(devices: int = 2, *, memory: int | None = None, chip: str | None = None, torch_npu: bool = True) -> None:
    """Add the device type "npu" to this process's torch, with torch.npu and an importable torch_npu.

    It stays until the process ends. Called again it changes `memory` and adds `torch_npu`. CPU tensors are left alone.
    ASCEND_RT_VISIBLE_DEVICES hides devices, as it hides real ones.

    Args:
        devices: how many.
        memory: bytes that each has; None = 32 GiB.
        chip: the name of the chip it poses as, None = "Ascend910B4".
        torch_npu: whether ``import torch_npu`` is to work. Then transformers takes its NPU branches, also for tensors
            on the CPU.

    Raises:
        UsageError: it is active already, with another number of devices or chip.
        SetupError: there is no C++ compiler, or compiling failed (code ``no_compiler`` or ``compilation_failed``).
        DeviceError: torch_npu, or another backend of its kind, is loaded in this process.
    """
    from voxport.testing.backend import activate as start
    from voxport.testing.settings import Settings

    start(Settings(devices, memory, chip), torch_npu=torch_npu)


def deactivate() -> None:
    """Hide the devices, so that nobody chooses them: torch.npu and torch.accelerator say that there are none, and
    torch_npu is gone.

    Tensors on them go on to work, and `activate` shows them again: a device type can't be taken out of torch.
    """
    from voxport.testing.backend import deactivate as hide

    hide()


def activate_from_environment() -> bool:
    """Activate what VOXPORT_SIMULATE asks for; returns whether it asks for anything.

    Raises:
        UsageError: its value can't be understood.
        SetupError, DeviceError: as `activate`.
    """
    value = os.environ.get(ENVIRONMENT)
    if not value:
        return False
    from voxport.testing.backend import activate as start
    from voxport.testing.settings import parse

    start(parse(value))
    return True


def autoload() -> None:
    """Called by `import torch` (entry point ``torch.backends``): activate if VOXPORT_SIMULATE asks for it."""
    if not os.environ.get(ENVIRONMENT):
        return
    from voxport.errors import VoxportError
    from voxport.testing.backend import is_starting

    if is_starting():  # it is this package that imports torch
        return
    try:
        activate_from_environment()
    except VoxportError as error:
        # Shown in a traceback, where nobody prints the hint.
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        raise type(error)(message, hint=error.hint, code=error.code) from error


def is_active() -> bool:
    """Whether "npu" is simulated in this process."""
    from voxport.testing.backend import is_active as active

    return active()


def counters() -> Counts:
    """What was done on the device since the process began, or since `reset_counters`."""
    from voxport.testing.counting import read

    return read()


def reset_counters() -> None:
    """Let `counters` begin at zero. `count_operations` is not disturbed."""
    from voxport.testing.counting import reset

    reset()


def count_operations() -> AbstractContextManager[Counts]:
    """Count what is done on the device inside a ``with``, by all threads; the counts are complete behind it.

    with count_operations() as counted:
        y = x @ x
    counted.operations["aten::mm"], counted.total, counted.synchronisations, counted.transfers
    """
    from voxport.testing.counting import count

    return count()


def unsupported(*operations: str) -> AbstractContextManager[None]:
    """Let operations raise NotImplementedError on the device, as one without a kernel does.

    Args:
        operations: "gelu", "aten::gelu", or one overload, "aten::add.Tensor".

    Raises:
        UsageError: torch has no such operation, or it never reaches a device because it is made of others.
    """
    from voxport.testing.denial import deny

    return deny(*operations)


def memory_limit(size: int, device: int | None = None) -> AbstractContextManager[None]:
    """Let a device (None = all) have `size` bytes of memory inside a ``with``: one more is torch.OutOfMemoryError."""
    from voxport.testing.memory import limit

    return limit(size, device)


def __getattr__(name: str) -> Any:
    if name == "faults":
        return import_module("voxport.testing.faults")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> Iterator[str]:
    return iter(__all__)
