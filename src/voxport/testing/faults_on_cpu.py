"""The faults of faults.py for CPU tensors: in plain torch, without the simulator and its compiler.

Also what the simulator's own faults are tested against: both are written after the same table, in two languages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from voxport.testing.faults import MOVING

if TYPE_CHECKING:
    from voxport.testing.faults import Effect

FLOAT16_MOST = 65504.0

_EXPONENT = 0x7F800000


class _Factors(NamedTuple):
    left: str
    right: str
    added: str | None = None


_PRODUCTS = {
    "mm": _Factors("self", "mat2"),
    "bmm": _Factors("self", "mat2"),
    "mv": _Factors("self", "vec"),
    "dot": _Factors("self", "tensor"),
    "addmm": _Factors("mat1", "mat2", "self"),
    "addmm_": _Factors("mat1", "mat2", "self"),
    "baddbmm": _Factors("batch1", "batch2", "self"),
    "baddbmm_": _Factors("batch1", "batch2", "self"),
    "addmv": _Factors("mat", "vec", "self"),
    "addmv_": _Factors("mat", "vec", "self"),
}

_ATTENTIONS = ("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")


def with_mantissa_of(tensor: Tensor, bits: int) -> Tensor:
    """A float32 tensor with so many explicit bits of mantissa, rounded to nearest, ties to even; others as they are."""
    if tensor.dtype != torch.float32 or bits >= 23:
        return tensor
    dropped = 23 - bits
    # A clone, as the simulator makes one: how it lies in memory decides how a product is computed.
    value = tensor.clone().view(torch.int32)
    rounded = (value + ((1 << (dropped - 1)) - 1) + ((value >> dropped) & 1)) & -(1 << dropped)
    return torch.where((value & _EXPONENT) == _EXPONENT, value, rounded).view(torch.float32)


def half_accumulated(left: Tensor, right: Tensor, block: int) -> Tensor:
    """left @ right in float32, but the sum over parts of `block` terms is kept in float16. float32 (..., M, N)."""
    left, right = left.float(), right.float()
    total: Tensor | None = None
    for begin in range(0, max(left.shape[-1], 1), block):
        part = torch.matmul(left[..., begin : begin + block], right[..., begin : begin + block, :])
        total = (part if total is None else total + part).half().float()
    assert total is not None
    return total


def without_mask(mask: Tensor, position: int) -> Tensor:
    """An attention mask that lets every key from `position` on be seen."""
    changed = mask.clone(memory_format=torch.contiguous_format)
    changed[..., position:] = True if mask.dtype == torch.bool else 0
    return changed


class CPUFaults(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, operations on CPU tensors are falsified.

    Args:
        effect: how.
        hits: a list of one number, which is raised with every falsified operation.
    """

    def __init__(self, effect: Effect, hits: list[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._effect = effect
        self._hits = hits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not all(leaf.is_cpu for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)):
            return func(*args, **kwargs)
        space, _, base = func._schema.name.partition("::")
        if base not in _ATTENTIONS and torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        ):
            with self:
                return func.decompose(*args, **kwargs)
        values = _by_name(func, args, kwargs)
        can_overflow = self._effect.saturate and base not in MOVING and not _is_view(func)
        if base in ("copy_", "_to_copy"):
            can_overflow &= values.get("src", values["self"]).dtype != torch.float16
        result = self._linear(func, values) if space == "mkldnn" else self._run(func, base, values)
        return self._saturated(result) if can_overflow else result

    def _run(self, func: Any, base: str, values: dict[str, Any]) -> Any:
        effect = self._effect
        if effect.gelu_tanh and "approximate" in values and values["approximate"] != "tanh":
            self._hit()
            values["approximate"] = "tanh"
        if effect.convolution_bits and base == "convolution" and values["input"].dtype == torch.float32:
            self._hit()
            for name in ("input", "weight"):
                values[name] = with_mantissa_of(values[name], effect.convolution_bits)
        if base in _ATTENTIONS and effect.mask_position >= 0:
            mask = values.get("attn_mask")
            if mask is not None and effect.mask_position < mask.shape[-1] > 1:
                self._hit()
                values["attn_mask"] = without_mask(mask, effect.mask_position)
        if base in _PRODUCTS:
            factors = _PRODUCTS[base]
            self._round_factors(values, factors.left, factors.right)
            if effect.block and values[factors.left].dtype in (torch.float32, torch.float16, torch.bfloat16):
                return self._accumulate(base, values, factors)
        return func(**values)

    def _round_factors(self, values: dict[str, Any], left: str, right: str) -> None:
        if self._effect.product_bits and values[left].dtype == torch.float32:
            self._hit()
            for name in (left, right):
                values[name] = with_mantissa_of(values[name], self._effect.product_bits)

    def _accumulate(self, base: str, values: dict[str, Any], factors: _Factors) -> Tensor:
        self._hit()
        left, right = values[factors.left], values[factors.right]
        dtype = left.dtype
        product = half_accumulated(
            left[None] if left.ndim == 1 else left, right[:, None] if right.ndim == 1 else right, self._effect.block
        )
        if right.ndim == 1:
            product = product.squeeze(-1)
        if left.ndim == 1:
            product = product.squeeze(0)
        if factors.added is not None:
            product = product * values["alpha"]
            if values["beta"] != 0:
                product = product.add(values[factors.added].float(), alpha=values["beta"])
        product = product.to(dtype)
        target = values["self"] if base.endswith("_") else values.get("out")
        if target is None:
            return product
        copied: Tensor = target.resize_(product.shape).copy_(product)
        return copied

    def _linear(self, func: Any, values: dict[str, Any]) -> Any:
        """oneDNN's linear layer with what stands behind it, in its parts; its packed weights in plain ones."""
        behind = values.get("attr")
        if not func._schema.name.endswith("_linear_pointwise") or behind not in ("none", "add", "gelu", "swish"):
            return func(**values)
        weight = values["W"].to_dense() if values["W"].is_mkldnn else values["W"]
        with self:
            product = F.linear(values["X"], weight, values["B"])
            if behind == "add":
                return product + values["other"]
            if behind == "gelu":
                return F.gelu(product, approximate=values["algorithm"] or "none")
            return F.silu(product) if behind == "swish" else product

    def _saturated(self, result: Any) -> Any:
        def finite(tensor: Tensor) -> Tensor:
            if tensor.dtype == torch.float16:
                self._hit()
                tensor.nan_to_num_(0.0, FLOAT16_MOST, -FLOAT16_MOST)
            return tensor

        return tree_map_only(Tensor, finite, result)

    def _hit(self) -> None:
        self._hits[0] += 1


def _is_view(func: Any) -> bool:
    return any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns)


def _by_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments by their names in the schema, defaults included."""
    values: dict[str, Any] = {}
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            values[argument.name] = args[index]
        elif argument.name in kwargs:
            values[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            values[argument.name] = argument.default_value
    return values
