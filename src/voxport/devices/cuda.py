"""CUDA GPUs, by torch's own support."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from voxport.devices import Device, Precision
from voxport.devices.host import host_facts, import_torch
from voxport.errors import DeviceError, VoxportError

_DRIVER = Path("/proc/driver/nvidia/version")
_DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the latter in WSL

_FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        r"busy or unavailable",
        "the driver refuses {device}: another process may hold it for itself alone",
        "`nvidia-smi` shows who uses it; `nvidia-smi -q -d COMPUTE` shows whether it takes one process only",
    ),
    (
        r"no kernel image is available",
        "this torch (for CUDA {cuda}) has no code for {device}",
        "install the torch build for this GPU: https://pytorch.org/get-started/locally/",
    ),
    (
        r"driver version is insufficient|driver on your system is too old",
        "the NVIDIA driver is too old for this torch (CUDA {cuda})",
        "update the driver, or install a torch build for an older CUDA",
    ),
    (
        r"CUDA unknown error|CUDA error: unknown error|initialization error|ECC error|has fallen off the bus",
        "the driver has lost {device}",
        "`nvidia-smi` must list it; after suspending: sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
    ),
)
"""Pattern in an error of CUDA's -> what it means, what to do."""


class CUDADevice(Device):
    """One GPU. Without an index it is the first visible one."""

    kind: ClassVar[str] = "cuda"
    # Each look at the tokens waits for the queue; a step too many costs less.
    sync_interval = 4

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index if index is not None else 0)

    def unavailable(self) -> DeviceError | None:
        # Without importing torch, where nothing speaks of a GPU: that takes a second and a half.
        if not has_driver():
            return DeviceError("no NVIDIA driver is loaded", hint="install the driver, or use --device cpu")
        try:
            return self._connect()
        except VoxportError as error:
            return DeviceError(error.message, hint=error.hint, code=error.code)
        except RuntimeError as error:
            return self._explain(error) or DeviceError(f"CUDA can't be used: {_first_line(error)}")

    def _connect(self) -> DeviceError | None:
        torch = import_torch()
        if torch.version.cuda is None:
            return DeviceError(
                f"torch {torch.__version__} is built without CUDA",
                hint="install a CUDA build of torch: https://pytorch.org/get-started/locally/",
            )
        count = torch.cuda.device_count()
        if not count:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            if visible is not None:
                return DeviceError(
                    f"no GPU is visible: CUDA_VISIBLE_DEVICES is {visible!r}",
                    hint="unset CUDA_VISIBLE_DEVICES, or name a GPU that `nvidia-smi -L` lists",
                )
            return DeviceError(
                "the NVIDIA driver has no GPU for torch",
                hint=f"`nvidia-smi` must list one, and its driver must be new enough for CUDA {torch.version.cuda}",
            )
        if self.index is not None and self.index >= count:
            return DeviceError(f"there is no cuda:{self.index}: {count} GPU(s) are visible", hint=_indices(count))
        return None

    def default_dtype(self, family: str) -> str:
        # Whisper was published in float16. MedASR's stream passes float16's range: float32 costs little at its size.
        return "float16" if family == "whisper" else "float32"

    def check_dtype(self, dtype: str) -> None:
        torch = import_torch()
        if dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            name = torch.cuda.get_device_name(self.index)
            raise DeviceError(
                f"{name} has no bfloat16", hint="use --dtype float16 or --dtype float32", code="dtype_unsupported"
            )

    def set_precision(self, precision: Precision) -> None:
        torch = import_torch()
        # torch's own default: convolutions in TF32, products in float32.
        torch.backends.cudnn.allow_tf32 = precision != "strict"
        torch.backends.cuda.matmul.allow_tf32 = False

    def synchronize(self) -> None:
        import_torch().cuda.synchronize(self.index)

    def reset_peak_memory(self) -> None:
        import_torch().cuda.reset_peak_memory_stats(self.index)

    def peak_memory(self) -> int | None:
        peak: int = import_torch().cuda.max_memory_allocated(self.index)
        return peak

    def peak_reserved_memory(self) -> int | None:
        peak: int = import_torch().cuda.max_memory_reserved(self.index)
        return peak

    def held_memory(self) -> tuple[int, int] | None:
        cuda = import_torch().cuda
        if not cuda.is_initialized():
            return 0, 0
        return int(cuda.memory_allocated(self.index)), int(cuda.memory_reserved(self.index))

    def memory(self) -> tuple[int, int] | None:
        free, total = import_torch().cuda.mem_get_info(self.index)
        return int(free), int(total)

    def notes(self) -> list[str]:
        if import_torch().cuda.get_device_capability(self.index) < (8, 0):
            return []
        return ["float32 convolutions run in TF32 (10 bits of mantissa); --precision strict: in float32"]

    def describe(self) -> dict[str, Any]:
        torch = import_torch()
        return {
            "device": str(self),
            "chip": torch.cuda.get_device_name(self.index),
            "count": torch.cuda.device_count(),
            "driver": driver_version(),
            "cuda": torch.version.cuda,
            **host_facts(),
        }

    def explain(self, error: BaseException) -> DeviceError | None:
        if isinstance(error, import_torch().OutOfMemoryError):
            return out_of_memory(self)
        return self._explain(error) if isinstance(error, RuntimeError) else None

    def _explain(self, error: RuntimeError) -> DeviceError | None:
        text = str(error)
        if re.search(r"CUDA error: out of memory", text):  # before torch's own allocator has begun
            return out_of_memory(self)
        for pattern, meaning, remedy in _FAILURES:
            if re.search(pattern, text, re.IGNORECASE):
                said = meaning.format(device=self, cuda=import_torch().version.cuda)
                return DeviceError(f"{said} ({_first_line(error)})", hint=remedy)
        return None


def has_driver() -> bool:
    """Whether anything speaks of an NVIDIA driver; where nobody can tell, it may be there."""
    return os.name != "posix" or _DRIVER.exists() or any(path.exists() for path in _DEVICE_FILES)


def out_of_memory(device: Device) -> DeviceError:
    """The error for an accelerator whose memory is full."""
    try:
        memory = device.memory()
    except RuntimeError:  # not even that can be asked any more
        memory = None
    free = f": {memory[0] / 2**30:.1f} of {memory[1] / 2**30:.1f} GiB are free" if memory else ""
    return DeviceError(
        f"{device} is out of memory{free}",
        hint="use a smaller --batch_size, --dtype float16, or a smaller model; or end what else holds its memory",
        code="out_of_memory",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _indices(count: int) -> str:
    return f"their indices are 0 to {count - 1}" if count > 1 else "its index is 0"


def driver_version() -> str | None:
    """ "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15 ..." -> "550.54.15"."""
    try:
        line = _DRIVER.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return None
    numbers = [word for word in line.split() if word[:1].isdigit() and "." in word]
    return numbers[0] if numbers else None
