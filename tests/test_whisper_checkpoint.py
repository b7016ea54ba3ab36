"""What a Whisper folder may look like and is read, and what is refused with its reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from voxport.devices import get_device
from voxport.errors import DecodingError, ModelFormatError
from voxport.models.whisper import WhisperModel
from whisper_folders import SMALL_TEST, random_folder
from whisper_pairs import PLAIN, TIMED, Pair, assert_tokens_equal, load_pair, noise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voxport.models.whisper.model import EncodedWindows

EMBEDDING = "model.decoder.embed_tokens.weight"
NORM = "model.decoder.layers.1.final_layer_norm.weight"


@pytest.fixture(scope="module")
def small(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of a very small multilingual shape."""
    return random_folder(tmp_path_factory.mktemp("small") / "model", base, **SMALL_TEST)


@pytest.fixture(scope="module")
def small_pair(small: Path) -> Pair:
    return load_pair(small)


def changed(source: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """A copy of a folder with its tensors changed."""
    folder = tmp_path / "changed"
    shutil.copytree(source, folder)
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_tied_projection_stored_twice(small: Path, small_pair: Pair, tmp_path: Path) -> None:
    """Old checkpoints store the tied matrix under both names."""
    folder = changed(small, tmp_path, lambda t: t.update({"proj_out.weight": t[EMBEDDING].clone()}))
    assert_same_logits(folder, small_pair)


def test_sharded_weights(small: Path, small_pair: Pair, tmp_path: Path) -> None:
    folder = changed(small, tmp_path, lambda tensors: None)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert_same_logits(folder, small_pair)


def assert_same_logits(folder: Path, small_pair: Pair) -> None:
    model = WhisperModel.from_folder(folder, get_device("cpu"), "float32")
    features = model.features([noise(2.0)])
    given = [[*small_pair.theirs.prompt("en", "transcribe", timestamps=True), 11]]
    found = model.logits(model.encode(features), given)
    np.testing.assert_array_equal(found, small_pair.ours.logits(small_pair.ours.encode(features), given))


@pytest.mark.parametrize(
    "missing",
    [["lang_to_id", "task_to_id"], ["suppress_tokens", "begin_suppress_tokens"], ["alignment_heads"], None],
    ids=["languages", "suppressed", "alignment", "everything"],
)
def test_odd_generation_config(
    base: Path, base_pair: Pair, base_encoded: EncodedWindows, tmp_path: Path, missing: list[str] | None
) -> None:
    """Fine-tuned folders lack parts of it, or all: openai/whisper's own rules then stand in, and they say the same."""
    shutil.copytree(base, tmp_path / "model")
    path = tmp_path / "model/generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if missing is not None:
        kept = {name: value for name, value in config.items() if name not in missing}
        path.write_text(json.dumps(kept), encoding="utf-8")
    model = WhisperModel.from_folder(tmp_path / "model", get_device("cpu"), "float32")
    assert model.languages == base_pair.ours.languages
    assert_tokens_equal(model.decode(base_encoded, TIMED), base_pair.ours.decode(base_encoded, TIMED))


@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
def test_stand_in_rules_are_the_published_ones(name: str, request: pytest.FixtureRequest) -> None:
    pair: Pair = request.getfixturevalue(name)
    published = pair.theirs.generation
    tokenizer = pair.ours.tokenizer
    assert set(tokenizer.suppress_tokens) == set(published.suppress_tokens)
    assert set(tokenizer.blank_tokens) == set(published.begin_suppress_tokens)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(NORM), f"missing: {NORM}"),
        (lambda t: t.pop(EMBEDDING), f"missing: {EMBEDDING}"),
        (lambda t: t.update({"model.decoder.extra.weight": torch.ones(3)}), "unknown: model.decoder.extra.weight"),
        (lambda t: t.update({NORM: torch.ones(63)}), rf"{NORM} .* \(63,\).* \(64,\)"),
        (lambda t: t.update({NORM: torch.ones(64, 1)}), r"\(64, 1\)"),
    ],
    ids=["missing", "no-embedding", "extra", "shape", "rank"],
)
def test_weights_that_do_not_fit_are_refused(
    small: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any], words: str
) -> None:
    folder = changed(small, tmp_path, change)
    with pytest.raises(ModelFormatError, match=words):
        WhisperModel.from_folder(folder, get_device("cpu"), "float32")


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def config_without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        del config[name]
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    return change


def config_with(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (truncate, "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 64), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "config.json"),
        (lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "config.json"),
        (config_without("d_model"), "d_model"),
        (config_with(d_model="wide"), "config.json"),
        (config_with(encoder_layers=3), "missing: model.encoder.layers.2"),
        (config_with(encoder_attention_heads=3), "heads"),
        (config_with(scale_embedding=True), "scale_embedding"),
        (config_with(activation_function="relu"), "activation_function"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}", encoding="utf-8"), "tokenizer"),
    ],
    ids=[
        "truncated",
        "garbage",
        "no-weights",
        "no-config",
        "config-not-json",
        "config-no-object",
        "config-lacks-width",
        "config-width-no-number",
        "config-more-layers",
        "config-heads-do-not-divide",
        "config-scaled-embedding",
        "config-other-activation",
        "tokenizer-empty",
    ],
)
def test_damaged_folders_are_refused(small: Path, tmp_path: Path, change: Callable[[Path], Any], words: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    change(folder)
    with pytest.raises(ModelFormatError, match=words):
        WhisperModel.from_folder(folder, get_device("cpu"), "float32")


def test_non_finite_weights_are_an_error(small: Path, tmp_path: Path) -> None:
    """One bad row of the output projection is one bad token, and text all the same if nobody looks."""

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors[EMBEDDING][17] = float("nan")

    model = WhisperModel.from_folder(changed(small, tmp_path, spoil), get_device("cpu"), "float32")
    encoded = model.encode(model.features([noise(1.0)]))
    for options in (PLAIN, TIMED):
        with pytest.raises(DecodingError):
            model.decode(encoded, replace(options, language="en", max_tokens=4))
