"""Matrix products on a CPU, where plain torch calls take longer than the processor needs.

Findings on x86 with torch 2.13 and MKL, measured by benchmarks/cpu_products.py:

- oneDNN's linear layer, which torch's compiler emits, is faster than `F.linear`'s way through MKL, also with GELU
  behind it; SiLU and a residual addition go the same way.
- One row times a matrix is a matter of reading the matrix. MKL does so with all threads and at the memory's speed if
  the matrix is presented as a batch of shorter ones, and with one thread otherwise.
- A few rows take little longer than one, if the matrix was packed for oneDNN before.
- One query over many keys, as two products of matrix and vector, takes less time than the general attention: two
  thirds in batches.

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

_PARTS = 64
"""Shorter matrices that a matrix is presented as: a multiple of most counts of threads, a divisor of most heights."""


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

    The matrix is packed when several rows first ask for it, which takes a second copy of it. Changes of the weight
    after that are not seen.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight
        self._bias = bias
        self._fused = _is_fused(weight)
        self._packed: Tensor | None = None
        self._parts, self._bias_parts, self._rest = self._cut() if _has_mkl() else (None, None, None)

    def __call__(self, x: Tensor, *, activation: Activation | None = None, add: Tensor | None = None) -> Tensor:
        """As `linear`."""
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)
        if self._parts is not None and x.numel() == x.shape[-1]:
            return _behind(self._one_row(x), activation=activation, add=add)
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
        """The matrix as (parts, O / parts, D), its bias likewise, and the rows that are left over, as views."""
        height, width = self.weight.shape
        whole = height - height % _PARTS
        fits = whole == height or (whole > 0 and self._bias is None)
        if not fits or not self.weight.is_cpu or self.weight.dtype != torch.float32:
            return None, None, None
        bias = None if self._bias is None else self._bias.view(_PARTS, -1, 1)
        return self.weight[:whole].view(_PARTS, -1, width), bias, self.weight[whole:] if whole < height else None

    def _one_row(self, x: Tensor) -> Tensor:
        assert self._parts is not None
        shape = (*x.shape[:-1], self.weight.shape[0])
        column = x.view(1, 1, -1).expand(_PARTS, -1, -1).transpose(1, 2)
        if self._bias_parts is not None:
            return torch.baddbmm(self._bias_parts, self._parts, column).view(shape)
        product = torch.bmm(self._parts, column)
        if self._rest is None:
            return product.view(shape)
        return torch.cat([product.view(-1), torch.mv(self._rest, x.view(-1))]).view(shape)


def few_queries_attention(q: Tensor, k: Tensor, v_transposed: Tensor) -> Tensor:
    """Softmax attention of a few queries a row: q (B, H, n, d), k (B, H, T, d), v_transposed (B, H, d, T).

    k and v are read once, in the order in which they lie in memory.

    Returns:
        (B, H, n, d).
    """
    B, H, T, d = k.shape
    n = q.shape[2]
    # The vectors are turned rows: MKL takes four times as long for a column whose stride says that it is a matrix's.
    scores = torch.bmm(k.view(B * H, T, d), (q * d**-0.5).reshape(B * H, n, d).transpose(1, 2))
    scores = scores.view(B * H, 1, T) if n == 1 else scores.transpose(1, 2).contiguous()
    probabilities = scores.softmax(dim=-1)
    attended = torch.bmm(v_transposed.view(B * H, d, T), probabilities.transpose(1, 2))
    return attended.view(B, H, 1, d) if n == 1 else attended.transpose(1, 2).reshape(B, H, n, d)


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
