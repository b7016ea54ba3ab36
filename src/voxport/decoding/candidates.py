"""What a search over several rows for each window needs and gives: shared by beams and by samples.

Shapes: N windows, K rows for each, side by side; V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from voxport.errors import DecodingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class GroupStepper(Protocol):
    """Windows under way, K rows for each after `widen`, one token after the other.

    Attributes:
        rows: of all windows together.
    """

    rows: int

    def advance(self, tokens: Tensor) -> Tensor:
        """Feed tokens (B, n); returns hidden states (B, n, D)."""
        ...

    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D) -> (B, V) float32."""
        ...

    def widen(self, beams: int) -> None:
        """Make K rows, all alike, of each window's one."""
        ...

    def gather(self, sources: Tensor) -> None:
        """Let each row go on from what row ``sources[row]`` (B,) was told."""
        ...

    def drop_window(self, window: int) -> None:
        """Forget a window; the last one takes its place."""
        ...


class GroupRules(Protocol):
    """The rules on the next token of each row."""

    def forbid(self, logits: Tensor) -> Tensor | None:
        """Put -inf at what may not come next in logits (B, V)."""
        ...

    def take(self, tokens: Tensor) -> None:
        """Remember the tokens (B,) that were chosen."""
        ...

    def gather(self, sources: Tensor) -> None:
        """Let each row go on from what row ``sources[row]`` (B,) has said."""
        ...

    def drop_window(self, window: int, last: int, beams: int) -> None:
        """Forget the rows of a window; those of the last one take their place."""
        ...


@dataclass(frozen=True)
class Candidate:
    """What one row came to say.

    Attributes:
        tokens: without the end of text.
        running: sum of the natural-log probabilities up to each token, and up to the end of text if it came.
        score: what it was searched by: the last of these sums, plus what biasing added.
        ended: False if the token limit, or the search's end, stopped it.
        stopped: True if `should_stop` did.
    """

    tokens: tuple[int, ...]
    running: tuple[float, ...]
    score: float
    ended: bool
    stopped: bool = False

    @property
    def logprob(self) -> float:
        """Of the whole text."""
        return self.running[-1] if self.running else 0.0

    @property
    def average(self) -> float:
        """Mean log probability of a token, the end of text counted among them: openai/whisper's ``avg_logprob``."""
        return self.logprob / (len(self.tokens) + 1)


def best(candidates: Sequence[Candidate], length_penalty: float | None = None) -> Candidate:
    """The likeliest for its length: openai/whisper's `MaximumLikelihoodRanker` (whisper/decoding.py).

    Args:
        candidates: of one window, at least one; the first of equals wins. One that was stopped wins only where all
            were: what runs in a loop is likely for its length, and yet not what was said.
        length_penalty: alpha of Google NMT's penalty ((5 + length) / 6)^alpha; None divides by the length itself.
    """

    def rank(candidate: Candidate) -> float:
        length = len(candidate.tokens)
        return candidate.score / (max(length, 1) if length_penalty is None else ((5 + length) / 6) ** length_penalty)

    return max([candidate for candidate in candidates if not candidate.stopped] or candidates, key=rank)


def require_possible(logprob: float) -> None:
    """A log probability must be one.

    Raises:
        DecodingError: it is not finite, or above 0 (code ``non_finite``).
    """
    if not -1e30 < logprob <= 1e-3:
        raise DecodingError(
            f"the model gave non-finite or impossible values (log probability {logprob})",
            hint="try --dtype float32; if it is float32 already, check the model's files",
            code="non_finite",
        )
