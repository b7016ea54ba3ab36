"""Posteriors that say a given text, made for tests: what a network would give, with known frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from voxport.decoding.ctc import BestPath, best_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

BLANK = 0


def frames_of(tokens: Sequence[int], seed: int) -> np.ndarray:
    """A path that emits these tokens: each for one to three frames, with no to six blanks before it; where a token is
    repeated, with at least one. int64, shape (frames,)."""
    random = np.random.default_rng(seed)
    path = [BLANK] * int(random.integers(3, 8))  # so that it can be shifted by two frames
    for number, token in enumerate(tokens):
        repeated = number > 0 and tokens[number - 1] == token
        path += [BLANK] * int(random.integers(1 if repeated else 0, 7))
        path += [token] * int(random.integers(1, 4))
    return np.array(path + [BLANK] * int(random.integers(3, 8)))


def posteriors(path: np.ndarray, vocabulary: int = 512, seed: int = 0) -> torch.Tensor:
    """Logits (1, frames, vocabulary) whose best path is `path`, with noise on everything."""
    logits = torch.randn(1, len(path), vocabulary, generator=torch.Generator().manual_seed(seed))
    logits[0, torch.arange(len(path)), torch.from_numpy(path)] += 12.0
    return logits


def heard(path: np.ndarray) -> BestPath:
    """The best path of posteriors that say `path`."""
    paths = best_paths(posteriors(path), [len(path)])
    assert paths is not None
    return paths[0]


def shifted(path: np.ndarray, by: int) -> np.ndarray:
    """The same emissions `by` frames later, or earlier if it is negative."""
    if by >= 0:
        return np.concatenate([np.full(by, BLANK), path])[: len(path)]
    return np.concatenate([path[-by:], np.full(-by, BLANK)])


def jittered(path: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Every emission for itself up to `most` frames earlier or later, in the same order, repeats still apart."""
    random = np.random.default_rng(seed)
    moved = np.full(len(path), BLANK)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    free, previous = 0, BLANK
    for start, end in zip(starts, [*starts[1:], len(path)], strict=True):
        token = path[start]
        if token == BLANK:
            continue
        earliest = free + (1 if token == previous else 0)
        place = int(max(earliest, start + random.integers(-most, most + 1)))
        length = min(int(end - start), len(path) - place)
        if length <= 0:
            raise ValueError("no room left for an emission")
        moved[place : place + length] = token
        free, previous = place + length, token
    return moved
