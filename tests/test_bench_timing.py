"""The harness with a clock, devices and models whose every figure is known: what is waited for, when, and in turns."""

from __future__ import annotations

import gc
from itertools import islice

import numpy as np
import pytest

from fakes.bench import FakeClock, FakeDevice, FakeModel, FakeTokenModel, nothing
from voxport.bench.clips import Clip
from voxport.bench.results import scope_rounds, stage_rounds
from voxport.bench.stages import TASKS, Work, agree
from voxport.bench.timing import Samples, Stopwatch, measure, orders
from voxport.errors import UsageError
from voxport.models import can_join
from voxport.types import Audio


def second(seconds: float = 1.0) -> Audio:
    return Audio(np.zeros(int(16_000 * seconds), np.float32))


def work(model: FakeModel, clips: int = 1, **changes: object) -> Work:
    audio = [second() for _ in range(clips)]
    settings: dict[str, object] = {"whole": True, **changes}
    return Work(model, nothing, [[one] for one in audio], [Clip.of("a", one) for one in audio], **settings)  # type: ignore[arg-type]


def test_the_device_is_waited_for_before_the_clock_starts_and_before_it_stops() -> None:
    clock = FakeClock()
    device = FakeDevice(clock, "npu:0")
    device.queued = 5.0  # left over from before: nobody's business
    taken = []
    watch = Stopwatch(device.synchronize, lambda name, seconds: taken.append((name, seconds)), clock)

    def queue() -> str:
        clock.events.append("work")
        device.queued += 2.0
        return "result"

    assert watch.lap("encode", queue) == "result"
    assert clock.events == ["npu:0.synchronize", "clock", "work", "npu:0.synchronize", "clock"]
    assert taken == [("encode", 2.0)]


def test_each_side_waits_for_its_own_device_only() -> None:
    clock = FakeClock()
    sides = [work(FakeModel(FakeDevice(clock, name))) for name in ("npu:0", "cuda:1")]
    measure(sides, ["model"], 1, clock=clock)
    waits = [event for event in clock.events if event.endswith("synchronize")]
    # Three laps each, one side after the other.
    assert sorted(waits) == ["cuda:1.synchronize"] * 6 + ["npu:0.synchronize"] * 6
    assert waits in (waits[:6] + waits[6:], sorted(waits), sorted(waits, reverse=True))
    assert len(set(waits[:6])) == len(set(waits[6:])) == 1


def test_stages_are_what_the_model_took() -> None:
    clock = FakeClock()
    side = work(FakeTokenModel(FakeDevice(clock)), clips=2)
    side.counts = [5, 9]
    (samples,) = measure([side], TASKS, 3, clock=clock)
    stages = stage_rounds(samples, side)
    assert stages["features"] == [[1.0, 1.0]] * 3
    assert stages["encode"] == [[2.0, 2.0]] * 3
    assert stages["decode"] == [[3.0, 5.0]] * 3
    assert stages["prefill"] == [[1.0, 1.0]] * 3
    assert stages["token"] == [[0.5, 0.5]] * 3
    scopes = scope_rounds(samples)
    assert scopes["model"] == [[5.0, 7.0]] * 3
    assert scopes["end_to_end"] == [[6.0, 6.0]] * 3  # 1 + 2 + 3: decoded as ever
    assert side.texts == ["three little words"] * 2


def test_a_model_that_decodes_all_at_once_has_no_tokens_to_time() -> None:
    clock = FakeClock()
    side = work(FakeModel(FakeDevice(clock)))
    agree([side], 40)
    (samples,) = measure([side], TASKS, 2, clock=clock)
    assert set(stage_rounds(samples, side)) == {"features", "encode", "decode"}


def test_all_sides_decode_as_many_tokens_as_the_first_has_said() -> None:
    clock = FakeClock()
    models = [FakeTokenModel(FakeDevice(clock)) for _ in range(2)]
    sides = [work(model) for model in models]
    measure(sides, TASKS, 1, clock=clock)
    agree(sides)
    assert [side.counts for side in sides] == [[4], [4]]  # three, and the end of text
    measure(sides, TASKS, 1, clock=clock)
    assert [model.asked for model in models] == [[4, 1]] * 2
    agree(sides, 7)
    assert [side.counts for side in sides] == [[7], [7]]


def test_sides_of_different_batches_decode_the_longest() -> None:
    clock = FakeClock()
    sides = [work(FakeTokenModel(FakeDevice(clock)), clips=2), work(FakeTokenModel(FakeDevice(clock)))]
    measure(sides, ["model"], 1, clock=clock)
    agree(sides)
    assert [list(side.counts) for side in sides] == [[4, 4], [4]]


def test_turns_alternate_and_the_seed_decides_who_begins() -> None:
    seen = [tuple(order) for order in islice(orders(2, 0), 40)]
    assert set(seen) == {(0, 1), (1, 0)}
    assert all(first == second[::-1] for first, second in zip(seen[::2], seen[1::2], strict=True))
    assert seen == [tuple(order) for order in islice(orders(2, 0), 40)]
    assert {tuple(map(tuple, islice(orders(2, seed), 2))) for seed in range(20)} == {
        ((0, 1), (1, 0)),
        ((1, 0), (0, 1)),
    }


def test_sides_take_turns_at_each_piece_of_work() -> None:
    clock = FakeClock()
    ran: list[tuple[str, str]] = []

    class Contestant:
        tasks = TASKS

        def __init__(self, name: str) -> None:
            self.name = name

        running = staticmethod(nothing)

        def synchronize(self) -> None:
            pass

        def run(self, task: str, watch: Stopwatch) -> None:
            ran.append((task, self.name))
            watch.lap(task, clock.work, task, 1.0)

    told: list[int] = []
    samples = measure([Contestant("A"), Contestant("B")], TASKS, 2, clock=clock, tell=told.append)
    assert told == [0, 1]
    assert [task for task, _ in ran] == [task for task in TASKS for _ in range(2)] * 2
    pairs = [{name for _, name in ran[start : start + 2]} for start in range(0, len(ran), 2)]
    assert pairs == [{"A", "B"}] * 4
    assert ran[0][1] == ran[2][1] == ran[5][1]  # the first of round one is the second of round two
    assert [one.rounds("model") for one in samples] == [[[1.0], [1.0]]] * 2


def test_a_round_without_a_lap_leaves_an_empty_round() -> None:
    samples = Samples()
    samples.begin_round()
    samples.begin_round()
    samples.add("late", 1.0)
    assert samples.rounds("late") == [[], [1.0]]
    assert "late" in samples
    assert samples.names() == ["late"]


def test_garbage_is_collected_between_and_not_inside() -> None:
    seen = []
    clock = FakeClock()
    side = work(FakeModel(FakeDevice(clock)))
    run = side.run
    side.run = lambda task, watch: (seen.append(gc.isenabled()), run(task, watch))[1]  # type: ignore[method-assign]
    assert gc.isenabled()
    measure([side], TASKS, 1, clock=clock)
    assert seen == [False, False]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_an_interruption_leaves_the_collector_on() -> None:
    side = work(FakeModel(FakeDevice(FakeClock())))

    def interrupted(task: str, watch: Stopwatch) -> None:
        raise KeyboardInterrupt

    side.run = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        measure([side], TASKS, 1)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_clip_too_long_for_an_engine_that_joins_nothing_is_refused() -> None:
    side = work(FakeModel(FakeDevice(FakeClock())))
    side.clips = [Clip.of("long.wav", second(31))]
    with pytest.raises(UsageError, match=r"long.wav has 31.0 s, fake hears 30 s at once"):
        side.check()
    side.whole = False
    side.check()


def test_who_can_join_windows() -> None:
    model = FakeModel(FakeDevice(FakeClock()))
    assert can_join(model)  # type: ignore[arg-type]
    model.context_seconds = 2.0
    assert not can_join(model)  # type: ignore[arg-type]
