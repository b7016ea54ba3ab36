"""Two networks looked into, stage by stage: what differs behind each stage, and what is made in it.

Only so many stages are looked at in one forward pass as fit into a bounded amount of memory; a large network is run
again for the next ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from voxport.metrics import Sums
from voxport.models.stages import Stage, inputs_of
from voxport.verify.arrays import as_array, on
from voxport.verify.outcome import StageResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.models.stages import Inspectable

__all__ = ["look"]

MEMORY = 1 << 30
"""Bytes that the results of one pass may take, both sides together, roughly."""

STREAM = 4
"""A stage of a table whose result has the size of the residual stream, in every family."""


def look(
    reference: Inspectable,
    candidate: Inspectable,
    features: Any,
    tokens: Sequence[Sequence[int]] | None,
    dtype: str,
) -> list[StageResult]:
    """All stages of one window.

    Args:
        reference, candidate: of one family and shape.
        features: the reference's; both are given the same.
        tokens: the decoder's input (1, n), or None for CTC.
        dtype: of the candidate, for the metrics that depend on it.
    """
    table = {stage.name: stage for stage in candidate.stages()}
    given = candidate.given(features, tokens)
    results: list[StageResult] = []
    for names in _portions(list(table.values()), reference, features, tokens):
        read = inputs_of(list(table.values()), names) - given.keys()
        theirs = reference.capture({*names, *read}, features, tokens)
        ours = candidate.capture({*names, *read}, features, tokens)
        for name in names:
            stage = table[name]
            wanted = as_array(theirs[name])
            passed = Sums(dtype).add(as_array(ours[name]), wanted).metrics()
            own = None
            if stage.compute is not None:
                with torch.inference_mode():
                    inputs = [given[one] if one in given else on(theirs[one], ours[one]) for one in stage.reads]
                    own = Sums(dtype).add(as_array(stage.compute(*inputs)), wanted).metrics()
            results.append(StageResult(name, stage.kind, passed, own))
    return results


def _portions(
    stages: list[Stage], reference: Inspectable, features: Any, tokens: Sequence[Sequence[int]] | None
) -> Iterator[list[str]]:
    """Names in order, as many at once as memory allows.

    A stage behind the first norms has the size of the stream; two of some twelve are four times as large.
    """
    (stream,) = reference.capture([stages[min(STREAM, len(stages) - 1)].name], features, tokens).values()
    both_sides = 2 * 1.5 * 4 * stream.numel()
    count = max(8, int(MEMORY / both_sides))
    for start in range(0, len(stages), count):
        yield [stage.name for stage in stages[start : start + count]]
