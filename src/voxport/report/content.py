"""From measurements to what a report says, in no language yet: rows of keys and values, and what must be said first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.report.measurements import Measurements

__all__ = ["Clip", "Content", "Row", "Statement", "content_of"]


@dataclass(frozen=True)
class Statement:
    """A sentence by its key in the wording, with what stands in it."""

    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table: a key of the wording (or a module's path), and its cells."""

    key: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Clip:
    """What both sides said in one window."""

    file: str
    start: float
    seconds: float
    reference: str
    candidate: str
    tokens: tuple[int, int]
    words: tuple[int, int]
    max_probability: float | None
    failure: str | None


@dataclass(frozen=True)
class Content:
    """Everything that a report says.

    Attributes:
        model, family, device, dtype, chip: what is reported on; `device` without its index, e.g. "npu".
        hardware: whether an accelerator that is no simulation ran: only then its name may be a tag.
        first: what a reader must know before anything else.
        missing: what was not measured, and why.
        environment, checks, accuracy, stages, performance, errors: tables; empty where there is nothing.
        clips: of both sides.
        problems: known ones: of the machine and of the candidate.
    """

    model: str
    family: str
    device: str
    dtype: str
    chip: str
    hardware: bool
    first: tuple[Statement, ...]
    missing: tuple[Statement, ...]
    environment: tuple[Row, ...]
    checks: tuple[Row, ...]
    accuracy: tuple[Row, ...]
    stages: tuple[Row, ...]
    performance: tuple[Row, ...]
    errors: tuple[Row, ...]
    clips: tuple[Clip, ...]
    problems: tuple[Statement, ...]


WORST_STAGES = 10


def content_of(measured: Measurements, *, with_figures: bool = True) -> Content:
    """All of it; `with_figures`: whether figures are drawn."""
    side = measured.bench["sides"][0]
    return Content(
        model=measured.summary["model"]["name"],
        family=measured.summary["model"]["family"],
        device=side["device"].partition(":")[0],
        dtype=side["dtype"],
        chip=str(side["environment"].get("chip") or side["device"]),
        hardware=side["device"] != "cpu" and not side["simulated"],
        first=tuple(_first(measured)),
        missing=tuple(_missing(measured, with_figures=with_figures)),
        environment=tuple(_environment(measured)),
        checks=tuple(_checks(measured)),
        accuracy=tuple(_accuracy(measured.verify)),
        stages=tuple(_stages(measured.verify)),
        performance=tuple(_performance(measured.bench)),
        errors=tuple(_errors(measured.score)),
        clips=tuple(_clips(measured.verify)),
        problems=tuple(_problems(measured)),
    )


def _first(measured: Measurements) -> Iterator[Statement]:
    verdict = measured.verify["verdict"]
    yield Statement(
        "passes" if verdict["ok"] else "fails",
        {"candidate": measured.summary["candidate"], "reference": measured.summary["reference"],
         "policy": verdict["policy"]},
    )  # fmt: skip
    for name in ("candidate", "reference"):
        simulated = measured.verify[name]["simulated"]
        if simulated:
            yield Statement("simulated", {"side": measured.verify[name]["side"], "what": simulated})
    if measured.summary["model"]["random_weights"]:
        yield Statement("random_weights", {"model": measured.summary["model"]["name"]})
    if measured.verify["reference"]["engine"] == "voxport":
        yield Statement("own_reference", {})
    if not measured.bench["noise"]["quiet"]:
        yield Statement("noisy", {"findings": "; ".join(measured.bench["noise"]["findings"])})


def _missing(measured: Measurements, *, with_figures: bool) -> Iterator[Statement]:
    for device in measured.environment["devices"]:
        if not device["usable"]:
            yield Statement("no_device", {"device": device["name"], "why": device["problem"]})
    if measured.score is None:
        yield Statement("no_score", {})
    looked = sum(bool(window["stages"]) for window in measured.verify["windows"])
    if looked < len(measured.verify["windows"]):
        yield Statement("stages_of_some", {"looked": looked, "windows": len(measured.verify["windows"])})
    if all(window["path"] is None for window in measured.verify["windows"] if window["stages"]):
        yield Statement("no_stages", {})
    if all(window.get("logit_differences") is None for window in measured.verify["windows"]):
        yield Statement("no_logits", {})
    if measured.bench["sweep"] is None:
        yield Statement("no_sweep", {})
    if measured.memory is None or not any(map(any, _counted(measured.memory))):
        yield Statement("no_memory", {})
    elif measured.memory["problem"]:
        yield Statement("memory_ended", {"problem": measured.memory["problem"]})
    if not with_figures:
        yield Statement("no_figures", {})


def _counted(memory: dict[str, Any]) -> list[list[int | None]]:
    return [values for name, values in memory["points"].items() if name != "seconds"]


def _environment(measured: Measurements) -> Iterator[Row]:
    side = measured.bench["sides"][0]
    environment, versions = measured.environment, measured.bench["conditions"]["versions"]
    packages = {one["name"]: one["version"] for one in environment["packages"]}
    ascend, described = environment["ascend"], side["environment"]
    rows = [
        ("device", f"{side['device']} (simulated)" if side["simulated"] else side["device"]),
        ("chip", f"{described.get('chip')} x {described.get('count')}"),
        ("host", f"{environment['processor']['name']}, {environment['processor']['usable_cores']}"),
        ("system", f"{environment['system']['name']}, {environment['system']['machine']}"),
        ("cann", described.get("cann") or ascend["cann_version"]),
        ("driver", described.get("driver") or ascend["driver_version"]),
        ("python", versions["python"]),
        ("torch", versions["torch"]),
        ("torch_npu", versions["torch_npu"]),
        ("transformers", versions["transformers"]),
        ("audio_library", f"PyAV {packages.get('av')}"),
        ("voxport", versions["voxport"]),
        ("weights", measured.summary["model"]["identity"]),
        ("threads", side["threads"]),
    ]
    for key, value in rows:
        yield Row(key, ("-" if value is None else str(value),))


def _checks(measured: Measurements) -> Iterator[Row]:
    for check in measured.verify["verdict"]["checks"]:
        yield Row(check["name"], (_number(check["value"]), _number(check["limit"]), "ok" if check["ok"] else "FAIL",
                                  check["where"]))  # fmt: skip


def _accuracy(verify: dict[str, Any]) -> Iterator[Row]:
    windows = verify["windows"]
    for part, names in (
        ("logits", ("max_abs", "mean_abs", "mean_relative", "rmse", "relative_l2", "cosine")),
        ("probabilities", ("max_probability", "kl", "top1")),
    ):
        for name in names:
            values = [window[part][name] for window in windows if window[part] is not None]
            if not values:
                continue
            worst = _worst(values, smallest=name in ("cosine", "top1"))
            percent = name in ("mean_relative", "max_probability", "top1") and worst is not None
            yield Row(name, (f"{worst:.4%}" if percent and worst is not None else _number(worst),))
    for name, key in (("token_edits", "token_match"), ("word_edits", "wer"), ("character_edits", "cer")):
        errors, count = (sum(window[name][index] for window in windows) for index in (0, 1))
        share = errors / max(1, count)
        yield Row(key, (f"{1 - share if key == 'token_match' else share:.2%} ({errors}/{count})",))
    same = sum(window["tokens"][0] == window["tokens"][1] for window in windows)
    texts = sum(window["text"][0].split() == window["text"][1].split() for window in windows)
    yield Row("sequence_match", (f"{same}/{len(windows)}",))
    yield Row("text_identical", (f"{texts}/{len(windows)}",))


def _stages(verify: dict[str, Any]) -> Iterator[Row]:
    worst: dict[str, tuple[float, float]] = {}
    for window in verify["windows"]:
        for stage in window["stages"]:
            made = math.nan if stage["made"] is None else _float(stage["made"]["relative_l2"])
            passed = _float(stage["passed"]["relative_l2"])
            before = worst.get(stage["name"], (0.0, 0.0))
            worst[stage["name"]] = (_larger(before[0], made), _larger(before[1], passed))
    names = sorted(worst, key=lambda name: -_badness(worst[name][0]))[:WORST_STAGES]
    for name in names:
        yield Row(name, (_number(worst[name][0]), _number(worst[name][1])))


def _performance(bench: dict[str, Any]) -> Iterator[Row]:
    sides = bench["sides"]
    for scope in ("model", "end_to_end"):
        scopes = [side["scopes"][scope] for side in sides]
        for name in ("mean", "median", "std", "p90", "p99", "minimum", "maximum"):
            yield Row(f"{scope}.{name}", _cells(_milliseconds(scope_["latency"][name]) for scope_ in scopes))
        for name in ("rtf", "rtfx", "clips_per_second"):
            yield Row(f"{scope}.{name}", _cells(scope_[name] for scope_ in scopes))
    for stage in ("features", "encode", "decode", "prefill", "token"):
        found = [side["stages"].get(stage) for side in sides]
        if any(found):
            yield Row(f"stage.{stage}", _cells(None if one is None else one["latency"]["mean"] * 1e3 for one in found))
    for name in ("load", "first_model"):
        yield Row(f"cold.{name}", _cells(side["cold_start"][name] for side in sides))
    for name in ("host_peak", "device_allocated", "device_reserved", "device_used", "device_total"):
        values = [None if side["memory"] is None else side["memory"][name] for side in sides]
        if any(value is not None for value in values):
            yield Row(f"memory.{name}", _cells(None if value is None else value / 2**20 for value in values))
    comparison = bench["comparison"]
    for scope in ("model", "end_to_end") if comparison else ():
        speed_up = comparison["speed_up"][scope]
        interval = speed_up["interval"]
        shown = f"{speed_up['median']:.3g}"
        yield Row(
            f"speed_up.{scope}",
            (shown if interval is None else f"{shown} ({interval['low']:.3g}-{interval['high']:.3g})", "1"),
        )


def _errors(score: dict[str, Any] | None) -> Iterator[Row]:
    if score is None:
        return
    pairs = zip(score["candidate"]["totals"], score["reference"]["totals"], strict=True)
    for ours, theirs in pairs:
        yield Row(f"rate.{ours['unit']}", (_rate(ours), _rate(theirs)))


def _rate(total: dict[str, Any]) -> str:
    return "-" if total["rate"] is None else f"{total['rate']:.2%} ({total['errors']}/{total['length']})"


def _clips(verify: dict[str, Any]) -> Iterator[Clip]:
    for window in verify["windows"]:
        probabilities = window["probabilities"]
        yield Clip(
            window["file"],
            window["start"],
            window["seconds"],
            window["text"][0].strip(),
            window["text"][1].strip(),
            tuple(window["token_edits"]),
            tuple(window["word_edits"]),
            None if probabilities is None else probabilities["max_probability"],
            window["failure"],
        )


def _problems(measured: Measurements) -> Iterator[Statement]:
    seen: set[str] = set()
    for window in measured.verify["windows"]:
        for finding in window["findings"]:
            if finding["module"] not in seen:
                seen.add(finding["module"])
                yield Statement("finding", {name: finding[name] for name in ("module", "cause", "evidence")})
    for problem in measured.environment["problems"]:
        yield Statement("doctor", {"what": problem["what"], "hint": problem["remedy"] or ""})


def _cells(values: Any) -> tuple[str, ...]:
    return tuple(_number(value) for value in values)


def _milliseconds(seconds: float | None) -> float | None:
    """None stays: one call has no standard deviation."""
    return None if seconds is None else seconds * 1e3


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.8g}" if 0.9 < value < 1 else f"{value:.4g}"


def _float(value: float | None) -> float:
    """JSON's null is what was no number."""
    return math.nan if value is None else float(value)


def _worst(values: Sequence[float | None], *, smallest: bool) -> float | None:
    if any(value is None for value in values):
        return None
    numbers = [float(value) for value in values if value is not None]
    return min(numbers) if smallest else max(numbers)


def _larger(left: float, right: float) -> float:
    return max(left, right) if left == left and right == right else math.nan


def _badness(value: float) -> float:
    return math.inf if math.isnan(value) else value
