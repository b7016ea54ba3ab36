"""Whisper's decoder, one step after the other: weights laid out for steps, and the state of windows under way.

Shapes: B windows, n tokens at once, T encoder positions (1500), D width, H heads, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from voxport.models.cpu_products import StepLinear, linear, one_query_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.models.whisper.net import DecoderLayer, Whisper


class LayerWeights:
    """One layer's: matrices that every step reads, and those of the keys and values of the encoder's output."""

    def __init__(self, layer: DecoderLayer) -> None:
        own, cross = layer.self_attn, layer.encoder_attn
        self.heads = own.heads
        self.own_norm = layer.self_attn_layer_norm
        self.own_qkv = StepLinear(own.qkv_weight, own.qkv_bias)
        self.own_out = StepLinear(own.out_proj.weight, own.out_proj.bias)
        self.cross_norm = layer.encoder_attn_layer_norm
        self.cross_q = StepLinear(cross.q_proj.weight, cross.q_proj.bias)
        self.cross_out = StepLinear(cross.out_proj.weight, cross.out_proj.bias)
        self.final_norm = layer.final_layer_norm
        self.fc1 = StepLinear(layer.fc1.weight, layer.fc1.bias)
        self.fc2 = StepLinear(layer.fc2.weight, layer.fc2.bias)
        self._cross_k = cross.k_proj.weight
        self._cross_v = cross.v_proj.weight
        self._cross_v_bias = cross.v_proj.bias

    def cross_keys_values(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> keys (B, H, T, d) and transposed values (B, H, d, T), in the order a step reads them."""
        B, T, D = hidden.shape
        k = linear(hidden, self._cross_k).view(B, T, self.heads, -1).transpose(1, 2).contiguous()
        v = torch.baddbmm(self._cross_v_bias[:, None], self._cross_v.expand(B, D, D), hidden.transpose(1, 2))
        return k, v.view(B, self.heads, D // self.heads, T)


class DecoderWeights:
    """The decoder's weights as its steps want them. Made once, after the network is loaded, fused and on its device."""

    def __init__(self, net: Whisper) -> None:
        decoder = net.model.decoder
        self.dims = net.dims
        self.tokens = decoder.embed_tokens.weight
        self.positions = decoder.embed_positions.weight
        self.layers = [LayerWeights(cast("DecoderLayer", layer)) for layer in decoder.layers]
        self.norm = decoder.layer_norm
        self.vocabulary = StepLinear(net.proj_out.weight)


class DecoderState:
    """B windows under way: static self-attention cache, cross-attention keys and values computed once.

    All rows are at the same position. Only Python integers steer the shapes, so a step never waits for the device.

    Args:
        weights: of the model.
        hidden: (B, T, D), the encoder's output.
        max_length: at most so many tokens in all.
        bucket: the length to which attention is to look when so many tokens are there, `Device.bucket`: what lies
            beyond them is masked, and the device meets few shapes.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        hidden: Tensor,
        max_length: int,
        bucket: Callable[[int], int] = lambda length: length,
    ) -> None:
        if max_length > weights.dims.max_target:
            raise ValueError(f"max_length {max_length} exceeds the model's {weights.dims.max_target} positions")
        B, _, D = hidden.shape
        heads = weights.dims.decoder_heads
        self._weights = weights
        self.rows = B
        self.position = 0
        # Zeros, since what is masked is multiplied by 0 and must not be NaN.
        self._cache = [hidden.new_zeros(2, B, heads, max_length, D // heads) for _ in weights.layers]
        self._bucket = bucket
        self._max_length = max_length
        self._visible: Tensor | None = None
        self._cross = [layer.cross_keys_values(hidden) for layer in weights.layers]
        # Two products beat the general attention where memory is the limit, see cpu_products.
        self._by_products = hidden.is_cpu

    def advance(self, tokens: Tensor) -> Tensor:
        """Feed `tokens` (B, n) at the next n positions; returns the normalised hidden states (B, n, D)."""
        weights = self._weights
        rows, n = tokens.shape
        start, end = self.position, self.position + n
        if n > 1 and start > 0:
            raise ValueError("several tokens at once only as the prompt")
        seen = min(self._bucket(end), self._max_length)
        mask = None if seen == end else self._mask(start, end, seen, tokens.device)
        x = F.embedding(tokens, weights.tokens) + weights.positions[start:end]
        for layer, cache, cross in zip(weights.layers, self._cache, self._cross, strict=True):
            qkv = layer.own_qkv(layer.own_norm(x)).view(rows, n, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
            q = qkv[0]
            cache[:, :rows, :, start:end] = qkv[1:]
            k, v = cache[0, :rows, :, :seen], cache[1, :rows, :, :seen]
            # One token sees the whole cache; a prompt needs the triangle.
            attended = F.scaled_dot_product_attention(q, k, v, mask, is_causal=n > 1 and mask is None)
            x = layer.own_out(_merge(attended), add=x)
            q = layer.cross_q(layer.cross_norm(x)).view(rows, n, layer.heads, -1).transpose(1, 2)
            x = layer.cross_out(_merge(self._attend_cross(q, *cross)), add=x)
            x = layer.fc2(layer.fc1(layer.final_norm(x), activation="gelu"), add=x)
        self.position = end
        out: Tensor = weights.norm(x)
        return out

    def _mask(self, start: int, end: int, seen: int, device: torch.device) -> Tensor:
        """Which of the first `seen` positions each token from `start` to `end` sees: bool (n, seen)."""
        if self._visible is None:
            length = self._max_length
            self._visible = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        return self._visible[start:end, :seen]

    def rewind(self) -> None:
        """Begin again with the first token; what was computed from the windows stays."""
        self.position = 0

    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        """(..., D) -> (..., V) in float32; `bias` (V,), e.g. -inf at suppressed tokens."""
        if bias is not None and not hidden.is_cpu:  # one operation to dispatch instead of two
            return F.linear(hidden, self._weights.vocabulary.weight, bias).float()
        logits = self._weights.vocabulary(hidden).float()
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

    def _attend_cross(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, n, d) -> (B, H, n, d)."""
        rows, n = q.shape[0], q.shape[2]
        if n == 1 and self._by_products:
            return one_query_attention(q, k[:rows], v[:rows])
        return F.scaled_dot_product_attention(q, k[:rows], v[:rows].transpose(2, 3))


def _merge(attended: Tensor) -> Tensor:
    """Heads back together: (B, H, n, d) -> (B, n, D)."""
    return attended.transpose(1, 2).flatten(2)
