"""A window's cross-attention weights, taken layer after layer: of the heads that may tell when its tokens are said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from voxport.decoding.whisper_attention import alignment_matrix
from voxport.decoding.whisper_heads import Head, choose, judge, judged_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AttentionWeights", "Pairs"]

Pairs = tuple[tuple[int, int], ...]
"""Heads as (layer, head)."""

KEPT = 12
"""Of the heads judged, so many are remembered: the best."""


class AttentionWeights:
    """One window's.

    Args:
        layers: how many the decoder has.
        first: the row of its first text token.
        count: how many text tokens there are.
        published: heads that the checkpoint publishes.
        finding: look for better ones.
    """

    def __init__(
        self, layers: int, first: int, count: int, published: Sequence[tuple[int, int]], finding: bool
    ) -> None:
        self._layers = layers
        self._first, self._count = first, count
        self._published = published
        self._finding = finding or not published
        self._found: list[Head] = []
        self._asked: list[tuple[tuple[int, int], Tensor]] = []

    def wants(self, layer: int) -> bool:
        """Whether this layer's are asked for."""
        judged = self._finding and layer < judged_layers(self._layers)
        return judged or any(layer == published for published, _ in self._published)

    def take(self, layer: int, weights: Tensor) -> None:
        """One layer's: (heads, rows, frames) float32, each row's over the frames of the window's audio."""
        own = [head for published, head in self._published if published == layer]
        self._asked += [((layer, head), weights[head].clone()) for head in own]  # copies: the others' memory is freed
        if self._finding and layer < judged_layers(self._layers):
            text = slice(self._first, self._first + self._count)
            found = [replace(head, weights=head.weights.clone()) for head in judge(layer, weights, text)[:KEPT]]
            self._found = sorted([*self._found, *found], key=lambda head: (-head.score, head.layer, head.head))[:KEPT]

    def matrix(self) -> tuple[Tensor, Pairs]:
        """How well each token, and what comes after the last, fits each frame; and the heads that say so.

        (count + 1, frames), or (count, frames) where the row has no token after the last.
        """
        chosen = self._clear()
        if not chosen and not self._published:
            chosen = self._found[:1]  # there is no better one
        if chosen:
            # They look where the token just read is said.
            rows = slice(self._first, self._first + self._count + 1)
            weights, pairs = [head.weights for head in chosen], tuple((head.layer, head.head) for head in chosen)
        else:
            # They look for the token that comes next.
            rows = slice(self._first - 1, self._first + self._count)
            weights, pairs = [one for _, one in self._asked], tuple(pair for pair, _ in self._asked)
        return alignment_matrix(torch.stack(weights))[rows], pairs

    def places(self) -> Tensor | None:
        """The frame that each text token fits best, (count,); None where no head follows the audio clearly."""
        chosen = self._clear()
        if not chosen:
            return None
        fits = alignment_matrix(torch.stack([head.weights for head in chosen]))
        return fits[self._first : self._first + self._count].argmax(dim=-1)

    @property
    def clear(self) -> bool:
        """Whether heads were found that follow the audio clearly."""
        return bool(self._clear())

    def _clear(self) -> list[Head]:
        """The heads that follow the audio clearly, and with each other."""
        return choose(self._found, self._layers)
