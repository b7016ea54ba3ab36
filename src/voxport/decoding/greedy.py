"""Greedy decoding of a batch, for any decoder that goes token by token.

Rows that end are dropped at once, so that the batch shrinks and the others pay less per step. The host looks at the
tokens only every `sync_interval` steps: on an accelerator each look waits for the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from voxport.errors import DecodingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Stepper(Protocol):
    """A batch of windows under way, one token after the other."""

    rows: int

    def advance(self, tokens: Tensor) -> Tensor:
        """Feed tokens (B, n); returns hidden states (B, n, D)."""
        ...

    def logits(self, hidden: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """(B, D) -> (B, V) float32; into `out` where it is given."""
        ...

    def drop_row(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        ...


class Steps(Protocol):
    """What n steps in a row gave, side by side, so that the host can look at all of them in one go.

    Attributes:
        tokens: (n, B), chosen.
    """

    tokens: Tensor

    def room(self, index: int) -> Tensor | None:
        """Where the logits (B, V) of a step are to be put, or None if anywhere."""
        ...


class Chooser(Protocol):
    """The rules on the next token."""

    def begin(self, count: int) -> Any:
        """Room for `count` steps: `Steps`."""
        ...

    def choose(self, logits: Tensor, steps: Any, index: int) -> Tensor:
        """(B, V) -> tokens (B,), which are remembered as those of a step."""
        ...

    def logprobs(self, steps: Any) -> Tensor:
        """Log probabilities of the steps' tokens, (n, B)."""
        ...

    def drop_row(self, row: int, last: int) -> None: ...


@dataclass
class GreedyRow:
    """What one row gave.

    Attributes:
        tokens: without the end of text.
        logprobs: one for each token, and one for the end of text if it came.
        ended: False if the token limit stopped it.
        stopped: True if `should_stop` did.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False
    stopped: bool = False


def decode_greedy(
    stepper: Stepper,
    hidden: Tensor,
    chooser: Chooser,
    *,
    bias: Tensor,
    eot: int,
    max_tokens: int,
    sync_interval: int = 1,
    should_stop: Callable[[Sequence[int]], bool] | None = None,
) -> list[GreedyRow]:
    """Decode each row to its end of text, or to `max_tokens`.

    Args:
        stepper: the prompt is in it already.
        hidden: (B, D), the hidden state at the prompt's last token.
        chooser: the rules on what may come next.
        bias: (V,), added to all logits.
        eot: id of the end of text.
        max_tokens: of each row, the end of text not counted.
        sync_interval: look at the tokens every so many steps.
        should_stop: asked at each look with a row's tokens so far; True ends the row there.

    Raises:
        DecodingError: a log probability is not finite (code ``non_finite``).
    """
    results = [GreedyRow() for _ in range(stepper.rows)]
    active = list(range(stepper.rows))  # position in the batch -> row
    tokens = torch.empty(0)  # of the step before
    done = 0
    while active:
        count = min(sync_interval, max_tokens - done)
        steps = chooser.begin(count)
        for index in range(count):
            if done + index > 0:
                hidden = stepper.advance(tokens[:, None])[:, -1]
            tokens = chooser.choose(stepper.logits(hidden, bias, steps.room(index)), steps, index)
        done += count
        # As one transfer, which is one wait: a token is a whole number below 2^24, which a float32 holds.
        scores = chooser.logprobs(steps)
        values, logprobs = torch.stack([steps.tokens.to(scores.dtype), scores]).tolist()
        finished = _collect(values, logprobs, [results[row] for row in active], eot, max_tokens, should_stop)
        # From the back: the row that takes a dropped one's place is then never one that ended too.
        for position in reversed(finished):
            last = len(active) - 1
            stepper.drop_row(position)
            chooser.drop_row(position, last)
            active[position] = active[last]
            active.pop()
        if finished and active:
            tokens = _keep(tokens, finished)
    return results


def _collect(
    tokens: Sequence[Sequence[float]],
    logprobs: Sequence[Sequence[float]],
    rows: Sequence[GreedyRow],
    eot: int,
    max_tokens: int,
    should_stop: Callable[[Sequence[int]], bool] | None,
) -> list[int]:
    """Move steps into the rows; returns the positions of those that ended, ascending."""
    finished = []
    for position, row in enumerate(rows):
        for step_tokens, step_logprobs in zip(tokens, logprobs, strict=True):
            token, logprob = int(step_tokens[position]), step_logprobs[position]
            if not -1e30 < logprob <= 1e-3:
                raise DecodingError(
                    f"the model gave non-finite or impossible values (log probability {logprob})",
                    hint="try --dtype float32; if it is float32 already, check the model's files",
                    code="non_finite",
                )
            if token == eot:
                row.logprobs.append(logprob)
                row.ended = True
                break
            row.logprobs.append(logprob)
            row.tokens.append(token)
        if not row.ended and should_stop is not None and should_stop(row.tokens):
            row.stopped = True
        if row.ended or row.stopped or len(row.tokens) == max_tokens:
            finished.append(position)
    return finished


def _keep(tokens: Tensor, finished: Sequence[int]) -> Tensor:
    """Drop the finished positions as `Stepper.drop_row` does: from the back, the last takes the place."""
    tokens = tokens.clone()
    last = len(tokens) - 1
    for position in reversed(finished):
        tokens[position] = tokens[last]
        last -= 1
    return tokens[: last + 1]
