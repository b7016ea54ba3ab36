"""What a MedASR folder may be, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from lasr_folders import SMALL, change_config, change_weights, small_folder
from voxport.devices import get_device
from voxport.errors import ModelFormatError
from voxport.models.checkpoint import read_json
from voxport.models.lasr import LasrModel
from voxport.models.lasr.checkpoint import dimensions
from voxport.models.lasr.net import LasrDimensions
from voxport.models.lasr.ranges import RangeWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "model")


def load(folder: Path) -> LasrModel:
    return LasrModel.from_folder(folder, get_device("cpu"), "float32")


def test_the_numbers_of_the_published_config_are_the_defaults(tmp_path: Path) -> None:
    """What a config.json leaves out has the published value."""
    assert dimensions({}, tmp_path) == LasrDimensions()
    assert dimensions({"encoder_config": {"rope_parameters": None}}, tmp_path) == LasrDimensions()


def test_numbers_are_read(folder: Path) -> None:
    assert dimensions(read_json(folder / "config.json"), folder) == SMALL


@pytest.mark.parametrize(
    "encoder",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        {"rope_theta": 500.0},  # as older folders have it
        {"rope_theta": 500, "rope_scaling": None},
    ],
)
def test_rope_theta_old_and_new(encoder: dict[str, Any], tmp_path: Path) -> None:
    assert dimensions({"encoder_config": encoder}, tmp_path).rope_theta == 500.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_act": "gelu"}, "sets hidden_act to 'gelu', MedASR's is silu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "sets rope_type to 'yarn'"),
        ({"num_key_value_heads": 1}, "sets num_key_value_heads to 1, MedASR has no groups"),
        ({"num_attention_heads": 5}, "5 attention heads do not divide the width 32 evenly"),
        ({"hidden_size": "32"}, "hidden_size can't be '32'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers can't be 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers can't be 1000000000"),
        ({"intermediate_size": 2**40}, "intermediate_size can't be 1099511627776"),
        ({"layer_norm_eps": -1e-6}, "layer_norm_eps can't be -1e-06"),
        ({"conv_residual_weights": [2.0]}, r"conv_residual_weights can't be \[2.0\]"),
        ({"pad_token_id": 160}, "pad_token_id, CTC's blank, can't be 160"),
        ({"encoder_config": []}, "encoder_config is no object"),
        ({"num_hidden_layers": 3}, r"do not fit its config.json \(missing: encoder.layers.2"),
        ({"num_hidden_layers": 1}, r"do not fit its config.json \(unknown: encoder.layers.1"),
        ({"intermediate_size": 64}, r"linear1.weight in .* has shape \(48, 32\), config.json says \(64, 32\)"),
        ({"attention_bias": True}, r"missing: encoder.layers.0.feed_forward1.linear1.bias, .* and \d+ more"),
        ({"vocab_size": 100}, r"ctc_head.* has shape \(160,.*, config.json says \(100,"),
    ],
)
def test_configs_that_are_refused(folder: Path, values: dict[str, Any], message: str) -> None:
    change_config(folder, **values)
    with pytest.raises(ModelFormatError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("encoder.layers.0.conv.norm.running_var"), "missing: encoder.layers.0.conv.norm"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown: extra"),
    ],
)
def test_weights_that_are_refused(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    change_weights(folder, change)
    with pytest.raises(ModelFormatError, match=message):
        load(folder)


def test_what_follows_from_the_config_may_be_stored_and_counters_may_not(folder: Path) -> None:
    """As in some conversions. What contradicts the config is refused."""
    expected = load(folder)

    def convert(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.endswith("num_batches_tracked")]:
            del tensors[name]
        tensors["encoder.rotary_emb.inv_freq"] = 1e4 ** -(torch.arange(0, 16, 2) / 16)

    change_weights(folder, convert)
    found = load(folder)
    for name, tensor in found.net.named_parameters():
        assert torch.equal(tensor, expected.net.get_parameter(name))
    change_weights(folder, lambda tensors: tensors["encoder.rotary_emb.inv_freq"].mul_(2))
    with pytest.raises(ModelFormatError, match="is not what config\\.json's rope_theta gives"):
        load(folder)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelFormatError, match="can't be read as safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "tokenizer_missing"), ("{", "tokenizer_damaged"), ('{"model": {"type": "BPE"}}', "tokenizer_damaged")],
)
def test_tokenizers_that_are_refused(folder: Path, content: str | None, code: str) -> None:
    path = folder / "tokenizer.json"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelFormatError) as caught:
        load(folder)
    assert caught.value.code == code


def test_a_tokenizer_with_too_few_tokens_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["model"]["vocab"] = value["model"]["vocab"][:50]
    value["added_tokens"] = value["added_tokens"][:4]
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="has 50 tokens, the weights have 160"):
        load(folder)


def test_ids_with_gaps_are_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["added_tokens"].append({"id": 9_999, "content": "<far>", "special": True})
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="its ids have gaps"):
        load(folder)


def test_the_weights_do_not_depend_on_the_file_any_more(folder: Path) -> None:
    """It may be replaced while the model runs."""
    model = load(folder)
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff" * 10_000)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.net.state_dict().items())


# The range of float16 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 65_504.0, -65_504.0])
def test_what_does_not_fit_is_seen(value: float) -> None:
    watch = RangeWatch()
    watch.look("first", torch.full((2, 3, 4), 65_472.0, dtype=torch.float16))
    assert watch.first_overflow() is None
    spoilt = torch.zeros(2, 3, 4, dtype=torch.float16)
    spoilt[1, 2, 3] = value
    watch.look("second", spoilt)
    watch.look("third", spoilt)
    assert watch.first_overflow() == "second"
    watch = RangeWatch()
    watch.valid = torch.tensor([[[True]] * 3, [[True], [True], [False]]])
    watch.look("padding", spoilt)
    assert watch.first_overflow() is None


def test_nothing_was_looked_at() -> None:
    assert RangeWatch().first_overflow() is None
