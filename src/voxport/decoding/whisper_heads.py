"""Which cross-attention heads follow the audio: found in what was heard, or published with the checkpoint.

Some heads look, for each token just read, at the place where it is said, closer than those that are published for it.
They are found in each window anew, without any data to learn from; that which heads to ask is best seen in the
utterance itself is the finding of "Whisper Has an Internal Word Aligner" (Yeh, Meng, Tang 2025, arXiv:2509.09987). How
they are found here:

- A head is judged by the most attention that lies on peaks which move on: of each token the frame that it looks at
  most, with the attention around it, and of these the ascending row that has the most together, over the number of
  tokens. 1 is a head that looks at one place for each token, and always at a later one.
- The best head of the lower half of the layers leads. So low down a layer knows the token just read and not yet the
  next one, so it is the place of that one that it looks at: higher up there are heads of either kind, and which token a
  head looks for can't be told from the head alone.
- With it go those few others that look at nearly the same places.

Published heads (``alignment_heads``, openai/whisper's choice) look for the token that comes next. They are asked where
the text is too short to judge by, or no head of the lower half follows it clearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CLEAR",
    "HEADS",
    "LEAST_TOKENS",
    "Head",
    "choose",
    "judge",
    "judged_layers",
    "leading_layers",
    "published_heads",
]

HEADS = 4
"""So many are asked at the most."""

CLEAR = 0.5
"""The score of a head that follows the audio clearly, and so may lead."""

LEAST_SCORE = 0.4
"""The score of one that may go with it."""

LEAST_TOKENS = 4
"""Of fewer tokens nearly any head's peaks ascend."""

NEAR = 10.0
"""Frames of 20 ms between the places of two heads, on average, that still are nearly the same."""

FAR = 50
"""Frames beyond which a difference counts no more: one token lost says nothing about the others."""

AROUND = 10
"""Frames on either side of a peak that count as looking at it."""

LOWER, JUDGED = 0.5, 0.7
"""The parts of the layers that have the leading head and those that go with it."""


@dataclass(frozen=True)
class Head:
    """One head in one window.

    Attributes:
        layer, head: which.
        score: how well it follows the audio, 0 to 1.
        places: (n,) the frame that it looks at most after reading each text token, on the CPU.
        mass: (n,) the attention around it.
        weights: (N, T) its attention after every token of the row.
    """

    layer: int
    head: int
    score: float
    places: Tensor
    mass: Tensor
    weights: Tensor


def published_heads(value: object, layers: int, heads: int) -> tuple[tuple[int, int], ...]:
    """What generation_config.json has as ``alignment_heads``, checked: (layer, head) pairs; empty if there are none.

    Raises:
        ModelFormatError: it is no list of pairs, or names a head that the decoder lacks (code ``alignment_heads``).
    """
    if value is None:
        return ()
    pairs: list[Any] = value if isinstance(value, list) else [value]
    for pair in pairs:
        fits = isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not fits or not (0 <= pair[0] < layers and 0 <= pair[1] < heads):
            raise ModelFormatError(
                f"generation_config.json has the alignment head {pair!r}; the decoder has {layers} layers of {heads}",
                hint='take "alignment_heads" out of the file: they are found without it',
                code="alignment_heads",
            )
    return tuple((layer, head) for layer, head in pairs)


def judged_layers(layers: int) -> int:
    """How many layers are looked into, from the first, of a decoder of so many."""
    return max(1, round(JUDGED * layers))


def leading_layers(layers: int) -> int:
    """How many of them, from the first, may have the head that leads."""
    return max(1, math.ceil(LOWER * layers))


def judge(layer: int, weights: Tensor, text: slice) -> list[Head]:
    """The heads of one layer that follow the audio at all, the best first.

    Args:
        layer: its number.
        weights: (heads, N, T), of one window: attention weights over the frames of its audio, which sum to 1.
        text: the rows in which a text token was just read.
    """
    frames = weights.shape[-1]
    asked = weights[:, text]
    places = asked.argmax(dim=-1)
    around = places[..., None] + torch.arange(-AROUND, AROUND + 1, device=weights.device)
    inside = (around >= 0) & (around < frames)
    mass = (asked.gather(-1, around.clamp(0, frames - 1)) * inside).sum(dim=-1).cpu()
    places = places.cpu()
    scores = (heaviest_ascent(places, mass) / max(1, places.shape[1])).tolist()
    found = [
        Head(layer, head, score, places[head], mass[head], weights[head])
        for head, score in enumerate(scores)
        if score >= LEAST_SCORE
    ]
    return sorted(found, key=_rank)


def heaviest_ascent(places: Tensor, mass: Tensor) -> Tensor:
    """(heads, n) each: the largest sum of mass over tokens whose places ascend strictly, for each head."""
    best = mass.clone()  # of the rows that end with each token
    for token in range(1, places.shape[1]):
        before = best[:, :token].masked_fill(places[:, :token] >= places[:, token : token + 1], 0.0)
        best[:, token] += before.amax(dim=1)
    return best.amax(dim=1)


def choose(found: Sequence[Head], layers: int) -> list[Head]:
    """The heads to ask, in the order of the network; none where no head follows the audio clearly.

    Args:
        found: of the lower layers of one window.
        layers: how many the decoder has.
    """
    ranked = sorted(found, key=_rank)
    leading = next((head for head in ranked if head.layer < leading_layers(layers)), None)
    if leading is None or leading.score < CLEAR or len(leading.places) < LEAST_TOKENS:
        return []
    near = [head for head in ranked if _distance(head, leading) <= NEAR]
    return sorted(near[:HEADS], key=lambda head: (head.layer, head.head))


def _distance(one: Head, other: Head) -> float:
    """Frames between the places that they look at, where both look at one."""
    weight = one.mass * other.mass
    apart = (one.places - other.places).abs().clamp_max(FAR)
    return float((apart * weight).sum() / weight.sum().clamp_min(1e-9))


def _rank(head: Head) -> tuple[float, int, int]:
    return (-head.score, head.layer, head.head)
