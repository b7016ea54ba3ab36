"""A published Whisper folder (config.json, safetensors) to a network with its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from voxport.errors import ModelFormatError
from voxport.models.whisper.net import Whisper, WhisperDimensions

TIED_NAME = "proj_out.weight"


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


def dimensions(config: dict[str, Any], where: Path) -> WhisperDimensions:
    """The network's numbers from a published config.json.

    Raises:
        ModelFormatError: one is missing, or a setting that the network does not have would be computed wrongly.
    """
    _refuse_unknown_variants(config, where)
    try:
        dims = WhisperDimensions(
            n_mels=int(config["num_mel_bins"]),
            width=int(config["d_model"]),
            encoder_layers=int(config["encoder_layers"]),
            encoder_heads=int(config["encoder_attention_heads"]),
            encoder_ffn=int(config["encoder_ffn_dim"]),
            decoder_layers=int(config["decoder_layers"]),
            decoder_heads=int(config["decoder_attention_heads"]),
            decoder_ffn=int(config["decoder_ffn_dim"]),
            vocabulary=int(config["vocab_size"]),
            max_source=int(config.get("max_source_positions", 1500)),
            max_target=int(config.get("max_target_positions", 448)),
            # transformers ties Whisper's output projection unless told otherwise.
            tied=bool(config.get("tie_word_embeddings", True)),
        )
    except KeyError as error:
        raise ModelFormatError(f"{where}/config.json lacks {error}", hint="is it a Whisper model?") from error
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{where}/config.json holds a value that is no number: {error}") from error
    for heads in (dims.encoder_heads, dims.decoder_heads):
        if heads < 1 or dims.width % heads:
            raise ModelFormatError(f"{where}/config.json: {heads} attention heads do not divide the width {dims.width}")
    return dims


def _refuse_unknown_variants(config: dict[str, Any], where: Path) -> None:
    """Settings of transformers' Whisper that no published checkpoint uses."""
    if config.get("scale_embedding", False):
        raise ModelFormatError(f"{where}/config.json sets scale_embedding, which no published Whisper does")
    activation = config.get("activation_function", "gelu")
    if activation != "gelu":
        raise ModelFormatError(f"{where}/config.json sets activation_function to {activation!r}, Whisper's is gelu")


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


def load_network(folder: Path, dims: WhisperDimensions, device: torch.device, dtype: torch.dtype) -> Whisper:
    """Build the network and load the weights strictly, by their published names.

    Raises:
        ModelFormatError: a tensor is missing, unknown or of another shape, or a file is damaged.
    """
    with torch.device("meta"):
        net = Whisper(dims)
    expected = {name: parameter.shape for name, parameter in net.named_parameters(remove_duplicate=False)}
    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    # On the CPU in float32 a copy is wanted in any case: a mapped file is not ours to keep.
                    tensors[_published_name(name)] = opened.get_tensor(name).to(device=device, dtype=dtype)
        except (SafetensorError, OSError) as error:
            raise ModelFormatError(f"{file} can't be read as safetensors: {error}") from error
    if dims.tied:
        tensors.pop(TIED_NAME, None)
        expected.pop(TIED_NAME)
    _check(tensors, expected, folder)
    net.load_state_dict(tensors, strict=not dims.tied, assign=True)
    if dims.tied:
        net.proj_out.weight = net.model.decoder.embed_tokens.weight
    net.requires_grad_(False)
    net.eval()
    net.fuse()
    return net


def _published_name(name: str) -> str:
    """Checkpoints of the bare model lack the leading "model."."""
    return f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name


def _check(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Size], folder: Path) -> None:
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
