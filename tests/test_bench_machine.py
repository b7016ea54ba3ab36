"""What is said of the machine: noise, memory, what it can do at best, what the arithmetic asks for."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fakes.bench import FakeClock
from lasr_folders import SMALL, noise, small_folder
from voxport.bench import memory
from voxport.bench import noise as noise_module
from voxport.bench.conditions import environment, machine, versions
from voxport.bench.costs import lasr_operations, model_costs, whisper_operations, whisper_step_bytes
from voxport.bench.memory import PeakRSS, measure_device
from voxport.bench.noise import Snapshot, judge, take_snapshot
from voxport.bench.roofline import measure_ceilings
from voxport.devices import get_device
from voxport.models.lasr.net import LasrDimensions
from voxport.models.reference import load_reference
from voxport.models.whisper.net import WhisperDimensions
from voxport.types import Audio

if TYPE_CHECKING:
    from pathlib import Path

QUIET = [1.0, 1.01, 0.99, 1.0, 1.02, 1.0, 0.99, 1.0]
BEFORE = Snapshot(clock=0.0, cores=4, busy=100.0, stolen=0.0, own=50.0, switches=5, load=0.2, megahertz=3000.0)
AFTER = replace(BEFORE, clock=10.0, busy=120.0, own=70.0, switches=9, load=1.5)


def findings(after: Snapshot = AFTER, values: list[float] = QUIET, before: Snapshot = BEFORE) -> str:
    report = judge(before, after, {"A model only": values})
    assert report.quiet == (not report.findings)
    return "; ".join(report.findings)


def test_a_quiet_machine_is_called_quiet() -> None:
    report = judge(BEFORE, AFTER, {"A model only": QUIET})
    assert report.quiet
    assert (report.seconds, report.others_busy, report.stolen, report.switches) == (10.0, 0.0, 0.0, 4)
    assert report.spread["A model only"] == pytest.approx(0.005, abs=0.006)
    assert report.to_dict()["findings"] == ()


def test_other_programs_are_noticed() -> None:
    # 35 s of work on the cores, 20 of them ours: 1.5 cores over 10 s.
    assert findings(replace(AFTER, busy=135.0)) == "other programs kept 1.5 of 4 cores busy"
    assert findings(replace(AFTER, busy=123.0)) == ""  # 0.3 of 4 cores: less than a tenth


def test_a_stolen_processor_is_noticed() -> None:
    assert "the host of this virtual machine took 5% of its processor time" in findings(replace(AFTER, stolen=2.0))


def test_slower_cores_are_noticed() -> None:
    said = findings(replace(AFTER, megahertz=2000.0))
    assert said == "the cores slowed down from 3000 to 2000 MHz (heat, power?)"


def test_where_nobody_counts_the_load_average_speaks() -> None:
    before, after = (replace(one, busy=None, stolen=None) for one in (BEFORE, AFTER))
    assert findings(after, before=before) == ""
    assert "load average was 3.0 on 4 cores" in findings(after, before=replace(before, load=3.0))


def test_spread_tail_and_drift_are_noticed() -> None:
    assert "rounds differ by" in findings(values=[1.0, 1.2, 0.8, 1.1, 0.9])
    assert "the slowest tenth of the rounds takes 1.50 times the median" in findings(values=[*[1.0] * 9, 1.5])
    said = findings(values=[1.0, 1.0, 1.0, 1.0, 1.08, 1.08, 1.08, 1.08])
    assert "the second half of the rounds took 8% longer than the first" in said
    assert findings(values=[1.0]) == ""


def test_a_snapshot_of_this_machine() -> None:
    one, two = take_snapshot(), take_snapshot()
    assert two.clock >= one.clock
    assert two.own >= one.own
    assert one.cores >= 1
    assert judge(one, two, {}).spread == {}


def test_only_usable_cores_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9\ncpu0 100 0 100 9 9 0 0 10\ncpu1 500 0 0 0 0 0 0 0\ncpu10 700 0 0 0 0 0 0 0\n"
    )
    monkeypatch.setattr(noise_module, "_STAT", stat)
    monkeypatch.setattr(noise_module, "_TICKS", 100)
    assert noise_module._processor_seconds({0}) == (2.0, 0.1)
    assert noise_module._processor_seconds({0, 10}) == (9.0, 0.1)
    monkeypatch.setattr(noise_module, "_STAT", tmp_path / "none")
    assert noise_module._processor_seconds({0}) == (None, None)


def test_frequencies_of_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text("model name: x\ncpu MHz\t\t: 2000.5\n\ncpu MHz\t\t: 3000.5\n")
    monkeypatch.setattr(noise_module, "_CPUINFO", information)
    monkeypatch.setattr(noise_module, "_FREQUENCIES", tmp_path)
    assert noise_module._megahertz([0, 1]) == 2500.5
    frequency = tmp_path / "cpu0/cpufreq/scaling_cur_freq"
    frequency.parent.mkdir(parents=True)
    frequency.write_text("1800000\n")
    assert noise_module._megahertz([0]) == 1800.0


@pytest.mark.parametrize("resettable", [True, False])
def test_the_peak_is_that_of_the_stretch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resettable: bool) -> None:
    if not resettable:
        monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no/such")
    with PeakRSS() as host:
        if host.before is None:
            pytest.skip("this system tells no resident set")
        with mmap.mmap(-1, 40 << 20) as fresh:  # pages that nobody had before
            np.frombuffer(fresh, np.uint8)[:].fill(1)
            found = measure_device(get_device("cpu"), None, host)
    assert ("VmHWM" in found.host_method) == (resettable and "VmHWM" in host.method)
    assert found.host_growth is not None
    assert found.host_peak is not None
    assert 30 << 20 < found.host_growth < found.host_peak
    assert (found.device_allocated, found.device_reserved, found.device_total) == (None, None, None)


class FakeAccelerator:
    """That tells all of its memory."""

    def peak_memory(self) -> int:
        return 10

    def peak_reserved_memory(self) -> int:
        return 20

    def memory(self) -> tuple[int, int]:
        return 60, 100


def test_device_memory_is_told_three_ways() -> None:
    with PeakRSS() as host:
        found = measure_device(FakeAccelerator(), 3, host)  # type: ignore[arg-type]
    assert (found.device_allocated, found.device_allocated_before, found.device_reserved) == (10, 3, 20)
    assert (found.device_used, found.device_total) == (40, 100)


def test_ceilings_are_the_best_of_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that gives a look every second of its own, each try takes one."""
    clock = FakeClock()
    looks = iter(range(10_000))
    found = measure_ceilings(get_device("cpu"), "float32", clock=lambda: float(next(looks)), repeats=2)
    assert found.matrix == 256
    assert found.flops == 2 * 256**3
    assert (found.read_bytes, found.bytes_per_second) == (256 << 20, 256 << 20)
    assert clock.events == []


def test_operations_of_whisper_are_those_that_torch_counts(tiny_en: Path) -> None:
    model: Any = load_reference(tiny_en, get_device("cpu"), "float32")
    window = Audio(np.zeros(16_000, np.float32))
    features = model.features([window])
    with FlopCounterMode(display=False) as counted:
        model.encode(features)
    costs = model_costs(model, [window])
    assert costs is not None
    assert costs.encoder_operations == counted.get_total_flops()
    assert model_costs(model, [window] * 3) != costs


def test_operations_of_medasr_are_those_that_torch_counts(tmp_path: Path) -> None:
    pytest.importorskip("transformers", minversion="5.0")
    model: Any = load_reference(small_folder(tmp_path / "small"), get_device("cpu"), "float32")
    window = noise(3.0)
    features = model.features([window])
    with FlopCounterMode(display=False) as counted:
        model.encode(features)
    costs = model_costs(model, [window])
    assert costs is not None
    assert costs.step_bytes is None
    # transformers turns its rotary positions by a product of matrices, which ours don't and nobody needs.
    assert costs.encoder_operations == pytest.approx(counted.get_total_flops(), rel=0.01)
    assert lasr_operations(SMALL, 4) == 0


def test_medasrs_floor_is_the_known_one() -> None:
    """43.8 s are about 275 GFLOP."""
    assert lasr_operations(LasrDimensions(), (round(43.8 * 16_000) - 400) // 160 + 1) / 1e9 == pytest.approx(
        275, rel=0.05
    )


def test_bytes_of_a_step_by_hand() -> None:
    dims = WhisperDimensions(80, 8, 1, 1, 32, 2, 1, 32, 100, max_source=10)
    weights = 2 * (4 * 64 + 2 * 64 + 2 * 8 * 32) + 100 * 8
    keys_values = 2 * 2 * 10 * 8
    assert whisper_step_bytes(dims, 4, 1) == 4 * (weights + keys_values)
    assert whisper_step_bytes(dims, 2, 3) == 2 * (weights + 3 * keys_values)
    assert whisper_operations(replace(dims, encoder_layers=0)) == 2 * 3 * (20 * 80 * 8 + 10 * 64)


def test_conditions_name_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert environment()["OMP_NUM_THREADS"] == "3"
    assert "secret" not in environment().values()
    assert versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    assert machine()["usable_cores"] >= 1
