"""Hugging Face folders of any family: config.json and weights read, and brought to safetensors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError, OutputError
from voxport.models.convert.openai import load_pickle
from voxport.models.safetensors_file import StoredTensor, from_torch, read_safetensors, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["PICKLES", "WEIGHTS", "copy_files", "read_config", "read_tensors", "weight_files", "write_weights"]

WEIGHTS = "model.safetensors"
PICKLES = "pytorch_model.bin"


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """One JSON object of a folder.

    Raises:
        ModelFormatError: it is absent or no JSON object.
    """
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFormatError(f"{folder} has no {name}", hint="is the folder complete?") from error
    except OSError as error:
        raise ModelFormatError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is no JSON: {error}", hint="get the file again") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} holds no JSON object", hint="get the file again")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights: one, or the shards that the index names; safetensors before pickles.

    Raises:
        ModelFormatError: none are there, or the index names one that is missing or lies outside the folder.
    """
    for single in (WEIGHTS, PICKLES):
        if (folder / single).is_file():
            return [folder / single]
        index = f"{single}.index.json"
        if not (folder / index).is_file():
            continue
        table = read_config(folder, index).get("weight_map")
        names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
        bad = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if bad or not names:
            raise ModelFormatError(
                f"{folder / index} names {f'files that are not in the folder: {bad[0]}' if bad else 'no files'}",
                hint="is the folder complete?",
            )
        return [folder / name for name in names]
    raise ModelFormatError(
        f"{folder} has neither {WEIGHTS} nor {PICKLES}, nor an index of either", hint="is the folder complete?"
    )


def read_tensors(folder: Path, published: Callable[[str], str] = str) -> dict[str, StoredTensor]:
    """All tensors of a folder; pickles are read without running any code of theirs.

    Args:
        folder: with weights, one file or shards.
        published: gives the published name of a stored one.

    Raises:
        ModelFormatError: there are none, a file is damaged, or a tensor is there twice.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for stored, tensor in (_pickled(path) if path.suffix == ".bin" else read_safetensors(path)).items():
            name = published(stored)
            if name in tensors:
                raise ModelFormatError(f"{name} is in two files of {folder}", hint="get the folder again")
            tensors[name] = tensor
    return tensors


def write_weights(folder: Path, destination: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """The weights of `folder`: safetensors copied as they are, single or sharded; `tensors` written for pickles.

    Raises:
        OutputError: they can't be written.
    """
    files = weight_files(folder)
    if files[0].suffix != ".safetensors":
        write_safetensors(destination / WEIGHTS, tensors)
        return
    index = [] if files == [folder / WEIGHTS] else [folder / f"{WEIGHTS}.index.json"]
    for path in [*files, *index]:
        _copy(path, destination / path.name)


def copy_files(folder: Path, names: Iterable[str], destination: Path) -> None:
    """Those of the files that `folder` has, and its licence.

    Raises:
        OutputError: one can't be written.
    """
    licences = sorted(path for path in folder.glob("LICEN[SC]E*") if path.is_file())
    for path in [*(folder / name for name in names if (folder / name).is_file()), *licences]:
        _copy(path, destination / path.name)


def _pickled(path: Path) -> dict[str, StoredTensor]:
    import torch

    content = load_pickle(path)
    if not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ModelFormatError(f"{path} holds something else than tensors", hint="a state dict is needed")
    return {str(name): from_torch(tensor) for name, tensor in content.items()}


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(f"{source} can't be copied to {target}: {error.strerror or error}") from error
