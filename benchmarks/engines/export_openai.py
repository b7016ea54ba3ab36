"""Write a Whisper folder in Hugging Face's format as an openai-whisper checkpoint: the same weights for every engine.

    .bench/openai_whisper/bin/python benchmarks/engines/export_openai.py FOLDER OUT.pt

Tensors are renamed, nothing else: dtypes and bytes stay as stored.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"^encoder\.embed_positions\.weight$", "encoder.positional_embedding"),
    (r"^decoder\.embed_positions\.weight$", "decoder.positional_embedding"),
    (r"^decoder\.embed_tokens\.", "decoder.token_embedding."),
)
"""Hugging Face's names -> OpenAI's, applied in order."""


def openai_name(name: str) -> str:
    """OpenAI's name of a tensor."""
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def dimensions(config: dict[str, Any]) -> dict[str, int]:
    """OpenAI's `ModelDimensions` of a Hugging Face ``config.json``."""
    return {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }


def export(folder: Path, output: Path) -> None:
    """Write the checkpoint.

    Raises:
        RuntimeError: openai-whisper's model does not take these tensors.
    """
    import torch
    import whisper
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for shard in sorted(folder.glob("model*.safetensors")):
        tensors.update(load_file(shard))
    state = {openai_name(name): tensor for name, tensor in tensors.items() if name != "proj_out.weight"}
    sizes = dimensions(json.loads((folder / "config.json").read_text()))
    whisper.model.Whisper(whisper.model.ModelDimensions(**sizes)).load_state_dict(state)  # refuses what does not fit
    partial = output.with_suffix(".partial")
    torch.save({"dims": sizes, "model_state_dict": state}, partial)
    partial.replace(output)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hugging Face folder -> openai-whisper checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    export(arguments.folder, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
