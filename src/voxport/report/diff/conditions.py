"""Under what two reports were made: rows that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.report.content import content_of

if TYPE_CHECKING:
    from voxport.report.measurements import Measurements

__all__ = ["Condition", "conditions_that_differ"]

OPTIONS = ("policy", "language", "warmup", "iterations", "manifest")
SIDE_FACTS = ("engine_version", "attention", "precision", "batch", "fused", "chip", "driver", "cann")
NOTHING = "-"


@dataclass(frozen=True)
class Condition:
    """One that differs.

    Attributes:
        key: of the wording, or a name that stands for itself: a package's, a variable's.
        first, second: "-" where there is none.
    """

    key: str
    first: str
    second: str


def conditions_that_differ(first: Measurements, second: Measurements) -> tuple[Condition, ...]:
    """What was asked for, then the environment as reports show it, the reference's, packages, variables."""
    before, after = _conditions(first), _conditions(second)
    return tuple(
        Condition(key, before.get(key, NOTHING), after.get(key, NOTHING))
        for key in dict.fromkeys([*before, *after])
        if before.get(key, NOTHING) != after.get(key, NOTHING)
    )


def _conditions(measured: Measurements) -> dict[str, str]:
    summary, bench = measured.summary, measured.bench
    found: dict[str, Any] = {
        "model": summary["model"]["name"],
        "candidate": summary["candidate"],
        "reference": summary["reference"],
        "requirements": measured.verify["asks"],
        **{name: summary["options"].get(name) for name in OPTIONS},
        "recordings": ", ".join(f"{one['file']} ({one['seconds']:.2f} s)" for one in summary["recordings"]),
        **{row.key: row.cells[0] for row in content_of(measured).environment},
    }
    for name, side in (("candidate", bench["sides"][0]), ("reference", bench["sides"][1])):
        facts = {**side["environment"], **side}
        found.update({f"{name}.{fact}": facts.get(fact) for fact in SIDE_FACTS})
        found[f"{name}.float32_modules"] = len(side.get("float32_modules", ()))
    for fact in ("chip", "driver", "cann"):  # the candidate's are in the report's own table
        del found[f"candidate.{fact}"]
    versions = bench["conditions"]["versions"]
    found.update({name: version for name, version in versions.items() if name not in found})
    found.update(bench["conditions"]["environment"])
    return {key: _said(value) for key, value in found.items()}


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or NOTHING
    return NOTHING if value is None else str(value)
