"""What a Whisper network consists of: its sizes, its tensors by their Hugging Face names, and its config.json.

And, for every family, whether stored tensors are those of a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError
from voxport.models.safetensors_file import FLOAT_DTYPES, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "PROJECTION",
    "TOKEN_EMBEDDING",
    "Dimensions",
    "check_layout",
    "check_tensors",
    "config_json",
    "drop_tied",
    "weights_dtype",
]

COUNT_DTYPES = ("I64", "I32")
"""dtype codes that whole numbers in a model's weights may have."""

TOKEN_EMBEDDING = "model.decoder.embed_tokens.weight"
PROJECTION = "proj_out.weight"


@dataclass(frozen=True)
class Dimensions:
    """openai/whisper's `ModelDimensions`, and the widths of the feed-forward layers."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_audio_ffn: int
    n_text_ffn: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor, the output projection excepted (it is tied to the token embedding)."""
        audio, text = self.n_audio_state, self.n_text_state
        expected: dict[str, tuple[int, ...]] = {
            "model.encoder.conv1.weight": (audio, self.n_mels, 3),
            "model.encoder.conv1.bias": (audio,),
            "model.encoder.conv2.weight": (audio, audio, 3),
            "model.encoder.conv2.bias": (audio,),
            "model.encoder.embed_positions.weight": (self.n_audio_ctx, audio),
            TOKEN_EMBEDDING: (self.n_vocab, text),
            "model.decoder.embed_positions.weight": (self.n_text_ctx, text),
            **_norm("model.encoder.layer_norm", audio),
            **_norm("model.decoder.layer_norm", text),
        }
        for n in range(self.n_audio_layer):
            expected |= _layer(f"model.encoder.layers.{n}", audio, self.n_audio_ffn)
        for n in range(self.n_text_layer):
            layer = f"model.decoder.layers.{n}"
            expected |= _layer(layer, text, self.n_text_ffn)
            expected |= _attention(f"{layer}.encoder_attn", text) | _norm(f"{layer}.encoder_attn_layer_norm", text)
        return expected


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _attention(name: str, width: int) -> dict[str, tuple[int, ...]]:
    weights: dict[str, tuple[int, ...]] = {
        f"{name}.{part}_proj.weight": (width, width) for part in ("q", "k", "v", "out")
    }
    # The key projection has no bias: it would cancel in the softmax.
    return weights | {f"{name}.{part}_proj.bias": (width,) for part in ("q", "v", "out")}


def _layer(name: str, width: int, feed_forward: int) -> dict[str, tuple[int, ...]]:
    return {
        **_attention(f"{name}.self_attn", width),
        **_norm(f"{name}.self_attn_layer_norm", width),
        f"{name}.fc1.weight": (feed_forward, width),
        f"{name}.fc1.bias": (feed_forward,),
        f"{name}.fc2.weight": (width, feed_forward),
        f"{name}.fc2.bias": (width,),
        **_norm(f"{name}.final_layer_norm", width),
    }


def check_tensors(tensors: Mapping[str, StoredTensor], dimensions: Dimensions, where: object) -> None:
    """Raise ModelFormatError unless the tensors are exactly those of a network of these dimensions, as floats.

    The output projection may be there or not.
    """
    if dimensions.n_audio_layer + dimensions.n_text_layer > len(tensors):  # before a forged number takes memory
        raise ModelFormatError(
            f"{where} has {len(tensors)} tensors, too few for its layers", hint="is the file complete?"
        )
    expected = dimensions.tensors()
    check_layout(tensors, expected | {PROJECTION: expected[TOKEN_EMBEDDING]}, where, "Whisper", optional={PROJECTION})


def check_layout(
    tensors: Mapping[str, StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
    where: object,
    family: str,
    *,
    optional: Collection[str] = (),
    counts: Collection[str] = (),
) -> None:
    """Raise ModelFormatError unless the tensors are exactly those which a network has.

    Args:
        tensors: as stored.
        expected: name -> shape of each tensor.
        where: the file or folder, for messages.
        family: what the model is called, for messages.
        optional: names that may be absent.
        counts: names of whole numbers; all others are floats.
    """
    missing = sorted(expected.keys() - tensors.keys() - set(optional))
    unknown = sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        found = "; ".join(
            f"{len(names)} {kind}, the first is {names[0]}"
            for kind, names in (("missing", missing), ("unknown", unknown))
            if names
        )
        raise ModelFormatError(
            f"the tensors of {where} are not those of a {family} model: {found}",
            hint="adapters (LoRA) must be merged into their base model first" if unknown else "is the file complete?",
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            raise ModelFormatError(f"{name} of {where} has shape {tensor.shape}, expected {expected[name]}")
        if tensor.dtype not in (COUNT_DTYPES if name in counts else FLOAT_DTYPES):
            raise ModelFormatError(
                f"{name} of {where} is stored as {tensor.dtype}",
                hint="a whole number is needed there"
                if name in counts
                else "take the model in float16, bfloat16 or float32",
            )


def drop_tied(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Without the output projection where it is the token embedding, bit for bit."""
    kept = dict(tensors)
    if PROJECTION in kept and TOKEN_EMBEDDING in kept and kept[PROJECTION].same_as(kept[TOKEN_EMBEDDING]):
        del kept[PROJECTION]
    return kept


def weights_dtype(tensors: Mapping[str, StoredTensor]) -> str:
    """The dtype of most of the stored bytes, as config.json names it: "float16"."""
    total: dict[str, int] = {}
    for tensor in tensors.values():
        total[tensor.dtype] = total.get(tensor.dtype, 0) + len(tensor.data)
    return FLOAT_DTYPES[max(total, key=lambda code: total[code])]


def config_json(dimensions: Dimensions, dtype: str, eot: int, sot: int, *, tied: bool = True) -> dict[str, Any]:
    """The config.json of a network: what the hub's own say, less what transformers assumes by itself.

    Args:
        dimensions: of the network.
        dtype: of the stored weights, e.g. "float16".
        eot, sot: ids of end of text and start of transcript.
        tied: False where the output projection has weights of its own.
    """
    return {
        "activation_dropout": 0.0,
        "activation_function": "gelu",
        "architectures": ["WhisperForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": eot,
        "d_model": dimensions.n_audio_state,
        "decoder_attention_heads": dimensions.n_text_head,
        "decoder_ffn_dim": dimensions.n_text_ffn,
        "decoder_layerdrop": 0.0,
        "decoder_layers": dimensions.n_text_layer,
        "decoder_start_token_id": sot,
        "dropout": 0.0,
        "encoder_attention_heads": dimensions.n_audio_head,
        "encoder_ffn_dim": dimensions.n_audio_ffn,
        "encoder_layerdrop": 0.0,
        "encoder_layers": dimensions.n_audio_layer,
        "eos_token_id": eot,
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "max_source_positions": dimensions.n_audio_ctx,
        "max_target_positions": dimensions.n_text_ctx,
        "model_type": "whisper",
        "num_hidden_layers": dimensions.n_audio_layer,
        "num_mel_bins": dimensions.n_mels,
        "pad_token_id": eot,
        "scale_embedding": False,
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": dimensions.n_vocab,
    }
