"""Results of a published network's stages, taken where its modules are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["Point", "capture"]


@dataclass(frozen=True)
class Point:
    """Where a stage's result is met.

    Attributes:
        path: of a module.
        where: its "output", its "input" for what lies between modules, or "logits", what the whole forward returns.
        channels_last: whether the result has to be turned from (B, C, T) to (B, T, C).
    """

    path: str
    where: Literal["output", "input", "logits"] = "output"
    channels_last: bool = False


def capture(
    model: nn.Module, points: Mapping[str, Point], names: Collection[str], forward: Callable[[], Tensor]
) -> dict[str, Tensor]:
    """The results of the named stages while `forward` runs and returns the logits (B, T, V)."""
    found: dict[str, Tensor] = {}
    handles = []

    def keep(name: str, point: Point, value: Any) -> None:
        tensor = value[0] if isinstance(value, tuple) else value
        found[name] = (tensor.transpose(1, 2) if point.channels_last else tensor).detach().clone()

    for name in names:
        point = points[name]
        if point.where == "logits":
            continue
        module = model.get_submodule(point.path)
        if point.where == "output":
            handles.append(module.register_forward_hook(lambda _, __, result, n=name, p=point: keep(n, p, result)))
        else:
            handles.append(
                module.register_forward_pre_hook(
                    lambda _, given, named, n=name, p=point: keep(n, p, given or named["hidden_states"]),
                    with_kwargs=True,
                )
            )
    try:
        with torch.inference_mode():
            logits = forward()
    finally:
        for handle in handles:
            handle.remove()
    return {name: logits if points[name].where == "logits" else found[name] for name in names}
