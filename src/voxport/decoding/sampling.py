"""Sampling at a temperature: several texts for each window, drawn token by token.

What openai/whisper does above temperature 0 (`GreedyDecoder` with `best_of`). Each window draws from numbers of its
own, fixed beforehand: what it says depends on nothing else in the batch, and on no random numbers of the device.

Shapes: N windows, K texts for each, B = N x K rows (those of a window side by side), V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from voxport.decoding.candidates import Candidate, require_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.decoding.candidates import GroupRules, GroupStepper


def draws(seed: int, temperature: float, count: int, samples: int) -> Tensor:
    """The uniform numbers that a window is sampled by: float32 (count, samples), each at least 0 and below 1.

    PCG64 of numpy, seeded with the seed and with the temperature in thousandths, so that no two temperatures draw the
    same.
    """
    generator = np.random.Generator(np.random.PCG64([seed, round(temperature * 1000)]))
    return torch.from_numpy(generator.random((count, samples), dtype=np.float32))


def decode_samples(
    stepper: GroupStepper,
    hidden: Tensor,
    rules: GroupRules,
    *,
    samples: int,
    temperature: float,
    seed: int,
    bias: Tensor,
    eot: int,
    max_tokens: int,
    sync_interval: int = 1,
    should_stop: Callable[[Sequence[int]], bool] | None = None,
) -> list[list[Candidate]]:
    """Draw `samples` texts for each window.

    Args:
        stepper: the prompt is in it already, one row for each window.
        hidden: (N, D), the hidden state at the prompt's last token.
        rules: the rules on what may come next, for B rows.
        samples: K.
        temperature: logits are divided by it before they are drawn from; above 0.
        seed: of `draws`.
        bias: (V,), added to all logits.
        eot: id of the end of text.
        max_tokens: of each text, the end of text not counted.
        sync_interval: the host looks every so many steps.
        should_stop: asked at each look with a text's tokens; True ends it there.

    Returns:
        The candidates of each window; their log probabilities are those at temperature 1.

    Raises:
        DecodingError: a log probability is not finite (code ``non_finite``).
    """
    windows = stepper.rows
    numbers = draws(seed, temperature, max_tokens, samples).to(hidden.device)
    texts = [[_Text() for _ in range(samples)] for _ in range(windows)]
    active = list(range(windows))  # position in the batch -> window
    stepper.widen(samples)
    hidden = hidden.repeat_interleave(samples, 0)
    tokens = torch.empty(0)
    done = 0
    while active:
        count = min(sync_interval, max_tokens - done)
        records = []
        for index in range(count):
            if done + index > 0:
                hidden = stepper.advance(tokens[:, None])[:, -1]
            logits = stepper.logits(hidden, bias)
            rules.forbid(logits)
            tokens, logprobs = _draw(logits, temperature, numbers[done + index].repeat(len(active)))
            rules.take(tokens)
            records.append(torch.stack([tokens.to(logprobs.dtype), logprobs]))
        done += count
        steps = torch.stack(records).view(count, 2, len(active), samples).tolist()
        finished = []
        for position, window in enumerate(active):
            for said, logprobs_of in steps:
                for text, token, logprob in zip(texts[window], said[position], logprobs_of[position], strict=True):
                    text.take(int(token), logprob, eot, max_tokens)
            for text in texts[window]:
                text.look(should_stop)
            if all(text.over for text in texts[window]):
                finished.append(position)
        for position in reversed(finished):
            last = len(active) - 1
            stepper.drop_window(position)
            rules.drop_window(position, last, samples)
            kept = tokens.view(-1, samples).clone()
            kept[position] = kept[last]
            tokens = kept[:last].reshape(-1)
            active[position] = active[last]
            active.pop()
    return [[text.candidate() for text in group] for group in texts]


def _draw(logits: Tensor, temperature: float, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B,) drawn by uniform numbers (B,), and their log probabilities at temperature 1."""
    shares = (logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    # The first token whose share reaches beyond the number; the total is 1 but for rounding.
    tokens = (shares <= (numbers * shares[:, -1])[:, None]).sum(dim=-1).clamp_(max=logits.shape[-1] - 1)
    logprobs = logits.log_softmax(dim=-1)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    # Rounding may have hit a token that may not come.
    best, likeliest = logprobs.max(dim=-1)
    possible = chosen > float("-inf")
    return torch.where(possible, tokens, likeliest), torch.where(possible, chosen, best)


class _Text:
    """One text as it grows."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.running: list[float] = []
        self.ended = False
        self.stopped = False
        self.over = False

    def take(self, token: int, logprob: float, eot: int, max_tokens: int) -> None:
        if self.over:
            return
        require_possible(logprob)
        self.running.append(logprob + (self.running[-1] if self.running else 0.0))
        if token == eot:
            self.ended = self.over = True
            return
        self.tokens.append(token)
        self.over = len(self.tokens) == max_tokens

    def look(self, should_stop: Callable[[Sequence[int]], bool] | None) -> None:
        if not self.over and should_stop is not None and should_stop(self.tokens):
            self.stopped = self.over = True

    def candidate(self) -> Candidate:
        logprob = self.running[-1] if self.running else 0.0
        return Candidate(tuple(self.tokens), tuple(self.running), logprob, self.ended, self.stopped)
