"""Whisper folders with random weights, in the published layout, for tests on shapes whose weights are not at hand."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The published shapes that differ from each other: widths, heads, mels, vocabulary.
MEDIUM: dict[str, Any] = {
    "d_model": 1024,
    "encoder_layers": 24,
    "decoder_layers": 24,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "num_mel_bins": 80,
    "vocab_size": 51_865,
}
TURBO: dict[str, Any] = {
    "d_model": 1280,
    "encoder_layers": 32,
    "decoder_layers": 4,
    "encoder_attention_heads": 20,
    "decoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "vocab_size": 51_866,
}
SMALL_TEST: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "num_mel_bins": 80,
    "vocab_size": 51_865,
}

TRANSLATE_BEFORE_CANTONESE = 50_358
"""Where large-v3's vocabulary differs: it has a 100th language here, and all that follows is one id further."""


def random_state(config: WhisperConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Every published tensor at random, norms and biases too: ones and zeros would hide a norm or a bias left out.

    Values are exact in float16, as published ones are.
    """
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for name, meta in model.state_dict().items():
        if name == "proj_out.weight" and config.tie_word_embeddings:
            continue
        value = torch.randn(meta.shape, generator=generator)
        if "norm" in name:
            value = value * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias") or "embed" in name:
            value = value * 0.1
        elif name == "proj_out.weight":
            value = value * 0.2
        else:
            value = value * (1.5 / math.sqrt(math.prod(meta.shape[1:])))
        state[name] = value.half().contiguous()
    return state


def random_folder(
    folder: Path,
    like: Path,
    *,
    seed: int = 0,
    generation: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    state: Callable[[dict[str, torch.Tensor]], None] | None = None,
    **shape: Any,
) -> Path:
    """Write a random model of `shape`, with the tokenizer and the configs of the genuine folder `like`.

    Args:
        folder: to be made.
        like: a genuine folder of the same kind, multilingual or not.
        seed: of the weights.
        generation: changes generation_config.json; returning {} leaves the file out.
        state: changes the state dict in place before it is written.
        shape: overrides of config.json. A vocabulary of 51866 makes tokenizer and configs large-v3's.
    """
    folder.mkdir(parents=True)
    for file in like.iterdir():
        if file.suffix != ".safetensors" and file.is_file():
            shutil.copy(file, folder / file.name)
    config_json = {**_read(folder / "config.json"), **shape}
    generation_json = _read(folder / "generation_config.json")
    config_json.pop("num_hidden_layers", None)  # transformers' second name for encoder_layers, and the stronger one
    if shape.get("vocab_size") == 51_866:
        config_json, generation_json = _as_large_v3(folder, config_json, generation_json)
    if generation is not None:
        generation_json = generation(generation_json)
    generation_json.pop("alignment_heads", None)  # they name heads that this shape may not have
    _write(folder / "config.json", config_json)
    _write(folder / "generation_config.json", generation_json)
    if generation is not None and not generation_json:
        (folder / "generation_config.json").unlink()
    preprocessor = _read(folder / "preprocessor_config.json")
    preprocessor["feature_size"] = config_json["num_mel_bins"]
    preprocessor.pop("mel_filters", None)  # of another number of mels
    _write(folder / "preprocessor_config.json", preprocessor)
    tensors = random_state(WhisperConfig.from_dict(config_json), seed)
    if state is not None:
        state(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _as_large_v3(folder: Path, config: dict[str, Any], generation: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Configs and tokenizer files of the 99-language vocabulary, with Cantonese inserted as the 100th."""

    def shift(number: Any) -> Any:
        if isinstance(number, list):
            return [shift(item) for item in number]
        moves = isinstance(number, int) and number >= TRANSLATE_BEFORE_CANTONESE
        return number + 1 if moves else number

    for settings in (config, generation):
        for name in ("suppress_tokens", "no_timestamps_token_id", "prev_sot_token_id"):
            if name in settings:
                settings[name] = shift(settings[name])
        settings.pop("forced_decoder_ids", None)
    generation["task_to_id"] = {task: shift(number) for task, number in generation["task_to_id"].items()}
    generation["lang_to_id"] = {**generation["lang_to_id"], "<|yue|>": TRANSLATE_BEFORE_CANTONESE}
    tokenizer = _read(folder / "tokenizer.json")
    cantonese = None
    for token in tokenizer["added_tokens"]:
        if token["id"] == TRANSLATE_BEFORE_CANTONESE - 1:
            cantonese = {**token, "id": TRANSLATE_BEFORE_CANTONESE, "content": "<|yue|>"}
        token["id"] = shift(token["id"])
    assert cantonese is not None, "the tokenizer has no last language token"
    tokenizer["added_tokens"] = sorted([*tokenizer["added_tokens"], cantonese], key=lambda token: token["id"])
    _write(folder / "tokenizer.json", tokenizer)
    settings = _read(folder / "tokenizer_config.json")
    settings.pop("added_tokens_decoder", None)
    settings.pop("additional_special_tokens", None)
    _write(folder / "tokenizer_config.json", settings)
    for name in ("added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt", "normalizer.json"):
        (folder / name).unlink(missing_ok=True)
    return config, generation


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
