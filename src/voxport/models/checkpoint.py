"""A published model folder: its JSON files, and its safetensors by their published names, checked strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """A JSON object from `path`; {} where it is absent and not required."""
    if not path.is_file():
        if required:
            raise ModelFormatError(f"{path.parent} has no {path.name}", hint="is it a model folder?")
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFormatError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} holds no JSON object")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, single or sharded."""
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if missing or not names:
            raise ModelFormatError(f"{folder} lacks weight files: {', '.join(missing) or 'none are named'}")
        return [folder / name for name in names]
    hint = None
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        hint = f"convert it first: voxport models import {folder} NAME"
    raise ModelFormatError(f"{folder} has no model.safetensors", hint=hint)


def read_tensors(
    folder: Path, convert: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """All tensors of a folder by name.

    Args:
        folder: with safetensors, one file or shards.
        convert: called with each name and its tensor, which lies in the mapped file; gives the name in the network, and
            the tensor on its device and in its dtype.

    Raises:
        ModelFormatError: there are none, or a file is damaged.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    published, tensor = convert(name, opened.get_tensor(name))
                    tensors[published] = tensor
        except (SafetensorError, OSError) as error:
            raise ModelFormatError(f"{file} can't be read as safetensors: {error}") from error
    return tensors


def check_tensors(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size], folder: Path) -> None:
    """Refuse weights that are not exactly those which the network has.

    Raises:
        ModelFormatError: a tensor is missing, unknown or of another shape.
    """
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        parts = [
            f"{kind}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for kind, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise ModelFormatError(f"the weights in {folder} do not fit its config.json ({'; '.join(parts)})")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ModelFormatError(
                f"{name} in {folder} has shape {tuple(tensors[name].shape)}, config.json says {tuple(shape)}"
            )
