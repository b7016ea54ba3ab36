"""CTranslate2's ``model.bin``: what it may hold, and what happens to damaged and forged ones."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreign_formats import TIED, ctranslate2_bytes, ctranslate2_variables, small_state
from voxport.errors import ModelFormatError
from voxport.models.convert.ctranslate2 import read_ctranslate2
from voxport.models.identity import tensor_identity

if TYPE_CHECKING:
    from pathlib import Path

HEADS = (2, 4)
"""Of encoder and decoder in the shape of `small_state`."""


def small_variables() -> dict[str, torch.Tensor]:
    return ctranslate2_variables(small_state(), *HEADS)


def read_bytes(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    return dict(read_ctranslate2(path)[0])


def test_quantised_files_are_refused_with_a_way_out(tmp_path: Path) -> None:
    variables = small_variables()
    name = "encoder/layer_0/ffn/linear_0/weight"
    variables[f"{name}_scale"] = torch.ones(64)
    variables[name] = torch.zeros(64, 16, dtype=torch.int8)
    with pytest.raises(ModelFormatError, match="is quantised") as caught:
        read_bytes(tmp_path / "model.bin", ctranslate2_bytes(variables, TIED))
    assert caught.value.code == "model_quantised"
    assert caught.value.hint is not None
    assert "float16" in caught.value.hint


def test_aliases_of_equal_tensors(tmp_path: Path) -> None:
    """CTranslate2 stores equal tensors once, whatever they are."""
    state = small_state()
    state["model.decoder.layers.1.fc1.weight"] = state["model.decoder.layers.0.fc1.weight"]
    variables = ctranslate2_variables(state, *HEADS)
    del variables["decoder/layer_1/ffn/linear_0/weight"]
    aliases = {**TIED, "decoder/layer_1/ffn/linear_0/weight": "decoder/layer_0/ffn/linear_0/weight"}
    tensors = read_bytes(tmp_path / "model.bin", ctranslate2_bytes(variables, aliases))
    assert tensor_identity(tensors) == tensor_identity(state)
    assert "proj_out.weight" not in tensors


def test_a_key_bias_that_is_not_zero_is_refused(tmp_path: Path) -> None:
    """The published network has none, so it can't be kept."""
    variables = small_variables()
    variables["encoder/layer_0/self_attention/linear_0/bias"][16] = 1
    with pytest.raises(ModelFormatError, match=r"self_attn\.k_proj\.bias is not zero"):
        read_bytes(tmp_path / "model.bin", ctranslate2_bytes(variables, TIED))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder/activation": torch.tensor(0, dtype=torch.int8)}, "activation 0"),
        ({"decoder/scale_embeddings": torch.tensor(1, dtype=torch.int8)}, "scaled embeddings"),
        ({"decoder/layer_0/adapter/weight": torch.zeros(2, 2)}, "unknown variable: decoder/layer_0/adapter/weight"),
        ({"encoder/extra/weight": torch.zeros(2)}, "unknown variable: encoder/extra/weight"),
        ({"decoder/layer_norm/rotary": torch.zeros(2)}, "unknown variable"),
        ({"encoder/conv1/weight": torch.zeros(16)}, "lacks a part"),
        ({"encoder/layer_0/self_attention/linear_0/weight": torch.zeros(47, 16).half()}, "has shape"),
        ({"encoder/layer_9999/ffn/linear_0/bias": torch.zeros(64).half()}, "too few for its layers"),
    ],
    ids=range(8),
)
def test_networks_built_another_way_are_refused(tmp_path: Path, change: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        read_bytes(tmp_path / "model.bin", ctranslate2_bytes({**small_variables(), **change}, TIED))


@pytest.mark.parametrize("name", ["encoder/layer_norm/gamma", "decoder/embeddings/weight", "encoder/conv1/weight"])
def test_missing_variables_are_named(tmp_path: Path, name: str) -> None:
    variables = small_variables()
    del variables[name]
    with pytest.raises(ModelFormatError, match=f"lacks a part of a Whisper model: '{name}'"):
        read_bytes(tmp_path / "model.bin", ctranslate2_bytes(variables, {}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole CTranslate2 model"),
        (b"\x06\0", "it ends at byte 2"),
        (ctranslate2_bytes({}, {}, version=7), "binary version is 7"),
        (ctranslate2_bytes({}, {}, specification="TransformerSpec"), "holds a TransformerSpec"),
        (ctranslate2_bytes({}, {}), "lacks a part"),
        (ctranslate2_bytes({}, {"a": "b"}), "alias a of b leads nowhere"),
        (ctranslate2_bytes({"a": torch.zeros(1)}, {}) + b"x", "1 bytes follow its end"),
        (struct.pack("<IH", 6, 3) + b"abc", "has no end"),
        (ctranslate2_bytes({}, {})[:-8] + struct.pack("<I", 2**32 - 1), "more are due"),
    ],
    ids=range(9),
)
def test_damaged_model_bin(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        read_bytes(tmp_path / "model.bin", content)


def variable(name: bytes, rank: int, shape: tuple[int, ...], code: int, size: int, data: bytes) -> bytes:
    """A model.bin of one variable, whatever its numbers claim."""
    head = ctranslate2_bytes({}, {})[:-8] + struct.pack("<I", 1)
    return head + struct.pack("<H", len(name) + 1) + name + b"\0" + struct.pack(
        f"<B{len(shape)}IBI", rank, *shape, code, size
    ) + data + struct.pack("<I", 0)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (variable(b"a", 1, (4,), 9, 4, b"abcd"), "unknown type 9"),
        (variable(b"a", 1, (4,), 0, 4, b"abcd"), "has 4 bytes for shape"),
        (variable(b"a", 2, (2**32 - 1, 2**32 - 1), 0, 4, b"abcd"), "has 4 bytes for shape"),
        (variable(b"a", 1, (2**30,), 1, 2**30, b"abcd"), "more are due"),
        (variable(b"\xff\xfe", 1, (4,), 1, 4, b"abcd"), "not a whole CTranslate2 model"),
        (variable(b"a", 255, (4,), 1, 4, b"abcd"), "more are due"),
    ],
    ids=range(6),
)
def test_forged_variables(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        read_bytes(tmp_path / "model.bin", content)


WHOLE = ctranslate2_bytes(small_variables(), TIED)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_passes_unnoticed_or_crashes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere, or with bytes of a header changed: an error of ours, or tensors of the right shapes."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.bin"
    if data.draw(st.booleans()):
        with pytest.raises(ModelFormatError):
            read_bytes(path, WHOLE[: data.draw(st.integers(0, len(WHOLE) - 1))])
        return
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(WHOLE), 3000) - 1))] = data.draw(st.integers(0, 255))
    try:
        tensors = read_bytes(path, bytes(content))
    except ModelFormatError:
        return
    expected = small_state()
    assert {name: tensor.shape for name, tensor in tensors.items() if name in expected} == {
        name: tuple(tensor.shape) for name, tensor in expected.items()
    }


def test_memory_stays_with_the_file(tmp_path: Path) -> None:
    """Tensors are views of the mapped file, not copies."""
    (tmp_path / "model.bin").write_bytes(WHOLE)
    tensors, _ = read_ctranslate2(tmp_path / "model.bin")
    assert all(isinstance(tensor.data, np.memmap) for tensor in tensors.values())
