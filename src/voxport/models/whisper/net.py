"""Whisper's network in plain torch: an encoder over a window, and a lean decoder step.

Modules carry the published (Hugging Face) parameter names, so a published state dict loads as it is. `fuse()` then lays
the query, key and value matrices of an attention side by side in memory, and the named parameters become views of it.

Shapes: B windows, T encoder positions (1500), D width, H heads, V vocabulary.
After "Robust Speech Recognition via Large-Scale Weak Supervision", Radford et al., 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HAS_MKL = bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]


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


def few_rows_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` for the few rows of a decoder step: x (B, T, D) or (B, D), weight (O, D), bias (O,).

    Such a step's time is that of reading its matrices once. MKL's float32 kernels for up to eight rows use one thread
    and take two to four times as long as the memory does; the same product the other way round, the matrix on the left
    and at least two columns on the right, does not (benchmarks/few_rows.py). The columns must be rows in memory: for
    any other layout MKL repacks the matrix first.
    """
    height, width = weight.shape
    rows = x.numel() // width
    if weight.is_cpu and weight.dtype == torch.float32 and HAS_MKL and rows <= _most_rows(height, width):
        columns = x.reshape(rows, width)
        columns = torch.cat([columns, columns]).t() if rows == 1 else columns.t()
        product = torch.mm(weight, columns) if bias is None else torch.addmm(bias[:, None], weight, columns)
        return product[:, :rows].t().contiguous().view(*x.shape[:-1], height)
    return F.linear(x, weight, bias)


def _most_rows(height: int, width: int) -> int:
    """Up to how many rows the product the other way round is the faster one."""
    if height >= width:
        return 8
    return 4 if torch.get_num_threads() > 1 else 0


class Attention(nn.Module):
    """Multi-head attention's projections; keys have no bias, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.qkv_weight: Tensor | None = None
        self.qkv_bias: Tensor | None = None

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

    def project_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> three (B, H, T, D/H)."""
        assert self.qkv_weight is not None, "fuse() first"
        B, T, D = x.shape
        qkv = few_rows_linear(x, self.qkv_weight, self.qkv_bias).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def project_kv(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> keys and values, each contiguous (B, H, T, D/H): they are read once per decoded token."""
        assert self.qkv_weight is not None, "fuse() first"
        assert self.qkv_bias is not None
        B, T, D = x.shape
        kv = F.linear(x, self.qkv_weight[D:], self.qkv_bias[D:]).view(B, T, 2, self.heads, D // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        return k, v

    def project_q(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, D/H)."""
        B, T, D = x.shape
        q = few_rows_linear(x, self.q_proj.weight, self.q_proj.bias)
        return q.view(B, T, self.heads, D // self.heads).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """Heads back together: (B, H, T, D/H) -> (B, T, D)."""
        B, H, T, d = x.shape
        return few_rows_linear(x.transpose(1, 2).reshape(B, T, H * d), self.out_proj.weight, self.out_proj.bias)


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

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.self_attn.project_qkv(self.self_attn_layer_norm(x))
        x = x + self.self_attn.merge(F.scaled_dot_product_attention(q, k, v))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return out


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
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.embed_positions.weight
        for layer in self.layers:
            x = layer(x)
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
    """Parameters of the decoder; `DecoderState` runs it."""

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

    def start(self, hidden: Tensor, max_length: int) -> DecoderState:
        """Begin decoding windows with encoder output `hidden` (B, T, D), at most `max_length` tokens in all."""
        return DecoderState(self, hidden, max_length)


class DecoderState:
    """B windows under way: static self-attention cache, cross-attention keys and values computed once.

    All rows are at the same position. Only Python integers steer the shapes, so a step never waits for the device.
    """

    def __init__(self, net: Whisper, hidden: Tensor, max_length: int) -> None:
        if max_length > net.dims.max_target:
            raise ValueError(f"max_length {max_length} exceeds the model's {net.dims.max_target} positions")
        decoder = net.model.decoder
        B, _, D = hidden.shape
        heads = net.dims.decoder_heads
        shape = (2, B, heads, max_length, D // heads)
        self._net = net
        self._layers = cast("list[DecoderLayer]", list(decoder.layers))
        self.rows = B
        self.position = 0
        self._cache = [hidden.new_empty(shape) for _ in self._layers]
        self._cross = [layer.encoder_attn.project_kv(hidden) for layer in self._layers]

    def advance(self, tokens: Tensor) -> Tensor:
        """Feed `tokens` (B, n) at the next n positions; returns the normalised hidden states (B, n, D)."""
        decoder = self._net.model.decoder
        start, end, rows = self.position, self.position + tokens.shape[1], self.rows
        x = F.embedding(tokens, decoder.embed_tokens.weight) + decoder.embed_positions.weight[start:end]
        # One token sees the whole cache; a prompt needs the triangle, and only at the start is it a plain one.
        causal = end - start > 1
        if causal and start > 0:
            raise ValueError("several tokens at once only as the prompt")
        for layer, cache, (cross_k, cross_v) in zip(self._layers, self._cache, self._cross, strict=True):
            q, k, v = layer.self_attn.project_qkv(layer.self_attn_layer_norm(x))
            cache[0, :rows, :, start:end] = k
            cache[1, :rows, :, start:end] = v
            k, v = cache[0, :rows, :, :end], cache[1, :rows, :, :end]
            x = x + layer.self_attn.merge(F.scaled_dot_product_attention(q, k, v, is_causal=causal))
            q = layer.encoder_attn.project_q(layer.encoder_attn_layer_norm(x))
            x = x + layer.encoder_attn.merge(F.scaled_dot_product_attention(q, cross_k[:rows], cross_v[:rows]))
            h = F.gelu(few_rows_linear(layer.final_layer_norm(x), layer.fc1.weight, layer.fc1.bias))
            x = x + few_rows_linear(h, layer.fc2.weight, layer.fc2.bias)
        self.position = end
        out: Tensor = decoder.layer_norm(x)
        return out

    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        """(..., D) -> (..., V) in float32; `bias` (V,), e.g. -inf at suppressed tokens."""
        logits = few_rows_linear(hidden, self._net.proj_out.weight).float()
        return logits if bias is None else logits.add_(bias)

    def drop_row(self, row: int) -> None:
        """Forget a finished row: the last one takes its place. Copies one row, so that the others stay contiguous."""
        last = self.rows - 1
        if row != last:
            for cache, (cross_k, cross_v) in zip(self._cache, self._cross, strict=True):
                cache[:, row, :, : self.position] = cache[:, last, :, : self.position]
                cross_k[row] = cross_k[last]
                cross_v[row] = cross_v[last]
        self.rows = last
