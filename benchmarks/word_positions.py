"""Recordings in which it is known where words begin and end."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAMPLE_RATE = 16_000

LEAST_SILENCE = 0.15
"""Seconds of digital silence that part two digits of a ``real-concat`` clip; between them lie 0.18."""

WIDE, TIGHT = (0.1, 0.6), (0.02, 0.08)
"""Seconds between digits that are joined anew: with pauses, and so that hardly any is left."""

ORDERS = 2
"""How often a speaker's digits are joined anew, each time in another order and with other pauses."""


@dataclass(frozen=True)
class Mark:
    """A stretch of speech: `start` and `end` in seconds, and what is said."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Known:
    """A recording with known positions.

    Attributes:
        row: of the report.
        name: of the recording.
        file: 16 kHz, mono.
        marks: in order of time.
    """

    row: str
    name: str
    file: Path
    marks: tuple[Mark, ...]


def known_recordings(manifest: Path, folder: Path, seed: int) -> list[Known]:
    """What a manifest has: long recordings with `segments`, and joined digits, as they are and joined anew.

    Args:
        manifest: JSON lines; what is used of it is English and of kind ``longform`` or ``real-concat``.
        folder: where recordings that are joined anew go.
        seed: of their order and pauses.

    Raises:
        ValueError: a ``real-concat`` clip does not fall into as many parts as it has words.
    """
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    generator = random.Random(seed)
    found: list[Known] = []
    for entry in entries:
        file = (manifest.parent / entry["file"]).resolve()
        if entry["lang"] == "en" and entry.get("segments"):
            marks = tuple(Mark(one["start"], one["end"], one["text"]) for one in entry["segments"])
            found.append(Known("sentences of a long recording", file.stem, file, marks))
        if entry["kind"] == "real-concat":
            digits = parts(file, entry["text"].split())
            marks = tuple(Mark(start / SAMPLE_RATE, end / SAMPLE_RATE, word) for word, start, end in digits)
            found.append(Known("joined digits as they are", file.stem, file, marks))
            samples = soundfile.read(file, dtype="float32")[0]
            pieces = [(word, samples[start:end]) for word, start, end in digits]
            for row, gaps in (("digits joined with pauses", WIDE), ("digits joined without", TIGHT)):
                for number in range(ORDERS):
                    target = folder / f"{file.stem}-{'wide' if gaps is WIDE else 'tight'}-{number}.flac"
                    joined = join(generator.sample(pieces, len(pieces)), gaps, generator, target)
                    found.append(Known(row, target.stem, target, joined))
    return sorted(found, key=lambda one: one.row)


def parts(file: Path, words: Sequence[str]) -> list[tuple[str, int, int]]:
    """The words of a clip that digital silence parts: each with its first sample and the one behind its last.

    Raises:
        ValueError: there is another number of parts than of words.
    """
    samples, rate = soundfile.read(file, dtype="float32")
    silent = np.abs(samples) < 1e-4
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(int)))
    gaps = [
        (int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= LEAST_SILENCE * SAMPLE_RATE
    ]
    bounds = [0, *(edge for gap in gaps for edge in gap), len(samples)]
    found = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b > a]
    if rate != SAMPLE_RATE or len(found) != len(words):
        raise ValueError(f"{file.name} falls into {len(found)} parts at {rate} Hz and has {len(words)} words")
    return [(word, a, b) for word, (a, b) in zip(words, found, strict=True)]


def join(
    pieces: Sequence[tuple[str, Any]], gaps: tuple[float, float], generator: random.Random, target: Path
) -> tuple[Mark, ...]:
    """Write the pieces one after the other, silence before each and half a second of it at the end."""
    samples: list[Any] = []
    marks: list[Mark] = []
    position = 0
    for word, piece in pieces:
        gap = round(generator.uniform(*gaps) * SAMPLE_RATE)
        samples += [np.zeros(gap, np.float32), piece]
        marks.append(Mark((position + gap) / SAMPLE_RATE, (position + gap + len(piece)) / SAMPLE_RATE, word))
        position += gap + len(piece)
    samples.append(np.zeros(SAMPLE_RATE // 2, np.float32))
    soundfile.write(target, np.concatenate(samples), SAMPLE_RATE, subtype="PCM_16")
    return tuple(marks)
