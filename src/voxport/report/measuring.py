"""All that a report tells, measured in one run: the environment, verify, bench; score where references are given."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.bench import BenchOptions
from voxport.bench import run as measure_speed
from voxport.devices import get_device
from voxport.doctor import examine
from voxport.errors import UsageError
from voxport.models.hub.catalog import MODELS
from voxport.report.measurements import SCHEMA_VERSION, Measurements
from voxport.report.memory_sampling import MemorySampler
from voxport.report.publishing import folders_of, without_folders
from voxport.report.scoring import score_sides
from voxport.sides import default_reference
from voxport.types import DecodingOptions
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.models.hub.progress import Progress
    from voxport.report.options import ReportOptions
    from voxport.sides import Side
    from voxport.verify.comparing import Loaded

__all__ = ["measure"]

SWEEP_ITERATIONS = 4
"""Timed at each length: the fewest that have an interval. A report is to be had within the hour on a CPU too."""


def measure(
    options: ReportOptions,
    recordings: Sequence[str],
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Measurements:
    """Everything.

    Args:
        options: what it is about.
        recordings: files.
        progress: told of downloads.
        tell: told what is being done, for a person who waits.

    Raises:
        VoxportError: what can't be measured at all. A candidate that fails is no error: the report says so.
    """
    if not recordings:
        raise UsageError("a report needs recordings", hint="name some files or a folder of real speech")
    reference, told = (options.reference, None) if options.reference is not None else default_reference()
    with MemorySampler(lambda: get_device(options.candidate.device)) as memory:
        memory.enter("environment")
        tell("what is here ...")
        environment = _environment()
        tell("how fast it is ...")  # first, so that its cold start is one
        speed = _speed(options, reference, recordings, progress, tell, memory.enter)
        memory.enter("accuracy")
        verified = _verify(options, reference, recordings, [told] if told else [], progress, tell)
        scored = None
        if options.manifest is not None:
            memory.enter("errors")
            scored = score_sides(options, {"candidate": options.candidate, "reference": reference}, progress, tell)
    for side in speed["sides"]:
        del side["model"]["path"]
    model = speed["sides"][0]["model"]
    known = MODELS.get(model["name"])
    summary = {
        "schema": SCHEMA_VERSION,
        "voxport": __version__,
        "made": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "model": {
            **{key: model[key] for key in ("name", "family", "identity", "random_weights")},
            "sources": {} if known is None else dict(known.repositories),
            "licence": "" if known is None else known.licence,
        },
        "candidate": str(options.candidate),
        "reference": str(reference),
        "options": {
            "policy": options.policy,
            "policy_file": Path(options.policy).read_text(encoding="utf-8") if _is_file(options.policy) else None,
            "warmup": options.warmup,
            "iterations": options.iterations,
            "language": options.language,
            "manifest": None if options.manifest is None else options.manifest.name,
        },
        "recordings": [
            {"file": name, "seconds": sum(one["seconds"] for one in verified["windows"] if one["file"] == name)}
            for name in dict.fromkeys(one["file"] for one in verified["windows"])
        ],
    }
    found = Measurements(summary, environment, verified, speed, scored, memory.to_dict())
    folders = folders_of(_paths(options, reference, recordings))
    return Measurements(**{name: without_folders(part, folders) for name, part in vars(found).items()})


def _speed(
    options: ReportOptions,
    reference: Side,
    recordings: Sequence[str],
    progress: Progress | None,
    tell: Callable[[str], None],
    enter: Callable[[str], None],
) -> dict[str, Any]:
    """As ``voxport bench --json``."""
    return measure_speed(
        BenchOptions(
            options.model,
            options.candidate,
            against=reference,
            warmup=options.warmup,
            iterations=options.iterations,
            language=options.language,
            sweep=None if options.points is None else "length",
            points=options.points,
            sweep_iterations=None if options.points is None else min(options.iterations, SWEEP_ITERATIONS),
            source=options.source,
            offline=options.offline,
        ),
        recordings,
        progress=progress,
        tell=tell,
        enter=enter,
    )


def _is_file(policy: str) -> bool:
    """Whether it is one of somebody's own, which goes with the report."""
    return policy.endswith(".toml")


def _environment() -> dict[str, Any]:
    """What `voxport doctor` finds, without what tells of somebody: paths, models that are here."""
    found = examine().to_dict()
    found["python"] = {"version": found["python"]["version"]}
    return {key: value for key, value in found.items() if key not in ("home", "models")}


def _paths(options: ReportOptions, reference: Side, recordings: Sequence[str]) -> list[str]:
    """Everything that was given as a path, or may have been."""
    found = [*recordings, str(Path.home() / "x")]
    found += [path for side in (options.candidate, reference) for path in (side.model, side.recipe) if path]
    found += [str(options.manifest)] if options.manifest is not None else []
    found += [options.policy] if _is_file(options.policy) else []
    return [*found, options.model] if Path(options.model).exists() else found


def _verify(
    options: ReportOptions,
    reference: Side,
    recordings: Sequence[str],
    notes: Sequence[str],
    progress: Progress | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """As ``voxport verify --json``."""
    from voxport.verify import Comparison, Work, get_policy, windows_of

    policy = get_policy(options.policy)
    theirs, ours = (_loaded(side, options, progress, tell) for side in (reference, options.candidate))
    decoding = DecodingOptions(language=options.language, no_speech_threshold=None)
    comparison = Comparison(
        theirs,
        ours,
        Work(decoding, look_at=options.look_at),
        lambda done, total, file: tell(f"are the words the same: window {done + 1} of {total}  {file}"),
    )
    outcome = comparison.run(windows_of(recordings, ours.model), notes)
    return {"verdict": asdict(policy.judge(outcome)), "asks": policy.asks, **outcome.to_dict()}


def _loaded(side: Side, options: ReportOptions, progress: Progress | None, tell: Callable[[str], None]) -> Loaded:
    from voxport.verify import Loaded

    tell(f"loading {side} ...")
    return Loaded(side, side.load(options.model, source=options.source, offline=options.offline, progress=progress))
