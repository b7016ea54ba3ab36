"""What is heard: recordings as samples, their first windows, and the batches that a call takes."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.audio import load_audio
from voxport.errors import AudioError, UsageError
from voxport.types import Audio

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Clip", "batches", "first_windows", "of_length", "read_clips"]

SAMPLE_RATE = 16_000
"""Of all families so far; a model that wants another rate is refused by its own `features`."""


@dataclass(frozen=True)
class Clip:
    """A recording.

    Attributes:
        name: the file's, without its folder.
        audio: its samples, all of them.
        sha256: of the samples.
        reading_seconds: from the file to samples, once; part of no scope.
    """

    name: str
    audio: Audio
    sha256: str
    reading_seconds: float | None = None

    @classmethod
    def of(cls, name: str, audio: Audio, reading_seconds: float | None = None) -> Clip:
        return cls(name, audio, hashlib.sha256(audio.samples.tobytes()).hexdigest(), reading_seconds)

    @property
    def seconds(self) -> float:
        return self.audio.duration

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": self.seconds,
            "sha256": self.sha256,
            "reading_seconds": self.reading_seconds,
        }


def read_clips(names: Sequence[str]) -> list[Clip]:
    """Decode recordings, channels mixed, to 16 kHz.

    Raises:
        AudioError: one of them can't be read. Nothing is left out: figures would be about something else.
        UsageError: there is none.
    """
    if not names:
        raise UsageError("there is no recording to measure with")
    clips = []
    for name in names:
        began = time.perf_counter()
        try:
            audio = load_audio(name, sample_rate=SAMPLE_RATE)
        except AudioError as error:
            raise AudioError(f"{name}: {error.message}", hint=error.hint, code=error.code) from error
        clips.append(Clip.of("standard input" if name == "-" else Path(name).name, audio, time.perf_counter() - began))
    return clips


def first_windows(clips: Sequence[Clip], longest: float) -> list[Audio]:
    """The beginning of each clip, at most `longest` seconds of it."""
    return [Audio(clip.audio.samples[: int(longest * SAMPLE_RATE)], SAMPLE_RATE) for clip in clips]


def batches(windows: Sequence[Audio], size: int) -> list[list[Audio]]:
    """Windows in groups of `size`; the last group is filled up from the first window on, so that all are alike."""
    count = -(-len(windows) // size)
    filled = [windows[place % len(windows)] for place in range(count * size)]
    return [filled[start : start + size] for start in range(0, len(filled), size)]


def of_length(clips: Sequence[Clip], seconds: float) -> Clip:
    """A clip of this length: the clips after another, over and over, cut off."""
    wanted = round(seconds * SAMPLE_RATE)
    joined = np.concatenate([clip.audio.samples for clip in clips])
    samples = np.tile(joined, -(-wanted // max(1, len(joined))))[:wanted]
    return Clip.of(f"{seconds:g} s", Audio(samples, SAMPLE_RATE))
