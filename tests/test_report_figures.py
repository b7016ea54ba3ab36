"""Figures: what is drawn is what was measured; they stand alone, in both languages, in light and in dark."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from lasr_folders import noise, small_folder
from simulated_npu import run_python
from voxport.cli import main
from voxport.report import Measurements, make_report
from voxport.report.content import content_of
from voxport.report.figures import NAMES, figures
from voxport.report.figures.error_per_layer import group_of, layer_of, shortened, stage_errors
from voxport.report.figures.latency import calls
from voxport.report.figures.logit_differences import histogram_sum
from voxport.report.figures.numbers import log_ticks, power, short
from voxport.report.figures.palette import DARK
from voxport.report.language import LANGUAGES, language
from voxport.report.memory_sampling import MOST, MemorySampler, thinned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voxport.report.figures import Figure

pytest.importorskip("transformers")

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("figures")
    clips = []
    for number, seconds in enumerate((2.1, 1.4)):
        clips.append(str(place / f"clip {number}.wav"))
        soundfile.write(clips[-1], noise(seconds, number).samples, 16_000, subtype="FLOAT")
    folder = small_folder(place / "little-medasr")
    command = ["report", "--model", str(folder), "--candidate", "cpu:bfloat16", "-o", str(place / "report"), "-q"]
    assert main([*command, *clips, "--iterations", "4", "--warmup", "0", "--points", "1,3"]) in (0, 1)
    return place / "report"


@pytest.fixture(scope="module")
def measured(made: Path) -> Measurements:
    return Measurements.read(made / "results")


@pytest.fixture(scope="module")
def drawn(measured: Measurements) -> dict[str, dict[str, Figure]]:
    return {code: {one.name: one for one in figures(measured, code)} for code in LANGUAGES}


def group(figure: Figure, gid: str, code: str = "en") -> ET.Element:
    """A part of a picture, by the name that it was given."""
    wanted = f"voxport-{figure.name.replace('_', '-')}-{code}-{gid}"
    (found,) = [one for one in ET.fromstring(figure.svg).iter() if one.get("id") == wanted]
    return found


def markers(figure: Figure, gid: str) -> list[tuple[float, float]]:
    """Pixels of the markers of a series."""
    return [(float(one.get("x", "")), float(one.get("y", ""))) for one in group(figure, gid).iter(f"{SVG}use")]


def path(figure: Figure, gid: str) -> list[tuple[float, float]]:
    """Pixels of a line's or a bar's corners."""
    (line,) = [one for one in group(figure, gid).iter(f"{SVG}path") if one.get("id") is None]
    numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", line.get("d", ""))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def lie_on_a_line(values: Any, pixels: Any) -> bool:
    """Whether pixels follow values as on one axis (of both or of their logarithms)."""
    slope, begin = np.polyfit(values, pixels, 1)
    return bool(np.allclose(slope * np.asarray(values) + begin, pixels, atol=0.01))


def test_all_are_there_in_both_languages(made: Path, drawn: dict[str, dict[str, Figure]]) -> None:
    for code, suffix in (("en", ""), ("zh", ".zh")):
        assert list(drawn[code]) == list(NAMES)
        text = (made / ("README.md" if code == "en" else "README.zh.md")).read_text(encoding="utf-8")
        for name, figure in drawn[code].items():
            assert (made / f"figures/{name}{suffix}.svg").read_text(encoding="utf-8") == figure.svg
            assert f"![{figure.title}](figures/{name}{suffix}.svg)" in text
            assert f"- `figures/{name}{suffix}.svg`" in text


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_each_stands_alone(name: str, code: str, drawn: dict[str, dict[str, Figure]]) -> None:
    figure = drawn[code][name]
    root = ET.fromstring(figure.svg)
    prefix = f"voxport-{name.replace('_', '-')}-{code}"
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{prefix}-title {prefix}-desc"
    assert root.findtext(f"{SVG}title") == figure.title
    assert root.findtext(f"{SVG}desc") == figure.caption
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    assert all(str(one).startswith(prefix) for one in ids)
    # Nothing is loaded from elsewhere, and what is referred to is there.
    assert set(re.findall(r"https?://[^\"]+", figure.svg)) == {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    assert "<!DOCTYPE" not in figure.svg
    references = [one.get(LINK, "") for one in root.iter() if one.get(LINK)]
    references += re.findall(r"url\(([^)]+)\)", figure.svg)
    assert {one.removeprefix("#") for one in references} <= set(ids)
    # Text is text, in the reader's fonts.
    assert str(root.get("font-family")).endswith("sans-serif")
    assert "DejaVu" not in figure.svg
    texts = "".join(one.text or "" for one in root.iter(f"{SVG}text"))
    assert bool(re.search("[\u4e00-\u9fff]", texts)) == (code == "zh")
    assert figure.title in texts


@pytest.mark.parametrize("name", NAMES)
def test_every_colour_has_one_for_dark_pages(name: str, drawn: dict[str, dict[str, Figure]]) -> None:
    figure = drawn["en"][name]
    style = figure.svg[figure.svg.index("<style>") : figure.svg.index("</style>")]
    assert "@media screen and (prefers-color-scheme: dark)" in style
    shown = figure.svg[figure.svg.index("</style>") :]
    assert set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r'(id|href)="[^"]*"|url\([^)]*\)', "", shown))) <= set(DARK)
    for element in re.findall(r'class="([^"]*)" style="([^"]*)"', shown):
        classes, given = element
        for what, colour in re.findall(r"(fill|stroke): (#[0-9a-f]{6})", given):
            rule = f"voxport-{name.replace('_', '-')}-en-{what}-{colour[1:]}"
            assert rule in classes.split()
            assert f".{rule} {{ {what}: {DARK[colour]} !important }}" in style
    assert len(re.findall(r'style="[^"]*#[0-9a-f]{6}', shown)) == len(re.findall(r'class="voxport[^"]*" style=', shown))


def test_the_same_numbers_give_the_same_pictures(
    measured: Measurements, drawn: dict[str, dict[str, Figure]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 7.0)  # a user's own settings change nothing
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "path")
    assert {one.name: one for one in figures(measured, "en")} == drawn["en"]
    assert mpl.rcParams["lines.linewidth"] == 7.0


def test_errors_of_all_stages_in_order(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    errors = stage_errors(measured.verify)
    windows = [window for window in measured.verify["windows"] if window["stages"]]
    assert [one.name for one in errors] == [stage["name"] for stage in windows[0]["stages"]]
    for index, one in enumerate(errors):
        assert one.passed == max(window["stages"][index]["passed"]["relative_l2"] for window in windows)
        assert one.made == max(window["stages"][index]["made"]["relative_l2"] for window in windows)
    figure = drawn["en"]["error_per_layer"]
    for gid, values in (("series-passed", [one.passed for one in errors]),
                        ("series-made", [one.made for one in errors])):  # fmt: skip
        at = markers(figure, gid)
        assert len(at) == len(errors)
        assert lie_on_a_line(range(len(errors)), [x for x, _ in at])
        shown = [(math.log10(value), y) for value, (_, y) in zip(values, at, strict=True) if value]
        assert lie_on_a_line(*zip(*shown, strict=True))
        assert all(y > max(y for _, y in shown) for value, (_, y) in zip(values, at, strict=True) if not value)
    ring, worst = markers(figure, "worst"), max(errors, key=lambda one: one.made or 0)
    assert ring == [markers(figure, "series-made")[errors.index(worst)]]
    assert f"most is made in {shortened(worst.name)}" in figure.svg


def test_a_stage_that_is_not_finite_is_shown(measured: Measurements) -> None:
    verify = copy.deepcopy(measured.verify)
    verify["windows"][0]["stages"][3]["passed"]["relative_l2"] = None
    assert math.isnan(stage_errors(verify)[3].passed)
    (figure, *_) = figures(replace(measured, verify=verify), "en")
    assert len(markers(figure, "not-finite")) == 1
    assert "not finite" in figure.svg
    assert len(markers(figure, "series-passed")) == len(verify["windows"][0]["stages"]) - 1


def test_the_histogram_is_of_every_logit(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    found = histogram_sum(measured.verify)
    assert found is not None
    positions = sum(window["positions"] for window in measured.verify["windows"])
    assert found.total() == positions * 160  # of the vocabulary
    assert found.max_abs == max(window["logits"]["max_abs"] for window in measured.verify["windows"])
    half, most = found.quantile(0.5), found.quantile(0.99)
    assert half is not None
    assert most is not None
    assert 0 < half < most < found.max_abs
    figure = drawn["en"]["logit_differences"]
    heights = {}
    for edge, count in zip(found.edges[:-1], found.counts, strict=True):
        if count:
            corners = path(figure, f"bin-{edge:g}")
            heights[count] = max(y for _, y in corners) - min(y for _, y in corners)
    assert len(heights) > 3
    assert lie_on_a_line(list(heights), list(heights.values()))
    assert f"{found.total():,} logits" in figure.caption


def test_latencies_are_those_of_every_call(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    figure = drawn["en"]["latency"]
    for scope in ("model", "end_to_end"):
        values, xs = [], []
        for place, key in enumerate(("candidate", "reference")):
            rounds = measured.bench["sides"][place]["scopes"][scope]["rounds"]
            assert calls(measured, place, scope) == [1e3 * seconds for one in rounds for seconds in one]
            values += calls(measured, place, scope)
            at = markers(figure, f"points-{scope}-{key}")
            assert len(at) == 8  # four iterations, two clips
            xs += [x for x, _ in at]
            median = path(figure, f"median-{scope}-{key}")[0][0]
            values.append(float(np.median(calls(measured, place, scope))))
            xs.append(median)
        assert lie_on_a_line(values, xs) or lie_on_a_line(np.log(values), xs)


def test_bars_are_speed_ups(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    figure = drawn["en"]["speed_up"]
    ratios = {name: one for name, one in measured.bench["comparison"]["speed_up"].items() if one is not None}
    assert {"model", "end_to_end", "encode"} <= set(ratios)
    ends = {}
    for name, ratio in ratios.items():
        xs = sorted({x for x, _ in path(figure, f"bar-{name}")})
        ends[math.log(ratio["median"])] = xs[-1] if ratio["median"] >= 1 else xs[0]
        low, high = ratio["interval"]["low"], ratio["interval"]["high"]
        assert f"{ratio['median']:.3g}× ({low:.3g}–{high:.3g})" in figure.svg
    assert lie_on_a_line(list(ends), list(ends.values()))


def test_the_sweep_can_be_measured_again(made: Path) -> None:
    assert "--iterations 4 --sweep length --points 1,3 " in (made / "README.md").read_text(encoding="utf-8")


def test_rtf_is_time_over_length(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    figure = drawn["en"]["rtf_over_length"]
    logs, ys = [], []
    for label, key in (("A", "candidate"), ("B", "reference")):
        for scope in ("model", "end_to_end"):
            points = measured.bench["sweep"]["points"]
            assert [point["x"] for point in points] == [1, 3]
            at = markers(figure, f"series-{scope}-{key}")
            logs += [math.log(point["sides"][label][scope]["median"] / point["x"]) for point in points]
            ys += [y for _, y in at]
    assert lie_on_a_line(logs, ys)


def test_memory_is_that_of_the_run(measured: Measurements, drawn: dict[str, dict[str, Figure]]) -> None:
    memory = measured.memory
    assert memory is not None
    assert memory["device"] == "cpu"
    assert memory["problem"] is None
    assert [phase["name"] for phase in memory["phases"]] == [
        "environment", "load A", "load B", "rounds", "ceilings", "sweep", "accuracy",
    ]  # fmt: skip
    starts = [phase["start"] for phase in memory["phases"]]
    assert starts == sorted(starts)
    points = memory["points"]
    assert len(points["seconds"]) <= MOST
    assert points["seconds"] == sorted(points["seconds"])
    assert points["seconds"][-1] > starts[-1]
    assert min(points["host"]) > 50 * 2**20
    assert set(points["allocated"]) == {None}  # the CPU has no memory of its own
    figure = drawn["en"]["memory_over_time"]
    line = path(figure, "series-host")  # simplified: points that lie on it are left out
    high, low = (choose(points["host"]) for choose in (max, min))
    # A process that others have used before may begin at its highest, or at its lowest.
    top, bottom = (choose(y for _, y in line) for choose in (min, max))
    scale = (bottom - top) / (high - low)
    assert line[0][1] == pytest.approx(top + scale * (high - points["host"][0]), abs=0.1)
    assert f"(peak {short(high / 2**20)} MiB)" in figure.svg or f"(peak {short(high / 2**30)} GiB)" in figure.svg


def without(measured: Measurements, name: str) -> Measurements:
    """As if what this figure shows had not been measured."""
    verify, bench = copy.deepcopy(measured.verify), copy.deepcopy(measured.bench)
    if name == "memory_over_time":
        return replace(measured, memory=None)
    if name == "rtf_over_length":
        bench["sweep"] = None
    if name == "speed_up":
        bench["comparison"] = None
    for window in verify["windows"]:
        if name == "logit_differences":
            del window["logit_differences"]  # as older versions had it
        if name == "error_per_layer":
            window["stages"] = []
    return replace(measured, verify=verify, bench=bench)


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("error_per_layer", "no_stages"),
        ("logit_differences", "no_logits"),
        ("rtf_over_length", "no_sweep"),
        ("memory_over_time", "no_memory"),
        ("speed_up", None),
    ],
)
def test_what_was_not_measured_is_left_out_and_said(
    name: str, statement: str | None, measured: Measurements, tmp_path: Path
) -> None:
    less = without(measured, name)
    assert [one.name for one in figures(less, "en")] == [one for one in NAMES if one != name]
    said = {one.key for one in content_of(less).missing} - {one.key for one in content_of(measured).missing}
    assert statement is None or statement in said
    make_report(less, tmp_path)
    assert name not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_results_without_memory_can_be_read(measured: Measurements, tmp_path: Path) -> None:
    assert "memory.json" in measured.write(tmp_path)
    (tmp_path / "memory.json").unlink()
    assert Measurements.read(tmp_path).memory is None


def test_memory_that_ended_early_is_said(measured: Measurements) -> None:
    memory = {**(measured.memory or {}), "problem": "RuntimeError: driver"}
    (one,) = [one for one in content_of(replace(measured, memory=memory)).missing if one.key == "memory_ended"]
    assert "RuntimeError: driver" in language("en").statement(one)


def test_no_figures(measured: Measurements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxport.report.figures.find_spec", lambda name: None)
    files = make_report(measured, tmp_path, with_figures=False)
    assert not [name for name in files if name.startswith("figures/")]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "none were drawn" in text
    assert ".svg" not in text


def test_a_missing_matplotlib_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("voxport.report.figures.find_spec", lambda name: None)
    monkeypatch.setattr("voxport.report.measure", lambda *arguments, **more: pytest.fail("it was measured"))
    soundfile.write(tmp_path / "a.wav", noise(1.0).samples, 16_000)
    command = ["report", "--candidate", "cpu", "-o", str(tmp_path / "out"), str(tmp_path / "a.wav")]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "matplotlib, which is not installed" in told
    assert "pip install 'voxport[report]', or --no-figures" in told
    assert not (tmp_path / "out").exists()


def test_only_drawing_imports_matplotlib() -> None:
    code = "import sys, voxport.cli, voxport.cli.report, voxport.report, voxport.report.figures as f\n"
    code += "f.require_matplotlib(); print('matplotlib' in sys.modules)"
    assert run_python(code).stdout == "False\n"


def test_times_of_a_simulated_device_are_the_cpus(measured: Measurements) -> None:
    sides = [
        {**measured.bench["sides"][0], "side": "npu:float16", "simulated": "Ascend910B4"},
        measured.bench["sides"][1],
    ]
    found = {
        one.name: one.caption for one in figures(replace(measured, bench={**measured.bench, "sides": sides}), "en")
    }
    for name in ("latency", "speed_up", "rtf_over_length"):
        assert "npu:float16 is simulated on a CPU: these are the CPU's times" in found[name]
    assert all("The weights are random." in text for text in found.values())


# Parts ---------------------------------------------------------------------------------------------------------------


def test_names_of_stages() -> None:
    assert shortened("model.encoder.conv1") == "encoder.conv1"
    long = shortened("model.decoder.layers.11.some_block.inner_module.encoder_attn.out_proj")
    assert long == "decoder.….encoder_attn.out_proj"
    assert [layer_of(one) for one in ("model.encoder.layers.3.fc1", "model.encoder.layers.12", "proj_out")] == [
        3,
        12,
        None,
    ]
    assert group_of("model.decoder.layers.0.encoder_attn.q_proj", "encoder") == "decoder"
    assert group_of("ctc_head", "encoder") == "encoder"


def test_numbers() -> None:
    assert [power(one) for one in (-9, -1, 0, 2, 4)] == ["10⁻⁹", "0.1", "1", "100", "10⁴"]
    assert [short(one) for one in (0, 0.000325, 6.67e-5, 1234.5, 0.5)] == [
        "0",
        "0.000325",
        "6.67 × 10⁻⁵",
        "1,230",
        "0.500",
    ]
    assert log_ticks(0.9, 12) == pytest.approx([1, 2, 5, 10])
    assert len(log_ticks(1e-7, 1e7)) <= 7


class Device:
    """Counts, or fails."""

    def __init__(self, held: Callable[[], tuple[int, int] | None]) -> None:
        self.held_memory = held

    def __str__(self) -> str:
        return "npu:0"


def sampler(held: Callable[[], tuple[int, int] | None], host: Callable[[], int | None], interval: float = 60.0) -> Any:
    clock = itertools.count()
    return MemorySampler(lambda: Device(held), clock=lambda: float(next(clock)), host=host, interval=interval)  # type: ignore[arg-type, return-value]


def test_the_sampler_asks_no_device_before_it_is_loaded() -> None:
    one = sampler(lambda: (3, 4), lambda: 7)
    with one:
        one.enter("environment")
        assert one.to_dict()["device"] is None
        one.enter("load A")
    found = one.to_dict()
    assert found["device"] == "npu:0"
    assert found["points"]["host"] == [7, 7]
    assert found["points"]["allocated"] == [None, 3]
    assert found["points"]["reserved"] == [None, 4]
    json.dumps(found)


def test_the_sampler_looks_by_itself_and_stops_whatever_happens() -> None:
    one = sampler(lambda: None, lambda: 7, interval=0.001)

    def work() -> None:
        with one:
            while len(one.to_dict()["points"]["host"]) < 3:
                time.sleep(0.001)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert not one._thread.is_alive()


def test_what_goes_wrong_in_the_sampler_is_told_and_nothing_else() -> None:
    def broken() -> tuple[int, int]:
        raise RuntimeError("the driver is gone")

    one = sampler(broken, lambda: 7)
    with one:
        one.enter("environment")
        one.enter("load A")
        one.enter("rounds")
    found = one.to_dict()
    assert found["problem"] == "RuntimeError: the driver is gone"
    assert found["points"]["host"] == [7]
    assert [phase["name"] for phase in found["phases"]] == ["environment", "load A", "rounds"]


def test_the_sampler_keeps_peaks_and_few_points() -> None:
    numbers = iter(range(10_000))
    one = sampler(lambda: (1, 2), lambda: next(numbers))
    with one:
        one.enter("load A")
        for _ in range(4 * MOST):
            one.look()
    host = one.to_dict()["points"]["host"]
    assert MOST / 2 <= len(host) <= MOST
    assert host == sorted(host)
    assert host[-1] == 4 * MOST
    assert thinned([(0.0, 5, None, 1), (1.0, 3, 2, None), (2.0, None, None, None)]) == [
        (1.0, 5, 2, 1), (2.0, None, None, None),
    ]  # fmt: skip
