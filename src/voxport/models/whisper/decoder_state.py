"""Whisper's decoder, one step after the other: weights laid out for steps, and the state of windows under way.

Shapes: B rows, n tokens at once, T encoder positions (1500), D width, H heads, V vocabulary. A window has one row, or
several that hear the same: the beams of a search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from voxport.devices.fused import NOTHING_FUSED, FusedOperations
from voxport.models.cpu_products import StepLinear, few_queries_attention, linear
from voxport.models.whisper.token_cache import HeadsFirst, PositionsFirst, TokenCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from voxport.models.whisper.net import DecoderLayer, Whisper


class LayerWeights:
    """One layer's: matrices that every step reads, and those of the keys and values of the encoder's output."""

    def __init__(self, layer: DecoderLayer, fused: FusedOperations) -> None:
        own, cross = layer.self_attn, layer.encoder_attn
        self.heads = own.heads
        self.own_norm = layer.self_attn_layer_norm
        self.own_qkv = StepLinear(own.qkv_weight, own.qkv_bias)
        self.own_out = StepLinear(own.out_proj.weight, own.out_proj.bias)
        self.cross_norm = layer.encoder_attn_layer_norm
        self.cross_q = StepLinear(cross.q_proj.weight, cross.q_proj.bias)
        self.cross_out = StepLinear(cross.out_proj.weight, cross.out_proj.bias)
        self.final_norm = layer.final_layer_norm
        if fused.feed_forward is not None:  # it wants the matrices the other way round
            for linear_layer in (layer.fc1, layer.fc2):
                linear_layer.weight.data = linear_layer.weight.data.t().contiguous().t()
        self.fc1 = StepLinear(layer.fc1.weight, layer.fc1.bias)
        self.fc2 = StepLinear(layer.fc2.weight, layer.fc2.bias)
        self._inner = (layer.fc1.weight.t(), layer.fc1.bias, layer.fc2.weight.t(), layer.fc2.bias)
        self._fused = fused
        self._cross_k = cross.k_proj.weight
        self._cross_v = cross.v_proj.weight
        self._cross_v_bias = cross.v_proj.bias

    def cross_keys_values(self, hidden: Tensor, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> keys and values (B, H, T, d), in memory in the order in which a step reads them.

        On a CPU the keys lie there as (B, H, d, T): see `few_queries_attention`. They are put into `room` there, if it
        is given: (2, B, D, T) in `cross_dtype`.
        """
        B, T, _ = hidden.shape
        hidden = hidden.to(self.cross_dtype)
        v = linear(hidden, self._cross_v, self._cross_v_bias).view(B, T, self.heads, -1).transpose(1, 2)
        if room is None:
            return self.cross_keys(hidden), v.contiguous()
        return self.cross_keys(hidden, room[0]), room[1].view(v.shape).copy_(v)

    def cross_keys(self, hidden: Tensor, room: Tensor | None = None) -> Tensor:
        """The keys of `cross_keys_values`; `room`: (B, D, T)."""
        B, T, D = hidden.shape
        hidden = hidden.to(self.cross_dtype)
        if hidden.is_cpu:
            k = torch.bmm(self._cross_k.expand(B, D, D), hidden.transpose(1, 2), out=room)
            return k.view(B, self.heads, D // self.heads, T).transpose(2, 3)
        return linear(hidden, self._cross_k).view(B, T, self.heads, -1).transpose(1, 2).contiguous()

    @property
    def cross_dtype(self) -> torch.dtype:
        """Of the keys and values of the encoder's output."""
        return self._cross_k.dtype

    @property
    def cache_dtype(self) -> torch.dtype:
        """Of the keys and values of the tokens so far."""
        return self.own_qkv.weight.dtype

    def enter(self, embedded: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Begin the residual stream: the sum of both, and what the first norm makes of it."""
        if self._fused.add_norm is None:
            stream = self.own_norm.weight.dtype
            x = embedded.to(stream) + positions.to(stream)
            return x, self.own_norm(x)
        return self._add_norm(embedded, positions, self.own_norm)

    def join(self, projection: StepLinear, h: Tensor, x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """Project `h`, add it to the residual stream `x`: the stream, and what `norm` makes of it."""
        if self._fused.add_norm is None:
            stream = norm.weight.dtype
            same = x.dtype == stream == projection.weight.dtype
            x = projection(h, add=x) if same else x.to(stream) + projection(h).to(stream)
            return x, norm(x)
        return self._add_norm(projection(h), x, norm)

    def feed_forward(self, h: Tensor, x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """The feed-forward block over `h`, added to the residual stream `x`; as `join`."""
        if self._fused.feed_forward is None:
            return self.join(self.fc2, self.fc1(h, activation="gelu"), x, norm)
        y = self._fused.feed_forward(h, *self._inner)
        if self._fused.add_norm is None:
            x = x + y
            return x, norm(x)
        return self._add_norm(y, x, norm)

    def _add_norm(self, y: Tensor, x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        assert self._fused.add_norm is not None
        h, x = self._fused.add_norm(y, x, norm.weight, norm.bias, norm.eps)
        return x, h


class DecoderWeights:
    """The decoder's weights as its steps want them. Made once, after the network is loaded, fused and on its device.

    Args:
        net: the network.
        fused: what the device has in one piece; nothing where modules have different dtypes.
    """

    def __init__(self, net: Whisper, fused: FusedOperations = NOTHING_FUSED) -> None:
        decoder = net.model.decoder
        self.dims = net.dims
        self.tokens = decoder.embed_tokens.weight
        self.positions = decoder.embed_positions.weight
        self.layers = [LayerWeights(cast("DecoderLayer", layer), fused) for layer in decoder.layers]
        # The norm that reads the stream behind each layer.
        self.next_norms = [*(layer.own_norm for layer in self.layers[1:]), decoder.layer_norm]
        self.vocabulary = StepLinear(net.proj_out.weight)


class DecoderState:
    """Windows under way: static self-attention cache, cross-attention keys and values computed once.

    All rows are at the same position. Only Python integers steer the shapes, so a step never waits for the device.
    Each window has one row until `widen` makes more of it: the rows of a window stand side by side, and share what the
    window is heard by.

    Args:
        weights: of the model.
        hidden: (windows, T, D), the encoder's output.
        max_length: at most so many tokens in all.
        bucket: the length to which attention is to look when so many tokens are there, `Device.bucket`: what lies
            beyond them is masked, and the device meets few shapes.
        beams: rows that a window may have at the most.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        hidden: Tensor,
        max_length: int,
        bucket: Callable[[int], int] = lambda length: length,
        beams: int = 1,
    ) -> None:
        if max_length > weights.dims.max_target:
            raise ValueError(f"max_length {max_length} exceeds the model's {weights.dims.max_target} positions")
        self._weights = weights
        self.rows = hidden.shape[0]
        self.position = 0
        self._per_window = 1
        cache = HeadsFirst if hidden.is_cpu else PositionsFirst
        rows = hidden.shape[0] * beams
        self._caches: list[TokenCache] = [
            cache(hidden, rows, layer.heads, max_length, layer.cache_dtype) for layer in weights.layers
        ]
        self._bucket = bucket
        self._max_length = max_length
        self._visible: Tensor | None = None
        self._cross = _cross_keys_values(weights, hidden)
        # Two products beat the general attention where memory is the limit, see cpu_products.
        self._by_products = hidden.is_cpu
        self._device = hidden.device

    def advance(self, tokens: Tensor) -> Tensor:
        """Feed `tokens` (B, n) at the next n positions; returns the normalised hidden states (B, n, D)."""
        weights = self._weights
        rows, n = tokens.shape
        start, end = self.position, self.position + n
        if n > 1 and start > 0:
            raise ValueError("several tokens at once only as the prompt")
        seen = min(self._bucket(end), self._max_length)
        mask = None if seen == end else self._mask(start, end, seen, tokens.device)
        embedded, positions = F.embedding(tokens, weights.tokens), weights.positions[start:end]
        x, h = weights.layers[0].enter(embedded, positions.expand_as(embedded))
        parts = zip(weights.layers, weights.next_norms, self._caches, self._cross, strict=True)
        for layer, next_norm, cache, cross in parts:
            q = cache.put(layer.own_qkv, h, start)
            k, v = cache.seen(rows, seen)
            # One token sees the whole cache; a prompt needs the triangle.
            attended = F.scaled_dot_product_attention(q, k, v, mask, is_causal=n > 1 and mask is None)
            x, h = layer.join(layer.own_out, _merge(attended), x, layer.cross_norm)
            # The rows of a window are several queries to the same keys.
            q = layer.cross_q(h).view(rows // self._per_window, n * self._per_window, layer.heads, -1).transpose(1, 2)
            attended = _merge(self._attend_cross(q, *cross)).reshape(rows, n, -1)
            x, h = layer.join(layer.cross_out, attended, x, layer.final_norm)
            x, h = layer.feed_forward(h, x, next_norm)
        self.position = end
        return h

    def _mask(self, start: int, end: int, seen: int, device: torch.device) -> Tensor:
        """Which of the first `seen` positions each token from `start` to `end` sees: bool (n, seen)."""
        if self._visible is None:
            length = self._max_length
            self._visible = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        return self._visible[start:end, :seen]

    def rewind(self) -> None:
        """Begin again with the first token; what was computed from the windows stays."""
        self.position = 0

    def logits(self, hidden: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """(..., D) -> (..., V) in float32; `bias` (V,), e.g. -inf at suppressed tokens; into `out` (B, V) if given."""
        vocabulary = self._weights.vocabulary
        hidden = hidden.to(vocabulary.weight.dtype)
        if hidden.is_cpu or bias is None:
            logits = vocabulary(hidden).float()
            logits = logits if bias is None else logits.add_(bias)
        elif out is not None and hidden.dtype == out.dtype:
            return torch.addmm(bias, hidden, vocabulary.weight.t(), out=out)
        else:  # with the bias in one operation instead of two
            logits = F.linear(hidden, vocabulary.weight, bias)
        if out is None:
            return logits.float()
        return out.copy_(logits)

    def widen(self, beams: int) -> None:
        """Make `beams` rows, all alike, of each window's one."""
        if beams > 1:
            sources = torch.arange(self.rows, device=self._device).repeat_interleave(beams)
            self._per_window = beams
            self.rows *= beams
            self.gather(sources)

    def gather(self, sources: Tensor) -> None:
        """Let each row go on from what row ``sources[row]`` (B,) was told; both belong to the same window."""
        for cache in self._caches:
            cache.gather(sources, self.position)

    def drop_row(self, row: int) -> None:
        """As `drop_window`, where each window has one row."""
        self.drop_window(row)

    def drop_window(self, window: int) -> None:
        """Forget a finished window: the last one takes its place. The others stay contiguous, and are not copied."""
        beams = self._per_window
        last = self.rows // beams - 1
        if window != last:
            for cache, (cross_k, cross_v) in zip(self._caches, self._cross, strict=True):
                for beam in range(beams):
                    cache.move(window * beams + beam, last * beams + beam, self.position)
                cross_k[window] = cross_k[last]
                cross_v[window] = cross_v[last]
        self.rows = last * beams

    def _attend_cross(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(windows, H, n, d) -> (windows, H, n, d), n tokens of all rows of a window."""
        windows, n = q.shape[0], q.shape[2]
        if self._by_products and n == self._per_window:
            return few_queries_attention(q, k[:windows], v[:windows])
        return F.scaled_dot_product_attention(q, k[:windows], v[:windows])


def _cross_keys_values(weights: DecoderWeights, hidden: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of all layers. On a CPU all lie in one buffer, which goes back to the system when the windows are done.

    Each on its own is small enough to be kept for other use (`voxport.devices.host`). Batches differ in size, so that
    their pieces leave holes in memory that the next batch's don't fit into, more and more over a long recording.
    """
    B, T, D = hidden.shape
    first, *others = {layer.cross_dtype for layer in weights.layers}
    if not hidden.is_cpu or others:
        return [layer.cross_keys_values(hidden) for layer in weights.layers]
    rooms = torch.empty(len(weights.layers), 2, B, D, T, dtype=first)
    return [layer.cross_keys_values(hidden, room) for layer, room in zip(weights.layers, rooms, strict=True)]


def _merge(attended: Tensor) -> Tensor:
    """Heads back together: (B, H, n, d) -> (B, n, D)."""
    return attended.transpose(1, 2).flatten(2)
