"""Which modules must stay in float32 for a candidate of fewer bits to pass? A small set, found by trying.

Modules whose values come within a factor of `HEADROOM` of float16's range stay in float32 in any case: other recordings
are louder. The others are put in order, by the error that each makes of the reference's own inputs. The shortest
beginning of that order with which the candidate passes is found by doubling and halving; from it everything is taken
away again without which it passes too (the removal of ever smaller parts in "Simplifying and Isolating Failure-Inducing
Input", Zeller and Hildebrandt, 2002). What is left is minimal in the sense that no single one of these can be left out;
it need not be the smallest set there is.

The reference works once: what it does is kept in a trace, and each trial is held against that.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.models.recipe import Recipe
from voxport.models.stages import norms_behind
from voxport.verify.comparing import Comparison, Loaded
from voxport.verify.trace import RecordedModel, save_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from voxport.models.stages import Stage
    from voxport.verify.comparing import Window, Work
    from voxport.verify.outcome import Outcome
    from voxport.verify.policies import Policy

    Unit = tuple[str, ...]

__all__ = ["HEADROOM", "Advice", "advise", "near_range", "order_units", "smallest"]

HEADROOM = 4.0
"""How much larger than in the recordings at hand values may become without passing float16's range."""

FLOAT16_MAX = 65_504.0


@dataclass(frozen=True)
class Advice:
    """What was found.

    Attributes:
        recipe: with which the candidate passes, or None: it fails even with every module in float32.
        near_range: how many of its modules stay in float32 since their values come near the end of float16's range.
        modules: how many could be kept.
        trials: candidates that were tried.
    """

    recipe: Recipe | None
    near_range: int
    modules: int
    trials: int


def advise(
    reference: Loaded,
    load: Callable[[Recipe], Loaded],
    windows: Sequence[Window],
    work: Work,
    policy: Policy,
    failed: Outcome,
    progress: Callable[[str], None],
) -> Advice:
    """Find a recipe.

    Args:
        reference: what the candidate is held against.
        load: gives the candidate with a recipe.
        windows, work: what is compared, as in the comparison that failed.
        policy: what the candidate is to pass.
        failed: the comparison without a recipe, with stages that were looked at.
        progress: told what is tried.
    """
    dtype = failed.candidate.dtype
    if not any(window.stages for window in failed.windows):
        raise UsageError(
            "no stage was looked at, and without that there is no order in which to try modules",
            hint="save the trace without --look_at 0",
        )
    table, already = _shape(load(Recipe(dtype, ())).model)
    units = [unit for unit in order_units(table, failed) if not already.issuperset(unit)]
    wide = near_range(table, failed) if dtype == "float16" else []
    wide = [unit for unit in wide if unit in units]
    units = [unit for unit in units if unit not in wide]
    tried: dict[frozenset[Unit], bool] = {}
    kept: dict[frozenset[Unit], tuple[str, ...]] = {}
    if not policy.stages:
        work = replace(work, look_at=0)

    def passes(chosen: Sequence[Unit]) -> bool:
        key = frozenset(chosen)
        if key not in tried:
            candidate = load(Recipe(dtype, tuple(name for unit in (*wide, *chosen) for name in unit)))
            kept[key] = tuple(name for name in candidate.model.float32_modules if name not in already)
            progress(f"trial {len(tried) + 1}: {len(kept[key])} modules in float32")
            outcome = Comparison(recorded, candidate, work).run(windows, hasty=True)
            tried[key] = policy.judge(outcome).ok
        return tried[key]

    with tempfile.TemporaryDirectory(prefix="voxport-advice-") as folder:
        recorded = reference
        if not isinstance(reference.model, RecordedModel):
            path = Path(folder) / "reference.trace"
            save_trace(path, reference, windows, work, lambda done, of, file: progress(f"reference: {file}"))
            recorded = Loaded(reference.side, RecordedModel(path, other_weights=True))
        if not passes(units):
            return Advice(None, sum(map(len, wide)), len(kept[frozenset(units)]), len(tried))
        found = smallest(units, passes)
    return Advice(Recipe(dtype, kept[frozenset(found)]), sum(map(len, wide)), len(kept[frozenset(units)]), len(tried))


def _shape(model: Any) -> tuple[list[Stage], set[str]]:
    """Its table, without what computes it and holds the weights, and what is in float32 anyway."""
    return [replace(stage, compute=None) for stage in model.stages()], set(model.float32_modules)


def smallest(units: Sequence[Unit], passes: Callable[[Sequence[Unit]], bool]) -> list[Unit]:
    """Units that pass, from which none can be left out.

    Args:
        units: the likeliest first; all together pass.
        passes: whether some of them do.
    """
    if passes(()):
        return []
    low, high = 0, 1
    while high < len(units) and not passes(units[:high]):
        low, high = high, 2 * high
    high = min(high, len(units))
    while high - low > 1:
        middle = (low + high) // 2
        if passes(units[:middle]):
            high = middle
        else:
            low = middle
    found = list(units[:high])
    size = max(1, len(found) // 2)
    while True:
        before = len(found)
        for start in reversed(range(0, before, size)):  # the least likely first
            rest = [*found[:start], *found[start + size :]]
            if passes(rest):
                found = rest
        if size == 1 and len(found) == before:
            return found
        size = max(1, size // 2)


def near_range(table: Sequence[Stage], outcome: Outcome) -> list[Unit]:
    """Modules whose results, in the reference, come within a factor of `HEADROOM` of the end of float16's range."""
    largest = outcome.worst_stages("passed", "reference_magnitude")
    return [
        unit
        for unit, stages in _units(table).items()
        if max(largest.get(stage, 0.0) for stage in stages) > FLOAT16_MAX / HEADROOM
    ]


def order_units(table: Sequence[Stage], outcome: Outcome) -> list[Unit]:
    """Modules that have one dtype together, those first in which most is lost.

    Args:
        table: of the candidate.
        outcome: in which its stages were looked at.
    """
    units = _units(table)
    errors = _errors(outcome)
    badness = {unit: max(errors.get(stage, 0.0) for stage in stages) for unit, stages in units.items()}
    return sorted(units, key=lambda unit: -badness[unit])  # stable: the network's order among equals


def _units(table: Sequence[Stage]) -> dict[Unit, list[str]]:
    """Unit -> the stages that are computed in its dtype, in the network's order."""
    together = {name: stage.reads for stage in table if stage.kind == "attention" for name in stage.reads}
    norms = norms_behind(table)
    by_name = {stage.name: stage for stage in table}
    units: dict[Unit, list[str]] = {}

    def module_of(stage: Stage) -> str:
        if stage.module is not None:
            return stage.module
        if stage.kind == "residual":
            return norms[stage.name]
        return module_of(by_name[stage.reads[0]])

    for stage in table:
        module = module_of(stage)
        units.setdefault(tuple(together.get(module, (module,))), []).append(stage.name)
        if stage.kind == "embedding":  # the sum that is made there has the dtype of the norm that reads it
            norm = norms.get(stage.name)
            if norm is not None:
                units.setdefault((norm,), []).append(stage.name)
    return units


def _errors(outcome: Outcome) -> Mapping[str, float]:
    """Stage -> the error made there, infinite where values are lost."""
    found = outcome.worst_stages("made", "relative_l2")
    lost = outcome.worst_stages("made", "non_finite")
    return {name: math.inf if lost[name] or math.isnan(value) else value for name, value in found.items()}
