"""What a reader of results should know of the model and the device that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.cli.terminal import note, warn

if TYPE_CHECKING:
    from voxport.models import ASRModel

__all__ = ["introduce"]


def introduce(model: ASRModel, *, quiet: bool) -> None:
    """Warn of random weights and simulated devices, and unless `quiet` tell which device ``auto`` has chosen, and
    of mixed precision."""
    if model.info.random_weights:
        warn(f"{model.name} has random weights: what it says means nothing")
    if model.device.simulated:
        kind = model.device.kind
        warn(f"{model.device} is simulated on the CPU, for development: its speed and numerics are no {kind}'s")
    if model.device.choice and not quiet:
        note("device", model.device.choice)
    if model.float32_modules and not quiet:
        note("precision", f"{model.dtype}, {len(model.float32_modules)} modules in float32")
