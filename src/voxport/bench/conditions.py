"""Everything that was fixed while figures were taken: goes into the JSON object, and `diff` looks at it."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.bench import statistics
from voxport.bench.timing import CLOCK, ORDER
from voxport.devices.host import cpu_limit, processor_name
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.bench.clips import Clip
    from voxport.bench.options import BenchOptions

__all__ = ["environment", "machine", "methods", "versions"]

PACKAGES = ("torch", "torch_npu", "transformers", "tokenizers", "numpy", "safetensors")

VARIABLES = (
    "ASCEND_LAUNCH_BLOCKING", "ASCEND_RT_VISIBLE_DEVICES", "CPU_AFFINITY_CONF", "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES", "GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT", "KMP_AFFINITY", "LD_PRELOAD", "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NPU_ALLOC_CONF", "TASK_QUEUE_ENABLE", "VOXPORT_SIMULATE",
)  # fmt: skip
"""That change how fast something runs."""

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16", "i8mm")
"""Instruction sets that decide how fast matrices are multiplied."""


def machine() -> dict[str, Any]:
    """The host. Nothing that names it."""
    facts: dict[str, Any] = {
        "processor": processor_name(),
        "flags": _flags(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_limit": cpu_limit(),
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
        "memory_bytes": None,
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return facts


def versions() -> dict[str, str | None]:
    """Of voxport, Python and the packages that compute."""
    found: dict[str, str | None] = {"voxport": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def environment() -> dict[str, str]:
    """Variables that change how fast something runs and are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def methods(options: BenchOptions, clips: Sequence[Clip], *, whole: bool, forced: int | None) -> dict[str, Any]:
    """How it was measured."""
    resolution = time.get_clock_info("perf_counter").resolution
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": options.model,
        "warmup": options.warmup,
        "iterations": options.iterations,
        "seed": options.seed,
        "order": ORDER if options.against is not None else "one side",
        "clock": f"{CLOCK}, resolution {resolution:g} s",
        "garbage_collection": "between rounds, not inside",
        "end_to_end": "windows" if whole else "pipeline",
        "vad": options.vad,
        "language": options.language,
        "forced_tokens": forced,
        "std": statistics.STD,
        "percentiles": statistics.PERCENTILES,
        "intervals": statistics.BOOTSTRAP,
        "clips": [clip.to_dict() for clip in clips],
        "python_flags": {"optimize": sys.flags.optimize, "dev_mode": sys.flags.dev_mode},
    }


def _flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return [flag for flag in FLAGS if flag in value.split()]
    return []
