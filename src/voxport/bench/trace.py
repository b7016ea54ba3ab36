"""One iteration under torch's profiler, torch_npu's on an NPU, as a file for a trace viewer."""

from __future__ import annotations

import importlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.bench.timing import Samples, Stopwatch
from voxport.devices.host import import_torch
from voxport.errors import OutputError

if TYPE_CHECKING:
    from voxport.bench.stages import Work

__all__ = ["trace"]


def trace(work: Work, file: Path) -> str:
    """Write a trace in Chrome's format (chrome://tracing, ui.perfetto.dev, MindStudio Insight); says what made it.

    Both tasks once, after the timing: profiling slows everything down, so none of it is a figure.

    Raises:
        OutputError: the file can't be written.
    """
    device = work.model.device
    profiler, name = _profiler(device.kind, simulated=device.simulated is not None)
    samples = Samples()
    samples.begin_round()
    watch = Stopwatch(work.synchronize, samples.add)
    with work.running(), profiler as running:
        for task in work.tasks:
            work.run(task, watch)
        work.synchronize()
    suffix = "".join(Path(file.name).suffixes[-2:]) or ".json"
    temporary = file.parent / f".{secrets.token_hex(8)}{suffix}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            running.export_chrome_trace(str(temporary))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise OutputError(f"can't write the trace {str(file)!r}: {reason}") from error
    return name


def _profiler(kind: str, *, simulated: bool) -> tuple[Any, str]:
    """The profiler for a kind of device. torch_npu's was written after its documentation, and not run on an NPU."""
    if kind == "npu" and not simulated:
        profiler = importlib.import_module("torch_npu.profiler")
        activities = [profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU]
        return profiler.profile(activities=activities), "torch_npu.profiler"
    profiler = import_torch().profiler
    activities = [profiler.ProfilerActivity.CPU]
    if kind == "cuda":
        activities.append(profiler.ProfilerActivity.CUDA)
    return profiler.profile(activities=activities), "torch.profiler"
