"""What the figures were measured on, and how a result file is written."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe() -> dict[str, Any]:
    """Processor, usable cores, instruction sets, memory, system, load and date. Nothing that names the machine."""
    information = _cpu_information()
    return {
        "cpu": information.get("model name", platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in information.get("flags", "").split()],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return any(flag in describe()["flags"] for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def one_line(machine: dict[str, Any]) -> str:
    """The description as one line of a report."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags']) or 'no vector flags known'}), "
        f"{machine['memory_gib']} GiB, {machine['system']}, load {machine['load_average'][0]}, {machine['date']}"
    )


def write_results(folder: Path, name: str, data: dict[str, Any], report: str) -> None:
    """Write ``NAME.json`` and ``NAME.md`` atomically."""
    write_json(folder / f"{name}.json", data)
    _write(folder / f"{name}.md", report)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write one JSON file atomically; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _write(path: Path, content: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(content)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def _cpu_information() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    entries = {}
    for line in path.read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        entries[key.strip()] = value.strip()
    return entries
