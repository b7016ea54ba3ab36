"""A candidate held against a private trace, and the verdict.

Two sides whose results differ by a relative L2 of e differ in mean and root mean square, relative to the latter, by e
at most; mostly by much less, since rounding cancels. So the limits are their own (`limits.STATISTICS`), measured by
``benchmarks/rounding.py``.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import DecodingError, UsageError
from voxport.models.stages import Inspectable
from voxport.verify import limits
from voxport.verify.policies import PRIVATE_CANNOT_SHOW, Check, Verdict
from voxport.verify.private.trace import PrivateTrace, Statistics, listen, tokens_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.verify.comparing import Loaded, Window, Work
    from voxport.verify.outcome import SideFacts

__all__ = [
    "PrivateOutcome",
    "PrivateStage",
    "PrivateWindow",
    "compare_private",
    "judge_private",
]


@dataclass(frozen=True)
class PrivateStage:
    """One stage of one window, on both sides."""

    name: str
    kind: str
    reference: Statistics
    candidate: Statistics

    @property
    def difference(self) -> float:
        """The larger difference of mean and root mean square, as a share of the reference's root mean square."""
        ours, theirs = self.candidate, self.reference
        if ours.count != theirs.count:
            return math.inf
        return max(abs(ours.mean - theirs.mean), abs(ours.rms - theirs.rms)) / max(theirs.rms, 1e-30)


@dataclass(frozen=True)
class PrivateWindow:
    """One window.

    Attributes:
        file, start, seconds: here, on the candidate's machine.
        same_tokens: whether both said the same.
        stages: those that the trace has, which depend on the sound alone.
        failure: why the candidate gave nothing, or None.
    """

    file: str
    start: float
    seconds: float
    same_tokens: bool
    stages: tuple[PrivateStage, ...]
    failure: str | None = None


@dataclass(frozen=True)
class PrivateOutcome:
    """All windows."""

    model: str
    family: str
    reference: SideFacts
    candidate: SideFacts
    windows: tuple[PrivateWindow, ...]
    notes: tuple[str, ...] = ()

    def worst_stages(self) -> dict[str, float]:
        """Stage -> its largest difference over all windows, in the network's order."""
        found: dict[str, float] = {}
        for window in self.windows:
            for stage in window.stages:
                found[stage.name] = max(found.get(stage.name, 0.0), stage.difference)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare_private(
    trace: PrivateTrace,
    candidate: Loaded,
    windows: Sequence[Window],
    work: Work,
    progress: Callable[[int, int, str], None],
) -> PrivateOutcome:
    """Hold a candidate against it.

    Raises:
        UsageError: other weights, other recordings, or another family.
    """
    model: Any = candidate.model
    if trace.identity != model.info.identity:
        raise UsageError(
            f"the trace {trace.path} was made with other weights "
            f"({trace.identity[:12]}, not {model.info.identity[:12]})",
            hint="the same model in the same files is needed",
        )
    if not windows:
        raise UsageError("there is nothing to compare: the recordings are too short")
    if candidate.side.batch is not None:
        raise UsageError("against a private trace windows are heard one by one", hint="leave +batch= out")
    known = [trace.window(window.audio) for window in windows]  # before any work
    kinds = {stage.name: stage.kind for stage in model.stages()} if isinstance(model, Inspectable) else {}
    results = []
    for index, (window, (wanted, theirs)) in enumerate(zip(windows, known, strict=True)):
        progress(index, len(windows), window.file)
        try:
            tokens, ours = listen(candidate, window, work, [name for name in theirs if name in kinds])
        except DecodingError as error:
            results.append(
                PrivateWindow(window.file, window.start, window.audio.duration, False, (), failure=str(error))
            )
            continue
        same = hmac.compare_digest(tokens_hash(window.audio, tokens), wanted)
        stages = tuple(
            PrivateStage(name, kinds[name], statistics, ours[name])
            for name, statistics in theirs.items()
            if name in ours
        )
        results.append(PrivateWindow(window.file, window.start, window.audio.duration, same, stages))
    notes = (
        ()
        if any(one.stages for one in results)
        else ("the trace has no stages of these recordings: only tokens are compared",)
    )
    return PrivateOutcome(model.name, trace.family, trace.facts, candidate.facts(), tuple(results), notes)


def judge_private(outcome: PrivateOutcome) -> Verdict:
    """By what a private trace allows."""
    windows = outcome.windows
    failed = [window for window in windows if window.failure is not None]
    other = [window for window in windows if not window.same_tokens]
    lost = [
        (stage.candidate.non_finite, f"{window.file}, {stage.name}") for window in windows for stage in window.stages
    ]
    looked = [window for window in windows if window.stages]
    differences = outcome.worst_stages()
    limit = max(limits.STATISTICS[outcome.reference.dtype], limits.STATISTICS[outcome.candidate.dtype])
    worst = max(differences, key=lambda name: differences[name], default="")
    most, first = max(lost, default=(0, ""), key=lambda pair: pair[0])
    value = differences.get(worst, math.nan)
    checks: tuple[Check, ...] = (
        Check("windows that gave nothing", len(failed), 0, not failed, failed[0].failure or "" if failed else ""),
        Check("windows with other tokens", len(other), 0, not other, other[0].file if other else ""),
        Check("values that are not finite", most, 0, not most, first if most else ""),
    )
    if looked:
        checks = (*checks, Check("stages: difference of mean or rms", value, limit, value <= limit, worst))
    return Verdict("private", all(check.ok for check in checks), checks, PRIVATE_CANNOT_SHOW)
