"""Beam search over a batch of windows.

The rules are openai/whisper's (`BeamSearchDecoder` in whisper/decoding.py): from the beams' continuations, likeliest
first, the first K that do not end are kept; those that end and stand before the last of these are finished; a window is
done when it has K times `patience` finished ones ("Beam Decoding with Controlled Patience", Kasai et al., 2022).

Everything that a step decides is decided on the device, for all windows at once; the host repeats the decisions from
the few numbers that it fetches every `sync_interval` steps.

Shapes: N windows, K beams, B = N x K rows (the beams of a window side by side), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from voxport.decoding.candidates import Candidate, require_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.decoding.candidates import GroupRules, GroupStepper

NEVER = float("-inf")


class Biasing(Protocol):
    """What is added to the log probabilities for the search only, see `voxport.decoding.hotwords`."""

    def gains(self, logprobs: Tensor) -> Tensor:
        """What each next token would gain: (B, V), or (B, 1) where all gain the same."""
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


class _Node(NamedTuple):
    """The last token of a beam, the log probability of all up to it, and what came before it."""

    token: int
    logprob: float
    before: _Node | None


@dataclass
class _Search:
    """One window's search as the host sees it.

    Attributes:
        beams: the last token of each, None before the first.
        scores: of each beam, summed.
        finished: those that ended.
        length: tokens of a beam.
        done: whether enough are finished, or it was stopped.
    """

    beams: list[_Node | None]
    scores: list[float]
    finished: list[Candidate] = field(default_factory=list)
    length: int = 0
    done: bool = False

    def step(self, continuations: Sequence[tuple[int, int, float, float]], eot: int, enough: int) -> None:
        """Go on with the best of the continuations (beam, token, log probability, score), given best first."""
        beams = len(self.beams)
        kept: list[tuple[_Node, float]] = []
        for source, token, logprob, score in continuations:
            if token == eot:
                if len(self.finished) < enough:
                    tokens, running = self.said(source)
                    self.finished.append(Candidate(tokens, (*running, logprob), score, ended=True))
                continue
            kept.append((_Node(token, logprob, self.beams[source]), score))
            if len(kept) == beams:
                break
        self.beams = [node for node, _ in kept]
        self.scores = [score for _, score in kept]
        self.length += 1
        self.done = len(self.finished) >= enough

    def said(self, beam: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """What a beam has said: its tokens, and the log probability up to each."""
        tokens, running = [], []
        node = self.beams[beam]
        while node is not None:
            tokens.append(node.token)
            running.append(node.logprob)
            node = node.before
        return tuple(reversed(tokens)), tuple(reversed(running))

    def candidates(self, stopped: bool) -> list[Candidate]:
        """All that ended; where enough did not, filled up to as many as there are beams with the likeliest others.

        openai/whisper fills up in any case: with a patience below 1 a text without its end may win, for lack of what
        an end costs.
        """
        found = list(self.finished)
        if self.done:
            return found
        for beam, node in enumerate(self.beams):
            if len(found) < len(self.beams) and node is not None and node.logprob > NEVER:
                tokens, running = self.said(beam)
                found.append(Candidate(tokens, running, self.scores[beam], ended=False, stopped=stopped))
        return found


def decode_beam(
    stepper: GroupStepper,
    hidden: Tensor,
    rules: GroupRules,
    *,
    beams: int,
    bias: Tensor,
    eot: int,
    max_tokens: int,
    patience: float = 1.0,
    sync_interval: int = 1,
    should_stop: Callable[[Sequence[int]], bool] | None = None,
    biasing: Biasing | None = None,
) -> list[list[Candidate]]:
    """Search each window's likeliest texts.

    Args:
        stepper: the prompt is in it already, one row for each window.
        hidden: (N, D), the hidden state at the prompt's last token.
        rules: the rules on what may come next, for B rows.
        beams: K.
        bias: (V,), added to all logits.
        eot: id of the end of text.
        max_tokens: of each text, the end of text not counted.
        patience: a window is done when ``round(K * patience)`` texts ended.
        sync_interval: the host looks every so many steps.
        should_stop: asked at each look with the tokens of a window's likeliest beam; True ends the window there.
        biasing: what else the search goes by.

    Returns:
        The candidates of each window, at least one.

    Raises:
        DecodingError: a log probability is not finite (code ``non_finite``).
    """
    windows = stepper.rows
    device = hidden.device
    enough = max(1, round(beams * patience))
    searches = [_Search([None] * beams, [0.0] * beams) for _ in range(windows)]
    results: list[list[Candidate]] = [[] for _ in range(windows)]
    active = list(range(windows))  # position in the batch -> window
    state = _Beams(windows, beams, eot, device, biased=biasing is not None)
    stepper.widen(beams)
    hidden = hidden.repeat_interleave(beams, 0)
    done = 0
    while active:
        count = min(sync_interval, max_tokens - done)
        records = []
        for index in range(count):
            if done + index > 0:
                hidden = stepper.advance(state.tokens[:, None])[:, -1]
            logits = stepper.logits(hidden, bias)
            rules.forbid(logits)
            logprobs = logits.log_softmax(dim=-1)
            records.append(state.step(logprobs, None if biasing is None else biasing.gains(logprobs)))
            rules.gather(state.sources)
            rules.take(state.tokens)
            if biasing is not None:
                biasing.gather(state.sources)
                biasing.take(state.tokens)
            if done + index > 0:  # after the prompt, all rows of a window are alike
                stepper.gather(state.sources)
        done += count
        finished = []
        for position, steps in enumerate(torch.stack(records, dim=1).tolist()):
            search = searches[active[position]]
            stopped = _follow(search, steps, eot, enough, should_stop)
            if search.done or stopped or search.length == max_tokens:
                results[active[position]] = search.candidates(stopped)
                finished.append(position)
        for position in reversed(finished):
            last = len(active) - 1
            stepper.drop_window(position)
            rules.drop_window(position, last, beams)
            state.drop_window(position, last)
            if biasing is not None:
                biasing.drop_window(position, last, beams)
            active[position] = active[last]
            active.pop()
    return results


def _follow(
    search: _Search,
    steps: Sequence[Sequence[Sequence[float]]],
    eot: int,
    enough: int,
    should_stop: Callable[[Sequence[int]], bool] | None,
) -> bool:
    """Repeat on the host what the device decided in some steps; returns whether the window is to be stopped."""
    for step in steps:
        sources, tokens, logprobs, *scores = step
        require_possible(logprobs[0])
        columns = zip(sources, tokens, logprobs, scores[0] if scores else logprobs, strict=True)
        continuations = [(int(source), int(token), logprob, score) for source, token, logprob, score in columns]
        search.step(continuations, eot, enough)
        if search.done:
            return False
    return should_stop is not None and should_stop(search.said(0)[0])


class _Beams:
    """The search's state on the device.

    Attributes:
        tokens: int64 (B,), what each beam said last.
        sources: int64 (B,), the row that each beam goes on from.
    """

    def __init__(self, windows: int, beams: int, eot: int, device: torch.device, *, biased: bool) -> None:
        self._beams = beams
        self._eot = eot
        self._biased = biased
        # At first all beams of a window are the same one: only one of them counts.
        self._logprobs = torch.full((windows, beams), NEVER, device=device)
        self._logprobs[:, 0] = 0.0
        self._scores = self._logprobs
        self._places = torch.arange(2 * beams, device=device)
        self._first_rows = (torch.arange(windows, device=device) * beams)[:, None]
        self.tokens = torch.empty(0, dtype=torch.int64, device=device)
        self.sources = torch.empty(0, dtype=torch.int64, device=device)

    def step(self, logprobs: Tensor, gains: Tensor | None) -> Tensor:
        """Choose the beams' next tokens.

        Args:
            logprobs: (B, V), natural-log probabilities of the next token, -inf at what may not come.
            gains: what is added to them for the search, broadcast to (B, V), or None.

        Returns:
            float32 (N, 3, 2K): beam, token and summed log probability of the best continuations, best first; as a
            fourth row the score they are ordered by, where something was gained.
        """
        windows, beams = self._logprobs.shape
        # A beam ends in one way only: K + 1 of each beam hold K that go on, and so do the 2K best of all.
        values, tokens = (logprobs if gains is None else logprobs + gains).topk(beams + 1, dim=-1)
        totals = (self._scores.view(-1, 1) + values).view(windows, -1)
        scores, places = totals.topk(2 * beams, dim=-1)
        beam = places.div(beams + 1, rounding_mode="floor")
        chosen = tokens.view(windows, -1).gather(1, places)
        goes_on = chosen != self._eot
        slot = goes_on.cumsum(dim=1) - 1
        # Where the first K that go on stand; all others are written to a place that nobody reads.
        slot = torch.where(goes_on & (slot < beams), slot, beams)
        kept = torch.zeros(windows, beams + 1, dtype=torch.int64, device=scores.device)
        kept = kept.scatter(1, slot, self._places.expand(windows, -1))[:, :beams]
        sums = scores
        if gains is not None:
            gained = logprobs.gather(1, tokens).view(windows, -1).gather(1, places)
            sums = self._logprobs.gather(1, beam) + gained
        self._scores = scores.gather(1, kept)
        self._logprobs = sums.gather(1, kept)
        self.tokens = chosen.gather(1, kept).view(-1)
        self.sources = (self._first_rows[:windows] + beam.gather(1, kept)).view(-1)
        # As one transfer, which is one wait: a token is a whole number below 2^24, which a float32 holds.
        found = [beam.to(scores.dtype), chosen.to(scores.dtype), sums]
        return torch.stack([*found, scores] if self._biased else found, dim=1)

    def drop_window(self, window: int, last: int) -> None:
        """Forget a window; window `last` takes its place."""
        for name in ("_logprobs", "_scores"):
            state = getattr(self, name).clone()
            state[window] = state[last]
            setattr(self, name, state[:last])
        tokens = self.tokens.view(-1, self._beams).clone()
        tokens[window] = tokens[last]
        self.tokens = tokens[:last].reshape(-1)
