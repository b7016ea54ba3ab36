"""The table of speed.py for MedASR: one window by voxport and by transformers, in float32 and bfloat16."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import machine
from interleaved import Column, Engines, Session, Spread, ratio
from recordings import beginning, long_enough, read_manifest
from weights import Weights, has_random_weights, random_medasr
from worker_client import EngineError, Setting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

BASE = "transformers float32"
OURS_BFLOAT16, THEIR_BFLOAT16 = "voxport bfloat16", "transformers bfloat16"
SETTINGS = (
    Setting("voxport float32", "voxport", "window"),
    Setting(BASE, "transformers", "window"),
    Setting(OURS_BFLOAT16, "voxport", "window", "bfloat16"),
    Setting(THEIR_BFLOAT16, "transformers", "window", "bfloat16"),
)
ENGINES = frozenset(setting.engine for setting in SETTINGS)
REQUIRED: dict[str, float] = {"voxport float32": 1.0, OURS_BFLOAT16: 1.7}
"""Column -> how many times as fast as `BASE` it must be."""
REQUIRED_ERROR = 1.1
"""At most so many times the relative L2 of transformers' own bfloat16."""
SECONDS = (11.0, 43.8)
CONDITIONS = (
    "One window from samples in memory: features, network, the likeliest token of every frame, text; batch 1. "
    "transformers with sdpa attention and without attention mask (nothing is padded). Relative L2: of the window's "
    f"logits to those of {BASE}."
)
RANDOM = (
    "**Random weights** of the true shape: what is said means nothing, and whether two engines agree on the likeliest "
    "token neither; so what is compared is the logits."
)


@dataclass
class Table:
    """One clip.

    Attributes:
        clip: name.
        seconds: its length.
        session: the times.
        errors: column -> relative L2 of its logits to `BASE`'s.
    """

    clip: str
    seconds: float
    session: Session
    errors: dict[str, float]

    def faster(self, column: Column) -> Spread:
        """How many times as fast as `BASE`."""
        base = next(column for column in self.session.columns if column.setting.label == BASE)
        return ratio(base, column)

    @property
    def error_ratio(self) -> float | None:
        """Relative L2 of our bfloat16 over that of theirs; None where bfloat16 was left out."""
        if OURS_BFLOAT16 not in self.errors:
            return None
        return self.errors[OURS_BFLOAT16] / self.errors[THEIR_BFLOAT16]

    def missed(self) -> list[str]:
        """Requirements that are missed, in words."""
        found = []
        for column in self.session.columns:
            required, reached = REQUIRED.get(column.setting.label), self.faster(column).median
            if required is not None and not reached >= required:
                found.append(f"{column.setting.label}, {reached:.3g} times as fast, not {required:g}")
        if self.error_ratio is not None and not self.error_ratio <= REQUIRED_ERROR:  # NaN is missed, too
            found.append(f"relative L2 in bfloat16, {self.error_ratio:.3g} times transformers', not {REQUIRED_ERROR:g}")
        return [f"{self.seconds:g} s: {text}" for text in found]


def relative_l2(logits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Column -> length of the difference to `BASE`'s logits, over the length of those.

    Raises:
        EngineError: an engine has another number of frames or tokens.
    """
    import numpy as np

    base = logits[BASE].astype(np.float64)
    found = {}
    for label, values in logits.items():
        if values.shape != base.shape:
            raise EngineError(f"{label}: logits of shape {values.shape}, {BASE} has {base.shape}")
        found[label] = float(np.linalg.norm(values - base) / np.linalg.norm(base))
    return found


def measure(arguments: argparse.Namespace, pythons: dict[str, Path], folder: Path) -> int:
    """Time and compare, print and write the tables; returns the exit status.

    Args:
        arguments: of speed.py.
        pythons: engine -> interpreter.
        folder: for clips and logits.

    Raises:
        EngineError: an engine failed.
    """
    model = arguments.medasr or random_medasr(arguments.environments, pythons["voxport"])
    bfloat16 = machine.has_bfloat16() and not arguments.no_bfloat16
    settings = [setting for setting in SETTINGS if bfloat16 or setting.dtype != "bfloat16"]
    source = long_enough(read_manifest(arguments.manifest), max(SECONDS))
    weights = Weights("medasr", {"huggingface": model.resolve()})
    tables = []
    print(f"medasr: {', '.join(setting.label for setting in settings)}", file=sys.stderr)
    with Engines(settings, weights, pythons, arguments.threads, arguments.log) as loaded:
        for seconds in SECONDS:
            clip = beginning(source, seconds, folder)
            session = loaded.measure([clip], arguments.rounds)
            tables.append(Table(clip.name, seconds, session, relative_l2(loaded.logits(clip, folder))))
    return report(arguments, tables, has_random_weights(model))


def report(arguments: argparse.Namespace, tables: list[Table], random: bool) -> int:
    """Print and write the tables; returns the exit status."""
    missed = [text for table in tables for text in table.missed()]
    bfloat16 = tables[0].error_ratio is not None
    versions = {
        f"{package} {version}"
        for column in tables[0].session.columns
        for package, version in column.versions.items()
        if package in ("voxport", "transformers", "torch")
    }
    conditions = f"{CONDITIONS} {RANDOM}" if random else CONDITIONS
    lines = ["# Speed of MedASR beside transformers", "", f"Machine: {machine.one_line(machine.describe())}."]
    lines += ["", f"Versions: {', '.join(sorted(versions))}. Threads for each: {arguments.threads}.", "", conditions]
    lines += ["", "Engines loaded side by side, one working at a time, in turn; warmed up. Seconds: median of the"]
    lines += [f"rounds [lowest-highest]. Ratio: seconds of {BASE} over the engine's, per round, above 1 = the"]
    lines += ["engine is faster. Cores: processor seconds per second."]
    for table in tables:
        lines += ["", f"## One window of {table.seconds:g} s", "", *rows(table)]
    verdict = "Every required ratio is met" if not missed else f"Missed: {'; '.join(missed)}"
    lines += ["", f"**{verdict}.**" + ("" if bfloat16 else " bfloat16 was not measured.")]
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "conditions": conditions,
        "random_weights": random,
        "required": {"ratio": REQUIRED, "error_ratio": REQUIRED_ERROR},
        "missed": missed,
        "tables": [as_dict(table) for table in tables],
    }
    machine.write_results(arguments.results, f"medasr-{arguments.name}", data, text)
    print(text)
    return 1 if missed else 0


def rows(table: Table) -> list[str]:
    """One table in Markdown."""
    lines = [
        "| engine | seconds | times real time | ratio | required | cores | relative L2 |",
        "|---|---|---|---|---|---|---|",
    ]
    for column in table.session.columns:
        label = column.setting.label
        taken, required = Spread.of(column.rounds()), REQUIRED.get(label)
        cells = [
            label,
            str(taken),
            f"{table.seconds / taken.median:.1f}",
            str(table.faster(column)),
            f"{required:g}" if required else "",
            f"{column.cores():.2f}",
            f"{table.errors[label]:.3g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{table.clip}, {len(table.session.columns[0].rounds())} rounds."]
    if table.error_ratio is not None:
        lines[-1] += f" Relative L2 of voxport's bfloat16 over that of transformers': {table.error_ratio:.3g} "
        lines[-1] += f"(required: at most {REQUIRED_ERROR:g})."
    if table.session.other_load is not None:
        lines[-1] += f" Cores busy with anything else meanwhile, on average: {table.session.other_load:.2f}."
    return lines


def as_dict(table: Table) -> dict[str, Any]:
    """One table for the JSON file, with every single figure."""
    return {
        "clip": table.clip,
        "seconds": table.seconds,
        "other_load": table.session.other_load,
        "error_ratio": table.error_ratio,
        "columns": [
            asdict(column)
            | {
                "cores": column.cores(),
                "ratio": asdict(table.faster(column)),
                "relative_l2": table.errors[column.setting.label],
            }
            for column in table.session.columns
        ],
    }
