"""The modules in which an error is made, told apart from those that pass one on.

"The first module whose result differs" is no answer: faults of precision touch the first module first. Here each stage
is computed by the candidate on the reference's own inputs; where more than rounding comes of that, the error is made
there. What is far beyond the others of its kind is named first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from voxport.verify import limits
from voxport.verify.arrays import on
from voxport.verify.causes import Case, explain
from voxport.verify.outcome import Finding, StageResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.models.stages import Inspectable

__all__ = ["MOST", "localise", "suspects"]

MOST = 8
"""So many modules are explained, the worst; a fault everywhere needs no list of all of them."""


def suspects(stages: Sequence[StageResult], dtype: str) -> list[StageResult]:
    """Stages that make more than rounding, worst first."""
    limit = limits.STAGE[dtype]
    found = [
        stage
        for stage in stages
        if stage.made is not None and (stage.made["non_finite"] > 0 or not stage.made["relative_l2"] <= limit)
    ]

    def badness(stage: StageResult) -> float:
        assert stage.made is not None
        error = stage.made["relative_l2"]
        return math.inf if stage.made["non_finite"] or math.isnan(error) else error

    return sorted(found, key=badness, reverse=True)


def localise(
    reference: Inspectable,
    candidate: Inspectable,
    features: Any,
    tokens: Sequence[Sequence[int]] | None,
    stages: Sequence[StageResult],
    dtype: str,
) -> list[Finding]:
    """Name and explain the stages that make more than rounding.

    Args:
        reference, candidate, features, tokens: as they were looked at.
        stages: what was seen.
        dtype: of the candidate.
    """
    worst = suspects(stages, dtype)[:MOST]
    if not worst:
        return []
    table = {stage.name: stage for stage in candidate.stages()}
    given = candidate.given(features, tokens)
    names = {stage.name for stage in worst}
    read = {one for name in names for one in table[name].reads} - given.keys()
    theirs = reference.capture({*names, *read}, features, tokens)
    ours = candidate.capture(read, features, tokens) if read else {}
    findings = []
    for result in worst:
        stage = table[result.name]
        assert stage.compute is not None
        assert result.made is not None
        inputs = [given[one] if one in given else on(theirs[one], ours[one]) for one in stage.reads]
        with torch.inference_mode():
            found = stage.compute(*inputs)
        parameters = [{} if stage.module is None else side.parameter(stage.module) for side in (reference, candidate)]
        cause, evidence = explain(Case(stage, inputs, theirs[stage.name], found, parameters[0], parameters[1]))
        findings.append(
            Finding(stage.name, stage.kind, result.made["relative_l2"], limits.STAGE[dtype], cause, evidence)
        )
    return findings
