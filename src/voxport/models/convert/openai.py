"""OpenAI's own checkpoints (``tiny.en.pt``) to Hugging Face names, one to one.

After `convert_openai_to_hf.py` of transformers and `whisper/model.py` of openai/whisper.
"""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError
from voxport.models.convert.layout import Dimensions, check_tensors
from voxport.models.safetensors_file import StoredTensor, from_torch

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_pickle", "read_openai"]

_OUTER = {
    "encoder.positional_embedding": "model.encoder.embed_positions.weight",
    "decoder.positional_embedding": "model.decoder.embed_positions.weight",
    "decoder.token_embedding.weight": "model.decoder.embed_tokens.weight",
}
_SCOPES = {
    "encoder.conv1": "model.encoder.conv1",
    "encoder.conv2": "model.encoder.conv2",
    "encoder.ln_post": "model.encoder.layer_norm",
    "decoder.ln": "model.decoder.layer_norm",
}
_IN_LAYER = {
    "attn_ln": "self_attn_layer_norm",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
} | {
    f"{theirs}.{part}": f"{ours}.{short}_proj"
    for theirs, ours in (("attn", "self_attn"), ("cross_attn", "encoder_attn"))
    for part, short in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out"))
}
_DIMENSIONS = (
    "n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
    "n_vocab", "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer",
)  # fmt: skip


def load_pickle(path: Path) -> dict[str, Any]:
    """What a torch file holds, on the CPU, mapped where its format allows; no code of it is ever run.

    Raises:
        ModelFormatError: it is damaged, or holds more than tensors and plain values.
    """
    import torch

    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelFormatError(f"{path} can't be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelFormatError(
            f"{path} can't be read as a torch file of tensors: {reason}",
            hint="it is damaged, or holds code, which is never run: get it again from where it was published",
        ) from error
    if not isinstance(content, dict):
        raise ModelFormatError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def read_openai(path: Path) -> tuple[dict[str, StoredTensor], Dimensions]:
    """The tensors of an OpenAI checkpoint under their Hugging Face names, and the network's dimensions.

    Raises:
        ModelFormatError: it is damaged, or not one of openai/whisper's.
    """
    import torch

    content = load_pickle(path)
    state, dims = content.get("model_state_dict"), content.get("dims")
    if not isinstance(state, dict) or not isinstance(dims, dict):
        raise ModelFormatError(
            f"{path} is no checkpoint of openai/whisper: it holds {', '.join(map(str, list(content)[:5]))}",
            hint="it needs dims and model_state_dict",
        )
    sizes: dict[str, Any] = {name: dims.get(name) for name in _DIMENSIONS}
    if not all(type(size) is int and 0 < size < 1_000_000 for size in sizes.values()):
        raise ModelFormatError(f"{path} has dimensions that can't be: {sizes}")
    if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ModelFormatError(f"{path} holds something else than tensors in model_state_dict")
    tensors = {_rename(name, path): from_torch(tensor) for name, tensor in state.items()}
    dimensions = Dimensions(**sizes, n_audio_ffn=4 * sizes["n_audio_state"], n_text_ffn=4 * sizes["n_text_state"])
    check_tensors(tensors, dimensions, path)
    return tensors, dimensions


def _rename(name: str, path: Path) -> str:
    if name in _OUTER:
        return _OUTER[name]
    scope, _, leaf = name.rpartition(".")
    if scope in _SCOPES:
        return f"{_SCOPES[scope]}.{leaf}"
    match = re.fullmatch(r"(encoder|decoder)\.blocks\.([0-9]{1,4})\.(.+)", scope)
    if match is None or match[3] not in _IN_LAYER:
        raise ModelFormatError(f"{path} holds an unknown tensor: {name}")
    return f"model.{match[1]}.layers.{match[2]}.{_IN_LAYER[match[3]]}.{leaf}"
