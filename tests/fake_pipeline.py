"""A pipeline without a model: a "recording" is a JSON file that says what becomes of it. For tests of the command line.

    {"segments": [[0.0, 1.5, " Hello"]], "duration": 11.0, "warnings": [], "then": null}

``detected``, if it is there, is what was found of the language, probabilities and seconds of windows:
``[[{"fr": 0.98}, 20.0]]``.
``then`` is what happens after the segments: null, "corrupt" (an `AudioError`), "usage" (an error about the whole run)
or "hang" (until a signal comes; a file called "hanging" says that it is so far). Run as a script it is the command line
over this pipeline.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.devices import get_device
from voxport.errors import AudioError, ModelNotFoundError, UsageError
from voxport.pipeline.languages import LanguageEvidence
from voxport.types import ModelInfo, Segment, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeModel:
    """What the command line reads of a model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.info = ModelInfo(name, "whisper", "ab" * 32, "models/fake", random_weights=name.endswith("-random"))
        self.device = get_device("cpu")
        self.dtype = "float32"
        self.float32_modules: tuple[str, ...] = ()
        self.context_seconds = 0.0
        self.supports = frozenset({"timestamps"} if name == "wordless" else {"timestamps", "word_timestamps"})


class FakeTranscription:
    """Stands in for `voxport.pipeline.Transcription`."""

    def __init__(self, audio: str, models: list[FakeModel], options: Any) -> None:
        (model,) = models
        self.duration: float | None = None
        self.position = 0.0
        self.warnings: list[str] = []
        self.detected: LanguageEvidence | None = None
        self._audio, self._model, self._options = audio, model, options
        self._segments: list[Segment] = []

    def __iter__(self) -> Iterator[Segment]:
        try:
            text = sys.stdin.read() if self._audio == "-" else Path(self._audio).read_text(encoding="utf-8")
            script = json.loads(text)
        except (OSError, ValueError) as error:
            raise AudioError("this is no recording", hint="check the file", code="audio_corrupt") from error
        self.duration = script.get("duration", 11.0)
        self.warnings = script.get("warnings", [])
        if "detected" in script:
            self.detected = LanguageEvidence()
            for probabilities, seconds in script["detected"]:
                self.detected.add(probabilities, seconds)
        for start, end, words, *more in script.get("segments", []):
            fields = dict(more[0]) if more else {}
            if "words" in fields:
                fields["words"] = tuple(Word(*word) for word in fields["words"])
            elif self._options.word_timestamps:
                fields["words"] = _evenly(words, start, end)
            segment = Segment(id=len(self._segments), seek=0, start=start, end=end, text=words, **fields)
            self._segments.append(segment)
            self.position = end
            yield segment
        then = script.get("then")
        if then == "corrupt":
            raise AudioError("the rest is damaged", hint="check the file", code="audio_corrupt")
        if then == "usage":
            raise UsageError("whisper-tiny.en knows no French", hint="use whisper-base")
        if then == "hang":
            Path("hanging").touch()
        while then == "hang":
            time.sleep(0.01)

    def result(self) -> Transcript:
        return Transcript(
            file=self._audio,
            text="".join(segment.text for segment in self._segments).strip(),
            language="en",
            duration=self.duration or 0.0,
            segments=tuple(self._segments),
            model=self._model.info,
            device="cpu",
            dtype="float32",
            channel="split" if self._options.channels == "split" else None,
        )


def _evenly(text: str, start: float, end: float) -> tuple[Word, ...]:
    """The words of a text, all of the same length, each as probable as its place."""
    words = text.split()
    step = (end - start) / len(words)
    return tuple(
        Word(f" {word}", start + n * step, start + n * step + step, 1 / (n + 1)) for n, word in enumerate(words)
    )


def load_fake_models(name: str, device: str = "auto", dtype: str = "auto", **_: Any) -> list[FakeModel]:
    """Stands in for `voxport.models.load_models`."""
    if name == "whisper-huge":
        raise ModelNotFoundError("no model is called 'whisper-huge'", hint="`voxport models list` names them")
    return [FakeModel(name)]


def install(setattr_: Any = setattr) -> None:
    """Put the fakes in place of what the command line calls."""
    import voxport.models
    import voxport.pipeline

    setattr_(voxport.pipeline, "Transcription", FakeTranscription)
    setattr_(voxport.models, "load_models", load_fake_models)


if __name__ == "__main__":
    import signal

    from voxport.cli import main

    # A test runner in the background of a shell would hand down an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    install()
    sys.exit(main())
