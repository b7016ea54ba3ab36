"""How far `voxport bench` can be trusted: a side against itself, over and over. Its 95 % interval should hold 1.0.

    python benchmarks/bench_noise.py --model whisper-tiny.en --side cpu:float32+threads=2 talk.wav

Both sides are loaded twice, as any two sides are, and take turns as in `voxport bench --against`. Exit status 1 if, in
either scope, fewer than 17 of 20 intervals (85 %) hold 1.0. By chance 95 of 100 do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
from voxport.bench import BenchOptions
from voxport.bench.measure import run
from voxport.sides import Side

REQUIRED = 17 / 20
SCOPES = {"model": "model only", "end_to_end": "end to end"}


@dataclass(frozen=True)
class Comparison:
    """One comparison of the side with itself, in one scope."""

    ratio: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low <= 1 <= self.high


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A side against itself: how often the interval holds 1.0.")
    parser.add_argument("audio", nargs="+", help="recordings")
    parser.add_argument("--model", default="whisper-tiny.en")
    parser.add_argument("--side", default="cpu:float32")
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="bench_noise", help="name of the result files")
    return parser.parse_args()


def compare(arguments: argparse.Namespace, seed: int) -> tuple[dict[str, Comparison], dict[str, Any]]:
    """One comparison: by scope, and what was said of the machine."""
    side = Side.parse(arguments.side)
    options = BenchOptions(arguments.model, side, side, warmup=1, iterations=arguments.iterations, seed=seed)
    result = run(options, arguments.audio)
    found = {}
    for scope in SCOPES:
        ratio = result["comparison"]["speed_up"][scope]
        found[scope] = Comparison(ratio["median"], ratio["interval"]["low"], ratio["interval"]["high"])
    return found, result["noise"]


def report(arguments: argparse.Namespace, found: dict[str, list[Comparison]], noise: list[dict[str, Any]]) -> str:
    """The table, with what it was measured on."""
    lines = [
        "# A side against itself",
        "",
        (
            f"`{arguments.side}`, {Path(arguments.model).name}, {arguments.comparisons} comparisons of "
            f"{arguments.iterations} iterations. {machine.one_line(machine.describe())}."
        ),
        "",
        "| scope | interval holds 1.0 | ratio: median, lowest, highest | width of the interval: median |",
        "|---|---|---|---|",
    ]
    for scope, title in SCOPES.items():
        ratios = [one.ratio for one in found[scope]]
        width = statistics.median(one.high / one.low - 1 for one in found[scope])
        lines.append(
            f"| {title} | {sum(one.holds for one in found[scope])} of {len(ratios)} | {statistics.median(ratios):.4f}, "
            f"{min(ratios):.4f}, {max(ratios):.4f} | {width:.1%} |"
        )
    noisy = sum(not one["quiet"] for one in noise)
    busy = [one["others_busy"] for one in noise if one["others_busy"] is not None]
    lines += ["", f"bench itself called the machine noisy in {noisy} of {len(noise)} comparisons."]
    if busy:
        lines[-1] += f" Other programs kept {statistics.median(busy):.2f} of {noise[0]['cores']} cores busy (median)."
    return "\n".join(lines) + "\n"


def main() -> int:
    arguments = parse()
    if arguments.iterations < 4:
        raise SystemExit("an interval needs at least 4 iterations")
    found: dict[str, list[Comparison]] = {scope: [] for scope in SCOPES}
    noise = []
    for seed in range(arguments.comparisons):
        one, said = compare(arguments, seed)
        noise.append(said)
        for scope in SCOPES:
            found[scope].append(one[scope])
        shown = "  ".join(f"{scope} {c.ratio:.3f} [{c.low:.3f}, {c.high:.3f}]" for scope, c in one.items())
        print(f"{seed + 1}/{arguments.comparisons}: {shown}", file=sys.stderr)
    data = {
        "machine": machine.describe(),
        "side": arguments.side,
        "model": Path(arguments.model).name,
        "iterations": arguments.iterations,
        "comparisons": {scope: [asdict(one) for one in several] for scope, several in found.items()},
        "noise": noise,
    }
    text = report(arguments, found, noise)
    machine.write_results(arguments.results, arguments.name, data, text)
    print(text)
    held = min(sum(one.holds for one in several) / len(several) for several in found.values())
    return 0 if held >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
