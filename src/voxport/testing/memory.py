"""Limits of the simulated devices' memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxport.testing.native import LIMIT, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def limit(size: int, device: int | None = None) -> Iterator[None]:
    from voxport.testing import npu_api

    devices = npu_api.indices() if device is None else [npu_api.index_of(device)]
    before = {index: simulator().memory(index, LIMIT) for index in devices}
    try:
        for index in devices:
            simulator().set_limit(index, size)
        yield
    finally:
        for index, size in before.items():
            simulator().set_limit(index, size)
