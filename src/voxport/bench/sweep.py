"""How the cost grows with the length of a recording, or with the number of windows in a batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voxport.bench.clips import batches, first_windows, of_length
from voxport.bench.stages import TASKS, agree, settle
from voxport.bench.statistics import summarise
from voxport.bench.timing import measure
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.bench.clips import Clip
    from voxport.bench.options import BenchOptions
    from voxport.bench.stages import Work
    from voxport.bench.subject import Subject

__all__ = ["exponent", "run_sweep"]


def run_sweep(
    options: BenchOptions,
    subjects: Sequence[Subject],
    works: Sequence[Work],
    clips: Sequence[Clip],
    forced: int | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Measure each point as the main measurement is done: untimed rounds, then rounds in turns.

    - ``length``: the clips after another, over and over, cut off at so many seconds. Model only where one window holds
      them, end to end always.
    - ``batch``: so many windows (the clips' first ones) in a call, model only.

    `forced` tokens a window, or (None) what the first side says there.

    Returns:
        ``by``, ``unit``, ``iterations`` (at each point), ``points`` (each with ``x`` and, by side's label and scope,
        median seconds of a call and the interval) and ``growth`` (by side's label and scope, see `exponent`).
    """
    by = options.sweep
    assert by is not None
    points = []
    for x in options.sweep_points():
        prepared = [_at(work, clips, x, by, forced) for work in works]
        if by == "length" and any(work.whole and x > work.model.max_seconds for work in works):
            continue
        unit = "s" if by == "length" else "windows"
        tell(f"sweep: {x:g} {unit} ...")
        points.append({"x": x, "sides": _measure(prepared, subjects, options)})
    if len(points) < 2:
        raise UsageError("fewer than two points of the sweep can be measured", hint="choose others with --points")
    return {
        "by": by,
        "unit": "seconds of audio" if by == "length" else "windows in a batch",
        "iterations": options.sweep_rounds(),
        "points": points,
        "growth": {
            subject.label: {scope: _growth(points, subject.label, scope) for scope in ("model", "end_to_end")}
            for subject in subjects
        },
    }


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The power of x that the cost grows with: slope of the least-squares line through the logarithms.

    1 is proportional; of fewer than two points None.
    """
    if len(points) < 2:
        return None
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    across = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / across


def _at(work: Work, clips: Sequence[Clip], x: float, by: str, forced: int | None) -> Work:
    """The side's work at one point of the sweep."""
    if by == "length":
        clip = of_length(clips, x)
        groups = [[clip.audio]] if x <= work.model.max_seconds else []
        return replace(work, clips=[clip], groups=groups, counts=_forced(work, forced, groups), hypotheses=[])
    group = batches(first_windows(clips, work.model.max_seconds), int(x))[0]
    return replace(work, clips=[], groups=[group], counts=_forced(work, forced, [group]), hypotheses=[])


def _forced(work: Work, forced: int | None, groups: Sequence[object]) -> list[int]:
    return [] if forced is None or not work.counts else [forced] * len(groups)


def _measure(works: Sequence[Work], subjects: Sequence[Subject], options: BenchOptions) -> dict[str, Any]:
    settle(works)
    if not any(work.counts for work in works):
        agree(works)
        settle(works)
    rounds = measure(works, TASKS, options.sweep_rounds(), seed=options.seed)
    found = {}
    for subject, taken in zip(subjects, rounds, strict=True):
        scopes: dict[str, Any] = {}
        if "encode" in taken:
            pairs = zip(taken.rounds("encode"), taken.rounds("decode"), strict=True)
            scopes["model"] = _figure([[sum(a) + sum(b)] for a, b in pairs], options.seed)
            scopes["encode"] = _figure(taken.rounds("encode"), options.seed)
        if "end_to_end" in taken:
            scopes["end_to_end"] = _figure(taken.rounds("end_to_end"), options.seed)
        found[subject.label] = scopes
    return found


def _figure(rounds: list[list[float]], seed: int) -> dict[str, Any]:
    summary = summarise(rounds, seed)
    interval = summary.median_interval
    return {
        "median": summary.median,
        "interval": None if interval is None else [interval.low, interval.high],
        "rounds": rounds,
    }


def _growth(points: Sequence[dict[str, Any]], label: str, scope: str) -> float | None:
    measured = [(one["x"], one["sides"][label][scope]["median"]) for one in points if scope in one["sides"][label]]
    return exponent(measured)
