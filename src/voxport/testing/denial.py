"""Operations that the simulated device lacks for a while."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxport.errors import UsageError
from voxport.testing.native import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_denied: Counter[str] = Counter()

_NEVER_LACKING = frozenset(
    {"empty", "empty_strided", "as_strided", "view", "_reshape_alias", "unfold", "set_", "resize_"}
)
"""Without these there is no device."""

_ALIASES = {"aten::convolution_overrideable": "aten::convolution", "aten::_copy_from": "aten::copy_"}


@contextmanager
def deny(*operations: str) -> Iterator[None]:
    names = [_known(name) for name in operations]
    _change(names, 1)
    try:
        yield
    finally:
        _change(names, -1)


def _change(names: list[str], by: int) -> None:
    with _lock:
        for name in names:
            _denied[name] += by
        simulator().deny(sorted(name for name, count in _denied.items() if count > 0))


def _known(name: str) -> str:
    """The full name of an operation that reaches devices."""
    import torch

    full = name if "::" in name else f"aten::{name}"
    full = _ALIASES.get(full, full)
    space, _, rest = full.partition("::")
    base, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, space), base, None)
    if packet is None or (overload and overload not in packet.overloads()):
        raise UsageError(f"torch has no operation {name!r}", hint="e.g. 'aten::gelu' or 'aten::add.Tensor'")
    overloads = [overload] if overload else packet.overloads()
    qualified = [f"{space}::{base}" if one == "default" else f"{space}::{base}.{one}" for one in overloads]
    if base in _NEVER_LACKING:
        raise UsageError(f"{name!r} can't be lacking: every device has it")
    if full not in _ALIASES.values() and not any(
        torch._C._dispatch_has_kernel_for_dispatch_key(one, "PrivateUse1")
        or not torch._C._dispatch_has_computed_kernel_for_dispatch_key(one, "PrivateUse1")
        for one in qualified
    ):
        raise UsageError(
            f"{name!r} never reaches a device: torch makes it of other operations",
            hint="voxport.testing.count_operations() shows of which",
        )
    return f"{space}::{base}" if overload == "default" else full
