"""What Whisper allows as the next token: suppressed tokens and the timestamp rules, for a whole batch at once.

The rules are openai/whisper's `SuppressBlank`, `SuppressTokens` and `ApplyTimestampRules` (whisper/decoding.py),
written over tensors only, so that no step waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER = float("-inf")


@dataclass(frozen=True)
class WhisperRules:
    """The ids the rules speak of.

    Attributes:
        vocabulary: V, the width of the logits.
        eot: end of text; ids below are text.
        no_timestamps: the token that switches timestamps off; never predicted.
        timestamp_begin: the id of <|0.00|>; this one and all above are timestamps.
        suppress: ids never predicted.
        suppress_first: ids not predicted as the first token (a blank, the end).
        timestamps: whether times are predicted.
        max_initial_timestamp: the first timestamp is at most so many steps of 0.02 s (50 = 1.0 s); None = any.
    """

    vocabulary: int
    eot: int
    no_timestamps: int
    timestamp_begin: int
    suppress: Sequence[int] = ()
    suppress_first: Sequence[int] = ()
    timestamps: bool = True
    max_initial_timestamp: int | None = 50

    def bias(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(V,): -inf at tokens that may never come, else 0. The projection to the vocabulary adds it for free."""
        bias = torch.zeros(self.vocabulary, dtype=dtype)
        bias[[t for t in self.suppress if t < self.vocabulary]] = NEVER
        if self.timestamps:
            bias[self.no_timestamps] = NEVER
        return bias.to(device)

    def start(self, rows: int, device: torch.device) -> RuleState:
        return RuleState(self, rows, device)


class Steps:
    """What some steps in a row gave, side by side: the log probabilities of all are made in one go.

    Attributes:
        tokens: int64 (n, B), chosen.
        best: float32 (n, B), their logits.
    """

    def __init__(self, count: int, rows: int, vocabulary: int, device: torch.device) -> None:
        self.tokens = torch.empty(count, rows, dtype=torch.int64, device=device)
        self.best = torch.empty(count, rows, device=device)
        # One step's logits may stay where they are.
        self._logits = torch.empty(count, rows, vocabulary, device=device) if count > 1 else None

    def room(self, index: int) -> Tensor | None:
        """Where the logits (B, V) of a step are to be put, or None if anywhere."""
        return None if self._logits is None else self._logits[index]

    def choose(self, logits: Tensor, index: int) -> Tensor:
        """Keep the logits (B, V) of a step, -inf at what was not allowed, and the likeliest tokens (B,)."""
        if self._logits is None:
            self._logits = logits[None]
        tokens = self.tokens[index]
        torch.max(logits, dim=-1, out=(self.best[index], tokens))
        return tokens

    def logprobs(self) -> Tensor:
        """Log probabilities of the tokens among those that were allowed, (n, B)."""
        assert self._logits is not None
        return self.best - self._logits.logsumexp(dim=-1)


class RuleState:
    """The rules' memory of a batch: for each row, what its last two tokens were and its latest timestamp.

    Few operations a step: an accelerator's host dispatches each of them, and that is what decoding there is bound by.
    """

    def __init__(self, rules: WhisperRules, rows: int, device: torch.device) -> None:
        self._rules = rules
        self._first = True
        # Times come in pairs, except directly before the end of text: after a pair comes text, after a single one its
        # partner or the end. What was before the first token counts as a pair.
        self._last_is_time = torch.ones(rows, dtype=torch.bool, device=device)
        self._pair = torch.ones(rows, dtype=torch.bool, device=device)
        self._single = torch.zeros(rows, dtype=torch.bool, device=device)
        self._latest = torch.full((rows,), -1, device=device)  # the latest timestamp's id, -1 = none yet
        self._times = torch.arange(rules.timestamp_begin, rules.vocabulary, device=device)
        first = torch.zeros(rules.vocabulary, device=device)
        first[list(rules.suppress_first)] = NEVER
        if rules.timestamps:
            first[: rules.timestamp_begin] = NEVER
            if rules.max_initial_timestamp is not None:
                first[rules.timestamp_begin + rules.max_initial_timestamp + 1 :] = NEVER
        self._first_bias = first

    def begin(self, count: int) -> Steps:
        """Room for what the next `count` steps give."""
        return Steps(count, len(self._latest), self._rules.vocabulary, self._latest.device)

    def choose(self, logits: Tensor, steps: Steps, index: int) -> Tensor:
        """The likeliest allowed token of each row, remembered as a step of `steps`.

        Args:
            logits: (B, V) float32, with `WhisperRules.bias` already added. They are changed.
            steps: of `begin`.
            index: which of them it is.

        Returns:
            tokens (B,) int64.
        """
        is_time = self.forbid(logits)
        tokens = steps.choose(logits, index)
        if is_time is not None:
            self._remember(tokens, is_time)
        return tokens

    def forbid(self, logits: Tensor) -> Tensor | None:
        """Put -inf at what may not come next.

        Args:
            logits: (B, V) float32, with `WhisperRules.bias` already added. They are changed.

        Returns:
            (B,), where the likeliest token is a timestamp; None where no times are predicted.
        """
        first, self._first = self._first, False
        if first:
            logits += self._first_bias
        if not self._rules.timestamps:
            return None
        return torch.ones_like(self._single) if first else self._forbid_times(logits)

    def take(self, tokens: Tensor) -> None:
        """Remember the tokens (B,) that a step went on with, which need not be the likeliest."""
        if self._rules.timestamps:
            self._remember(tokens, tokens >= self._rules.timestamp_begin)

    def logprobs(self, steps: Steps) -> Tensor:
        """Log probabilities among the allowed tokens, (n, B). One that is not finite speaks of logits that are not."""
        return steps.logprobs()

    def _forbid_times(self, logits: Tensor) -> Tensor:
        """Take away what the rules on timestamps do not allow; returns (B,), where a timestamp comes."""
        begin, eot = self._rules.timestamp_begin, self._rules.eot
        others, times = logits[:, :begin], logits[:, begin:]
        # Times never run backwards: the partner may equal the single one, after text a time must be later, or a
        # segment could be empty.
        passed = self._times <= torch.add(self._latest, self._single, alpha=-1)[:, None]
        times.masked_fill_(passed.logical_or_(self._pair[:, None]), NEVER)
        others[:, :eot].masked_fill_(self._single[:, None], NEVER)
        # If a timestamp, any, is likelier than the likeliest other token, it is a timestamp.
        is_time = times.logsumexp(dim=-1) > others.amax(dim=-1)
        others.masked_fill_(is_time[:, None], NEVER)
        return is_time

    def _remember(self, tokens: Tensor, is_time: Tensor) -> None:
        self._latest = torch.where(is_time, tokens, self._latest)
        self._pair = is_time & self._last_is_time
        self._single = is_time > self._last_is_time
        self._last_is_time = is_time

    def gather(self, sources: Tensor) -> None:
        """Let each row go on from what row ``sources[row]`` (B,) has said."""
        for name in _MEMORY:
            setattr(self, name, getattr(self, name)[sources])

    def drop_row(self, row: int, last: int) -> None:
        """Forget `row`; row `last` takes its place."""
        self.drop_window(row, last, 1)

    def drop_window(self, window: int, last: int, beams: int) -> None:
        """Forget the rows of `window`, so many side by side; those of window `last` take their place."""
        here, there = (slice(place * beams, (place + 1) * beams) for place in (window, last))
        for name in _MEMORY:
            state = getattr(self, name).clone()
            state[here] = state[there]
            setattr(self, name, state[: last * beams])


_MEMORY = ("_last_is_time", "_pair", "_single", "_latest")
