"""Times of words beside faster-whisper's: same weights, same recordings, greedy; and what word probabilities are worth.

    python benchmarks/word_times.py

How far the starts and ends of words are from where they are known to be, for voxport (and voxport asking the published
alignment heads alone) and faster-whisper (without and with its voice activity detection). Exit status 1 if voxport's
mean absolute error over starts and ends is larger than the better of faster-whisper's in any row. See
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import machine
from recordings import DEFAULT_MANIFEST, Recording, read_manifest
from weights import Weights, add_model_options, gather
from word_positions import Known, known_recordings
from word_scoring import Bin, Errors, errors, reliability, right
from worker_client import Setting, Worker, add_environment_options, interpreters, told

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "voxport"
SETTINGS = (
    Setting(OURS, "voxport", "default"),
    Setting("voxport published heads", "voxport", "published", counts=False),
    Setting("faster-whisper", "faster_whisper", "plain"),
    Setting("faster-whisper vad", "faster_whisper", "vad"),
)
JUDGED = (OURS, "faster-whisper")
"""Whose probabilities are looked at."""

CALIBRATED = 0.05
"""An expected calibration error up to this is called calibrated."""

CONDITIONS = (
    "Greedy (temperature 0, beam 1), no fallback, no conditioning on previous text, English, float32, same weights, "
    "word timestamps on; otherwise each engine's defaults. Errors are of the words that the engine heard right, at "
    "positions that are known: the beginning and the end of each sentence of a long recording (its clips were joined; "
    "they fade out over the last tenth of a second), and of each digit where single digits were joined."
)


@dataclass(frozen=True)
class Cell:
    """One engine in one row. Times in ms.

    Attributes:
        words: (heard right, known) starts and ends together.
        mean, p90: of the absolute errors of starts and ends together.
        start_mean, start_p90, start_bias, end_mean, end_p90, end_bias: of either; the bias is the median, heard minus
            known.
    """

    words: tuple[int, int]
    mean: float
    p90: float
    start_mean: float
    start_p90: float
    start_bias: float
    end_mean: float
    end_p90: float
    end_bias: float


def cell(found: Errors) -> Cell | None:
    """The figures of a row, None where nothing was heard right."""
    starts, ends = (1000 * np.asarray(values) for values in (found.starts, found.ends))
    both = np.abs(np.concatenate([starts, ends]))
    if not len(starts) or not len(ends):
        return None

    def figures(values: Any) -> tuple[float, float, float]:
        size = np.abs(values)
        return tuple(round(float(x), 1) for x in (size.mean(), np.percentile(size, 90), np.median(values)))  # type: ignore[return-value]

    return Cell((len(both), found.known), *figures(both)[:2], *figures(starts), *figures(ends))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times of words beside faster-whisper's on the same weights.")
    add_model_options(parser)
    add_environment_options(parser)
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the digits that are joined anew")
    parser.add_argument(
        "--columns", metavar="LABEL,...", help="only these engines: " + ", ".join(s.label for s in SETTINGS)
    )
    parser.add_argument(
        "--reuse", type=Path, action="append", default=[], metavar="JSON", help="take what earlier results have"
    )
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="word_times", help="name of the result files")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    pythons = interpreters(arguments.environments, arguments.python)
    if "faster_whisper" not in pythons:
        raise SystemExit("not built: faster_whisper; run `python benchmarks/setup_engines.py faster_whisper`")
    labels = arguments.columns.split(",") if arguments.columns else [setting.label for setting in SETTINGS]
    settings = [setting for setting in SETTINGS if setting.label in labels]
    models = gather(arguments, pythons, {"voxport", "faster_whisper"})
    clips = [
        clip
        for clip in read_manifest(arguments.manifest)
        if clip.language == "en" and clip.text and clip.group != "digits" and clip.kind != "longform"
    ]
    with tempfile.TemporaryDirectory() as folder:
        known = known_recordings(arguments.manifest, Path(folder), arguments.seed)
        if not known:
            raise SystemExit("the manifest has no English recording with `segments` and none of kind real-concat")
        results: list[Result] = []
        for weights in models:
            for setting in settings:
                earlier = reused(arguments.reuse, weights.name, setting)
                results.append(earlier or measure(setting, weights, known, clips, pythons, arguments))
                # So that a run that was stopped can go on with --reuse.
                machine.write_json(arguments.results / f"{arguments.name}.partial.json", as_data(results, []))
    return report(arguments, results)


def as_data(results: list[Result], behind: list[str]) -> dict[str, Any]:
    """What the result file holds."""
    return {
        "conditions": CONDITIONS,
        "machine": machine.describe(),
        "results": [{**asdict(one), "setting": asdict(one.setting)} for one in results],
        "behind": behind,
    }


def reused(files: Sequence[Path], model: str, setting: Setting) -> Result | None:
    """One engine's result with one model out of earlier files, if they have it."""
    for file in files:
        for one in json.loads(file.read_text(encoding="utf-8"))["results"]:
            if (one["model"], one["setting"]["label"]) == (model, setting.label):
                rows = {row: None if found is None else Cell(**found) for row, found in one["rows"].items()}
                bins = [None if found is None else Bin(**found) for found in one["bins"]]
                return Result(model, setting, rows, bins, one["calibration"], one["judged"], one["facts"])
    return None


@dataclass(frozen=True)
class Result:
    """One engine with one model: row -> figures, the reliability of its probabilities, and what it told of itself."""

    model: str
    setting: Setting
    rows: dict[str, Cell | None]
    bins: list[Bin | None]
    calibration: float
    judged: int
    facts: dict[str, Any]


def measure(
    setting: Setting,
    weights: Weights,
    known: Sequence[Known],
    clips: Sequence[Recording],
    pythons: dict[str, Path],
    arguments: argparse.Namespace,
) -> Result:
    """Run one engine over everything."""
    found: dict[str, Errors] = {}
    judged: list[tuple[float, bool]] = []
    with Worker(pythons[setting.engine], setting, arguments.threads, arguments.log) as worker:
        facts = worker.load(weights.path(setting.engine))["versions"]
        for number, one in enumerate(known, 1):
            progress(weights, setting, number, len(known) + len(clips), one.name)
            words = [tuple(word) for word in worker.words(one.file, "en")["words"]]
            found[one.row] = found.get(one.row, Errors()) + errors(one.marks, words)
        for number, clip in enumerate(clips if setting.label in JUDGED else (), len(known) + 1):
            progress(weights, setting, number, len(known) + len(clips), clip.name)
            judged += right(clip.text, [tuple(word) for word in worker.words(clip.file, "en")["words"]])
    print(file=sys.stderr)
    bins, calibration = reliability(judged)
    rows = {row: cell(values) for row, values in found.items()}
    return Result(weights.name, setting, rows, bins, calibration, len(judged), facts)


def progress(weights: Weights, setting: Setting, number: int, count: int, name: str) -> None:
    print(f"\r{weights.name} {setting.label}: {number}/{count} {name:40}", end="", file=sys.stderr, flush=True)


def report(arguments: argparse.Namespace, results: list[Result]) -> int:
    """Print and write the tables; returns the exit status."""
    behind = [
        f"{ours.model}, {row}"
        for ours in results
        if ours.setting.label == OURS
        for row, own in ours.rows.items()
        if not _holds(own, [one.rows.get(row) for one in results if one.model == ours.model and _is_peer(one)])
    ]
    text = markdown(results, behind, joined=bool(arguments.reuse))
    machine.write_results(arguments.results, arguments.name, as_data(results, behind), text)
    (arguments.results / f"{arguments.name}.partial.json").unlink(missing_ok=True)
    print(text)
    return 1 if behind else 0


def _is_peer(result: Result) -> bool:
    return result.setting.counts and result.setting.label != OURS


def _holds(own: Cell | None, peers: list[Cell | None]) -> bool:
    best = min((peer.mean for peer in peers if peer is not None), default=float("inf"))
    return own is not None and own.mean <= best


def markdown(results: list[Result], behind: list[str], *, joined: bool) -> str:
    """The report."""
    versions = sorted(
        {f"{package} {version}" for one in results for package, version in one.facts.items() if package != "numpy"}
    )
    lines = ["# Times of words beside faster-whisper's", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += [CONDITIONS, "", f"Versions: {', '.join(versions)}."]
    if joined:
        lines += ["", "**Not one run**: results of several runs were put together (--reuse)."]
    for model in dict.fromkeys(one.model for one in results):
        own = [one for one in results if one.model == model]
        lines += ["", f"## {model}: errors in ms", "", *times(own)]
        lines += ["", f"## {model}: what a word's probability is worth", "", *calibration(own)]
    verdict = f"It does not in: {'; '.join(behind)}" if behind else "It holds in every row"
    lines += [
        "",
        f"Requirement: voxport's mean error is at most the better of faster-whisper's two in every row. **{verdict}**.",
    ]
    return "\n".join(lines) + "\n"


def times(results: list[Result]) -> list[str]:
    """One model's errors: a line for each row and engine."""
    lines = [
        "| recordings | engine | words' ends heard | mean | P90 | starts: mean, P90 (median signed) | ends |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results[0].rows:
        for one in results:
            found = one.rows.get(row)
            label = f"**{one.setting.label}**" if one.setting.label == OURS else one.setting.label
            if found is None:
                lines.append(f"| {row} | {label} | none | | | | |")
                continue
            starts = f"{found.start_mean:.0f}, {found.start_p90:.0f} ({found.start_bias:+.0f})"
            ends = f"{found.end_mean:.0f}, {found.end_p90:.0f} ({found.end_bias:+.0f})"
            heard = f"{found.words[0]} of {found.words[1]}"
            lines.append(f"| {row} | {label} | {heard} | {found.mean:.0f} | {found.p90:.0f} | {starts} | {ends} |")
    return lines


def calibration(results: list[Result]) -> list[str]:
    """One model's reliability table and what it says in a sentence."""
    shown = [one for one in results if one.setting.label in JUDGED]
    if not shown:
        return ["Not looked at in this run."]
    lines = [
        (
            "Words of the English clips but the digits and the long one, by tenths of their probability: how many, "
            "their mean probability, and the share that is right by alignment with the reference."
        ),
        "",
        f"| probability | {' | '.join(one.setting.label for one in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    count = len(shown[0].bins)
    for number in range(count):
        cells = [
            "-" if one is None else f"{one.words}: {one.probability:.2f}, {one.right:.2f} right"
            for one in (result.bins[number] for result in shown)
        ]
        lines.append(f"| {number / count:.1f} to {(number + 1) / count:.1f} | {' | '.join(cells)} |")
    errors_ = [f"{one.calibration:.3f}" for one in shown]
    lines.append(f"| expected calibration error | {' | '.join(errors_)} |")
    for one in shown:
        is_calibrated = "calibrated" if one.calibration <= CALIBRATED else "**not calibrated**"
        lines += ["", f"{one.setting.label}: {is_calibrated} (at most {CALIBRATED} is called so); {one.judged} words."]
    return lines


if __name__ == "__main__":
    sys.exit(told(main))
