"""Recordings whose language is known at every second: prompts of telephone systems, joined with a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recordings import PAUSES, SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHORTEST, LONGEST = 1.5, 20.0
"""Seconds of the prompts that recordings are joined from."""

SHORTEST_WORD = 0.5
"""Seconds of prompts that are shorter than those: a word or two."""


@dataclass(frozen=True)
class Spoken:
    """A recording.

    Attributes:
        name: what it is and which of its kind.
        kind: row of a table.
        samples: float32 at 16 kHz.
        parts: start, end (seconds) and language of its parts, one after the other.
    """

    name: str
    kind: str
    samples: np.ndarray
    parts: tuple[tuple[float, float, str], ...]

    @property
    def language(self) -> str:
        """That of most seconds."""
        seconds: dict[str, float] = {}
        for start, end, language in self.parts:
            seconds[language] = seconds.get(language, 0.0) + end - start
        return max(seconds, key=seconds.__getitem__)


class Prompts:
    """The prompts of one voice a language, read when they are wanted."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """
        Args:
            folders: language -> folder of WAV files.

        Raises:
            SystemExit: a folder has none.
        """
        import soundfile

        self._files: dict[str, list[Path]] = {}
        self._words: dict[str, list[Path]] = {}
        for language, folder in folders.items():
            lengths = {file: soundfile.info(file).duration for file in sorted(folder.glob("*.wav"))}
            self._files[language] = [file for file, length in lengths.items() if SHORTEST <= length <= LONGEST]
            self._words[language] = [file for file, length in lengths.items() if SHORTEST_WORD <= length < SHORTEST]
            if not self._files[language]:
                raise SystemExit(f"no prompts in {folder}: remove it, and they are fetched anew")

    @property
    def languages(self) -> list[str]:
        return list(self._files)

    def say(self, generator: random.Random, language: str, seconds: float) -> np.ndarray:
        """Prompts in random order with pauses between, until there are so many seconds."""
        from voxport.audio import load_audio

        pieces: list[np.ndarray] = []
        while sum(map(len, pieces)) < seconds * SAMPLE_RATE:
            prompt = load_audio(str(generator.choice(self._files[language])), sample_rate=SAMPLE_RATE)
            pause = np.zeros(round(generator.uniform(*PAUSES) * SAMPLE_RATE), np.float32)
            pieces += [prompt.samples, pause]
        return np.concatenate(pieces)

    def words(self, language: str, count: int, seed: int) -> list[np.ndarray]:
        """So many prompts of a word or two."""
        from voxport.audio import load_audio

        chosen = random.Random(f"{seed} {language}").sample(self._words[language], count)
        return [load_audio(str(file), sample_rate=SAMPLE_RATE).samples for file in chosen]

    def recording(self, name: str, kind: str, parts: Sequence[tuple[str, float]], seed: int) -> Spoken:
        """One recording of `parts`: language and least seconds of each."""
        generator = random.Random(f"{seed} {name}")
        pieces, told, position = [], [], 0.0
        for language, seconds in parts:
            pieces.append(self.say(generator, language, seconds))
            end = position + len(pieces[-1]) / SAMPLE_RATE
            told.append((position, end, language))
            position = end
        return Spoken(name, kind, np.concatenate(pieces), tuple(told))


def changing(languages: Sequence[str], block: float, count: int, seed: int) -> list[tuple[str, float]]:
    """Parts of so many seconds each, none in the language of the one before."""
    generator = random.Random(seed)
    parts: list[tuple[str, float]] = []
    for _ in range(count):
        others = [one for one in languages if not parts or one != parts[-1][0]]
        parts.append((generator.choice(others), block))
    return parts
