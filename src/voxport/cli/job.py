"""A run over several recordings: one after another, each with its own success or failure, kept when interrupted."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.cli.inputs import STANDARD_INPUT, Recording
from voxport.cli.introduction import introduce
from voxport.cli.languages import detected_line, shares_line
from voxport.cli.progress import Progress, clock, speed
from voxport.cli.signals import EXIT_INTERRUPTED, deferred, ignored
from voxport.cli.terminal import note, show_error, warn
from voxport.errors import OutputError, VoxportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voxport.cli.results import Results
    from voxport.models import ASRModel
    from voxport.pipeline import PipelineOptions, Transcription

__all__ = ["Job"]


@dataclass
class Job:
    """The recordings, how to hear them and where the words go.

    Attributes:
        load: gives the model, one replica for each device; called once, when a recording needs it.
        quiet: say nothing but warnings and errors.
        done, failed: how many recordings are finished, or can't be.
        audio_seconds: how much sound was worked through.
        wall_seconds: how long that took, without loading the model.
    """

    recordings: Sequence[Recording]
    options: PipelineOptions
    results: Sequence[Results]
    progress: Progress
    load: Callable[[], Sequence[ASRModel]]
    quiet: bool = False
    done: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    _models: Sequence[ASRModel] = field(default=(), repr=False)

    def work(self) -> int:
        """Transcribe all; returns the exit code.

        Raises:
            VoxportError: one that every recording would meet alike: usage, the machine, the model, a full disk.
        """
        # Said first, so that a mistyped name is seen now and not hours later; their JSON comes in order.
        for recording in self.recordings:
            if recording.error:
                show_error(recording.error, about=recording.name)
        for index, recording in enumerate(self.recordings):
            attempt = _Attempt()
            try:
                self._one(index, recording, attempt)
            except KeyboardInterrupt:
                self.progress.clear()
                with ignored():
                    self._interrupted(index, attempt)
                return EXIT_INTERRUPTED
            except VoxportError:
                if self.done:
                    note("stopped", f"{self.done} of {len(self.recordings)} recordings are done")
                raise
            finally:
                self.progress.clear()
        return 1 if self.failed else 0

    def summarise(self) -> None:
        """One line on standard error: how much, how fast, on what."""
        if not self._models or not self.done:
            return
        model = self._models[0]
        devices = " and ".join(str(one.device) for one in self._models)
        count = len(self.recordings)
        parts = [] if count == 1 else [f"{self.done} of {count} recordings"]
        parts.append(f"{clock(self.audio_seconds)} of audio in {self.wall_seconds:.1f} s")
        parts.append(speed(self.audio_seconds, self.wall_seconds))
        simulated = f" (simulated {model.device.simulated})" if model.device.simulated else ""
        parts.append(f"{model.name} on {devices}{simulated} in {model.dtype}")
        note("done", ", ".join(part for part in parts if part))

    def _one(self, index: int, recording: Recording, attempt: _Attempt) -> None:
        if recording.error:
            self._fail(index, recording.error)
            return
        if not self._models:
            self.progress.status("loading the model ...")
            self._models = self.load()
            self.progress.clear()
            introduce(self._models[0], quiet=self.quiet)
        try:
            self._transcribe(index, recording, self._models, attempt)
        except VoxportError as error:
            # Those with another exit code are about the call or the machine, and a result that can't be written is
            # one that the next can't be written either: the run ends there.
            if error.exit_code != 1 or isinstance(error, OutputError):
                raise
            self.progress.clear()
            show_error(error, about=_label(recording))
            self._fail(index, error)
        finally:
            self._tell_warnings(recording, attempt)

    def _transcribe(self, index: int, recording: Recording, models: Sequence[ASRModel], attempt: _Attempt) -> None:
        from voxport.pipeline import Transcription

        position = f"[{index + 1}/{len(self.recordings)}]  " if len(self.recordings) > 1 else ""
        self.progress.begin(f"{position}{_label(recording)}")
        began = time.perf_counter()
        attempt.transcription = transcription = Transcription(recording.name, models, self.options)
        try:
            for results in self.results:
                results.begin(index)
            for segment in transcription:
                self._tell_language(index, attempt)
                attempt.flags.update(segment.flags)
                self.progress.make_way()
                for results in self.results:
                    results.segment(segment)
                self.progress.update(transcription.position, transcription.duration)
            transcript = transcription.result()
        finally:
            self.wall_seconds += time.perf_counter() - began
        self.progress.clear()
        if self.options.per_window and transcript.segments and not self.quiet:
            note("languages", self._about(index) + shares_line(transcript))
        with deferred():
            for results in self.results:
                results.finish(index, transcript)
            attempt.finished = True
            self.done += 1
            self.audio_seconds += transcript.duration

    def _about(self, index: int) -> str:
        """What a line about one of several recordings begins with."""
        return f"{_label(self.recordings[index])}: " if len(self.recordings) > 1 else ""

    def _tell_language(self, index: int, attempt: _Attempt) -> None:
        """Once, before the first words: whoever sees a wrong language can stop and give the right one."""
        detected = attempt.transcription.detected if attempt.transcription and not attempt.told_language else None
        attempt.told_language = True
        if detected is not None and not self.options.per_window and not self.quiet:
            self.progress.clear()
            note("language", self._about(index) + detected_line(detected))

    def _fail(self, index: int, error: VoxportError) -> None:
        self.failed += 1
        for results in self.results:
            results.fail(index, error)

    def _tell_warnings(self, recording: Recording, attempt: _Attempt) -> None:
        self.progress.clear()
        for text in attempt.transcription.warnings if attempt.transcription else ():
            warn(f"{_label(recording)}: {text}")
        for flag, count in sorted(attempt.flags.items()):
            warn(f"{_label(recording)}: {count} {'segment is' if count == 1 else 'segments are'} flagged: {flag}")

    def _interrupted(self, index: int, attempt: _Attempt) -> None:
        """Keep what is done of the recording under way, and say so."""
        count = len(self.recordings)
        message = f"{self.done} of {count} recordings are done" if count > 1 else "stopped on request"
        transcription = attempt.transcription
        if transcription is None or attempt.finished:
            note("interrupted", message)
            return
        so_far = transcription.result()
        partial = so_far if so_far.segments else None
        length = f" of {clock(transcription.duration)}" if transcription.duration else ""
        reached = f"{_label(self.recordings[index])} was at {clock(transcription.position)}{length}"
        error = VoxportError(f"interrupted: {reached}", hint="run it again", code="interrupted")
        kept = [place for results in self.results if (place := results.fail(index, error, partial))]
        where = f"; kept: {' and '.join(kept)}" if kept else ""
        note("interrupted", f"{message}, {reached}{where}")


@dataclass
class _Attempt:
    """What became of the recording under way."""

    transcription: Transcription | None = None
    finished: bool = False
    told_language: bool = False
    flags: Counter[str] = field(default_factory=Counter)


def _label(recording: Recording) -> str:
    return "standard input" if recording.name == STANDARD_INPUT else Path(recording.name).name
