"""Folders that look like models, a few hundred bytes each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "model_type": "whisper",
    "encoder_layers": 2,
    "decoder_layers": 1,
    "d_model": 4,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_mel_bins": 80,
    "vocab_size": 51865,
}


def model_files(seed: int = 0) -> dict[str, bytes]:
    """The files of a whole model, weights by `seed`."""
    generator = np.random.default_rng(seed)
    weights = {
        "model.encoder.conv1.weight": generator.standard_normal((4, 3), dtype=np.float32),
        "model.decoder.layer_norm.bias": generator.standard_normal(4, dtype=np.float32),
    }
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "generation_config.json": json.dumps({"lang_to_id": {"<|en|>": 50259, "<|de|>": 50261}}).encode(),
        "preprocessor_config.json": json.dumps({"feature_size": 80}).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors": save(weights),
    }


def repository_files(seed: int = 0) -> dict[str, bytes]:
    """A hub's repository: the model, and what else lies about."""
    return {
        **model_files(seed),
        "README.md": b"# A model\n",
        "tf_model.h5": b"not ours" * 10,
        "model.fp32-00001-of-00002.safetensors": b"another precision",
        "pytorch_model.bin": b"a pickle" * 10,
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files; returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def fake_convert(path: Path, destination: Path, fetch_member: object) -> str:
    """Stands in for the converter, which has tests of its own: a model whose weights depend on the source's bytes."""
    source = path if path.is_file() else path / "model.bin"
    write_folder(destination, model_files(seed=len(source.read_bytes())))
    return "openai" if path.is_file() else "ctranslate2"
