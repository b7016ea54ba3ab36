"""Whisper's decoder for devices that compile a whole step into one graph: shapes and addresses that never change.

A step is a pure function: the caches go in and come out, a position's keys and values are put in by a comparison, and
all positions are attended to under a mask. More arithmetic than decoder_state.py does, and one thing to dispatch.

Shapes: B windows, L positions, H heads, d a head's width, D width, T encoder positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxport.models.whisper.decoder_state import DecoderState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.models.whisper.decoder_state import DecoderWeights
    from voxport.models.whisper.net import DecoderLayer, Whisper

    Pairs = Sequence[tuple[Tensor, Tensor]]
    Step = Callable[[Tensor, Tensor, Pairs, Pairs], tuple[Tensor, list[tuple[Tensor, Tensor]]]]

SHORT = 256
"""Positions that are enough for the usual limit of tokens; beyond, all that the model has."""


class GraphStep(nn.Module):
    """One token for each row, as a function without side effects."""

    def __init__(self, net: Whisper) -> None:
        super().__init__()
        self.decoder = net.model.decoder
        self.heads = net.dims.decoder_heads

    def forward(
        self, tokens: Tensor, position: Tensor, cache: Pairs, cross: Pairs
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """One step.

        Args:
            tokens: int64 (B, 1).
            position: int64 (1,), where they stand.
            cache: of each layer keys and values (B, H, L, d), filled up to `position`.
            cross: of each layer the encoder's keys and values (windows, H, T, d); B is as much or a multiple.

        Returns:
            The normalised hidden states (B, 1, D), and the caches with this step in them.
        """
        rows = tokens.shape[0]
        places = torch.arange(cache[0][0].shape[2], device=tokens.device)
        here, seen = (places == position)[:, None], (places <= position)[None]
        x = F.embedding(tokens, self.decoder.embed_tokens.weight)
        x = x + self.decoder.embed_positions.weight.index_select(0, position)
        kept = []
        for module, (k, v), (cross_k, cross_v) in zip(self.decoder.layers, cache, cross, strict=True):
            layer: DecoderLayer = module  # type: ignore[assignment]
            own = layer.self_attn
            qkv = F.linear(layer.self_attn_layer_norm(x), own.qkv_weight, own.qkv_bias)
            q, new_k, new_v = qkv.view(rows, 3, self.heads, 1, -1).unbind(1)
            k, v = torch.where(here, new_k, k), torch.where(here, new_v, v)
            kept.append((k, v))
            attended = F.scaled_dot_product_attention(q, k, v, seen)
            x = x + own.out_proj(attended.view(rows, 1, -1))
            # The rows of a window are several queries to the same keys.
            windows = cross_k.shape[0]
            q = layer.encoder_attn.q_proj(layer.encoder_attn_layer_norm(x))
            q = q.view(windows, rows // windows, self.heads, -1).transpose(1, 2)
            attended = F.scaled_dot_product_attention(q, cross_k, cross_v).transpose(1, 2)
            x = x + layer.encoder_attn.out_proj(attended.reshape(rows, 1, -1))
            x = x + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(x))))
        out: Tensor = self.decoder.layer_norm(x)
        return out, kept


class GraphDecoderState(DecoderState):
    """As `DecoderState`. The prompt goes the usual way; rows that have ended are computed further and not looked at.

    Args:
        weights, hidden, max_length, beams: as there.
        step: `GraphStep`, compiled.
    """

    def __init__(self, weights: DecoderWeights, hidden: Tensor, max_length: int, step: Step, beams: int = 1) -> None:
        rows = hidden.shape[0]
        windows = 2 ** (rows - 1).bit_length()  # few different ones, since each is a graph of its own
        padding = hidden[-1:].expand(windows - rows, -1, -1)
        length = graph_length(max_length, weights.dims.max_target)
        super().__init__(weights, torch.cat([hidden, padding]) if windows > rows else hidden, length, beams=beams)
        self.rows = rows
        self._count = windows * beams
        self._step = step
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._read: list[tuple[Tensor, Tensor]] = []
        self._tokens = torch.zeros(self._count, 1, dtype=torch.int64, device=hidden.device)
        self._positions = torch.arange(length, device=hidden.device)
        self._sources = torch.arange(self._count, device=hidden.device)

    def advance(self, tokens: Tensor) -> Tensor:
        """As `DecoderState.advance`."""
        if self.position == 0:
            self._kept.clear()
            return super().advance(tokens)
        if not self._kept:
            self._take_over()
        self._tokens[: self.rows] = tokens
        position = self._positions[self.position : self.position + 1]
        hidden, self._kept = self._step(self._tokens, position, self._kept, self._read)
        self.position += 1
        return hidden[: self.rows]

    def gather(self, sources: Tensor) -> None:
        """As `DecoderState.gather`."""
        if not self._kept:
            super().gather(sources)
            return
        self._sources[: self.rows] = sources
        self._kept = [(k.index_select(0, self._sources), v.index_select(0, self._sources)) for k, v in self._kept]

    def drop_window(self, window: int) -> None:
        """As `DecoderState.drop_window`, but the graph's rows stay as many as they were."""
        if not self._kept:
            super().drop_window(window)
            return
        beams = self._per_window
        last = self.rows // beams - 1
        if window != last:
            for k, v in self._read:
                k[window], v[window] = k[last], v[last]
            here, there = (slice(place * beams, (place + 1) * beams) for place in (window, last))
            for k, v in self._kept:
                k[here], v[here] = k[there], v[there]
        self.rows = last * beams

    def _take_over(self) -> None:
        """What the prompt has left, in tensors whose shapes stay."""
        for cache in self._caches:
            k, v = cache.seen(self._count, len(self._positions))
            self._kept.append((k.contiguous(), v.contiguous()))
        self._read = list(self._cross)


def graph_length(length: int, longest: int) -> int:
    """Positions of the caches for so many tokens: few different ones, since each is a graph of its own."""
    return min(longest, SHORT) if length <= SHORT else longest
