"""A published Whisper folder (config.json, safetensors) to a network with its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from voxport.errors import ModelFormatError
from voxport.models.checkpoint import check_tensors, read_tensors
from voxport.models.whisper.net import Whisper, WhisperDimensions
from voxport.models.whisper.stages import whisper_topology

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.recipe import Recipe

TIED_NAME = "proj_out.weight"


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


def load_network(
    folder: Path, dims: WhisperDimensions, device: torch.device, dtype: torch.dtype, recipe: Recipe | None = None
) -> Whisper:
    """Build the network and load the weights strictly, by their published names; what a recipe names in float32.

    Raises:
        ModelFormatError: a tensor is missing, unknown or of another shape, or a file is damaged.
        UsageError: the recipe names a module that this network lacks.
    """
    with torch.device("meta"):
        net = Whisper(dims)
    expected = {name: parameter.shape for name, parameter in net.named_parameters(remove_duplicate=False)}
    modules = {name.rpartition(".")[0] for name in expected}
    kept = frozenset[str]() if recipe is None else recipe.modules(modules, modules_of_one_dtype(dims))

    def convert(published: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
        name = _published_name(published)
        own = torch.float32 if name.rpartition(".")[0] in kept else dtype
        return name, tensor.to(device, own, copy=True)  # in any case: a mapped file is not ours to keep

    tensors = read_tensors(folder, convert)
    if dims.tied:
        tensors.pop(TIED_NAME, None)
        expected.pop(TIED_NAME)
    check_tensors(tensors, expected, folder)
    net.load_state_dict(tensors, strict=not dims.tied, assign=True)
    if dims.tied:
        net.proj_out.weight = net.model.decoder.embed_tokens.weight
    net.requires_grad_(False)
    net.eval()
    net.fuse()
    return net


def modules_of_one_dtype(dims: WhisperDimensions) -> list[tuple[str, ...]]:
    """Modules whose matrices lie in one tensor, or whose results are added before anything reads them."""
    table = whisper_topology(dims.encoder_layers, dims.encoder_heads, dims.decoder_layers, dims.decoder_heads)
    tables = ("model.decoder.embed_tokens", "model.decoder.embed_positions")
    groups = [stage.reads for stage in table if stage.kind == "attention"]
    return [*groups, (*tables, "proj_out") if dims.tied else tables]


def _published_name(name: str) -> str:
    """Checkpoints of the bare model lack the leading "model."."""
    return f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name
