"""Where in its window each token of a text was heard: what a decoder says of its own listening.

A text may leave out a whole sentence and still read well, and its timestamps may cover what it left out. The
cross-attention shows it: the heads that follow the audio never look at what was passed over.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from voxport.decoding.whisper_heads import leading_layers
from voxport.models.whisper.attention_weights import AttentionWeights
from voxport.models.whisper.forced_pass import FRAME_SECONDS, forced_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from voxport.models.whisper.decoder_state import DecoderWeights
    from voxport.models.whisper.forced_texts import ForcedTexts
    from voxport.tokenizer import WhisperTokenizer

__all__ = ["find_places", "spoken_places"]


def find_places(
    weights: DecoderWeights,
    hidden: Tensor,
    said: ForcedTexts,
    *,
    bucket: Callable[[int], int] = lambda length: length,
) -> list[tuple[float, ...] | None]:
    """Where each text token was looked at most, seconds from its window's start.

    Asked are the heads that are found in the window itself to follow the audio, in the layers that have the leading
    one: see `voxport.decoding.whisper_heads`. The layers above are not gone through.

    Args:
        weights, hidden, said, bucket: as `align_tokens`.

    Returns:
        For each window; None where no head follows the audio clearly, as in a text of few tokens.
    """
    prompts, texts = said.prompts, said.texts
    result: list[tuple[float, ...] | None] = [None] * len(texts)
    windows = said.windows(most_frames=hidden.shape[1], most_tokens=weights.dims.max_target)
    if not windows:
        return result
    collected = [
        AttentionWeights(len(weights.layers), len(prompts[window.row]), len(texts[window.row]), (), finding=True)
        for window in windows
    ]
    layers = leading_layers(len(weights.layers))
    forced_pass(weights, hidden, windows, collected, eot=said.eot, bucket=bucket, layers=layers)
    for window, own in zip(windows, collected, strict=True):
        frames = own.places()
        if frames is not None:
            result[window.row] = tuple(round(frame * FRAME_SECONDS, 2) for frame in frames.tolist())
    return result


def spoken_places(tokenizer: WhisperTokenizer, tokens: Sequence[int], places: Sequence[float]) -> tuple[float, ...]:
    """The places of a segment's text tokens without those of signs, which nobody says: they may be anywhere.

    Args:
        tokens: of the segment, timestamps included.
        places: of its text tokens.
    """
    text = [token for token in tokens if token < tokenizer.eot]
    return tuple(
        place for token, place in zip(text, places, strict=True) if not _is_sign(tokenizer.decode([token]).strip())
    )


def _is_sign(text: str) -> bool:
    """Punctuation and nothing else. A part of a character is none: it decodes to one that stands for the unknown."""
    return all(unicodedata.category(character).startswith("P") for character in text)
