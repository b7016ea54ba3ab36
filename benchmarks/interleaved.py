"""Time several engines in one go: all loaded, one working at a time, in turn on every recording."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker_client import Setting, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from recordings import Recording
    from weights import Weights

PAUSE_SECONDS = 0.25
"""Between two runs, so that the threads of the engine before have stopped spinning (libiomp spins for 0.2 s)."""


@dataclass
class Column:
    """What one engine took.

    Attributes:
        setting: how it ran.
        seconds: recording -> one figure a round.
        cpu_seconds: the same for processor time, all threads together.
        stages: recording -> seconds by stage of the last round, where the engine tells.
        texts: recording -> what it said in the last round.
        versions: of its packages.
    """

    setting: Setting
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def rounds(self) -> list[float]:
        """Seconds over all recordings, per round."""
        return [sum(figures) for figures in zip(*self.seconds.values(), strict=True)]

    def cores(self) -> float:
        """Processor seconds per second."""
        return sum(map(sum, self.cpu_seconds.values())) / sum(map(sum, self.seconds.values()))


@dataclass(frozen=True)
class Spread:
    """A median and its extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}-{self.high:.3g}]"


def ratio(other: Column, ours: Column) -> Spread:
    """How many times as long `other` took, per round: above 1 means that ours is faster."""
    return Spread.of([theirs / mine for theirs, mine in zip(other.rounds(), ours.rounds(), strict=True)])


@dataclass
class Session:
    """One set of recordings, timed.

    Attributes:
        columns: in the order of the settings.
        other_load: cores busy with anything but the engine that was being timed, on average over the session.
    """

    columns: list[Column]
    other_load: float | None


class Engines(contextlib.ExitStack):
    """All engines of a table, loaded with one model and waiting."""

    def __init__(
        self, settings: Sequence[Setting], weights: Weights, pythons: dict[str, Path], threads: int, log: Path | None
    ) -> None:
        super().__init__()
        self.workers: list[Worker] = []
        self.versions: dict[str, dict[str, str]] = {}
        try:
            for setting in settings:
                worker = self.enter_context(Worker(pythons[setting.engine], setting, threads, log))
                self.versions[setting.label] = worker.load(weights.path(setting.engine))["versions"]
                self.workers.append(worker)
        except BaseException:
            self.close()
            raise

    def measure(self, recordings: Sequence[Recording], rounds: int, language: str = "en", warm_up: int = 1) -> Session:
        """Time every engine on every recording, `rounds` times over.

        The order of the engines moves on by one from recording to recording and from round to round, so that none
        always follows the same one.

        Args:
            recordings: to transcribe, one after the other.
            rounds: how often.
            language: given to every engine.
            warm_up: on so many of the recordings every engine runs once before, untimed.

        Raises:
            EngineError: an engine failed.
        """
        columns = [Column(worker.setting, versions=self.versions[worker.setting.label]) for worker in self.workers]
        for recording in recordings[:warm_up]:
            for worker in self.workers:
                worker.run(recording.file, language)
        busy, begin, ours = busy_seconds(), time.perf_counter(), 0.0
        for turn in range(rounds):
            for number, recording in enumerate(recordings):
                print(f"\rround {turn + 1}/{rounds}: {recording.name:40}", end="", file=sys.stderr, flush=True)
                for place in range(len(self.workers)):
                    index = (place + turn + number) % len(self.workers)
                    time.sleep(PAUSE_SECONDS)
                    answer = self.workers[index].run(recording.file, language)
                    _note(columns[index], recording.name, answer)
                    ours += answer["cpu_seconds"]
        print(file=sys.stderr)
        elapsed = time.perf_counter() - begin
        return Session(columns, None if busy is None else max(0.0, (busy_seconds() or 0.0) - busy - ours) / elapsed)

    def logits(self, recording: Recording, folder: Path) -> dict[str, np.ndarray]:
        """Column -> the logits of a recording as one window, float32 (T, V). Files are left in `folder`.

        Raises:
            EngineError: an engine failed.
        """
        import numpy as np

        found = {}
        for number, worker in enumerate(self.workers):
            file = folder / f"{recording.name}-{number}.npy"
            worker.logits(recording.file, file)
            found[worker.setting.label] = np.load(file)
        return found


def _note(column: Column, name: str, answer: dict[str, Any]) -> None:
    column.seconds.setdefault(name, []).append(answer["seconds"])
    column.cpu_seconds.setdefault(name, []).append(answer["cpu_seconds"])
    column.texts[name] = answer["text"]
    if answer.get("stages"):
        column.stages[name] = answer["stages"]


def busy_seconds() -> float | None:
    """Processor seconds that this machine has spent working since its start, stolen time included; None if unknown."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / 100
