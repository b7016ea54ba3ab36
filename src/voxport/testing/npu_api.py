"""What `torch.npu` is while the device is simulated: this module itself.

The part of torch_npu's interface that voxport, transformers and accelerate use, and what portable code is likely to.
Devices are given as None (the current one), an index, "npu:1" or torch.device.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from voxport.testing.native import (
    ALLOCATED,
    ALLOCATIONS,
    FREES,
    LIMIT,
    PEAK,
    PEAK_RESERVED,
    REFUSALS,
    RESERVED,
    simulator,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

DeviceLike = int | str | torch.device | None

_WITHOUT_BFLOAT16 = re.compile(r"Ascend(310|910(A|Pro|B?$))")

_devices = 0
_shown = True
_chip = ""
_switched: Callable[[], None] | None = None


def start(devices: int, chip: str, switched: Callable[[], None]) -> None:
    """Called once, by `voxport.testing.activate`; `switched` is to be called when a switch of precision is changed."""
    global _devices, _chip, _switched
    _devices, _chip, _switched = devices, chip, switched


def show(shown: bool) -> None:
    """Whether the devices are to be seen; called by `activate` and `deactivate`."""
    global _shown
    _shown = shown
    simulator().show(shown)


def index_of(device: DeviceLike = None) -> int:
    """The index of a device; the current one's for None and for "npu"."""
    if device is None:
        return current_device()
    if isinstance(device, int):
        index: int | None = device
    else:
        found = torch.device(device)
        if found.type != "npu":
            raise ValueError(f"Expected a npu device, but got: {found}")
        index = found.index
    if index is None:
        return current_device()
    if not 0 <= index < _devices:
        raise RuntimeError(f"Invalid NPU device ID {index}: there are {_devices} simulated devices, starting at 0")
    return index


def indices() -> range:
    """Of all devices, also while they are hidden."""
    return range(_devices)


# ----------------------------------------------------------------------------------------------------------- devices


def is_available() -> bool:
    return device_count() > 0


def is_initialized() -> bool:
    return True


def init() -> None:
    pass


def _lazy_init() -> None:
    pass


def _is_in_bad_fork() -> bool:
    return False


def device_count() -> int:
    return _devices if _shown else 0


def current_device() -> int:
    return simulator().current_device()


def set_device(device: DeviceLike) -> None:
    simulator().set_device(index_of(device))


class device:  # noqa: N801 - torch_npu's name
    """Makes a device the current one inside a ``with``."""

    def __init__(self, device: DeviceLike) -> None:
        self.idx = index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> Self:
        self.prev_idx = current_device()
        set_device(self.idx)
        return self

    def __exit__(self, *_: object) -> None:
        set_device(self.prev_idx)


class device_of(device):  # noqa: N801 - torch_npu's name
    """Makes a tensor's device the current one inside a ``with``."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(tensor.device if tensor.device.type == "npu" else None)


def _exchange_device(index: int) -> int:
    before = current_device()
    if index >= 0:
        set_device(index)
    return before


_maybe_exchange_device = _exchange_device


def synchronize(device: DeviceLike = None) -> None:
    index_of(device)
    simulator().synchronise()


def get_device_name(device: DeviceLike = None) -> str:
    index_of(device)
    return f"{_chip} (simulated)"


@dataclass(frozen=True)
class DeviceProperties:
    """A device's name and memory in bytes."""

    name: str
    total_memory: int


def get_device_properties(device: DeviceLike = None) -> DeviceProperties:
    return DeviceProperties(get_device_name(device), simulator().memory(index_of(device), LIMIT))


def get_device_capability(device: DeviceLike = None) -> None:
    """None, as in torch_npu: NPUs have no such number."""
    index_of(device)


def can_device_access_peer(device: DeviceLike, peer: DeviceLike) -> bool:
    return index_of(device) != index_of(peer)


def utilization(device: DeviceLike = None) -> int:
    """0 per cent: nothing is measured here."""
    index_of(device)
    return 0


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False for chips before Atlas A2."""
    return _WITHOUT_BFLOAT16.match(_chip) is None


# ---------------------------------------------------------------------------------------------- streams and events


class _Kind(type):
    """Of classes whose instances are torch's own: torch refuses those of subclasses in places."""

    def __instancecheck__(cls, instance: object) -> bool:
        own: type[torch.Stream | torch.Event] = getattr(torch, cls.__name__)
        return isinstance(instance, own) and instance.device.type == "npu"


class Stream(metaclass=_Kind):
    """A label: work is done when it is asked for."""

    def __new__(cls, device: DeviceLike = None, priority: int = 0, **_: Any) -> torch.Stream:  # type: ignore[misc]
        return torch.Stream(device=torch.device("npu", index_of(device)), priority=priority)


class Event(metaclass=_Kind):
    """A moment of the host's clock. The time between two is the simulation's: no NPU's."""

    def __new__(  # type: ignore[misc]
        cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, **_: Any
    ) -> torch.Event:
        return torch.Event(device="npu", enable_timing=enable_timing, blocking=blocking)


def current_stream(device: DeviceLike = None) -> torch.Stream:
    return torch.accelerator.current_stream(index_of(device))


def default_stream(device: DeviceLike = None) -> torch.Stream:
    return torch.Stream(stream_id=0, device_index=index_of(device), device_type=_device_type())


def set_stream(stream: torch.Stream) -> None:
    torch.accelerator.set_stream(stream)


@contextmanager
def stream(stream: torch.Stream | None) -> Iterator[None]:
    """Makes a stream the current one inside a ``with``."""
    if stream is None:
        yield
        return
    with device(stream.device):
        before = current_stream()
        set_stream(stream)
        try:
            yield
        finally:
            set_stream(before)


def is_current_stream_capturing() -> bool:
    return False


def _device_type() -> int:
    return int(torch.Stream(device="npu").device_type)


# ------------------------------------------------------------------------------------------------------------ memory


def mem_get_info(device: DeviceLike = None) -> tuple[int, int]:
    """Free and total bytes."""
    index = index_of(device)
    total = simulator().memory(index, LIMIT)
    return max(0, total - simulator().memory(index, RESERVED)), total


def memory_allocated(device: DeviceLike = None) -> int:
    return simulator().memory(index_of(device), ALLOCATED)


def max_memory_allocated(device: DeviceLike = None) -> int:
    return simulator().memory(index_of(device), PEAK)


def memory_reserved(device: DeviceLike = None) -> int:
    return simulator().memory(index_of(device), RESERVED)


def max_memory_reserved(device: DeviceLike = None) -> int:
    return simulator().memory(index_of(device), PEAK_RESERVED)


memory_cached = memory_reserved
max_memory_cached = max_memory_reserved


def reset_peak_memory_stats(device: DeviceLike = None) -> None:
    simulator().reset_peak(index_of(device))


reset_max_memory_allocated = reset_peak_memory_stats
reset_max_memory_cached = reset_peak_memory_stats


def reset_accumulated_memory_stats(device: DeviceLike = None) -> None:
    torch.accelerator.reset_accumulated_memory_stats(index_of(device))


def memory_stats(device: DeviceLike = None) -> dict[str, int]:
    index = index_of(device)
    read = simulator().memory
    allocations, frees = read(index, ALLOCATIONS), read(index, FREES)
    return {
        "allocated_bytes.all.current": read(index, ALLOCATED),
        "allocated_bytes.all.peak": read(index, PEAK),
        "active_bytes.all.current": read(index, ALLOCATED),
        "active_bytes.all.peak": read(index, PEAK),
        "reserved_bytes.all.current": read(index, RESERVED),
        "reserved_bytes.all.peak": read(index, PEAK_RESERVED),
        "allocation.all.current": allocations - frees,
        "allocation.all.allocated": allocations,
        "allocation.all.freed": frees,
        "num_ooms": read(index, REFUSALS),
        "num_alloc_retries": 0,
    }


def memory_summary(device: DeviceLike = None, abbreviated: bool = False) -> str:
    lines = [f"{name:32} {number:>16}" for name, number in memory_stats(device).items()]
    return "\n".join([f"{get_device_name(device)}, npu:{index_of(device)}", *lines])


def empty_cache() -> None:
    simulator().empty_cache()


def set_per_process_memory_fraction(fraction: float, device: DeviceLike = None) -> None:
    """Leaves this part of the memory that the device has now."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    index = index_of(device)
    simulator().set_limit(index, int(simulator().memory(index, LIMIT) * fraction))


def ipc_collect() -> None:
    pass


# ---------------------------------------------------------------------------------------------------- random numbers


def manual_seed(seed: int) -> None:
    _seed(seed, current_device())


def manual_seed_all(seed: int) -> None:
    for index in range(_devices):
        _seed(seed, index)


def seed() -> None:
    manual_seed(torch.Generator().seed())


def seed_all() -> None:
    manual_seed_all(torch.Generator().seed())


def get_rng_state(device: DeviceLike = "npu") -> torch.Tensor:
    state: torch.Tensor = torch.ops.voxport_simulator.get_generator_state(index_of(device))
    return state


def set_rng_state(new_state: torch.Tensor, device: DeviceLike = "npu") -> None:
    torch.ops.voxport_simulator.set_generator_state(new_state, index_of(device))


def get_rng_state_all() -> list[torch.Tensor]:
    return [get_rng_state(index) for index in range(_devices)]


def set_rng_state_all(new_states: list[torch.Tensor]) -> None:
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


def initial_seed() -> int:
    generator = torch.Generator()
    generator.set_state(get_rng_state())
    return generator.initial_seed()


def _seed(seed: int, index: int) -> None:
    # As a signed number of 64 bits: that is what operators take.
    unsigned = int(seed) % (1 << 64)
    torch.ops.voxport_simulator.seed_generator(unsigned - (1 << 64 if unsigned >= 1 << 63 else 0), index)


# ---------------------------------------------------------------------------------------------------------- switches


class _Switches(SimpleNamespace):
    """Options by name. One that torch_npu doesn't have is an error, as a misspelt one is otherwise never noticed."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"torch.npu has no option {name!r} here; there are: {', '.join(self.__dict__)}")
        super().__setattr__(name, value)
        if _switched is not None:
            _switched()


config = _Switches(allow_internal_format=False)
conv = _Switches(allow_hf32=True)
matmul = _Switches(allow_hf32=False, allow_bf16_reduced_precision_reduction=True)
_state = _Switches(jit_compile=False, compatible_impl=False)


def set_compile_mode(jit_compile: bool = False) -> None:
    _state.jit_compile = bool(jit_compile)


def is_jit_compile_false() -> bool:
    return not _state.jit_compile


def use_compatible_impl(is_enable: bool = False) -> None:
    """Exact GELU, among others. Changes results here only together with the fault "gelu_tanh"."""
    _state.compatible_impl = bool(is_enable)


def are_compatible_impl_enabled() -> bool:
    return bool(_state.compatible_impl)


# --------------------------------------------------------------------------------------------------- mixed precision


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16] if is_bf16_supported() else [torch.float16]


def get_autocast_dtype() -> torch.dtype:
    return torch.get_autocast_dtype("npu")


def is_autocast_enabled() -> bool:
    return torch.is_autocast_enabled("npu")


class _Autocast(torch.autocast):
    def __init__(
        self, enabled: bool = True, dtype: torch.dtype = torch.float16, cache_enabled: bool | None = None
    ) -> None:
        super().__init__("npu", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


amp = SimpleNamespace(autocast=_Autocast, get_amp_supported_dtype=get_amp_supported_dtype)
random = SimpleNamespace(
    get_rng_state=get_rng_state,
    get_rng_state_all=get_rng_state_all,
    set_rng_state=set_rng_state,
    set_rng_state_all=set_rng_state_all,
    manual_seed=manual_seed,
    manual_seed_all=manual_seed_all,
    seed=seed,
    seed_all=seed_all,
    initial_seed=initial_seed,
)
memory = SimpleNamespace(
    mem_get_info=mem_get_info,
    memory_allocated=memory_allocated,
    max_memory_allocated=max_memory_allocated,
    memory_reserved=memory_reserved,
    max_memory_reserved=max_memory_reserved,
    memory_stats=memory_stats,
    memory_summary=memory_summary,
    reset_peak_memory_stats=reset_peak_memory_stats,
    empty_cache=empty_cache,
)
