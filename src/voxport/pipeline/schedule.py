"""Which windows are decoded together: batches of like length, results in the recording's order."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from voxport.pipeline.languages import DetectionOptions, LanguageEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from voxport.models import ASRModel
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import Audio, DecodingOptions, Segment

LOOK_AHEAD = 3
"""Batches of regions that are read ahead, to sort them by length: equal lengths end together."""

TIDY_AFTER = 4
"""Windows after which a device may tidy up, see `Device.tidy`. More in one batch that came upon what the one before it
left would be a peak."""


@dataclass(eq=False)
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
        language: of the recording: as asked for, or as detected; None before that.
        evidence: what the windows gave in which the language was detected.
        timings: "features", "encode" and "decode" (and what a subclass has beside them), seconds spent.
        position: seconds of the recording whose segments are out.
    """

    def __init__(
        self,
        models: Sequence[ASRModel],
        options: DecodingOptions,
        batch_size: int,
        detection: DetectionOptions | None = None,
    ) -> None:
        """
        Args:
            models: replicas of one model, each on a device of its own; they work side by side.
            options: of the decoding.
            batch_size: windows decoded together.
            detection: how the language is found where `options` names none; None = the defaults.
        """
        self._models = list(models)
        self._options = options
        self._batch_size = batch_size
        self._detection = detection or DetectionOptions()
        self._lock = Lock()
        self._encoded_since = 0
        self.evidence = LanguageEvidence()
        self.language = options.language
        if self.language is None and len(models[0].languages) == 1:
            (self.language,) = models[0].languages
        self.position = 0.0
        self.timings = {"features": 0.0, "encode": 0.0, "decode": 0.0}

    def run(self, regions: Iterable[RegionAudio]) -> Iterator[Segment]:
        """Segments in order of time, as soon as all before them are known. `id` is left to the caller."""
        source = (self._job(order, audio) for order, audio in enumerate(regions))
        waiting: list[AnyJob] = []
        emitting: dict[int, AnyJob] = {}
        following = 0
        with closing(_Crew(self._models, self._decode)) as crew:
            opening = self._opening(source)
            emitting.update({job.order: job for job in opening})
            if opening:
                crew.start(opening)
            while True:
                most = LOOK_AHEAD * self._batch_size * len(self._models)
                # What is done and can't be out yet, because a replica is slow with what comes before, counts too.
                room = min(most - len(waiting) - len(crew.jobs), 2 * most - len(emitting))
                for job in islice(source, max(room, 0)):
                    waiting.append(job)
                    emitting[job.order] = job
                if not waiting and not crew.jobs:
                    yield from self._end()
                    return
                while waiting and crew.has_room:
                    batch = self._next_batch(waiting)
                    waiting = [job for job in waiting if job not in batch]
                    crew.start(batch)
                finished = crew.finished()
                waiting += [job for job in finished if not job.done]
                while following in emitting and emitting[following].done:
                    job = emitting.pop(following)
                    self.position = job.audio.region.end
                    yield from self._segments(job)
                    following += 1

    def _opening(self, jobs: Iterator[AnyJob]) -> list[AnyJob]:
        """Take from the jobs those that have to be begun before all others; the first replica decodes them."""
        return []

    @abstractmethod
    def _job(self, order: int, audio: RegionAudio) -> AnyJob:
        """Begin a region."""

    @abstractmethod
    def _decode(self, model: ASRModel, batch: list[AnyJob]) -> None:
        """Decode the next window of each by this replica; mark those as done that need no other."""

    @abstractmethod
    def _segments(self, job: AnyJob) -> Iterable[Segment]:
        """What a region that is done adds to those before it; called in their order."""

    def _end(self) -> Iterable[Segment]:
        """What is still to be said when all regions are done."""
        return ()

    def _next_batch(self, waiting: list[AnyJob]) -> list[AnyJob]:
        """The jobs of like length around the oldest, which the reader is waiting for."""
        longest = self._models[0].max_seconds
        by_length = sorted(waiting, key=lambda job: -job.length(longest))
        oldest = min(range(len(by_length)), key=lambda place: by_length[place].order)
        first = oldest - oldest % self._batch_size
        return by_length[first : first + self._batch_size]

    def _encode(self, model: ASRModel, windows: list[Audio]) -> Any:
        """Windows as the model's decoder wants them.

        Behind it the device may tidy up: the encoder leaves much free that it no longer needs, and what the decoder
        makes next is the most that a batch holds.
        """
        features = self._timed(model, "features", model.features, windows)
        encoded = self._timed(model, "encode", model.encode, features)
        with self._lock:
            self._encoded_since += len(windows)
            tidy = self._encoded_since >= TIDY_AFTER
            if tidy:
                self._encoded_since = 0
        if tidy:
            model.device.tidy()
        return encoded

    def _timed(self, model: ASRModel, stage: str, function: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            result = function(*arguments)
            model.device.synchronize()
            return result
        except (RuntimeError, MemoryError) as error:
            known = model.device.explain(error)
            if known is None:
                raise
            raise known from error
        finally:
            with self._lock:
                self.timings[stage] += time.perf_counter() - started


class _Crew(Generic[AnyJob]):
    """Replicas at work, each on one batch at a time. A single one works in the caller's thread.

    Attributes:
        jobs: of all batches under way.
    """

    def __init__(self, models: Sequence[ASRModel], decode: Callable[[ASRModel, list[AnyJob]], None]) -> None:
        self._free = list(models)
        self._decode = decode
        self._pool = ThreadPoolExecutor(len(models), "voxport") if len(models) > 1 else None
        self._running: dict[Future[None], tuple[ASRModel, list[AnyJob]]] = {}

    @property
    def jobs(self) -> list[AnyJob]:
        return [job for _, batch in self._running.values() for job in batch]

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, batch: list[AnyJob]) -> None:
        """Give a batch to a free replica."""
        model = self._free.pop(0)
        if self._pool is not None:
            self._running[self._pool.submit(self._decode, model, batch)] = (model, batch)
            return
        done: Future[None] = Future()
        self._decode(model, batch)
        done.set_result(None)
        self._running[done] = (model, batch)

    def finished(self) -> list[AnyJob]:
        """Wait until at least one batch is finished; the jobs of all that are. Raises what a replica raised."""
        found: list[AnyJob] = []
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            model, batch = self._running.pop(future)
            future.result()
            self._free.append(model)
            found += batch
        return found

    def close(self) -> None:
        """Let go of the replicas; batches under way are finished first, those not begun never are."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
