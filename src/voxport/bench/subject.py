"""A side as it is loaded: its cold start, its memory, and the process as it wants it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from voxport.bench.memory import MemoryUse, PeakRSS, measure_device
from voxport.bench.timing import Samples, Stopwatch
from voxport.devices import get_device
from voxport.devices.host import import_torch
from voxport.errors import UsageError
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voxport.bench.options import BenchOptions
    from voxport.bench.stages import Work
    from voxport.models import ASRModel
    from voxport.models.hub.progress import Progress
    from voxport.sides import Side

__all__ = ["ColdStart", "Subject", "import_seconds", "load_subject"]

SETTLE_NUMBERS = 1 << 20
"""Summed up untimed after a change of threads, so that the pool is there when the clock runs."""


@dataclass
class ColdStart:
    """Seconds, each happening once in this process; the file cache is as it was found.

    Attributes:
        torch: importing torch, None where it was imported already, as for the second side.
        load: from a folder to a model on its device: reading, hashing, converting; what else is imported for it.
        first_model: the first call of encode and decode: lazy initialisation and compilation included.
        first_end_to_end: the first recording end to end, after that.
    """

    torch: float | None
    load: float
    first_model: float | None = None
    first_end_to_end: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Subject:
    """A loaded side.

    Attributes:
        label: "A" or "B".
        side: as it was asked for.
        model: it.
        threads: CPU threads that it runs with.
        cold: how it started.
        memory: what it took; None until the warm-up is through.
    """

    label: str
    side: Side
    model: ASRModel
    threads: int
    cold: ColdStart
    memory: MemoryUse | None = None
    _host: PeakRSS = field(default_factory=PeakRSS, repr=False)
    _allocated_before: int | None = None
    _switches_precision: bool = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """The process with this side's threads, settled, and its precision."""
        torch = import_torch()
        changed = torch.get_num_threads() != self.threads
        with replace(self.side, threads=self.threads).running():
            if changed:
                torch.ones(SETTLE_NUMBERS).sum()
            if self._switches_precision:
                self.model.device.set_precision(self.side.precision)  # type: ignore[arg-type]
            yield

    def share_process(self, other: Subject) -> None:
        """Take turns with another side: what holds for the whole process is set at each turn.

        Raises:
            UsageError: it can't be set back.
        """
        if self.side.precision == other.side.precision or self.model.device.kind != other.model.device.kind:
            return
        if self.model.device.kind == "npu":
            raise UsageError(
                "strict and default precision can't take turns on an NPU: its exact GELU is chosen once for a process",
                hint="measure them one after the other, with `-o`, then: voxport bench diff",
            )
        self._switches_precision = other._switches_precision = True

    def warm_up(self, work: Work, rounds: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """The first calls, timed as the cold start; then `rounds` more, untimed; then what memory all that took.

        Attention is due to what it leaves: `Work.hypotheses` and `Work.texts` are set.
        """
        samples = Samples()
        watch = Stopwatch(work.synchronize, samples.add, clock)
        samples.begin_round()
        with self.running():
            work.run("model", watch)
            self.cold.first_model = samples.rounds("encode")[0][0] + samples.rounds("decode")[0][0]
            work.run("end to end", watch)
            self.cold.first_end_to_end = samples.rounds("end_to_end")[0][0]
            for _ in range(rounds):
                work.run("model", watch)
                work.run("end to end", watch)
            self.model.device.synchronize()
        self.memory = measure_device(self.model.device, self._allocated_before, self._host)
        self._host.__exit__()

    def description(self) -> dict[str, Any]:
        """Of the JSON object: what it is and where it runs."""
        model, device = self.model, self.model.device
        package = "transformers" if self.side.engine == "transformers" else "voxport"
        return {
            "label": self.label,
            "side": str(self.side),
            "engine": self.side.engine,
            "engine_version": metadata.version(package) if package == "transformers" else __version__,
            "attention": self.side.attention or "eager" if package == "transformers" else None,
            "model": asdict(model.info),
            "device": str(device),
            "dtype": model.dtype,
            "precision": self.side.precision,
            "float32_modules": list(model.float32_modules),
            "graph": device.graph,
            "threads": self.threads,
            "simulated": device.simulated,
            "environment": device.describe(),
            "notes": device.notes(),
        }


def load_subject(side: Side, label: str, options: BenchOptions, progress: Progress | None = None) -> Subject:
    """Load a side. Fetching the model, where it isn't here, is not part of the load time.

    Raises:
        VoxportError: as `Side.load`.
    """
    from voxport.models import hub

    hub.resolve(side.model or options.model, source=options.source, offline=options.offline, progress=progress)
    host = PeakRSS()
    host.__enter__()
    device = get_device(side.device)
    device.synchronize()
    device.reset_peak_memory()
    allocated = device.peak_memory()
    began = time.perf_counter()
    model = side.load(options.model, source=options.source, offline=options.offline, progress=progress)
    model.device.synchronize()
    cold = ColdStart(torch=None, load=time.perf_counter() - began)
    threads = int(import_torch().get_num_threads())
    return Subject(label, side, model, threads, cold, _host=host, _allocated_before=allocated)


def import_seconds() -> float | None:
    """Import torch: how long that took, None where it was there already."""
    if "torch" in sys.modules:
        return None
    began = time.perf_counter()
    import_torch()
    return time.perf_counter() - began
