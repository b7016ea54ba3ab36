"""A published MedASR folder (config.json, safetensors) to a network with its weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from voxport.errors import ModelFormatError
from voxport.models.checkpoint import check_tensors, read_tensors
from voxport.models.lasr.net import Lasr, LasrDimensions, rotary_speeds
from voxport.models.lasr.stages import lasr_topology

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.recipe import Recipe

_COMPUTED = re.compile(
    r"encoder\.layers\.\d+\.(feed_forward[12]\.|self_attn\.|conv\.(pointwise_conv[12]|depthwise_conv)\.)"
)
"""Parameters in the compute dtype."""

COUNTER = ".num_batches_tracked"
"""Batches that a norm saw in training: of no use here, and left out by some conversions."""

_FLOAT32 = re.compile(r"encoder\.layers\.\d+\.conv\.norm\.")
"""Parameters and statistics of batch norms. All others are in the stream's dtype."""

NUMBERS: dict[str, str] = {
    "n_mels": "num_mel_bins",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "kernel": "conv_kernel_size",
    "subsampling_channels": "subsampling_conv_channels",
    "subsampling_kernel": "subsampling_conv_kernel_size",
    "subsampling_stride": "subsampling_conv_stride",
    "max_positions": "max_position_embeddings",
}
"""`LasrDimensions` -> the published name of a whole number in ``encoder_config``."""

LARGEST = {"num_hidden_layers": 1000, "conv_kernel_size": 1000, "subsampling_conv_kernel_size": 1000}
"""No network has more of these, nor a million of anything else: what is larger was forged, and would take hours."""


def dimensions(config: dict[str, Any], where: Path) -> LasrDimensions:
    """The network's numbers from a published config.json. What it leaves out has the published default.

    Raises:
        ModelFormatError: a value can't be, or a setting that the network does not have would be computed wrongly.
    """
    encoder = config.get("encoder_config", {})
    if not isinstance(encoder, dict):
        raise ModelFormatError(f"{where}/config.json: encoder_config is no object", hint="get the file again")
    _refuse_unknown_variants(encoder, where)
    defaults = LasrDimensions()
    numbers = {
        ours: _positive(encoder, published, getattr(defaults, ours), where) for ours, published in NUMBERS.items()
    }
    dims = LasrDimensions(
        **numbers,
        vocabulary=_positive(config, "vocab_size", defaults.vocabulary, where),
        norm_eps=_real(encoder, "layer_norm_eps", defaults.norm_eps, where),
        rope_theta=_theta(encoder, defaults.rope_theta, where),
        ffn_residual=_pair(encoder, "feed_forward_residual_weights", defaults.ffn_residual, where),
        conv_residual=_pair(encoder, "conv_residual_weights", defaults.conv_residual, where),
        attention_bias=bool(encoder.get("attention_bias", False)),
        convolution_bias=bool(encoder.get("convolution_bias", False)),
    )
    if dims.width % dims.heads or (dims.width // dims.heads) % 2:
        raise ModelFormatError(
            f"{where}/config.json: {dims.heads} attention heads do not divide the width {dims.width} evenly"
        )
    return dims


def blank_token(config: dict[str, Any], where: Path) -> int:
    """The id of CTC's blank: the published code takes ``pad_token_id``."""
    blank = config.get("pad_token_id", 0)
    if not isinstance(blank, int) or not 0 <= blank < config.get("vocab_size", LasrDimensions.vocabulary):
        raise ModelFormatError(f"{where}/config.json: pad_token_id, CTC's blank, can't be {blank!r}")
    return blank


def _refuse_unknown_variants(encoder: dict[str, Any], where: Path) -> None:
    """Settings of transformers' LASR that MedASR does not use."""
    activation = encoder.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelFormatError(f"{where}/config.json sets hidden_act to {activation!r}, MedASR's is silu")
    kind = (_rope(encoder) or {}).get("rope_type", "default")
    if kind != "default":
        raise ModelFormatError(f"{where}/config.json sets rope_type to {kind!r}, MedASR's is default")
    groups = encoder.get("num_key_value_heads")
    if groups is not None and groups != encoder.get("num_attention_heads", LasrDimensions.heads):
        raise ModelFormatError(f"{where}/config.json sets num_key_value_heads to {groups}, MedASR has no groups")


def _rope(encoder: dict[str, Any]) -> dict[str, Any] | None:
    value = encoder.get("rope_parameters") or encoder.get("rope_scaling")
    return value if isinstance(value, dict) else None


def _theta(encoder: dict[str, Any], default: float, where: Path) -> float:
    """Newer folders have it in rope_parameters, older ones beside the other numbers."""
    return _real({**encoder, **(_rope(encoder) or {})}, "rope_theta", default, where)


def _positive(config: dict[str, Any], name: str, default: int, where: Path) -> int:
    value = config.get(name, default)
    if type(value) is not int or not 1 <= value <= LARGEST.get(name, 1_000_000):
        raise ModelFormatError(f"{where}/config.json: {name} can't be {value!r}", hint="get the file again")
    return value


def _real(config: dict[str, Any], name: str, default: float, where: Path) -> float:
    value = config.get(name, default)
    if type(value) not in (int, float) or value <= 0:
        raise ModelFormatError(f"{where}/config.json: {name} can't be {value!r}", hint="get the file again")
    return float(value)


def _pair(config: dict[str, Any], name: str, default: tuple[float, float], where: Path) -> tuple[float, float]:
    value = config.get(name, default)
    if not (isinstance(value, (list, tuple)) and [type(number) in (int, float) for number in value] == [True, True]):
        raise ModelFormatError(f"{where}/config.json: {name} can't be {value!r}", hint="two numbers are needed")
    return float(value[0]), float(value[1])


def modules_of_one_dtype(dims: LasrDimensions) -> list[tuple[str, ...]]:
    """Modules whose matrices lie in one tensor."""
    return [
        stage.reads for stage in lasr_topology(dims.layers, dims.heads, dims.rope_theta) if stage.kind == "attention"
    ]


def derived_tensors(dims: LasrDimensions) -> dict[str, torch.Tensor]:
    """What some conversions store beside the weights though it follows from config.json: name -> value."""
    speeds = rotary_speeds(dims, torch.device("cpu"))
    return {f"encoder.rotary_emb.{name}": speeds for name in ("inv_freq", "original_inv_freq")}


def _check_derived(stored: torch.Tensor, expected: torch.Tensor, name: str, folder: Path) -> None:
    if stored.shape != expected.shape or not torch.allclose(stored.float().cpu(), expected, rtol=1e-2):
        raise ModelFormatError(f"{name} in {folder} is not what config.json's rope_theta gives")


def load_network(
    folder: Path,
    dims: LasrDimensions,
    device: torch.device,
    stream: torch.dtype,
    compute: torch.dtype,
    recipe: Recipe | None = None,
) -> Lasr:
    """Build the network and load the weights strictly, by their published names.

    Args:
        folder: config.json and safetensors.
        dims: from `dimensions`.
        device: where to.
        stream: dtype of sub-sampler, residual stream, norms and head.
        compute: dtype of the matrix products in the blocks.
        recipe: names modules that are in float32 whatever `stream` and `compute` say.

    Raises:
        ModelFormatError: a tensor is missing, unknown or of another shape, or a file is damaged.
        UsageError: the recipe names a module that this network lacks.
    """
    with torch.device("meta"):
        net = Lasr(dims)
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    modules = {name.rpartition(".")[0] for name in expected}
    kept = frozenset[str]() if recipe is None else recipe.modules(modules, modules_of_one_dtype(dims))

    def convert(name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
        if not tensor.is_floating_point():  # how many batches the norms have seen
            return name, tensor.to(device, copy=True)
        in_float32 = _FLOAT32.match(name) or name.rpartition(".")[0] in kept
        dtype = torch.float32 if in_float32 else compute if _COMPUTED.match(name) else stream
        return name, tensor.to(device, dtype, copy=True)  # in any case: a mapped file is not ours to keep

    tensors = read_tensors(folder, convert)
    for name in [name for name in tensors if name in derived_tensors(dims)]:
        _check_derived(tensors.pop(name), derived_tensors(dims)[name], name, folder)
    for name in expected.keys() - tensors.keys():
        if name.endswith(COUNTER):
            tensors[name] = torch.tensor(0, device=device)
    check_tensors(tensors, expected, folder)
    net.load_state_dict(tensors, strict=True, assign=True)
    net.requires_grad_(False)
    net.eval()
    net.fuse()
    return net
