"""The attributes that `voxport.compat.cuda_as_npu` replaces: ``torch.cuda``, and where no `TorchFunctionMode` is asked.

Code that is imported meanwhile may keep what it finds here (``from torch.cuda import synchronize``). So each of these
does what the original does once nothing is redirected any more.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import types
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._device import DeviceContext

from voxport.compat.redirection import CUDAMode, is_active, remembered_mode, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DTYPES = {
    "BoolTensor": torch.bool,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
    "ShortTensor": torch.int16,
    "IntTensor": torch.int32,
    "LongTensor": torch.int64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
}

_GRAPHS = ("CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables")
"""NPU graphs are not CUDA graphs under another name: what may be captured differs."""

_KEPT = ("has_half", "has_magma", "OutOfMemoryError", "AcceleratorError", "CudaError", "DeferredCudaCallError")


def replacements() -> Iterator[tuple[Any, str, Any]]:
    """Owner, name, new value. To be read off before the first is set."""
    found = [*_cuda_namespace(), *_nvtx(), *_autocast(), *_devices(), *_tensors(), *_process()]
    for owner, name, value in found:
        original = inspect.getattr_static(owner, name, None)
        if original is not None:
            yield owner, name, _while_active(value, original) if inspect.isfunction(value) else value


def _while_active(replacement: Callable[..., Any], original: Any) -> Callable[..., Any]:
    def either(*args: Any, **kwargs: Any) -> Any:
        return (replacement if is_active() else original)(*args, **kwargs)

    if callable(original):
        functools.update_wrapper(either, original)
    return either


def _translating(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with the devices among its arguments translated."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*map(translated, args), **{name: translated(value) for name, value in kwargs.items()})

    return call


# -------------------------------------------------------------------------------------------------------- torch.cuda


def _cuda_namespace() -> Iterator[tuple[Any, str, Any]]:
    """All public names of torch.cuda, there and in the submodules where they are defined."""
    cuda: Any = torch.cuda
    npu: Any = torch.npu  # type: ignore[attr-defined]
    modules = [cuda, *(vars(cuda)[name] for name in ("memory", "random", "streams", "graphs") if name in vars(cuda))]
    for name in cuda.__all__:
        original = vars(cuda).get(name)
        if isinstance(original, types.ModuleType) or name in (*_KEPT, *_DTYPES) or name.endswith("Storage"):
            continue
        value = _counterpart(name, original, npu)
        for module in modules:
            if module is cuda or (original is not None and vars(module).get(name) is original):
                yield module, name, value
    for name in _DTYPES:
        yield cuda, name, _TensorType(name, (), {})
    # Called by torch before anything touches CUDA: a device that was reached in a way that nothing here covers.
    yield cuda, "_lazy_init", _unreached
    scaler = getattr(getattr(npu, "amp", None), "GradScaler", None)
    if scaler is not None:  # torch_npu's reads the overflow flag of chips that saturate
        yield cuda.amp, "GradScaler", _alias(cuda.amp.GradScaler, scaler)


def _counterpart(name: str, original: Any, npu: Any) -> Any:
    own = _OWN.get(name)
    if own is not None:
        return own
    found = None if name in _GRAPHS else getattr(npu, name, None)
    if isinstance(found, type):
        return _alias(original, found)
    if callable(found):
        return _translating(found)
    if found is not None:
        return found
    return _missing(name, original)


def _missing(name: str, original: Any) -> Any:
    """Raises when it is called; a class stays a class, for ``isinstance``."""

    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError(f"cuda_as_npu has nothing for torch.cuda.{name}")

    if isinstance(original, type):
        return _alias(original, type(original.__name__, (), {"__init__": refuse}))
    return refuse


def _unreached() -> None:
    raise NotImplementedError(
        "a CUDA device was used where cuda_as_npu does not reach: in a thread that ran before it began, in a compiled "
        "or scripted function, or in a function of torch.cuda that has no counterpart"
    )


class _Alias(type):
    """Metaclass of a class that stands for one of torch.npu's: makes its objects, and takes them for its own."""

    original: Any
    counterpart: Any

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        real = tuple(base._meant() if isinstance(base, _Alias) else base for base in bases)
        if real != bases:  # somebody derives from an alias
            return types.new_class(name, real, exec_body=lambda made: made.update(namespace))
        return super().__new__(mcs, name, bases, namespace)

    def _meant(cls) -> Any:
        return cls.counterpart if is_active() else cls.original

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return (_translating(cls.counterpart) if is_active() else cls.original)(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls._meant())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._meant())

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._meant(), name)


def _alias(original: Any, counterpart: Any) -> Any:
    return _Alias(counterpart.__name__, (), {"original": original, "counterpart": counterpart})


class _TensorType(type):
    """``torch.cuda.FloatTensor`` and its like: names from before tensors had a dtype and a device."""

    def __call__(cls, *args: Any, **kwargs: Any) -> torch.Tensor:
        made: torch.Tensor = getattr(torch, cls.__name__)(*args, **kwargs)
        return made.to("npu")

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, torch.Tensor)
            and instance.device.type == "npu"
            and instance.dtype == _DTYPES[cls.__name__]
        )


def tensor_type_dtype(wanted: Any) -> torch.dtype | None:
    """The dtype of ``torch.cuda.FloatTensor`` or "torch.cuda.FloatTensor"; None for anything else."""
    if isinstance(wanted, _TensorType):
        return _DTYPES[wanted.__name__]
    if isinstance(wanted, str) and wanted.startswith("torch.cuda."):
        return _DTYPES.get(wanted.rpartition(".")[2])
    return None


def _get_device_capability(device: Any = None) -> tuple[int, int]:
    """NPUs have no such number. Scripts ask it for bfloat16: the lowest of a GPU that can do as much."""
    return (8, 0) if _is_bf16_supported() else (7, 0)


def _is_bf16_supported(including_emulation: bool = True) -> bool:
    npu: Any = torch.npu  # type: ignore[attr-defined]
    return bool(npu.is_bf16_supported())


class _Properties:
    """What torch.npu knows of a device, and the numbers that CUDA's properties have beside it."""

    def __init__(self, properties: Any) -> None:
        self._properties = properties
        self.major, self.minor = _get_device_capability()

    def __getattr__(self, name: str) -> Any:
        if name == "multi_processor_count":  # 1 where torch_npu doesn't tell
            return getattr(self._properties, "cube_core_num", 1)
        return getattr(self._properties, name)

    def __repr__(self) -> str:
        return repr(self._properties)


def _get_device_properties(device: Any = None) -> _Properties:
    npu: Any = torch.npu  # type: ignore[attr-defined]
    return _Properties(npu.get_device_properties(translated(device)))


def _answering(value: Any) -> Callable[..., Any]:
    def answer(*_: Any, **__: Any) -> Any:
        return value

    return answer


_OWN: dict[str, Any] = {
    "get_arch_list": _answering([]),
    "get_device_capability": _get_device_capability,
    "get_device_properties": _get_device_properties,
    "get_gencode_flags": _answering(""),
    "init": _answering(None),
    "ipc_collect": _answering(None),
    "is_bf16_supported": _is_bf16_supported,
    "is_current_stream_capturing": _answering(False),
    "is_initialized": _answering(True),
    "is_tf32_supported": _answering(False),
}


def _nvtx() -> Iterator[tuple[Any, str, Any]]:
    """Marks for Nvidia's profiler: nothing."""
    nvtx = torch.cuda.nvtx
    for name, answer in (("range_push", 0), ("range_pop", 0), ("range_start", 0), ("range_end", None), ("mark", None)):
        yield nvtx, name, _answering(answer)
    yield nvtx, "range", _no_range


@contextlib.contextmanager
def _no_range(msg: str, *_: Any, **__: Any) -> Iterator[None]:
    yield


# ---------------------------------------------------------------------------------------------------------- autocast


def _autocast() -> Iterator[tuple[Any, str, Any]]:
    """Whose device type is a string that no mode is shown."""
    mode: Any = torch.amp.autocast_mode
    yield mode.autocast, "__init__", _translating(mode.autocast.__init__)
    yield torch.amp.GradScaler, "__init__", _scaler(torch.amp.GradScaler.__init__)
    for module in (torch.amp, mode):
        for name in ("custom_fwd", "custom_bwd", "is_autocast_available"):
            yield module, name, _translating(getattr(mode, name))
    for name in ("is_autocast_enabled", "set_autocast_enabled", "get_autocast_dtype", "set_autocast_dtype"):
        yield torch, name, _about_npu(getattr(torch, name))
    yield torch, "get_autocast_gpu_dtype", lambda: torch.get_autocast_dtype("npu")
    yield torch, "set_autocast_gpu_dtype", lambda dtype: torch.set_autocast_dtype("npu", dtype)


def _about_npu(function: Callable[..., Any]) -> Callable[..., Any]:
    """``is_autocast_enabled()`` and ``set_autocast_enabled(True)`` without a type of device are about CUDA."""

    def call(*args: Any, **kwargs: Any) -> Any:
        named = any(isinstance(argument, str) for argument in (*args, *kwargs.values()))
        return _translating(function)(*(() if named else ("npu",)), *args, **kwargs)

    return call


def _scaler(make: Callable[..., None]) -> Callable[..., None]:
    """``torch.amp.GradScaler()`` is for CUDA."""

    def init(self: Any, device: Any = "cuda", *args: Any, **kwargs: Any) -> None:
        make(self, translated(device), *args, **kwargs)

    return init


# ---------------------------------------------------------------------------------------- devices, tensors, the rest


def _devices() -> Iterator[tuple[Any, str, Any]]:
    for name in ("Generator", "Stream", "Event"):
        original = getattr(torch, name)
        yield torch, name, _alias(original, original)
    context: Any = DeviceContext
    yield context, "__init__", _translating(context.__init__)  # torch.set_default_device, with torch.device("cuda"):
    yield torch, "set_default_tensor_type", _set_default_tensor_type(torch.set_default_tensor_type)
    yield torch.nn.DataParallel, "__init__", _no_data_parallel


def _no_data_parallel(*_: Any, **__: Any) -> None:
    raise NotImplementedError(
        "cuda_as_npu has no DataParallel, whose copying between devices is CUDA's own; "
        "scripts leave it out where they see one device only: ASCEND_RT_VISIBLE_DEVICES=0"
    )


def _set_default_tensor_type(original: Callable[..., None]) -> Callable[..., None]:
    def set_default(wanted: Any, /) -> None:
        dtype = tensor_type_dtype(wanted)
        if dtype is None:
            original(wanted)
        else:
            torch.set_default_dtype(dtype)
            torch.set_default_device("npu")

    return set_default


def _tensors() -> Iterator[tuple[Any, str, Any]]:
    for owner in (torch.Tensor, torch.UntypedStorage, torch.TypedStorage):
        yield owner, "is_cuda", property(lambda self: self.device.type == "npu")
    # is_cuda is true, but there is no memory of CUDA's to hand out.
    yield torch.Tensor, "__cuda_array_interface__", property(_no_cuda_memory)
    base: Any = torch.storage._StorageBase
    yield base, "to", _storage_to(base.to)
    yield torch.serialization, "default_restore_location", _translating(torch.serialization.default_restore_location)


def _no_cuda_memory(tensor: torch.Tensor) -> None:
    raise AttributeError(f"a tensor on {tensor.device} has no __cuda_array_interface__")


def _storage_to(original: Callable[..., Any]) -> Callable[..., Any]:
    """Also ``storage.cuda()``, as in ``map_location=lambda storage, _: storage.cuda()``. It wants an index."""

    def to(self: Any, *, device: Any, non_blocking: bool = False) -> Any:
        wanted = translated(device)
        if str(wanted) == "npu":
            wanted = f"npu:{torch.cuda.current_device()}"
        return original(self, device=wanted, non_blocking=non_blocking)

    return to


def _process() -> Iterator[tuple[Any, str, Any]]:
    yield threading.Thread, "start", _starting_covered(threading.Thread.start)
    # tensor.backward() is itself a function that modes are asked for, and inside it they are off: on again for the
    # Python in it (hooks, torch.autograd.Function). torch hands them on to the threads of its engine.
    profile: Any = torch.autograd.profiler.profile
    yield profile, "__init__", _without_cuda_times(profile.__init__)
    autograd: Any = torch.autograd
    yield autograd, "_engine_run_backward", _covered(autograd._engine_run_backward)


def _without_cuda_times(make: Callable[..., None]) -> Callable[..., None]:
    """As torch does where there is no CUDA. torch.profiler.profile comes through here too."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("use_device") == "cuda" or kwargs.get("use_cuda"):
            warnings.warn("cuda_as_npu records no times of the NPU: torch_npu.profiler does", stacklevel=2)
            # use_cuda is gone from torch 2.15 on.
            kwargs = {**kwargs, "use_device": None} | ({"use_cuda": False} if "use_cuda" in kwargs else {})
        make(self, *args, **kwargs)

    return init


def _covered(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with remembered_mode():
            return function(*args, **kwargs)

    return call


def _starting_covered(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start_covered(thread: threading.Thread) -> None:
        run = thread.run

        def covered() -> None:
            vars(thread).pop("run", None)
            with CUDAMode():
                run()

        vars(thread)["run"] = covered
        start(thread)

    return start_covered
