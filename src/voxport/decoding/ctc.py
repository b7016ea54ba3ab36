"""CTC's greedy decoding: the best path through the frames, and the tokens that it emits.

After "Connectionist Temporal Classification", Graves et al., 2006: repeats of a token in neighbouring frames are one
emission, blanks part emissions, so a token said twice has a blank between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from voxport.types import FloatArray


@dataclass(frozen=True)
class BestPath:
    """The likeliest token of each frame.

    Attributes:
        tokens: int64, shape (frames,).
        probabilities: of those tokens, float32, shape (frames,).
    """

    tokens: npt.NDArray[np.int64]
    probabilities: FloatArray

    def __len__(self) -> int:
        return len(self.tokens)

    def slice(self, start: int, end: int | None = None) -> BestPath:
        """Only these frames."""
        return BestPath(self.tokens[start:end], self.probabilities[start:end])


@dataclass(frozen=True)
class Emission:
    """A token that the path emits.

    Attributes:
        token: its id.
        first, last: frames in which the path stays on it, both included.
        probability: the highest among those frames.
    """

    token: int
    first: int
    last: int
    probability: float


def best_paths(logits: Tensor, frames: Sequence[int]) -> list[BestPath] | None:
    """The best path of each window.

    Args:
        logits: (B, T, V), on any device.
        frames: valid frames of each window.

    Returns:
        One path a window, or None if a logit of a valid frame is not finite.
    """
    valid = torch.arange(logits.shape[1], device=logits.device) < torch.tensor(frames, device=logits.device)[:, None]
    finite = (logits.isfinite().all(dim=-1) | ~valid).all()
    probabilities, tokens = logits.float().softmax(dim=-1).max(dim=-1)
    if not finite.item():
        return None
    ids, values = tokens.cpu().numpy(), probabilities.cpu().numpy()
    return [BestPath(ids[row, :count], values[row, :count]) for row, count in enumerate(frames)]


def collapse(tokens: npt.NDArray[np.int64], blank: int) -> list[tuple[int, int, int]]:
    """The emissions of a path as (token, first frame, last frame)."""
    if not len(tokens):
        return []
    starts = np.flatnonzero(np.diff(tokens, prepend=tokens[0] - 1))
    ends = [*(starts[1:] - 1), len(tokens) - 1]
    runs = zip(tokens[starts].tolist(), starts.tolist(), ends, strict=True)
    return [(token, first, int(last)) for token, first, last in runs if token != blank]


class Collapser:
    """`collapse` for a path that comes in pieces, on a clock of frames: an emission may span pieces."""

    def __init__(self, blank: int) -> None:
        self._blank = blank
        self._open: Emission | None = None

    def feed(self, path: BestPath, start: int) -> list[Emission]:
        """Take further frames, of which the first is number `start`; give the emissions that have ended."""
        if not len(path):
            return []
        ended: list[Emission] = []
        for token, first, last in collapse(path.tokens, self._blank):
            emission = Emission(token, start + first, start + last, float(path.probabilities[first : last + 1].max()))
            if self._open is not None and first == 0 and self._open.token == token:
                emission = Emission(
                    token, self._open.first, emission.last, max(self._open.probability, emission.probability)
                )
            elif self._open is not None:
                ended.append(self._open)
            self._open = emission
        if self._open is not None and path.tokens[-1] == self._blank:
            ended += self.finish()
        return ended

    def finish(self) -> list[Emission]:
        """End the path: the emission that was still going on, if there is one."""
        emission, self._open = self._open, None
        return [] if emission is None else [emission]
