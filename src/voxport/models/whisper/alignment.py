"""When each token is said: one forward over what was decoded, and the cross-attention of heads that follow the audio.

After openai/whisper's `find_alignment` (whisper/timing.py, MIT). The windows of a batch go through the decoder
together, filled up at their ends, which what comes before can't see; everything behind that is done window by window,
on its own tokens and the frames of its own audio.

Shapes: B windows, n tokens, T encoder positions (1500), D width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from voxport.decoding.anchors import away_from_peaks
from voxport.decoding.dtw import align
from voxport.models.whisper.attention_weights import AttentionWeights, Pairs
from voxport.models.whisper.forced_pass import FRAME_SECONDS, forced_pass

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxport.models.whisper.decoder_state import DecoderWeights
    from voxport.models.whisper.forced_texts import ForcedTexts

__all__ = ["TokenTimes", "align_tokens"]

FAR_OFF = 40.0
"""What a cell far from a token's peak costs: half of it is more than any frame's normalised attention makes up for,
which is at most the root of the number of rows."""


@dataclass(frozen=True)
class TokenTimes:
    """When the text tokens of a window are said.

    Attributes:
        starts: seconds from the window's start: of each token, and of what comes after the last; ascending.
        probabilities: of each token among all text tokens, given those before it.
        heads: the (layer, head) pairs that told.
    """

    starts: tuple[float, ...]
    probabilities: tuple[float, ...]
    heads: Pairs


def align_tokens(
    weights: DecoderWeights,
    hidden: Tensor,
    said: ForcedTexts,
    *,
    heads: Pairs = (),
    finding: bool = True,
    bucket: Callable[[int], int] = lambda length: length,
) -> list[TokenTimes]:
    """Align the text of each window with its audio.

    Args:
        weights: of the model.
        hidden: (B, T, D), the encoder's output.
        said: in the windows; an empty text has no times.
        heads: (layer, head) pairs that the checkpoint publishes, if it does.
        finding: look for better ones, in each window on its own.
        bucket: as in `DecoderState`.

    Returns:
        For each window. Alone or in a batch, it is the same but for rounding.
    """
    prompts, texts = said.prompts, said.texts
    windows = said.windows(most_frames=hidden.shape[1], most_tokens=weights.dims.max_target)
    result = [TokenTimes((), (), ())] * len(texts)
    if not windows:
        return result
    layers = len(weights.layers)
    collected = [
        AttentionWeights(layers, len(prompts[window.row]), len(texts[window.row]), heads, finding) for window in windows
    ]
    states = forced_pass(weights, hidden, windows, collected, eot=said.eot, bucket=bucket)
    assert states is not None
    for window, own, state in zip(windows, collected, states, strict=True):
        text = texts[window.row]
        matrix, asked = own.matrix()
        fits = matrix.cpu().numpy()
        cost = -fits
        if own.clear:
            cost += FAR_OFF * away_from_peaks(fits, len(text))
        frames = align(cost).tolist()
        if len(frames) == len(text):  # nothing was read after the last token
            frames.append(window.frames)
        before = len(prompts[window.row]) - 1
        given = torch.tensor(text, device=state.device)
        result[window.row] = TokenTimes(
            tuple(round(frame * FRAME_SECONDS, 2) for frame in frames),
            tuple(_probabilities(weights, state[before : before + len(text)], given, said.eot).tolist()),
            asked,
        )
    return result


def _probabilities(weights: DecoderWeights, states: Tensor, tokens: Tensor, eot: int) -> Tensor:
    """Of each of the tokens (n,) among all text tokens, by the states (n, D) before them: (n,) float32."""
    vocabulary = weights.vocabulary
    logits = vocabulary(states.to(vocabulary.weight.dtype)).float()[:, :eot]
    return logits.log_softmax(dim=-1).gather(-1, tokens[:, None])[:, 0].exp()
