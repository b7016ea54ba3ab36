"""Between the networks' tensors and numpy. The only part of verify that touches torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.devices.host import import_torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from voxport.types import FloatArray

__all__ = ["as_array", "inference", "on"]


def as_array(tensor: Tensor) -> FloatArray:
    """float32, on the host."""
    found: FloatArray = tensor.detach().float().cpu().numpy()
    return found


def on(tensor: Tensor, like: Tensor) -> Tensor:
    """On the device and in the dtype of `like`."""
    return tensor.to(like.device, like.dtype)


def inference() -> AbstractContextManager[Any]:
    """Without gradients."""
    mode: AbstractContextManager[Any] = import_torch().inference_mode()
    return mode
