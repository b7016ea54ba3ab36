"""The recordings of a manifest, and one long recording joined from them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MANIFEST = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "manifest.jsonl"
PAUSE_SECONDS = 0.8
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Recording:
    """One line of a manifest.

    Attributes:
        name: the file's name without its ending.
        file: absolute path.
        text: reference, "" for non-speech.
        language: code, "" for non-speech.
        kind: e.g. "real", "longform", "nonspeech".
        group: "medical", "digits", or "".
        seconds: length.
    """

    name: str
    file: Path
    text: str
    language: str
    kind: str
    group: str
    seconds: float

    @property
    def row(self) -> str:
        """The row of a table that this recording belongs to."""
        return " ".join(part for part in (self.kind, self.language, self.group) if part)


def read_manifest(path: Path) -> list[Recording]:
    """All recordings of a JSON-lines manifest with ``file, text, lang, kind`` and optionally ``seconds, scoring,
    domain``; paths are relative to the manifest's folder.

    Raises:
        SystemExit: there is no such file.
    """
    if not path.exists():
        raise SystemExit(f"no manifest at {path}: pass --manifest FILE")
    recordings = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        entry = json.loads(line)
        group = "digits" if entry.get("scoring") == "digits" else entry.get("domain") or ""
        file = (path.parent / entry["file"]).resolve()
        seconds = float(entry.get("seconds") or 0.0)
        recordings.append(Recording(file.stem, file, entry["text"], entry["lang"], entry["kind"], group, seconds))
    return recordings


def join(recordings: list[Recording], output: Path) -> Recording:
    """One recording of all given, `PAUSE_SECONDS` of silence between them, as 16-bit FLAC at 16 kHz.

    Raises:
        ValueError: an input has another rate than 16 kHz.
    """
    import numpy as np
    import soundfile

    pieces = []
    for recording in recordings:
        samples, rate = soundfile.read(recording.file, dtype="int16")
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise ValueError(f"{recording.file}: want 16 kHz mono, got {rate} Hz, shape {samples.shape}")
        pieces += [samples, np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), np.int16)]
    joined = np.concatenate(pieces[:-1])
    soundfile.write(output, joined, SAMPLE_RATE, subtype="PCM_16")
    text = " ".join(recording.text for recording in recordings)
    language = recordings[0].language
    return Recording(output.stem, output, text, language, "longform-joined", "", len(joined) / SAMPLE_RATE)


def joinable(recordings: list[Recording]) -> list[Recording]:
    """Human English speech that is in no other long recording, in the manifest's order."""
    return [
        recording
        for recording in recordings
        if recording.kind == "real" and recording.language == "en" and recording.group != "digits"
    ]


def orders(recordings: list[Recording], count: int) -> list[list[Recording]]:
    """The recordings as they are, and shuffled with the seeds from 1 on: `count` orders in all."""
    shuffled = [list(recordings) for _ in range(count)]
    for seed, order in enumerate(shuffled[1:], start=1):
        random.Random(seed).shuffle(order)
    return shuffled
