"""Telephone prompts spoken by people, with their texts: English, Spanish, French, Italian and Russian at 8 kHz.

    python benchmarks/prompts.py

Debian's `asterisk-core-sounds-*` packages (CC BY-SA 3.0), fetched by `apt-get download` at a pinned version, checked by
sha256 and unpacked into a folder outside the repository. From each language a fixed, seeded sample of prompts is
written as a manifest that `accuracy.py` reads: 16 kHz FLAC, and all of a language joined. The texts are the packages'
own, as they are: nothing is left out because an engine disagrees with it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from recordings import SAMPLE_RATE, Recording, join

VERSION = "1.6.1-1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxport-benchmarks" / "prompts"
MANIFEST = CACHE / "manifest.jsonl"
SHA256 = {
    "asterisk-core-sounds-en": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "asterisk-core-sounds-en-wav": "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
    "asterisk-core-sounds-es": "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
    "asterisk-core-sounds-es-wav": "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
    "asterisk-core-sounds-fr": "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056",
    "asterisk-core-sounds-fr-wav": "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
    "asterisk-core-sounds-it": "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
    "asterisk-core-sounds-it-wav": "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
    "asterisk-core-sounds-ru": "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab",
    "asterisk-core-sounds-ru-wav": "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
}
LANGUAGES = ("en", "es", "fr", "it", "ru")
UNACCENTED = frozenset({"es", "ru"})
"""Languages whose texts leave accents out now and then ("contrasena"): compared without them."""
KIND, JOINED_KIND = "telephone", "telephone-joined"
"""Of a prompt, and of all of a language joined, in the manifest."""
COUNT = 30
SEED = 0
LEAST_WORDS = 4
LONGEST_SECONDS = 25.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch telephone prompts with their texts from Debian.")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where to (default: %(default)s)")
    parser.add_argument("--count", type=int, default=COUNT, help="prompts of a language (default: %(default)s)")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    lines = []
    for language in LANGUAGES:
        lines += sample(language, folder, arguments.count)
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(folder / "manifest.jsonl")
    return 0


def fetch(package: str, folder: Path) -> Path:
    """One package in `folder`, downloaded unless it is there.

    Raises:
        SystemExit: there is no apt, it can't get the package, or the package is another than the pinned one.
    """
    file = folder / f"{package}_{VERSION}_all.deb"
    if not file.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise SystemExit(f"no apt-get and dpkg-deb here: put {file.name} (Debian) into {folder}, and see --folder")
        command = ["apt-get", "download", f"{package}={VERSION}"]
        if subprocess.run(command, check=False, cwd=folder, stdout=sys.stderr).returncode:
            raise SystemExit(f"`{' '.join(command)}` failed; Debian 12 has that version (`apt-get update` first?)")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != SHA256[package]:
        raise SystemExit(f"{file} has sha256 {digest}, not {SHA256[package]}: remove it and try again")
    return file


def unpack(language: str, folder: Path) -> Path:
    """Where a language's packages are unpacked below `folder`: fetched and unpacked unless they are there.

    Raises:
        SystemExit: see `fetch`.
    """
    unpacked = folder / "unpacked" / language
    if not unpacked.exists():
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished) / language
            for suffix in ("", "-wav"):
                package = fetch(f"asterisk-core-sounds-{language}{suffix}", folder)
                subprocess.run(["dpkg-deb", "-x", str(package), str(made)], check=True)
            made.rename(unpacked)
    return unpacked


def voice(unpacked: Path) -> Path:
    """The folder of WAV files of the one voice that a language has."""
    (found,) = unpacked.glob("usr/share/asterisk/sounds/*")
    return found


def texts(listing: str) -> dict[str, str]:
    """Prompt -> what is said, of a ``core-sounds-*.txt``: lines ``name: text``; ``;`` begins a comment."""
    found = {}
    for line in listing.removeprefix("\ufeff").splitlines():
        name, colon, text = line.partition(":")
        if colon and not name.startswith(";"):
            found[name.strip()] = " ".join(text.split())
    return found


def usable(text: str) -> bool:
    """Whether a text is speech of some length: no "[tones]", no "(pause)", `LEAST_WORDS` words or more."""
    return not re.search(r"[\[\]()<>{}]", text) and len(text.split()) >= LEAST_WORDS


def choose(candidates: list[str], count: int, seed: int = SEED) -> list[str]:
    """So many of the names, the same ones every time, in alphabetical order."""
    names = sorted(candidates)
    return sorted(random.Random(seed).sample(names, min(count, len(names))))


def sample(language: str, folder: Path, count: int) -> list[str]:
    """Write one language's audio; returns its lines of the manifest."""
    import numpy as np
    import soundfile
    import soxr

    package = f"asterisk-core-sounds-{language}"
    entries, recordings = [], []
    unpacked = unpack(language, folder)
    listing = next(unpacked.glob(f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"))
    said = texts(gzip.decompress(listing.read_bytes()).decode("utf-8"))
    spoken = voice(unpacked)
    candidates = [
        name
        for name, text in said.items()
        if usable(text)
        and (spoken / f"{name}.wav").exists()
        and soundfile.info(spoken / f"{name}.wav").duration <= LONGEST_SECONDS
    ]
    for name in choose(candidates, count):
        samples, rate = soundfile.read(spoken / f"{name}.wav", dtype="float32")
        wide = np.clip(soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ"), -1.0, 1.0)
        file = folder / "audio" / f"prompt-{language}-{name.replace('/', '-')}.flac"
        soundfile.write(file, wide, SAMPLE_RATE, subtype="PCM_16")
        seconds = len(wide) / SAMPLE_RATE
        recordings.append(Recording(file.stem, file, said[name], language, KIND, "", seconds))
    recordings.append(join(recordings, folder / "audio" / f"prompts-{language}.flac", JOINED_KIND))
    for recording in recordings:
        entry = {
            "file": str(recording.file.relative_to(folder)),
            "text": recording.text,
            "lang": language,
            "kind": recording.kind,
            "seconds": round(recording.seconds, 2),
            "source": f"Debian {package} {VERSION}",
            "license": "CC BY-SA 3.0",
        }
        if language in UNACCENTED:
            entry["scoring"] = "unaccented"
        entries.append(json.dumps(entry, ensure_ascii=False))
    return entries


if __name__ == "__main__":
    sys.exit(main())
