"""The CPU."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from voxport.devices import Device
from voxport.errors import DeviceError

if TYPE_CHECKING:
    import torch


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


class CPUDevice(Device):
    """Plain torch on the host's processor. There is one, so it has no index."""

    kind: ClassVar[str] = "cpu"
    # One window keeps all cores busy, and its intermediate results stay in the cache.
    windows_per_forward: ClassVar[int | None] = 1

    def __init__(self, index: int | None = None) -> None:
        super().__init__(None)
        self._requested_index = index

    def unavailable(self) -> DeviceError | None:
        if self._requested_index:
            return DeviceError(f"device 'cpu:{self._requested_index}' does not exist", hint="there is one: cpu")
        return None

    def prepare_process(self) -> None:
        """Make waiting threads and large buffers cheap. What the environment says already stands."""
        # A decoder step is a hundred short parallel pieces. By default a thread that has done its share spins for
        # milliseconds; where another program has taken a core, it spins on the core that the work is waiting for, and
        # a step takes twenty times as long. After some 0.1 ms it had better sleep. Read when libgomp is loaded.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", "20000")
        _keep_large_buffers()

    def default_dtype(self) -> str:
        # The other dtypes change numbers; they become a default when a proof of equal words stands behind them.
        return "float32"

    def set_threads(self, threads: int | None) -> int:
        """Set torch's intra-operator threads, for the whole process; None leaves them as they are."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        return torch.get_num_threads()

    @property
    def sync_interval(self) -> int:
        # Reading a token costs nothing here, and one step too many costs milliseconds.
        return 1

    def describe(self) -> dict[str, Any]:
        import torch

        return {
            "device": str(self),
            "chip": _processor_name(),
            "logical_cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def prepare(self, module: torch.nn.Module) -> None:
        """Nothing to prepare: plain torch semantics are the reference."""


def _keep_large_buffers() -> None:
    """Have glibc reuse buffers of up to 32 MiB instead of returning each to the system.

    An encoder layer's intermediate results are some 10 MiB each; mapping them anew costs a tenth of the encoder's time.
    At most 256 MiB that are free stay with the process.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _processor_name() -> str:
    """The processor's marketing name on Linux, else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
