"""Writes Whisper weights in the formats that `models import` reads, from a Hugging Face state dict."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import WhisperConfig

from voxport.models.convert import convert
from voxport.tokenizer import byte_alphabet
from whisper_folders import random_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voxport.models.hub.carriers import Carrier

State = dict[str, torch.Tensor]

SMALL: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 80, "max_source_positions": 30,
    "max_target_positions": 20,
}  # fmt: skip
"""Small, with numbers of layers and heads that differ, so that none passes for another."""


def small_state(vocab_size: int = 60, seed: int = 0, **changes: Any) -> State:
    """A random float16 state dict of the shape SMALL."""
    return random_state(WhisperConfig(vocab_size=vocab_size, pad_token_id=0, **{**SMALL, **changes}), seed)


def rank_file_fetcher(folder: Path, tiny_en: Path, base: Path) -> Callable[[Carrier], Path]:
    """A `fetch_member` that makes openai/whisper's rank files out of the vocabularies of genuine folders."""
    by_character = {character: byte for byte, character in byte_alphabet().items()}
    made = {}
    for name, source in (("gpt2.tiktoken", tiny_en), ("multilingual.tiktoken", base)):
        tokens = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
        lines = []
        for token, rank in sorted(tokens.items(), key=lambda item: item[1]):
            if token == "<|endoftext|>":
                continue
            code = base64.b64encode(bytes(by_character[c] for c in token)).decode() or "="
            lines.append(f"{code} {rank}")
        made[name] = folder / name
        made[name].write_text("\n".join(lines) + "\n")
    return lambda carrier: made[carrier.name]


# OpenAI ---------------------------------------------------------------------------------------------------------------

_OPENAI = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.q_proj\.", ".query."), (r"\.k_proj\.", ".key."), (r"\.v_proj\.", ".value."), (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."), (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."), (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
)  # fmt: skip


def openai_checkpoint(state: State, encoder_heads: int, decoder_heads: int) -> dict[str, Any]:
    """What a ``.pt`` file of openai/whisper holds."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in _OPENAI:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    audio, text = (renamed[f"{side}.positional_embedding"] for side in ("encoder", "decoder"))
    dims = {
        "n_mels": renamed["encoder.conv1.weight"].shape[1],
        "n_vocab": renamed["decoder.token_embedding.weight"].shape[0],
        "n_audio_ctx": audio.shape[0],
        "n_audio_state": audio.shape[1],
        "n_audio_head": encoder_heads,
        "n_audio_layer": _count(renamed, "encoder.blocks"),
        "n_text_ctx": text.shape[0],
        "n_text_state": text.shape[1],
        "n_text_head": decoder_heads,
        "n_text_layer": _count(renamed, "decoder.blocks"),
    }
    return {"dims": dims, "model_state_dict": renamed}


def _count(names: dict[str, Any], prefix: str) -> int:
    return len({name.split(".")[2] for name in names if name.startswith(f"{prefix}.")})


# CTranslate2 ----------------------------------------------------------------------------------------------------------

_TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.float16: 4, torch.bfloat16: 5}


def ctranslate2_variables(state: State, encoder_heads: int, decoder_heads: int) -> dict[str, torch.Tensor]:
    """CTranslate2's variables, as its `TransformersConverter` makes them: projections fused, zeros as bias of keys."""
    variables = {
        "encoder/num_heads": torch.tensor(encoder_heads, dtype=torch.int16),
        "decoder/num_heads": torch.tensor(decoder_heads, dtype=torch.int16),
        "decoder/activation": torch.tensor(3, dtype=torch.int8),
        "decoder/pre_norm": torch.tensor(1, dtype=torch.int8),
        "decoder/scale_embeddings": torch.tensor(0, dtype=torch.int8),
        "decoder/alignment_layer": torch.tensor(-1, dtype=torch.int16),
    }

    def put(target: str, *sources: str) -> None:
        for ours, theirs in (("weight", "weight"), ("bias", "bias")):
            if f"{sources[0]}.{ours}" in state or len(sources) > 1:
                weights = [state[f"{source}.weight"] for source in sources]
                parts = [
                    state.get(f"{source}.{ours}", torch.zeros(len(weight), dtype=weight.dtype))
                    for source, weight in zip(sources, weights, strict=True)
                ]
                variables[f"{target}/{theirs}"] = torch.cat(parts)

    def put_norm(target: str, source: str) -> None:
        variables[f"{target}/gamma"] = state[f"{source}.weight"]
        variables[f"{target}/beta"] = state[f"{source}.bias"]

    for conv in ("conv1", "conv2"):
        put(f"encoder/{conv}", f"model.encoder.{conv}")
    variables["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    if "proj_out.weight" in state:
        variables["decoder/projection/weight"] = state["proj_out.weight"]
    for side in ("encoder", "decoder"):
        variables[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        put_norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        layers = {name.split(".")[3] for name in state if name.startswith(f"model.{side}.layers.")}
        for n in sorted(layers):
            source, target = f"model.{side}.layers.{n}", f"{side}/layer_{n}"
            put_norm(f"{target}/self_attention/layer_norm", f"{source}.self_attn_layer_norm")
            put(f"{target}/self_attention/linear_0", *(f"{source}.self_attn.{p}_proj" for p in "qkv"))
            put(f"{target}/self_attention/linear_1", f"{source}.self_attn.out_proj")
            put_norm(f"{target}/ffn/layer_norm", f"{source}.final_layer_norm")
            put(f"{target}/ffn/linear_0", f"{source}.fc1")
            put(f"{target}/ffn/linear_1", f"{source}.fc2")
            if side == "decoder":
                put_norm(f"{target}/attention/layer_norm", f"{source}.encoder_attn_layer_norm")
                put(f"{target}/attention/linear_0", f"{source}.encoder_attn.q_proj")
                put(f"{target}/attention/linear_1", *(f"{source}.encoder_attn.{p}_proj" for p in "kv"))
                put(f"{target}/attention/linear_2", f"{source}.encoder_attn.out_proj")
    return variables


def ctranslate2_bytes(
    variables: dict[str, torch.Tensor],
    aliases: dict[str, str],
    *,
    version: int = 6,
    specification: str = "WhisperSpec",
    revision: int = 3,
) -> bytes:
    """A ``model.bin``, as `ModelSpec._serialize` writes it."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text.encode()) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string(specification), struct.pack("<II", revision, len(variables))]
    for name, value in sorted(variables.items()):
        data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        parts += [string(name), struct.pack(f"<B{value.dim()}I", value.dim(), *value.shape)]
        parts += [struct.pack("<BI", _TYPES[value.dtype], len(data)), data]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [string(alias) + string(name) for alias, name in aliases.items()]
    return b"".join(parts)


TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}
"""The alias that CTranslate2 writes for the tied output projection."""


HEADS = (2, 4)
"""Of encoder and decoder in the shape SMALL."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")


def never(carrier: Carrier) -> Path:
    raise AssertionError(f"{carrier.name} was fetched")


def save_ctranslate2(folder: Path, state: State, tokenizer: Path | None = None, **config: Any) -> Path:
    """A CTranslate2 folder of the shape SMALL."""
    folder.mkdir()
    (folder / "model.bin").write_bytes(ctranslate2_bytes(ctranslate2_variables(state, *HEADS), TIED))
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        shutil.copy(tokenizer / "tokenizer.json", folder)
    return folder


def save_huggingface(folder: Path, state: State, *, like: Path | None = None, **changes: Any) -> Path:
    """A Hugging Face folder of the shape SMALL; with the tokenizer of `like`."""
    folder.mkdir()
    vocabulary = len(state["model.decoder.embed_tokens.weight"])
    config = {"model_type": "whisper", "vocab_size": vocabulary, "torch_dtype": "float16", **SMALL, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for name in TOKENIZER_FILES if like else ():
        shutil.copy(like / name, folder)
    return folder


def converted(source: Path, destination: Path, fetch_member: Callable[[Carrier], Path] = never) -> Path:
    destination.mkdir()
    convert(source, destination, fetch_member)
    return destination
