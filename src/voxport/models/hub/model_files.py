"""Which files of a repository or folder make a model, and whether they are all there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["has_random_weights", "missing_files", "safetensors_files", "select_files"]

SUPPORTING_FILES = frozenset(
    {
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "normalizer.json",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    }
)
"""Everything beside the weights that a model is loaded with."""

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED_WEIGHTS = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"


def select_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files, the ones to fetch: safetensors if it has them, else pickled weights to be converted.

    Other precisions and frameworks (``model.fp32-*``, ``tf_model.h5``, ``flax_model.msgpack``) are left out.

    Raises:
        ModelFormatError: there is no config.json or no weights that voxport reads; says what was found instead.
    """
    present = set(names)
    supporting = sorted(present & SUPPORTING_FILES)
    if "config.json" not in present:
        raise ModelFormatError(_what_it_is(present))
    if WEIGHTS in present:
        return [*supporting, WEIGHTS]
    if WEIGHTS_INDEX in present:
        return [*supporting, WEIGHTS_INDEX, *_shards(present, "model-", ".safetensors")]
    if PICKLED_WEIGHTS in present:
        return [*supporting, PICKLED_WEIGHTS]
    if PICKLED_INDEX in present:
        return [*supporting, PICKLED_INDEX, *_shards(present, "pytorch_model-", ".bin")]
    raise ModelFormatError(_what_it_is(present))


def safetensors_files(folder: Path) -> list[Path]:
    """The weights of a folder in order, all shards; empty if it has none in this format.

    Raises:
        ModelFormatError: the list of shards can't be read.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelFormatError(f"{index} is damaged: {error}", hint="fetch the model again") from error
    if any(not isinstance(name, str) or "/" in name or "\\" in name for name in names):
        raise ModelFormatError(f"{index} names files outside its folder")
    return [folder / name for name in sorted(names)]


def missing_files(folder: Path) -> list[str]:
    """What a folder lacks to be loaded as it is; an empty list = complete."""
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    weights = safetensors_files(folder)
    if not weights:
        missing.append(WEIGHTS)
    return missing + [path.name for path in weights if not path.is_file()]


def has_random_weights(folder: Path) -> bool:
    """True where config.json says ``voxport_random_weights``; False also where it can't be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and bool(config.get("voxport_random_weights", False))


def _shards(present: set[str], start: str, end: str) -> list[str]:
    return sorted(name for name in present if name.startswith(start) and name.endswith(end) and "-of-" in name)


def _what_it_is(present: set[str]) -> str:
    """Why these files are no model for us, from what they seem to be."""
    if "adapter_config.json" in present:
        return "it holds a LoRA adapter, not a whole model: merge it into its base model first"
    if "model.bin" in present:
        return "it is a CTranslate2 conversion: download it, then `voxport models import FOLDER NAME`"
    if any(name.endswith(".gguf") or name.startswith("ggml") for name in present):
        return "it holds GGML or GGUF weights, which voxport doesn't read"
    if any(name.endswith(".onnx") for name in present):
        return "it holds ONNX graphs, which voxport doesn't read"
    if "config.json" not in present:
        return "it has no config.json, so it isn't a model in the hub's format"
    return "it has neither safetensors nor pytorch_model.bin weights"
