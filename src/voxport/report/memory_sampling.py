"""Memory over time: a thread that looks at the process and at the candidate's device while everything is measured.

It looks ten times a second at first, some 0.1 ms each; with every `MOST` points half as often.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from voxport.bench.memory import resident_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.devices import Device

__all__ = ["MOST", "MemorySampler", "thinned"]

MOST = 500
"""Points that are kept."""

SECONDS = 0.1
"""Between two looks at first."""

Point = tuple[float, int | None, int | None, int | None]
"""Seconds; bytes of the host, allocated on the device, reserved there."""


class MemorySampler:
    """Looks at memory while this context lasts; what goes wrong in it ends it and is told, and nothing else.

    Args:
        find: gives the candidate's device; called in the first phase "load ...": nothing may be started before that.
        clock: seconds, monotonic.
        host: bytes of the process.
        interval: seconds between two looks at first.
    """

    def __init__(
        self,
        find: Callable[[], Device],
        *,
        clock: Callable[[], float] = time.perf_counter,
        host: Callable[[], int | None] = resident_memory,
        interval: float = SECONDS,
    ) -> None:
        self._find, self._clock, self._host, self._interval = find, clock, host, interval
        self._device: Device | None = None
        self._points: list[Point] = []
        self._phases: list[tuple[float, str]] = []
        self._loading = False
        self._problem: str | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began = clock()
        self._thread = threading.Thread(target=self._run, name="voxport memory", daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def enter(self, phase: str) -> None:
        """What is measured from now on."""
        self._loading = self._loading or phase.startswith("load")
        self._phases.append((self._clock() - self._began, phase))
        self.look()

    def look(self) -> None:
        """Take a point."""
        with self._lock:
            if self._problem is not None:
                return
            try:
                if self._loading and self._device is None:
                    self._device = self._find()
                held = None if self._device is None else self._device.held_memory()
                host = self._host()
            except Exception as error:  # noqa: BLE001  a driver's may be of any kind; a measurement is worth more
                self._problem = f"{type(error).__name__}: {error}"
                return
            allocated, reserved = held or (None, None)
            self._points.append((self._clock() - self._began, host, allocated, reserved))
            if len(self._points) > MOST:
                self._points = thinned(self._points)
                self._interval *= 2

    def to_dict(self) -> dict[str, Any]:
        """``device``; ``phases`` (``start`` in seconds, ``name``); ``points``: ``seconds``, ``host``, ``allocated``,
        ``reserved``, each a list, bytes or null; ``problem``: why it ended early, or null."""
        names = ("seconds", "host", "allocated", "reserved")
        columns = zip(*self._points, strict=True) if self._points else ((),) * len(names)
        return {
            "device": None if self._device is None else str(self._device),
            "phases": [{"start": round(start, 4), "name": name} for start, name in self._phases],
            "points": {
                name: [round(value, 4) if isinstance(value, float) else value for value in column]
                for name, column in zip(names, columns, strict=True)
            },
            "problem": self._problem,
        }

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            self.look()


def thinned(points: list[Point]) -> list[Point]:
    """Half as many: each of two at the later one's time, with the larger of each number, so that no peak is lost."""
    found = []
    for index in range(0, len(points), 2):
        seconds, host, allocated, reserved = zip(*points[index : index + 2], strict=True)
        found.append((seconds[-1], _largest(host), _largest(allocated), _largest(reserved)))
    return found


def _largest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
