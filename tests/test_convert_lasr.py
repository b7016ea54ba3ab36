"""Published MedASR folders into the store: bit for bit, and only if all of their files belong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import voxport
from fakes.environment import RecordingProgress, files_under, isolate
from fakes.lasr import SMALL, lasr_folder
from foreign_formats import never
from voxport.errors import ModelError, ModelFormatError
from voxport.models import hub
from voxport.models.convert import convert, detect
from voxport.models.identity import model_identity, tensor_identity
from voxport.models.lasr import LasrModel
from voxport.types import Audio

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.types import FloatArray

State = dict[str, torch.Tensor]

PUBLISHED = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
COUNT = "encoder.layers.0.conv.norm.num_batches_tracked"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return lasr_folder(tmp_path / "source")


def weights(folder: Path) -> State:
    """Copies: the files may be written over."""
    return {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}


def replace_weights(folder: Path, state: State) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path, content: Any = None) -> Path:
    """`folder` with its weights as a pickle instead."""
    state = weights(folder) if content is None else content
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def sharded(folder: Path, single: str, save: Callable[[State, Path], None]) -> Path:
    """`folder` with its weights in two files instead, named by an index."""
    state = weights(folder)
    (folder / "model.safetensors").unlink()
    stem, _, suffix = single.rpartition(".")
    table = {}
    for n in range(2):
        name = f"{stem}-0000{n + 1}-of-00002.{suffix}"
        part = dict(sorted(state.items())[n::2])
        save(part, folder / name)
        table |= dict.fromkeys(part, name)
    (folder / f"{single}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tensor.shape, flat.numpy().tobytes()


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert bits(found[name]) == bits(tensor), name


def logits(name: str) -> FloatArray:
    model = voxport.load_model(name, device="cpu", dtype="float32", offline=True)
    sound = Audio(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    return model.logits(model.encode(model.features([sound])))


# What is taken --------------------------------------------------------------------------------------------------------


def test_safetensors_are_copied(source: Path, home: Path) -> None:
    for name in ("LICENSE", "LICENCE.txt", "lm_6.kenlm", "README.md", "optimizer.pt"):
        (source / name).write_text(f"a {name}")
    for name in ("special_tokens_map.json", "processor_config.json"):
        (source / name).write_text("{}")
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    assert detect(source) == "lasr"
    stored = hub.import_model(source, "ours")
    expected = {*PUBLISHED, "special_tokens_map.json", "processor_config.json", "LICENSE", "LICENCE.txt"}
    assert files_under(stored.path) == {*expected, "voxport.json"}
    assert {name: (stored.path / name).read_bytes() for name in expected} == {name: before[name] for name in expected}
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before  # what was imported stays as it was
    assert (stored.record["format"], stored.record["imported_from"]) == ("lasr", "source")
    assert stored.record["identity"] == model_identity(stored.path) == model_identity(source)
    assert stored.path.parent == home / "models/ours"


def test_what_was_imported_says_the_same(source: Path) -> None:
    expected = logits(str(source))
    hub.import_model(pickled(source), "ours", offline=True)
    model = voxport.load_model("ours", device="cpu", offline=True)
    assert isinstance(model, LasrModel)
    assert model.net.dims == SMALL
    assert np.array_equal(logits("ours"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_pickles_become_safetensors(source: Path, dtype: torch.dtype) -> None:
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights(source).items()
    }
    stored = hub.import_model(pickled(source, state), "ours")
    assert files_under(stored.path) == {*PUBLISHED, "voxport.json"}
    assert_same(load_file(stored.path / "model.safetensors"), state)
    assert state[COUNT].dtype == torch.int64
    assert stored.record["identity"] == model_identity(stored.path) == tensor_identity(state)


def test_shards_of_safetensors(source: Path) -> None:
    state, identity = weights(source), model_identity(source)
    sharded(source, "model.safetensors", save_file)
    stored = hub.import_model(source, "ours")
    index = "model.safetensors.index.json"
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert files_under(stored.path) == {*PUBLISHED, "voxport.json", index, *shards} - {"model.safetensors"}
    assert all((stored.path / name).read_bytes() == (source / name).read_bytes() for name in (index, *shards))
    assert_same({**load_file(stored.path / shards[0]), **load_file(stored.path / shards[1])}, state)
    assert stored.record["identity"] == identity
    assert voxport.load_model("ours", device="cpu", offline=True).info.identity == identity


def test_shards_of_pickles(source: Path) -> None:
    state, identity = weights(source), model_identity(source)
    stored = hub.import_model(sharded(source, "pytorch_model.bin", torch.save), "ours")
    assert files_under(stored.path) == {*PUBLISHED, "voxport.json"}
    assert_same(load_file(stored.path / "model.safetensors"), state)
    assert stored.record["identity"] == identity


def test_what_transformers_saves(tmp_path: Path) -> None:
    """The published names and settings, from the published code."""
    transformers = pytest.importorskip("transformers", minversion="5.0")
    source = lasr_folder(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    settings = {key: value for key, value in config["encoder_config"].items() if key != "model_type"}
    torch.manual_seed(0)
    network = transformers.LasrForCTC(
        transformers.LasrCTCConfig(vocab_size=64, pad_token_id=0, encoder_config=settings)
    )
    network.save_pretrained(source)
    stored = hub.import_model(source, "ours")
    assert_same(load_file(stored.path / "model.safetensors"), dict(network.state_dict()))
    model = voxport.load_model("ours", device="cpu", offline=True)
    assert not model.info.random_weights
    assert model.info.identity == tensor_identity(network.state_dict())


def test_import_over_the_known_name(source: Path) -> None:
    """People who hold the weights may use them as ``medasr``."""
    (source / "config.json").write_text(
        json.dumps(json.loads((source / "config.json").read_text()) | {"voxport_random_weights": False})
    )
    progress = RecordingProgress()
    stored = hub.import_model(source, "google/medasr", progress=progress)
    assert hub.resolve("medasr", offline=True).path == stored.path
    assert not voxport.load_model("medasr", device="cpu", offline=True).info.random_weights
    assert progress.notes == [f"importing {source} as medasr"]


# What is refused ------------------------------------------------------------------------------------------------------


def refused(source: Path, home: Path, message: str) -> ModelError:
    """The error of an import; nothing must stay of it."""
    with pytest.raises(ModelFormatError, match=message) as caught:
        hub.import_model(source, "ours")
    assert files_under(home) == set()
    return caught.value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # A layer has 21 tensors: 4 in feed-forwards, 4 in attention, 3 in convolutions, 5 in batch norm, 5 in norms;
        # the counter of the batch norm may be missing.
        ({"encoder_config": {"num_hidden_layers": 3}}, r"20 missing, the first is encoder\.layers\.2\.conv\."),
        ({"encoder_config": {"num_hidden_layers": 1}}, r"21 unknown, the first is encoder\.layers\.1\.conv\."),
        ({"encoder_config": {"num_hidden_layers": 900_000}}, "num_hidden_layers can't be 900000"),
        ({"encoder_config": {"num_hidden_layers": 10**12}}, "num_hidden_layers can't be 1000000000000"),
        ({"encoder_config": {"hidden_size": 2**40}}, "hidden_size can't be 1099511627776"),
        ({"encoder_config": {"hidden_size": 64}}, r"has shape \(.*32.*\), expected \(.*64.*\)"),
        ({"encoder_config": {"intermediate_size": 64}}, r"has shape \(48, 32\), expected \(64, 32\)"),
        ({"encoder_config": {"conv_kernel_size": 8}}, r"has shape \(32, 1, 4\), expected \(32, 1, 8\)"),
        ({"encoder_config": {"num_mel_bins": 128}}, r"dense_0\.weight .* has shape \(32, 16\), expected \(32, 128\)"),
        ({"encoder_config": {"convolution_bias": True}}, "missing"),
        ({"encoder_config": {"num_attention_heads": 5}}, "5 attention heads do not divide the width 32"),
        ({"encoder_config": {"hidden_size": "32"}}, "hidden_size can't be '32'"),
        ({"encoder_config": {"hidden_act": "gelu"}}, "hidden_act to 'gelu'"),
        ({"encoder_config": [1]}, "encoder_config is no object"),
        ({"vocab_size": 65}, r"ctc_head\.\w+ of .* has shape \(64.*\), expected \(65.*\)"),
        ({"pad_token_id": 64}, "CTC's blank, can't be 64"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_their_config(tmp_path: Path, home: Path, change: dict[str, Any], message: str) -> None:
    refused(lasr_folder(tmp_path / "source", **change), home, message)


@pytest.mark.parametrize("pickle", [False, True], ids=["safetensors", "pickle"])
def test_tensors_of_another_kind(source: Path, home: Path, pickle: bool) -> None:
    state = weights(source)
    for name, tensor, message in (
        ("ctc_head.bias", state["ctc_head.bias"].double(), r"ctc_head\.bias of .* is stored as F64"),
        ("ctc_head.bias", state["ctc_head.bias"].to(torch.int8), r"ctc_head\.bias of .* is stored as I8"),
        (COUNT, state[COUNT].float(), r"num_batches_tracked of .* is stored as F32"),
        ("ctc_head.bias", state["ctc_head.bias"][:-1].clone(), r"has shape \(63,\), expected \(64,\)"),
    ):
        replace_weights(source, {**state, name: tensor})
        if pickle:
            pickled(source)
        refused(source, home, message)


def test_missing_and_unknown_tensors(source: Path, home: Path) -> None:
    state = weights(source)
    replace_weights(source, {name: tensor for name, tensor in state.items() if name != "ctc_head.bias"})
    error = refused(source, home, r"not those of a MedASR model: 1 missing, the first is ctc_head\.bias")
    assert error.hint == "is the file complete?"
    replace_weights(source, {**state, "encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 32)})
    error = refused(source, home, r"1 unknown, the first is encoder\.layers\.0\.self_attn\.q_proj\.lora_A")
    assert "LoRA" in str(error.hint)


def test_a_tensor_in_two_files(source: Path, home: Path) -> None:
    sharded(source, "model.safetensors", save_file)
    first, second = (source / f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    save_file({**load_file(second), "ctc_head.bias": load_file(first)["ctc_head.bias"]}, second)
    refused(source, home, r"ctc_head\.bias is in two files")


def test_a_shard_that_is_not_there(source: Path, home: Path) -> None:
    sharded(source, "model.safetensors", save_file)
    (source / "model-00002-of-00002.safetensors").unlink()
    refused(source, home, r"not in the folder: model-00002-of-00002\.safetensors")


def test_a_folder_without_weights(source: Path, home: Path) -> None:
    (source / "model.safetensors").unlink()
    refused(source, home, r"has neither model\.safetensors nor pytorch_model\.bin")


def test_a_pointer_of_git_lfs_is_no_file(source: Path, home: Path) -> None:
    (source / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(source, home, r"model\.safetensors is not a whole safetensors file")


def test_an_adapter_is_no_model(source: Path, home: Path) -> None:
    (source / "config.json").unlink()
    (source / "adapter_config.json").write_text("{}")
    refused(source, home, r"an adapter \(LoRA\), not a model")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_is_not_run(source: Path, home: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    refused(pickled(source, {**weights(source), "x": Touch(mark)}), home, "can't be read as a torch file of tensors")
    assert not mark.exists()


def test_without_a_tokenizer(source: Path, home: Path) -> None:
    (source / "tokenizer.json").unlink()
    error = refused(source, home, r"source has no tokenizer\.json")
    assert error.code == "tokenizer_missing"
    assert "where the weights were published" in str(error.hint)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "are damaged"), ('{"model": {"type": "BPE", "vocab": []}}', "is BPE, not Unigram")],
    ids=["cut", "another kind"],
)
def test_a_damaged_tokenizer(source: Path, home: Path, content: str, message: str) -> None:
    (source / "tokenizer.json").write_text(content)
    assert refused(source, home, message).code == "tokenizer_damaged"


def test_a_tokenizer_of_another_model(source: Path, home: Path) -> None:
    data = json.loads((source / "tokenizer.json").read_text())
    data["model"]["vocab"] = data["model"]["vocab"][:60]
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 60]
    (source / "tokenizer.json").write_text(json.dumps(data))
    error = refused(source, home, "has 60 tokens, its weights have 64")
    assert "put the right tokenizer.json beside the weights" in str(error.hint)


def test_other_families_are_told_what_can_be_imported(source: Path, home: Path) -> None:
    (source / "config.json").write_text('{"model_type": "wav2vec2"}')
    error = refused(source, home, "holds a model of type 'wav2vec2'")
    assert error.hint == "only Whisper (whisper) and MedASR (lasr_ctc) models can be imported"
    (source / "config.json").write_text('{"model_type": ["lasr_ctc"]}')
    refused(source, home, r"holds a model of type \['lasr_ctc'\]")


def test_nothing_is_fetched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert convert(source, tmp_path / "made", never) == "lasr"
