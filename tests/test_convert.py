"""Formats that people have -> one Hugging Face folder, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from foreign_formats import (
    HEADS,
    SMALL,
    TIED,
    TOKENIZER_FILES,
    State,
    converted,
    ctranslate2_bytes,
    ctranslate2_variables,
    never,
    openai_checkpoint,
    rank_file_fetcher,
    save_ctranslate2,
    save_huggingface,
    small_state,
)
from voxport.errors import ModelFormatError
from voxport.models.convert import detect
from voxport.models.convert.openai import read_openai
from voxport.models.convert.tokenizer_files import known_alignment_heads
from voxport.models.identity import model_identity, tensor_identity
from voxport.tokenizer import WhisperTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.models.hub.carriers import Carrier


@pytest.fixture(scope="module")
def fetch(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path, base: Path) -> Callable[[Carrier], Path]:
    return rank_file_fetcher(tmp_path_factory.mktemp("ranks"), tiny_en, base)


@pytest.fixture(scope="module")
def state() -> State:
    """A small network with the multilingual vocabulary."""
    return small_state(51_865)


def assert_same(found: State, expected: State) -> None:
    """The same names, dtypes and bits."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].contiguous().view(torch.uint8), tensor.contiguous().view(torch.uint8)), name


def assert_loads(folder: Path, expected: State) -> None:
    """transformers loads it unchanged, with nothing missing, nothing left over and every bit in place."""
    model, report = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    loaded = dict(model.state_dict())
    embedding = loaded.pop("proj_out.weight")
    assert torch.equal(embedding, loaded["model.decoder.embed_tokens.weight"])
    assert_same(loaded, expected)


# The three formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16], ids=str)
def test_ctranslate2_is_exact(tmp_path: Path, base: Path, state: State, dtype: torch.dtype) -> None:
    stored = {name: tensor.to(dtype) for name, tensor in state.items()}
    folder = converted(save_ctranslate2(tmp_path / "ct2", stored, base), tmp_path / "hf")
    assert_same(load_file(folder / "model.safetensors"), stored)
    assert_loads(folder, stored)
    config = json.loads((folder / "config.json").read_text())
    assert config["torch_dtype"] == str(dtype).removeprefix("torch.")
    assert {name: config[name] for name in SMALL} == SMALL
    assert model_identity(folder) == tensor_identity(stored)


def test_openai_is_exact(tmp_path: Path, state: State, fetch: Callable[[Carrier], Path]) -> None:
    torch.save(openai_checkpoint(state, *HEADS), tmp_path / "small.pt")
    folder = converted(tmp_path / "small.pt", tmp_path / "hf", fetch)
    assert_same(load_file(folder / "model.safetensors"), state)
    assert_loads(folder, state)
    assert {name: json.loads((folder / "config.json").read_text())[name] for name in SMALL} == SMALL
    processor = WhisperProcessor.from_pretrained(folder)
    assert processor.feature_extractor.feature_size == 80
    assert processor.tokenizer.encode(" the", add_special_tokens=False) == [264]
    assert "Copyright (c) 2022 OpenAI" in (folder / "LICENSE-openai-whisper.txt").read_text()


def test_mixed_dtypes_stay_mixed(tmp_path: Path, state: State) -> None:
    mixed = {name: tensor.float() if "norm" in name else tensor for name, tensor in state.items()}
    torch.save(openai_checkpoint(mixed, *HEADS), tmp_path / "mixed.pt")
    tensors, dimensions = read_openai(tmp_path / "mixed.pt")
    assert tensor_identity(tensors) == tensor_identity(mixed)
    assert (dimensions.n_audio_head, dimensions.n_text_head, dimensions.n_text_layer) == (2, 4, 2)


def test_checkpoints_in_the_old_torch_format(tmp_path: Path, state: State) -> None:
    torch.save(openai_checkpoint(state, *HEADS), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert detect(tmp_path / "old.pt") == "openai"
    assert tensor_identity(read_openai(tmp_path / "old.pt")[0]) == tensor_identity(state)


def test_three_formats_of_the_same_weights_have_one_identity(
    tmp_path: Path, tiny_en: Path, fetch: Callable[[Carrier], Path]
) -> None:
    """Genuine weights through each format and back: the file is the same, byte for byte."""
    weights = load_file(tiny_en / "model.safetensors")
    original = (tiny_en / "model.safetensors").read_bytes()
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2/model.bin").write_bytes(ctranslate2_bytes(ctranslate2_variables(weights, 6, 6), TIED))
    shutil.copy(tiny_en / "tokenizer.json", tmp_path / "ct2")
    torch.save(openai_checkpoint(weights, 6, 6), tmp_path / "tiny.en.pt")
    (tmp_path / "bin").mkdir()
    torch.save(
        {**weights, "proj_out.weight": weights["model.decoder.embed_tokens.weight"]}, tmp_path / "bin/pytorch_model.bin"
    )
    shutil.copy(tiny_en / "config.json", tmp_path / "bin")
    for name, source in (("a", "ct2"), ("b", "tiny.en.pt"), ("c", "bin")):
        folder = converted(tmp_path / source, tmp_path / name, fetch)
        assert (folder / "model.safetensors").read_bytes() == original, source
        for file in ("config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "merges.txt"):
            assert json_or_text(folder / file) == json_or_text(tiny_en / file), (source, file)
        tokenizer, genuine = WhisperTokenizer.from_folder(folder), WhisperTokenizer.from_folder(tiny_en)
        assert tokenizer.special_tokens == genuine.special_tokens


def json_or_text(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


@pytest.mark.full
@pytest.mark.parametrize("options", [{}, {"return_timestamps": True}], ids=["plain", "timestamps"])
@pytest.mark.parametrize("name", ["tiny_en", "base"])
def test_transformers_transcribes_a_converted_folder(
    request: pytest.FixtureRequest, name: str, jfk: Path, options: dict[str, Any]
) -> None:
    from voxport.audio import load_audio

    folder = request.getfixturevalue(name)
    processor = WhisperProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    samples = load_audio(jfk).samples
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    text = processor.batch_decode(model.generate(features, **options), skip_special_tokens=True)[0]
    words = "".join(c for c in text.lower() if c.isalpha() or c == " ").split()
    assert " ".join(words) == (
        "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    )


@pytest.mark.full
def test_published_files(tmp_path: Path, tiny_en: Path, base: Path) -> None:
    """OpenAI's own tiny.en.pt and the published CTranslate2 conversions, where somebody has put them."""
    given = os.environ.get("VOXPORT_TEST_ORIGINALS")
    if not given:
        pytest.skip("set VOXPORT_TEST_ORIGINALS to a folder with tiny.en.pt, tiny.en/ and base/ (CTranslate2)")
    fetch_member = rank_file_fetcher(tmp_path, tiny_en, base)
    for source, genuine in (("tiny.en.pt", tiny_en), ("tiny.en", tiny_en), ("base", base)):
        folder = converted(Path(given) / source, tmp_path / f"converted-{source}", fetch_member)
        assert (folder / "model.safetensors").read_bytes() == (genuine / "model.safetensors").read_bytes()


# What a folder is given besides its weights ---------------------------------------------------------------------------


def test_generation_config_comes_from_ctranslate2(tmp_path: Path, base: Path, state: State) -> None:
    config = {"alignment_heads": [[1, 0], [1, 3]], "suppress_ids": [1, 2, 50_258], "suppress_ids_begin": [220, 50_257]}
    folder = converted(save_ctranslate2(tmp_path / "ct2", state, base, **config), tmp_path / "hf")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["alignment_heads"] == [[1, 0], [1, 3]]
    assert generation["suppress_tokens"] == [1, 2, 50_258]
    assert generation["begin_suppress_tokens"] == [220, 50_257]
    assert generation["no_timestamps_token_id"] == 50_363
    assert generation["max_initial_timestamp_index"] == 50
    assert generation["max_length"] == SMALL["max_target_positions"]
    assert generation["is_multilingual"] is True
    assert generation["task_to_id"] == {"transcribe": 50_359, "translate": 50_358}
    assert (len(generation["lang_to_id"]), generation["lang_to_id"]["<|en|>"]) == (99, 50_259)


def test_generation_config_without_anything_to_go_by(tmp_path: Path, base: Path, state: State) -> None:
    """A distilled model: no alignment heads are known, and none are made up."""
    folder = converted(save_ctranslate2(tmp_path / "ct2", state, base), tmp_path / "hf")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert "alignment_heads" not in generation
    assert len(generation["suppress_tokens"]) == 88
    assert generation["begin_suppress_tokens"] == [220, 50_257]


@pytest.mark.parametrize(
    ("config", "message"),
    [({"suppress_ids": "x"}, "suppress_tokens = 'x'"), ({"suppress_ids_begin": [1.5]}, "begin_suppress_tokens")],
    ids=["text", "float"],
)
def test_a_forged_config_is_refused(
    tmp_path: Path, base: Path, state: State, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelFormatError, match=message):
        converted(save_ctranslate2(tmp_path / "ct2", state, base, **config), tmp_path / "hf")


def test_known_alignment_heads() -> None:
    assert known_alignment_heads(51_864, 80, 4, 4) == [[1, 0], [2, 0], [2, 5], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]]
    assert known_alignment_heads(51_866, 128, 32, 4) == [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]]
    assert known_alignment_heads(51_865, 80, 32, 32) is None  # large-v1 or large-v2
    assert known_alignment_heads(51_866, 128, 32, 2) is None  # distil-large-v3


def test_without_a_tokenizer_it_is_fetched_by_the_size_of_the_vocabulary(
    tmp_path: Path, state: State, base: Path, fetch: Callable[[Carrier], Path]
) -> None:
    folder = converted(save_ctranslate2(tmp_path / "ct2", state), tmp_path / "hf", fetch)
    assert WhisperTokenizer.from_folder(folder).special_tokens == WhisperTokenizer.from_folder(base).special_tokens
    odd = save_ctranslate2(tmp_path / "odd", small_state(51_900))
    with pytest.raises(ModelFormatError, match="no published tokenizer has 51900 tokens") as caught:
        converted(odd, tmp_path / "odd-hf", never)
    assert caught.value.code == "tokenizer_missing"


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, base: Path) -> None:
    source = save_ctranslate2(tmp_path / "ct2", small_state(51_864), base)
    with pytest.raises(ModelFormatError, match="has 51865 tokens, its weights have 51864"):
        converted(source, tmp_path / "hf")


def test_a_padded_vocabulary_is_taken(tmp_path: Path, base: Path) -> None:
    """Fine-tuned models may have more rows than tokens."""
    padded = small_state(51_968)
    folder = converted(save_ctranslate2(tmp_path / "ct2", padded, base), tmp_path / "hf")
    assert_loads(folder, padded)


# Hugging Face folders -------------------------------------------------------------------------------------------------


def test_huggingface_safetensors_are_copied(tmp_path: Path, base: Path, state: State) -> None:
    source = save_huggingface(tmp_path / "source", state, like=base, fine_tuned_by="us")
    (source / "generation_config.json").write_text('{"odd": 1}')
    (source / "LICENSE").write_text("theirs")
    (source / "optimizer.pt").write_bytes(b"not needed")
    folder = converted(source, tmp_path / "hf")
    for name in ("config.json", "model.safetensors", "generation_config.json", "LICENSE", *TOKENIZER_FILES):
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    assert json.loads((folder / "preprocessor_config.json").read_text())["feature_size"] == 80
    assert not (folder / "optimizer.pt").exists()
    assert_loads(folder, state)


def test_a_bare_checkpoint_gets_what_it_lacks(tmp_path: Path, state: State, fetch: Callable[[Carrier], Path]) -> None:
    """config.json and weights alone, as a trainer leaves them; suppressed tokens from config.json as of old."""
    source = save_huggingface(tmp_path / "source", state, suppress_tokens=[5, 6])
    folder = converted(source, tmp_path / "hf", fetch)
    assert json.loads((folder / "generation_config.json").read_text())["suppress_tokens"] == [5, 6]
    assert WhisperProcessor.from_pretrained(folder).tokenizer.convert_tokens_to_ids("<|notimestamps|>") == 50_363
    assert "Copyright (c) 2022 OpenAI" in (folder / "LICENSE-openai-whisper.txt").read_text()


def test_a_slow_tokenizer_gets_a_fast_one(tmp_path: Path, base: Path, state: State) -> None:
    source = save_huggingface(tmp_path / "source", state, like=base)
    (source / "tokenizer.json").unlink()
    folder = converted(source, tmp_path / "hf")
    assert (folder / "tokenizer.json").is_file()
    assert WhisperTokenizer.from_folder(folder).encode(" country") == WhisperTokenizer.from_folder(base).encode(
        " country"
    )


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
def test_shards(tmp_path: Path, base: Path, state: State, pickled: bool) -> None:
    source = save_huggingface(tmp_path / "source", state, like=base)
    (source / "model.safetensors").unlink()
    single = "pytorch_model.bin" if pickled else "model.safetensors"
    table = {}
    for n in range(2):
        name = f"part-{n}.{'bin' if pickled else 'safetensors'}"
        part = dict(sorted(state.items())[n::2])
        (torch.save if pickled else save_file)(part, source / name)
        table |= dict.fromkeys(part, name)
    (source / f"{single}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    folder = converted(source, tmp_path / "hf")
    assert model_identity(folder) == tensor_identity(state)
    assert (folder / "model.safetensors").is_file() == pickled
    assert_loads(folder, state)


def test_the_bare_model_without_prefix(tmp_path: Path, base: Path, state: State) -> None:
    """Saved as WhisperModel: a pickle gets the published names, a safetensors file stays as it is."""
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    source = save_huggingface(tmp_path / "source", state, like=base)
    save_file(bare, source / "model.safetensors", metadata={"format": "pt"})
    assert_loads(converted(source, tmp_path / "copied"), state)
    (source / "model.safetensors").unlink()
    torch.save(bare, source / "pytorch_model.bin")
    folder = converted(source, tmp_path / "renamed")
    assert_same(load_file(folder / "model.safetensors"), state)


def test_an_output_projection_of_its_own_is_kept(tmp_path: Path, base: Path, state: State) -> None:
    own = {**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"] + 1}
    source = save_huggingface(tmp_path / "source", own, like=base, tie_word_embeddings=False)
    (source / "model.safetensors").unlink()
    torch.save(own, source / "pytorch_model.bin")
    assert_same(load_file(converted(source, tmp_path / "hf") / "model.safetensors"), own)
    variables = ctranslate2_variables(own, *HEADS)
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2/model.bin").write_bytes(ctranslate2_bytes(variables, {}))
    shutil.copy(base / "tokenizer.json", tmp_path / "ct2")
    folder = converted(tmp_path / "ct2", tmp_path / "hf2")
    assert_same(load_file(folder / "model.safetensors"), own)
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 51_866}, "has shape"),
        ({"decoder_layers": 3}, "24 missing"),
        ({"decoder_layers": 1}, "24 unknown"),
        ({"decoder_layers": 900_000}, "too few for its layers"),
        ({"d_model": "16"}, "d_model = '16'"),
        ({"encoder_layers": True}, "encoder_layers = True"),
        ({"num_mel_bins": None}, "num_mel_bins = None"),
        ({"decoder_ffn_dim": -4}, "decoder_ffn_dim = -4"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_their_config(
    tmp_path: Path, base: Path, state: State, change: dict[str, Any], message: str
) -> None:
    source = save_huggingface(tmp_path / "source", state, like=base, **change)
    with pytest.raises(ModelFormatError, match=message):
        converted(source, tmp_path / "hf")


def test_adapters_are_not_models(tmp_path: Path, base: Path, state: State) -> None:
    merged = {**state, "model.decoder.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 16)}
    source = save_huggingface(tmp_path / "source", merged, like=base)
    with pytest.raises(ModelFormatError, match="1 unknown") as caught:
        converted(source, tmp_path / "hf")
    assert caught.value.hint is not None
    assert "LoRA" in caught.value.hint
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"adapter \(LoRA\), not a model"):
        detect(tmp_path / "adapter")


def test_an_index_names_no_file_outside_its_folder(tmp_path: Path, base: Path, state: State) -> None:
    source = save_huggingface(tmp_path / "source", state, like=base)
    shutil.move(source / "model.safetensors", tmp_path / "outside.safetensors")
    index = {"weight_map": dict.fromkeys(state, "../outside.safetensors")}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFormatError, match=r"not in the folder: \.\./outside"):
        converted(source, tmp_path / "hf")
