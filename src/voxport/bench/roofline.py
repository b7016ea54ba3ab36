"""What the device can do at best, measured there and then: products of matrices, and reading memory."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from voxport.devices.host import import_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.devices import Device

__all__ = ["Ceilings", "measure_ceilings"]

SMALLEST_MATRIX, LARGEST_MATRIX = 256, 8192
MATRIX_SECONDS = 0.01
"""The matrices are doubled until their product takes so long."""
HOST_BYTES, SMALLEST_BYTES, LARGEST_BYTES = 256 << 20, 64 << 20, 1 << 30
"""Read at once: on the host more than its caches hold."""
READ_SECONDS = 0.005
REPEATS = 5


@dataclass(frozen=True)
class Ceilings:
    """The best of several tries, so that a disturbance doesn't lower them.

    Attributes:
        flops: operations a second in a product of square matrices in the model's dtype.
        matrix: their side.
        bytes_per_second: of reading float32 numbers once, by whatever reads them fastest.
        read_bytes: how many were read.
    """

    flops: float
    matrix: int
    bytes_per_second: float
    read_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_ceilings(
    device: Device, dtype: str, *, clock: Callable[[], float] = time.perf_counter, repeats: int = REPEATS
) -> Ceilings:
    """Measure a device; call it inside `Subject.running`, so that threads are the side's."""
    with import_torch().inference_mode():
        flops, matrix = _matrix_ceiling(device, dtype, clock, repeats)
        speed, count = _reading_ceiling(device, clock, repeats)
    return Ceilings(flops, matrix, speed, count)


def _matrix_ceiling(device: Device, dtype: str, clock: Callable[[], float], repeats: int) -> tuple[float, int]:
    torch = import_torch()
    size = SMALLEST_MATRIX
    while True:
        a, b, out = (torch.ones(size, size, dtype=getattr(torch, dtype), device=device.torch_device) for _ in range(3))
        product = partial(torch.mm, a, b, out=out)
        product()
        taken = _best(product, device, clock, 1)
        if taken >= MATRIX_SECONDS or size == LARGEST_MATRIX:
            best = min(taken, _best(product, device, clock, repeats))
            return 2 * size**3 / best, size
        size *= 2


def _reading_ceiling(device: Device, clock: Callable[[], float], repeats: int) -> tuple[float, int]:
    torch = import_torch()
    free_and_total = device.memory()
    limit = LARGEST_BYTES if free_and_total is None else min(LARGEST_BYTES, free_and_total[0] // 4)
    count = HOST_BYTES if free_and_total is None else min(SMALLEST_BYTES, limit)
    while True:
        numbers = torch.ones(count // 4, device=device.torch_device)
        rows = numbers[: count // 4 // 4096 * 4096].view(-1, 4096)
        ones = torch.ones(4096, device=device.torch_device)
        ways = (numbers.sum, partial(torch.mv, rows, ones))
        for way in ways:
            way()
        taken = min(_best(way, device, clock, 1) for way in ways)
        if taken >= READ_SECONDS or 2 * count > limit:
            best = min([taken, *(_best(way, device, clock, repeats) for way in ways)])
            return 4 * (count // 4) / best, count
        count *= 2


def _best(work: Callable[[], Any], device: Device, clock: Callable[[], float], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        device.synchronize()
        began = clock()
        work()
        device.synchronize()
        taken.append(clock() - began)
    return max(min(taken), 1e-9)
