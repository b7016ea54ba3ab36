"""Matrix products on a CPU, where plain torch calls take longer than the processor needs.

Findings on x86 with torch 2.13 and MKL, measured by benchmarks/cpu_products.py:

- oneDNN's linear layer, which torch's compiler emits, is faster than `F.linear`'s way through MKL, also with GELU
  behind it; SiLU and a residual addition go the same way.
- A few rows times a matrix are a matter of reading the matrix. MKL does so with all threads and at the memory's speed
  if the matrix is presented as a batch of low ones; where those have 16 rows or more, an Intel Xeon takes two to three
  times as long.
- For more rows, and a few times a whole vocabulary, a matrix that was packed for oneDNN before is faster still.
- Few queries over many keys, as two products, take less time than the general attention, if the keys lie in memory
  with their positions side by side.

Without MKL and oneDNN a linear layer is the plain torch call.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

Activation = Literal["gelu", "silu"]

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu}
_ONEDNN_NAMES: dict[Activation, str] = {"gelu": "gelu", "silu": "swish"}

_PACKED_FOR = 8
"""Rows that oneDNN packs a matrix for; it holds for any number."""

_PART = 8
"""Height of the low matrices that a matrix is presented as: a divisor of most heights."""

_FEW = 8
"""Rows up to which the low matrices beat a packed one..."""

_TALL = 16_384
"""...unless it is higher than this, as a vocabulary is: then for one row only."""


@cache
def _has_mkl() -> bool:
    return torch.backends.mkl.is_available()  # type: ignore[no-untyped-call, no-any-return]


@cache
def _onednn() -> Any:
    """The operators (as of torch 2.13), or None. On ARM they may exist too, but nobody has measured them there."""
    operators = torch.ops.mkldnn
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if not _has_mkl() or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return operators if all(hasattr(operators, name) for name in names) else None


@cache
def _has_bfloat16() -> bool:
    return _onednn() is not None and bool(_onednn()._is_mkldnn_bf16_supported())


def _is_fused(weight: Tensor) -> bool:
    """Whether products with this matrix go through oneDNN's own operators."""
    if not weight.is_cpu or _onednn() is None:
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and _has_bfloat16())


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation | None = None,
    add: Tensor | None = None,
) -> Tensor:
    """`F.linear`, and behind it an activation or the addition of `add`.

    Shapes: x (..., D), weight (O, D), bias (O,), add (..., O). `x` is taken to the weight's dtype, which `add` has.
    """
    if x.dtype != weight.dtype:
        x = x.to(weight.dtype)
    if _is_fused(weight):
        return _onednn_linear(x, weight, bias, activation=activation, add=add)
    return _behind(F.linear(x, weight, bias), activation=activation, add=add)


class StepLinear:
    """A linear layer for the few rows of a decoder step: weight (O, D), bias (O,).

    The matrix is packed when more rows first ask for it than low matrices serve, which takes a second copy of it.
    Changes of the weight after that are not seen.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight
        self._bias = bias
        self._fused = _is_fused(weight)
        self._packed: Tensor | None = None
        self._parts, self._bias_parts, self._rest = self._cut() if _has_mkl() else (None, None, None)
        self._few = 1 if weight.shape[0] > _TALL else _FEW

    def __call__(self, x: Tensor, *, activation: Activation | None = None, add: Tensor | None = None) -> Tensor:
        """As `linear`."""
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)
        if self._parts is not None and x.numel() <= self._few * x.shape[-1]:
            return _behind(self._by_parts(x, self._parts), activation=activation, add=add)
        if not self._fused:
            return _behind(F.linear(x, self.weight, self._bias), activation=activation, add=add)
        if self._packed is None:
            self._packed = _onednn()._reorder_linear_weight(self.weight.detach(), _PACKED_FOR)
        return _onednn_linear(x, self._packed, self._bias, activation=activation, add=add)

    def into(self, out: Tensor, x: Tensor) -> None:
        """The product with x (B, D), plus the bias, into `out` (B, O): for accelerators, where it saves a copy."""
        assert self._bias is not None
        torch.addmm(self._bias, x.to(self.weight.dtype), self.weight.t(), out=out)

    def _cut(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """As views: the matrix, (parts, `_PART`, D); its bias, (parts, 1, `_PART`); and the rows that are left over."""
        height, width = self.weight.shape
        whole = height - height % _PART
        fits = whole == height or (whole > 0 and self._bias is None)
        if not fits or not self.weight.is_cpu or self.weight.dtype != torch.float32:
            return None, None, None
        bias = None if self._bias is None else self._bias.view(-1, 1, _PART)
        return self.weight[:whole].view(-1, _PART, width), bias, self.weight[whole:] if whole < height else None

    def _by_parts(self, x: Tensor, parts: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        count = len(rows)
        if count == 1:
            # The column is a turned row: MKL takes four times as long for one whose stride says that it is a matrix's.
            column = rows.expand(len(parts), -1, -1).transpose(1, 2)
            if self._bias_parts is None:
                product = torch.bmm(parts, column)
            else:
                product = torch.baddbmm(self._bias_parts.transpose(1, 2), parts, column)
        else:
            spread, turned = rows.expand(len(parts), -1, -1), parts.transpose(1, 2)
            if self._bias_parts is None:
                product = torch.bmm(spread, turned)
            else:
                product = torch.baddbmm(self._bias_parts, spread, turned)
            product = product.transpose(0, 1)
        product = product.reshape(count, -1)
        if self._rest is not None:
            product = torch.cat([product, rows @ self._rest.t()], dim=1)
        return product.view(*x.shape[:-1], self.weight.shape[0])


def few_queries_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of a few queries a row: q (B, H, n, d), k and v (B, H, T, d).

    Fast where k lies in memory as (B, H, d, T) and v as (B, H, T, d): each product then goes through its matrix once,
    row by row, and adds the rows up.

    Returns:
        (B, H, n, d).
    """
    B, H, n, d = q.shape
    scores = torch.bmm((q * d**-0.5).reshape(B * H, n, d), k.transpose(2, 3).reshape(B * H, d, -1))
    return torch.bmm(scores.softmax(dim=-1), v.reshape(B * H, -1, d)).view(B, H, n, d)


def _onednn_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, activation: Activation | None, add: Tensor | None
) -> Tensor:
    product: Tensor
    if add is not None:
        product = _onednn()._linear_pointwise.binary(x, add, weight, bias, "add")
    elif activation is not None:
        product = _onednn()._linear_pointwise(x, weight, bias, _ONEDNN_NAMES[activation], [], "none")
    else:
        product = _onednn()._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _behind(product: Tensor, *, activation: Activation | None, add: Tensor | None) -> Tensor:
    if activation is not None:
        product = _FUNCTIONS[activation](product)
    return product if add is None else product.add_(add)
