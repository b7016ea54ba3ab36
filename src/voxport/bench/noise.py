"""Whether the machine was quiet while figures were taken, and what to say if it wasn't."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from voxport.bench.statistics import relative_mad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NoiseReport", "Snapshot", "judge", "take_snapshot"]

_STAT = Path("/proc/stat")
_CPUINFO = Path("/proc/cpuinfo")
_FREQUENCIES = Path("/sys/devices/system/cpu")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

OTHERS_SHARE = 0.1
"""Other programs may keep this share of the usable cores busy before it is said."""
STOLEN_SHARE = 0.02
SPREAD = 0.05
"""Relative median absolute deviation of a side's rounds."""
TAIL = 1.25
"""P90 over P50."""
DRIFT = 0.05
"""Change from the first half of the rounds to the second."""
FREQUENCY_DROP = 0.1
FEWEST_FOR_DRIFT = 6


@dataclass(frozen=True)
class Snapshot:
    """The machine at one moment; counters count since some moment in the past.

    Attributes:
        clock: monotonic seconds.
        cores: logical processors that this process may use.
        busy, stolen: processor seconds of those cores that went to work, and to other guests of the same host; None
            where nobody tells.
        own: processor seconds of this process.
        switches: how often this process had to make way.
        load: programs that want to run, averaged over the last minute.
        megahertz: median frequency of the cores.
    """

    clock: float
    cores: int
    busy: float | None
    stolen: float | None
    own: float
    switches: int | None
    load: float | None
    megahertz: float | None


@dataclass(frozen=True)
class NoiseReport:
    """What happened between two snapshots.

    Attributes:
        quiet: nothing was found that should make a reader careful.
        findings: sentences; empty where it was quiet.
        seconds: how long it was watched.
        cores: as in `Snapshot`.
        others_busy: cores that other programs kept busy on average, None where nobody tells.
        stolen: share of the cores' time that other guests of the host took.
        load_before, load_after: load averages of one minute; the second has this measurement in it.
        megahertz_before, megahertz_after: of the cores, None where nobody tells.
        switches: times that this process had to make way.
        spread: name of the series -> relative median absolute deviation of its rounds.
    """

    quiet: bool
    findings: tuple[str, ...]
    seconds: float
    cores: int
    others_busy: float | None
    stolen: float | None
    load_before: float | None
    load_after: float | None
    megahertz_before: float | None
    megahertz_after: float | None
    switches: int | None
    spread: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def take_snapshot() -> Snapshot:
    """Look at the machine now."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    busy, stolen = _processor_seconds(set(cores))
    times = os.times()
    return Snapshot(
        clock=time.perf_counter(),
        cores=len(cores),
        busy=busy,
        stolen=stolen,
        own=times.user + times.system,
        switches=_involuntary_switches(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        megahertz=_megahertz(cores),
    )


def judge(before: Snapshot, after: Snapshot, series: Mapping[str, Sequence[float]]) -> NoiseReport:
    """Compare two snapshots, and look at what was measured between them.

    Args:
        before, after: around the timed rounds.
        series: name -> one figure a round.
    """
    seconds = max(after.clock - before.clock, 1e-9)
    others = stolen = None
    if before.busy is not None and after.busy is not None:
        others = max(0.0, (after.busy - before.busy) - (after.own - before.own)) / seconds
    if before.stolen is not None and after.stolen is not None:
        stolen = max(0.0, after.stolen - before.stolen) / seconds / after.cores
    findings = [*_machine_findings(before, after, others, stolen), *_series_findings(series)]
    switches = None
    if before.switches is not None and after.switches is not None:
        switches = after.switches - before.switches
    return NoiseReport(
        quiet=not findings,
        findings=tuple(findings),
        seconds=seconds,
        cores=after.cores,
        others_busy=others,
        stolen=stolen,
        load_before=before.load,
        load_after=after.load,
        megahertz_before=before.megahertz,
        megahertz_after=after.megahertz,
        switches=switches,
        spread={name: relative_mad(values) for name, values in series.items()},
    )


def _machine_findings(before: Snapshot, after: Snapshot, others: float | None, stolen: float | None) -> list[str]:
    found = []
    if others is not None and others > OTHERS_SHARE * after.cores:
        found.append(f"other programs kept {others:.1f} of {after.cores} cores busy")
    elif others is None and before.load is not None and before.load > after.cores / 2:
        found.append(f"the load average was {before.load:.1f} on {after.cores} cores before anything was timed")
    if stolen is not None and stolen > STOLEN_SHARE:
        found.append(f"the host of this virtual machine took {stolen:.0%} of its processor time")
    if before.megahertz and after.megahertz and after.megahertz < (1 - FREQUENCY_DROP) * before.megahertz:
        found.append(f"the cores slowed down from {before.megahertz:.0f} to {after.megahertz:.0f} MHz (heat, power?)")
    return found


def _series_findings(series: Mapping[str, Sequence[float]]) -> list[str]:
    found = []
    for name, values in series.items():
        if len(values) < 2:
            continue
        spread = relative_mad(values)
        middle = median(values)
        tail = sorted(values)[min(len(values) - 1, int(0.9 * len(values)))] / middle if middle else 1.0
        if spread > SPREAD:
            found.append(f"{name}: rounds differ by {spread:.0%} from their median (median absolute deviation)")
        elif tail > TAIL:
            found.append(f"{name}: the slowest tenth of the rounds takes {tail:.2f} times the median")
        if len(values) >= FEWEST_FOR_DRIFT:
            half = len(values) // 2
            drift = median(values[-half:]) / median(values[:half]) - 1
            if abs(drift) > DRIFT:
                found.append(
                    f"{name}: the second half of the rounds took {abs(drift):.0%} {_more(drift)} than the first"
                )
    return found


def _more(drift: float) -> str:
    return "longer" if drift > 0 else "less"


def _processor_seconds(cores: set[int]) -> tuple[float | None, float | None]:
    """Seconds that these cores worked, and that other guests took from them, since the machine started."""
    try:
        lines = _STAT.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None, None
    busy = stolen = 0.0
    for line in lines:
        match = re.match(r"cpu([0-9]+) (.*)", line)
        if match and int(match[1]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, match[2].split()[:8])
            busy += (user + nice + system + irq + softirq) / _TICKS
            stolen += steal / _TICKS
    return busy, stolen


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _megahertz(cores: Sequence[int]) -> float | None:
    """The median frequency of the cores as the kernel tells it, None where it doesn't."""
    found = []
    for core in cores:
        try:
            text = (_FREQUENCIES / f"cpu{core}/cpufreq/scaling_cur_freq").read_text(encoding="ascii")
            found.append(int(text) / 1000)
        except (OSError, ValueError):
            break
    if not found:
        try:
            text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        found = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([0-9.]+)", text, re.MULTILINE)]
    return median(found) if found else None
