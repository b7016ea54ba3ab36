"""MedASR as a table of stages, see `voxport.models.stages`. Names as in transformers' LasrForCTC.

For windows without padding, one at a time or of one length. Shapes: B windows, T frames, D width; convolutions too
have their channels last here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch.nn.functional as F
from torch import nn

from voxport.models.cpu_products import linear
from voxport.models.lasr.net import rotate, weighted
from voxport.models.stages import Stage, norms_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from voxport.models.lasr.net import Block, Lasr


def lasr_topology(layers: int, heads: int, rotary_base: float) -> list[Stage]:
    """The table without its computations: from "features" (B, mel frames, n_mels) to "ctc_head", the logits."""
    subsampler = "encoder.subsampler"
    rows = [
        _with_parameters(f"{subsampler}.dense_0", "features", "linear"),
        _with_parameters(f"{subsampler}.conv_0", f"{subsampler}.dense_0", "convolution"),
        _with_parameters(f"{subsampler}.conv_1", f"{subsampler}.conv_0", "convolution"),
        _with_parameters(f"{subsampler}.dense_1", f"{subsampler}.conv_1", "linear"),
    ]
    stream = f"{subsampler}.dense_1"
    for index in range(layers):
        rows += _block(f"encoder.layers.{index}", stream, heads, rotary_base)
        stream = f"encoder.layers.{index}.norm_out"
    rows.append(_with_parameters("encoder.out_norm", stream, "norm"))
    rows.append(_with_parameters("ctc_head", "encoder.out_norm", "linear"))
    return rows


def lasr_stages(net: Lasr) -> list[Stage]:
    """The table computed with a network's parameters."""
    table = lasr_topology(net.dims.layers, net.dims.heads, net.dims.rope_theta)
    # A sum has the dtype of the norm that reads it.
    sums = {name: cast("Tensor", net.get_submodule(norm).weight).dtype for name, norm in norms_behind(table).items()}
    return [replace(stage, compute=_computation(stage, net, sums.get(stage.name))) for stage in table]


def _computation(stage: Stage, net: Lasr, stream: torch.dtype | None) -> Callable[..., Tensor]:
    name, leaf = stage.name, stage.name.rpartition(".")[2]
    if leaf in ("conv_0", "conv_1", "dense_1"):
        inner = net.get_submodule(name)
        return lambda x: _linear_or_call(inner, F.relu(x))
    if stage.kind == "attention":
        return lambda q, k, v: _attend(net, q, k, v)
    if stage.kind == "activation":
        return F.silu
    if stage.kind == "gate":
        return lambda x: F.glu(x, dim=-1)
    if stage.kind == "residual":
        assert stream is not None
        return _residual(name, net, stream)
    module = net.get_submodule(name)
    if leaf == "depthwise_conv":
        block = cast("Block", net.get_submodule(name.partition(".conv.")[0]))
        return lambda x: block.conv.depthwise(x.to(block.conv.depthwise_conv.weight.dtype))
    if isinstance(module, nn.BatchNorm1d):
        return lambda x: _batch_norm(module, x)
    return lambda x: _linear_or_call(module, x)


def _linear_or_call(module: nn.Module, x: Tensor) -> Tensor:
    """Pointwise convolutions are linear layers over channels that lie last."""
    if isinstance(module, nn.LayerNorm):
        normed: Tensor = module(x.to(module.weight.dtype))
        return normed
    weight = cast("Tensor", module.weight)
    x = x.to(weight.dtype)
    if isinstance(module, nn.Linear):
        return linear(x, weight, module.bias)
    if isinstance(module, nn.Conv1d):
        return linear(x, weight.squeeze(2), module.bias)
    found: Tensor = module(x)
    return found


def _batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    flat = x.reshape(-1, x.shape[-1]).to(norm.weight.dtype)
    mean, variance = norm.running_mean, norm.running_var
    return F.batch_norm(flat, mean, variance, norm.weight, norm.bias, eps=norm.eps).view_as(x)


def _attend(net: Lasr, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.reshape(*x.shape[:2], net.dims.heads, -1).transpose(1, 2) for x in (q, k, v))
    q, k = (_rotated(net, x) for x in (q, k))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _rotated(net: Lasr, x: Tensor) -> Tensor:
    cos, sin = (angles.to(x.dtype) for angles in net.encoder.rotation(x.shape[2], x.device))
    return rotate(x[None], (cos, sin))[0]


def _residual(name: str, net: Lasr, stream: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
    dims = net.dims
    if name.endswith("self_attn.residual"):
        return lambda x, y: x.to(stream) + y.to(stream)
    weights = dims.conv_residual if name.endswith("conv.residual") else dims.ffn_residual
    return lambda x, y: weighted(x, y, weights, stream)


def _block(name: str, stream: str, heads: int, rotary_base: float) -> list[Stage]:
    attention, conv = f"{name}.self_attn", f"{name}.conv"
    projections = tuple(f"{attention}.{which}_proj" for which in "qkv")
    return [
        *_feed_forward(name, 1, stream),
        _with_parameters(f"{name}.norm_self_att", f"{name}.feed_forward1.residual", "norm"),
        *(_with_parameters(projection, f"{name}.norm_self_att", "linear") for projection in projections),
        Stage(attention, projections, None, "attention", heads=heads, rotary_base=rotary_base),
        _with_parameters(f"{attention}.o_proj", attention, "linear"),
        Stage(f"{attention}.residual", (f"{name}.feed_forward1.residual", f"{attention}.o_proj"), None, "residual"),
        _with_parameters(f"{name}.norm_conv", f"{attention}.residual", "norm"),
        _with_parameters(f"{conv}.pointwise_conv1", f"{name}.norm_conv", "linear"),
        Stage(f"{conv}.glu", (f"{conv}.pointwise_conv1",), None, "gate"),
        _with_parameters(f"{conv}.depthwise_conv", f"{conv}.glu", "convolution"),
        _with_parameters(f"{conv}.norm", f"{conv}.depthwise_conv", "norm"),
        Stage(f"{conv}.activation_fn", (f"{conv}.norm",), None, "activation"),
        _with_parameters(f"{conv}.pointwise_conv2", f"{conv}.activation_fn", "linear"),
        Stage(f"{conv}.residual", (f"{attention}.residual", f"{conv}.pointwise_conv2"), None, "residual"),
        *_feed_forward(name, 2, f"{conv}.residual"),
        _with_parameters(f"{name}.norm_out", f"{name}.feed_forward2.residual", "norm"),
    ]


def _feed_forward(block: str, number: int, stream: str) -> list[Stage]:
    name, norm = f"{block}.feed_forward{number}", f"{block}.norm_feed_forward{number}"
    return [
        _with_parameters(norm, stream, "norm"),
        _with_parameters(f"{name}.linear1", norm, "linear"),
        Stage(f"{name}.activation_fn", (f"{name}.linear1",), None, "activation"),
        _with_parameters(f"{name}.linear2", f"{name}.activation_fn", "linear"),
        Stage(f"{name}.residual", (stream, f"{name}.linear2"), None, "residual"),
    ]


def _with_parameters(name: str, reads: str, kind: str) -> Stage:
    return Stage(name, (reads,), None, kind, name)
