"""Error rates of a transcript: words, characters (Japanese, Chinese) or digits, and the list of what differs.

Normalised with openai-whisper's own code (engines/whisper_normalizer.py): its English normaliser for English and its
basic one for every other language.
"""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jiwer

from voxport.text import normalize_whisper_basic, normalize_whisper_english
from worker_client import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Normalize = Callable[[str, str], str]

CHARACTER_LANGUAGES = frozenset({"ja", "zh"})
UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS = {word: str(value) for value, word in enumerate(UNITS + TEENS)} | {"oh": "0", "o": "0"}
FIGURES = {
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "ru": "ноль один два три четыре пять шесть семь восемь девять",
}
"""How a single figure is read in the languages of the telephone prompts, whose texts have "1" where a model may write
"uno": the same word."""
CONTEXT_WORDS = 3


@dataclass(frozen=True)
class Score:
    """Errors of one transcript, or the sum over several.

    Attributes:
        length: of the reference, in units.
        substitutions, deletions, insertions: in units.
    """

    length: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors in per cent of the reference's length; 0 where there is no reference."""
        return 100 * self.errors / self.length if self.length else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.length + other.length,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


class Normalizer:
    """openai-whisper's normalisers, in a process in its environment."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), str(ENGINES / "whisper_normalizer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, text: str, language: str) -> str:
        """The normalised text.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"text": text, "language": language}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("openai-whisper's normaliser ended; is its environment built (setup_engines.py)?")
        return str(json.loads(line))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()


def own_normalizer(text: str, language: str) -> str:
    """voxport's copies of the same two, for scripts that measure voxport alone."""
    return normalize_whisper_english(text) if language == "en" else normalize_whisper_basic(text)


def unit(language: str, group: str) -> str:
    """What errors are counted in: "digits", "characters" or "words"."""
    if group == "digits":
        return "digits"
    return "characters" if language in CHARACTER_LANGUAGES else "words"


def symbols(text: str, language: str, group: str, normalizer: Normalize) -> str:
    """The units to compare, with spaces between them."""
    kind = unit(language, group)
    if kind == "digits":
        return " ".join(digits(text))
    normalized = read_out(normalizer(text, language), language)
    if group == "unaccented":
        normalized = unaccented(normalized)
    return " ".join(normalized.replace(" ", "")) if kind == "characters" else " ".join(normalized.split())


def read_out(text: str, language: str) -> str:
    """The text with single figures as words, in the languages of `FIGURES`; 12 stays 12."""
    figures = dict(zip("0123456789", FIGURES.get(language, "").split(), strict=False))
    return " ".join(figures.get(word, word) for word in text.split())


def unaccented(text: str) -> str:
    """The text without accents, for references that leave them out now and then: "contraseña" and "contrasena"."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def digits(text: str) -> list[str]:
    """Number words and figures as single digits; any other word stays one symbol.

    "one two", "1 2" and "12" are the same, and so are "twenty one" and "21".
    """
    found: list[str] = []
    pending = ""  # a "twenty" that a "one" may join
    for word in re.findall(r"\d|[^\W\d_]+", text.lower()):
        if pending:
            joined = word in UNITS[1:10]
            found += [pending, NUMBERS[word] if joined else "0"]
            pending = ""
            if joined:
                continue
        if word in TENS:
            pending = str(TENS.index(word) + 2)
        else:
            found += list(NUMBERS.get(word, "")) or [word]
    return [*found, pending, "0"] if pending else found


def score(reference: str, hypothesis: str) -> Score:
    """Compare two strings of units (see `symbols`)."""
    if not reference:
        return Score(insertions=len(hypothesis.split()))
    result = jiwer.process_words(reference, hypothesis)
    length = len(reference.split())
    return Score(length, result.substitutions, result.deletions, result.insertions)


def emitted_words(text: str) -> int:
    """Words in a transcript of non-speech: whatever holds a letter or a digit, in brackets or not."""
    return sum(any(character.isalnum() for character in word) for word in text.split())


def differences(reference: str, hypothesis: str) -> list[str]:
    """Every difference of two strings of units, each as "... before [reference -> hypothesis] after ..."."""
    if not reference or not hypothesis:
        return [f"[{reference or '∅'} -> {hypothesis or '∅'}]"] if reference != hypothesis else []
    said, heard = reference.split(), hypothesis.split()
    found = []
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        if chunk.type == "equal":
            continue
        old = " ".join(said[chunk.ref_start_idx : chunk.ref_end_idx]) or "∅"
        new = " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]) or "∅"
        before = " ".join(said[max(0, chunk.ref_start_idx - CONTEXT_WORDS) : chunk.ref_start_idx])
        after = " ".join(said[chunk.ref_end_idx : chunk.ref_end_idx + CONTEXT_WORDS])
        found.append(f"{before} [{old} -> {new}] {after}".strip())
    return found
