"""Small reports: MedASR with random weights over two clips of noise, through the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import soundfile

from lasr_folders import noise, small_folder
from voxport.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = (3.1, 1.4)


def report_command(place: Path, *options: str) -> list[str]:
    """A model, recordings, a manifest and a policy below `place` (made if they are not there), and the command for
    them; ``-o`` is missing."""
    model, recordings, policy = place / "little-medasr", place / "smith", place / "any.toml"
    if not model.exists():
        small_folder(model)
        recordings.mkdir()
        lines = []
        for number, seconds in enumerate(SECONDS):
            name = recordings / f"clip {number}.wav"
            soundfile.write(name, noise(seconds, number).samples, 16_000, subtype="FLOAT")
            lines.append(json.dumps({"audio_filepath": str(name), "text": "the heart is not enlarged", "lang": "en"}))
        (recordings / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        policy.write_text('[limits]\n"logits.relative_l2" = 0.5\n', encoding="utf-8")
    return [
        "report", "--model", str(model), "--candidate", "cpu:bfloat16", "-q", "--iterations", "2", "--warmup", "0",
        "--policy", str(policy), "--manifest", str(recordings / "manifest.jsonl"), *options, str(recordings),
    ]  # fmt: skip


def make(place: Path, folder: Path, *options: str) -> None:
    """Run it."""
    assert main(report_command(place, "-o", str(folder), *options)) == 0


def edit(report: Path, part: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one part of a report's results."""
    path = report / "results" / f"{part}.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
