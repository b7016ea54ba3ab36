"""Transcribing clips to be scored: the pipeline of ``voxport transcribe``, clip after clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxport.errors import AudioError, UnsupportedOptionError
from voxport.score.hypotheses import Heard, Origin
from voxport.types import Audio, DecodingOptions
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from voxport.audio import AudioInput
    from voxport.models import ASRModel
    from voxport.pipeline import Transcription
    from voxport.score.clips import Clip
    from voxport.sides import Side

__all__ = ["Hearing", "Listener", "check_recordings"]


def check_recordings(clips: Sequence[Clip]) -> dict[str, AudioError]:
    """Clip id -> why it can't be heard, where that is clear without opening anything."""
    errors = {}
    for clip in clips:
        if clip.path is None:
            errors[clip.id] = AudioError(f"{clip.where} names no recording", code="audio_not_found")
        elif not clip.path.is_file():
            relative = clip.audio is not None and not clip.audio.startswith("/")
            hint = "paths are relative to the manifest's folder" if relative else None
            errors[clip.id] = AudioError(f"{clip.path} is not there", hint=hint, code="audio_not_found")
    return errors


@dataclass(frozen=True)
class Hearing:
    """What came of one clip.

    Attributes:
        heard: the words.
        seconds: of audio that were heard.
        warnings: what a reader should know of the recording.
    """

    heard: Heard
    seconds: float
    warnings: Sequence[str]


@dataclass
class Listener:
    """A model that hears clips.

    Attributes:
        detect: leave it to the model to find the language, even where the clip's is known.
        vad: look for speech first.
    """

    model: ASRModel
    side: Side
    detect: bool = False
    vad: bool = True
    _recording: tuple[Path, Audio] | None = None

    @property
    def origin(self) -> Origin:
        """Who hears, with what a reader must know of it."""
        info, device = self.model.info, self.model.device
        engine = "" if self.side.engine == "voxport" else f"{self.side.engine}/"
        language = "language detected" if self.detect else "language told where known"
        return Origin(
            model=info.name,
            family=info.family,
            identity=info.identity,
            side=f"{engine}{device}:{self.model.dtype}",
            simulated=device.simulated,
            random_weights=info.random_weights,
            options=f"{language}, {'speech found first (VAD)' if self.vad else 'no VAD'}",
            voxport=__version__,
        )

    def check(self, clips: Sequence[Clip]) -> None:
        """Refuse languages that this model lacks, before any work.

        Raises:
            UnsupportedOptionError: which, in how many clips.
        """
        if self.detect:
            return
        for language in sorted({clip.language for clip in clips if clip.language}):
            try:
                self.model.check(DecodingOptions(language=language))
            except UnsupportedOptionError as error:
                count = sum(clip.language == language for clip in clips)
                raise UnsupportedOptionError(
                    f"{error.message} ({count} {'clip is' if count == 1 else 'clips are'} in it)",
                    hint="choose clips with --where lang=..., or leave it to the model with --detect_language",
                ) from error

    def hear(self, clip: Clip, tell: Callable[[Transcription], None] | None = None) -> Hearing:
        """What is heard in a clip.

        Args:
            tell: called with the transcription as it goes on.

        Raises:
            VoxportError: it failed.
        """
        from voxport.models import can_join

        if not can_join(self.model):
            return self._hear_whole(clip)
        from voxport.pipeline import PipelineOptions, Transcription

        options = PipelineOptions(
            language=None if self.detect else clip.language, vad=self.vad, batch_size=self.side.batch
        )
        transcription = Transcription(self._audio(clip), self.model, options)
        for _ in transcription:
            if tell is not None:
                tell(transcription)
        transcript = transcription.result()
        heard = Heard(transcript.text, self.origin, language=transcript.language)
        return Hearing(heard, transcription.position, tuple(transcription.warnings))

    def _hear_whole(self, clip: Clip) -> Hearing:
        """As one window: a model that can't join windows is not cut into them."""
        from voxport.audio import load_audio

        source = self._audio(clip)
        audio = source if isinstance(source, Audio) else load_audio(source, sample_rate=self.model.sample_rate)
        options = DecodingOptions(language=None if self.detect else clip.language)
        (found,) = self.model.decode(self.model.encode(self.model.features([audio])), options)
        return Hearing(Heard(found.text.strip(), self.origin, language=found.language), audio.duration, ())

    def _audio(self, clip: Clip) -> AudioInput:
        if clip.path is None:
            raise AudioError(f"{clip.where} names no recording", code="audio_not_found")
        if clip.offset is None:
            return str(clip.path)
        # Parts of one recording stand one after another in manifests: it is decoded once.
        if self._recording is None or self._recording[0] != clip.path:
            from voxport.audio import load_audio

            self._recording = clip.path, load_audio(str(clip.path), sample_rate=self.model.sample_rate)
        audio = self._recording[1]
        begin = round(clip.offset * audio.sample_rate)
        end = len(audio.samples) if clip.seconds is None else begin + round(clip.seconds * audio.sample_rate)
        if begin >= len(audio.samples):
            raise AudioError(
                f"{clip.id} begins at {clip.offset:g} s, the recording is {audio.duration:.2f} s long",
                code="audio_empty",
            )
        return Audio(audio.samples[begin:end], audio.sample_rate)
