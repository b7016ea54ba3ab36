"""The stopwatch, and the order in which sides take turns. The harness times; models don't.

A lap is one piece of work between two looks at a monotonic clock. The side's own device is synchronised before the
first look, so that no work from before is counted, and before the second, so that all of the lap's work is.
"""

from __future__ import annotations

import gc
import random
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["CLOCK", "ORDER", "Contestant", "Samples", "Stopwatch", "measure", "orders"]

CLOCK = "time.perf_counter (monotonic)"
ORDER = (
    "sides take turns at each piece of work: AB, then BA (or BA, then AB: drawn with the seed), so that neither drift "
    "nor place favours one"
)

Result = TypeVar("Result")


class Samples:
    """Seconds by name of the lap: rounds of calls."""

    def __init__(self) -> None:
        self._rounds: defaultdict[str, list[list[float]]] = defaultdict(list)
        self._round = -1

    def begin_round(self) -> None:
        self._round += 1

    def add(self, name: str, seconds: float) -> None:
        rounds = self._rounds[name]
        while len(rounds) <= self._round:
            rounds.append([])
        rounds[-1].append(seconds)

    def __contains__(self, name: str) -> bool:
        return name in self._rounds

    def rounds(self, name: str) -> list[list[float]]:
        """Seconds of each call, round by round."""
        return self._rounds[name]

    def names(self) -> list[str]:
        return list(self._rounds)


class Stopwatch:
    """Takes the time of a side's work.

    Args:
        synchronize: waits until the side's device has done all that is queued.
        clock: seconds, monotonic.
        note: told of each lap's name and seconds.
    """

    def __init__(
        self,
        synchronize: Callable[[], None],
        note: Callable[[str, float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._synchronize = synchronize
        self._note = note
        self._clock = clock

    def lap(self, name: str, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do the work, and note how long it took."""
        self._synchronize()
        began = self._clock()
        result = work(*arguments)
        self._synchronize()
        self._note(name, self._clock() - began)
        return result


class Contestant(Protocol):
    """One side in the harness's eyes."""

    tasks: Sequence[str]

    def running(self) -> AbstractContextManager[None]:
        """The process as this side wants it, e.g. its number of threads."""
        ...

    def synchronize(self) -> None:
        """Wait for this side's device."""
        ...

    def run(self, task: str, watch: Stopwatch) -> None:
        """Do a task once, over all clips, lap by lap."""
        ...


def orders(count: int, seed: int) -> Iterator[list[int]]:
    """Who goes first, round by round: each order is followed by its reverse; which of both comes first is drawn."""
    generator = random.Random(seed)
    while True:
        forward = list(range(count))
        if generator.random() < 0.5:
            forward.reverse()
        yield forward
        yield forward[::-1]


def measure(
    contestants: Sequence[Contestant],
    tasks: Sequence[str],
    rounds: int,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Samples]:
    """Time the tasks of all contestants, `rounds` times over: task by task, the contestants directly after another.

    Args:
        contestants: they take turns.
        tasks: in the order in which a round does them; a contestant that lacks one sits it out.
        rounds: how often.
        seed: of the order.
        clock: seconds, monotonic.
        tell: told before each round how many are done.
    """
    samples = [Samples() for _ in contestants]
    watches = [
        Stopwatch(contestant.synchronize, taken.add, clock)
        for contestant, taken in zip(contestants, samples, strict=True)
    ]
    turns = orders(len(contestants), seed)
    with _frozen_garbage():
        for done in range(rounds):
            tell(done)
            gc.collect()
            for taken in samples:
                taken.begin_round()
            order = next(turns)
            for task in tasks:
                for index in order:
                    if task in contestants[index].tasks:
                        with contestants[index].running(), _no_garbage_collection():
                            contestants[index].run(task, watches[index])
    return samples


@contextmanager
def _frozen_garbage() -> Iterator[None]:
    """What lives already (models, modules) is not looked at again by each collection between rounds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """As in `timeit`: a collection would fall on whichever side is at work."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
