"""CTranslate2 folders, which faster-whisper runs, to Hugging Face folders.

``model.bin`` is read here byte by byte, after CTranslate2's `python/ctranslate2/specs/model_spec.py` (`_serialize`) and
`src/models/model.cc` (`Model::load`), all little-endian::

    u32 binary version (6), string specification, u32 revision, u32 number of variables,
    each: string name, u8 rank, u32 x rank, u8 type, u32 bytes, the data;
    u32 number of aliases, each: string alias, string variable.

A string is its length with a final zero as u16, then its bytes.

Query, key and value projections are one fused matrix there and three here; the cut is along rows, so every tensor is a
stretch of the file and the conversion is exact whatever the dtype.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voxport.errors import ModelFormatError
from voxport.models.convert.layout import PROJECTION, TOKEN_EMBEDDING, Dimensions, check_tensors, drop_tied
from voxport.models.safetensors_file import DTYPE_BYTES, Bytes, StoredTensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_ctranslate2", "read_ctranslate2"]

_VERSION = 6
_SPECIFICATION = "WhisperSpec"
_TYPES = ("F32", "I8", "I16", "I32", "F16", "BF16")
"""CTranslate2's `DataType`, in order."""
_GELU = 3


class _Cursor:
    """Reads on and never past the end."""

    def __init__(self, content: Bytes) -> None:
        self.content = content
        self.position = 0

    def take(self, size: int) -> Bytes:
        if size > len(self.content) - self.position:
            raise ValueError(f"it ends at byte {len(self.content)}, {size} more are due at byte {self.position}")
        self.position += size
        return self.content[self.position - size : self.position]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size).tobytes(), "little")

    def string(self) -> str:
        raw = self.take(self.unsigned(2)).tobytes()
        if not raw.endswith(b"\0"):
            raise ValueError(f"a name before byte {self.position} has no end")
        return raw[:-1].decode("utf-8")


def is_ctranslate2(path: Path) -> bool:
    """True if the file begins as CTranslate2's model.bin of any specification does."""
    with path.open("rb") as file:
        head = file.read(64)
    length = int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length]
    return int.from_bytes(head[:4], "little") in range(2, 100) and 5 < length < 58 and name.endswith(b"Spec\0")


def read_ctranslate2(path: Path) -> tuple[dict[str, StoredTensor], Dimensions]:
    """The tensors of a ``model.bin`` under their Hugging Face names, mapped, and the network's dimensions.

    Raises:
        ModelFormatError: it is damaged, quantised, or not Whisper.
    """
    try:
        variables = _variables(np.memmap(path, dtype=np.uint8, mode="r"))
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelFormatError(
            f"{path} is not a whole CTranslate2 model: {error}", hint="get the file again"
        ) from error
    except OSError as error:
        raise ModelFormatError(f"{path} can't be read: {error.strerror or error}") from error
    _check_numbers(variables, path)
    try:
        dimensions = _dimensions(variables)
        tensors = _rename(variables, path)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelFormatError(f"{path} lacks a part of a Whisper model: {error}", hint="get the file again") from error
    check_tensors(tensors, dimensions, path)
    return drop_tied(tensors), dimensions


def _variables(content: Bytes) -> dict[str, StoredTensor]:
    cursor = _Cursor(content)
    version = cursor.unsigned(4)
    if version != _VERSION:
        raise ValueError(f"its binary version is {version}, this reader knows {_VERSION}")
    specification = cursor.string()
    if specification != _SPECIFICATION:
        raise ValueError(f"it holds a {specification}, not a {_SPECIFICATION}")
    cursor.unsigned(4)  # the specification's revision; 1 to 3 differ in config.json only
    variables: dict[str, StoredTensor] = {}
    for _ in range(cursor.unsigned(4)):
        name = cursor.string()
        shape = tuple(cursor.unsigned(4) for _ in range(cursor.unsigned(1)))
        code = cursor.unsigned(1)
        if code >= len(_TYPES):
            raise ValueError(f"{name} has the unknown type {code}")
        dtype = _TYPES[code]
        size = cursor.unsigned(4)
        if size != math.prod(shape) * DTYPE_BYTES[dtype]:
            raise ValueError(f"{name} has {size} bytes for shape {shape} of {dtype}")
        if name in variables:
            raise ValueError(f"{name} occurs twice")
        variables[name] = StoredTensor(dtype, shape, cursor.take(size))
    for _ in range(cursor.unsigned(4)):
        alias, name = cursor.string(), cursor.string()
        if name not in variables or alias in variables:
            raise ValueError(f"the alias {alias} of {name} leads nowhere")
        variables[alias] = variables[name]
    if cursor.position != len(content):
        raise ValueError(f"{len(content) - cursor.position} bytes follow its end")
    return variables


def _scalar(variables: dict[str, StoredTensor], name: str) -> int | None:
    if name not in variables or variables[name].shape:
        return None
    return int.from_bytes(variables[name].data.tobytes(), "little", signed=True)


def _check_numbers(variables: dict[str, StoredTensor], path: Path) -> None:
    """Raise ModelFormatError for quantised weights and for networks that are built another way."""
    for name, variable in variables.items():
        if variable.shape and (variable.dtype in ("I8", "I16") or name.endswith("weight_scale")):
            raise ModelFormatError(
                f"{path} is quantised ({name} is {variable.dtype}): the original numbers are not in it",
                hint="take the float16 conversion of this model (faster-whisper's usual one), or the original",
                code="model_quantised",
            )
    activation = _scalar(variables, "decoder/activation")
    if activation not in (None, _GELU) or _scalar(variables, "decoder/scale_embeddings"):
        raise ModelFormatError(f"{path} is no usual Whisper: activation {activation}, or scaled embeddings")


def _dimensions(variables: dict[str, StoredTensor]) -> Dimensions:
    audio, text = (variables[f"{side}/layer_norm/gamma"].shape[0] for side in ("encoder", "decoder"))
    # Whisper's heads are 64 wide, should a file not tell their number.
    heads = {
        side: _scalar(variables, f"{side}/num_heads") or width // 64
        for side, width in (("encoder", audio), ("decoder", text))
    }
    layers = {"encoder": -1, "decoder": -1}
    for name in variables:
        if match := re.match(r"(encoder|decoder)/layer_([0-9]{1,4})/", name):
            layers[match[1]] = max(layers[match[1]], int(match[2]))
    return Dimensions(
        n_mels=variables["encoder/conv1/weight"].shape[1],
        n_audio_ctx=variables["encoder/position_encodings/encodings"].shape[0],
        n_audio_state=audio,
        n_audio_head=heads["encoder"],
        n_audio_layer=layers["encoder"] + 1,
        n_vocab=variables["decoder/embeddings/weight"].shape[0],
        n_text_ctx=variables["decoder/position_encodings/encodings"].shape[0],
        n_text_state=text,
        n_text_head=heads["decoder"],
        n_text_layer=layers["decoder"] + 1,
        n_audio_ffn=variables["encoder/layer_0/ffn/linear_0/bias"].shape[0],
        n_text_ffn=variables["decoder/layer_0/ffn/linear_0/bias"].shape[0],
    )


@dataclass(frozen=True)
class _Target:
    """Where a variable goes: `name` with the parts it is cut into, e.g. ("q_proj", "k_proj", "v_proj")."""

    name: str
    parts: tuple[str, ...] = ()


def _targets(decoder: bool) -> dict[str, _Target]:
    """Name within a layer -> where it goes within the layer."""
    qkv = _Target("self_attn", ("q_proj", "k_proj", "v_proj"))
    own = {
        "self_attention/layer_norm": _Target("self_attn_layer_norm"),
        "self_attention/linear_0": qkv,
        "self_attention/linear_1": _Target("self_attn", ("out_proj",)),
        "ffn/layer_norm": _Target("final_layer_norm"),
        "ffn/linear_0": _Target("fc1"),
        "ffn/linear_1": _Target("fc2"),
    }
    cross = {
        "attention/layer_norm": _Target("encoder_attn_layer_norm"),
        "attention/linear_0": _Target("encoder_attn", ("q_proj",)),
        "attention/linear_1": _Target("encoder_attn", ("k_proj", "v_proj")),
        "attention/linear_2": _Target("encoder_attn", ("out_proj",)),
    }
    return own | cross if decoder else own


_OUTER = {
    "encoder/conv1": "model.encoder.conv1",
    "encoder/conv2": "model.encoder.conv2",
    "encoder/position_encodings": "model.encoder.embed_positions",
    "encoder/layer_norm": "model.encoder.layer_norm",
    "decoder/embeddings": TOKEN_EMBEDDING.removesuffix(".weight"),
    "decoder/position_encodings": "model.decoder.embed_positions",
    "decoder/layer_norm": "model.decoder.layer_norm",
    "decoder/projection": PROJECTION.removesuffix(".weight"),
}
_LEAF = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias", "encodings": "weight"}


def _rename(variables: dict[str, StoredTensor], path: Path) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name, variable in variables.items():
        if not variable.shape or name == "decoder/alignment_heads":
            continue  # settings, not weights
        scope, _, leaf = name.rpartition("/")
        match = re.fullmatch(r"(encoder|decoder)/layer_([0-9]{1,4})/(.+)", scope)
        if leaf not in _LEAF:
            raise ModelFormatError(f"{path} holds an unknown variable: {name}")
        if match is None and scope in _OUTER:
            tensors[f"{_OUTER[scope]}.{_LEAF[leaf]}"] = variable
            continue
        target = None if match is None else _targets(match[1] == "decoder").get(match[3])
        if match is None or target is None:
            raise ModelFormatError(f"{path} holds an unknown variable: {name}")
        prefix = f"model.{match[1]}.layers.{match[2]}.{target.name}"
        tensors |= _cut(prefix, target.parts, _LEAF[leaf], variable, path)
    return tensors


def _cut(prefix: str, parts: tuple[str, ...], leaf: str, variable: StoredTensor, path: Path) -> dict[str, StoredTensor]:
    """The tensors that a (fused) variable holds."""
    if not parts:
        return {f"{prefix}.{leaf}": variable}
    height = variable.shape[0] // len(parts)
    found = {f"{prefix}.{part}.{leaf}": variable.rows(n * height, (n + 1) * height) for n, part in enumerate(parts)}
    key = f"{prefix}.k_proj.bias"
    if key in found:
        # Whisper's keys have no bias; the fused one holds zeros in its place.
        if np.any(found[key].data):
            raise ModelFormatError(f"{path}: {key} is not zero, Whisper has none")
        del found[key]
    return found
