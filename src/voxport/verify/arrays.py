"""Between the networks' tensors and numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from voxport.types import FloatArray

__all__ = ["as_array", "on"]


def as_array(tensor: Tensor) -> FloatArray:
    """float32, on the host."""
    found: FloatArray = tensor.detach().float().cpu().numpy()
    return found


def on(tensor: Tensor, like: Tensor) -> Tensor:
    """On the device and in the dtype of `like`."""
    return tensor.to(like.device, like.dtype)
