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
import torch.nn.functional as F
from torch import Tensor

from voxport.decoding.dtw import align
from voxport.models.whisper.attention_weights import AttentionWeights, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.models.whisper.decoder_state import DecoderWeights

__all__ = ["FRAME_SECONDS", "TokenTimes", "align_tokens"]

FRAME_SECONDS = 0.02
"""From one encoder position to the next."""


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


@dataclass(frozen=True)
class _Window:
    """One window's part of the batch: `tokens` from the prompt to the end of text, `frames` of audio."""

    row: int
    tokens: tuple[int, ...]
    frames: int


def align_tokens(
    weights: DecoderWeights,
    hidden: Tensor,
    durations: Sequence[float],
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    *,
    eot: int,
    heads: Pairs = (),
    finding: bool = True,
    bucket: Callable[[int], int] = lambda length: length,
) -> list[TokenTimes]:
    """Align the text of each window with its audio.

    Args:
        weights: of the model.
        hidden: (B, T, D), the encoder's output.
        durations: of the windows' audio, seconds.
        prompts: of each window, ending with the token that says that there are no timestamps.
        texts: text tokens of each window; an empty one has no times.
        eot: the id of the end of text, which all text tokens are below.
        heads: (layer, head) pairs that the checkpoint publishes, if it does.
        finding: look for better ones, in each window on its own.
        bucket: as in `DecoderState`.

    Returns:
        For each window. Alone or in a batch, it is the same but for rounding.
    """
    windows = [
        _Window(
            row,
            # Where a window has all the tokens that there are positions for, the end of text has none.
            (*prompt, *text, eot)[: weights.dims.max_target],
            max(1, min(int(duration * 100) // 2, hidden.shape[1])),
        )
        for row, (duration, prompt, text) in enumerate(zip(durations, prompts, texts, strict=True))
        if text
    ]
    result = [TokenTimes((), (), ())] * len(texts)
    if not windows:
        return result
    layers = len(weights.layers)
    collected = [
        AttentionWeights(layers, len(prompts[window.row]), len(texts[window.row]), heads, finding) for window in windows
    ]
    states = _forward(weights, hidden, windows, collected, eot, bucket)
    for window, own, state in zip(windows, collected, states, strict=True):
        text = texts[window.row]
        matrix, asked = own.matrix()
        frames = align(-matrix.cpu().numpy()).tolist()
        if len(frames) == len(text):  # nothing was read after the last token
            frames.append(window.frames)
        before = len(prompts[window.row]) - 1
        given = torch.tensor(text, device=state.device)
        result[window.row] = TokenTimes(
            tuple(round(frame * FRAME_SECONDS, 2) for frame in frames),
            tuple(_probabilities(weights, state[before : before + len(text)], given, eot).tolist()),
            asked,
        )
    return result


def _forward(
    weights: DecoderWeights,
    hidden: Tensor,
    windows: Sequence[_Window],
    collected: Sequence[AttentionWeights],
    eot: int,
    bucket: Callable[[int], int],
) -> Tensor:
    """The decoder over whole rows; returns the normalised hidden states (windows, n, D)."""
    rows = [window.row for window in windows]
    if rows != list(range(len(hidden))):
        hidden = hidden[rows]
    length = min(bucket(max(len(window.tokens) for window in windows)), weights.dims.max_target)
    filled = [[*window.tokens, *[eot] * (length - len(window.tokens))] for window in windows]
    tokens = torch.tensor(filled, device=hidden.device)
    embedded, positions = F.embedding(tokens, weights.tokens), weights.positions[:length]
    x, h = weights.layers[0].enter(embedded, positions.expand_as(embedded))
    for index, (layer, next_norm) in enumerate(zip(weights.layers, weights.next_norms, strict=True)):
        q, k, v = _split(layer.own_qkv(h), 3, layer.heads)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x, h = layer.join(layer.own_out, _merge(attended), x, layer.cross_norm)
        (q,) = _split(layer.cross_q(h), 1, layer.heads)
        k, v = layer.cross_keys_values(hidden)
        _collect(index, q, k, windows, collected)
        attended = F.scaled_dot_product_attention(q, k, v)
        x, h = layer.join(layer.cross_out, _merge(attended), x, layer.final_norm)
        x, h = layer.feed_forward(h, x, next_norm)
    return h


def _collect(
    layer: int, q: Tensor, k: Tensor, windows: Sequence[_Window], collected: Sequence[AttentionWeights]
) -> None:
    """Attention weights of one layer, of each window over the frames of its own audio. q, k: (B, H, n or T, d)."""
    scale = q.shape[-1] ** -0.5
    for place, (window, own) in enumerate(zip(windows, collected, strict=True)):
        if not own.wants(layer):
            continue
        asked = q[place, :, : len(window.tokens)].float() * scale
        weights = (asked @ k[place, :, : window.frames].float().transpose(1, 2)).softmax(dim=-1)
        own.take(layer, weights)


def _probabilities(weights: DecoderWeights, states: Tensor, tokens: Tensor, eot: int) -> Tensor:
    """Of each of the tokens (n,) among all text tokens, by the states (n, D) before them: (n,) float32."""
    vocabulary = weights.vocabulary
    logits = vocabulary(states.to(vocabulary.weight.dtype)).float()[:, :eot]
    return logits.log_softmax(dim=-1).gather(-1, tokens[:, None])[:, 0].exp()


def _split(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, n, parts D) -> parts of (B, H, n, d)."""
    B, n, _ = projected.shape
    return projected.view(B, n, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _merge(attended: Tensor) -> Tensor:
    """Heads back together: (B, H, n, d) -> (B, n, D)."""
    return attended.transpose(1, 2).flatten(2)
