"""Which cross-attention heads follow the audio: published with the checkpoint, or found in the recording itself.

A head that follows the audio looks, token after token, at one place that moves on. So a head is judged by the most
attention that lies on peaks which move on: of each token the frame it looks at most, with the attention around it, and
of these the ascending row that has the most together, over the number of tokens. 1 is a head that looks at nothing but
the next place, token for token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FOUND", "best_heads", "published_heads", "scores"]

FOUND = 6
"""So many heads are taken where none are published; checkpoints publish 5 to 23."""

AROUND = 10
"""Frames of 20 ms on either side of a peak that count as looking at it."""


def published_heads(value: object, layers: int, heads: int) -> tuple[tuple[int, int], ...]:
    """What generation_config.json has as ``alignment_heads``, checked: (layer, head) pairs; empty if there are none.

    Raises:
        ModelFormatError: it is no list of pairs, or names a head that the decoder lacks (code ``alignment_heads``).
    """
    if value is None:
        return ()
    pairs = value if isinstance(value, list) else [value]
    for pair in pairs:
        fits = isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not fits or not (0 <= pair[0] < layers and 0 <= pair[1] < heads):
            raise ModelFormatError(
                f"generation_config.json has the alignment head {pair!r}; the decoder has {layers} layers of {heads}",
                hint='take "alignment_heads" out of the file: they are found without it',
                code="alignment_heads",
            )
    return tuple((layer, head) for layer, head in pairs)


def scores(weights: Tensor) -> Tensor:
    """How well each head follows the audio.

    Args:
        weights: (heads, N, T), of one window: attention weights over the frames of its audio, which sum to 1.

    Returns:
        (heads,) float32 on the CPU, 0 to 1.
    """
    peaks = weights.argmax(dim=-1)
    summed = torch.nn.functional.pad(weights.float().cumsum(dim=-1), (1, 0))
    last = weights.shape[-1]
    mass = summed.gather(-1, (peaks + AROUND + 1).clamp_max(last)[..., None]) - summed.gather(
        -1, (peaks - AROUND).clamp_min(0)[..., None]
    )
    return _heaviest_ascent(peaks.cpu(), mass[..., 0].cpu()) / weights.shape[-2]


def _heaviest_ascent(places: Tensor, mass: Tensor) -> Tensor:
    """(heads, N) each: the largest sum of mass over tokens whose places ascend strictly, for each head."""
    best = mass.clone()  # of the rows that end with each token
    for token in range(1, places.shape[1]):
        before = best[:, :token].masked_fill(places[:, :token] >= places[:, token : token + 1], 0.0)
        best[:, token] += before.amax(dim=1)
    return best.amax(dim=1)


def best_heads(found: Sequence[tuple[float, int, int]], count: int = FOUND) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs of the best of (score, layer, head), in the order of the network."""
    ranked = sorted(found, key=lambda entry: (-entry[0], entry[1], entry[2]))
    return tuple(sorted((layer, head) for _, layer, head in ranked[:count]))
