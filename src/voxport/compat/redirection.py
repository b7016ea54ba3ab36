"""How `voxport.compat.cuda_as_npu` is done: a mode for torch's own functions, attributes for what no mode sees.

The functions of torch that take a device are some hundred, written in C++ and known by their identity to
``torch.compile`` and others. They stay what they are; a `TorchFunctionMode` rewrites their arguments. A mode belongs to
a thread, so threads are given it when they start. The attributes: `voxport.compat.replacements`.

``torch.device("cuda")`` stays a device of that type and is rewritten where it is used, because scripts ask
``device.type == "cuda"``. What a tensor says of itself is true: its ``device`` is ``npu:0``.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from voxport.devices import Device, get_device
from voxport.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUDA = re.compile(r"cuda(:\d+)?")
_NAMES = (str, torch.device)
_ABSENT = object()

RELEASE_SECONDS = 2.0
"""Longest wait for other threads at the end; a script may keep what remembers the mode for good."""

_lock = threading.RLock()
_uses = 0
_device: Device | None = None
_undo: list[tuple[Any, str, Any]] = []
_remembered: weakref.WeakSet[CUDAMode] = weakref.WeakSet()


def is_active() -> bool:
    return _uses > 0


@contextmanager
def redirected() -> Iterator[Device]:
    """See `voxport.compat.cuda_as_npu`."""
    device = _begin()
    default = _default_device()
    try:
        with remembered_mode():
            yield device
    finally:
        if _default_device() is not default:  # torch.set_default_device("cuda") was called inside
            torch.set_default_device(default.device if default is not None else None)
        _end()
    if not _uses:
        _await_release()


def remembered_mode() -> CUDAMode:
    """A mode that a backward pass may be started under: torch remembers it until the pass is done with."""
    mode = CUDAMode()
    _remembered.add(mode)
    return mode


def _await_release() -> None:
    """Until none of torch's own threads holds a mode any more, `RELEASE_SECONDS` at most.

    They let go of the modes of a backward pass soon after it has ended, and take the GIL for that. If Python were being
    torn down by then, the process would end with "terminate called without an active exception".
    """
    end = time.monotonic() + RELEASE_SECONDS
    while len(_remembered) and time.monotonic() < end:
        time.sleep(0.001)


def _begin() -> Device:
    global _device, _uses
    with _lock:
        if _device is None:
            _device = _usable_npu()
            _uses = 1
            try:
                # Here and not above: it is read off torch.npu, which is there by now.
                from voxport.compat.replacements import replacements

                for owner, name, value in replacements():
                    # From vars: what a class inherits is to be inherited again, and no property is to be asked.
                    _undo.append((owner, name, vars(owner).get(name, _ABSENT)))
                    setattr(owner, name, value)
            except BaseException:
                _end()
                raise
        else:
            _uses += 1
        return _device


def _end() -> None:
    global _device, _uses
    with _lock:
        _uses -= 1
        if _uses:
            return
        _device = None
        while _undo:
            owner, name, value = _undo.pop()
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _usable_npu() -> Device:
    if not torch.cuda.is_available():
        return get_device("npu")
    if torch.version.cuda or torch.version.hip:
        raise DeviceError(
            "torch is a CUDA build and sees a GPU: code for CUDA runs on that as it is",
            hint="leave cuda_as_npu out; for an NPU install the CPU build of torch, which torch_npu needs",
        )
    raise DeviceError(
        "torch.cuda is redirected already, though this torch has no CUDA",
        hint="leave out torch_npu.contrib.transfer_to_npu (TORCH_TRANSFER_TO_NPU), or cuda_as_npu",
    )


def _default_device() -> Any:
    """What `torch.set_default_device` has set in this thread, as a mode of torch's, or None."""
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)


def translated(device: Any) -> Any:
    """The NPU of the same index for what names a CUDA device; anything else as it is."""
    if isinstance(device, str):
        return f"npu{device[4:]}" if device.startswith("cuda") and _CUDA.fullmatch(device) else device
    if isinstance(device, torch.device) and device.type == "cuda":
        return torch.device("npu" if device.index is None else f"npu:{device.index}")
    return device


class CUDAMode(TorchFunctionMode):
    """Rewrites devices in calls of torch's functions. Left behind in a thread, it does nothing any more."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        # Every call of torch's comes through here: no more than has to be.
        kwargs = kwargs or {}
        if _uses:
            special = _SPECIAL.get(func)
            if special is not None:
                return special(*args, **kwargs)
            for argument in args:
                if isinstance(argument, _NAMES):
                    args = tuple(map(translated, args))
                    break
            device = kwargs.get("device")
            if device is not None:
                kwargs = {**kwargs, "device": translated(device)}
        return func(*args, **kwargs)


def _cuda(tensor: torch.Tensor, device: Any = None, non_blocking: bool = False, **options: Any) -> torch.Tensor:
    """``tensor.cuda()``: to the current device, or to that of an index or name."""
    if device is None:
        device = "npu"
    elif isinstance(device, int):
        device = f"npu:{device}"
    return tensor.to(translated(device), non_blocking=non_blocking, **options)


def _type(tensor: torch.Tensor, dtype: Any = None, *args: Any, **options: Any) -> Any:
    """``tensor.type("torch.cuda.FloatTensor")``, or the class of that name."""
    from voxport.compat.replacements import tensor_type_dtype

    wanted = tensor_type_dtype(dtype)
    if wanted is not None:
        return tensor.to("npu", wanted)
    return tensor.type(*([] if dtype is None else [dtype]), *args, **options)


_SPECIAL: dict[Any, Any] = {
    torch.device: torch.device,
    torch.functional.einsum: torch.functional.einsum,  # "cuda" is an equation there
    torch.Tensor.cuda: _cuda,
    torch.Tensor.type: _type,
}
