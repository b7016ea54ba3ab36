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


class RuleState:
    """The rules' memory of a batch: for each row, what its last two tokens were and its latest timestamp."""

    def __init__(self, rules: WhisperRules, rows: int, device: torch.device) -> None:
        self._rules = rules
        self._first = True
        # Before the first token counts as a timestamp: the first timestamp must be followed by text, as after a pair.
        self._last_is_time = torch.ones(rows, dtype=torch.bool, device=device)
        self._previous_is_time = torch.ones(rows, dtype=torch.bool, device=device)
        self._latest = torch.full((rows,), -1, device=device)  # index of the latest timestamp, -1 = none yet
        self._time_index = torch.arange(rules.vocabulary - rules.timestamp_begin, device=device)
        first = torch.zeros(rules.vocabulary, device=device)
        first[list(rules.suppress_first)] = NEVER
        if rules.timestamps:
            first[: rules.timestamp_begin] = NEVER
            if rules.max_initial_timestamp is not None:
                first[rules.timestamp_begin + rules.max_initial_timestamp + 1 :] = NEVER
        self._first_bias = first

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest allowed token of each row.

        Args:
            logits: (B, V) float32, with `WhisperRules.bias` already added.

        Returns:
            tokens (B,) int64 and their log probabilities (B,) float32 among the allowed tokens. A non-finite log
            probability speaks of non-finite logits.
        """
        if self._first:
            self._first = False
            tokens, logprobs = _likeliest(logits + self._first_bias)
        elif not self._rules.timestamps:
            return _likeliest(logits)
        else:
            tokens, logprobs = self._choose_with_times(logits)
        if self._rules.timestamps:
            self._remember(tokens)
        return tokens, logprobs

    def _choose_with_times(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        begin, eot = self._rules.timestamp_begin, self._rules.eot
        # Times come in pairs, except directly before the end of text: after a pair comes text,
        # after a single one its partner or the end.
        pair = self._last_is_time & self._previous_is_time
        single = self._last_is_time & ~self._previous_is_time
        text, special = logits[:, :eot], logits[:, eot:begin]
        # Times never run backwards: the partner may equal the single one, after text a time must be later, or a
        # segment could be empty.
        floor = self._latest + torch.where(single, 0, 1)
        times = logits[:, begin:].masked_fill((self._time_index < floor[:, None]) | pair[:, None], NEVER)

        text_best, text_token = text.max(dim=-1)
        text_mass = text.logsumexp(dim=-1)
        text_best = text_best.masked_fill(single, NEVER)
        text_mass = text_mass.masked_fill(single, NEVER)
        special_best, special_token = special.max(dim=-1)
        time_best, time_token = times.max(dim=-1)
        time_mass = times.logsumexp(dim=-1)

        # If a timestamp, any, is likelier than the likeliest other token, it is a timestamp.
        other_best = torch.maximum(text_best, special_best)
        must_time = time_mass > other_best
        is_time = must_time | (time_best > other_best)
        mass = torch.logaddexp(torch.logaddexp(text_mass, special.logsumexp(dim=-1)), time_mass)
        mass = torch.where(must_time, time_mass, mass)
        other = torch.where(text_best >= special_best, text_token, special_token + eot)
        tokens = torch.where(is_time, time_token + begin, other)
        best = torch.where(is_time, time_best, other_best)
        return tokens, best - mass

    def _remember(self, tokens: Tensor) -> None:
        is_time = tokens >= self._rules.timestamp_begin
        self._latest = torch.where(is_time, tokens - self._rules.timestamp_begin, self._latest)
        self._previous_is_time = self._last_is_time
        self._last_is_time = is_time

    def drop_row(self, row: int, last: int) -> None:
        """Forget `row`; row `last` takes its place."""
        for name in ("_last_is_time", "_previous_is_time", "_latest"):
            state = getattr(self, name)
            state = state.clone()
            state[row] = state[last]
            setattr(self, name, state[:last])


def _likeliest(logits: Tensor) -> tuple[Tensor, Tensor]:
    best, tokens = logits.max(dim=-1)
    return tokens, best - logits.logsumexp(dim=-1)
