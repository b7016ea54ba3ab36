"""Hugging Face folders, fine-tuned and distilled ones too: checked, and brought to safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from voxport.errors import ModelFormatError
from voxport.models.convert.layout import Dimensions, check_tensors
from voxport.models.convert.openai import load_pickle
from voxport.models.safetensors_file import StoredTensor, from_torch, read_safetensors

__all__ = ["PICKLES", "WEIGHTS", "dimensions", "read_config", "read_huggingface", "weight_files"]

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


def dimensions(config: dict[str, Any], where: object) -> Dimensions:
    """The network's dimensions as config.json gives them.

    Raises:
        ModelFormatError: one is missing or can't be.
    """
    names = {
        "n_mels": "num_mel_bins",
        "n_audio_ctx": "max_source_positions",
        "n_audio_state": "d_model",
        "n_audio_head": "encoder_attention_heads",
        "n_audio_layer": "encoder_layers",
        "n_vocab": "vocab_size",
        "n_text_ctx": "max_target_positions",
        "n_text_state": "d_model",
        "n_text_head": "decoder_attention_heads",
        "n_text_layer": "decoder_layers",
        "n_audio_ffn": "encoder_ffn_dim",
        "n_text_ffn": "decoder_ffn_dim",
    }
    assumed = {"max_source_positions": 1500, "max_target_positions": 448}
    sizes: dict[str, Any] = {ours: config.get(theirs, assumed.get(theirs)) for ours, theirs in names.items()}
    bad = [f"{names[ours]} = {size!r}" for ours, size in sizes.items() if type(size) is not int or not 0 < size < 10**6]
    if bad:
        raise ModelFormatError(f"the config.json of {where} has {', '.join(bad)}", hint="is it a Whisper model?")
    return Dimensions(**sizes)


def read_huggingface(folder: Path) -> tuple[dict[str, StoredTensor], Dimensions, dict[str, Any]]:
    """The tensors under their published names, the dimensions, and config.json.

    Checkpoints of the bare model, without the output projection, lack the leading "model.": it is put there.

    Raises:
        ModelFormatError: it is no whole Whisper folder, or its weights do not fit its config.json.
    """
    config = read_config(folder)
    if config.get("model_type") != "whisper":
        raise ModelFormatError(
            f"{folder} holds a model of type {config.get('model_type')!r}", hint="only Whisper models can be imported"
        )
    sizes = dimensions(config, folder)
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for name, tensor in (_pickled(path) if path.suffix == ".bin" else read_safetensors(path)).items():
            published = f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name
            if published in tensors:
                raise ModelFormatError(f"{published} is in two files of {folder}", hint="get the folder again")
            tensors[published] = tensor
    check_tensors(tensors, sizes, folder)
    return tensors, sizes, config


def _pickled(path: Path) -> dict[str, StoredTensor]:
    import torch

    content = load_pickle(path)
    if not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ModelFormatError(f"{path} holds something else than tensors", hint="a state dict is needed")
    return {str(name): from_torch(tensor) for name, tensor in content.items()}
