"""safetensors files as stored bytes: no numbers are touched, nothing is read before it is needed.

The format: 8 bytes little-endian header length, the header (a JSON object: name -> dtype, shape, data_offsets; plus
``__metadata__``), then the data of all tensors without gaps. The `safetensors` package reads the same files; this
module exists because it hands out bytes of every stored dtype (NumPy has no bfloat16) and writes from mapped files,
tensor by tensor, without a copy of the model in memory.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxport.errors import ModelFormatError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

__all__ = ["DTYPE_BYTES", "FLOAT_DTYPES", "StoredTensor", "from_torch", "read_safetensors", "write_safetensors"]

DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E5M2": 1, "F8_E4M3": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""dtype code -> bytes per element."""

FLOAT_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""dtype codes that a model's weights may have -> the name that config.json gives them."""

_MAX_HEADER = 100_000_000
"""The limit of the reference implementation."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it lies in a file.

    Attributes:
        dtype: safetensors code, e.g. "F16".
        shape: any rank.
        data: its bytes, shape (n,), little-endian, row-major. May be a view of a mapped file.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Bytes

    def rows(self, start: int, stop: int) -> StoredTensor:
        """The rows from `start` to `stop` along the first axis, as a view."""
        size = len(self.data) // self.shape[0]
        return StoredTensor(self.dtype, (stop - start, *self.shape[1:]), self.data[start * size : stop * size])

    def same_as(self, other: StoredTensor) -> bool:
        """Equal in dtype, shape and every bit."""
        return self.dtype == other.dtype and self.shape == other.shape and np.array_equal(self.data, other.data)


def from_torch(tensor: torch.Tensor) -> StoredTensor:
    """The stored form of a torch tensor; a view of its memory where it is contiguous and on the CPU.

    Raises:
        ModelFormatError: its dtype has no safetensors code.
    """
    import torch

    codes = {
        torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
        torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
        torch.bool: "BOOL",
    }  # fmt: skip
    if tensor.dtype not in codes or tensor.layout is not torch.strided:
        raise ModelFormatError(f"a tensor has dtype {tensor.dtype} and layout {tensor.layout}, which can't be stored")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data: Bytes = flat.view(torch.uint8).numpy()
    return StoredTensor(codes[tensor.dtype], tuple(tensor.shape), data)


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a file, mapped, in the order in which they lie in it.

    Raises:
        ModelFormatError: the file is not a whole and consistent safetensors file.
    """
    try:
        return _parse(np.memmap(path, dtype=np.uint8, mode="r"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFormatError(
            f"{path} is not a whole safetensors file: {error}", hint="pull or import the model again"
        ) from error
    except OSError as error:
        raise ModelFormatError(f"{path} can't be read: {error.strerror or error}") from error


def _parse(content: Bytes) -> dict[str, StoredTensor]:
    if len(content) < 8:
        raise ValueError("it is shorter than its header's length field")
    length = int.from_bytes(content[:8].tobytes(), "little")
    if length > _MAX_HEADER or 8 + length > len(content):
        raise ValueError(f"its header claims {length} bytes")
    header = json.loads(content[8 : 8 + length].tobytes().decode("utf-8"), object_pairs_hook=_unique)
    data = content[8 + length :]
    header.pop("__metadata__", None)
    tensors = {}
    expected = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"{name} has a shape or an offset that is no natural number")
        if entry["dtype"] not in DTYPE_BYTES:
            raise ValueError(f"{name} has the unknown dtype {entry['dtype']!r}")
        if begin != expected or end > len(data) or end - begin != math.prod(shape) * DTYPE_BYTES[entry["dtype"]]:
            raise ValueError(f"the data of {name} does not lie where and as its shape says")
        expected = end
        tensors[name] = StoredTensor(entry["dtype"], shape, data[begin:end])
    if expected != len(data):
        raise ValueError(f"{len(data) - expected} bytes belong to no tensor")
    return tensors


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return found


def write_safetensors(path: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Write the tensors with the metadata that transformers asks for. The same tensors give the same file.

    Raises:
        OutputError: the file can't be written, e.g. a full disk.
    """
    # Largest elements first keeps every tensor aligned, as the reference implementation does.
    order = sorted(tensors, key=lambda name: (-DTYPE_BYTES[tensors[name].dtype], name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                file.write(np.ascontiguousarray(tensors[name].data).data)
    except OSError as error:
        raise OutputError(
            f"{path} can't be written: {error.strerror or error}", hint="is there room on the disk?"
        ) from error
