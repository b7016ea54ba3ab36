"""MedASR folders with random weights, small ones and one of the true shape, and what to feed them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file, save_file

from voxport.models.lasr.net import LasrDimensions
from voxport.models.lasr.random_weights import write_random_folder
from voxport.types import Audio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

SMALL = LasrDimensions(
    width=32, layers=2, heads=2, ffn=48, kernel=6, subsampling_channels=24, vocabulary=160, max_positions=1000
)
LOGITS = 2e-5
"""Largest difference of a float32 logit from the published one; 6.2e-6 was measured, with logits up to 4."""
PADDED = 1e-5
"""How far padding to a batch or to a bucket may move a valid logit; 3.4e-6 was measured."""


def small_folder(folder: Path, **changes: Any) -> Path:
    """Random weights of a very small shape; `changes` of `LasrDimensions`."""
    folder.mkdir(parents=True)
    write_random_folder(folder, LasrDimensions(**{**vars(SMALL), **changes}), seed=1)
    return folder


def change_config(folder: Path, **values: Any) -> None:
    """Set values of config.json's encoder_config, or of config.json where they are its own."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        (config if name in config else config["encoder_config"])[name] = value
    path.write_text(json.dumps(config), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def noise(seconds: float, seed: int = 0) -> Audio:
    """Noise whose loudness changes, so that frames differ."""
    random = np.random.default_rng(seed)
    count = round(seconds * 16_000)
    loudness = np.repeat(random.uniform(0, 1, count // 800 + 1), 800)[:count]
    return Audio((0.3 * loudness * random.standard_normal(count)).astype(np.float32))
