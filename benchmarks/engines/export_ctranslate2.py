"""Write a Whisper folder in Hugging Face's format as a CTranslate2 float16 folder for faster-whisper.

    .bench/faster_whisper/bin/python benchmarks/engines/export_ctranslate2.py FOLDER OUT

Does what CTranslate2's own converter does (ctranslate2/converters/transformers.py, `WhisperLoader`), from the
safetensors file and without transformers and torch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, Any]


def load_tensors(folder: Path) -> Tensors:
    """All tensors of the folder as float32 numpy arrays, names without the leading ``model.``."""
    from safetensors.numpy import load_file

    tensors: Tensors = {}
    for shard in sorted(folder.glob("model*.safetensors")):
        tensors.update(load_file(shard))
    return {name.removeprefix("model."): np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}


def set_linear(spec: Any, tensors: Tensors, *names: str) -> None:
    """One linear layer from one or several, stacked; a missing bias beside others is zero (Whisper's keys)."""
    weights = [tensors[f"{name}.weight"] for name in names]
    biases = [tensors.get(f"{name}.bias", np.zeros(len(w), np.float32)) for name, w in zip(names, weights, strict=True)]
    spec.weight = np.concatenate(weights)
    if any(f"{name}.bias" in tensors for name in names):
        spec.bias = np.concatenate(biases)


def set_norm(spec: Any, tensors: Tensors, name: str) -> None:
    spec.gamma, spec.beta = tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def set_layer(spec: Any, tensors: Tensors, name: str, cross: bool) -> None:
    """One transformer block; `cross`: with attention over the encoder's output."""
    attention = f"{name}.self_attn"
    set_linear(spec.self_attention.linear[0], tensors, *(f"{attention}.{part}_proj" for part in "qkv"))
    set_linear(spec.self_attention.linear[1], tensors, f"{attention}.out_proj")
    set_norm(spec.self_attention.layer_norm, tensors, f"{name}.self_attn_layer_norm")
    if cross:
        attention = f"{name}.encoder_attn"
        set_linear(spec.attention.linear[0], tensors, f"{attention}.q_proj")
        set_linear(spec.attention.linear[1], tensors, f"{attention}.k_proj", f"{attention}.v_proj")
        set_linear(spec.attention.linear[2], tensors, f"{attention}.out_proj")
        set_norm(spec.attention.layer_norm, tensors, f"{name}.encoder_attn_layer_norm")
    set_linear(spec.ffn.linear_0, tensors, f"{name}.fc1")
    set_linear(spec.ffn.linear_1, tensors, f"{name}.fc2")
    set_norm(spec.ffn.layer_norm, tensors, f"{name}.final_layer_norm")


def fill(spec: Any, tensors: Tensors) -> None:
    """Set every variable of a `WhisperSpec`."""
    for number in (1, 2):
        convolution = getattr(spec.encoder, f"conv{number}")
        convolution.weight = tensors[f"encoder.conv{number}.weight"]
        convolution.bias = tensors[f"encoder.conv{number}.bias"]
    for side, cross in ((spec.encoder, False), (spec.decoder, True)):
        name = "decoder" if cross else "encoder"
        side.position_encodings.encodings = tensors[f"{name}.embed_positions.weight"]
        set_norm(side.layer_norm, tensors, f"{name}.layer_norm")
        for index, layer in enumerate(side.layer):
            set_layer(layer, tensors, f"{name}.layers.{index}", cross)
    spec.decoder.embeddings.weight = tensors["decoder.embed_tokens.weight"]
    spec.decoder.projection.weight = tensors["decoder.embed_tokens.weight"]
    spec.decoder.scale_embeddings = False


def vocabulary(folder: Path, size: int) -> list[str]:
    """All `size` tokens in order of their ids; those the tokenizer file lacks are Whisper's timestamps."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    tokens = [str(tokenizer.id_to_token(index)) for index in range(min(known, size))]
    return tokens + [f"<|{index * 0.02:.2f}|>" for index in range(size - len(tokens))]


def export(folder: Path, output: Path) -> None:
    """Write the folder."""
    from ctranslate2.specs import WhisperSpec

    config = json.loads((folder / "config.json").read_text())
    generation = json.loads((folder / "generation_config.json").read_text())
    layers, heads = config["decoder_layers"], config["decoder_attention_heads"]
    spec = WhisperSpec(config["encoder_layers"], config["encoder_attention_heads"], layers, heads)
    fill(spec, load_tensors(folder))
    spec.register_vocabulary(vocabulary(folder, config["vocab_size"]))
    last_half = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
    spec.config.suppress_ids = generation.get("suppress_tokens", config.get("suppress_tokens"))
    spec.config.suppress_ids_begin = generation.get("begin_suppress_tokens", config.get("begin_suppress_tokens"))
    spec.config.alignment_heads = generation.get("alignment_heads", last_half)
    spec.config.lang_ids = sorted(generation.get("lang_to_id", {}).values())
    spec.validate()
    spec.optimize(quantization="float16")
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    spec.save(str(partial))
    for name in ("tokenizer.json", "preprocessor_config.json"):
        if (folder / name).exists():
            shutil.copy(folder / name, partial / name)
    partial.rename(output)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hugging Face folder -> CTranslate2 float16 folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    export(arguments.folder, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
