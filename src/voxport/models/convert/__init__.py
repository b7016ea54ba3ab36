"""Formats that people already have -> one Hugging Face folder. Every stored number is kept, bit for bit.

The folder is one that transformers' `from_pretrained` loads unchanged: config.json, generation_config.json, the weights
as safetensors in the dtype they came in, the tokenizer and the preprocessor. What a format lacks is made from
openai/whisper's tiktoken files. Whoever calls gives an empty folder, and places it when it is whole or removes it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from voxport.errors import ModelFormatError, ModelNotFoundError, OutputError
from voxport.models.convert.ctranslate2 import is_ctranslate2, read_ctranslate2
from voxport.models.convert.huggingface import WEIGHTS, read_config, read_huggingface, weight_files
from voxport.models.convert.layout import PROJECTION, Dimensions, config_json, drop_tied, weights_dtype
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

__all__ = ["Format", "convert", "convert_ctranslate2", "convert_huggingface", "convert_openai", "detect"]

Format = Literal["openai", "ctranslate2", "huggingface"]

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


def detect(path: Path) -> Format:
    """What a file or folder holds.

    Raises:
        ModelNotFoundError: there is nothing at `path`.
        ModelFormatError: none of the formats that can be imported; the message names what was found.
    """
    path = Path(path)
    if path.is_file():
        return _detect_file(path)
    if not path.is_dir():
        raise ModelNotFoundError(f"there is no file or folder {path}", hint="give an existing path")
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        raise ModelFormatError(
            f"{path} holds an adapter (LoRA), not a model",
            hint="merge it into its base model first: PeftModel.merge_and_unload(), then save_pretrained()",
        )
    if (path / "model.bin").is_file() and is_ctranslate2(path / "model.bin"):
        return "ctranslate2"
    if (path / "config.json").is_file():
        kind = read_config(path).get("model_type")
        if kind == "whisper":
            weight_files(path)
            return "huggingface"
        if kind is not None:
            raise ModelFormatError(f"{path} holds a model of type {kind!r}", hint="only Whisper models can be imported")
    names = sorted(entry.name for entry in path.iterdir())
    found = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"
    raise ModelFormatError(
        f"{path} is no model folder that can be imported: it holds {found}",
        hint="it takes a .pt file of openai/whisper, a CTranslate2 folder (model.bin) or a Hugging Face folder "
        "(config.json and model.safetensors)",
    )


def _detect_file(path: Path) -> Format:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ModelFormatError(f"{path} can't be read: {error.strerror or error}") from error
    if path.suffix in (".pt", ".pth") and head[:1] in (b"P", b"\x80"):  # a zip archive, or a bare pickle
        return "openai"
    kinds = {
        b"lmgg": "a ggml file of whisper.cpp",
        b"GGUF": "a GGUF file",
        b"version https://": "a pointer of Git LFS, not the file itself",
    }
    found = next((kind for magic, kind in kinds.items() if head.startswith(magic)), None)
    if found is None:
        found = (
            "an ONNX file" if path.suffix == ".onnx" else f"a file that begins with {head[:8].hex(' ') or 'nothing'}"
        )
    hint = "it takes a .pt file of openai/whisper, or the folder of a CTranslate2 or Hugging Face model"
    if path.name in ("model.bin", WEIGHTS, "pytorch_model.bin", "config.json"):
        hint = f"give its folder: {path.parent}"
    raise ModelFormatError(f"{path} can't be imported: it is {found}", hint=hint)


def convert(path: Path, destination: Path, fetch_member: FetchMember) -> Format:
    """Detect the format and convert; see the functions below.

    Returns:
        The format that was found.
    """
    path, found = Path(path), detect(path)
    functions = {
        "openai": convert_openai,
        "ctranslate2": convert_ctranslate2,
        "huggingface": convert_huggingface,
    }
    functions[found](path, Path(destination), fetch_member)
    return found


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
    tensors, dimensions, config = read_huggingface(folder)
    files = weight_files(folder)
    if files[0].suffix == ".safetensors":
        index = folder / f"{WEIGHTS}.index.json"
        copied = files if files == [folder / WEIGHTS] else [*files, index]
    else:
        write_safetensors(destination / WEIGHTS, drop_tied(tensors))
        copied = []
    copied += [folder / name for name in ("config.json", *_TAKEN) if (folder / name).is_file()]
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    if has_tokenizer:
        copied += [folder / name for name in _TOKENIZER if (folder / name).is_file()]
    copied += sorted(path for path in folder.glob("LICEN[SC]E*") if path.is_file())
    for path in copied:
        _copy(path, destination / path.name)
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


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(f"{source} can't be copied to {target}: {error.strerror or error}") from error
