"""Whisper in three formats -> one Hugging Face folder; fine-tuned and distilled models too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError, OutputError
from voxport.models.convert.ctranslate2 import read_ctranslate2
from voxport.models.convert.huggingface import WEIGHTS, copy_files, read_config, read_tensors, write_weights
from voxport.models.convert.layout import (
    PROJECTION,
    Dimensions,
    check_tensors,
    config_json,
    drop_tied,
    weights_dtype,
)
from voxport.models.convert.openai import read_openai
from voxport.models.convert.tokenizer_files import (
    OPENAI_LICENCE,
    FetchMember,
    Vocabulary,
    generation_config,
    known_alignment_heads,
    preprocessor_config,
    vocabulary_for_size,
    vocabulary_from_folder,
    write_json,
    write_tokenizer,
    write_tokenizer_json,
)
from voxport.models.safetensors_file import StoredTensor, write_safetensors
from voxport.tokenizer import WhisperTokenizer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["convert_ctranslate2", "convert_huggingface", "convert_openai"]

LICENCE_FILE = "LICENSE-openai-whisper.txt"
"""The licence of what was made from openai/whisper's files."""

_TAKEN = ("generation_config.json", "preprocessor_config.json", "processor_config.json", "normalizer.json")
_TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)


def convert_openai(path: Path, destination: Path, fetch_member: FetchMember) -> None:
    """An OpenAI checkpoint (``.pt``) to a Hugging Face folder.

    Args:
        path: the file.
        destination: an existing, empty folder.
        fetch_member: gets the tiktoken file of the vocabulary.

    Raises:
        ModelFormatError: it can't be read as one.
    """
    tensors, dimensions = read_openai(path)
    vocabulary = vocabulary_for_size(dimensions.n_vocab, fetch_member)
    _write(destination, tensors, dimensions, vocabulary, {})


def convert_ctranslate2(folder: Path, destination: Path, fetch_member: FetchMember) -> None:
    """A CTranslate2 folder (``model.bin``, config.json, mostly tokenizer.json) to a Hugging Face folder.

    Args:
        folder: as faster-whisper takes it.
        destination: an existing, empty folder.
        fetch_member: gets the tiktoken file of the vocabulary where there is no tokenizer.json.

    Raises:
        ModelFormatError: it can't be read as one, or its weights are quantised.
    """
    tensors, dimensions = read_ctranslate2(folder / "model.bin")
    config = read_config(folder) if (folder / "config.json").is_file() else {}
    if (folder / "tokenizer.json").is_file():
        vocabulary = vocabulary_from_folder(folder).completed()
    else:
        vocabulary = vocabulary_for_size(dimensions.n_vocab, fetch_member)
    _write(destination, tensors, dimensions, vocabulary, config)


def convert_huggingface(folder: Path, destination: Path, fetch_member: FetchMember) -> None:
    """A Hugging Face folder to one with safetensors and everything that is needed beside them.

    safetensors, single or sharded, are copied as they are; pickles are read without running any code of theirs and
    written as safetensors. Missing generation, preprocessor and tokenizer files are made.

    Args:
        folder: config.json and weights at least.
        destination: an existing, empty folder.
        fetch_member: gets the tiktoken file of the vocabulary where the folder has no tokenizer.

    Raises:
        ModelFormatError: it is no whole Whisper folder, or its weights do not fit its config.json.
    """
    tensors, dimensions, config = _read_huggingface(folder)
    write_weights(folder, destination, drop_tied(tensors))
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    copy_files(folder, ("config.json", *_TAKEN, *(_TOKENIZER if has_tokenizer else ())), destination)
    if not has_tokenizer:
        write_tokenizer(vocabulary_for_size(dimensions.n_vocab, fetch_member), destination)
        _write_licence(destination)
    elif not (destination / "tokenizer.json").is_file():
        write_tokenizer_json(vocabulary_from_folder(folder), destination)
    tokenizer = WhisperTokenizer.from_folder(destination)
    _check_vocabulary(tokenizer, dimensions, folder)
    if not (destination / "generation_config.json").is_file():
        write_json(destination / "generation_config.json", _generation(tokenizer, dimensions, config))
    if not any((destination / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        write_json(destination / "preprocessor_config.json", preprocessor_config(dimensions.n_mels))


def _dimensions(config: dict[str, Any], where: object) -> Dimensions:
    """The network's dimensions as config.json gives them.

    Raises:
        ModelFormatError: one is missing or can't be.
    """
    names = {
        "n_mels": "num_mel_bins",
        "n_audio_ctx": "max_source_positions",
        "n_audio_state": "d_model",
        "n_audio_head": "encoder_attention_heads",
        "n_audio_layer": "encoder_layers",
        "n_vocab": "vocab_size",
        "n_text_ctx": "max_target_positions",
        "n_text_state": "d_model",
        "n_text_head": "decoder_attention_heads",
        "n_text_layer": "decoder_layers",
        "n_audio_ffn": "encoder_ffn_dim",
        "n_text_ffn": "decoder_ffn_dim",
    }
    assumed = {"max_source_positions": 1500, "max_target_positions": 448}
    sizes: dict[str, Any] = {ours: config.get(theirs, assumed.get(theirs)) for ours, theirs in names.items()}
    bad = [f"{names[ours]} = {size!r}" for ours, size in sizes.items() if type(size) is not int or not 0 < size < 10**6]
    if bad:
        raise ModelFormatError(f"the config.json of {where} has {', '.join(bad)}", hint="is it a Whisper model?")
    return Dimensions(**sizes)


def _read_huggingface(folder: Path) -> tuple[dict[str, StoredTensor], Dimensions, dict[str, Any]]:
    """The tensors under their published names, the dimensions, and config.json.

    Checkpoints of the bare model, without the output projection, lack the leading "model.": it is put there.

    Raises:
        ModelFormatError: it is no whole Whisper folder, or its weights do not fit its config.json.
    """
    config = read_config(folder)
    if config.get("model_type") != "whisper":
        raise ModelFormatError(
            f"{folder} holds a model of type {config.get('model_type')!r}",
            hint="only Whisper models are converted here",
        )
    sizes = _dimensions(config, folder)
    tensors = read_tensors(folder, lambda name: f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name)
    check_tensors(tensors, sizes, folder)
    return tensors, sizes, config


def _write(
    destination: Path,
    tensors: dict[str, StoredTensor],
    dimensions: Dimensions,
    vocabulary: Vocabulary,
    config: dict[str, Any],
) -> None:
    """The whole folder, for weights that came without one. `config`: CTranslate2's, or {}."""
    tokenizer = vocabulary.tokenizer()
    _check_vocabulary(tokenizer, dimensions, "the model")
    write_safetensors(destination / WEIGHTS, tensors)
    own = config_json(dimensions, weights_dtype(tensors), tokenizer.eot, tokenizer.sot, tied=PROJECTION not in tensors)
    write_json(destination / "config.json", own)
    generation = {
        "alignment_heads": config.get("alignment_heads"),
        "suppress_tokens": config.get("suppress_ids"),
        "begin_suppress_tokens": config.get("suppress_ids_begin"),
    }
    write_json(destination / "generation_config.json", _generation(tokenizer, dimensions, generation))
    write_json(destination / "preprocessor_config.json", preprocessor_config(dimensions.n_mels))
    write_tokenizer(vocabulary, destination)
    _write_licence(destination)


def _generation(tokenizer: WhisperTokenizer, dimensions: Dimensions, config: dict[str, Any]) -> dict[str, Any]:
    """generation_config.json out of what the model's own config says, and defaults."""
    heads = config.get("alignment_heads") or known_alignment_heads(
        dimensions.n_vocab, dimensions.n_mels, dimensions.n_audio_layer, dimensions.n_text_layer
    )
    lists = {name: config.get(name) for name in ("suppress_tokens", "begin_suppress_tokens")}
    for name, value in lists.items():
        if value is not None and not (isinstance(value, list) and all(type(number) is int for number in value)):
            raise ModelFormatError(
                f"the model's config.json has {name} = {value!r}", hint="a list of token ids is needed"
            )
    return generation_config(tokenizer, heads, dimensions.n_text_ctx, **lists)


def _check_vocabulary(tokenizer: WhisperTokenizer, dimensions: Dimensions, where: object) -> None:
    if dimensions.n_vocab < tokenizer.vocab_size:
        raise ModelFormatError(
            f"the tokenizer of {where} has {tokenizer.vocab_size} tokens, its weights have {dimensions.n_vocab}",
            hint="tokenizer and weights are from different models: put the right tokenizer.json beside the weights",
        )


def _write_licence(destination: Path) -> None:
    text = (
        "The tokenizer of this folder, and its weights where they are OpenAI's, come from openai/whisper\n"
        "(https://github.com/openai/whisper) under this licence. Fine-tuned weights have their maker's.\n\n"
    )
    try:
        (destination / LICENCE_FILE).write_text(text + OPENAI_LICENCE, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{destination / LICENCE_FILE} can't be written: {error.strerror or error}") from error
