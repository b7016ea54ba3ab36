"""Several replicas of a model: windows are shared out among them, the order of the words stays."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from test_pipeline import Recorder, region
from voxport.errors import DeviceError
from voxport.pipeline.resuming import ResumingScheduler
from voxport.types import DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.pipeline.regions import RegionAudio
    from voxport.types import Audio, Hypothesis, Segment

REGIONS = [region(10.0 * number, 10.0 * number + 10) for number in range(24)]


class Replica(Recorder):
    """Takes its time, and keeps count of who works when."""

    busy = 0
    most = 0
    lock = threading.Lock()

    def __init__(self, seconds: float = 0.01) -> None:
        super().__init__()
        self.seconds = seconds

    def decode(self, encoded: list[Audio], options: DecodingOptions) -> list[Hypothesis]:
        with Replica.lock:
            Replica.busy += 1
            Replica.most = max(Replica.most, Replica.busy)
        time.sleep(self.seconds)
        with Replica.lock:
            Replica.busy -= 1
        return super().decode(encoded, options)


@pytest.fixture(autouse=True)
def _count() -> None:
    Replica.busy = Replica.most = 0


def run(models: list[Any], **options: Any) -> list[Segment]:
    decoding = DecodingOptions(**{"language": "en", **options})
    return list(ResumingScheduler(models, decoding, 2).run(REGIONS))


@pytest.mark.parametrize("seconds", [(0.01, 0.01), (0.002, 0.03), (0.03, 0.002, 0.01)])
def test_the_order_stays_whoever_is_faster(seconds: tuple[float, ...]) -> None:
    models = [Replica(one) for one in seconds]
    found = run(list(models))
    assert [(segment.start, segment.text) for segment in found] == [(10.0 * n, f" {10 * n}") for n in range(24)]
    assert found == run([Replica(0)])
    assert all(model.batches for model in models)  # each had its share
    assert sum(len(batch) for model in models for batch in model.batches) == 24


def test_they_work_side_by_side_and_one_works_in_the_callers_thread() -> None:
    run([Replica(0.02), Replica(0.02)])
    assert Replica.most == 2
    threads: list[threading.Thread] = []
    model = Recorder()
    encode = model.encode
    model.encode = lambda features: (threads.append(threading.current_thread()), encode(features))[1]  # type: ignore[method-assign,assignment]
    run([model])
    assert set(threads) == {threading.main_thread()}


def test_the_first_batch_finds_the_language_for_all() -> None:
    models = [Replica(0.01), Replica(0.01)]
    run(list(models), language=None)
    assert {options.language for model in models for options in model.options} == {"en"}


@pytest.mark.parametrize("seconds", [(0.0, 0.0), (0.0, 0.05)])
def test_the_look_ahead_is_bounded(seconds: tuple[float, float]) -> None:
    """However far a replica is ahead of another that has what comes before."""
    taken = 0

    def endless() -> Iterator[RegionAudio]:
        nonlocal taken
        for one in itertools.cycle(REGIONS):
            taken += 1
            yield one

    scheduler = ResumingScheduler([Replica(one) for one in seconds], DecodingOptions(language="en"), 2)
    segments = scheduler.run(endless())
    for _ in range(20):
        next(segments)
    segments.close()  # type: ignore[attr-defined]
    assert taken <= 20 + 2 * (2 * 3 * 2)


def test_the_failure_of_one_ends_the_run() -> None:
    class Broken(Replica):
        def encode(self, features: list[Audio]) -> list[Audio]:
            raise DeviceError("npu:1 is gone", hint="look at npu-smi")

    with pytest.raises(DeviceError, match="npu:1 is gone"):
        run([Replica(0.01), Broken()])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("voxport")]


def test_a_known_failure_of_the_device_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Recorder()

    def out_of_memory(features: list[Audio]) -> list[Audio]:
        raise RuntimeError("out of memory somewhere")

    model.encode = out_of_memory  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory somewhere"):
        run([model])
    monkeypatch.setattr(model.device, "explain", lambda error: DeviceError("full", code="out_of_memory"))
    with pytest.raises(DeviceError, match="full") as caught:
        run([model])
    assert isinstance(caught.value.__cause__, RuntimeError)
