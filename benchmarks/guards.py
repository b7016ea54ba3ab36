"""What each guard against invented and repeated words does: words said where nobody speaks, and words lost on speech.

    python benchmarks/guards.py

voxport alone, with each of its guards switched off: voice activity detection, the no-speech rule, the fallback to other
temperatures, and the cut of repetition loops. On recordings without speech (the manifest's, and sounds made with a
seed) and on speech. Exit status 1 if a word is said where nobody speaks with everything on, or the guards cost more
words on speech than `ALLOWED_LOSS`. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import nonspeech
from recordings import DEFAULT_MANIFEST, Recording, joinable, read_manifest
from scoring import Score, emitted_words, own_normalizer, score, symbols
from weights import DEFAULT_MODELS, locate
from worker_client import BEAM, SEED, told

if TYPE_CHECKING:
    from collections.abc import Iterator

VAD, NO_SPEECH, FALLBACK, LOOP = "voice activity detection", "no-speech rule", "fallback", "loop cut"
OFF: dict[str, dict[str, Any]] = {
    VAD: {"vad": False},
    NO_SPEECH: {"no_speech_threshold": None},
    FALLBACK: {"temperature": 0.0},
    LOOP: {},
}
"""Guard -> the options without it. The loop cut is no option: see `without_loop_cut`."""
SETTINGS: tuple[tuple[str, ...], ...] = (
    (),
    (NO_SPEECH,),
    (FALLBACK,),
    (LOOP,),
    (NO_SPEECH, FALLBACK, LOOP),
    (VAD,),
    (VAD, NO_SPEECH),
    (VAD, FALLBACK),
    (VAD, LOOP),
    (VAD, NO_SPEECH, FALLBACK, LOOP),
)
"""What is switched off, setting by setting. Voice activity detection hides what the others do; so each both ways."""
SPEECH = ("real", "real+noise", "real-concat", "synthetic")
ALLOWED_LOSS = 0.005
"""Words that all guards together may lose on speech beyond those lost without any, as a share of the words."""


@dataclass
class Line:
    """One setting.

    Attributes:
        off: guards that are switched off.
        recorded, made: words said on the manifest's non-speech and on the sounds made.
        speech: errors on speech.
        said: recording without speech -> what was said there.
        seconds: for all recordings.
    """

    off: tuple[str, ...]
    recorded: int = 0
    made: int = 0
    speech: Score = field(default_factory=Score)
    said: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        if not self.off:
            return "all on"
        return "all off" if len(self.off) == len(OFF) else f"without {', '.join(self.off)}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The measured effect of the guards against invented words.")
    parser.add_argument(
        "--models", default=",".join(DEFAULT_MODELS), help="comma-separated names or folders (default: %(default)s)"
    )
    parser.add_argument("--decodings", default="greedy,beam", help="comma-separated, of greedy, beam")
    parser.add_argument("--clips", type=int, default=20, help="of kind real, English, drawn with a seed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the clips drawn and the sounds made")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help="JSON lines: file, text, lang, kind")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="guards", help="name of the result files")
    return parser.parse_args()


def main() -> int:
    import voxport

    arguments = parse()
    tables: dict[str, list[Line]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clips = choose(read_manifest(arguments.manifest), arguments.clips, arguments.seed)
        clips += nonspeech.write(Path(folder), arguments.seed)
        for name in arguments.models.split(","):
            where = str(locate(name, Path(sys.executable)))
            model = voxport.load_model(where, device="cpu", dtype="float32", offline=True, threads=arguments.threads)
            for decoding in arguments.decodings.split(","):
                lines = tables.setdefault(f"{Path(name).name}, {decoding}", [])
                for off in SETTINGS:
                    if decoding == "greedy" and FALLBACK in off and len(off) < len(OFF) - 1:
                        continue  # nothing to switch off
                    lines.append(measure(model, decoding, off, clips))
                    write(arguments, tables, clips)
    print(write(arguments, tables, clips))
    return 1 if failures(tables) else 0


def choose(recordings: list[Recording], count: int, seed: int) -> list[Recording]:
    """The non-speech, and English speech of `SPEECH`, of the kind real `count` clips drawn with a seed."""
    real = joinable(recordings)
    drawn = random.Random(seed).sample(real, min(count, len(real)))
    others = [clip for clip in recordings if clip.kind in SPEECH[1:] and clip.language == "en"]
    return [clip for clip in recordings if clip.kind == "nonspeech"] + drawn + others


def measure(model: Any, decoding: str, off: tuple[str, ...], clips: list[Recording]) -> Line:
    """All recordings with some of the guards switched off."""
    import voxport

    line = Line(off)
    chosen: dict[str, Any] = {} if decoding == "greedy" else {**BEAM, "seed": SEED}
    for guard in off:
        if decoding == "beam" or guard != FALLBACK:
            chosen |= OFF[guard]
    begin = time.perf_counter()
    with without_loop_cut() if LOOP in off else contextlib.nullcontext():
        for number, clip in enumerate(clips, 1):
            print(f"\r{decoding}, {line.name}: {number}/{len(clips)}{'':20}", end="", file=sys.stderr, flush=True)
            text = voxport.transcribe(clip.file, model=model, language="en", **chosen).text
            if clip.kind == "nonspeech":
                line.recorded += emitted_words(text)
            elif clip.kind == nonspeech.KIND:
                line.made += emitted_words(text)
            else:
                units = [symbols(side, clip.language, clip.group, own_normalizer) for side in (clip.text, text)]
                line.speech += score(*units)
                continue
            if emitted_words(text):
                line.said[clip.name] = text
    line.seconds = time.perf_counter() - begin
    print(file=sys.stderr)
    return line


@contextlib.contextmanager
def without_loop_cut() -> Iterator[None]:
    """Nothing counts as a repetition loop."""
    from voxport.decoding import repetition

    enough = repetition.ENOUGH_TOKENS
    repetition.ENOUGH_TOKENS = sys.maxsize
    try:
        yield
    finally:
        repetition.ENOUGH_TOKENS = enough


def failures(tables: dict[str, list[Line]]) -> list[str]:
    """Requirements missed, in words."""
    found = []
    for name, lines in tables.items():
        on = next((line for line in lines if not line.off), None)
        bare = next((line for line in lines if len(line.off) == len(OFF)), None)
        if on is not None and on.recorded + on.made:
            found.append(f"{name}: {on.recorded + on.made} words where nobody speaks")
        if on is not None and bare is not None:
            lost = on.speech.deletions - bare.speech.deletions
            if lost > ALLOWED_LOSS * on.speech.length:
                found.append(f"{name}: {lost} words of speech lost beyond those lost without guards")
    return found


def write(arguments: argparse.Namespace, tables: dict[str, list[Line]], clips: list[Recording]) -> str:
    """Write the results; returns the report."""
    failed = failures(tables)
    counts = {kind: sum(clip.kind == kind for clip in clips) for kind in ("nonspeech", nonspeech.KIND)}
    seconds = {kind: sum(clip.seconds for clip in clips if clip.kind == kind) for kind in counts}
    lines = ["# Guards against invented words", "", f"Machine: {machine.one_line(machine.describe())}.", ""]
    lines += [f"voxport, float32, language English, {arguments.threads} threads; greedy, or five beams with fallback"]
    lines += [f"(seed {SEED}). Words said on {counts['nonspeech']} recordings without speech"]
    lines += [f"({seconds['nonspeech']:.0f} s) and on {counts[nonspeech.KIND]} sounds made"]
    lines += [f"({seconds[nonspeech.KIND]:.0f} s);"]
    lines += [f"errors on {len(clips) - sum(counts.values())} clips of speech (kinds {', '.join(SPEECH)}; seed"]
    lines += [f"{arguments.seed}). A line says which guards are off."]
    for name, rows in tables.items():
        length = max((row.speech.length for row in rows), default=0)
        lines += ["", f"## {name}", ""]
        lines += ["| guards | invented, recorded | invented, made | lost on speech | errors on speech | seconds |"]
        lines += ["|---" * 6 + "|"]
        for row in rows:
            spoken = row.speech
            cells = [row.name, row.recorded, row.made, spoken.deletions, f"{spoken.errors} of {length}"]
            lines.append(f"| {' | '.join(map(str, [*cells, f'{row.seconds:.0f}']))} |")
        bare = rows[-1]
        if bare.said:
            lines += ["", f"Said where nobody speaks, {bare.name} (the first 80 characters):", ""]
            lines += [f"* {clip}: {' '.join(text.split())[:80]}" for clip, text in bare.said.items()]
    lines += ["", "Required: no word where nobody speaks with everything on; at most "]
    lines[-1] += f"{ALLOWED_LOSS:.1%} of the words of speech lost beyond those lost with everything off. "
    lines[-1] += f"**{'; '.join(failed) or 'All hold'}.**"
    text = "\n".join(lines) + "\n"
    data = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "seed": arguments.seed,
        "failed": failed,
        "tables": {name: [asdict(row) | {"name": row.name} for row in rows] for name, rows in tables.items()},
    }
    machine.write_results(arguments.results, arguments.name, data, text)
    return text


if __name__ == "__main__":
    sys.exit(told(main))
