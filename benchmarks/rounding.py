"""What rounding alone does to a stage and to the logits: where the limits of verify's policy ``exact`` come from.

    python benchmarks/rounding.py

Sides that are right and compute differently are compared, on real speech: voxport with transformers, fused attention
with plain, one dtype with float32. Exit status 1 if something is beyond the limits in `voxport.verify.limits`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from setup_engines import DEFAULT_ROOT
from weights import locate, random_medasr

PAIRS = (
    ("transformers/cpu:float32", "cpu:float32"),
    ("transformers/cpu:float32", "transformers/cpu:float32+attention=sdpa"),
    ("transformers/cpu:bfloat16", "cpu:bfloat16"),
    ("transformers/cpu:float16", "cpu:float16"),
    ("transformers/cpu:float32", "cpu:bfloat16"),
    ("transformers/cpu:float32", "cpu:float16"),
)
"""Reference and candidate."""

CLIPS = ("jfk", "beckett")


@dataclass(frozen=True)
class Row:
    """One pair of sides.

    Attributes:
        model, reference, candidate: what was compared.
        stage: largest relative L2 that a stage makes, and which stage.
        kinds: the largest by kind of stage.
        logits, path: largest relative L2 of the logits, and of the fast path against the table.
        statistics: largest difference of a stage's mean or root mean square, as a share of the latter; which stage.
        limits: of a stage, the logits, the path (those two are for sides of one dtype) and the statistics.
        ok: whether all is within them.
    """

    model: str
    reference: str
    candidate: str
    stage: tuple[float, str]
    kinds: dict[str, float]
    logits: float
    path: float
    statistics: tuple[float, str]
    limits: tuple[float, float, float, float]
    ok: bool


def measure(name: str, folder: Path, clips: list[str], reference: str, candidate: str) -> Row:
    from voxport.sides import Side
    from voxport.verify import Comparison, Loaded, Work, limits, windows_of

    sides = [Side.parse(text) for text in (reference, candidate)]
    loaded = [Loaded(side, side.load(str(folder))) for side in sides]
    work = Work(look_at=len(clips))
    outcome = Comparison(loaded[0], loaded[1], work).run(windows_of(clips, loaded[0].model))
    made = outcome.worst_stages("made", "relative_l2")
    kinds: dict[str, float] = {}
    for stage in outcome.windows[0].stages:
        if stage.name in made:
            kinds[stage.kind] = max(kinds.get(stage.kind, 0.0), made[stage.name])
    worst = max(made, key=lambda one: made[one])
    logits = outcome.worst("logits", "relative_l2")
    path = outcome.worst("path", "relative_l2")
    assert logits is not None
    assert path is not None
    dtype = outcome.candidate.dtype
    statistics = max(limits.STATISTICS[side.model.dtype] for side in loaded)
    allowed = (limits.STAGE[dtype], limits.LOGITS[dtype], limits.PATH[dtype], statistics)
    share = private(loaded[0], loaded[1], clips)
    same = outcome.reference.dtype == dtype
    fast = path[0] if sides[1].engine == "voxport" else 0.0
    ok = made[worst] <= allowed[0] and fast <= allowed[2] and (not same or logits[0] <= allowed[1])
    ok = ok and share[0] <= allowed[3]
    return Row(name, reference, candidate, (made[worst], worst), kinds, logits[0], fast, share, allowed, ok)


def private(reference: Any, candidate: Any, clips: list[str]) -> tuple[float, str]:
    """The stage whose statistics differ most, as a private trace shows them."""
    from voxport.verify import Work, windows_of
    from voxport.verify.private import PrivateTrace, compare_private, save_private

    windows, work = windows_of(clips, reference.model), Work(look_at=len(clips))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        save_private(path, reference, windows, work, lambda *_: None)
        found = compare_private(PrivateTrace(path), candidate, windows, work, lambda *_: None).worst_stages()
    worst = max(found, key=lambda name: found[name])
    return found[worst], worst


def report(rows: list[Row]) -> str:
    lines = [
        "# Rounding",
        "",
        f"Relative L2, the largest over {', '.join(CLIPS)}; the limits of the policy `exact` behind each figure.",
        "Statistics: the largest difference of a stage's mean or rms, as a share of the latter (private traces).",
        "",
        "| model | reference | candidate | stage on given inputs | which | logits | fast path | statistics | where |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        stage, logits, path, statistics = row.limits
        dtypes = [side.partition(":")[2].partition("+")[0] for side in (row.reference, row.candidate)]
        allowed = f" ({logits:g})" if dtypes[0] == dtypes[1] else ""
        lines.append(
            f"| {row.model} | {row.reference} | {row.candidate} | {row.stage[0]:.2g} ({stage:g}) | {row.stage[1]}"
            f" | {row.logits:.2g}{allowed} | {row.path:.2g} ({path:g})"
            f" | {row.statistics[0]:.2g} ({statistics:g}) | {row.statistics[1]} |"
        )
    bad = [f"{row.model} {row.candidate}" for row in rows if not row.ok]
    lines += ["", f"**{'beyond the limits: ' + ', '.join(bad) if bad else 'everything is within the limits'}.**"]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="whisper-tiny.en", help="names or folders of Whisper")
    parser.add_argument("--medasr", type=Path, help="a MedASR folder; default: random weights of its shape")
    parser.add_argument("--environments", type=Path, default=DEFAULT_ROOT, help="where those are kept")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    python = Path(sys.executable)
    clips = [str(one.file) for one in read_manifest(arguments.manifest) if one.name in CLIPS]
    folders = {Path(name).name: locate(name, python) for name in arguments.models.split(",")}
    folders["medasr (random weights)"] = arguments.medasr or random_medasr(arguments.environments, python)
    rows = []
    for name, folder in folders.items():
        for reference, candidate in PAIRS:
            if name.startswith("medasr") and reference.endswith(":float16"):
                continue  # transformers' float16 stream is what float16 is too narrow for
            sys.stderr.write(f"{name} {candidate}\n")
            rows.append(measure(name, folder, clips, reference, candidate))
    text = report(rows)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "rounding.md").write_text(text, encoding="utf-8")
    value = {"machine": machine.describe(), "rows": [asdict(row) for row in rows]}
    (arguments.results / "rounding.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
