"""Cross-attention of a window to one matrix that says how well each token fits each frame.

The rule is openai/whisper's (`find_alignment` in whisper/timing.py): the weights of each head are normalised over the
tokens, smoothed over the frames by a median of seven, and averaged over the heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MEDIAN", "alignment_matrix", "median_of_seven"]

MEDIAN = 7
"""Frames over which the median is taken."""

LEAST_DEVIATION = 1e-9
"""A frame that every token looks at alike has no say; dividing by its deviation of nothing would make it one."""

# Compare and exchange: these sort seven numbers just as far as their median needs, which is in the middle in the end.
_EXCHANGES = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
)  # fmt: skip


def alignment_matrix(weights: Tensor) -> Tensor:
    """How well tokens fit frames.

    Args:
        weights: (heads, N, T), of one window: attention weights over the frames of its audio, which sum to 1.

    Returns:
        (N, T) float32: the larger, the better.
    """
    weights = weights.float()
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, correction=0)
    normalised = (weights - mean) / deviation.clamp_min(LEAST_DEVIATION)
    return median_of_seven(normalised).mean(dim=0)


def median_of_seven(x: Tensor) -> Tensor:
    """The median of each value and its three neighbours on either side, in the last dimension, reflected at its ends.

    As it is where there are not more than three.
    """
    reach = MEDIAN // 2
    length = x.shape[-1]
    if length <= reach:
        return x
    padded = torch.cat((x[..., 1 : reach + 1].flip(-1), x, x[..., -reach - 1 : -1].flip(-1)), dim=-1)
    # By comparisons of whole tensors: sorting seven at a time is slow, and not every device has it.
    taken = [padded[..., shift : shift + length] for shift in range(MEDIAN)]
    for low, high in _EXCHANGES:
        taken[low], taken[high] = torch.minimum(taken[low], taken[high]), torch.maximum(taken[low], taken[high])
    return taken[reach]
