"""Memory at its peak: the process's own, and the device's by torch's allocator and by its driver."""

from __future__ import annotations

import ctypes
import gc
import platform
import resource
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxport.devices import Device

__all__ = ["MemoryUse", "PeakRSS", "measure_device", "resident_memory"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SAMPLING_SECONDS = 0.01


@dataclass(frozen=True)
class MemoryUse:
    """Bytes, of one side: from before it was loaded to behind its warm-up.

    Attributes:
        host_peak: resident set of the whole process at its peak. With two sides the second one's has the first model
            in it.
        host_growth: the peak less what was resident before this side was loaded: its own.
        host_method: how the peak was found.
        device_allocated: of tensors on the device at their peak, by torch's allocator.
        device_allocated_before: of tensors that were there before this side was loaded.
        device_reserved: what that allocator held at its peak.
        device_used, device_total: by the driver, behind the warm-up: all processes, allocator and driver together.
    """

    host_peak: int | None
    host_growth: int | None
    host_method: str
    device_allocated: int | None = None
    device_allocated_before: int | None = None
    device_reserved: int | None = None
    device_used: int | None = None
    device_total: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class PeakRSS:
    """The process's largest resident set while this context lasts.

    Linux forgets the peak when asked to (``/proc/self/clear_refs``); where it refuses, a thread looks every 10 ms; off
    Linux it is the peak since the process began.

    Attributes:
        method: which of these.
        before: bytes at the beginning, None where nobody tells.
    """

    def __init__(self) -> None:
        _give_back_freed_memory()
        self.before = _resident("VmRSS")
        self._sampled = 0
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None
        self.method = "getrusage: since the process began"

    def __enter__(self) -> PeakRSS:
        if self.before is None:
            return self
        try:
            _CLEAR.write_text("5", encoding="ascii")
            self.method = "VmHWM, reset through /proc/self/clear_refs"
        except OSError:
            self.method = "VmRSS, sampled every 10 ms"
            self._sampled = self.before
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        if self._sampler is not None:
            self._sampler.join()

    def peak(self) -> int | None:
        """Bytes, so far."""
        if self._sampler is not None:
            return max(self._sampled, _resident("VmRSS") or 0)
        if self.before is not None:
            return _resident("VmHWM")
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLING_SECONDS):
            self._sampled = max(self._sampled, _resident("VmRSS") or 0)


def measure_device(device: Device, before: int | None, host: PeakRSS) -> MemoryUse:
    """What a side took, asked behind its warm-up.

    Args:
        device: its; `Device.reset_peak_memory` was called before loading.
        before: `Device.peak_memory` directly behind that.
        host: around the same stretch.
    """
    peak = host.peak()
    free_and_total = device.memory()
    return MemoryUse(
        host_peak=peak,
        host_growth=None if peak is None or host.before is None else max(0, peak - host.before),
        host_method=host.method,
        device_allocated=device.peak_memory(),
        device_allocated_before=before,
        device_reserved=device.peak_reserved_memory(),
        device_used=None if free_and_total is None else free_and_total[1] - free_and_total[0],
        device_total=None if free_and_total is None else free_and_total[1],
    )


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; None where nobody tells."""
    return _resident("VmRSS")


def _give_back_freed_memory() -> None:
    """What earlier work has freed goes back to the system (glibc keeps it), or what follows would seem to need less."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _resident(name: str) -> int | None:
    """A line of the kernel's about this process, in bytes."""
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
