"""Whether words are lost or doubled where a long recording is cut, and whether memory stays flat over an hour.

    python benchmarks/long_form.py

Long recordings whose parts are known: the manifest's recordings of kind longform, every English clip of kind real one
after the other, and an hour of those clips in shuffled order with pauses of random length. Each clip is also heard on
its own; what is lost or doubled at a clip's edges in the long recording is held against that. Exit status 1 if more is
lost or doubled there than on the single clips, or memory grows. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import machine
from cuts import Found, attribute
from recordings import DEFAULT_MANIFEST, SAMPLE_RATE, Recording, join, joinable, playlist, read_manifest
from scoring import own_normalizer
from weights import DEFAULT_MODELS, locate
from worker_client import Setting, Worker, told

DECODINGS = "greedy,beam"
MINUTES = (10.0, 30.0, 60.0)
MEMORY_ALLOWANCE = 50 * 2**20
MIB = 2**20


@dataclass(frozen=True)
class Long:
    """A long recording and the clips that it is made of, in order."""

    name: str
    file: Path
    clips: list[Recording]
    seconds: float


@dataclass
class Outcome:
    """One long recording under one model and decoding.

    Attributes:
        model, decoding, recording: names.
        audio_seconds, seconds: length of the recording, and from the file to the words.
        words: in the references of all clips.
        long, single: errors in the long recording, and the sum over its clips on their own.
        memory: minutes of the recording -> the most bytes in memory since the minutes before.
        worse: clips of which more words were lost or added than of the clip alone: "number name: differences".
    """

    model: str
    decoding: str
    recording: str
    audio_seconds: float
    seconds: float
    words: int
    long: Found
    single: Found
    memory: dict[float, int] = field(default_factory=dict)
    worse: list[str] = field(default_factory=list)

    def failures(self) -> list[str]:
        """Requirements missed, in words."""
        what = f"{self.model}, {self.decoding}, {self.recording}"
        found = []
        for name in ("lost_at_cut", "doubled_at_cut"):
            ours, alone = getattr(self.long, name), getattr(self.single, name)
            if ours > alone:
                found.append(f"{what}: {ours} words {name.replace('_', ' ')}, {alone} on the single clips")
        marks = sorted(self.memory)
        if len(marks) > 1 and self.memory[marks[-1]] > self.memory[marks[-2]] + MEMORY_ALLOWANCE:
            more = (self.memory[marks[-1]] - self.memory[marks[-2]]) / MIB
            found.append(f"{what}: {more:.0f} MiB more after minute {marks[-2]:g}")
        return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Words at the cuts of long recordings, and memory over an hour.")
    parser.add_argument(
        "--models", default=",".join(DEFAULT_MODELS), help="comma-separated names or folders (default: %(default)s)"
    )
    parser.add_argument("--decodings", default=DECODINGS, help="comma-separated, of greedy, beam")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the recording in shuffled order; 0 = without")
    parser.add_argument("--only-minutes", action="store_true", help="leave the shorter long recordings out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the clips' order and the pauses")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="long_form", help="name of the result files")
    parser.add_argument("--log", type=Path, help="append the workers' standard error to this file")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        longs = recordings(arguments, Path(folder))
        for name in arguments.models.split(","):
            model = locate(name, Path(sys.executable))
            for decoding in arguments.decodings.split(","):
                outcomes += measure(arguments, Path(name).name, model, decoding, longs)
                write(arguments, outcomes)
    return report(arguments, outcomes)


def recordings(arguments: argparse.Namespace, folder: Path) -> list[Long]:
    """The long recordings, those that are made written to `folder`."""
    everything = read_manifest(arguments.manifest)
    clips = joinable(everything)
    found: list[Long] = []
    if not arguments.only_minutes:
        for recording in everything:
            if recording.kind == "longform":
                parts = cut_parts(arguments.manifest, recording, folder)
                found.append(Long(recording.name, recording.file, parts, recording.seconds))
        joined = join(clips, folder / "joined.flac")
        found.append(Long("joined", joined.file, clips, joined.seconds))
    if arguments.minutes:
        found.append(shuffled(clips, arguments.minutes * 60, arguments.seed, folder / "hour.flac"))
    return found


def cut_parts(manifest: Path, recording: Recording, folder: Path) -> list[Recording]:
    """The utterances of a long recording by the manifest's ``segments`` (clip, start, end, text), cut out."""
    import soundfile

    entries = map(json.loads, manifest.read_text(encoding="utf-8").splitlines())
    entry = next(entry for entry in entries if Path(entry["file"]).stem == recording.name)
    samples, rate = soundfile.read(recording.file, dtype="int16")
    parts = []
    for segment in entry["segments"]:
        file = folder / f"{recording.name}-{segment['clip']}.flac"
        soundfile.write(file, samples[round(segment["start"] * rate) : round(segment["end"] * rate)], rate, "PCM_16")
        length = segment["end"] - segment["start"]
        parts.append(Recording(file.stem, file, segment["text"], recording.language, recording.kind, "", length))
    return parts


def shuffled(clips: list[Recording], seconds: float, seed: int, output: Path) -> Long:
    """Whole clips of the `playlist` until there are `seconds`; one clip is in memory at a time."""
    import numpy as np
    import soundfile

    chosen: list[Recording] = []
    written = 0
    with soundfile.SoundFile(output, "w", SAMPLE_RATE, channels=1, subtype="PCM_16", format="FLAC") as file:
        for clip, pause in playlist(clips, seed):
            samples, rate = soundfile.read(clip.file, dtype="int16")
            if rate != SAMPLE_RATE:
                raise ValueError(f"{clip.file}: want 16 kHz, got {rate} Hz")
            file.write(np.concatenate([samples, np.zeros(round(pause * SAMPLE_RATE), np.int16)]))
            written += len(samples) + round(pause * SAMPLE_RATE)
            chosen.append(clip)
            if written >= seconds * SAMPLE_RATE:
                break
    return Long(f"shuffled {seconds / 60:g} min", output, chosen, written / SAMPLE_RATE)


def measure(arguments: argparse.Namespace, name: str, model: Path, decoding: str, longs: list[Long]) -> list[Outcome]:
    """Every clip on its own, then every long recording in a fresh process."""
    setting = Setting(f"{name}, {decoding}", "voxport", "default", decoding=decoding)
    clips = {str(clip.file): clip for long in longs for clip in long.clips}
    alone: dict[str, Found] = {}
    references: dict[str, list[str]] = {}
    with Worker(Path(sys.executable), setting, arguments.threads, arguments.log) as worker:
        worker.load(model)
        for number, (key, clip) in enumerate(clips.items(), 1):
            print(f"\r{setting.label}: clip {number}/{len(clips)}", end="", file=sys.stderr, flush=True)
            references[key] = own_normalizer(clip.text, "en").split()
            said = own_normalizer(worker.run(clip.file, "en")["text"], "en").split()
            alone[key] = attribute([references[key]], said)[0]
    outcomes = []
    for long in longs:
        print(f"\r{setting.label}: {long.name}{'':20}", file=sys.stderr)
        with Worker(Path(sys.executable), setting, arguments.threads, arguments.log) as worker:
            worker.load(model)
            worker.run(long.clips[0].file, "en")
            answer = worker.watch(long.file, "en")
        # Segment by segment, so that no number is made of the end of one clip and the beginning of the next.
        said = [word for _, _, text in answer["segments"] for word in own_normalizer(text, "en").split()]
        keys = [str(clip.file) for clip in long.clips]
        found = attribute([references[key] for key in keys], said)
        outcome = Outcome(
            model=name,
            decoding=decoding,
            recording=long.name,
            audio_seconds=long.seconds,
            seconds=answer["seconds"],
            words=sum(len(references[key]) for key in keys),
            long=together(found),
            single=together([alone[key] for key in keys]),
            memory=peaks(answer["memory"], long.seconds),
        )
        for number, (clip, key, here) in enumerate(zip(long.clips, keys, found, strict=True)):
            if here.lost > alone[key].lost or here.added > alone[key].added:
                there = f" (alone: {', '.join(alone[key].details)})" if alone[key].details else ""
                outcome.worse.append(f"{number} {clip.name}: {', '.join(here.details)}{there}")
        outcomes.append(outcome)
    return outcomes


def together(found: list[Found]) -> Found:
    """The sum, without details."""
    names = ("substituted", "lost", "added", "lost_at_cut", "doubled_at_cut")
    return Found(**{name: sum(getattr(one, name) for one in found) for name in names})


def peaks(held: list[tuple[float, int]], seconds: float) -> dict[float, int]:
    """Minutes -> the most bytes since the minutes before; the last mark is the recording's end."""
    marks = [minutes for minutes in MINUTES if minutes * 60 < seconds - 60] + [round(seconds / 60, 1)]
    found: dict[float, int] = {}
    for position, peak in held:
        mark = next((minutes for minutes in marks if position <= minutes * 60), marks[-1])
        found[mark] = max(found.get(mark, 0), peak)
    return found


def report(arguments: argparse.Namespace, outcomes: list[Outcome]) -> int:
    """Print and write the tables; returns the exit status."""
    print(write(arguments, outcomes))
    return 1 if any(outcome.failures() for outcome in outcomes) else 0


def write(arguments: argparse.Namespace, outcomes: list[Outcome]) -> str:
    """Write the results; returns the report."""
    failed = [text for outcome in outcomes for text in outcome.failures()]
    lines = ["# Long recordings made of known clips", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += ["From the file to text, defaults (voice activity detection on), language English, float32,"]
    lines += [f"{arguments.threads} threads; greedy, or five beams with temperature fallback (seed 0); seed of order"]
    lines += [f"and pauses (0.3 to 1 s): {arguments.seed}. Errors in words: long recording / the same clips alone."]
    lines += ["At a cut: words lost from a clip's beginning or end; doubled: said again between two clips. MiB: the"]
    lines += ["most in memory (resident) up to that minute, since the mark before."]
    lines += ["", "| model | decoding | recording | clips' words | errors | lost | added | lost at cuts "]
    lines[-1] += "| doubled at cuts | times real time | MiB by minute |"
    lines += ["|---" * 11 + "|"]
    lines += [row(outcome) for outcome in outcomes]
    for outcome in outcomes:
        if outcome.worse:
            lines += ["", f"{outcome.model}, {outcome.decoding}, {outcome.recording}: clips that lost or gained words"]
            lines[-1] += " which they do not alone, [reference -> said]:"
            lines += ["", *(f"* {text}" for text in outcome.worse)]
    lines += ["", "Required: no more words lost or doubled at cuts than alone; memory at most "]
    lines[-1] += (
        f"{MEMORY_ALLOWANCE / MIB:.0f} MiB above the mark before the last. **{'; '.join(failed) or 'All hold'}.**"
    )
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "seed": arguments.seed,
        "failed": failed,
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    return text


def row(outcome: Outcome) -> str:
    """One line of the table."""
    long, single = outcome.long, outcome.single
    pairs = [f"{getattr(long, name)} / {getattr(single, name)}" for name in ("errors", "lost", "added")]
    pairs += [f"{getattr(long, name)} / {getattr(single, name)}" for name in ("lost_at_cut", "doubled_at_cut")]
    held = ", ".join(f"{minutes:g}: {size / MIB:.0f}" for minutes, size in outcome.memory.items())
    cells: list[Any] = [outcome.model, outcome.decoding, outcome.recording, outcome.words, *pairs]
    cells += [f"{outcome.audio_seconds / outcome.seconds:.1f}", held]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(told(main))
