"""Whisper as a table of stages, see `voxport.models.stages`. Names as in transformers' WhisperForConditionalGeneration.

Shapes: B windows, T positions, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch.nn.functional as F
from torch import nn

from voxport.models.cpu_products import linear
from voxport.models.stages import Stage, norms_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from voxport.models.whisper.net import Whisper

ENCODED = "model.encoder.layer_norm"


def whisper_topology(encoder_layers: int, encoder_heads: int, decoder_layers: int, decoder_heads: int) -> list[Stage]:
    """The table without its computations: from "features" and "tokens" to "proj_out", the logits."""
    rows = [
        _with_parameters("model.encoder.conv1", "features", "convolution"),
        _with_parameters("model.encoder.conv2", "model.encoder.conv1", "convolution"),
        _with_parameters("model.encoder.embed_positions", "model.encoder.conv2", "embedding"),
    ]
    stream = "model.encoder.embed_positions"
    for index in range(encoder_layers):
        name = f"model.encoder.layers.{index}"
        rows += _self_attention(name, stream, encoder_heads)
        rows += _feed_forward(name, f"{name}.self_attn.residual")
        stream = name
    rows.append(_with_parameters(ENCODED, stream, "norm"))
    rows.append(_with_parameters("model.decoder.embed_tokens", "tokens", "embedding"))
    stream = "model.decoder.embed_tokens"
    for index in range(decoder_layers):
        name = f"model.decoder.layers.{index}"
        cross = f"{name}.encoder_attn"
        rows += _self_attention(name, stream, decoder_heads)
        rows.append(_with_parameters(f"{cross}_layer_norm", f"{name}.self_attn.residual", "norm"))
        rows += _attention(cross, f"{cross}_layer_norm", ENCODED, decoder_heads)
        rows.append(_added(f"{cross}.residual", f"{name}.self_attn.residual", f"{cross}.out_proj"))
        rows += _feed_forward(name, f"{cross}.residual")
        stream = name
    rows.append(_with_parameters("model.decoder.layer_norm", stream, "norm"))
    rows.append(_with_parameters("proj_out", "model.decoder.layer_norm", "linear"))
    return rows


def whisper_stages(net: Whisper) -> list[Stage]:
    """The table computed with a network's parameters: "features" (B, n_mels, 2T) and "tokens" (B, n) to (B, n, V)."""
    dims = net.dims
    table = whisper_topology(dims.encoder_layers, dims.encoder_heads, dims.decoder_layers, dims.decoder_heads)
    # A sum has the dtype of the norm that reads it.
    sums = {name: cast("Tensor", net.get_submodule(norm).weight).dtype for name, norm in norms_behind(table).items()}
    return [replace(stage, compute=_computation(stage, net, sums.get(stage.name))) for stage in table]


def _computation(stage: Stage, net: Whisper, stream: torch.dtype | None) -> Callable[..., Tensor]:
    name = stage.name
    if name == "model.encoder.embed_positions":
        places = net.model.encoder.embed_positions.weight
        return lambda x: F.gelu(x).transpose(1, 2).to(stream) + places.to(stream)
    if name == "model.decoder.embed_tokens":
        decoder = net.model.decoder
        return lambda tokens: (
            F.embedding(tokens, decoder.embed_tokens.weight).to(stream)
            + decoder.embed_positions.weight[: tokens.shape[1]].to(stream)
        )
    if stage.kind == "attention":
        return _attend(stage.heads, causal=".decoder." in name and "self" in name)
    if stage.kind == "activation":
        return F.gelu
    if stage.kind == "residual":
        return lambda x, y: x.to(stream) + y.to(stream)
    module = net.get_submodule(name)
    if isinstance(module, nn.Linear):
        return lambda x: linear(x, module.weight, module.bias)
    dtype = cast("Tensor", module.weight).dtype
    if name == "model.encoder.conv2":
        return lambda x: module(F.gelu(x).to(dtype))
    return lambda x: module(x.to(dtype))


def _attend(heads: int, *, causal: bool) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)

    return attend


def _self_attention(name: str, stream: str, heads: int) -> list[Stage]:
    norm = f"{name}.self_attn_layer_norm"
    return [
        _with_parameters(norm, stream, "norm"),
        *_attention(f"{name}.self_attn", norm, norm, heads),
        _added(f"{name}.self_attn.residual", stream, f"{name}.self_attn.out_proj"),
    ]


def _attention(name: str, queries: str, keys: str, heads: int) -> list[Stage]:
    return [
        _with_parameters(f"{name}.q_proj", queries, "linear"),
        _with_parameters(f"{name}.k_proj", keys, "linear"),
        _with_parameters(f"{name}.v_proj", keys, "linear"),
        Stage(name, (f"{name}.q_proj", f"{name}.k_proj", f"{name}.v_proj"), None, "attention", heads=heads),
        _with_parameters(f"{name}.out_proj", name, "linear"),
    ]


def _feed_forward(name: str, stream: str) -> list[Stage]:
    return [
        _with_parameters(f"{name}.final_layer_norm", stream, "norm"),
        _with_parameters(f"{name}.fc1", f"{name}.final_layer_norm", "linear"),
        Stage(f"{name}.activation_fn", (f"{name}.fc1",), None, "activation"),
        _with_parameters(f"{name}.fc2", f"{name}.activation_fn", "linear"),
        _added(name, stream, f"{name}.fc2"),
    ]


def _with_parameters(name: str, reads: str, kind: str) -> Stage:
    return Stage(name, (reads,), None, kind, name)


def _added(name: str, stream: str, branch: str) -> Stage:
    return Stage(name, (stream, branch), None, "residual")
