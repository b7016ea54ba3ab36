"""Formats that people already have -> one Hugging Face folder. Every stored number is kept, bit for bit.

The folder is one that transformers' `from_pretrained` loads unchanged: config.json, generation_config.json, the weights
as safetensors in the dtype they came in, the tokenizer and the preprocessor. What a format lacks is made from
openai/whisper's tiktoken files. Whoever calls gives an empty folder, and places it when it is whole or removes it.

- `whisper`: OpenAI's checkpoints, CTranslate2 and Hugging Face folders of Whisper.
- `lasr`: published MedASR folders.
- `huggingface`: what Hugging Face folders of any family have in common.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from voxport.errors import ModelFormatError, ModelNotFoundError
from voxport.models.convert.ctranslate2 import is_ctranslate2
from voxport.models.convert.huggingface import WEIGHTS, read_config, weight_files
from voxport.models.convert.lasr import convert_lasr
from voxport.models.convert.whisper import convert_ctranslate2, convert_huggingface, convert_openai

if TYPE_CHECKING:
    from voxport.models.convert.tokenizer_files import FetchMember

__all__ = [
    "Format",
    "convert",
    "convert_ctranslate2",
    "convert_huggingface",
    "convert_lasr",
    "convert_openai",
    "detect",
]

Format = Literal["openai", "ctranslate2", "huggingface", "lasr"]
"""The first three are Whisper's; "lasr" is MedASR as Hugging Face's hub has it."""

_HUGGING_FACE: dict[str, Format] = {"whisper": "huggingface", "lasr_ctc": "lasr"}
"""``model_type`` in a folder's config.json -> its format."""


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
        if isinstance(kind, str) and kind in _HUGGING_FACE:
            weight_files(path)
            return _HUGGING_FACE[kind]
        if kind is not None:
            raise ModelFormatError(
                f"{path} holds a model of type {kind!r}",
                hint="only Whisper (whisper) and MedASR (lasr_ctc) models can be imported",
            )
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
    """Detect the format and convert; see the functions named ``convert_...``.

    Returns:
        The format that was found.
    """
    path, found = Path(path), detect(path)
    if found == "lasr":
        convert_lasr(path, Path(destination))
        return found
    functions = {
        "openai": convert_openai,
        "ctranslate2": convert_ctranslate2,
        "huggingface": convert_huggingface,
    }
    functions[found](path, Path(destination), fetch_member)
    return found
