"""The recordings of a manifest, and one long recording joined from them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

DEFAULT_MANIFEST = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "manifest.jsonl"
PAUSE_SECONDS = 0.8
PAUSES = (0.3, 1.0)
"""Shortest and longest pause between the clips of `write_long`, seconds."""
SAMPLE_RATE = 16_000
SCORINGS = ("digits", "unaccented")


@dataclass(frozen=True)
class Recording:
    """One line of a manifest.

    Attributes:
        name: the file's name without its ending.
        file: absolute path.
        text: reference, "" for non-speech.
        language: code, "" for non-speech.
        kind: e.g. "real", "longform", "nonspeech".
        group: "medical", a way of scoring ("digits", "unaccented"), or "".
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
        SystemExit: there is no such file, or it asks for an unknown way of scoring.
    """
    if not path.exists():
        raise SystemExit(f"no manifest at {path}: pass --manifest FILE")
    recordings = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        entry = json.loads(line)
        if entry.get("scoring") not in (None, *SCORINGS):
            raise SystemExit(f"{path}: unknown scoring {entry['scoring']!r}; known: {', '.join(SCORINGS)}")
        group = entry.get("scoring") or entry.get("domain") or ""
        file = (path.parent / entry["file"]).resolve()
        seconds = float(entry.get("seconds") or 0.0)
        recordings.append(Recording(file.stem, file, entry["text"], entry["lang"], entry["kind"], group, seconds))
    return recordings


def join(recordings: list[Recording], output: Path, kind: str = "longform-joined") -> Recording:
    """One recording of all given, `PAUSE_SECONDS` of silence between them, as 16-bit FLAC at 16 kHz.

    Raises:
        ValueError: an input has another rate than 16 kHz.
    """
    import numpy as np
    import soundfile

    pieces: list[np.ndarray] = []
    for recording in recordings:
        pieces += [_read(recording.file), np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), np.int16)]
    joined = np.concatenate(pieces[:-1])
    soundfile.write(output, joined, SAMPLE_RATE, subtype="PCM_16")
    text = " ".join(recording.text for recording in recordings)
    language = recordings[0].language
    return Recording(output.stem, output, text, language, kind, "", len(joined) / SAMPLE_RATE)


def playlist(recordings: Sequence[Recording], seed: int) -> Iterator[tuple[Recording, float]]:
    """The recordings over and over, in another order every time, each with the pause behind it in seconds (`PAUSES`).

    Raises:
        SystemExit: there are none.
    """
    if not recordings:
        raise SystemExit("the manifest has no English clip of kind real")
    generator = random.Random(seed)
    while True:
        for recording in generator.sample(recordings, len(recordings)):
            yield recording, generator.uniform(*PAUSES)


def write_long(recordings: Sequence[Recording], seconds: float, seed: int, output: Path) -> None:
    """The `playlist` as 16-bit FLAC at 16 kHz, cut off at `seconds`; one clip is in memory at a time.

    With the same seed, a shorter one is the beginning of a longer one.

    Raises:
        ValueError: an input has another rate than 16 kHz.
    """
    import numpy as np
    import soundfile

    left = round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(output, "w", SAMPLE_RATE, channels=1, subtype="PCM_16", format="FLAC") as file:
        for recording, pause in playlist(recordings, seed):
            piece = np.concatenate([_read(recording.file), np.zeros(round(pause * SAMPLE_RATE), np.int16)])[:left]
            file.write(piece)
            left -= len(piece)
            if not left:
                return


def beginning(recording: Recording, seconds: float, folder: Path) -> Recording:
    """The first seconds of a recording, as 16-bit FLAC at 16 kHz in `folder`.

    Raises:
        ValueError: it is shorter, or has another rate than 16 kHz.
    """
    import soundfile

    samples = _read(recording.file)[: round(seconds * SAMPLE_RATE)]
    if len(samples) < round(seconds * SAMPLE_RATE):
        raise ValueError(f"{recording.file} is shorter than {seconds:g} s")
    name = f"{recording.name}-{seconds:g}s"
    soundfile.write(folder / f"{name}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
    return replace(recording, name=name, file=folder / f"{name}.flac", text="", seconds=seconds)


def long_enough(recordings: Sequence[Recording], seconds: float) -> Recording:
    """The first English recording of at least so many seconds; human speech before synthetic, medical before other.

    Raises:
        SystemExit: the manifest has none.
    """
    fitting = [recording for recording in recordings if recording.language == "en" and recording.seconds >= seconds]
    if not fitting:
        raise SystemExit(f"the manifest has no English recording of {seconds:g} seconds")
    return min(fitting, key=lambda recording: (recording.kind != "real", recording.group != "medical"))


def _read(file: Path) -> np.ndarray:
    import soundfile

    samples: np.ndarray
    samples, rate = soundfile.read(file, dtype="int16")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise ValueError(f"{file}: want 16 kHz mono, got {rate} Hz, shape {samples.shape}")
    return samples


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
