"""The work of ``voxport verify``: a reference and a candidate, or what one machine keeps for another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voxport.cli.terminal import warn
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from voxport.cli.progress import Progress
    from voxport.models import ASRModel
    from voxport.models.recipe import Recipe
    from voxport.sides import Side
    from voxport.verify.comparing import Loaded, Window, Work
    from voxport.verify.outcome import Outcome
    from voxport.verify.policies import Policy, Verdict
    from voxport.verify.private import PrivateOutcome

__all__ = ["VerifyJob"]


@dataclass
class VerifyJob:
    """Recordings, and how to load a side.

    Attributes:
        recordings: files.
        load: gives a side's model; takes the options `recipe` and `offline` of `Side.load`.
        look_at: recordings whose stages are looked at.
        language: spoken, None = detected by the reference.
        timestamps: whether to decode with them.
        progress: what is being done.
    """

    recordings: Sequence[str]
    load: Callable[..., ASRModel]
    look_at: int
    language: str | None
    timestamps: bool
    progress: Progress

    def save(self, reference: str | None, path: Path, *, private: bool) -> None:
        """Write what the reference does to a file."""
        from voxport.verify import save_trace, windows_of
        from voxport.verify.private import save_private

        loaded, work, _ = self._reference(reference)
        write = save_private if private else save_trace
        write(path, loaded, windows_of(self.recordings, loaded.model), work, self._show)

    def compare_private(self, candidate: Side, path: Path) -> tuple[PrivateOutcome, Verdict]:
        """Hold a candidate against a private trace."""
        from voxport.verify import Work, windows_of
        from voxport.verify.private import PrivateTrace, compare_private, judge_private

        trace = PrivateTrace(path)
        loaded = self._loaded(candidate)
        work = Work(trace.options, look_at=self.look_at)
        outcome = compare_private(trace, loaded, windows_of(self.recordings, loaded.model), work, self._show)
        return outcome, judge_private(outcome)

    def compare(
        self, candidate: Side, reference: str | None, against: Path | None, policy: Policy, recipe: Path | None
    ) -> tuple[Outcome, dict[str, Any] | None]:
        """Compare; and where that fails and a recipe is asked for, find one and compare with it.

        Returns:
            What was found, and what to tell of the advice.
        """
        from voxport.verify import Comparison, windows_of

        if recipe is not None:
            _check_advisable(candidate)
        theirs, work, notes = self._reference(reference) if against is None else self._recorded(against)
        ours = self._loaded(candidate)
        windows = windows_of(self.recordings, ours.model)
        outcome = Comparison(theirs, ours, work, self._show).run(windows, notes)
        if recipe is None:
            return outcome, None
        if policy.judge(outcome).ok:
            text = f"no recipe is needed: {recipe} is not written"
            return replace(outcome, notes=(*notes, text)), {"recipe": None, "text": text}
        del ours  # the trials need its place
        advised, advice = self._advise(candidate, theirs, outcome, windows, work, policy, recipe)
        if advised is None:
            return replace(outcome, notes=(*notes, advice["text"])), advice
        ours = self._loaded(advised)
        return Comparison(theirs, ours, work, self._show).run(windows, (*notes, advice["text"])), advice

    def _reference(self, reference: str | None) -> tuple[Loaded, Work, tuple[str, ...]]:
        from voxport.sides import Side, default_reference
        from voxport.types import DecodingOptions
        from voxport.verify import Work

        side, told = (Side.parse(reference), None) if reference else default_reference()
        if told:
            warn(told)
        options = DecodingOptions(language=self.language, timestamps=self.timestamps, no_speech_threshold=None)
        return self._loaded(side), Work(options, look_at=self.look_at), (told,) if told else ()

    def _recorded(self, path: Path) -> tuple[Loaded, Work, tuple[str, ...]]:
        from voxport.sides import Side
        from voxport.verify import Loaded, RecordedModel, Work

        recorded = RecordedModel(path)
        return Loaded(Side.parse(recorded.facts.side), recorded), Work(recorded.options, look_at=self.look_at), ()

    def _loaded(self, side: Side) -> Loaded:
        from voxport.verify import Loaded

        self.progress.status(f"loading {side}")
        model = self.load(side)
        self.progress.clear()
        return Loaded(side, model)

    def _advise(
        self,
        side: Side,
        reference: Loaded,
        failed: Outcome,
        windows: Sequence[Window],
        work: Work,
        policy: Policy,
        path: Path,
    ) -> tuple[Side | None, dict[str, Any]]:
        """Write a recipe with which the candidate passes; the side that it makes, and what to tell."""
        from voxport.verify import Loaded, advise

        if failed.candidate.dtype == "float32":
            raise _nothing_to_advise(side)

        def load(recipe: Recipe) -> Loaded:
            return Loaded(side, self.load(side, recipe=recipe, offline=True))

        advice = advise(reference, load, windows, work, policy, failed, self.progress.status)
        found: dict[str, Any] = {"modules": advice.modules, "near_range": advice.near_range, "trials": advice.trials}
        if advice.recipe is None:
            text = f"no recipe: it fails even with all {advice.modules} modules in float32: precision is not the cause"
            return None, {"recipe": None, **found, "text": text}
        kept = f"{len(advice.recipe.float32)} of {advice.modules} modules"
        origin = {
            "model": failed.model,
            "weights": failed.candidate.identity,
            "candidate": str(side),
            "reference": failed.reference.side,
            "policy": policy.name,
            "windows": str(len(windows)),
            "kept": kept,
        }
        replace(advice.recipe, found=tuple(origin.items())).write(path)
        text = f"without a recipe it fails; {path} keeps {kept} in float32 ({advice.trials} trials)"
        if advice.near_range:
            text += f", {advice.near_range} of them since their values come near the end of float16's range"
        told = {"recipe": str(path), "float32": list(advice.recipe.float32), **found, "text": text}
        return replace(side, recipe=str(path)), told

    def _show(self, done: int, total: int, file: str) -> None:
        self.progress.status(f"window {done + 1} of {total}  {file}")


def _check_advisable(side: Side) -> None:
    """Before any work; what dtype "auto" means is known only when the side is loaded."""
    if side.engine != "voxport" or side.recipe is not None or side.graph or side.dtype == "float32":
        raise _nothing_to_advise(side)


def _nothing_to_advise(side: Side) -> UsageError:
    return UsageError(
        f"there is nothing to advise for {side}: a recipe is for voxport's own engine in float16 or bfloat16, without "
        "compiled steps"
    )
