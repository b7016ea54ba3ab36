"""What is scored: clips with what was said in them, and which of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.tokenizer import language_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Clip", "Dataset", "clip_language", "select", "with_language"]

_ISO_639_3 = {
    "ara": "ar", "bod": "bo", "chi": "zh", "cmn": "zh", "deu": "de", "dut": "nl", "eng": "en", "fra": "fr", "fre": "fr",
    "ger": "de", "hin": "hi", "ita": "it", "jpn": "ja", "khm": "km", "kor": "ko", "lao": "lo", "mya": "my", "nld": "nl",
    "pol": "pl", "por": "pt", "rus": "ru", "spa": "es", "swe": "sv", "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi",
    "zho": "zh",
}  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """A stretch of speech and its reference.

    Attributes:
        id: tells it apart; what the manifest calls it, else the recording as written (``a.wav@12.5`` for a part).
        reference: what was said, as written; "" where nobody speaks.
        audio: the recording as written, None where only the text is known.
        path: where the recording lies.
        offset: where in the recording the clip begins, seconds; None = the clip is the whole recording.
        seconds: how long it is said to be.
        language: code, None where it is not known.
        keys: everything the manifest says of it, as text: what clips are grouped by.
        where: where it stands, e.g. "line 3", for messages.
    """

    id: str
    reference: str
    audio: str | None = None
    path: Path | None = None
    offset: float | None = None
    seconds: float | None = None
    language: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True)
class Dataset:
    """Clips and where they are from.

    Attributes:
        name: the file or folder as given.
        layout: "manifest", "LibriSpeech" or "AISHELL".
        notes: what a reader should know of it, e.g. transcripts without a recording.
    """

    name: str
    layout: str
    clips: Sequence[Clip]
    notes: Sequence[str] = ()


def clip_language(value: str) -> str | None:
    """A language as data sets name it ("en", "en-US", "English", "cmn") as a code; None for an empty one.

    A code that Whisper does not know stays as it is.
    """
    text = value.strip().lower()
    base = re.split("[-_]", text)[0]
    for candidate in (text, base):
        try:
            return language_code(_ISO_639_3.get(candidate, candidate))
        except UsageError:
            continue
    return base or None


def with_language(dataset: Dataset, language: str | None) -> Dataset:
    """The same clips; those without a language are in this one."""
    if language is None:
        return dataset
    code = language_code(language)
    return replace(dataset, clips=[replace(clip, language=clip.language or code) for clip in dataset.clips])


def select(dataset: Dataset, conditions: Sequence[str], limit: int | None = None) -> Dataset:
    """The clips that meet all conditions (``KEY=VALUE`` or ``KEY!=VALUE``), at most so many.

    Raises:
        UsageError: no condition, a key that no clip has, or nothing is left.
    """
    clips = list(dataset.clips)
    for condition in conditions:
        match = re.fullmatch(r"([^=!]+)(!?=)(.*)", condition)
        if match is None:
            raise UsageError(f"{condition!r} is no condition", hint="write KEY=VALUE or KEY!=VALUE, e.g. lang=en")
        key, equal = match[1], match[2] == "="
        check_key(dataset, key)
        clips = [clip for clip in clips if (clip.keys.get(key) == match[3]) is equal]
        if not clips:
            values = sorted({clip.keys.get(key, "") for clip in dataset.clips})
            shown = ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
            raise UsageError(f"no clip is left with {condition}", hint=f"{key} can be: {shown}")
    return replace(dataset, clips=clips[:limit])


def check_key(dataset: Dataset, key: str) -> None:
    """Refuse a key that no clip has.

    Raises:
        UsageError: the hint names those that are there.
    """
    known = sorted({name for clip in dataset.clips for name in clip.keys})
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"they have: {', '.join(known) or 'none'}"
        raise UsageError(f"no clip has a {key!r}", hint=hint)


def scalar_text(value: Any) -> str | None:
    """A JSON value as a key's text: true and false in JSON's spelling, whole numbers without a point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (str, int, float)) else None
