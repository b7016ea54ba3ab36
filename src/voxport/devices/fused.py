"""Operations that a device may have in one piece where torch needs several, as plain functions over tensors.

A model asks `Device.fused` once, when it is loaded, and takes the plain way wherever there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    AddNorm = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    FeedForward = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FusedOperations:
    """What there is; None = not here.

    Attributes:
        add_norm: (a, b, weight, bias, eps) -> (layer norm of a + b, a + b). Shapes: a, b (..., D), weight, bias (D,).
        feed_forward: (x, w1, b1, w2, b2) -> gelu(x @ w1 + b1) @ w2 + b2. Shapes: x (..., D), w1 (D, F), w2 (F, D),
            both contiguous, b1 (F,), b2 (D,).
        refused: name -> why it is not used although the device has it: it failed the check, or precision forbids it.
    """

    add_norm: AddNorm | None = None
    feed_forward: FeedForward | None = None
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """Of those in use."""
        return [name for name in ("add_norm", "feed_forward") if getattr(self, name) is not None]


NOTHING_FUSED = FusedOperations()
