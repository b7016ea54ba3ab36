"""Which weights a result was made with: one sha256 over a model's tensors.

What is hashed, in this order; every number is an unsigned 64-bit little-endian integer::

    the 20 bytes "voxport-identity-1\\n\\0"
    for each tensor, in the order of the bytes of its UTF-8 name:
        length of the name, the name
        length of the dtype, the dtype              safetensors' code in ASCII: "F16", "F32", "BF16", ...
        rank, then each dimension
        length of the data, the data                as stored: little-endian, row-major

A tensor that is tied to another, and equal to it in dtype, shape and every bit, is left out: it counts the same whether
a file stores it or not. Only names, shapes, stored dtypes and bytes count; how tensors are spread over files, their
order in them, and metadata do not. This never changes: proofs refer to it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.errors import ModelFormatError
from voxport.models.convert.huggingface import weight_files
from voxport.models.safetensors_file import DTYPE_BYTES, StoredTensor, from_torch, read_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

__all__ = ["TIED", "model_identity", "tensor_identity"]

TIED = {"proj_out.weight": ("model.decoder.embed_tokens.weight", "decoder.embed_tokens.weight")}
"""Name -> the names that it may be tied to."""

_PREFIX = b"voxport-identity-1\n\0"


def model_identity(folder: Path) -> str:
    """The identity of the safetensors weights in a Hugging Face folder, single or sharded, as 64 hex digits.

    The files are mapped and read once, front to back; memory does not grow with the model.

    Raises:
        ModelFormatError: the folder has no safetensors weights, or they are damaged.
    """
    files = weight_files(Path(folder))
    if files[0].suffix != ".safetensors":
        raise ModelFormatError(
            f"{folder} has its weights as {files[0].name}, not as safetensors",
            hint="convert it first: voxport models import",
        )
    tensors: dict[str, StoredTensor] = {}
    for path in files:
        for name, tensor in read_safetensors(path).items():
            if name in tensors:
                raise ModelFormatError(f"{name} is in two files of {folder}", hint="pull or import the model again")
            tensors[name] = tensor
    return _digest(tensors)


def tensor_identity(tensors: Mapping[str, torch.Tensor | np.ndarray[Any, Any] | StoredTensor]) -> str:
    """The identity of tensors in memory: the same as of a folder that stores them in these dtypes.

    Raises:
        ModelFormatError: a dtype that safetensors does not know.
    """
    return _digest({name: _stored(tensor) for name, tensor in tensors.items()})


def _stored(tensor: Any) -> StoredTensor:
    if isinstance(tensor, StoredTensor):
        return tensor
    if isinstance(tensor, np.ndarray):
        little = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        kinds = {"f": "F", "i": "I", "u": "U"}
        code = "BOOL" if tensor.dtype == np.bool_ else f"{kinds.get(tensor.dtype.kind, '?')}{8 * tensor.itemsize}"
        if code not in DTYPE_BYTES:
            raise ModelFormatError(f"tensors of dtype {tensor.dtype} can't be stored as safetensors")
        return StoredTensor(code, tensor.shape, little.reshape(-1).view(np.uint8))
    return from_torch(tensor)


def _untied(tensors: Mapping[str, StoredTensor]) -> Iterator[tuple[bytes, StoredTensor]]:
    for name, tensor in tensors.items():
        partners = [tensors[partner] for partner in TIED.get(name, ()) if partner in tensors]
        if not any(tensor.same_as(partner) for partner in partners):
            yield name.encode("utf-8"), tensor


def _digest(tensors: Mapping[str, StoredTensor]) -> str:
    digest = hashlib.sha256(_PREFIX)

    def number(value: int) -> None:
        digest.update(value.to_bytes(8, "little"))

    def text(value: bytes) -> None:
        number(len(value))
        digest.update(value)

    for name, tensor in sorted(_untied(tensors), key=lambda item: item[0]):
        text(name)
        text(tensor.dtype.encode("ascii"))
        number(len(tensor.shape))
        for dimension in tensor.shape:
            number(dimension)
        number(len(tensor.data))
        digest.update(np.ascontiguousarray(tensor.data).data)
    return digest.hexdigest()
