"""How often the language is right: by the first window, by several, and window by window in mixed recordings.

    python benchmarks/languages.py

Windows are cut as ``voxport transcribe`` cuts them, and each is asked; what follows from the answers is arithmetic.
Exit status 1 if the default (`LANGUAGE_DETECTION_SEGMENTS` windows) is right less often than one window in any row, or
window by window less often than one language for all in mixed recordings. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import prompts
from recordings import DEFAULT_MANIFEST, SAMPLE_RATE, read_manifest
from spoken import SHORTEST, SHORTEST_WORD, Prompts, Spoken, changing
from voxport.pipeline.languages import CERTAIN, LanguageEvidence, likeliest
from voxport.types import LANGUAGE_DETECTION_SEGMENTS, Audio, Span
from weights import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.models import ASRModel

COUNTS = (1, 2, 4, 8)
GUARDS = (0.0, CERTAIN, 0.7, 0.9)
KEPT = 6
"""Languages of a window that the result file keeps."""

ONE_LANGUAGE, OTHER_OPENING, CLIPS = "one language", "10 s in another, then 100 s", "single clips"
WORDS = "a word or two"
WORDS_OF_EACH = 12

TRUST = (0.0, 0.3, 0.5, 0.7, 0.9)
"""Probabilities from which on windows are counted together."""


@dataclass(frozen=True)
class Window:
    """What was found in one window: its speech spans, and its likeliest languages."""

    speech: tuple[tuple[float, float], ...]
    probabilities: dict[str, float]

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.speech)


@dataclass(frozen=True)
class Asked:
    """A recording, and its windows in their order."""

    name: str
    kind: str
    language: str
    parts: tuple[tuple[float, float, str], ...]
    longest: float
    windows: tuple[Window, ...]


# What is asked -------------------------------------------------------------------------------------------------------


def recordings(spoken: Prompts, clips: Path, seed: int, blocks: Sequence[float]) -> Iterable[Spoken]:
    from voxport.audio import load_audio

    for clip in read_manifest(clips):
        if clip.kind == "real" and clip.language not in ("", "en"):
            samples = load_audio(str(clip.file), sample_rate=SAMPLE_RATE).samples
            yield Spoken(clip.name, CLIPS, samples, ((0.0, len(samples) / SAMPLE_RATE, clip.language),))
    for language in spoken.languages:
        for number, samples in enumerate(spoken.words(language, WORDS_OF_EACH, seed), start=1):
            yield Spoken(f"{language} words, {number}", WORDS, samples, ((0.0, len(samples) / SAMPLE_RATE, language),))
        for seconds, count in ((5, 4), (20, 3), (120, 1)):
            for number in range(count):
                name = f"{language} {seconds} s, {number + 1}"
                yield spoken.recording(name, f"{ONE_LANGUAGE}, {seconds} s", [(language, seconds)], seed)
        other = spoken.languages[spoken.languages.index(language) - 1]
        name = f"{other} 10 s, then {language}"
        yield spoken.recording(name, OTHER_OPENING, [(other, 10), (language, 100)], seed)
    for block in blocks:
        for number in range(2):
            parts = changing(spoken.languages, block, max(4, round(180 / block)), seed + number)
            yield spoken.recording(f"mixed, {block:g} s each, {number + 1}", mixed_kind(block), parts, seed + number)


def mixed_kind(block: float) -> str:
    return f"several languages, {block:g} s each"


def ask(model: ASRModel, recording: Spoken, longest: float) -> Asked:
    """Cut it into windows of at most `longest` seconds, and ask each for its language."""
    from voxport.pipeline.languages import per_window_cut
    from voxport.pipeline.regions import RegionReader
    from voxport.windows import CutOptions, RegionPlanner

    cut = CutOptions(max_seconds=longest) if longest == model.window_seconds else per_window_cut(longest)
    planner = RegionPlanner(cut)
    windows = []
    for audio in RegionReader([recording.samples], vad=True, planner=planner):
        samples = audio.samples[: round(model.max_seconds * SAMPLE_RATE)]
        (found,) = model.detect_language(model.encode(model.features([Audio(samples)])))
        best = sorted(found, key=found.__getitem__, reverse=True)[:KEPT]
        speech = tuple((round(one.start, 3), round(one.end, 3)) for one in audio.region.speech)
        windows.append(Window(speech, {code: round(found[code], 5) for code in best}))
    return Asked(recording.name, recording.kind, recording.language, recording.parts, longest, tuple(windows))


# What follows --------------------------------------------------------------------------------------------------------


def found_by(asked: Asked, count: int, *, weighted: bool = True) -> tuple[str, float] | None:
    """The language by the first windows, and its probability; None without speech."""
    evidence = LanguageEvidence()
    for window in asked.windows[:count]:
        evidence.add(window.probabilities, window.seconds if weighted else 1.0)
    code = evidence.language()
    return None if code is None else (code, evidence.probabilities()[code])


def right_seconds(asked: Asked, decoded: Sequence[str]) -> tuple[float, float]:
    """Seconds of speech in windows that are decoded in the language spoken there, and all."""
    right = total = 0.0
    for window, code in zip(asked.windows, decoded, strict=True):
        for start, end in window.speech:
            span = Span(start, end)
            total += span.duration
            right += sum(
                max(0.0, min(span.end, until) - max(span.start, since))
                for since, until, language in asked.parts
                if language == code
            )
    return right, total


def per_window(asked: Asked, certain: float, before: str | None) -> list[str]:
    """The language of each window, with that of the beginning where none is `certain`."""
    likely = [(likeliest(window.probabilities), max(window.probabilities.values())) for window in asked.windows]
    return [code if probability >= certain or before is None else before for code, probability in likely]


def share(found: Sequence[Asked], decoded: Sequence[Sequence[str]]) -> float:
    """Of the speech, what is in windows that are decoded in its language."""
    pairs = [right_seconds(one, codes) for one, codes in zip(found, decoded, strict=True)]
    return sum(right for right, _ in pairs) / sum(total for _, total in pairs)


@dataclass
class Tables:
    """What was found, counted.

    Attributes:
        recordings: kind -> how many, windows, share of windows that are right, and by count of windows asked how many
            recordings are right.
        trust: least probability -> windows of `WORDS` whose likeliest language is from there on below the next, and how
            many of these are right.
        mixed: kind and longest window -> shares of speech that is decoded in its language: one for all, and by guard.
    """

    recordings: dict[str, dict[str, Any]]
    trust: dict[float, tuple[int, int]]
    mixed: dict[str, dict[str, Any]]


def count(found: Sequence[Asked], longest: float) -> Tables:
    kinds: dict[str, list[Asked]] = defaultdict(list)
    mixed: dict[tuple[str, float], list[Asked]] = defaultdict(list)
    for one in found:
        if len({language for _, _, language in one.parts}) > 1 and one.kind != OTHER_OPENING:
            mixed[one.kind, one.longest].append(one)
        elif one.longest == longest:
            kinds[one.kind].append(one)
    tables = Tables({}, trust(kinds[WORDS]), {})
    for kind, group in kinds.items():
        windows = [(window, one) for one in group for window in one.windows if kind != OTHER_OPENING]
        tables.recordings[kind] = {
            "recordings": len(group),
            "windows": len(windows),
            "windows_right": sum(likeliest(window.probabilities) == one.language for window, one in windows),
            "right": {n: sum((found_by(one, n) or ("",))[0] == one.language for one in group) for n in COUNTS},
        }
    for (kind, cut), group in mixed.items():
        first = [(found_by(one, LANGUAGE_DETECTION_SEGMENTS) or ("", 0.0))[0] for one in group]
        tables.mixed[f"{kind}, windows to {cut:g} s"] = {
            "recordings": len(group),
            "windows": sum(len(one.windows) for one in group),
            "one": share(group, [[code] * len(one.windows) for one, code in zip(group, first, strict=True)]),
            "guarded": {
                guard: share(group, [per_window(one, guard, code) for one, code in zip(group, first, strict=True)])
                for guard in GUARDS
            },
        }
    return tables


def trust(found: Sequence[Asked]) -> dict[float, tuple[int, int]]:
    """How many windows have a likeliest language from one probability on to the next, and how many are right."""
    told = [(found_by(one, 1), one.language) for one in found]
    counted = {}
    for least, below in zip(TRUST, (*TRUST[1:], 2.0), strict=True):
        inside = [(guess[0], language) for guess, language in told if guess and least <= guess[1] < below]
        counted[least] = (len(inside), sum(guess == language for guess, language in inside))
    return counted


def report(tables: Tables, model: str, where: dict[str, Any]) -> str:
    lines = [
        "# Languages",
        "",
        f"{model}, float32; {machine.one_line(where)}.",
        "",
        "## Recordings in one language",
        "",
        "How many recordings are given the right language, by how many windows are asked, and how many windows alone.",
        f"By default {LANGUAGE_DETECTION_SEGMENTS} are asked.",
        "",
        f"| recordings | of | {' | '.join(f'by {n}' for n in COUNTS)} | windows right | of |",
        f"|---|--:|{'--:|' * len(COUNTS)}--:|--:|",
    ]
    for kind, row in tables.recordings.items():
        right = " | ".join(str(row["right"][n]) for n in COUNTS)
        windows = f"{row['windows_right']} | {row['windows']}" if row["windows"] else "- | -"
        lines.append(f"| {kind} | {row['recordings']} | {right} | {windows} |")
    lines += [
        "",
        f"{WORDS.capitalize()} ({SHORTEST_WORD:g} to {SHORTEST:g} s): how often the likeliest language is right, by",
        "how probable it is.",
        "",
        f"| from | {' | '.join(f'{least:g}' for least in TRUST)} |",
        f"|---|{'--:|' * len(TRUST)}",
        f"| right | {' | '.join(f'{right} of {all_}' for all_, right in tables.trust.values())} |",
    ]
    guards = " | ".join("per window" if not one else f"certain: {one:g}" for one in GUARDS)
    lines += [
        "",
        "## Recordings in several",
        "",
        "Share of the speech that is decoded in the language it is spoken in: one for all, each window in its own, and",
        f"each in its own unless no language is so probable in it (`auto-per-window`: {CERTAIN:g}).",
        "",
        f"| recordings | of | windows | one for all | {guards} |",
        f"|---|--:|--:|--:|{'--:|' * len(GUARDS)}",
    ]
    for kind, row in tables.mixed.items():
        found = " | ".join(f"{100 * row['guarded'][one]:.1f} %" for one in GUARDS)
        lines.append(f"| {kind} | {row['recordings']} | {row['windows']} | {100 * row['one']:.1f} % | {found} |")
    bad = worse(tables)
    lines += ["", f"**{'; '.join(bad) if bad else 'More windows are never worse than one.'}**"]
    return "\n".join(lines) + "\n"


def worse(tables: Tables) -> list[str]:
    """Rows in which what voxport does by default is worse than less of it."""
    bad = [
        kind for kind, row in tables.recordings.items() if row["right"][LANGUAGE_DETECTION_SEGMENTS] < row["right"][1]
    ]
    return bad + [kind for kind, row in tables.mixed.items() if row["guarded"][CERTAIN] < row["one"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="whisper-base", help="name or folder (default: %(default)s)")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the joined recordings")
    parser.add_argument("--blocks", default="15,30,60", help="seconds in one language, in mixed recordings")
    parser.add_argument("--longest", default="30", help="seconds of a window; further ones for mixed recordings")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="languages", help="name of the result files")
    arguments = parser.parse_args()

    import voxport

    folder = locate(arguments.model, Path(sys.executable))
    model = voxport.load_model(str(folder), "cpu", "float32", threads=arguments.threads)
    spoken = Prompts({code: prompts.voice(prompts.unpack(code, prompts.CACHE)) for code in prompts.LANGUAGES})
    longest, *others = [float(one) for one in arguments.longest.split(",")]
    found: list[Asked] = []
    for recording in recordings(
        spoken, arguments.manifest, arguments.seed, [float(one) for one in arguments.blocks.split(",")]
    ):
        for cut in (longest, *(others if recording.kind.startswith("several") else ())):
            found.append(ask(model, recording, cut))
            sys.stderr.write(f"{recording.name}: {len(found[-1].windows)} windows\n")
    tables, where = count(found, longest), machine.describe()
    text = report(tables, arguments.model, where)
    data = {"machine": where, "model": arguments.model, "tables": asdict(tables)}
    machine.write_results(arguments.results, arguments.name, {**data, "asked": [asdict(one) for one in found]}, text)
    print(text)
    return 1 if worse(tables) else 0


if __name__ == "__main__":
    sys.exit(main())
