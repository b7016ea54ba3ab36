"""Whether memory stays flat over an hour, and an hour's cost flat in the recording's length.

    python benchmarks/long_recordings.py

Exit status 1 if the longest recording takes 100 MiB more memory than the next longest (in the first minutes the
allocator and the caches of matrix products fill), or costs 15 % more time per hour of audio than the second shortest;
or if nothing was said. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from interleaved import busy_seconds
from recordings import DEFAULT_MANIFEST, joinable, read_manifest, write_long
from setup_engines import DEFAULT_ROOT
from weights import has_random_weights, locate, random_medasr
from worker_client import Setting, Worker, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recordings import Recording

RANDOM_MEDASR = "medasr-random"
DEFAULT_MODELS = f"whisper-tiny.en,{RANDOM_MEDASR}"
DEFAULT_MINUTES = "2,5,20,60"
SINGLE_PASSES = (11.0, 43.8, 176.0)
SINGLE_PASS_ROUNDS = 3
FAMILY_OF_SINGLE_PASSES = "lasr_ctc"
MEMORY_ALLOWANCE = 100 * 2**20
COST_FACTOR = 1.15
FEWEST_LENGTHS = 3
"""With fewer, the longest would be compared with itself or with the shortest, which start-up costs distort."""
MIB = 2**20


@dataclass(frozen=True)
class Run:
    """One recording in a fresh process.

    Attributes:
        audio_seconds: length of the recording.
        seconds, cpu_seconds: from the file to the words; without loading.
        words: how many were said.
        loaded: bytes in memory after loading.
        peak_loading: at most, until the model was loaded.
        peak: at most, after that.
        other_load: cores busy with anything else meanwhile, None if unknown.
        stages: seconds by stage.
    """

    audio_seconds: float
    seconds: float
    cpu_seconds: float
    words: int
    loaded: int
    peak_loading: int
    peak: int
    other_load: float | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Seconds for one second of audio."""
        return self.seconds / self.audio_seconds


@dataclass
class Table:
    """One model.

    Attributes:
        model: name.
        random: whether its weights are.
        runs: by length.
        single_passes: seconds of audio -> features and network over all of it at once, seconds, one a round.
    """

    model: str
    random: bool
    runs: list[Run]
    single_passes: dict[float, list[float]] = field(default_factory=dict)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and cost of long recordings.")
    parser.add_argument(
        "--models",
        default=DEFAULT_MODELS,
        help=f"comma-separated: names that `voxport models pull` finds, folders, or {RANDOM_MEDASR}, made here "
        "(default: %(default)s)",
    )
    parser.add_argument("--minutes", default=DEFAULT_MINUTES, help="lengths, comma-separated (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0, help="of the clips' order and the pauses")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--environments", type=Path, default=DEFAULT_ROOT, help="where a model is made")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="long_recordings", help="name of the result files")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    arguments = parser.parse_args()
    try:
        arguments.minutes = sorted({float(minutes) for minutes in arguments.minutes.split(",")})
    except ValueError:
        parser.error("--minutes wants numbers, comma-separated")
    if arguments.minutes[0] <= 0:
        parser.error("--minutes wants numbers above 0")
    return arguments


def model_folder(name: str, environments: Path) -> Path:
    """Where a model lies, fetched or made if it is not here."""
    python = Path(sys.executable)
    if name == RANDOM_MEDASR:
        return random_medasr(environments, python)
    return locate(name, python)


def transcribe(folder: Path, file: Path, seconds: float, warm_up: Recording, arguments: argparse.Namespace) -> Run:
    """One recording in a fresh process, after one clip that pays for what happens only once."""
    setting = Setting(f"{folder.name}, {seconds:g} s", "voxport", "default", arguments.dtype)
    with Worker(Path(sys.executable), setting, arguments.threads, arguments.log) as worker:
        memory = worker.load(folder)["memory"]
        worker.run(warm_up.file, "en")
        busy = busy_seconds()
        answer = worker.run(file, "en")
        other = (busy_seconds() or 0.0) - (busy or 0.0) - answer["cpu_seconds"]
    return Run(
        audio_seconds=seconds,
        seconds=answer["seconds"],
        cpu_seconds=answer["cpu_seconds"],
        words=len(answer["text"].split()),
        loaded=memory["now"],
        peak_loading=memory["peak"],
        peak=answer["memory"]["peak"],
        other_load=None if busy is None else max(0.0, other) / answer["seconds"],
        stages=answer["stages"],
    )


def single_passes(folder: Path, files: dict[float, Path], arguments: argparse.Namespace) -> dict[float, list[float]]:
    """Features and network over each recording as one window: seconds of audio -> seconds, one a round."""
    setting = Setting(f"{folder.name}, one window", "voxport", "window", arguments.dtype)
    taken: dict[float, list[float]] = {}
    with Worker(Path(sys.executable), setting, arguments.threads, arguments.log) as worker:
        worker.load(folder)
        worker.run(files[min(files)], "en")
        for _ in range(SINGLE_PASS_ROUNDS):
            for seconds, file in files.items():
                stages = worker.run(file, "en")["stages"]
                taken.setdefault(seconds, []).append(stages["features"] + stages["encode"])
    return taken


def failures(runs: Sequence[Run]) -> list[str]:
    """Requirements that one model misses, in words. Memory and cost are judged from `FEWEST_LENGTHS` on."""
    ordered = sorted(runs, key=lambda run: run.audio_seconds)
    found = [f"{minutes(run)} min: nothing was said" for run in ordered if not run.words]
    if len(ordered) < FEWEST_LENGTHS:
        return found
    base, next_longest, longest = ordered[1], ordered[-2], ordered[-1]
    if longest.peak > next_longest.peak + MEMORY_ALLOWANCE:
        more = (longest.peak - next_longest.peak) / MIB
        found.append(
            f"{minutes(longest)} min: {more:.0f} MiB more than {minutes(next_longest)} min, "
            f"allowed are {MEMORY_ALLOWANCE / MIB:.0f}"
        )
    if longest.cost > COST_FACTOR * base.cost:
        found.append(
            f"{minutes(longest)} min: {longest.cost / base.cost:.2f} times the cost per hour of {minutes(base)} min, "
            f"allowed are {COST_FACTOR:g}"
        )
    return found


def minutes(run: Run) -> str:
    return f"{run.audio_seconds / 60:g}"


def main() -> int:
    arguments = parse()
    clips = joinable(read_manifest(arguments.manifest))
    models = {name: model_folder(name, arguments.environments) for name in arguments.models.split(",")}
    families = {name: json.loads((folder / "config.json").read_text())["model_type"] for name, folder in models.items()}
    lengths = [60 * length for length in arguments.minutes]
    passes = list(SINGLE_PASSES) if FAMILY_OF_SINGLE_PASSES in families.values() else []
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for seconds in sorted({*lengths, *passes}):
            files[seconds] = Path(folder) / f"{seconds:g}s.flac"
            write_long(clips, seconds, arguments.seed, files[seconds])
        for name, model in models.items():
            table = Table(Path(name).name, has_random_weights(model), [])
            for seconds in lengths:
                print(f"{table.model}: {seconds / 60:g} min", file=sys.stderr)
                table.runs.append(transcribe(model, files[seconds], seconds, clips[0], arguments))
            if families[name] == FAMILY_OF_SINGLE_PASSES:
                chosen = {seconds: files[seconds] for seconds in passes}
                table.single_passes = single_passes(model, chosen, arguments)
            tables.append(table)
    return report(arguments, tables)


def report(arguments: argparse.Namespace, tables: list[Table]) -> int:
    """Print and write the tables; returns the exit status."""
    failed = [f"{table.model}, {text}" for table in tables for text in failures(table.runs)]
    judged = len(arguments.minutes) >= FEWEST_LENGTHS
    lines = ["# Long recordings", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += ["English clips in shuffled order, 0.3 to 1 s of silence between, repeated as needed; each length in a"]
    lines += ["fresh process, from the file to text, at the defaults (voice activity detection on), language English,"]
    lines += [f"{arguments.dtype}, {arguments.threads} threads, after one clip as a warm-up; seed {arguments.seed}."]
    lines += ["Seconds do not include loading. MiB in memory (resident): when loaded, at most until then, and at most"]
    lines += ["after that. Load: cores busy with anything else meanwhile."]
    for table in tables:
        lines += ["", f"## {table.model}", ""]
        if table.random:
            lines += ["**Random weights**: what is said means nothing.", ""]
        lines += run_rows(table.runs)
        if table.single_passes:
            lines += ["", *single_pass_rows(table.single_passes)]
    verdict = "; ".join(failed) or ("All hold" if judged else f"Not judged: fewer than {FEWEST_LENGTHS} lengths")
    lines += ["", f"Allowed for the longest: the next longest's peak plus {MEMORY_ALLOWANCE / MIB:.0f} MiB, and "]
    lines[-1] += f"{COST_FACTOR:g} times the second shortest's time per hour of audio. **{verdict}.**"
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "dtype": arguments.dtype,
        "seed": arguments.seed,
        "allowed": {"more_bytes": MEMORY_ALLOWANCE, "cost_factor": COST_FACTOR},
        "failed": failed,
        "judged": judged,
        "tables": [as_dict(table) for table in tables],
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    print(text)
    return 1 if failed else 0


def run_rows(runs: Sequence[Run]) -> list[str]:
    """One model's recordings in Markdown."""
    lines = [
        "| minutes | seconds | times real time | seconds per hour | words | MiB loaded | until then | peak | load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        cells = [minutes(run), f"{run.seconds:.2f}", f"{1 / run.cost:.1f}", f"{3600 * run.cost:.1f}", str(run.words)]
        cells += [f"{size / MIB:.0f}" for size in (run.loaded, run.peak_loading, run.peak)]
        cells += ["" if run.other_load is None else f"{run.other_load:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def single_pass_rows(taken: dict[float, list[float]]) -> list[str]:
    """What windows avoid, in Markdown."""
    lines = [f"The same network over the whole recording at once, features included (median of {SINGLE_PASS_ROUNDS}):"]
    lines += ["", "| seconds of audio | seconds | seconds per hour |", "|---|---|---|"]
    for audio, figures in taken.items():
        median = statistics.median(figures)
        lines.append(f"| {audio:g} | {median:.2f} | {3600 * median / audio:.1f} |")
    return lines


def as_dict(table: Table) -> dict[str, Any]:
    """One table for the JSON file."""
    return {
        "model": table.model,
        "random_weights": table.random,
        "runs": [asdict(run) for run in table.runs],
        "single_passes": [
            {"audio_seconds": audio, "seconds": figures} for audio, figures in table.single_passes.items()
        ],
    }


if __name__ == "__main__":
    sys.exit(told(main))
