"""Which windows are decoded together: batches of like length, results in the recording's order."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voxport.models import ASRModel
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import DecodingOptions, Segment

LOOK_AHEAD = 3
"""Batches of regions that are read ahead, to sort them by length: equal lengths end together."""


@dataclass
class Job:
    """A region under way."""

    order: int
    audio: RegionAudio
    done: bool = False

    def length(self, longest: float) -> float:
        """Seconds of its next window, which are at most `longest`."""
        return min(self.audio.region.end - self.audio.region.start, longest)


AnyJob = TypeVar("AnyJob", bound=Job)


class Scheduler(ABC, Generic[AnyJob]):
    """Runs a model over regions. How windows make a region is the subclasses' business.

    Attributes:
        language: of the recording: as asked for, or as detected on its first window.
        timings: "features", "encode" and "decode", seconds spent.
        position: seconds of the recording whose segments are out.
    """

    def __init__(self, model: ASRModel, options: DecodingOptions, batch_size: int) -> None:
        self._model = model
        self._options = options
        self._batch_size = batch_size
        self.language = options.language
        if self.language is None and len(model.languages) == 1:
            (self.language,) = model.languages
        self.position = 0.0
        self.timings = {"features": 0.0, "encode": 0.0, "decode": 0.0}

    def run(self, regions: Iterable[RegionAudio]) -> Iterator[Segment]:
        """Segments in order of time, as soon as all before them are known. `id` is left to the caller."""
        source = enumerate(regions)
        waiting: list[AnyJob] = []
        emitting: dict[int, AnyJob] = {}
        following = 0
        while True:
            room = LOOK_AHEAD * self._batch_size - len(waiting)
            for order, audio in islice(source, max(room, 0)):
                job = self._job(order, audio)
                waiting.append(job)
                emitting[order] = job
            if not waiting:
                yield from self._end()
                return
            batch = self._next_batch(waiting)
            self._decode(batch)
            waiting = [job for job in waiting if not job.done]
            while following in emitting and emitting[following].done:
                job = emitting.pop(following)
                self.position = job.audio.region.end
                yield from self._segments(job)
                following += 1

    @abstractmethod
    def _job(self, order: int, audio: RegionAudio) -> AnyJob:
        """Begin a region."""

    @abstractmethod
    def _decode(self, batch: list[AnyJob]) -> None:
        """Decode the next window of each; mark those as done that need no other."""

    @abstractmethod
    def _segments(self, job: AnyJob) -> Iterable[Segment]:
        """What a region that is done adds to those before it; called in their order."""

    def _end(self) -> Iterable[Segment]:
        """What is still to be said when all regions are done."""
        return ()

    def _next_batch(self, waiting: list[AnyJob]) -> list[AnyJob]:
        """The jobs of like length around the oldest, which the reader is waiting for."""
        longest = self._model.max_seconds
        by_length = sorted(waiting, key=lambda job: -job.length(longest))
        oldest = min(range(len(by_length)), key=lambda place: by_length[place].order)
        first = oldest - oldest % self._batch_size
        return by_length[first : first + self._batch_size]

    def _timed(self, stage: str, function: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self._model.device.synchronize()
            self.timings[stage] += time.perf_counter() - started
