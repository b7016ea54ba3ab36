"""Options, clips, the JSON object, two of them compared, and the picture of a sweep."""

from __future__ import annotations

import copy
import itertools
import json
import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fakes.bench import FakeClock, FakeDevice, FakeTokenModel, nothing
from voxport.bench import BenchOptions, choose_side, compare_results, diff_text, read_result, report_text, sweep_svg
from voxport.bench.clips import Clip, batches, first_windows, of_length, read_clips
from voxport.bench.diff import verdict
from voxport.bench.results import KIND, SCHEMA_VERSION, comparison, per_second, side_result
from voxport.bench.roofline import Ceilings
from voxport.bench.stages import TASKS, Work, agree
from voxport.bench.sweep import exponent
from voxport.bench.timing import measure
from voxport.errors import AudioError, UsageError
from voxport.sides import Side
from voxport.types import Audio

if TYPE_CHECKING:
    from pathlib import Path


def clip(seconds: float, name: str = "a.wav") -> Clip:
    return Clip.of(name, Audio(np.linspace(-1, 1, int(16_000 * seconds), dtype=np.float32)))


# Options and clips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, not 0"),
        ({"warmup": -1}, "warmup must be at least 0, not -1"),
        ({"batch": 0}, "batch size must be at least 1"),
        ({"tokens": 1}, "tokens must be at least 2, not 1"),
        ({"sweep": "colour"}, "unknown sweep 'colour'"),
        ({"points": (1.0, 2.0)}, "points are those of a sweep"),
        ({"sweep_iterations": 3}, "no sweep to have iterations"),
        ({"sweep": "length", "sweep_iterations": 0}, "at least 1, not 0"),
        ({"sweep": "length", "points": (2.0, 1.0)}, "at least two points, ascending"),
        ({"sweep": "length", "points": (1.0,)}, "at least two points"),
        ({"sweep": "batch", "points": (1.0, 1.5)}, "batches are whole numbers"),
        ({"language": "klingonese"}, "klingonese"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BenchOptions("whisper-base", Side.parse("cpu"), **changes)


def test_batches_come_from_the_side_first() -> None:
    options = BenchOptions("m", Side.parse("cpu+batch=4"), Side.parse("cpu"), batch=2)
    assert [options.batch_of(side) for side in options.sides()] == [4, 2]
    assert BenchOptions("m", Side.parse("cpu")).batch_of(Side.parse("cpu")) == 1


@pytest.mark.parametrize(
    ("side", "device", "dtype", "expected"),
    [
        (None, None, None, "auto"),
        (None, "npu:1", "float16", "npu:1:float16"),
        (None, None, "bfloat16", "auto:bfloat16"),
        ("cpu:float32", "cpu", "float32", "cpu:float32"),
        ("cpu", None, "bfloat16", "cpu:bfloat16"),
    ],
)
def test_a_side_by_either_spelling(side: str | None, device: str | None, dtype: str | None, expected: str) -> None:
    assert str(choose_side(side, device, dtype)) == expected


def test_spellings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="--side says cpu, --device says npu"):
        choose_side("cpu:float32", "npu", None)
    with pytest.raises(UsageError, match="--side says float32, --dtype says float16"):
        choose_side("cpu:float32", None, "float16")


def test_windows_batches_and_lengths() -> None:
    windows = first_windows([clip(1.0), clip(3.0)], 2.0)
    assert [window.duration for window in windows] == [1.0, 2.0]
    groups = batches([*windows, windows[0]], 2)
    assert [[window.duration for window in group] for group in groups] == [[1.0, 2.0], [1.0, 1.0]]
    assert len(batches(windows[:1], 4)[0]) == 4
    longer = of_length([clip(1.0)], 2.5)
    assert (longer.seconds, longer.name) == (2.5, "2.5 s")
    assert np.array_equal(longer.audio.samples[:16_000], longer.audio.samples[16_000:32_000])


def test_a_recording_that_cannot_be_read_ends_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    with pytest.raises(AudioError, match=r"broken\.wav: "):
        read_clips([str(broken)])
    with pytest.raises(UsageError, match="no recording"):
        read_clips([])


# The JSON object -----------------------------------------------------------------------------------------------------


class FakeSubject:
    """What `side_result` asks of a subject."""

    class _Part:
        def __init__(self, **values: Any) -> None:
            self.values = values

        def to_dict(self) -> dict[str, Any]:
            return self.values

    def __init__(self, label: str, load: float = 2.0) -> None:
        self.label = label
        self.cold = self._Part(torch=None, load=load, first_model=9.0, first_end_to_end=8.0)
        self.memory = self._Part(
            host_peak=3 << 30, host_growth=1 << 30, host_method="counted", device_allocated=None,
            device_allocated_before=None, device_reserved=None, device_used=None, device_total=None,
        )  # fmt: skip

    def description(self) -> dict[str, Any]:
        model = {"name": "fake", "family": "fake", "identity": "0" * 64, "path": "p", "random_weights": False}
        return {
            "label": self.label, "side": "cpu:float32", "engine": "voxport", "engine_version": "1", "attention": None,
            "model": model, "device": "cpu", "dtype": "float32", "precision": "default", "graph": False, "threads": 2,
            "simulated": None, "environment": {"chip": "Abacus", "torch": "2"}, "notes": [],
        }  # fmt: skip


def side(label: str, factor: float = 1.0, jitter: float = 0.0) -> dict[str, Any]:
    """A side that takes 5.5 s model only and 6 s end to end, for a clip of two seconds."""
    clock = FakeClock()
    model = FakeTokenModel(FakeDevice(clock), factor=factor)
    one = clip(2.0)
    work = Work(model, nothing, [[one.audio]], [one], whole=True)  # type: ignore[arg-type]
    measure([work], TASKS, 1, clock=clock)
    agree([work])
    random = np.random.default_rng(4)
    run = work.run

    def disturbed(task: str, watch: Any) -> None:
        model.factor = factor * (1 + jitter * random.standard_normal())
        run(task, watch)

    work.run = disturbed  # type: ignore[method-assign]
    (samples,) = measure([work], TASKS, 8, clock=clock)
    ceilings = Ceilings(1e9, 256, 1e9, 1 << 20)
    return side_result(FakeSubject(label), work, samples, ceilings, 10**9, 10**8, seed=0)  # type: ignore[arg-type]


def result(*sides: dict[str, Any], **conditions: Any) -> dict[str, Any]:
    quiet = {"quiet": True, "findings": [], "others_busy": 0.0, "cores": 2, "load_before": 0.1, "load_after": 0.2}
    return {
        "schema": SCHEMA_VERSION,
        "kind": KIND,
        "conditions": {
            "clips": [clip(2.0).to_dict()], "warmup": 1, "iterations": 8, "forced_tokens": None, "std": "ddof = 1",
            "end_to_end": "windows", "vad": True, "language": None, "percentiles": "linear", "machine": {"m": 1},
            "versions": {"torch": "2"}, "environment": {}, **conditions,
        },
        "sides": list(sides),
        "comparison": comparison(sides[0], sides[1], 0) if len(sides) > 1 else None,
        "noise": {**quiet, "megahertz_before": None, "megahertz_after": None},
        "sweep": None,
        "notes": [],
        "definitions": {"model": "model only: ..."},
    }  # fmt: skip


def test_figures_of_a_side_by_hand() -> None:
    found = side("A")
    model, whole = found["scopes"]["model"], found["scopes"]["end_to_end"]
    # encode 2, decode of 4 tokens 1 + 3 * 0.5.
    assert model["latency"]["mean"] == pytest.approx(4.5)
    assert model["latency"]["std"] == pytest.approx(0.0)
    assert model["clips_per_second"] == pytest.approx(1 / 4.5)
    assert model["rtf"] == pytest.approx(4.5 / 2.0)
    assert model["rtfx"] == pytest.approx(2.0 / 4.5)
    assert whole["latency"]["p99"] == pytest.approx(6.0)
    assert found["stages"]["token"]["latency"]["median"] == pytest.approx(0.5)
    assert found["tokens_counted"] == [4]
    assert found["tokens_heard"] == [[3]]
    # 1e9 operations in 2 s, 1e8 bytes in 0.5 s.
    assert found["roofline"]["encode"]["flops"] == pytest.approx(5e8)
    assert found["roofline"]["encode"]["of_ceiling"] == pytest.approx(0.5)
    assert found["roofline"]["token"]["of_ceiling"] == pytest.approx(0.2)
    assert "little" not in json.dumps(found)  # what is said stays here: only its hash is kept


def test_the_speed_up_is_the_other_sides_time_over_ours() -> None:
    found = comparison(side("A"), side("B", 2.0), 0)
    assert (found["side"], found["against"], found["same_text"], found["clips"]) == ("A", "B", 1, 1)
    for name in ("model", "end_to_end", "features", "encode", "decode", "prefill", "token"):
        assert found["speed_up"][name]["median"] == pytest.approx(2.0), name
        assert found["speed_up"][name]["interval"]["low"] == pytest.approx(2.0)


def test_differences_that_noise_made_negative_give_no_ratio() -> None:
    ours, other = side("A"), side("B")
    ours["stages"]["token"]["rounds"][0] = [-0.1]
    assert comparison(ours, other, 0)["speed_up"]["token"] is None
    assert "too noisy to tell" in report_text({**result(ours, other)} | {"comparison": comparison(ours, other, 0)})


def test_time_of_a_token_is_for_one_window() -> None:
    found = {**side("A"), "batch": 4}
    assert per_second(found, "token") == [pytest.approx(0.5 / 4)] * 8
    assert per_second(found, "model") == [pytest.approx(4.5 / 2)] * 8


def test_a_report_has_the_write_ups_rows_in_their_units() -> None:
    text = report_text(result(side("A"), side("B", 2.0)))
    assert max(map(len, text.splitlines())) <= 100
    for row in (
        "A model only",
        "B end to end",
        "RTFx",
        "clips/s",
        "std",
        "P50",
        "P90",
        "P99",
        "first call, model only",
    ):
        assert row in text
    assert "speed-up of A over B" in text
    assert "2.000  2.000 to 2.000  A is faster" in text
    assert "both say the same in 1 of 1 clip" in text


# Two of them ---------------------------------------------------------------------------------------------------------


def verdicts(first: dict[str, Any], second: dict[str, Any]) -> dict[str, str]:
    return {metric.title: metric.verdict for metric in compare_results(first, second).metrics}


def test_the_same_again_is_within_noise() -> None:
    found = compare_results(result(side("A", jitter=0.02)), result(side("A", jitter=0.02)))
    assert found.changed() == []
    assert found.changes == ()
    assert "nothing changed beyond the noise" in diff_text(found)


def test_slower_is_called_slower_and_faster_faster() -> None:
    first, second = result(side("A", jitter=0.01)), result(side("A", 1.3, jitter=0.01))
    assert set(verdicts(first, second).values()) == {"slower", "within noise"}  # what was taken once is the same
    assert verdicts(first, second)["model only"] == "slower"
    assert verdicts(second, first)["model only"] == "faster"
    assert "+30.0 %" in diff_text(compare_results(first, second))
    assert compare_results(first, second).to_dict()["metrics"][0]["verdict"] == "slower"


def test_a_change_below_the_floor_is_noise_however_sure() -> None:
    first, second = result(side("A")), result(side("A", 1.02))
    assert set(verdicts(first, second).values()) == {"within noise"}
    assert verdict(1.05, 1.04, 1.06) == "slower"
    assert verdict(1.05, 0.99, 1.11) == "within noise"
    assert verdict(0.9, 0.8, 0.95) == "faster"


def test_figures_taken_once_need_ten_percent() -> None:
    first, second = result(side("A")), result(side("A"))
    second["sides"][0]["cold_start"]["load"] = 2.5
    second["sides"][0]["memory"]["host_growth"] = 1 << 29
    found = verdicts(first, second)
    assert (found["load"], found["host memory"], found["first call, model only"]) == ("slower", "less", "within noise")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("conditions", "forced_tokens"), 40, "different work, forced tokens: none and 40"),
        (("conditions", "end_to_end"), "pipeline", "way end to end"),
        (("conditions", "clips", 0, "sha256"), "f" * 64, "recordings"),
        (("sides", 0, "batch"), 8, "batch sizes: 1 and 8"),
        (("sides", 0, "model", "family"), "other", "model family"),
        (("conditions", "vad"), False, "speech detection"),
    ],
)
def test_different_work_is_not_compared(path: tuple[Any, ...], value: Any, message: str) -> None:
    first = result(side("A"))
    second = copy.deepcopy(first)
    place: Any = second
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(UsageError, match=message):
        compare_results(first, second)


def test_other_conditions_are_said() -> None:
    first = result(side("A"))
    second = copy.deepcopy(first)
    second["sides"][0].update(threads=1, dtype="float16", simulated="npu", text_sha256=["e" * 64])
    second["sides"][0]["environment"] = {"chip": "Ascend910B4", "cann": "8.5", "torch": "2"}
    second["conditions"]["versions"] = {"torch": "2.1"}
    second["noise"] = {**second["noise"], "quiet": False, "findings": ["other programs kept 1.0 of 2 cores busy"]}
    said = "\n".join(compare_results(first, second).changes)
    for words in (
        "threads was 2, is 1", "dtype was float32, is float16", "simulated device", "says other words now",
        "chip was Abacus, is Ascend910B4", "cann was none, is 8.5", "torch was 2, is 2.1",
        "the machine was noisy in the second: other programs",
    ):  # fmt: skip
        assert words in said


def test_results_are_read_again_and_other_files_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result(side("A"))))
    assert read_result(path)["sides"][0]["label"] == "A"
    for text, message in (
        ("{", "no JSON"),
        ("[]", "is no result of voxport bench"),
        ('{"kind": "voxport bench", "schema": 99}', "has schema 99, this voxport reads 1"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_result(path)
    with pytest.raises(UsageError, match="No such file"):
        read_result(tmp_path / "none.json")


# A sweep -------------------------------------------------------------------------------------------------------------


def swept() -> dict[str, Any]:
    """Proportional cost on one side, quadratic on the other, end to end twice that."""
    sides = [side("A"), side("B")]
    points = []
    for x in (1.0, 2.0, 4.0):
        figures = {}
        for label, cost in (("A", x), ("B", x * x)):
            figures[label] = {
                "model": {"median": cost, "interval": [0.9 * cost, 1.1 * cost], "rounds": [[cost]]},
                "end_to_end": {"median": 2 * cost, "interval": None, "rounds": [[2 * cost]]},
            }
        points.append({"x": x, "sides": figures})
    growth = {"A": {"model": 1.0, "end_to_end": 1.0}, "B": {"model": 2.0, "end_to_end": 2.0}}
    sweep = {"by": "length", "unit": "seconds of audio", "iterations": 5, "points": points, "growth": growth}
    return {**result(*sides), "sweep": sweep}


def test_the_exponent_of_growth() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (1, 2, 5, 30)]) == pytest.approx(1.5)
    assert exponent([(1, 1.0)]) is None


def test_the_picture_is_well_formed_and_names_its_lines() -> None:
    root = ET.fromstring(sweep_svg(swept()))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert "A model only, slope 1.00" in texts
    assert "B end to end, slope 2.00" in texts
    assert "seconds of audio" in texts
    assert len(list(root.iter(f"{space}path"))) == 4
    assert len(list(root.iter(f"{space}circle"))) == 12
    style = root.find(f"{space}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in str(style.text)
    assert "http" not in sweep_svg(swept()).replace("http://www.w3.org/2000/svg", "")


def test_lines_of_the_picture_are_where_they_belong() -> None:
    """A cost that grows proportionally is a straight line on logarithmic axes."""
    root = ET.fromstring(sweep_svg(swept()))
    (path, *_) = [element.get("d", "") for element in root.iter("{http://www.w3.org/2000/svg}path")]
    numbers = [tuple(map(float, point.split())) for point in path.removeprefix("M").split(" L")]
    (x1, y1), (x2, y2), (x3, y3) = numbers
    assert math.isclose((y2 - y1) / (x2 - x1), (y3 - y2) / (x3 - x2), rel_tol=0.01)
    assert y1 > y2 > y3


def test_names_of_lines_do_not_cover_each_other() -> None:
    root = ET.fromstring(sweep_svg(swept()))
    places = sorted(
        float(element.get("y", "0"))
        for element in root.iter("{http://www.w3.org/2000/svg}text")
        if "slope" in (element.text or "")
    )
    assert min(b - a for a, b in itertools.pairwise(places)) >= 16.9


def test_without_a_sweep_there_is_no_picture() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        sweep_svg(result(side("A")))


def test_a_sweep_in_the_report() -> None:
    text = report_text(swept())
    assert "sweep over length" in text
    assert "grows with the power" in text
    assert max(map(len, text.splitlines())) <= 110
