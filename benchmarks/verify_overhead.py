"""What verify's machinery costs beside the work that it compares.

    python benchmarks/verify_overhead.py

The work: the reference encodes, decodes and gives logits of every window; the candidate encodes and decodes, then
encodes and gives logits. Three things are timed in turns: that work alone, written down plainly; `Comparison` over the
same windows without stages (``--look_at 0``); and with the stages of two windows, which is the default. The overhead is
what a comparison takes beyond the work, as a share of the work; for stages also in seconds a window.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from setup_engines import DEFAULT_ROOT
from weights import pull, random_medasr

if TYPE_CHECKING:
    from collections.abc import Callable

SIDES = ("transformers/cpu:float32", "cpu:float32")
LOOKED_AT = 2


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        model: its name.
        windows: how many.
        work, plain, looking: seconds of each round: the work alone, compared, compared with the stages of two windows.
    """

    model: str
    windows: int
    work: tuple[float, ...]
    plain: tuple[float, ...]
    looking: tuple[float, ...]

    def overhead(self, of: str) -> float:
        """Median over the rounds of (a comparison's time - the work's in the same round) / the work's."""
        pairs = zip(getattr(self, of), self.work, strict=True)
        return float(statistics.median((ours - work) / work for ours, work in pairs))


def work_alone(reference: Any, candidate: Any, windows: list[Any], work: Any) -> None:
    for window in windows:
        features = reference.model.features([window.audio])
        encoded = reference.model.encode(features)
        (heard,) = reference.model.decode(encoded, work.options)
        tokens = work.forced(reference.model, heard)
        reference.model.logits(encoded, tokens)
        candidate.model.decode(candidate.model.encode(features), work.options)
        candidate.model.logits(candidate.model.encode(features), tokens)


def measure(name: str, folder: Path, clips: list[str], rounds: int) -> Row:
    from voxport.sides import Side
    from voxport.verify import Comparison, Loaded, Work, windows_of

    reference, candidate = (Loaded(side, side.load(str(folder))) for side in map(Side.parse, SIDES))
    windows = windows_of(clips, candidate.model)
    plain, looking = Work(look_at=0), Work(look_at=LOOKED_AT)
    turns: dict[str, Callable[[], object]] = {
        "work": lambda: work_alone(reference, candidate, windows, plain),
        "plain": lambda: Comparison(reference, candidate, plain).run(windows),
        "looking": lambda: Comparison(reference, candidate, looking).run(windows),
    }
    seconds: dict[str, list[float]] = {key: [] for key in turns}
    work_alone(reference, candidate, windows[:1], plain)  # first calls are slow
    for number in range(rounds):
        order = list(turns)
        for key in order[number % 3 :] + order[: number % 3]:
            began = time.perf_counter()
            turns[key]()
            seconds[key].append(time.perf_counter() - began)
    return Row(name, len(windows), tuple(seconds["work"]), tuple(seconds["plain"]), tuple(seconds["looking"]))


def report(rows: list[Row], rounds: int) -> str:
    lines = [
        "# What verify costs",
        "",
        f"{SIDES[1]} against {SIDES[0]}; medians of {rounds} rounds, the three in turns within each.",
        "",
        "| model | windows | the work, s | compared, s | overhead | with two windows' stages, s | stages, s a window |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        extra = statistics.median(
            (more - plain) / LOOKED_AT for more, plain in zip(row.looking, row.plain, strict=True)
        )
        lines.append(
            f"| {row.model} | {row.windows} | {statistics.median(row.work):.2f} | {statistics.median(row.plain):.2f} "
            f"| {row.overhead('plain'):+.1%} | {statistics.median(row.looking):.2f} | {extra:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="whisper-tiny.en", help="a Whisper model's name")
    parser.add_argument("--medasr", type=Path, help="a MedASR folder; default: random weights of its shape")
    parser.add_argument("--environments", type=Path, default=DEFAULT_ROOT, help="where those are kept")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    python = Path(sys.executable)
    recordings = [one for one in read_manifest(arguments.manifest) if one.kind == "real" and one.language == "en"]
    clips = [str(one.file) for one in recordings if one.seconds < 15][: arguments.clips]
    folders = {
        arguments.model: Path(pull(arguments.model, python)),
        "medasr (random weights)": arguments.medasr or random_medasr(arguments.environments, python),
    }
    rows = [measure(name, folder, clips, arguments.rounds) for name, folder in folders.items()]
    text = report(rows, arguments.rounds)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "verify_overhead.md").write_text(text, encoding="utf-8")
    value = {"machine": machine.describe(), "rows": [asdict(row) for row in rows]}
    (arguments.results / "verify_overhead.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
