"""What the arithmetic asks for: operations of an encoder, bytes that a decoder's step reads. Counted from config.json.

A multiplication and an addition are two operations. Counted are products of matrices, convolutions and attention;
norms, activations and softmax are left out, as is usual: they are less than one in a hundred.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.features.lasr import frame_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.models import ASRModel
    from voxport.models.lasr.net import LasrDimensions
    from voxport.models.whisper.net import WhisperDimensions
    from voxport.types import Audio

__all__ = ["Costs", "lasr_operations", "model_costs", "whisper_operations", "whisper_step_bytes"]

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Costs:
    """Of one call with a batch of windows.

    Attributes:
        encoder_operations: of its windows' own frames; filling up to a batch is not counted.
        step_bytes: that a decoder's step must read: weights, and keys and values of the encoder's output. None where
            there are no steps.
    """

    encoder_operations: int
    step_bytes: int | None


def model_costs(model: ASRModel, group: Sequence[Audio]) -> Costs | None:
    """The costs of a call, or None of a family that nobody has counted."""
    from voxport.models.checkpoint import read_json

    folder = Path(model.info.path)
    config = read_json(folder / "config.json")
    if model.info.family == "whisper":
        from voxport.models.whisper.checkpoint import dimensions

        dims = dimensions(config, folder)
        return Costs(
            len(group) * whisper_operations(dims), whisper_step_bytes(dims, ITEM_BYTES[model.dtype], len(group))
        )
    if model.info.family == "lasr_ctc":
        from voxport.models.lasr.checkpoint import dimensions as lasr_dimensions

        shape = lasr_dimensions(config, folder)
        return Costs(sum(lasr_operations(shape, frame_count(len(one.samples))) for one in group), None)
    return None


def whisper_operations(dims: WhisperDimensions) -> int:
    """Of the encoder, for one window: it is 30 s long whatever was said."""
    T, D, mel_frames = dims.max_source, dims.width, 2 * dims.max_source
    stem = 2 * 3 * (mel_frames * dims.n_mels * D + T * D * D)
    layer = 2 * (4 * T * D * D + 2 * T * T * D + 2 * T * D * dims.encoder_ffn)
    return stem + dims.encoder_layers * layer


def whisper_step_bytes(dims: WhisperDimensions, item: int, batch: int) -> int:
    """Read by one step of the decoder: each weight once, the windows' keys and values; the text so far is left out."""
    D = dims.width
    layer = 4 * D * D + 2 * D * D + 2 * D * dims.decoder_ffn
    weights = dims.decoder_layers * layer + dims.vocabulary * D
    windows = batch * dims.decoder_layers * 2 * dims.max_source * D
    return item * (weights + windows)


def lasr_operations(dims: LasrDimensions, mel_frames: int) -> int:
    """Of sub-sampler, blocks and head, for one window of so many mel frames."""
    T = dims.frames(mel_frames)
    if not T:
        return 0
    D, C, K = dims.width, dims.subsampling_channels, dims.subsampling_kernel
    first = (mel_frames - K) // dims.subsampling_stride + 1
    stem = 2 * (mel_frames * dims.n_mels * D + first * K * D * D + T * K * D * C + T * C * D)
    feed_forward = 2 * 2 * T * D * dims.ffn
    attention = 2 * (4 * T * D * D + 2 * T * T * D)
    convolution = 2 * (T * D * 2 * D + T * dims.kernel * D + T * D * D)
    return stem + dims.layers * (2 * feed_forward + attention + convolution) + 2 * T * D * dims.vocabulary
