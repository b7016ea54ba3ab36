"""What hotwords do: terms found in medical dictations, and words broken elsewhere, by weight and by number of terms.

    python benchmarks/hotwords.py

Beam 5 on the CPU in float32, with VAD, English given. Terms are those of hotwords.txt: the first part is said in the
medical recordings, the second (drugs) is not. "Found" counts each term as often as the reference has it. "Invented" are
terms that the transcript has more often than the reference. Word error rates are by Whisper's English normaliser.
For information only: no exit status depends on the figures.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jiwer

import machine
from recordings import DEFAULT_MANIFEST, Recording, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.models import ASRModel

TERMS = Path(__file__).resolve().parent / "hotwords.txt"
NOT_SAID = "# ...then"
WEIGHTS = (1.0, 2.0, 3.0, 4.0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What hotwords do to medical dictations and to other speech.")
    parser.add_argument("--model", action="append", help="(default: whisper-tiny.en and whisper-base)")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--weights", default=",".join(map(str, WEIGHTS)), help="comma-separated")
    parser.add_argument(
        "--others", type=int, default=20, metavar="N", help="recordings of other speech, drawn by a seed"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    parser.add_argument("--name", default="hotwords", help="name of the result files")
    return parser.parse_args()


def read_terms() -> tuple[list[str], list[str]]:
    """Terms that are said, and terms that are not."""
    said, _, others = TERMS.read_text(encoding="utf-8").partition(NOT_SAID)
    return _lines(said), _lines(others.partition("\n")[2])


def main() -> int:
    from voxport import load_model

    arguments = parse()
    recordings = read_manifest(arguments.manifest)
    medical = [r for r in recordings if r.group == "medical" and r.language == "en"]
    other = [r for r in recordings if r.kind == "real" and r.language == "en" and not r.group]
    other = random.Random(0).sample(other, min(arguments.others, len(other)))
    said, drugs = read_terms()
    weights = [float(weight) for weight in arguments.weights.split(",")]
    rows = []
    for name in arguments.model or ("whisper-tiny.en", "whisper-base"):
        model = load_model(name, "cpu", "float32", threads=arguments.threads)
        for terms, weight in [((), 0.0), *((said, w) for w in weights), *(([*said, *drugs], w) for w in weights)]:
            print(f"{name}: {len(terms)} terms, weight {weight:g}", file=sys.stderr)
            rows.append(measure(model, medical, other, [*said, *drugs], terms, weight))
    report = markdown(rows, len(medical), len(other))
    data = {"machine": machine.describe(), "rows": rows}
    machine.write_results(arguments.results, arguments.name, data, report)
    print(report)
    return 0


def measure(
    model: ASRModel,
    medical: Sequence[Recording],
    other: Sequence[Recording],
    looked_for: Sequence[str],
    terms: Sequence[str],
    weight: float,
) -> dict[str, Any]:
    """One row of the table."""
    texts = {recording.name: heard(model, recording, terms, weight) for recording in (*medical, *other)}
    wanted = found = invented = 0
    for recording in (*medical, *other):
        for term in looked_for:
            there, here = count(term, recording.text), count(term, texts[recording.name])
            wanted, found, invented = wanted + there, found + min(there, here), invented + max(0, here - there)
    return {
        "model": model.name,
        "terms": len(terms),
        "weight": weight,
        "wanted": wanted,
        "found": found,
        "invented": invented,
        "medical": errors(medical, texts),
        "other": errors(other, texts),
        "texts": texts,
    }


def heard(model: ASRModel, recording: Recording, terms: Sequence[str], weight: float) -> str:
    """A recording's words."""
    from voxport import transcribe

    options: dict[str, Any] = {"hotwords": tuple(terms), "hotword_weight": weight} if terms else {}
    return transcribe(str(recording.file), model=model, language="en", beam_size=5, **options).text


def count(term: str, text: str) -> int:
    """How often a term is in a text, whatever the case, as whole words."""
    return len(re.findall(rf"\b{re.escape(term.lower())}\b", text.lower()))


def errors(recordings: Sequence[Recording], texts: dict[str, str]) -> tuple[int, int]:
    """Word errors, and words of the references."""
    from voxport.text import get_normalizer

    normalize = get_normalizer("whisper-english")
    references, hypotheses = [normalize(r.text) for r in recordings], [normalize(texts[r.name]) for r in recordings]
    result = jiwer.process_words(references, hypotheses)
    return (
        result.substitutions + result.deletions + result.insertions,
        result.substitutions + result.deletions + result.hits,
    )


def markdown(rows: Iterable[dict[str, Any]], medical: int, other: int) -> str:
    """The report."""
    lines = [
        "# Hotwords",
        "",
        f"Machine: {machine.one_line(machine.describe())}.",
        "",
        (
            f"{' '.join((__doc__ or '').split('python benchmarks/hotwords.py')[1].split())} "
            f"{medical} medical recordings, {other} others."
        ),
        "",
        "| model | terms | weight | found | invented | WER medical (errors) | WER other (errors) |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        rates = [f"{100 * wrong / length:.2f} % ({wrong})" for wrong, length in (row["medical"], row["other"])]
        weight = f"{row['weight']:g}" if row["terms"] else "-"
        lines.append(
            f"| {row['model']} | {row['terms']} | {weight} | {row['found']} of {row['wanted']} | {row['invented']} "
            f"| {' | '.join(rates)} |"
        )
    return "\n".join(lines) + "\n"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    sys.exit(main())
