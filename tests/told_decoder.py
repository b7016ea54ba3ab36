"""A decoder for tests of searches: what it says next hangs on everything that a row was told, and on its window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

VOCABULARY = 12
EOT = 9
BANNED = 11


def table(window: int, told: Sequence[int], ending: float) -> Tensor:
    """Logits (V,) of a row that was told this; the end of text grows likelier with the length."""
    generator = np.random.Generator(np.random.PCG64([window, *told]))
    logits = torch.from_numpy(generator.normal(0.0, 1.5, VOCABULARY).astype(np.float32))
    logits[EOT] += ending * (len(told) - 4)
    return logits


class ToldDecoder:
    """`voxport.decoding.candidates.GroupStepper`."""

    def __init__(self, windows: Sequence[int], ending: float = 0.5) -> None:
        self._windows = list(windows)
        self._told: list[list[int]] = [[] for _ in windows]
        self._beams = 1
        self._ending = ending
        self.steps = 0

    @property
    def rows(self) -> int:
        return len(self._told)

    def advance(self, tokens: Tensor) -> Tensor:
        assert tokens.shape == (self.rows, 1)
        for told, token in zip(self._told, tokens[:, 0].tolist(), strict=True):
            told.append(token)
        self.steps += 1
        return torch.zeros(self.rows, 1, 1)

    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        assert len(hidden) == self.rows
        rows = [table(self._windows[row // self._beams], told, self._ending) for row, told in enumerate(self._told)]
        return torch.stack(rows) + bias

    def widen(self, beams: int) -> None:
        self._told = [list(told) for told in self._told for _ in range(beams)]
        self._beams = beams

    def gather(self, sources: Tensor) -> None:
        places = sources.tolist()
        assert all(place // self._beams == row // self._beams for row, place in enumerate(places))
        self._told = [list(self._told[place]) for place in places]

    def drop_window(self, window: int) -> None:
        last = len(self._windows) - 1
        beams = self._beams
        self._windows[window] = self._windows[last]
        self._windows.pop()
        here, there = (slice(place * beams, (place + 1) * beams) for place in (window, last))
        self._told[here] = self._told[there]
        del self._told[last * beams :]


class NoDoubles:
    """Rules: no token twice in a row. `voxport.decoding.candidates.GroupRules`."""

    def __init__(self, rows: int) -> None:
        self._last = torch.full((rows,), -1)

    def forbid(self, logits: Tensor) -> None:
        for row, token in enumerate(self._last.tolist()):
            if token >= 0:
                logits[row, token] = float("-inf")

    def take(self, tokens: Tensor) -> None:
        self._last = tokens.clone()

    def gather(self, sources: Tensor) -> None:
        self._last = self._last[sources]

    def drop_window(self, window: int, last: int, beams: int) -> None:
        self._last[window * beams : (window + 1) * beams] = self._last[last * beams :]
        self._last = self._last[: last * beams]


def bias() -> Tensor:
    """One token is never said."""
    found = torch.zeros(VOCABULARY)
    found[BANNED] = float("-inf")
    return found


def next_logprobs(window: int, told: Sequence[int], ending: float) -> list[float]:
    """What a search may count on, written out: natural-log probabilities (V,) under `NoDoubles` and `bias`."""
    logits = table(window, told, ending) + bias()
    if told:
        logits[told[-1]] = float("-inf")
    found: list[float] = logits.log_softmax(-1).tolist()
    return found
