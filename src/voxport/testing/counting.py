"""Counts of what was done on the simulated device."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voxport.testing.native import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIONS = ("host_to_device", "device_to_host", "device_to_device")


@dataclass
class Counts:
    """What was done on the device.

    Attributes:
        operations: operations that run a kernel, by name and overload ("aten::add.Tensor", "aten::copy_"). Views and
            allocations are none.
        synchronisations: how often the host waited: it read a value (``item``, ``tolist``, ``if x.any()``), copied to
            the host without ``non_blocking``, met a shape that depends on values (``nonzero``, a Boolean index), or
            called ``synchronize``.
        transfers: copies "host_to_device", "device_to_host", and "device_to_device" between two devices.
    """

    operations: Counter[str] = field(default_factory=Counter)
    synchronisations: int = 0
    transfers: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many operations in all."""
        return self.operations.total()

    def __getitem__(self, name: str) -> int:
        """How often "aten::add" in all its overloads, or one of them, "aten::add.Tensor"; "aten::" may be left out."""
        full = name if "::" in name else f"aten::{name}"
        if "." in full:
            return self.operations[full]
        return sum(count for key, count in self.operations.items() if key.partition(".")[0] == full)


_origin: dict[str, int] = {}


def read() -> Counts:
    return _difference(simulator().counters(), _origin)


def reset() -> None:
    _origin.clear()
    _origin.update(simulator().counters())


@contextmanager
def count() -> Iterator[Counts]:
    counts = Counts()
    before = simulator().counters()
    try:
        yield counts
    finally:
        found = _difference(simulator().counters(), before)
        counts.operations = found.operations
        counts.synchronisations = found.synchronisations
        counts.transfers = found.transfers


def _difference(after: dict[str, int], before: dict[str, int]) -> Counts:
    counts = Counts()
    for name, number in after.items():
        more = number - before.get(name, 0)
        if not more:
            continue
        if name in _DIRECTIONS:
            counts.transfers[name] = more
        elif name == "synchronisations":
            counts.synchronisations = more
        else:
            counts.operations[name] = more
    return counts
