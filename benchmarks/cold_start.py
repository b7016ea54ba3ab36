"""From the shell prompt to the words: whole processes, warm file cache, interleaved.

    python benchmarks/cold_start.py

Exit status 1 if voxport's median is above that of ``import torch`` plus one second, if ``voxport --help`` takes half a
second or more, or if ``import voxport`` or ``voxport --help`` load torch. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
from interleaved import Spread
from recordings import DEFAULT_MANIFEST, Recording, joinable, read_manifest
from weights import DEFAULT_MODELS, Weights, add_model_options, gather
from worker_client import ENGINES, NAMES, add_environment_options, interpreters

ALLOWANCE_SECONDS = 1.0
HELP_SECONDS = 0.5
CLIP_SECONDS = 10.0
HEAVY = ("torch", "transformers", "av", "soxr", "tokenizers", "huggingface_hub", "numpy", "safetensors")
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)")
OURS, TORCH, HELP, BARE = "voxport transcribe", "import torch", "voxport --help", "python -c pass"
WORDLESS = frozenset({TORCH, HELP, BARE})


@dataclass(frozen=True)
class Import:
    """One line of ``python -X importtime``.

    Attributes:
        name: of the module.
        depth: how many imports it stands in.
        own, total: milliseconds, without and with what it imports itself.
    """

    name: str
    depth: int
    own: float
    total: float


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cold start: from the shell prompt to the words of a 10 s clip.")
    add_model_options(parser)
    add_environment_options(parser)
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--clip", type=Path, help="default: the manifest's English clip nearest to 10 s")
    parser.add_argument("--engines", default=",".join(NAMES), help="comma-separated, of " + ", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="cold_start", help="name of the result files")
    return parser.parse_args()


def nearest_clip(recordings: list[Recording]) -> Path:
    """The English clip of human speech whose length is nearest to 10 s."""
    return min(joinable(recordings), key=lambda recording: abs(recording.seconds - CLIP_SECONDS)).file


def commands(weights: Weights, clip: Path, pythons: dict[str, Path], engines: set[str]) -> dict[str, list[str]]:
    """Label -> command line."""
    python = str(pythons["voxport"])
    script = str(pythons["voxport"].parent / "voxport")
    found = {
        OURS: [script, "transcribe", str(clip), "--model", str(weights.path("voxport")), "--language", "en"],
        TORCH: [python, "-c", "import torch"],
        HELP: [script, "--help"],
        BARE: [python, "-c", "pass"],
    }
    for engine, dtype, mode in (
        ("faster_whisper", "int8", "default"),
        ("openai_whisper", "float32", "text"),
        ("transformers", "float32", "text"),
    ):
        if engine in engines:
            worker = [str(pythons[engine]), str(ENGINES / f"{engine}_worker.py"), "--once", str(clip)]
            options = ["--model", str(weights.path(engine)), "--dtype", dtype, "--mode", mode]
            found[f"{engine.replace('_', '-')} {dtype}"] = worker + options
    return found


def timed(command: list[str]) -> tuple[float, str]:
    """Run a command to its end: seconds and standard output.

    Raises:
        SystemExit: it failed; its standard error is shown.
    """
    begin = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {result.returncode}\n{result.stderr}")
    return seconds, result.stdout


def import_tree(python: Path, arguments: list[str]) -> list[Import]:
    """What a Python command imports, in the order in which the imports ended."""
    command = [str(python), "-X", "importtime", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = []
    for own, total, indent, name in IMPORT_LINE.findall(result.stderr):
        found.append(Import(name, (len(indent) - 1) // 2, int(own) / 1000, int(total) / 1000))
    return found


def heavy(tree: list[Import]) -> list[str]:
    """Those of `HEAVY` that were imported."""
    return sorted({entry.name for entry in tree} & set(HEAVY))


def tree_lines(title: str, tree: list[Import], least: float, deepest: int) -> list[str]:
    """The tree as an indented list, parents before their children, of what took at least `least` ms."""
    lines = [f"### {title}", "", f"Of heavy packages: {', '.join(heavy(tree)) or 'none'}.", "", "```"]
    # Python reports a module after those that it imports: read backwards, it is a tree with the parents first.
    shown = [entry for entry in reversed(tree) if entry.total >= least and entry.depth <= deepest]
    lines += [f"{entry.total:8.1f} ms  {'  ' * entry.depth}{entry.name}" for entry in shown]
    return [*lines, "```"]


def main() -> int:
    arguments = parse()
    engines = set(arguments.engines.split(","))
    pythons = interpreters(arguments.environments, arguments.python)
    missing = sorted(engines - set(pythons))
    if missing:
        raise SystemExit(f"not built or unknown: {', '.join(missing)}; run `python benchmarks/setup_engines.py`")
    clip = arguments.clip or nearest_clip(read_manifest(arguments.manifest))
    arguments.model = arguments.model[:1] or [DEFAULT_MODELS[0]]
    weights = gather(arguments, pythons, engines)[0]
    to_time = commands(weights, clip.resolve(), pythons, engines)
    seconds: dict[str, list[float]] = {label: [] for label in to_time}
    texts: dict[str, str] = {}
    for turn in range(arguments.rounds + 1):
        for label, command in to_time.items():
            taken, output = timed(command)
            if turn:  # the first round fills the file cache
                seconds[label].append(taken)
            if label not in WORDLESS:
                texts[label] = " ".join(output.split())
        print(f"\rround {turn}/{arguments.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    python, model = pythons["voxport"], str(weights.path("voxport"))
    trees = {
        "import voxport": import_tree(python, ["-c", "import voxport"]),
        "voxport --help": import_tree(python, ["-m", "voxport", "--help"]),
        "voxport transcribe": import_tree(python, ["-m", "voxport", *to_time[OURS][1:3], "--model", model]),
    }
    return report(arguments, clip, {label: Spread.of(taken) for label, taken in seconds.items()}, texts, trees)


def failures(spreads: dict[str, Spread], texts: dict[str, str], trees: dict[str, list[Import]]) -> list[str]:
    """Requirements that are missed, in words."""
    found = []
    limit = spreads[TORCH].median + ALLOWANCE_SECONDS
    if spreads[OURS].median > limit:
        found.append(f"{OURS}: {spreads[OURS].median:.2f} s, allowed are {limit:.2f} s")
    if spreads[HELP].median >= HELP_SECONDS:
        found.append(f"{HELP}: {spreads[HELP].median:.2f} s, allowed are less than {HELP_SECONDS} s")
    found += [f"{name} loads torch" for name in ("import voxport", "voxport --help") if "torch" in heavy(trees[name])]
    if not texts[OURS]:
        found.append(f"{OURS} printed no words")
    return found


def report(
    arguments: argparse.Namespace,
    clip: Path,
    spreads: dict[str, Spread],
    texts: dict[str, str],
    trees: dict[str, list[Import]],
) -> int:
    """Print and write the figures; returns the exit status."""
    failed = failures(spreads, texts, trees)
    lines = ["# Cold start", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += [f"Whole processes on {clip.name}, warm file cache, interleaved, {arguments.rounds} rounds; milliseconds."]
    lines += ["", "| command | median | lowest | highest | text |", "|---|---|---|---|---|"]
    for label, taken in spreads.items():
        figures = [f"{figure * 1000:.0f}" for figure in (taken.median, taken.low, taken.high)]
        lines.append(f"| {label} | {' | '.join(figures)} | {texts.get(label, '')} |")
    lines += [
        "",
        f"Allowed: `import torch` plus {ALLOWANCE_SECONDS:g} s; `voxport --help` below {HELP_SECONDS:g} s; no ",
    ]
    lines[-1] += f"torch in `import voxport` and `voxport --help`. **{'; '.join(failed) or 'All hold'}.**"
    lines += ["", "## What is imported", "", "With Python's import timer on, which itself costs time.", ""]
    for name, tree in trees.items():
        lines += [*tree_lines(name, tree, 5.0 if name == OURS else 1.0, 3), ""]
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "clip": clip.name,
        "rounds": arguments.rounds,
        "seconds": {label: asdict(taken) for label, taken in spreads.items()},
        "texts": texts,
        "failed": failed,
        "heavy_imports": {name: heavy(tree) for name, tree in trees.items()},
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
