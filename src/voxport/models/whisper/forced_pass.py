"""One forward of the decoder over whole texts, which shows what its cross-attention looks at.

The windows of a batch go through together, filled up at their ends, which what comes before can't see; what is taken of
each is its own tokens over the frames of its own audio.

Shapes: B windows, n tokens, T encoder positions (1500), D width, H heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.models.whisper.attention_weights import AttentionWeights
    from voxport.models.whisper.decoder_state import DecoderWeights
    from voxport.models.whisper.forced_texts import ForcedWindow

__all__ = ["FRAME_SECONDS", "forced_pass"]

FRAME_SECONDS = 0.02
"""From one encoder position to the next."""


def forced_pass(
    weights: DecoderWeights,
    hidden: Tensor,
    windows: Sequence[ForcedWindow],
    collected: Sequence[AttentionWeights],
    *,
    eot: int,
    bucket: Callable[[int], int],
    layers: int | None = None,
) -> Tensor | None:
    """The decoder over whole rows, the cross-attention of each window given to its part of `collected`.

    Args:
        weights: of the model.
        hidden: (B, T, D), the encoder's output for all windows, those without a text among them.
        windows: those with a text.
        collected: of each of these, what takes its attention.
        eot: what rows are filled up with.
        bucket: as in `DecoderState`.
        layers: so many from the first are gone through; None = all.

    Returns:
        The normalised hidden states (windows, n, D); None where only some layers were gone through.
    """
    rows = [window.row for window in windows]
    if rows != list(range(len(hidden))):
        hidden = hidden[rows]
    length = min(bucket(max(len(window.tokens) for window in windows)), weights.dims.max_target)
    filled = [[*window.tokens, *[eot] * (length - len(window.tokens))] for window in windows]
    tokens = torch.tensor(filled, device=hidden.device)
    embedded, positions = F.embedding(tokens, weights.tokens), weights.positions[:length]
    x, h = weights.layers[0].enter(embedded, positions.expand_as(embedded))
    for index, (layer, next_norm) in enumerate(zip(weights.layers, weights.next_norms, strict=True)):
        q, k, v = _split(layer.own_qkv(h), 3, layer.heads)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x, h = layer.join(layer.own_out, _merge(attended), x, layer.cross_norm)
        (q,) = _split(layer.cross_q(h), 1, layer.heads)
        if index + 1 == layers:
            _collect(index, q, layer.cross_keys(hidden), windows, collected)
            return None
        k, v = layer.cross_keys_values(hidden)
        _collect(index, q, k, windows, collected)
        attended = F.scaled_dot_product_attention(q, k, v)
        x, h = layer.join(layer.cross_out, _merge(attended), x, layer.final_norm)
        x, h = layer.feed_forward(h, x, next_norm)
    return h


def _collect(
    layer: int, q: Tensor, k: Tensor, windows: Sequence[ForcedWindow], collected: Sequence[AttentionWeights]
) -> None:
    """Attention weights of one layer, of each window over the frames of its own audio. q, k: (B, H, n or T, d)."""
    scale = q.shape[-1] ** -0.5
    for place, (window, own) in enumerate(zip(windows, collected, strict=True)):
        if not own.wants(layer):
            continue
        asked = q[place, :, : len(window.tokens)].float() * scale
        weights = (asked @ k[place, :, : window.frames].float().transpose(1, 2)).softmax(dim=-1)
        own.take(layer, weights)


def _split(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, n, parts D) -> parts of (B, H, n, d)."""
    B, n, _ = projected.shape
    return projected.view(B, n, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _merge(attended: Tensor) -> Tensor:
    """Heads back together: (B, H, n, d) -> (B, n, D)."""
    return attended.transpose(1, 2).flatten(2)
