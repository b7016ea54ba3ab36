"""What Whisper allows as the next token: suppressed tokens and the timestamp rules, for a whole batch at once.

The rules are openai/whisper's `SuppressBlank`, `SuppressTokens` and `ApplyTimestampRules` (whisper/decoding.py),
written over tensors only, so that no step waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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


class Score(NamedTuple):
    """What the log probabilities of one step's tokens will be made of, once they are asked for.

    Attributes:
        best: (B,), the logits of the chosen tokens.
        allowed: (B, V), all logits, -inf at what was not allowed.
        is_time: (B,), where a timestamp had to come: then only timestamps were allowed. None = nowhere.
        time_mass: (B,), log of the timestamps' summed exponentials, or None.
    """

    best: Tensor
    allowed: Tensor
    is_time: Tensor | None = None
    time_mass: Tensor | None = None


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
        self._latest = torch.full((rows,), -1, device=device)  # index of the latest timestamp, -1 = none yet
        self._time_index = torch.arange(rules.vocabulary - rules.timestamp_begin, device=device)
        first = torch.zeros(rules.vocabulary, device=device)
        first[list(rules.suppress_first)] = NEVER
        if rules.timestamps:
            first[: rules.timestamp_begin] = NEVER
            if rules.max_initial_timestamp is not None:
                first[rules.timestamp_begin + rules.max_initial_timestamp + 1 :] = NEVER
        self._first_bias = first

    def choose(self, logits: Tensor) -> tuple[Tensor, Score]:
        """The likeliest allowed token of each row.

        Args:
            logits: (B, V) float32, with `WhisperRules.bias` already added. They are changed.

        Returns:
            tokens (B,) int64, and what `logprobs` needs to know of them.
        """
        first, self._first = self._first, False
        if first:
            logits = logits + self._first_bias
        if not self._rules.timestamps or first:
            best, tokens = logits.max(dim=-1)
            if self._rules.timestamps:
                self._remember(tokens >= self._rules.timestamp_begin, tokens - self._rules.timestamp_begin)
            return tokens, Score(best, logits)
        return self._choose_with_times(logits)

    def logprobs(self, scores: Sequence[Score]) -> Tensor:
        """Log probabilities among the allowed tokens, (steps, B), of the tokens of some steps in a row.

        One that is not finite speaks of logits that are not.
        """
        allowed = scores[0].allowed[None] if len(scores) == 1 else torch.stack([score.allowed for score in scores])
        masses = list(allowed.logsumexp(dim=-1).unbind(0))
        for step, score in enumerate(scores):
            if score.is_time is not None and score.time_mass is not None:
                masses[step] = torch.where(score.is_time, score.time_mass, masses[step])
        return torch.stack([score.best - mass for score, mass in zip(scores, masses, strict=True)])

    def _choose_with_times(self, logits: Tensor) -> tuple[Tensor, Score]:
        begin, eot = self._rules.timestamp_begin, self._rules.eot
        others, times = logits[:, :begin], logits[:, begin:]
        # Times never run backwards: the partner may equal the single one, after text a time must be later, or a
        # segment could be empty.
        passed = self._time_index <= (self._latest - self._single.long())[:, None]
        times.masked_fill_(passed | self._pair[:, None], NEVER)
        others[:, :eot].masked_fill_(self._single[:, None], NEVER)
        other_best, other_token = others.max(dim=-1)
        time_best, time_token = times.max(dim=-1)
        time_mass = times.logsumexp(dim=-1)
        # If a timestamp, any, is likelier than the likeliest other token, it is a timestamp.
        is_time = time_mass > other_best
        tokens = torch.where(is_time, time_token + begin, other_token)
        self._remember(is_time, time_token)
        return tokens, Score(torch.where(is_time, time_best, other_best), logits, is_time, time_mass)

    def _remember(self, is_time: Tensor, index: Tensor) -> None:
        self._latest = torch.where(is_time, index, self._latest)
        self._pair = is_time & self._last_is_time
        self._single = is_time > self._last_is_time
        self._last_is_time = is_time

    def drop_row(self, row: int, last: int) -> None:
        """Forget `row`; row `last` takes its place."""
        for name in ("_last_is_time", "_pair", "_single", "_latest"):
            state = getattr(self, name)
            state = state.clone()
            state[row] = state[last]
            setattr(self, name, state[:last])
