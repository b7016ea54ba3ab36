"""Manifests as the field writes them: JSON lines of NeMo, ESPnet, Hugging Face and others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from voxport.score.clips import Clip, Dataset, clip_language, scalar_text
from voxport.score.json_lines import LineError, first_text, read_objects, refuse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AUDIO_KEYS", "ID_KEYS", "LANGUAGE_KEYS", "OFFSET_KEYS", "REFERENCE_KEYS", "read_manifest"]

AUDIO_KEYS = ("audio_filepath", "audio", "audio_file", "audio_path", "file", "file_name", "path", "wav")
REFERENCE_KEYS = ("text", "reference", "transcript", "transcription", "sentence")
ID_KEYS = ("id", "utt_id", "utterance_id", "uttid", "key")
LANGUAGE_KEYS = ("lang", "language", "locale")
SECONDS_KEYS = ("duration", "seconds", "audio_duration")
OFFSET_KEYS = ("offset",)


def read_manifest(path: Path, text_key: str | None = None) -> Dataset:
    """The clips of a file of JSON lines.

    Each object names a recording (`AUDIO_KEYS`; relative to the manifest's folder) or itself (`ID_KEYS`), and what was
    said (`REFERENCE_KEYS`). With an ``offset`` (NeMo) it is a part of the recording, ``duration`` long or up to its
    end. Anything else can group clips.

    Args:
        text_key: the key of the reference, None = the first of `REFERENCE_KEYS`.

    Raises:
        UsageError: lines that can't be used, named by number; clips named twice; or there are none.
    """
    clips: list[Clip] = []
    faults: list[tuple[int, str]] = []
    lines: dict[str, int] = {}
    for number, entry in read_objects(path):
        try:
            if isinstance(entry, LineError):
                raise entry
            clip = _clip(entry, path.parent, number, text_key)
            if clip.id in lines:
                raise LineError(f"{clip.id!r} stands in line {lines[clip.id]} already")
        except LineError as error:
            faults.append((number, str(error)))
            continue
        lines[clip.id] = number
        clips.append(clip)
    if not clips and not faults:
        faults.append((1, "there is nothing in this file"))
    hint = f'one object a line: {{"audio_filepath": "a.wav", "{text_key or "text"}": "what was said"}}'
    refuse(path, faults, hint)
    return Dataset(str(path), "manifest", clips)


def _clip(entry: dict[str, Any], folder: Path, number: int, text_key: str | None) -> Clip:
    reference = first_text(entry, (text_key,) if text_key else REFERENCE_KEYS)
    if reference is None:
        there = ", ".join(str(key) for key in list(entry)[:8])
        wanted = text_key or f"reference ({', '.join(REFERENCE_KEYS)})"
        raise LineError(f"no {wanted}; it has: {there}")
    audio = first_text(entry, AUDIO_KEYS)
    name = next((scalar_text(entry[key]) for key in ID_KEYS if entry.get(key) not in (None, "")), None)
    if name is None and (audio is None or not audio[1]):
        raise LineError(f"names no recording ({', '.join(AUDIO_KEYS)})")
    offset = _seconds(entry, OFFSET_KEYS)
    language = first_text(entry, LANGUAGE_KEYS)
    written = audio[1] if audio else None
    return Clip(
        id=name or f"{written}{'' if offset is None else f'@{offset:g}'}",
        reference=reference[1],
        audio=written,
        path=folder / written if written else None,
        offset=offset,
        seconds=_seconds(entry, SECONDS_KEYS),
        language=clip_language(language[1]) if language else None,
        keys={key: text for key, value in entry.items() if (text := scalar_text(value)) is not None},
        where=f"line {number}",
    )


def _seconds(entry: dict[str, Any], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = entry.get(key)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise LineError(f"{key} can't be {value!r}: seconds are a number from 0 on")
            return float(value)
    return None
