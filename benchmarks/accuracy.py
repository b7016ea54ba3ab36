"""Error rates of voxport beside faster-whisper, openai-whisper and transformers: same weights, same clips, greedy.

    python benchmarks/accuracy.py

Exit status 1 if ours is worse than the best peer by more than 2 % (relative) and more than three words in any row of
100 words or more, or says a word where nobody speaks. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import machine
from recordings import DEFAULT_MANIFEST, Recording, join, joinable, orders, read_manifest
from scoring import Normalizer
from verdicts import ERROR_MARGIN, LEAST_UNITS, NONSPEECH, RELATIVE_MARGIN, Row, judge
from weights import Weights, add_model_options, gather
from worker_client import NAMES, EngineError, Setting, Worker, add_environment_options, interpreters, told

OURS = "voxport"
SETTINGS = (
    Setting(OURS, "voxport", "text"),
    Setting("faster-whisper", "faster_whisper", "text"),
    Setting("openai-whisper", "openai_whisper", "text"),
    Setting("transformers", "transformers", "text"),
    Setting("faster-whisper vad", "faster_whisper", "vad", counts=False),
    Setting("faster-whisper batched", "faster_whisper", "batched", counts=False),
)
CONDITIONS = (
    "Greedy (temperature 0, beam 1), no fallback, no conditioning on previous text, timestamps on, the clip's language "
    "given to every engine (English for non-speech), float32, same weights. voxport runs at its defaults (with VAD); "
    "faster-whisper at its own otherwise (no VAD; its log-probability and no-speech thresholds of -1 and 0.6 stay on, "
    "as do openai-whisper's); transformers by its sequential long-form algorithm. For information only: faster-whisper "
    "with vad_filter=True, and its BatchedInferencePipeline (VAD, batch 8, no timestamps)."
)
Answers = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Model -> column -> recording -> {text, seconds, reused?}."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Error rates beside other engines on the same weights.")
    add_model_options(parser)
    add_environment_options(parser)
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--engines", default=",".join(NAMES), help="comma-separated, of " + ", ".join(NAMES))
    parser.add_argument("--kinds", help="only these kinds, comma-separated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", help="voxport's dtype (the peers stay at float32)")
    parser.add_argument("--reuse", type=Path, metavar="JSON", help="take the peers' texts from an earlier result")
    parser.add_argument("--no-information", action="store_true", help="leave out the columns that are information only")
    parser.add_argument("--no-joined", action="store_true", help="leave out the row of the joined long recording")
    parser.add_argument("--joined-orders", type=int, default=1, help="join it in so many orders, all in the one row")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="accuracy", help="name of the result files")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    engines = set(arguments.engines.split(","))
    pythons = interpreters(arguments.environments, arguments.python)
    missing = sorted((engines | {"openai_whisper"}) - set(pythons))
    if missing:
        raise SystemExit(f"not built or unknown: {', '.join(missing)}; run `python benchmarks/setup_engines.py`")
    recordings = read_manifest(arguments.manifest)
    if arguments.kinds:
        recordings = [recording for recording in recordings if recording.kind in arguments.kinds.split(",")]
    settings = [
        Setting(s.label, s.engine, s.mode, arguments.dtype if s.label == OURS else s.dtype, s.counts)
        for s in SETTINGS
        if s.engine in engines and (s.counts or not arguments.no_information)
    ]
    partial = arguments.results / f"{arguments.name}.partial.json"
    reuse = json.loads(arguments.reuse.read_text(encoding="utf-8")) if arguments.reuse else {}
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.no_joined and joinable(recordings):
            recordings += [
                join(order, Path(folder) / f"joined-real-en{f'-{seed}' if seed else ''}.flac")
                for seed, order in enumerate(orders(joinable(recordings), arguments.joined_orders))
            ]
        models = gather(arguments, pythons, engines)
        answers: Answers = {}
        facts: dict[str, Any] = {}
        for weights in models:
            for setting in settings:
                said, fact = transcribe(setting, weights, recordings, pythons, arguments, reuse)
                answers.setdefault(weights.name, {})[setting.label] = said
                facts.setdefault(setting.label, fact)
                # So that a run that was stopped can go on with --reuse.
                machine.write_json(partial, {"engines": facts, "answers": answers})
    tables = score_all(models, recordings, answers, pythons["openai_whisper"])
    return report(arguments, tables, answers, facts)


def spoken(recording: Recording, weights: Weights) -> bool:
    """Whether a model can be asked about this recording."""
    return weights.multilingual or recording.language in ("", "en")


def transcribe(
    setting: Setting,
    weights: Weights,
    recordings: list[Recording],
    pythons: dict[str, Path],
    arguments: argparse.Namespace,
    reuse: dict[str, Any],
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """All recordings by one engine: their answers, and what the engine told about itself."""
    earlier = reuse.get("answers", {}).get(weights.name, {}).get(setting.label, {}) if setting.label != OURS else {}
    wanted = [recording for recording in recordings if spoken(recording, weights)]
    said = {
        r.name: {**earlier[r.name], "reused": True} for r in wanted if "error" not in earlier.get(r.name, {"error": ""})
    }
    fact = reuse.get("engines", {}).get(setting.label, {})
    if len(said) == len(wanted):
        return said, fact
    begin = time.perf_counter()
    with Worker(pythons[setting.engine], setting, arguments.threads, arguments.log) as worker:
        fact = worker.load(weights.path(setting.engine))["versions"] | {"dtype": setting.dtype, "mode": setting.mode}
        for number, recording in enumerate(wanted, 1):
            if recording.name in said:
                continue
            progress = f"\r{weights.name} {setting.label}: {number}/{len(wanted)} {recording.name:40}"
            print(progress, end="", file=sys.stderr, flush=True)
            try:
                answer = worker.run(recording.file, recording.language or "en")
            except EngineError as error:
                # An engine that fails on a clip has said nothing: that is scored, and told.
                answer = {"text": "", "seconds": 0.0, "error": str(error)}
            said[recording.name] = {key: answer[key] for key in ("text", "error") if key in answer}
            said[recording.name]["seconds"] = round(answer["seconds"], 3)
    print(f"\r{weights.name} {setting.label}: {time.perf_counter() - begin:.0f} s{'':60}", file=sys.stderr)
    return {recording.name: said[recording.name] for recording in wanted}, fact


def score_all(
    models: list[Weights], recordings: list[Recording], answers: Answers, python: Path
) -> dict[str, list[Row]]:
    """Model -> its rows, in the manifest's order."""
    counting = [setting.label for setting in SETTINGS if setting.counts and setting.label != OURS]
    tables: dict[str, list[Row]] = {}
    normalizer = Normalizer(python)
    for weights in models:
        rows = defaultdict(list)
        for recording in recordings:
            if spoken(recording, weights):
                rows[recording.row].append(recording)
        columns = answers[weights.name]
        texts = {column: {name: said["text"] for name, said in columns[column].items()} for column in columns}
        tables[weights.name] = [judge(group, texts, OURS, counting, normalizer) for group in rows.values()]
    normalizer.close()
    return tables


def report(arguments: argparse.Namespace, tables: dict[str, list[Row]], answers: Answers, facts: dict[str, Any]) -> int:
    """Print and write the tables; returns the exit status."""
    short = [(name, row) for name, rows in tables.items() for row in rows if row.ok is False and row.required]
    text = markdown(arguments, tables, answers, facts, short)
    data = {
        "conditions": CONDITIONS,
        "machine": machine.describe(),
        "engines": facts,
        "reused": arguments.reuse.name if arguments.reuse else None,
        "tables": {name: [asdict(row) for row in rows] for name, rows in tables.items()},
        "answers": answers,
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    (arguments.results / f"{arguments.name}.partial.json").unlink(missing_ok=True)
    print(text)
    return 1 if short else 0


def markdown(
    arguments: argparse.Namespace,
    tables: dict[str, list[Row]],
    answers: Answers,
    facts: dict[str, Any],
    short: list[tuple[str, Row]],
) -> str:
    """The report."""
    lines = ["# Accuracy beside other engines", "", f"Machine: {machine.one_line(machine.describe())}.", "", CONDITIONS]
    versions = {
        f"{package} {version}"
        for fact in facts.values()
        for package, version in fact.items()
        if package not in ("dtype", "mode", "python", "numpy")
    }
    lines += ["", f"Versions: {', '.join(sorted(versions))}."]
    if arguments.reuse:
        lines += ["", "**Not one run**: texts of the peers were taken from an earlier result (--reuse)."]
    for name, rows in tables.items():
        lines += ["", f"## {name}", "", *table(rows)]
        failed = [
            f"* {column}, {recording}: {said['error']}"
            for column, column_answers in answers[name].items()
            for recording, said in column_answers.items()
            if "error" in said
        ]
        lines += ["", "Failed recordings, scored as empty:", "", *failed] if failed else []
        for row in rows:
            lines += ["", *explain(row)] if row.differing else []
    if any(OURS in row.scores for rows in tables.values() for row in rows):
        verdict = f"{len(short)} rows fall short" if short else "every row holds"
        lines += [
            "",
            (
                f"Requirement: at most {RELATIVE_MARGIN:.0%} relative or {ERROR_MARGIN} errors worse than the best of "
                f"the peers in every row of {LEAST_UNITS} units or more; no words on non-speech. **{verdict}**."
            ),
        ]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """One model's rows: error rate in per cent and, in brackets, errors (deleted)."""
    columns = list(rows[0].scores)
    lines = [f"| row | clips | units | {' | '.join(columns)} | verdict |", "|---" * (len(columns) + 4) + "|"]
    for row in rows:
        length = next(iter(row.scores.values())).length
        cells = [
            str(s.insertions) if row.name == NONSPEECH else f"{s.rate:.1f} ({s.errors}, {s.deletions} del)"
            for s in row.scores.values()
        ]
        verdict = "" if row.ok is None else ("ok" if row.ok else "SHORT") + ("" if row.required else " (information)")
        units = row.unit if row.name == NONSPEECH else f"{length} {row.unit}"
        lines.append(f"| {row.name} | {row.recordings} | {units} | {' | '.join(cells)} | {verdict} |")
    return lines


def explain(row: Row) -> list[str]:
    """Every differing word of a row that falls short."""
    lines = [f"### {row.name}: what differs from {row.best}", ""]
    for name, sides in row.differing.items():
        lines.append(f"* {name}")
        for side, label in (("ours", "only ours"), ("best", f"only {row.best}")):
            lines += [f"  * {label}: {difference}" for difference in sides[side]]
    return lines


if __name__ == "__main__":
    sys.exit(told(main))
