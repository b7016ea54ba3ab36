"""Two sides do the same work: the same windows, the same features, the same tokens before each position."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.audio import load_audio
from voxport.errors import DecodingError, UsageError
from voxport.metrics import distance, histogram, probability_distance
from voxport.models.stages import Inspectable
from voxport.types import Audio, DecodingOptions
from voxport.verify.localising import localise
from voxport.verify.looking import look
from voxport.verify.outcome import Difference, Finding, Outcome, SideFacts, StageResult, WindowResult
from voxport.verify.text_edits import edit_distance, words
from voxport.verify.trace import RecordedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from voxport.models import ASRModel
    from voxport.sides import Side
    from voxport.types import FloatArray, Hypothesis

__all__ = ["Comparison", "Loaded", "Work", "windows_of"]


@dataclass(frozen=True)
class Loaded:
    """A side and its model: an `ASRModel`, or a `RecordedModel` as the reference."""

    side: Side
    model: Any

    def facts(self) -> SideFacts:
        model = self.model
        if isinstance(model, RecordedModel):
            return model.facts
        return SideFacts(
            str(self.side),
            self.side.engine,
            str(model.device),
            model.dtype,
            model.info.identity,
            model.device.describe(),
            model.device.simulated,
            model.info.random_weights,
            model.float32_modules,
        )


@dataclass(frozen=True)
class Work:
    """What both sides are to do.

    Attributes:
        options: how to decode.
        look_at: windows whose stages are looked at; the first ones of different recordings.
    """

    options: DecodingOptions = field(default_factory=lambda: DecodingOptions(no_speech_threshold=None))
    look_at: int = 2

    def forced(self, model: Any, heard: Hypothesis) -> list[list[int]] | None:
        """The decoder's input that both sides are given: the prompt and what the reference said; None for CTC."""
        if model.info.family != "whisper":
            return None
        prompt = model.prompt(heard.language or self.options.language, self.options.task, self.options.timestamps)
        return [[*prompt, *heard.tokens]]


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, no longer than the model hears at once."""

    file: str
    start: float
    audio: Audio


def windows_of(paths: Sequence[str | Path], model: ASRModel) -> list[Window]:
    """Every recording, cut into windows of the model's length one after the other.

    Raises:
        AudioError: a recording can't be read.
    """
    found = []
    for path in paths:
        audio = load_audio(path)
        size = round(model.window_seconds * audio.sample_rate)
        shortest = round(model.min_seconds * audio.sample_rate)
        for start in range(0, max(1, len(audio.samples)), size):
            samples = audio.samples[start : start + size]
            if len(samples) >= max(1, shortest):
                found.append(Window(str(path), start / audio.sample_rate, Audio(samples, audio.sample_rate)))
    return found


class Comparison:
    """A reference and a candidate over some windows.

    Args:
        reference, candidate: of one model.
        work: what to do.
        progress: told (done, of how many, which file).

    Raises:
        UsageError: the sides can't be compared: different families, shapes or vocabularies.
    """

    def __init__(
        self,
        reference: Loaded,
        candidate: Loaded,
        work: Work | None = None,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.reference, self.candidate = reference, candidate
        self.work = work or Work()
        self._progress = progress or (lambda done, total, file: None)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        families = {reference.model.info.family, candidate.model.info.family}
        if len(families) > 1:
            raise UsageError(f"the sides are models of different families: {', '.join(sorted(families))}")
        self.family = families.pop()
        if isinstance(reference.model, RecordedModel):
            reference.model.require(candidate.model.info.identity)
        for side in (reference.model, candidate.model):
            side.check(self.work.options)

    def run(self, windows: Sequence[Window], notes: Sequence[str] = (), *, hasty: bool = False) -> Outcome:
        """Compare all windows; `hasty` = no further than the first of which the candidate makes nothing."""
        if not windows:
            raise UsageError("there is nothing to compare: the recordings are too short")
        try:
            return self._run(windows, notes, hasty=hasty)
        except RuntimeError as error:  # out of memory, say
            for side in (self.candidate, self.reference):
                known = side.model.device.explain(error)
                if known is not None:
                    raise known from error
            raise

    def _run(self, windows: Sequence[Window], notes: Sequence[str], *, hasty: bool) -> Outcome:
        looked = self._looked_at(windows)
        results = []
        candidates = self._candidate_hypotheses(windows, hasty=hasty)
        for index, window in enumerate(windows[: len(candidates)]):
            self._progress(index, len(windows), window.file)
            results.append(self._window(window, candidates[index], look_at=index in looked))
            if hasty and results[-1].failure is not None:
                break
        model = self.reference.model
        return Outcome(
            model.name,
            self.family,
            self.reference.facts(),
            self.candidate.facts(),
            tuple(results),
            tuple(notes),
            dict(self._seconds),
        )

    def _looked_at(self, windows: Sequence[Window]) -> set[int]:
        """The first windows of as many recordings as are to be looked at; the looks want models that allow them."""
        if not (isinstance(self.reference.model, Inspectable) and isinstance(self.candidate.model, Inspectable)):
            return set()
        if isinstance(self.reference.model, RecordedModel):
            recorded = self.reference.model
            found = [index for index, window in enumerate(windows) if recorded.has_stages(window.audio)]
            return set(found if self.work.look_at else ())
        firsts: dict[str, int] = {}
        for index, window in enumerate(windows):
            firsts.setdefault(window.file, index)
        return set(list(firsts.values())[: self.work.look_at])

    def _candidate_hypotheses(self, windows: Sequence[Window], *, hasty: bool) -> list[Hypothesis | DecodingError]:
        """The candidate's free decoding, in batches as its side wants them: batch against single shows here."""
        size = self.candidate.side.batch or 1
        found: list[Hypothesis | DecodingError] = []
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            self._progress(start, len(windows), f"{batch[0].file} (candidate decodes)")
            features = self.reference.model.features([window.audio for window in batch])
            with self._running(self.candidate, "candidate decodes"):
                try:
                    model = self.candidate.model
                    found += model.decode(model.encode(features), self.work.options)
                except DecodingError as error:
                    found += [error] * len(batch)
                    if hasty:
                        break
        return found

    def _window(self, window: Window, decoded: Hypothesis | DecodingError, *, look_at: bool) -> WindowResult:
        reference, candidate = self.reference.model, self.candidate.model
        features = reference.features([window.audio])
        with self._running(self.reference, "reference"):
            encoded = reference.encode(features)
            (heard,) = reference.decode(encoded, self.work.options)
            tokens = self._forced(features, heard)
            wanted = _logits(reference, encoded, tokens)
        failure = str(decoded) if isinstance(decoded, DecodingError) else None
        found: FloatArray | None = None
        with self._running(self.candidate, "candidate"):
            try:
                found = _logits(candidate, candidate.encode(features), tokens)
            except DecodingError as error:
                failure = failure or str(error)
        stages, findings, path = self._look(features, tokens, found) if look_at else ((), (), None)
        text = "" if isinstance(decoded, DecodingError) else decoded.text
        said = () if isinstance(decoded, DecodingError) else decoded.tokens
        own = distance(_mel(candidate.features([window.audio])), _mel(features)) if look_at else None
        return WindowResult(
            window.file,
            window.start,
            window.audio.duration,
            own,
            None if found is None else distance(found, wanted, candidate.dtype),
            None if found is None else probability_distance(found, wanted),
            len(wanted),
            () if found is None else _differences(wanted, found),
            (tuple(heard.tokens), tuple(said)),
            (heard.text, text),
            (edit_distance(heard.tokens, said), max(len(heard.tokens), len(said))),
            (edit_distance(words(heard.text), words(text)), len(words(heard.text))),
            (edit_distance("".join(words(heard.text)), "".join(words(text))), len("".join(words(heard.text)))),
            stages,
            findings,
            path,
            failure,
            None if found is None else histogram(found, wanted),
        )

    def _forced(self, features: Any, heard: Hypothesis) -> list[list[int]] | None:
        model = self.reference.model
        return model.forced(features) if isinstance(model, RecordedModel) else self.work.forced(model, heard)

    def _look(
        self, features: Any, tokens: Sequence[Sequence[int]] | None, fast: FloatArray | None
    ) -> tuple[tuple[StageResult, ...], tuple[Finding, ...], dict[str, float] | None]:
        reference, candidate = self.reference.model, self.candidate.model
        with self._timed("looking at stages"):
            stages = look(reference, candidate, features, tokens, candidate.dtype)
            findings = localise(reference, candidate, features, tokens, stages, candidate.dtype)
            path = None
            if fast is not None:
                last = candidate.stages()[-1].name
                table = candidate.capture([last], features, tokens)[last].float().cpu().numpy()[0]
                path = distance(fast, table, candidate.dtype)
        return tuple(stages), tuple(findings), path

    @contextmanager
    def _running(self, side: Loaded, part: str) -> Iterator[None]:
        with side.side.running(), self._timed(part):
            yield
            side.model.device.synchronize()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - began


def _logits(model: ASRModel, encoded: Any, tokens: Sequence[Sequence[int]] | None) -> FloatArray:
    """Of one window: (positions, V)."""
    found: FloatArray = model.logits(encoded, tokens)[0]
    return found


def _mel(features: Any) -> FloatArray:
    mel: FloatArray = features.mel
    return mel


def _differences(wanted: FloatArray, found: FloatArray) -> tuple[Difference, ...]:
    """Positions whose likeliest token differs. One whose candidate is not finite differs."""
    ours = np.where(np.isfinite(found).all(axis=-1), np.nan_to_num(found).argmax(axis=-1), -1)
    theirs = wanted.argmax(axis=-1)
    differences = []
    for position in np.flatnonzero(ours != theirs).tolist():
        second, first = np.partition(wanted[position], -2)[-2:]
        margin = float(first) - float(second)
        differences.append(Difference(position, int(theirs[position]), int(ours[position]), margin))
    return tuple(differences)
