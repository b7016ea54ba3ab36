"""Whisper's network in plain torch: its parameters, and the encoder over a window. decoder_state.py runs the decoder.

Modules carry the published (Hugging Face) parameter names, so a published state dict loads as it is. `fuse()` then lays
the query, key and value matrices of an attention side by side in memory, and the named parameters become views of it.

A module computes in the dtype of its parameters, and a sum of the residual stream in that of the norm that reads it:
where they differ (`voxport.models.recipe`), what is read is taken there first.

Shapes: B windows, T encoder positions (1500), D width, H heads.
After "Robust Speech Recognition via Large-Scale Weak Supervision", Radford et al., 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxport.models.cpu_products import linear


@dataclass(frozen=True)
class WhisperDimensions:
    """The numbers that a published config.json fixes.

    Attributes:
        n_mels: mel bins, 80 or 128.
        width: D of encoder and decoder.
        encoder_layers, encoder_heads, encoder_ffn: the encoder's depth, heads and inner width.
        decoder_layers, decoder_heads, decoder_ffn: the decoder's.
        vocabulary: V.
        max_source: encoder positions, 1500 = 30 s.
        max_target: decoder positions, 448.
        tied: whether the output projection is the token embedding.
    """

    n_mels: int
    width: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    vocabulary: int
    max_source: int = 1500
    max_target: int = 448
    tied: bool = True


class Attention(nn.Module):
    """Multi-head attention's projections; keys have no bias, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.qkv_weight: Tensor = torch.empty(0)
        self.qkv_bias: Tensor = torch.empty(0)

    def fuse(self) -> None:
        """Lay q, k and v side by side: ``qkv_weight`` (3D, D); the parameters become views of it."""
        width = self.q_proj.weight.shape[0]
        weight = torch.cat([self.q_proj.weight.data, self.k_proj.weight.data, self.v_proj.weight.data])
        bias = torch.cat([self.q_proj.bias.data, torch.zeros_like(self.q_proj.bias.data), self.v_proj.bias.data])
        self.qkv_weight, self.qkv_bias = weight, bias
        self.q_proj.weight.data = weight[:width]
        self.k_proj.weight.data = weight[width : 2 * width]
        self.v_proj.weight.data = weight[2 * width :]
        self.q_proj.bias.data = bias[:width]
        self.v_proj.bias.data = bias[2 * width :]


class Table(nn.Module):
    """Rows of numbers, looked up by position or token. Bare: `nn.Embedding` would draw random ones first."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, stream: torch.dtype) -> Tensor:
        """x (B, T, D) in the first norm's dtype -> (B, T, D) in `stream`, the dtype of the norm behind the layer."""
        B, T, D = x.shape
        attention = self.self_attn
        qkv = linear(self.self_attn_layer_norm(x), attention.qkv_weight, attention.qkv_bias)
        # Contiguous heads: attention reads each key once for every block of queries.
        q, k, v = qkv.view(B, T, 3, attention.heads, -1).permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, D)
        x = joined(x, attention.out_proj, attended, self.final_layer_norm.weight.dtype)
        h = linear(self.final_layer_norm(x), self.fc1.weight, self.fc1.bias, activation="gelu")
        return joined(x, self.fc2, h, stream)


def joined(x: Tensor, projection: nn.Linear, h: Tensor, stream: torch.dtype) -> Tensor:
    """Project `h` and add it to the residual stream `x`, in the dtype `stream`."""
    weight, bias = projection.weight, projection.bias
    if x.dtype == stream == weight.dtype:
        return linear(h, weight, bias, add=x)
    return x.to(stream) + linear(h, weight, bias).to(stream)


class Encoder(nn.Module):
    """Log-mel windows to hidden states."""

    def __init__(self, dims: WhisperDimensions) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(dims.n_mels, dims.width, 3, padding=1)
        self.conv2 = nn.Conv1d(dims.width, dims.width, 3, stride=2, padding=1)
        self.embed_positions = Table(dims.max_source, dims.width)
        self.layers = nn.ModuleList(
            EncoderLayer(dims.width, dims.encoder_heads, dims.encoder_ffn) for _ in range(dims.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(dims.width)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, n_mels, 2T) -> (B, T, D)."""
        norms = [cast("EncoderLayer", layer).self_attn_layer_norm for layer in self.layers] + [self.layer_norm]
        first, *others = [norm.weight.dtype for norm in norms]
        x = F.gelu(self.conv1(mel.to(self.conv1.weight.dtype)))
        x = F.gelu(self.conv2(x.to(self.conv2.weight.dtype))).transpose(1, 2)
        x = x.to(first) + self.embed_positions.weight.to(first)
        for layer, behind in zip(self.layers, others, strict=True):
            x = layer(x, behind)
        out: Tensor = self.layer_norm(x)
        return out


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)


class Decoder(nn.Module):
    """Parameters of the decoder; decoder_state.py runs it."""

    def __init__(self, dims: WhisperDimensions) -> None:
        super().__init__()
        self.embed_tokens = Table(dims.vocabulary, dims.width)
        self.embed_positions = Table(dims.max_target, dims.width)
        self.layers = nn.ModuleList(
            DecoderLayer(dims.width, dims.decoder_heads, dims.decoder_ffn) for _ in range(dims.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(dims.width)


class EncoderDecoder(nn.Module):
    """The level called ``model`` in published names."""

    def __init__(self, dims: WhisperDimensions) -> None:
        super().__init__()
        self.encoder = Encoder(dims)
        self.decoder = Decoder(dims)


class Whisper(nn.Module):
    """The whole network, with the published names."""

    def __init__(self, dims: WhisperDimensions) -> None:
        super().__init__()
        self.dims = dims
        self.model = EncoderDecoder(dims)
        self.proj_out = nn.Linear(dims.width, dims.vocabulary, bias=False)
        if dims.tied:
            self.proj_out.weight = self.model.decoder.embed_tokens.weight

    def fuse(self) -> None:
        """Fuse every attention. After the weights are loaded, cast and on their device: moving parts the views."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.fuse()
