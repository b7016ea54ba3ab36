"""A measurement as text for people, at most 100 columns wide, plain ASCII numbers, units in the headings."""

from __future__ import annotations

import textwrap
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from voxport.bench.results import SCOPES, STAGES, TITLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voxport.bench.diff import Difference

__all__ = ["diff_text", "report_text"]

WIDTH = 100


def report_text(result: dict[str, Any]) -> str:
    """All of a measurement."""
    sections = [
        _head(result),
        _latency(result),
        _throughput(result),
        _stages(result),
        _speed_up(result),
        _cold_start(result),
        _memory(result),
        _roofline(result),
        _machine(result),
        _sweep(result),
        _about(result),
    ]
    found = [list(section) for section in sections]
    return "\n\n".join("\n".join(lines) for lines in found if lines) + "\n"


def _head(result: dict[str, Any]) -> Iterator[str]:
    conditions = result["conditions"]
    clips = conditions["clips"]
    seconds = sum(clip["seconds"] for clip in clips)
    name = Path(result["sides"][0]["model"]["name"]).name
    recordings = clips[0]["name"] if len(clips) == 1 else f"{len(clips)} clips"
    iterations = conditions["iterations"]
    batches = sorted({side["batch"] for side in result["sides"]})
    yield (
        f"{name}, {recordings} ({seconds:.1f} s), batch {' and '.join(map(str, batches))}, "
        f"{conditions['warmup']} warm-up and {iterations} timed {_plural('iteration', iterations)}"
    )
    for note in result["notes"]:
        yield from _wrapped("! ", note)
    yield ""
    for side in result["sides"]:
        yield from _wrapped(f"{side['label']}  ", _side_line(side))


def _side_line(side: dict[str, Any]) -> str:
    environment = side["environment"]
    engine = f"{side['engine']} {side['engine_version']}"
    attention = f" ({side['attention']} attention)" if side["attention"] else ""
    chip = environment.get("chip") or side["device"]
    simulated = " (simulated on the CPU)" if side["simulated"] else ""
    threads = f"{side['threads']} CPU thread{'s' * (side['threads'] != 1)}"
    kept = len(side.get("float32_modules", ()))
    dtype = side["dtype"] + (f", {kept} modules in float32," if kept else "")
    return (
        f"{side['side']}: {engine}{attention}, {dtype} on {side['device']}{simulated}, {chip}, {threads}, "
        f"torch {environment['torch']}, weights {side['model']['identity'][:12]}"
    )


def _latency(result: dict[str, Any]) -> Iterator[str]:
    yield "latency of a call, ms"
    rows: list[tuple[str, ...]] = [("", "mean", "median P50", "std", "P90", "P99", "min", "max", "mean, 95 % interval")]
    for scope in SCOPES:
        for side in result["sides"]:
            row = _latency_row(side["scopes"][scope]["latency"])
            rows.append((_label(result, side, scope), *row))
    yield from _columns(rows)


def _latency_row(latency: dict[str, Any]) -> tuple[str, ...]:
    interval = latency["mean_interval"]
    return (
        *(_ms(latency[name]) for name in ("mean", "median", "std", "p90", "p99", "minimum", "maximum")),
        "-" if interval is None else f"{_ms(interval['low'])} to {_ms(interval['high'])}",
    )


def _throughput(result: dict[str, Any]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("throughput", "RTF", "RTFx", "clips/s", "clips/s, 95 %")]
    for scope in SCOPES:
        for side in result["sides"]:
            found = side["scopes"][scope]
            interval = found["clips_per_second_interval"]
            rows.append(
                (
                    _label(result, side, scope),
                    "-" if found["rtf"] is None else f"{found['rtf']:.4f}",
                    "-" if found["rtfx"] is None else f"{found['rtfx']:.1f}",
                    f"{found['clips_per_second']:.2f}",
                    "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
                )
            )
    yield from _columns(rows, indent="")


def _stages(result: dict[str, Any]) -> Iterator[str]:
    sides = result["sides"]
    present = [name for name in STAGES if any(name in side["stages"] for side in sides)]
    if len(sides) == 1:
        rows: list[tuple[str, ...]] = [
            ("stages, ms", "mean", "median P50", "std", "P90", "P99", "min", "max", "mean, 95 % interval")
        ]
        rows += [
            (f"  {_stage_title(name, sides)}", *_latency_row(sides[0]["stages"][name]["latency"])) for name in present
        ]
        yield from _columns(rows, indent="")
        return
    heads = [head for side in sides for head in (f"{side['label']} mean", "P50", "P99")]
    rows = [("stages, ms", *heads)]
    for name in present:
        figures = []
        for side in sides:
            latency = side["stages"].get(name, {}).get("latency")
            figures += ["-"] * 3 if latency is None else [_ms(latency[key]) for key in ("mean", "median", "p99")]
        rows.append((f"  {_stage_title(name, sides)}", *figures))
    yield from _columns(rows, indent="")


def _stage_title(name: str, sides: Sequence[dict[str, Any]]) -> str:
    counts = sorted({count for side in sides for count in side["tokens_counted"]})
    if name == "token" and counts:
        span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        return f"per token (of {span})"
    return TITLES[name]


def _speed_up(result: dict[str, Any]) -> Iterator[str]:
    found = result["comparison"]
    if found is None:
        return
    ours, other = found["side"], found["against"]
    rows: list[tuple[str, ...]] = [(f"speed-up of {ours} over {other}", "times", "95 % interval", "")]
    for name, ratio in found["speed_up"].items():
        if ratio is None:
            rows.append((f"  {TITLES[name]}", "-", "-", "too noisy to tell"))
            continue
        interval = ratio["interval"]
        shown = "-" if interval is None else f"{interval['low']:.3f} to {interval['high']:.3f}"
        rows.append((f"  {TITLES[name]}", f"{ratio['median']:.3f}", shown, _meaning(ratio, ours, other)))
    yield from _columns(rows, indent="", left=(0, 3))
    same, clips = found["same_text"], found["clips"]
    random = any(side["model"]["random_weights"] for side in result["sides"])
    if random:
        return
    differ = "" if same == clips else "; a speed-up with other words is none: `voxport verify` tells more"
    yield f"  both say the same in {same} of {clips} {_plural('clip', clips)}{differ}"


def _meaning(ratio: dict[str, Any], ours: str, other: str) -> str:
    interval = ratio["interval"]
    if interval is None:
        return "too few iterations for an interval"
    if interval["low"] <= 1 <= interval["high"]:
        return "no difference seen"
    return f"{ours if ratio['median'] > 1 else other} is faster"


def _cold_start(result: dict[str, Any]) -> Iterator[str]:
    titles = {
        "torch": "import torch",
        "load": "load the model",
        "first_model": "first call, model only",
        "first_end_to_end": "first recording, end to end",
    }
    sides = result["sides"]
    rows: list[tuple[str, ...]] = [("cold start, s (once each)", *(side["label"] for side in sides), "steady state")]
    for name, title in titles.items():
        scope = name.removeprefix("first_")
        values = ["-" if side["cold_start"][name] is None else f"{side['cold_start'][name]:.3f}" for side in sides]
        steady = ""
        if scope in SCOPES:
            steady = " / ".join(f"{_first_call(side, scope):.3f}" for side in sides)
        rows.append((f"  {title}", *values, steady))
    yield from _columns(rows, indent="")


def _first_call(side: dict[str, Any], scope: str) -> float:
    """The median over rounds of the call that the cold start was taken of."""
    return float(median(one[0] for one in side["scopes"][scope]["rounds"]))


def _memory(result: dict[str, Any]) -> Iterator[str]:
    titles = {
        "host_peak": "host, peak resident",
        "host_growth": "host, since before loading",
        "device_allocated": "device, peak of tensors",
        "device_reserved": "device, peak reserved",
        "device_used": "device, used by the driver's count",
        "device_total": "device, in all",
    }
    sides = result["sides"]
    rows: list[tuple[str, ...]] = [("memory, GiB", *(side["label"] for side in sides))]
    for name, title in titles.items():
        values = [None if side["memory"] is None else side["memory"][name] for side in sides]
        if any(value is not None for value in values):
            rows.append((f"  {title}", *("-" if value is None else f"{value / 2**30:.3f}" for value in values)))
    yield from _columns(rows, indent="")
    if len(sides) > 1:
        yield "  B's host peak has A's model in it: one process; what each took itself is the line below"


def _roofline(result: dict[str, Any]) -> Iterator[str]:
    sides = [side for side in result["sides"] if side["roofline"]]
    if not sides:
        return
    rows: list[tuple[str, ...]] = [("beside the device's best", *(side["label"] for side in sides))]
    ceilings = [side["roofline"]["ceilings"] for side in sides]
    rows.append(("  products of matrices, GFLOP/s", *(f"{one['flops'] / 1e9:,.0f}" for one in ceilings)))
    rows.append(("  encode, GFLOP/s", *(_achieved(side["roofline"]["encode"], "flops") for side in sides)))
    rows.append(("  reading memory, GB/s", *(f"{one['bytes_per_second'] / 1e9:,.1f}" for one in ceilings)))
    if any(side["roofline"]["token"] for side in sides):
        tokens = (_achieved(side["roofline"]["token"], "bytes_per_second") for side in sides)
        rows.append(("  per token, GB/s", *tokens))
    yield from _columns(rows, indent="")
    if any((side["roofline"]["token"] or {}).get("of_ceiling", 0) > 1 for side in sides):
        yield "  a token above 100 %: what it reads stays in the processor's caches"
    if any((side["roofline"]["encode"] or {}).get("of_ceiling", 0) > 1 for side in sides):
        yield "  encode above 100 %: the machine was disturbed while its best was measured"


def _achieved(found: dict[str, Any] | None, unit: str) -> str:
    if found is None:
        return "-"
    return f"{found[unit] / 1e9:,.1f} ({found['of_ceiling']:.0%})"


def _machine(result: dict[str, Any]) -> Iterator[str]:
    noise = result["noise"]
    facts = []
    if noise["others_busy"] is not None:
        facts.append(f"other programs kept {noise['others_busy']:.2f} of {noise['cores']} cores busy")
    if noise["load_before"] is not None:
        facts.append(f"load average {noise['load_before']:.1f} before, {noise['load_after']:.1f} after")
    if noise["megahertz_before"] and noise["megahertz_after"]:
        facts.append(f"cores at {noise['megahertz_before']:.0f} MHz before, {noise['megahertz_after']:.0f} after")
    yield f"machine: {'quiet' if noise['quiet'] else 'NOISY, the figures are to be read with care'}"
    yield from _wrapped("  ", "; ".join(facts))
    for finding in noise["findings"]:
        yield from _wrapped("  - ", finding)


def _sweep(result: dict[str, Any]) -> Iterator[str]:
    sweep = result["sweep"]
    if sweep is None:
        return
    labels = [side["label"] for side in result["sides"]]
    scopes = [scope for scope in SCOPES if any(scope in one["sides"][labels[0]] for one in sweep["points"])]
    heads = [f"{label} {TITLES[scope]}" for scope in scopes for label in labels]
    batch = sweep["by"] == "batch"
    rows: list[tuple[str, ...]] = [(sweep["unit"], *(f"{head}{', clips/s' if batch else ', RTFx'}" for head in heads))]
    for point in sweep["points"]:
        values = []
        for scope in scopes:
            for label in labels:
                found = point["sides"][label].get(scope)
                values.append(
                    "-" if found is None else f"{_ms(found['median'])} ms, {point['x'] / found['median']:.1f}"
                )
        rows.append((f"{point['x']:g}", *values))
    growth = [sweep["growth"][label][scope] for scope in scopes for label in labels]
    rows.append(("grows with the power", *("-" if one is None else f"{one:.2f}" for one in growth)))
    yield f"sweep over {sweep['by']}"
    yield from _columns(rows)


def _about(result: dict[str, Any]) -> Iterator[str]:
    definitions = result["definitions"]
    has_tokens = any("token" in side["stages"] for side in result["sides"])
    for name in ("model", "end_to_end", "end_to_end_windows", "decode", "token", "speed_up"):
        told = {"speed_up": result["comparison"], "decode": has_tokens, "token": has_tokens}
        if name in definitions and told.get(name, True):
            yield from _wrapped("", definitions[name])
    yield from _wrapped("", f"std: {result['conditions']['std']}; percentiles: {result['conditions']['percentiles']}")


def diff_text(difference: Difference) -> str:
    """What changed between two measurements."""
    lines = []
    for change in difference.changes:
        lines += _wrapped("! ", change)
    if lines:
        lines.append("")
    rows: list[tuple[str, ...]] = [("", "first", "second", "change", "95 % interval", "")]
    for metric in difference.metrics:
        interval = "-"
        if metric.low is not None and metric.high is not None:
            interval = f"{_percent(metric.low)} to {_percent(metric.high)}"
        shown = (metric.shown(metric.first), metric.shown(metric.second))
        rows.append((metric.title, *shown, _percent(metric.ratio), interval, metric.verdict))
    lines += _columns(rows, indent="", left=(0, 5))
    lines += ["", *_wrapped("", difference.summary())]
    return "\n".join(lines) + "\n"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f} %"


def _label(result: dict[str, Any], side: dict[str, Any], scope: str) -> str:
    return f"  {side['label']} {TITLES[scope]}" if len(result["sides"]) > 1 else f"  {TITLES[scope]}"


def _ms(seconds: float | None) -> str:
    """Milliseconds with four digits that count, no more than three behind the point."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _columns(rows: Sequence[Sequence[str]], *, indent: str = "", left: Iterable[int] = (0,)) -> Iterator[str]:
    """A table: numbers to the right, the columns in `left` to the left."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    starts = set(left)
    for row in rows:
        cells = [
            cell.ljust(width) if place in starts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield (indent + "  ".join(cells)).rstrip()


def _wrapped(prefix: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=" " * len(prefix)) or [prefix.rstrip()]
