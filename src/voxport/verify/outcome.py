"""What a comparison of two sides found: plain numbers and words, per window and in sum. Nothing here judges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxport.metrics import Histogram

__all__ = ["Difference", "Finding", "Outcome", "SideFacts", "StageResult", "WindowResult"]


@dataclass(frozen=True)
class StageResult:
    """One stage of the network.

    Attributes:
        name: published module path.
        kind: of the stage, see `voxport.models.stages`.
        passed: metrics of the candidate's result against the reference's, each in its own forward pass: errors of all
            stages before are in it.
        made: metrics of the candidate's stage on the reference's own inputs: the error that is made here. None where
            the candidate's engine can't compute the stage alone.
    """

    name: str
    kind: str
    passed: dict[str, float]
    made: dict[str, float] | None = None


@dataclass(frozen=True)
class Difference:
    """A position where the likeliest token differs, both sides given the reference's tokens before it.

    Attributes:
        position: of the decoder's input, or frame.
        reference, candidate: tokens.
        margin: the reference's logit of its token minus that of its second: how sure it was.
    """

    position: int
    reference: int
    candidate: int
    margin: float


@dataclass(frozen=True)
class Finding:
    """A module in which an error is made.

    Attributes:
        module: published path.
        kind: of its stage.
        error: relative L2 that is made there, on the reference's inputs; NaN if nothing finite comes out.
        limit: what rounding may do there.
        cause: from the catalogue, or "unknown".
        evidence: what speaks for it, with numbers.
    """

    module: str
    kind: str
    error: float
    limit: float
    cause: str
    evidence: str


@dataclass(frozen=True)
class WindowResult:
    """One window of one recording.

    Attributes:
        file, start, seconds: which.
        features: metrics of the candidate's own features against the reference's; both sides encode the reference's.
        logits: metrics of the logits, teacher-forced on the reference's tokens (CTC: frame by frame).
        probabilities: ``max_probability``, ``kl``, ``top1`` of the same.
        positions: how many.
        differences: where the likeliest token differs.
        tokens: of the free decoding, (reference, candidate).
        text: likewise.
        token_edits, word_edits, character_edits: (edit distance, reference's count).
        stages: where they were looked at.
        findings: modules in which more than rounding happens, worst first.
        path: metrics of the fast path's logits against the table's of the candidate, or None.
        failure: why the candidate gave nothing (an overflow, say), or None.
        logit_differences: how many of the logits above differ by how much, or None as they are.
    """

    file: str
    start: float
    seconds: float
    features: dict[str, float] | None
    logits: dict[str, float] | None
    probabilities: dict[str, float] | None
    positions: int
    differences: tuple[Difference, ...]
    tokens: tuple[tuple[int, ...], tuple[int, ...]]
    text: tuple[str, str]
    token_edits: tuple[int, int]
    word_edits: tuple[int, int]
    character_edits: tuple[int, int]
    stages: tuple[StageResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    path: dict[str, float] | None = None
    failure: str | None = None
    logit_differences: Histogram | None = None


@dataclass(frozen=True)
class SideFacts:
    """Who was compared.

    Attributes:
        side: as `voxport.sides.Side` writes it.
        engine, device, dtype: what ran.
        identity: of the weights.
        environment: `Device.describe`.
        simulated: None, or what the device is a simulation of.
        random_weights: made for tests: the words mean nothing.
        float32_modules: modules in float32 although `dtype` is another.
    """

    side: str
    engine: str
    device: str
    dtype: str
    identity: str
    environment: dict[str, Any]
    simulated: str | None
    random_weights: bool
    float32_modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """All windows of all recordings.

    Attributes:
        model, family: which.
        reference, candidate: the sides.
        windows: in the order of the recordings.
        notes: what a reader must know.
        seconds: wall time by part.
    """

    model: str
    family: str
    reference: SideFacts
    candidate: SideFacts
    windows: tuple[WindowResult, ...]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def total(self, name: str) -> tuple[int, int]:
        """(errors, reference's count) of all windows: ``token_edits``, ``word_edits``, ``character_edits``."""
        pairs = [getattr(window, name) for window in self.windows]
        return sum(errors for errors, _ in pairs), sum(count for _, count in pairs)

    def worst(self, part: str, metric: str) -> tuple[float, WindowResult] | None:
        """The largest metric of ``logits``, ``probabilities``, ``features`` or ``path``; NaN is the worst."""
        found = [
            (getattr(window, part)[metric], window) for window in self.windows if getattr(window, part) is not None
        ]
        return max(found, key=lambda pair: (pair[0] != pair[0], pair[0]), default=None)

    def worst_stages(self, part: str, metric: str) -> dict[str, float]:
        """Stage name -> the largest value over all windows of a metric of ``passed`` or ``made``; NaN is the worst."""
        found: dict[str, float] = {}
        for window in self.windows:
            for stage in window.stages:
                metrics = getattr(stage, part)
                if metrics is None:
                    continue
                value, before = metrics[metric], found.get(stage.name)
                if before is None or value != value or value > before:
                    found[stage.name] = value
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
