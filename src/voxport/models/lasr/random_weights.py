"""A MedASR folder of the true shape with random weights: to measure speed and memory, and to try the plumbing.

Google's weights are gated, these are free; what such a model says means nothing. Every weight, norm and running
statistic is drawn, since defaults (zeros, ones) hide mistakes: a model that forgot a bias would still agree.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from voxport.models.lasr.checkpoint import NUMBERS
from voxport.models.lasr.net import Lasr, LasrDimensions
from voxport.models.safetensors_file import from_torch, write_safetensors
from voxport.tokenizer.lasr import WORD_START

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TYPICAL = -7.0
"""About the mean of log-mel values of speech."""

BLANK_LEAD = 3.5
"""What the blank's logit is raised by, in standard deviations of the others."""

SENTINELS = 100
"""Tokens behind the vocabulary that the published tokenizer has and the model never emits."""


def write_random_folder(folder: Path, dims: LasrDimensions | None = None, *, seed: int = 0) -> None:
    """Write config.json, model.safetensors, tokenizer and preprocessor files, as the hub has them.

    Args:
        folder: an existing, empty one.
        dims: None = MedASR's.
        seed: of the random numbers; the same one gives the same weights.

    Raises:
        OutputError, OSError: they can't be written, e.g. a full disk.
    """
    dims = dims or LasrDimensions()
    with torch.device("meta"):
        net = Lasr(dims)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: _draw(name, tensor, generator) for name, tensor in net.state_dict().items()}
    # Sound differs from sound only if what all have in common is taken away; and speech is mostly blanks.
    tensors["encoder.subsampler.dense_0.bias"] -= TYPICAL * tensors["encoder.subsampler.dense_0.weight"].sum(dim=1)
    tensors["ctc_head.bias"][0] += BLANK_LEAD
    write_safetensors(folder / "model.safetensors", {name: from_torch(tensor) for name, tensor in tensors.items()})
    for name, value in _json_files(dims).items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _draw(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Random values that keep activations at the size they have at the start."""
    if not tensor.is_floating_point():
        return torch.tensor(1000, dtype=tensor.dtype)  # batches that a norm has seen
    drawn = torch.empty(tensor.shape)
    if name.endswith("running_var"):
        return drawn.uniform_(0.5, 2.0, generator=generator)
    drawn.normal_(generator=generator)
    if name.endswith(("bias", "running_mean")):
        return drawn.mul_(0.2)
    if tensor.ndim == 1:  # the weight of a norm
        return drawn.mul_(0.2).add_(1.0)
    # Blocks that add little to the stream keep frames different; else all become alike on the way up.
    gain = 0.3 if name.endswith(("linear2.weight", "o_proj.weight", "pointwise_conv2.weight")) else 1.0
    return drawn.mul_(gain / math.sqrt(tensor[0].numel()))


def _json_files(dims: LasrDimensions) -> dict[str, Any]:
    pieces = _pieces(dims.vocabulary)
    tail = ["<pad>", *(f"<extra_id_{number}>" for number in range(SENTINELS))]
    numbers = asdict(dims)
    encoder = {published: numbers[ours] for ours, published in NUMBERS.items()}
    return {
        "config.json": {
            "architectures": ["LasrForCTC"],
            "model_type": "lasr_ctc",
            "vocab_size": dims.vocabulary,
            "pad_token_id": 0,
            "dtype": "float32",
            "voxport_random_weights": True,
            "encoder_config": {
                "model_type": "lasr_encoder",
                **encoder,
                "hidden_act": "silu",
                "attention_bias": dims.attention_bias,
                "convolution_bias": dims.convolution_bias,
                "layer_norm_eps": dims.norm_eps,
                "rope_parameters": {"rope_type": "default", "rope_theta": dims.rope_theta},
                "feed_forward_residual_weights": list(dims.ffn_residual),
                "conv_residual_weights": list(dims.conv_residual),
            },
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "LasrFeatureExtractor",
            "feature_size": dims.n_mels,
            "sampling_rate": 16_000,
            "hop_length": 160,
            "n_fft": 512,
            "win_length": 400,
            "padding_value": 0.0,
        },
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                _added_token(number, piece) for number, piece in enumerate([*pieces, *tail]) if piece.startswith("<")
            ],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "WhitespaceSplit"},
                    {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "always", "split": True},
                ],
            },
            "post_processor": None,
            "decoder": {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "always", "split": True},
            "model": {
                "type": "Unigram",
                "unk_id": 3,
                "vocab": [[piece, -math.log(number + 1)] for number, piece in enumerate(pieces)],
                "byte_fallback": False,
            },
        },
        "tokenizer_config.json": {
            "tokenizer_class": "LasrTokenizer",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<epsilon>",
            "extra_ids": SENTINELS,
        },
    }


def _added_token(number: int, piece: str) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": piece, **plain, "special": True}


def _pieces(count: int) -> list[str]:
    """Special tokens as published, then syllables, with and without a word before them."""
    pieces = ["<epsilon>", "<s>", "</s>", "<unk>", WORD_START]
    syllables = [c + v for c in "bdfghjklmnprstvwz" for v in ("a", "e", "i", "o", "u", "an", "el", "in", "or", "us")]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,{}[]'-")
    pieces += [piece for syllable in (*letters, *syllables) for piece in (WORD_START + syllable, syllable)]
    return [*pieces, *(f"{WORD_START}w{number}" for number in range(count))][:count]
