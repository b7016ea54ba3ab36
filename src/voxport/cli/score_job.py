"""Hearing the clips of a data set: one after another, each with its own success or failure, kept while it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voxport.cli.introduction import introduce
from voxport.cli.progress import Progress, clock, speed
from voxport.cli.signals import deferred, ignored
from voxport.cli.terminal import note, show_error, warn
from voxport.errors import OutputError, UsageError, VoxportError
from voxport.score import Heard, Matched, Origin, read_hypotheses, saved_line
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from voxport.pipeline import Transcription
    from voxport.score import Clip
    from voxport.score.listening import Listener

__all__ = ["ScoreJob"]

SAVE_SECONDS = 20.0
"""A run that is killed loses no more than this much work."""


@dataclass
class ScoreJob:
    """The clips, who hears them, and where what is heard is kept.

    Attributes:
        load: gives the model; called once, when a clip needs it.
        save: a file that what is heard is kept in, and that is gone on from.
        quiet: say nothing but warnings and errors.
    """

    clips: Sequence[Clip]
    load: Callable[[], Listener]
    save: Path | None = None
    quiet: bool = False
    _heard: dict[str, Heard] = field(default_factory=dict, repr=False)
    _failed: dict[str, Heard] = field(default_factory=dict, repr=False)
    _lines: dict[str, str] = field(default_factory=dict, repr=False)
    _saved: int = field(default=0, repr=False)

    def work(self) -> Matched:
        """Hear all; those that failed are told of.

        Raises:
            VoxportError: one that every clip would meet alike: usage, the machine, the model, a full disk.
        """
        from voxport.score.listening import check_recordings

        self._fail(check_recordings(self.clips))
        self._recall()
        left = [clip for clip in self.clips if clip.id not in self._heard and clip.id not in self._failed]
        if left or self._heard:  # the model is asked for also to see that it is the one that heard the others
            progress = Progress(enabled=not self.quiet)
            try:
                self._hear(left, progress)
            except BaseException:
                progress.clear()
                with ignored():
                    self._keep_what_is_done()
                raise
        return Matched(self._heard, self._failed, missing=(), extra=(), repeated=())

    def _recall(self) -> None:
        """Take over what the file holds."""
        if self.save is None or not self.save.exists() or not self.save.stat().st_size:
            return
        ids = {clip.id for clip in self.clips}
        found = read_hypotheses(self.save)
        lines = [line for line in self.save.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        for heard, line in zip(found, lines, strict=True):
            name = heard.names[0]
            self._lines[name] = line + "\n"
            if name in ids and heard.text is not None:
                self._heard[name] = heard
        self._saved = len(self._lines)
        if self._heard and not self.quiet:
            note("kept", f"{len(self._heard)} of {len(self.clips)} clips were heard before, in {self.save}")

    def _hear(self, clips: Sequence[Clip], progress: Progress) -> None:
        progress.status("loading the model ...")
        listener = self.load()
        progress.clear()
        introduce(listener.model, quiet=self.quiet)
        listener.check(clips)
        self._check_origin(listener.origin)
        if not clips:
            return
        began = saved_at = time.perf_counter()
        seconds = 0.0
        with listener.side.running():
            for index, clip in enumerate(clips, start=1):
                progress.begin(f"[{index}/{len(clips)}]  {clip.id}")
                seconds += self._one(clip, listener, progress)
                if self._saved == 0 or time.perf_counter() - saved_at > SAVE_SECONDS:
                    self._write()
                    saved_at = time.perf_counter()
        progress.clear()
        self._write()
        wall = time.perf_counter() - began
        if not self.quiet:
            rate = speed(seconds, wall)
            note("heard", f"{clock(seconds)} of audio in {wall:.1f} s{f', {rate}' if rate else ''}")

    def _one(self, clip: Clip, listener: Listener, progress: Progress) -> float:
        """Hear a clip; returns its seconds."""

        def tell(transcription: Transcription) -> None:
            progress.update(transcription.position, transcription.duration)

        try:
            hearing = listener.hear(clip, tell)
        except VoxportError as error:
            # Those with another exit code are about the call or the machine: every clip would meet them.
            if error.exit_code != 1 or isinstance(error, OutputError):
                raise
            progress.clear()
            self._fail({clip.id: error})
            return 0.0
        with deferred():
            self._heard[clip.id] = hearing.heard
            self._lines[clip.id] = saved_line(clip, hearing.heard)
        for text in hearing.warnings:
            progress.clear()
            warn(f"{clip.id}: {text}")
        return hearing.seconds

    def _check_origin(self, origin: Origin) -> None:
        """What one file holds was heard by one model in one way, or its rate would be nobody's."""
        for name, heard in self._heard.items():
            if heard.origin != origin:
                raise UsageError(
                    f"{self.save} holds what {heard.origin.model or 'an unknown model'} heard "
                    f"({name}: {_difference(heard.origin, origin)})",
                    hint="give another file with --save_hyp, or score that one with --hyp",
                )

    def _fail(self, errors: Mapping[str, VoxportError]) -> None:
        for name, error in errors.items():
            show_error(error, about=name)
            self._failed[name] = Heard(None, error=error.to_dict(), names=(name,))

    def _write(self) -> None:
        if self.save is not None and len(self._lines) > self._saved:
            write_atomically(self.save, "".join(self._lines.values()))
            self._saved = len(self._lines)

    def _keep_what_is_done(self) -> None:
        if self.save is None or len(self._lines) <= self._saved:
            return
        self._write()
        note("kept", f"{len(self._heard)} of {len(self.clips)} clips are heard, in {self.save}; run it again to go on")


def _difference(before: Origin, now: Origin) -> str:
    """The first thing in which two origins differ."""
    for name in ("model", "identity", "side", "options", "voxport", "simulated"):
        one, other = getattr(before, name), getattr(now, name)
        if one != other:
            return f"{name} was {one}, is {other}"
    return "made otherwise"
