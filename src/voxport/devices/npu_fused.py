"""torch_npu's fused operations for a decoder's steps, each used only after it has computed the right thing here.

Dispatching operations is what bounds decoding on an NPU, so a residual addition with the norm behind it, or a whole
feed-forward block, are worth one operation instead of three. Fused kernels have been wrong on some chips and versions,
and nobody has run these for voxport, so every one of them is compared with the same in float64 on the host first.

After torch_npu's documentation of npu_add_layer_norm and npu_ffn.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from voxport.devices.fused import FusedOperations
from voxport.devices.host import import_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

log = logging.getLogger(__name__)

TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 4e-2}
"""Largest relative L2 error that is taken for rounding. GELU's tanh form is within it."""

_ROWS = (1, 3, 8)
_WIDTH, _INNER = 384, 1536


def find_fused(torch_device: torch.device, dtype: str) -> FusedOperations:
    """The operations that are here and right, for a model in `dtype`."""
    torch_npu = sys.modules.get("torch_npu")
    refused = []
    found: dict[str, Any] = {}
    checks: list[tuple[str, str, Callable[..., Any], Callable[[Any, torch.device, torch.dtype], float]]] = [
        ("add_norm", "npu_add_layer_norm", add_norm, _check_add_norm)
    ]
    if dtype != "float32":  # npu_ffn has none
        checks.append(("feed_forward", "npu_ffn", feed_forward, _check_feed_forward))
    for name, theirs, ours, check in checks:
        if getattr(torch_npu, theirs, None) is None:
            continue
        try:
            error = check(ours, torch_device, getattr(import_torch(), dtype))
        except (RuntimeError, TypeError, ValueError) as failure:
            reason = (str(failure).splitlines() or [type(failure).__name__])[0][:200]
        else:
            if error <= TOLERANCE[dtype]:
                found[name] = ours
                continue
            reason = f"it is wrong here: relative error {error:.2g}"
        refused.append((name, reason))
        log.warning("%s of torch_npu is not used: %s", theirs, reason)
    return FusedOperations(**found, refused=tuple(refused))


def add_norm(a: Tensor, b: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As `FusedOperations.add_norm`."""
    normed, _, _, total = sys.modules["torch_npu"].npu_add_layer_norm(
        a, b, weight, bias, epsilon=eps, additional_output=True
    )
    return normed, total


def feed_forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """As `FusedOperations.feed_forward`."""
    out: Tensor = sys.modules["torch_npu"].npu_ffn(x, w1, w2, "gelu", bias1=b1, bias2=b2)
    return out


def _check_add_norm(operation: Any, device: torch.device, dtype: torch.dtype) -> float:
    torch = import_torch()
    worst = 0.0
    for rows in _ROWS:
        a, b, weight, bias = _numbers((rows, 1, _WIDTH), (rows, 1, _WIDTH), (_WIDTH,), (_WIDTH,), dtype=dtype)
        # Every other time what is added is one row for all, as positions are, and its rows have no memory of their own.
        b = b[:1].expand_as(a) if rows % 2 else b
        found = operation(
            a.to(device),
            b[:1].to(device).expand_as(a) if rows % 2 else b.to(device),
            *(x.to(device) for x in (weight, bias)),
            1e-5,
        )
        total = a.double() + b.double()
        expected = torch.nn.functional.layer_norm(total, (_WIDTH,), weight.double(), bias.double(), 1e-5)
        worst = max(worst, _error(found[0], expected), _error(found[1], total))
    return worst


def _check_feed_forward(operation: Any, device: torch.device, dtype: torch.dtype) -> float:
    torch = import_torch()
    worst = 0.0
    for rows in _ROWS:
        x, w1, b1, w2, b2 = _numbers(
            (rows, 1, _WIDTH), (_WIDTH, _INNER), (_INNER,), (_INNER, _WIDTH), (_WIDTH,), dtype=dtype
        )
        w1, w2 = w1 * _WIDTH**-0.5, w2 * _INNER**-0.5
        found = operation(*(value.to(device) for value in (x, w1, b1, w2, b2)))
        inner = torch.nn.functional.gelu(x.double() @ w1.double() + b1.double())
        worst = max(worst, _error(found, inner @ w2.double() + b2.double()))
    return worst


def _numbers(*shapes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    torch = import_torch()
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def _error(found: Tensor, expected: Tensor) -> float:
    """Relative L2; infinite where the shape is another or anything is not finite."""
    if found.shape != expected.shape:
        return float("inf")
    difference = (found.cpu().double() - expected).norm() / expected.norm()
    return float(difference) if difference.isfinite() else float("inf")
