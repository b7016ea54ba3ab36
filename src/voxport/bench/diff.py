"""Two measurements: what changed beyond the noise, and what was different about the conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.bench.results import SCOPES, STAGES, TITLES, per_second
from voxport.bench.statistics import compare_unpaired
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FLOOR", "Difference", "Metric", "compare_results"]

FLOOR = 0.03
"""Two runs of the same thing on the same machine differ by some percent (where its memory lies, how warm it is), which
no interval within one run knows of. Less than this is noise, whatever the interval says."""

ONCE_FLOOR = 0.10
"""For figures that were taken once."""


@dataclass(frozen=True)
class Metric:
    """One figure in both.

    Attributes:
        title: e.g. "A encode".
        unit: "ms" or "GiB".
        first, second: in seconds or bytes.
        ratio: second / first.
        low, high: its 95 % interval; None where there is none.
        verdict: "faster", "slower", "less", "more", "within noise", or why nothing can be said.
    """

    title: str
    unit: str
    first: float
    second: float
    ratio: float
    low: float | None
    high: float | None
    verdict: str

    def shown(self, value: float) -> str:
        return f"{value * 1000:.4g} ms" if self.unit == "ms" else f"{value / 2**30:.3f} GiB"

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "unit": self.unit,
            "first": self.first,
            "second": self.second,
            "ratio": self.ratio,
            "interval": None if self.low is None else [self.low, self.high],
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Difference:
    """Two measurements side by side.

    Attributes:
        changes: conditions that differ, in words.
        metrics: figures in both.
    """

    changes: tuple[str, ...]
    metrics: tuple[Metric, ...]

    def changed(self) -> list[Metric]:
        """Those beyond the noise."""
        return [metric for metric in self.metrics if metric.verdict in ("faster", "slower", "less", "more")]

    def summary(self) -> str:
        """One sentence."""
        changed = self.changed()
        floor = f"a change below {FLOOR:.0%} ({ONCE_FLOOR:.0%} where it was measured once) counts as noise"
        if not changed:
            return f"nothing changed beyond the noise; {floor}"
        return f"{len(changed)} of {len(self.metrics)} figures changed beyond the noise; {floor}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``bench diff --json``."""
        return {
            "schema": 1,
            "kind": "voxport bench diff",
            "floor": FLOOR,
            "changes": list(self.changes),
            "metrics": [metric.to_dict() for metric in self.metrics],
        }


def compare_results(first: dict[str, Any], second: dict[str, Any], seed: int = 0) -> Difference:
    """What changed from the first measurement to the second.

    Raises:
        UsageError: they measured different work: other recordings, batches, numbers of tokens, or another scope.
    """
    _require_same_work(first, second)
    metrics: list[Metric] = []
    for ours, theirs in zip(first["sides"], second["sides"], strict=True):
        label = f"{ours['label']} " if len(first["sides"]) > 1 else ""
        metrics += _speeds(ours, theirs, label, seed)
        metrics += _once(ours, theirs, label)
    return Difference(tuple(_changes(first, second)), tuple(metrics))


def _require_same_work(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Figures about different work are not compared."""

    def work(result: dict[str, Any]) -> dict[str, Any]:
        conditions, sides = result["conditions"], result["sides"]
        return {
            "number of sides": len(sides),
            "recordings (sha256 of their samples)": [clip["sha256"][:12] for clip in conditions["clips"]],
            "model family": [side["model"]["family"] for side in sides],
            "batch sizes": [side["batch"] for side in sides],
            "forced tokens": conditions["forced_tokens"],
            "way end to end": conditions["end_to_end"],
            "speech detection": conditions["vad"],
            "language": conditions["language"],
        }

    one, two = work(first), work(second)
    for name in one:
        if one[name] != two[name]:
            raise UsageError(
                f"the two measured different work, {name}: {_said(one[name])} and {_said(two[name])}",
                hint="measure both with the same recordings and options",
            )


def _changes(first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    """Conditions that differ."""
    for ours, theirs in zip(first["sides"], second["sides"], strict=True):
        for name in ("side", "engine", "engine_version", "attention", "device", "dtype", "precision", "threads"):
            if ours[name] != theirs[name]:
                yield f"{ours['label']}: {name.replace('_', ' ')} was {_said(ours[name])}, is {_said(theirs[name])}"
        kept = [len(side.get("float32_modules", ())) for side in (ours, theirs)]
        if ours.get("float32_modules", []) != theirs.get("float32_modules", []):
            yield f"{ours['label']}: other modules in float32, {kept[0]} and {kept[1]}"
        if ours["model"]["identity"] != theirs["model"]["identity"]:
            names = (f"{side['model']['name']} ({side['model']['identity'][:12]})" for side in (ours, theirs))
            yield f"{ours['label']}: other weights, {' and '.join(names)}"
        if ours["simulated"] != theirs["simulated"]:
            yield f"{ours['label']}: one of both ran on a simulated device: its times are the CPU's"
        for name in ("chip", "driver", "cann", "cuda", "fused"):
            before, after = ours["environment"].get(name), theirs["environment"].get(name)
            if before != after:
                yield f"{ours['label']}: {name} was {_said(before)}, is {_said(after)}"
        if ours["text_sha256"] != theirs["text_sha256"]:
            yield f"{ours['label']}: says other words now"
    for group in ("machine", "versions", "environment"):
        before, after = first["conditions"][group], second["conditions"][group]
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                yield f"{name} was {_said(before.get(name))}, is {_said(after.get(name))}"
    for name, result in (("first", first), ("second", second)):
        if not result["noise"]["quiet"]:
            yield f"the machine was noisy in the {name}: {'; '.join(result['noise']['findings'])}"


def _speeds(first: dict[str, Any], second: dict[str, Any], label: str, seed: int) -> Iterator[Metric]:
    """Scopes and stages, compared for a second of audio."""
    stages = [name for name in STAGES if name in first["stages"] and name in second["stages"]]
    for name in [*SCOPES, *stages]:
        kind = "scopes" if name in SCOPES else "stages"
        before, after = per_second(first, name), per_second(second, name)
        medians = [side[kind][name]["latency"]["median"] for side in (first, second)]
        title = f"{label}{TITLES[name]}"
        if min(*before, *after, *medians) <= 0:
            continue
        ratio = compare_unpaired(after, before, seed)
        if ratio.interval is None:
            yield Metric(title, "ms", medians[0], medians[1], ratio.median, None, None, "too few iterations")
            continue
        low, high = ratio.interval.low, ratio.interval.high
        yield Metric(title, "ms", medians[0], medians[1], ratio.median, low, high, verdict(ratio.median, low, high))


def verdict(ratio: float, low: float, high: float) -> str:
    """Of times: beyond the noise is what the interval and the floor both say."""
    if low <= 1 <= high or abs(ratio - 1) < FLOOR:
        return "within noise"
    return "slower" if ratio > 1 else "faster"


def _once(first: dict[str, Any], second: dict[str, Any], label: str) -> Iterator[Metric]:
    """Figures that were taken once: loading, first calls, memory."""
    titles = {
        "load": "load",
        "first_model": "first call, model only",
        "first_end_to_end": "first recording, end to end",
    }
    for name, title in titles.items():
        yield from _single(f"{label}{title}", "ms", first["cold_start"][name], second["cold_start"][name])
    names = {"host_growth": "host memory", "device_allocated": "device memory, tensors"}
    for name, title in names.items():
        before, after = ((side["memory"] or {}).get(name) for side in (first, second))
        yield from _single(f"{label}{title}", "GiB", before, after)


def _single(title: str, unit: str, before: float | None, after: float | None) -> Iterator[Metric]:
    if not before or not after:
        return
    ratio = after / before
    words = ("slower", "faster") if unit == "ms" else ("more", "less")
    said = "within noise" if abs(ratio - 1) < ONCE_FLOOR else words[0] if ratio > 1 else words[1]
    yield Metric(title, unit, before, after, ratio, None, None, said)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
