"""The identity of weights: what it depends on, and what not."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from foreign_formats import small_state
from voxport.errors import ModelFormatError
from voxport.models.identity import model_identity, tensor_identity
from voxport.models.safetensors_file import StoredTensor, read_safetensors, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {"b": torch.arange(6, dtype=torch.float16).reshape(2, 3), "a": torch.tensor([1.5, -2.0])}


def test_the_layout_is_the_documented_one() -> None:
    """Written out by hand: this never changes."""
    expected = hashlib.sha256(b"voxport-identity-1\n\0")
    for name, code, shape, data in (
        (b"a", b"F32", (2,), struct.pack("<2f", 1.5, -2.0)),
        (b"b", b"F16", (2, 3), struct.pack("<6e", *range(6))),
    ):
        expected.update(struct.pack("<Q", len(name)) + name + struct.pack("<Q", len(code)) + code)
        expected.update(struct.pack(f"<{1 + len(shape)}Q", len(shape), *shape) + struct.pack("<Q", len(data)) + data)
    assert tensor_identity(TENSORS) == expected.hexdigest()
    assert tensor_identity(TENSORS) == "87bbba360c3e594d58bae3defc4d96655e605ff6983375a8b803a2ae1bde58b4"


def test_genuine_weights_have_the_identity_of_the_official_checkpoints(tiny_en: Path, base: Path) -> None:
    """The first was measured on OpenAI's own tiny.en.pt, sha256 d3dd57d3...6dd03, the second on Systran's base."""
    assert model_identity(tiny_en) == "5680af45000b7c7c0624bd85ce2cdcd7180beda9ecab7142e6c322e68c0c77fc"
    assert model_identity(base) == "8b6984a27d6ca80778c538aa5ec3efc1a1b4b393d192cb5cd4784e9e0cfd2c39"


def test_order_and_container_do_not_matter() -> None:
    reference = tensor_identity(TENSORS)
    assert tensor_identity(dict(reversed(TENSORS.items()))) == reference
    assert tensor_identity({name: tensor.numpy() for name, tensor in TENSORS.items()}) == reference
    assert tensor_identity({**TENSORS, "b": TENSORS["b"].t().contiguous().t()}) == reference
    big_endian = {**TENSORS, "a": np.array([1.5, -2.0], dtype=">f4")}
    assert tensor_identity(big_endian) == reference


@pytest.mark.parametrize(
    "changed",
    [
        {**TENSORS, "a": torch.tensor([1.5, 2.0])},
        {**TENSORS, "a": torch.tensor([1.5, -2.0], dtype=torch.float64)},
        {**TENSORS, "b": TENSORS["b"].reshape(3, 2)},
        {**TENSORS, "b": TENSORS["b"].view(torch.int16)},
        {**TENSORS, "b": TENSORS["b"].view(torch.bfloat16)},
        {"a": TENSORS["b"], "b": TENSORS["a"]},
        {"ab": TENSORS["a"], "b": TENSORS["b"]},
        {"a": TENSORS["a"]},
        {**TENSORS, "c": torch.zeros(0)},
        {**TENSORS, "a": torch.tensor([[1.5, -2.0]])},
    ],
    ids=["value", "dtype", "shape", "bits-as-int", "bits-as-bfloat16", "swapped", "name", "fewer", "more", "rank"],
)
def test_everything_that_is_in_it_matters(changed: dict[str, torch.Tensor]) -> None:
    assert tensor_identity(changed) != tensor_identity(TENSORS)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=40), where=st.integers(min_value=0), split=st.integers(0, 40))
def test_one_bit_or_another_cut_changes_it(data: bytes, where: int, split: int) -> None:
    def stored(content: bytes) -> StoredTensor:
        return StoredTensor("U8", (len(content),), np.frombuffer(content, dtype=np.uint8))

    whole = tensor_identity({"a": stored(data)})
    bit = where % (8 * len(data))
    flipped = bytes(byte ^ (1 << bit % 8) if n == bit // 8 else byte for n, byte in enumerate(data))
    assert tensor_identity({"a": stored(flipped)}) != whole
    split = min(split, len(data))
    assert tensor_identity({"a": stored(data[:split]), "b": stored(data[split:])}) != whole


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_tied_weights_count_once(prefix: str) -> None:
    embedding = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).half()
    state = {f"{prefix}decoder.embed_tokens.weight": embedding}
    assert tensor_identity({**state, "proj_out.weight": embedding.clone()}) == tensor_identity(state)
    other = embedding.clone()
    other[0, 0] += 1
    assert tensor_identity({**state, "proj_out.weight": other}) != tensor_identity(state)
    assert tensor_identity({**state, "proj_out.weight": embedding.float()}) != tensor_identity(state)
    alone = {"proj_out.weight": embedding}
    assert tensor_identity(alone) != tensor_identity({})


# Folders --------------------------------------------------------------------------------------------------------------


def sharded(folder: Path, state: dict[str, torch.Tensor], count: int) -> Path:
    folder.mkdir()
    names, table = sorted(state), {}
    for n in range(count):
        file = f"model-{n + 1:05}-of-{count:05}.safetensors"
        part = {name: state[name] for name in names[n::count]}
        save_file(part, folder / file, metadata={"format": "pt", "shard": str(n)})
        table |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder


@pytest.mark.parametrize("count", [1, 3])
def test_shards_and_metadata_do_not_matter(tmp_path: Path, count: int) -> None:
    state = small_state()
    (tmp_path / "single").mkdir()
    save_file(state, tmp_path / "single/model.safetensors")
    expected = tensor_identity(state)
    assert model_identity(tmp_path / "single") == expected
    assert model_identity(sharded(tmp_path / "many", state, count)) == expected
    (tmp_path / "ours").mkdir()
    write_safetensors(tmp_path / "ours/model.safetensors", read_safetensors(tmp_path / "single/model.safetensors"))
    assert model_identity(tmp_path / "ours") == expected


def test_every_dtype_that_models_have(tmp_path: Path) -> None:
    dtypes = (
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int8,
        torch.uint8,
        torch.bool,
        torch.float64,
    )
    state = {str(dtype): torch.tensor([[0, 1], [1, 0]]).to(dtype) for dtype in dtypes}
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 4)
    save_file(state, tmp_path / "model.safetensors")
    assert model_identity(tmp_path) == tensor_identity(state)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "many", small_state(), 2)
    save_file(small_state(), folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelFormatError, match="is in two files"):
        model_identity(folder)


def test_folders_without_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"has neither model.safetensors nor pytorch_model.bin"):
        model_identity(tmp_path)
    torch.save(small_state(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match="not as safetensors") as caught:
        model_identity(tmp_path)
    assert caught.value.hint == "convert it first: voxport models import"


def header(path: Path, text: str, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)
    return path.parent


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        ("{", b"", "not a whole"),
        ("[]", b"", "not a whole"),
        ('{"a": 3}', b"", "not a whole"),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"abc", "does not lie where"),
        ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"abcd", "does not lie where"),
        ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"abcd", "no natural number"),
        ('{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}', b"abcd", "no natural number"),
        ('{"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}', b"abcd", "unknown dtype 'F33'"),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"abcdef", "belong to no tensor"),
        ('{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, "a": 1}', b"", "occurs twice"),
        ('{"a": {"dtype": "U8", "shape": [0], "data_offsets": [1, 1]}}', b"x", "does not lie where"),
        ("[" * 200_000, b"", "not a whole"),
    ],
    ids=range(12),
)  # fmt: skip
def test_forged_headers_are_refused(tmp_path: Path, text: str, data: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        model_identity(header(tmp_path / "model.safetensors", text, data))


@pytest.mark.parametrize(
    "content", [b"", b"\x01", struct.pack("<Q", 2**63), struct.pack("<Q", 50) + b"{}"], ids=range(4)
)
def test_cut_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFormatError, match="not a whole safetensors file"):
        model_identity(tmp_path)
