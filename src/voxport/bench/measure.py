"""The whole measurement: load, warm up, take turns, look at the machine, put it all into one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.bench import conditions
from voxport.bench.clips import batches, first_windows, read_clips
from voxport.bench.costs import model_costs
from voxport.bench.noise import judge, take_snapshot
from voxport.bench.options import FORCED_TOKENS
from voxport.bench.results import KIND, SCHEMA_VERSION, comparison, definitions, per_second, side_result
from voxport.bench.roofline import Ceilings, measure_ceilings
from voxport.bench.stages import TASKS, Work, agree, settle
from voxport.bench.subject import Subject, import_seconds, load_subject
from voxport.bench.sweep import run_sweep
from voxport.bench.timing import Samples, measure
from voxport.bench.trace import trace
from voxport.devices import get_device
from voxport.errors import UnsupportedOptionError
from voxport.models import can_join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.bench.clips import Clip
    from voxport.bench.options import BenchOptions
    from voxport.models.hub.progress import Progress

__all__ = ["run"]

LABELS = ("A", "B")


def run(
    options: BenchOptions,
    recordings: Sequence[str],
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda text: None,
    enter: Callable[[str], None] = lambda phase: None,
) -> dict[str, Any]:
    """Measure, and return the JSON object of it (docs/guides/bench.md).

    Args:
        options: what is measured and how.
        recordings: paths, or "-".
        progress: told of downloads.
        tell: told what is being done, for a person who waits.
        enter: told which phase begins: "load A" and "load B" (a side, warmed up), "rounds", "ceilings", "sweep".

    Raises:
        VoxportError: nothing is measured by halves: the first clip or side that fails ends it.
    """
    torch_seconds = import_seconds()
    for side in options.sides():
        get_device(side.device)
    clips = read_clips(recordings)
    subjects, works, forced = _prepare(options, clips, torch_seconds, progress, tell, enter)
    enter("rounds")
    before = take_snapshot()
    samples = measure(
        works,
        TASKS,
        options.iterations,
        seed=options.seed,
        tell=lambda done: tell(f"round {done + 1} of {options.iterations} ..."),
    )
    after = take_snapshot()
    enter("ceilings")
    ceilings = _ceilings(subjects, tell)
    sides = [
        _side(subject, work, taken, found, options.seed)
        for subject, work, taken, found in zip(subjects, works, samples, ceilings, strict=True)
    ]
    if options.sweep is not None:
        enter("sweep")
    result: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "kind": KIND,
        "conditions": {
            **conditions.methods(options, clips, whole=works[0].whole, forced=forced),
            "machine": conditions.machine(),
            "versions": conditions.versions(),
            "environment": conditions.environment(),
        },
        "sides": sides,
        "comparison": comparison(sides[0], sides[1], options.seed) if len(sides) > 1 else None,
        "noise": judge(before, after, _series(sides)).to_dict(),
        "sweep": None if options.sweep is None else run_sweep(options, subjects, works, clips, forced, tell),
        "profile": None,
        "notes": _notes(subjects, works, forced),
        "definitions": definitions(whole=works[0].whole),
    }
    if options.profile is not None:
        tell("one iteration under the profiler ...")
        result["profile"] = {"side": "A", "by": trace(works[0], options.profile)}
    return result


def _prepare(
    options: BenchOptions,
    clips: Sequence[Clip],
    torch_seconds: float | None,
    progress: Progress | None,
    tell: Callable[[str], None],
    enter: Callable[[str], None],
) -> tuple[list[Subject], list[Work], int | None]:
    """Load each side and warm it up before the next one is loaded: its cold start and memory are then its own."""
    subjects: list[Subject] = []
    works: list[Work] = []
    forced: int | None = options.tokens
    for label, side in zip(LABELS, options.sides(), strict=False):
        tell(f"loading {side} ...")
        enter(f"load {label}")
        subject = load_subject(side, label, options, progress)
        subject.cold.torch, torch_seconds = torch_seconds, None
        if forced is None and subject.model.info.random_weights:
            forced = FORCED_TOKENS
        work = Work(
            model=subject.model,
            environment=subject.running,
            groups=batches(first_windows(clips, subject.model.max_seconds), options.batch_of(side)),
            clips=clips,
            language=options.language,
            vad=options.vad,
            pipeline_batch=side.batch or options.batch,
            whole=not can_join(subject.model) or any(one.whole for one in works),
        )
        if forced is not None:
            agree([work], forced)
        work.check()
        tell(f"warming up {side} ...")
        subject.warm_up(work, options.warmup)
        subjects.append(subject)
        works.append(work)
    if len(subjects) > 1:
        subjects[0].share_process(subjects[1])
    for work in works:
        work.whole = any(one.whole for one in works)
        work.check()
    if options.tokens is not None and not any(work.counts for work in works):
        raise UnsupportedOptionError(
            f"{works[0].model.name} does not go token by token: there is no number of tokens to set",
            hint="leave --tokens out",
        )
    agree(works, forced)
    settle(works)
    return subjects, works, forced if any(work.counts for work in works) else None


def _ceilings(subjects: Sequence[Subject], tell: Callable[[str], None]) -> list[Ceilings]:
    """What each side's device can do at best; measured once where device, dtype and threads are the same."""
    found: dict[tuple[str, str, int], Ceilings] = {}
    keys = []
    for subject in subjects:
        device, dtype = subject.model.device, subject.model.dtype
        key = (str(device), dtype, subject.threads)
        keys.append(key)
        if key not in found:
            tell(f"what {device} can do at best ...")
            with subject.running():
                found[key] = measure_ceilings(device, dtype)
    return [found[key] for key in keys]


def _side(subject: Subject, work: Work, samples: Samples, ceilings: Ceilings, seed: int) -> dict[str, Any]:
    costs = [model_costs(subject.model, group) for group in work.groups]
    counted = [one for one in costs if one is not None]
    operations = sum(one.encoder_operations for one in counted) if len(counted) == len(costs) else None
    step = counted[0].step_bytes if counted else None
    return side_result(subject, work, samples, ceilings, operations, step, seed)


def _series(sides: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """What is looked at for noise: each side's scopes, round by round."""
    titles = {"model": "model only", "end_to_end": "end to end"}
    return {f"{side['label']} {title}": per_second(side, name) for side in sides for name, title in titles.items()}


def _notes(subjects: Sequence[Subject], works: Sequence[Work], forced: int | None) -> list[str]:
    """What a reader of the figures must know first."""
    notes = []
    for subject in subjects:
        device = subject.model.device
        if device.simulated:
            notes.append(
                f"{subject.label}: {device} is simulated on the CPU: its times are the CPU's, and nothing measured on "
                "it is an NPU's performance"
            )
        if device.choice:
            notes.append(f"{subject.label}: {device.choice}")
    random = [subject.label for subject in subjects if subject.model.info.random_weights]
    if random:
        notes.append(f"random weights in {' and '.join(random)}: what is said means nothing, only the times do")
    if len({subject.model.info.identity for subject in subjects}) > 1:
        notes.append("the sides have different weights")
    if len({len(work.groups[0]) for work in works}) > 1:
        notes.append("the sides have different batch sizes: they are compared for a second of audio")
    longest = min(work.model.max_seconds for work in works)
    if any(clip.seconds > longest for clip in works[0].clips):
        notes.append(f"model only hears the first {longest:g} s of longer clips")
    if forced is not None:
        notes.append(
            f"model only decodes exactly {forced} tokens in each window, whatever is said; end to end decodes to the "
            "end of text"
        )
    return notes
