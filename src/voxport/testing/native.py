"""The functions of the compiled simulator, as Python sees them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from voxport.errors import SetupError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ALLOCATED, PEAK, RESERVED, PEAK_RESERVED, LIMIT, ALLOCATIONS, FREES, REFUSALS = range(8)

_int, _long, _text = ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "start": (None, [_int, _long, _text]),
    "show": (None, [_int]),
    "current_device": (_int, []),
    "set_device": (None, [_int]),
    "memory": (_long, [_int, _int]),
    "set_limit": (None, [_int, _long]),
    "reset_peak": (None, [_int]),
    "empty_cache": (None, []),
    "synchronise": (None, []),
    "counters": (_long, [_text, _long]),
    "deny": (None, [_text]),
    "set_faults": (None, [_int, _int, _int, _int, _int, _long, _int]),
    "fault_hits": (_long, [_int]),
}

_loaded: Simulator | None = None


class Simulator:
    """The loaded library. One per process."""

    def __init__(self, path: Path) -> None:
        # Not CDLL: the functions are short, and letting other threads run costs more than they do.
        library = ctypes.PyDLL(str(path))
        self._functions: dict[str, Any] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, f"simulator_{name}")
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function

    def start(self, devices: int, memory: int, moving: frozenset[str]) -> None:
        self._functions["start"](devices, memory, "\n".join(moving).encode())

    def show(self, shown: bool) -> None:
        self._functions["show"](shown)

    def current_device(self) -> int:
        return int(self._functions["current_device"]())

    def set_device(self, device: int) -> None:
        self._functions["set_device"](device)

    def memory(self, device: int, what: int) -> int:
        return int(self._functions["memory"](device, what))

    def set_limit(self, device: int, size: int) -> None:
        self._functions["set_limit"](device, size)

    def reset_peak(self, device: int) -> None:
        self._functions["reset_peak"](device)

    def empty_cache(self) -> None:
        self._functions["empty_cache"]()

    def synchronise(self) -> None:
        self._functions["synchronise"]()

    def counters(self) -> dict[str, int]:
        """Counts since the start, by name."""
        size = 1 << 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            needed = self._functions["counters"](buffer, size)
            if needed < size:
                break
            size = 2 * needed
        pairs = (line.rsplit(" ", 1) for line in buffer.value.decode().splitlines())
        return {name: int(number) for name, number in pairs}

    def deny(self, names: list[str]) -> None:
        self._functions["deny"]("\n".join(names).encode())

    def set_faults(self, this_thread: bool, values: tuple[int, int, int, int, int, int]) -> None:
        self._functions["set_faults"](this_thread, *values)

    def fault_hits(self, fault: int) -> int:
        return int(self._functions["fault_hits"](fault))


def load(path: Path) -> Simulator:
    """Load the library into this process's torch.

    Raises:
        SetupError: it doesn't fit (code ``simulator_not_loadable``).
    """
    global _loaded
    try:
        _loaded = Simulator(path)
    except OSError as error:
        raise SetupError(
            f"the compiled simulator can't be loaded: {error}",
            hint=f"remove {path.parent}, so that it is compiled again",
            code="simulator_not_loadable",
        ) from error
    return _loaded


def simulator() -> Simulator:
    """The loaded one.

    Raises:
        UsageError: nothing is active.
    """
    if _loaded is None:
        raise UsageError("no device is simulated in this process", hint="call voxport.testing.activate() first")
    return _loaded
