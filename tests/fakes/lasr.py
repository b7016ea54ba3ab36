"""MedASR folders small enough to be made for every test, with random weights, and what a hub has of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voxport.models.lasr.net import LasrDimensions
from voxport.models.lasr.random_weights import write_random_folder

if TYPE_CHECKING:
    from pathlib import Path

SMALL = LasrDimensions(n_mels=16, width=32, layers=2, heads=2, ffn=48, kernel=4, subsampling_channels=8, vocabulary=64)
"""Numbers that differ, so that none passes for another."""


def lasr_folder(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A small folder as the hub has it; `changes` go to config.json, those of ``encoder_config`` one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_random_folder(folder, SMALL, seed=seed)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    nested = changes.pop("encoder_config", {})
    config["encoder_config"] = config["encoder_config"] | nested if isinstance(nested, dict) else nested
    path.write_text(json.dumps(config | changes), encoding="utf-8")
    return folder


def lasr_repository(folder: Path) -> dict[str, bytes]:
    """What a hub has of it, with what else lies about in Google's."""
    files = {path.name: path.read_bytes() for path in lasr_folder(folder).iterdir()}
    return {**files, "README.md": b"# MedASR", "lm_6.kenlm": b"a language model", "special_tokens_map.json": b"{}"}
