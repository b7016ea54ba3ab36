"""Published MedASR folders (``lasr_ctc``): checked against the network that their config.json describes, and copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError
from voxport.models.convert.huggingface import copy_files, read_config, read_tensors, write_weights
from voxport.models.convert.layout import check_layout
from voxport.tokenizer import LasrTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from voxport.models.safetensors_file import StoredTensor

__all__ = ["convert_lasr"]

_TAKEN = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Beside weights and licence. Google's language model (lm_6.kenlm, 700 MB) is left out: nothing here reads it."""


def convert_lasr(folder: Path, destination: Path) -> None:
    """A published MedASR folder to one that is loaded as it is.

    safetensors, single or sharded, are copied as they are; pickles are read without running any code of theirs and
    written as safetensors.

    Args:
        folder: config.json, weights and tokenizer.json at least.
        destination: an existing, empty folder.

    Raises:
        ModelFormatError: it is no whole MedASR folder, or its files do not belong together.
    """
    config = read_config(folder)
    tensors = read_tensors(folder)
    vocabulary = _check(tensors, config, folder)
    if not (folder / "tokenizer.json").is_file():
        raise ModelFormatError(
            f"{folder} has no tokenizer.json",
            hint="get it from where the weights were published, and put it beside them",
            code="tokenizer_missing",
        )
    pieces = len(LasrTokenizer.from_folder(folder).pieces)
    if pieces < vocabulary:
        raise ModelFormatError(
            f"the tokenizer of {folder} has {pieces} tokens, its weights have {vocabulary}",
            hint="tokenizer and weights are from different models: put the right tokenizer.json beside the weights",
        )
    write_weights(folder, destination, tensors)
    copy_files(folder, _TAKEN, destination)


def _check(tensors: Mapping[str, StoredTensor], config: dict[str, Any], folder: Path) -> int:
    """Refuse what is not exactly the network of this config.json; gives the size of its vocabulary."""
    import torch

    from voxport.models.lasr.checkpoint import blank_token, derived_tensors, dimensions
    from voxport.models.lasr.net import Lasr

    dims = dimensions(config, folder)
    blank_token(config, folder)
    with torch.device("meta"):
        state = Lasr(dims).state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    counts = {name for name, tensor in state.items() if not tensor.is_floating_point()}
    # Some conversions leave the norms' counters out, and store what follows from config.json.
    derived = {name: tuple(tensor.shape) for name, tensor in derived_tensors(dims).items()}
    check_layout(tensors, expected | derived, folder, "MedASR", optional=counts | derived.keys(), counts=counts)
    return dims.vocabulary
