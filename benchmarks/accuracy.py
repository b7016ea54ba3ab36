"""Error rates of voxport beside faster-whisper, openai-whisper and transformers: same weights, same clips and settings.

    python benchmarks/accuracy.py                      # greedy
    python benchmarks/accuracy.py --decoding beam      # five beams, temperature fallback

Exit status 1 if ours is worse than the best peer by more than 2 % (relative) and more than three words in any row of
100 words or more, or says a word where nobody speaks; with --decoding beam also if it is not ahead of every peer in the
sum of the rows that repeat no speech. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import prompts
from recordings import DEFAULT_MANIFEST, Recording, join, joinable, orders, read_manifest
from scoring import Normalizer, Score
from verdicts import ERROR_MARGIN, LEAST_UNITS, NONSPEECH, RELATIVE_MARGIN, REPEATING, Row, judge, total
from weights import Weights, add_model_options, gather
from worker_client import NAMES, EngineError, Setting, Worker, add_environment_options, interpreters, told

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "voxport"
SETTINGS = (
    Setting(OURS, "voxport", "text"),
    Setting("faster-whisper", "faster_whisper", "text"),
    Setting("openai-whisper", "openai_whisper", "text"),
    Setting("transformers", "transformers", "text"),
    Setting("faster-whisper vad", "faster_whisper", "vad", counts=False),
    Setting("faster-whisper batched", "faster_whisper", "batched", counts=False),
)
COMMON = (
    "no conditioning on previous text, timestamps on, the clip's language given to every engine (English for "
    "non-speech), float32, same weights. voxport runs at its defaults otherwise (with VAD); faster-whisper at its own "
)
INFORMATION = (
    " For information only: faster-whisper with vad_filter=True, and its BatchedInferencePipeline (VAD, batch 8, no "
    "timestamps)."
)
CONDITIONS = {
    "greedy": (
        f"Greedy (temperature 0, beam 1), no fallback, {COMMON}(no VAD; its log-probability and no-speech thresholds "
        "of -1 and 0.6 stay on, as do openai-whisper's); transformers by its sequential long-form algorithm."
    ),
    "beam": (
        "Five beams, patience 1, best of 5 samples; temperatures 0, 0.2, 0.4, 0.6, 0.8, 1.0 while the compression "
        f"ratio is above 2.4 or the average log probability below -1; no-speech threshold 0.6; {COMMON}(no VAD); "
        "transformers by its sequential long-form algorithm, with the compression ratio of tokens and its "
        "documentation's threshold of 1.35 for that, and one sample at each temperature, since it knows no best_of. "
        "Samples are drawn with seed 0, set before every recording (CTranslate2: before the first)."
    ),
}
SHORTEST_LIMITED = 30.0
"""A limit is that of a recording of so many seconds where it is shorter: a window."""
Answers = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Model -> column -> recording -> {text, seconds, reused?}."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Error rates beside other engines on the same weights.")
    add_model_options(parser)
    add_environment_options(parser)
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--engines", default=",".join(NAMES), help="comma-separated, of " + ", ".join(NAMES))
    parser.add_argument("--decoding", choices=tuple(CONDITIONS), default="greedy", help="how words are chosen")
    parser.add_argument(
        "--prompts", type=Path, default=prompts.MANIFEST, help="another manifest, of prompts.py; left out if absent"
    )
    parser.add_argument("--kinds", help="only these kinds, comma-separated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--limit",
        type=float,
        metavar="N",
        help="processor seconds for a second of a recording; beyond, it counts as failed",
    )
    parser.add_argument("--dtype", default="float32", help="voxport's dtype (the peers stay at float32)")
    parser.add_argument(
        "--reuse",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="take the peers' texts from an earlier result, or its .partial.json; repeat for several",
    )
    parser.add_argument("--rescore", action="store_true", help="take voxport's texts from there as well")
    parser.add_argument("--no-information", action="store_true", help="leave out the columns that are information only")
    parser.add_argument("--no-joined", action="store_true", help="leave out the row of the joined long recording")
    parser.add_argument(
        "--joined-orders", type=int, default=1, help="join it, and the prompts, in so many orders, all in one row"
    )
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", help="name of the result files (default: accuracy, or accuracy-beam)")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    arguments = parser.parse_args()
    if arguments.rescore and not arguments.reuse:
        parser.error("--rescore takes all texts from --reuse JSON")
    arguments.name = arguments.name or ("accuracy" if arguments.decoding == "greedy" else "accuracy-beam")
    return arguments


def main() -> int:
    arguments = parse()
    engines = set(arguments.engines.split(","))
    pythons = interpreters(arguments.environments, arguments.python)
    missing = sorted((engines | {"openai_whisper"}) - set(pythons))
    if missing:
        raise SystemExit(f"not built or unknown: {', '.join(missing)}; run `python benchmarks/setup_engines.py`")
    recordings = read_manifest(arguments.manifest)
    if arguments.prompts.exists():
        recordings += read_manifest(arguments.prompts)
    else:
        print(f"no telephone prompts at {arguments.prompts}: run `python benchmarks/prompts.py`", file=sys.stderr)
    if arguments.kinds:
        recordings = [recording for recording in recordings if recording.kind in arguments.kinds.split(",")]
    settings = [
        replace(s, dtype=arguments.dtype if s.label == OURS else s.dtype, decoding=arguments.decoding)
        for s in SETTINGS
        if s.engine in engines and (s.counts or not arguments.no_information)
    ]
    partial = arguments.results / f"{arguments.name}.partial.json"
    reuse = earlier_answers(arguments.reuse, arguments.decoding)
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.no_joined:
            recordings += joined(recordings, arguments.joined_orders, Path(folder))
        models = gather(arguments, pythons, engines)
        answers: Answers = {}
        facts: dict[str, Any] = {}
        for weights in models:
            for setting in settings:
                said = answers.setdefault(weights.name, {}).setdefault(setting.label, {})
                for fact in transcribe(setting, weights, recordings, pythons, arguments, reuse, said):
                    facts[setting.label] = facts.get(setting.label) or fact
                    # So that a run that was stopped can go on with --reuse.
                    machine.write_json(partial, {"decoding": arguments.decoding, "engines": facts, "answers": answers})
    tables = score_all(models, recordings, answers, pythons["openai_whisper"])
    return report(arguments, tables, answers, facts)


def joined(recordings: list[Recording], count: int, folder: Path) -> list[Recording]:
    """The joined long recording in `count` orders, and the joined prompts of each language in those but the first,
    which their manifest has."""
    found = []
    if joinable(recordings):
        for seed, order in enumerate(orders(joinable(recordings), count)):
            found.append(join(order, folder / f"joined-real-en{f'-{seed}' if seed else ''}.flac"))
    for whole in [recording for recording in recordings if recording.kind == prompts.JOINED_KIND]:
        parts = [one for one in recordings if one.kind == prompts.KIND and one.language == whole.language]
        for seed, order in enumerate(orders(parts, count)[1:], start=1):
            again = join(order, folder / f"{whole.name}-{seed}.flac", whole.kind)
            found.append(replace(again, group=whole.group))
    return found


def earlier_answers(files: list[Path], decoding: str) -> dict[str, Any]:
    """``engines`` and ``answers`` of earlier results, those of later files before those of earlier ones.

    Raises:
        SystemExit: a result of another decoding.
    """
    engines: dict[str, Any] = {}
    answers: Answers = {}
    for file in files:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result.get("decoding", "greedy") != decoding:
            raise SystemExit(f"--reuse {file}: not a result of --decoding {decoding}")
        engines |= {column: fact for column, fact in result["engines"].items() if fact}
        for model, columns in result["answers"].items():
            for column, said in columns.items():
                answers.setdefault(model, {}).setdefault(column, {}).update(said)
    return {"engines": engines, "answers": answers}


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
    said: dict[str, dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """All recordings by one engine, their answers put into `said` one by one.

    Yields:
        After every recording, what the engine told about itself.
    """
    reused = arguments.rescore or setting.label != OURS
    earlier = reuse["answers"].get(weights.name, {}).get(setting.label, {}) if reused else {}
    wanted = [recording for recording in recordings if spoken(recording, weights)]
    kept = {r.name for r in wanted if "error" not in earlier.get(r.name, {"error": ""})}
    said |= {
        recording.name: {**earlier[recording.name], "reused": True} for recording in wanted if recording.name in kept
    }
    yield reuse["engines"].get(setting.label, {})
    if len(kept) == len(wanted):
        return
    if arguments.rescore:
        raise SystemExit(f"--rescore: {weights.name}, {setting.label}: {len(wanted) - len(kept)} texts are missing")
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:

        def start() -> tuple[Worker, dict[str, Any]]:
            worker = Worker(pythons[setting.engine], setting, arguments.threads, arguments.log)
            return stack.enter_context(worker), worker.load(weights.path(setting.engine))["versions"]

        worker, versions = start()
        fact = versions | {"dtype": setting.dtype, "mode": setting.mode, "threads": arguments.threads}
        for number, recording in enumerate(wanted, 1):
            if recording.name in kept:
                continue
            progress = f"\r{weights.name} {setting.label}: {number}/{len(wanted)} {recording.name:40}"
            print(progress, end="", file=sys.stderr, flush=True)
            try:
                limit = arguments.limit and arguments.limit * max(SHORTEST_LIMITED, recording.seconds)
                answer = worker.run(recording.file, recording.language or "en", limit)
            except EngineError as error:
                # An engine that fails on a clip has said nothing: that is scored, and told.
                answer = {"text": "", "seconds": 0.0, "error": str(error)}
                if worker.ended:
                    worker, _ = start()
            said[recording.name] = {key: answer[key] for key in ("text", "error") if key in answer}
            said[recording.name]["seconds"] = round(answer["seconds"], 3)
            yield fact
    print(f"\r{weights.name} {setting.label}: {time.perf_counter() - begin:.0f} s{'':60}", file=sys.stderr)


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
    failed = shortfalls(tables, arguments.decoding)
    text = markdown(arguments, tables, answers, facts, failed)
    data = {
        "conditions": CONDITIONS[arguments.decoding],
        "decoding": arguments.decoding,
        "machine": machine.describe(),
        "engines": facts,
        "reused": [file.name for file in arguments.reuse],
        "failed": failed,
        "tables": {name: [asdict(row) for row in rows] for name, rows in tables.items()},
        "sums": {name: {c: asdict(score) for c, score in total(rows).items()} for name, rows in tables.items()},
        "answers": answers,
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    (arguments.results / f"{arguments.name}.partial.json").unlink(missing_ok=True)
    print(text)
    return 1 if failed else 0


def shortfalls(tables: dict[str, list[Row]], decoding: str) -> list[str]:
    """What misses the requirement, in words."""
    failed = [
        f"{name}, {row.name}" for name, rows in tables.items() for row in rows if row.required and row.ok is False
    ]
    if decoding == "greedy":
        return failed
    for name, rows in tables.items():
        ours, peers = sums(rows)
        if ours is not None and peers and ours >= min(peers.values()):
            failed.append(f"{name}, sum: {ours} errors, the best peer {min(peers.values())}")
    return failed


def sums(rows: list[Row]) -> tuple[int | None, dict[str, int]]:
    """Errors in the sum of `total`: ours, and each peer's that counts."""
    errors = {column: score.errors for column, score in total(rows).items()}
    counting = [setting.label for setting in SETTINGS if setting.counts and setting.label != OURS]
    return errors.get(OURS), {column: errors[column] for column in counting if column in errors}


def markdown(
    arguments: argparse.Namespace,
    tables: dict[str, list[Row]],
    answers: Answers,
    facts: dict[str, Any],
    failed: list[str],
) -> str:
    """The report."""
    lines = ["# Accuracy beside other engines", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += [CONDITIONS[arguments.decoding] + ("" if arguments.no_information else INFORMATION)]
    versions = {
        f"{package} {version}"
        for fact in facts.values()
        for package, version in fact.items()
        if package not in ("dtype", "mode", "threads", "python", "numpy")
    }
    lines += ["", f"Versions: {', '.join(sorted(versions))}."]
    if arguments.rescore:
        lines += ["", "**Scored again**: all texts were taken from an earlier result (--rescore)."]
    elif arguments.reuse:
        lines += ["", "**Not one run**: texts of the peers were taken from an earlier result (--reuse)."]
    for name, rows in tables.items():
        lines += ["", f"## {name}", "", *table(rows)]
        broken = [
            f"* {column}, {recording}: {said['error']}"
            for column, column_answers in answers[name].items()
            for recording, said in column_answers.items()
            if "error" in said
        ]
        lines += ["", "Failed recordings, scored as empty:", "", *broken] if broken else []
        for row in rows:
            lines += ["", *explain(row)] if row.differing else []
    if any(OURS in row.scores for rows in tables.values() for row in rows):
        ahead = "" if arguments.decoding == "greedy" else "; fewer errors than every peer in the sum"
        lines += [
            "",
            (
                f"Requirement: at most {RELATIVE_MARGIN:.0%} relative or {ERROR_MARGIN} errors worse than the best of "
                f"the peers in every row of {LEAST_UNITS} units or more; no words on non-speech{ahead}. "
                f"**{'Short: ' + '; '.join(failed) if failed else 'All of it holds'}.**"
            ),
        ]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """One model's rows: error rate in per cent and, in brackets, errors (deleted)."""
    columns = list(rows[0].scores)
    lines = [f"| row | clips | units | {' | '.join(columns)} | verdict |", "|---" * (len(columns) + 4) + "|"]
    for row in rows:
        length = next(iter(row.scores.values())).length
        cells = [str(s.insertions) if row.name == NONSPEECH else cell(s) for s in row.scores.values()]
        verdict = "" if row.ok is None else ("ok" if row.ok else "SHORT") + ("" if row.required else " (information)")
        units = row.unit if row.name == NONSPEECH else f"{length} {row.unit}"
        lines.append(f"| {row.name} | {row.recordings} | {units} | {' | '.join(cells)} | {verdict} |")
    whole, (ours, peers) = total(rows), sums(rows)
    if whole:
        least = min(peers.values(), default=0)
        places = {-1: "ahead", 0: "level", 1: "behind"}
        verdict = "" if ours is None or not peers else places[(ours > least) - (ours < least)]
        clips = sum(row.recordings for row in rows if row.kind not in REPEATING and row.kind != NONSPEECH)
        cells = [cell(score) for score in whole.values()]
        lines.append(f"| **sum** | {clips} | {next(iter(whole.values())).length} | {' | '.join(cells)} | {verdict} |")
        kinds = dict.fromkeys(row.kind for row in rows if row.kind not in REPEATING and row.kind != NONSPEECH)
        lines += ["", f"The sum is over the kinds that repeat no speech of others: {', '.join(kinds)}."]
    return lines


def cell(score: Score) -> str:
    """Error rate in per cent and, in brackets, errors (deleted)."""
    return f"{score.rate:.1f} ({score.errors}, {score.deletions} del)"


def explain(row: Row) -> list[str]:
    """Every word of a row that differs between ours and the best peer, [reference -> said]."""
    if row.kind == NONSPEECH:
        said = [f"* {name}: {sides['ours'][0]}" for name, sides in row.differing.items()]
        return ["Said where nobody speaks:", "", *said]
    lines = [f"{row.name}: what differs from {row.best}", ""]
    for name, sides in row.differing.items():
        named = (("only ours", sides["ours"]), (f"only {row.best}", sides["best"]))
        lines.append(f"* {name}: " + "; ".join(f"{label}: {', '.join(found)}" for label, found in named if found))
    return lines


if __name__ == "__main__":
    sys.exit(told(main))
