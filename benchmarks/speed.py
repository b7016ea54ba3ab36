"""How fast voxport is beside faster-whisper, openai-whisper and transformers: same weights, clips and settings.

    python benchmarks/speed.py
    python benchmarks/speed.py --tables beam-window,beam --name speed-beam

Two tables for each Whisper: one window (the bare model), and the defaults (voice activity detection, timestamps) on
short clips and on long recordings; both greedy and with five beams. One for MedASR: a window, beside transformers
(medasr_speed.py). Exit status 1 if a required ratio is missed. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import medasr_speed
from interleaved import Column, Engines, Session, Spread, ratio
from recordings import DEFAULT_MANIFEST, Recording, join, joinable, read_manifest
from scoring import Normalizer, Score, score, symbols
from weights import add_model_options, gather
from worker_client import NAMES, Setting, add_environment_options, interpreters, told

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "voxport float32"
WINDOW = (
    Setting(OURS, "voxport", "window"),
    Setting("faster-whisper float32", "faster_whisper", "window"),
    Setting("openai-whisper float32", "openai_whisper", "window"),
    Setting("transformers float32", "transformers", "window"),
    Setting("faster-whisper int8", "faster_whisper", "window", "int8"),
    Setting("voxport bfloat16", "voxport", "window", "bfloat16"),
)
DEFAULTS = (
    Setting(OURS, "voxport", "default"),
    Setting("faster-whisper int8", "faster_whisper", "default", "int8"),
    Setting("faster-whisper int8 batched", "faster_whisper", "batched", "int8"),
)
BEAM_WINDOW = (
    Setting(OURS, "voxport", "window", decoding="beam"),
    Setting("faster-whisper float32", "faster_whisper", "window", decoding="beam"),
    Setting("voxport float32, greedy", "voxport", "window"),
    Setting("faster-whisper float32, greedy", "faster_whisper", "window"),
)
BEAM_DEFAULTS = (
    Setting(OURS, "voxport", "default", decoding="beam"),
    Setting("faster-whisper float32", "faster_whisper", "default", decoding="beam"),
    Setting("faster-whisper int8", "faster_whisper", "default", "int8", decoding="beam"),
)
WHISPER_TABLES = {"window": WINDOW, "default": DEFAULTS, "beam-window": BEAM_WINDOW, "beam": BEAM_DEFAULTS}
REQUIRED: dict[str, dict[str, float]] = {
    "window": {"faster-whisper float32": 1.2, "openai-whisper float32": 1.5},
    "default": {"faster-whisper int8": 1.0},
    "beam-window": {"faster-whisper float32": 1.0},
    "beam": {"faster-whisper float32": 1.0},
}
"""Table -> column -> how many times as long it must take."""
CONDITIONS = {
    "window": (
        "One window of at most 30 s from samples in memory: features, encoder, decoder. Greedy, no voice activity "
        "detection, no timestamps, no no-speech rule, no fallback."
    ),
    "default": (
        "From the file to text: decoding, voice activity detection, timestamps; greedy, no fallback, no conditioning "
        "on previous text; defaults otherwise. faster-whisper with vad_filter=True; batched: its "
        "BatchedInferencePipeline, batch 8 (no timestamps within a window), for information."
    ),
    "beam-window": (
        "One window of at most 30 s from samples in memory: features, encoder, decoder. Five beams, patience 1, no "
        "voice activity detection, no timestamps, no no-speech rule, no fallback. The greedy columns show what the "
        "beams cost each side; they are for information."
    ),
    "beam": (
        "From the file to text: decoding, voice activity detection, timestamps; five beams, patience 1, best of 5 "
        "samples at temperatures up to 1.0 where the compression ratio is above 2.4 or the average log probability "
        "below -1, no-speech threshold 0.6, no conditioning on previous text. faster-whisper with vad_filter=True; "
        "int8 for information."
    ),
}
SHORTEST, LONGEST = 2.0, 30.0
MEDASR = "medasr"
TABLES = ("window", "default", MEDASR)
"""Those of a run without ``--tables``."""


@dataclass
class Table:
    """One model on one set of recordings.

    Attributes:
        model, recordings: names.
        kind: of `CONDITIONS`.
        seconds: length of all recordings.
        session: the figures.
        scores: column -> errors in words.
        same: column -> recordings with the same normalised words as ours.
    """

    model: str
    kind: str
    recordings: str
    seconds: float
    session: Session
    scores: dict[str, Score]
    same: dict[str, int]

    @property
    def ours(self) -> Column:
        return next(column for column in self.session.columns if column.setting.label == OURS)

    def missed(self) -> list[str]:
        """Columns whose required ratio is missed."""
        return [
            column.setting.label
            for column in self.session.columns
            if ratio(column, self.ours).median < REQUIRED[self.kind].get(column.setting.label, 0.0)
        ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed beside other engines on the same weights.")
    add_model_options(parser)
    add_environment_options(parser)
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--engines", default=",".join(NAMES), help="comma-separated, of " + ", ".join(NAMES))
    known = (*WHISPER_TABLES, MEDASR)
    parser.add_argument(
        "--tables", default=",".join(TABLES), help=f"comma-separated, of {', '.join(known)} (default: %(default)s)"
    )
    parser.add_argument(
        "--medasr", type=Path, metavar="FOLDER", help="of model type lasr_ctc (default: random weights, true shape)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8, help="short clips, spread over the lengths that there are")
    parser.add_argument("--rounds", type=int, default=7, help="for short clips, and of MedASR's window")
    parser.add_argument("--long-rounds", type=int, default=3, help="for long recordings; 0 leaves them out")
    parser.add_argument("--no-bfloat16", action="store_true", help="leave bfloat16 out")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="speed", help="name of the result files")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    arguments = parser.parse_args()
    arguments.tables = arguments.tables.split(",")
    unknown = sorted(set(arguments.tables) - set(known))
    if unknown:
        parser.error(f"unknown table {unknown[0]!r}; known: {', '.join(known)}")
    return arguments


def short_clips(recordings: Sequence[Recording], count: int) -> list[Recording]:
    """`count` English clips of human speech that fit one window, evenly spread over the clips sorted by length.

    Raises:
        SystemExit: the manifest has none.
    """
    fitting = [recording for recording in joinable(list(recordings)) if SHORTEST <= recording.seconds <= LONGEST]
    if not fitting:
        raise SystemExit(f"the manifest has no English clip of kind real and {SHORTEST:g} to {LONGEST:g} seconds")
    fitting.sort(key=lambda recording: (recording.seconds, recording.name))
    count = min(count, len(fitting))
    return [fitting[round(place * (len(fitting) - 1) / max(1, count - 1))] for place in range(count)]


def main() -> int:
    arguments = parse()
    engines = set(arguments.engines.split(","))
    pythons = interpreters(arguments.environments, arguments.python)
    whisper, medasr = set(arguments.tables) != {MEDASR}, MEDASR in arguments.tables
    if medasr and not engines >= medasr_speed.ENGINES:
        needed = " and ".join(sorted(medasr_speed.ENGINES))
        raise SystemExit(f"the table medasr needs {needed} in --engines; or leave it out of --tables")
    needed_engines = (engines | {"openai_whisper"} if whisper else set()) | (medasr_speed.ENGINES if medasr else set())
    missing = sorted(needed_engines - set(pythons))
    if missing:
        raise SystemExit(f"not built or unknown: {', '.join(missing)}; run `python benchmarks/setup_engines.py`")
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        if whisper:
            status |= measure(arguments, pythons, engines, Path(folder))
        if medasr:
            status |= medasr_speed.measure(arguments, pythons, Path(folder))
    return status


def measure(arguments: argparse.Namespace, pythons: dict[str, Path], engines: set[str], folder: Path) -> int:
    """Whisper's tables: time and score, print and write them; returns the exit status.

    Args:
        arguments: see `parse`.
        pythons: engine -> interpreter.
        engines: those asked for.
        folder: for the joined recording.

    Raises:
        EngineError: an engine failed.
    """
    bfloat16 = machine.has_bfloat16() and not arguments.no_bfloat16
    recordings = read_manifest(arguments.manifest)
    short = short_clips(recordings, arguments.clips)
    long = [recording for recording in recordings if recording.kind == "longform"]
    tables: list[Table] = []
    joined = join([*joinable(recordings), *long], folder / "joined.flac")
    sets = {kind: [("short clips", short)] for kind in WHISPER_TABLES}
    if arguments.long_rounds:
        for kind in ("default", "beam"):
            sets[kind] += [(recording.name, [recording]) for recording in (*long, joined)]
    normalizer = Normalizer(pythons["openai_whisper"])
    for weights in gather(arguments, pythons, engines):
        for kind, settings in WHISPER_TABLES.items():
            if kind not in arguments.tables:
                continue
            chosen = [s for s in settings if s.engine in engines and (bfloat16 or s.dtype != "bfloat16")]
            print(f"{weights.name}, {kind}: {', '.join(s.label for s in chosen)}", file=sys.stderr)
            with Engines(chosen, weights, pythons, arguments.threads, arguments.log) as loaded:
                for name, chosen_recordings in sets[kind]:
                    rounds = arguments.rounds if name == "short clips" else arguments.long_rounds
                    warm_up = len(chosen_recordings) if name == "short clips" else 0
                    session = loaded.measure(chosen_recordings, rounds, warm_up=warm_up)
                    tables.append(judge(weights.name, kind, name, chosen_recordings, session, normalizer))
    normalizer.close()
    return report(arguments, tables)


def judge(
    model: str, kind: str, name: str, recordings: Sequence[Recording], session: Session, normalizer: Normalizer
) -> Table:
    """Score what was said, and compare it with ours."""
    said = {
        column.setting.label: {
            recording.name: symbols(column.texts[recording.name], "en", "", normalizer) for recording in recordings
        }
        for column in session.columns
    }
    references = {recording.name: symbols(recording.text, "en", "", normalizer) for recording in recordings}
    scores = {
        label: sum((score(references[clip], text) for clip, text in texts.items()), Score())
        for label, texts in said.items()
    }
    ours = said.get(OURS, {})
    same = {label: sum(ours.get(clip) == text for clip, text in texts.items()) for label, texts in said.items()}
    return Table(model, kind, name, sum(recording.seconds for recording in recordings), session, scores, same)


def report(arguments: argparse.Namespace, tables: list[Table]) -> int:
    """Print and write the tables; returns the exit status."""
    compared = any(column.setting.label == OURS for table in tables for column in table.session.columns)
    missed = [f"{t.model}, {t.kind}, {t.recordings}: {label}" for t in tables if compared for label in t.missed()]
    lines = ["# Speed beside other engines", "", f"Machine: {machine.one_line(machine.describe())}."]
    lines += [
        "",
        "Engines loaded side by side, one working at a time, in turn on every recording; the same weights and",
    ]
    lines += [
        f"language (English); threads for each: {arguments.threads}; warmed up. Seconds: all recordings of the row,"
    ]
    lines += ["median of the rounds [lowest-highest]. Ratio: the engine's seconds over voxport's, per round, above 1 ="]
    lines += ["voxport is faster. Cores: processor seconds per second. WER in per cent (deleted words)."]
    for table in tables:
        lines += ["", f"## {table.model}, {table.kind}: {table.recordings}", "", CONDITIONS[table.kind]]
        lines += ["", *rows(table, compared)]
    if compared:
        lines += ["", f"**Missed: {'; '.join(missed)}**" if missed else "**Every required ratio is met.**"]
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "conditions": CONDITIONS,
        "required": REQUIRED,
        "missed": missed,
        "tables": [as_dict(table, compared) for table in tables],
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    print(text)
    return 1 if missed else 0


def rows(table: Table, compared: bool) -> list[str]:
    """One table in Markdown."""
    clips = len(table.session.columns[0].seconds)
    lines = [
        "| engine | seconds | times real time | ratio | required | cores | WER | same words as ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for column in table.session.columns:
        label = column.setting.label
        taken, errors = Spread.of(column.rounds()), table.scores[label]
        against = str(ratio(column, table.ours)) if compared else ""
        required = REQUIRED[table.kind].get(label)
        cells = [
            label,
            str(taken),
            f"{table.seconds / taken.median:.1f}",
            against,
            f"{required:g}" if required else "",
            f"{column.cores():.2f}",
            f"{errors.rate:.1f} ({errors.deletions})",
            f"{table.same[label]} of {clips}" if compared else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    load = table.session.other_load
    lines += ["", f"{clips} recordings, {table.seconds:.1f} s, {len(table.session.columns[0].rounds())} rounds."]
    for stage, what in (("vad", "Voice activity detection"), ("places", "Asking where each word was heard")):
        share = stage_share(table, stage)
        if share is not None:
            lines[-1] += f" {what} took {share:.1%} of voxport's time."
    if load is not None:
        lines[-1] += f" Cores busy with anything else meanwhile, on average: {load:.2f}."
    return lines


def stage_share(table: Table, stage: str) -> float | None:
    """Of our time in the last round; None where there was no such stage."""
    ours = [column for column in table.session.columns if column.setting.label == OURS]
    stages = [stages for column in ours for stages in column.stages.values()]
    spent, total = (sum(stage.get(name, 0.0) for stage in stages) for name in (stage, "total"))
    return spent / total if spent else None


def as_dict(table: Table, compared: bool) -> dict[str, Any]:
    """One table for the JSON file, with every single figure."""
    return {
        "model": table.model,
        "kind": table.kind,
        "recordings": table.recordings,
        "seconds": table.seconds,
        "other_load": table.session.other_load,
        "columns": [
            asdict(column)
            | {
                "cores": column.cores(),
                "ratio": asdict(ratio(column, table.ours)) if compared else None,
                "score": asdict(table.scores[column.setting.label]),
            }
            for column in table.session.columns
        ],
    }


if __name__ == "__main__":
    sys.exit(told(main))
