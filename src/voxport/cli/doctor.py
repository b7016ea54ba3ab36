"""``voxport doctor``: what is here, what would run where, what is wrong and the command that mends it."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from voxport.cli.terminal import write_stdout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from voxport.doctor import Diagnosis
    from voxport.doctor.facts import DeviceReport

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
What is here (hardware, drivers, CANN, torch, torch_npu, models), what would run where, what is wrong
and the command that mends it. Looks only; tries each device with a small computation."""

EPILOG = """\
exit codes:
  0  a device can be used, and nothing is wrong but for warnings
  1  something that is here can't be used, or nothing can run

error: something that is here can't be used. warning: it works otherwise than one may expect.
Devices are looked at in processes of their own, so a broken driver or torch is a finding, no crash.
Passwords in proxy addresses are left out; tokens are never shown."""

FAMILY_NAMES = {"whisper": "Whisper", "lasr_ctc": "MedASR"}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is here, what is wrong, what mends it",
        usage="voxport doctor [--json]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument("--json", action="store_true", help="everything that was found, as one JSON object")
    parser.add_argument("-h", "--help", action="help", help="show this help")


def run(arguments: argparse.Namespace) -> int:
    """Examine; returns the exit code."""
    from voxport.doctor import examine

    diagnosis = examine()
    if arguments.json:
        write_stdout(json.dumps(diagnosis.to_dict(), indent=2, ensure_ascii=False) + "\n")
    else:
        write_stdout("\n".join(render(diagnosis)) + "\n")
    return 0 if diagnosis.ok else 1


def render(diagnosis: Diagnosis) -> Iterator[str]:
    """Lines for people: whether it will work, what to do, then the facts."""
    yield from _headline(diagnosis)
    yield ""
    yield from _problems(diagnosis)
    sections = {
        "devices": _devices(diagnosis),
        "what runs where": _plan(diagnosis),
        "numbers": _numbers(diagnosis),
        "models here": _models(diagnosis),
        "machine": _table(_machine(diagnosis)),
        "Ascend": _ascend(diagnosis),
        "packages": _table(_packages(diagnosis)),
        "environment": _table([*diagnosis.environment.items()]),
    }
    for title, lines in sections.items():
        shown = list(lines)
        if shown:
            yield ""
            yield title
            yield from shown


def _headline(diagnosis: Diagnosis) -> Iterator[str]:
    """Whether it works, with which model, where; and what to type next."""
    from voxport.cli.transcribe import DEFAULT_MODEL

    names = [model.name for model in diagnosis.models if not model.random_weights]
    model = DEFAULT_MODEL if DEFAULT_MODEL in names or not names else names[0]
    option = "" if model == DEFAULT_MODEL else f" --model {model}"
    simulated = any(device.simulated for device in diagnosis.devices if device.name == diagnosis.auto.device)
    if diagnosis.ready:
        device = f"{diagnosis.auto.device}{' (simulated)' if simulated else ''}"
        yield f"ready: yes, {model} on {device}" if names else f"ready: yes, on {device}; no model is here yet"
        yield f"try:   voxport transcribe{option} RECORDING" + ("" if names else f"   (fetches {model} first)")
    elif diagnosis.usable and diagnosis.auto.device not in diagnosis.usable:
        yield f"ready: not on {diagnosis.auto.device}, which --device auto takes; {diagnosis.usable[0]} works"
        yield f"try:   voxport transcribe{option} --device {diagnosis.usable[0]} RECORDING"
    else:
        yield "ready: no"


def _problems(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.problems:
        yield "problems: none"
        return
    severities = [problem.severity for problem in diagnosis.problems]
    counts = [(severities.count(severity), severity) for severity in ("error", "warning")]
    yield "problems: " + ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count)
    for problem in diagnosis.problems:
        yield from _wrapped(f"  {problem.severity + ':':<9}", problem.what)
        if problem.remedy:
            yield f"  {'mend it:':<9}{problem.remedy}"  # in one line, to be copied


def _devices(diagnosis: Diagnosis) -> Iterator[str]:
    rows = [
        ("auto", f"takes {diagnosis.auto.device}", "the first of these that is there")
        if diagnosis.auto.device
        else ("auto", "nothing", "none of these is there")
    ]
    for device in diagnosis.devices:
        state = "no" if device.index is None and not device.usable else "fails"
        rows.append((device.name, "works" if device.usable else state, _about(device)))
    names, states = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, state, about in rows:
        yield from _wrapped(f"  {name:<{names}}  {state:<{states}}  ", about)


def _about(device: DeviceReport) -> str:
    if not device.usable:
        return (device.problem or "").partition(" (")[0]  # the rest stands above
    parts = [device.chip or ""]
    if device.memory_total is not None and device.memory_free is not None:
        parts.append(f"{device.memory_free / 2**30:.1f} of {device.memory_total / 2**30:.1f} GiB free")
    lacking = [dtype for dtype in ("float32", "float16", "bfloat16") if dtype not in device.supported]
    if lacking:
        parts.append(f"no {' and no '.join(lacking)}")
    return "; ".join(part for part in parts if part)


def _numbers(diagnosis: Diagnosis) -> Iterator[str]:
    """How exactly the devices compute; each kind once."""
    notes = {device.kind: "; ".join(device.notes) for device in diagnosis.devices if device.notes}
    return _table([*notes.items()])


def _plan(diagnosis: Diagnosis) -> Iterator[str]:
    """Families across, devices down."""
    families = list(dict.fromkeys(plan.family for plan in diagnosis.plan))
    if not families:
        return
    names = [FAMILY_NAMES.get(family, family) for family in families]
    dtypes = {(plan.device, plan.family): plan.dtype for plan in diagnosis.plan}
    rows = [
        (device, *(dtypes.get((device, family), "-") for family in families))
        for device in dict.fromkeys(plan.device for plan in diagnosis.plan)
    ]
    yield from _columns([("", *names), *rows])


def _models(diagnosis: Diagnosis) -> Iterator[str]:
    from voxport.models.hub.progress import megabytes

    if not diagnosis.models:
        yield "  none; `voxport models list` shows which there are, `voxport models pull NAME` fetches one"
        return
    rows = [
        (
            model.name,
            megabytes(model.size) if model.size is not None else "",
            f"{model.source or ''}{', random weights: what it says means nothing' if model.random_weights else ''}",
        )
        for model in diagnosis.models
    ]
    yield from _columns(rows)


def _machine(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    system, processor, torch = diagnosis.system, diagnosis.processor, diagnosis.torch
    container = ", in a container" if system.container else ""
    yield "system", f"{system.name}, kernel {system.kernel}, {system.machine}{container}"
    if system.memory_total and system.memory_available:
        yield "memory", f"{system.memory_available / 2**30:.1f} of {system.memory_total / 2**30:.1f} GiB available"
    nodes = processor.cores_by_node
    cores = f"{sum(nodes)} physical cores" if nodes else f"{processor.logical_cores} logical cores"
    where = f" in {len(nodes)} NUMA nodes ({', '.join(map(str, nodes))})" if len(nodes) > 1 else ""
    yield "processor", f"{processor.name}; {cores}{where} usable"
    if processor.threads is not None:
        yield "threads", f"{processor.threads}: {processor.threads_why}; --threads N sets others"
    build = f"for CUDA {torch.cuda}" if torch.cuda else "without CUDA"
    yield "torch", f"{torch.version}, {build}, {torch.capability}" if torch.version else "can't be imported"
    if diagnosis.cuda.driver:
        yield "NVIDIA", f"driver {diagnosis.cuda.driver_version or 'of unknown version'}"
    yield "Python", f"{diagnosis.python.version}, {diagnosis.python.executable}"
    yield "voxport", diagnosis.voxport
    free = f", {diagnosis.home.free / 10**9:.1f} GB free" if diagnosis.home.free is not None else ""
    yield "models in", f"{diagnosis.home.path}{free}{'' if diagnosis.home.writable else ', not writable'}"


def _ascend(diagnosis: Diagnosis) -> Iterator[str]:
    ascend = diagnosis.ascend
    if not ascend.is_there:
        return
    rows = [("torch_npu", f"{ascend.torch_npu or 'not installed'}")]
    if ascend.torch_npu:
        paired = f"CANN {' or '.join(ascend.cann_wanted)}" if ascend.cann_wanted else "a CANN that isn't known here"
        wants = f"torch {ascend.torch_npu_wants} and " if ascend.torch_npu_wants else ""
        rows[0] = ("torch_npu", f"{ascend.torch_npu}, goes with {wants}{paired}")
    sourced = "" if ascend.sourced else "; its libraries aren't found in this shell"
    rows.append(
        ("CANN", f"{ascend.cann_version or 'unknown version'}, {ascend.cann}{sourced}" if ascend.cann else "no")
    )
    rows.append(("driver", ascend.driver_version or "no"))
    files = ", ".join(f"davinci{index}" for index in ascend.device_files) or "no davinci0"
    manager = "davinci_manager" if ascend.manager else "no davinci_manager"
    rows.append(("/dev", f"{files}; {manager}"))
    yield from _table(rows)
    if ascend.chips:
        yield from _columns([("", *_CHIP_COLUMNS), *(("", *_chip_row(chip)) for chip in ascend.chips)])


_CHIP_COLUMNS = ("NPU", "chip", "name", "health", "W", "°C", "AICore", "memory", "processes")


def _chip_row(chip: dict[str, Any]) -> tuple[str, ...]:
    """A row of npu-smi's table."""
    processes = ", ".join(f"{process['name']} ({process['pid']})" for process in chip["processes"])
    values = (chip["power"], chip["temperature"], chip["usage"])
    shown = ("-" if value is None else f"{value:g}" for value in values)
    used, total = chip["memory_used"], chip["memory_total"]
    memory = "-" if total is None else f"{used:,} of {total:,} MiB"
    return (str(chip["index"]), str(chip["chip"]), chip["name"], chip["health"], *shown, memory, processes)


def _packages(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Those that are optional or don't fit, one by one; the others in one line."""
    fitting = []
    for package in diagnosis.packages:
        if package.required and package.fits:
            fitting.append(f"{package.name} {package.version}")
        else:
            yield package.name, "; ".join(filter(None, [package.version or "not installed", package.note]))
    if fitting:
        yield "required", ", ".join(fitting)


def _table(rows: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> Iterator[str]:
    """A name and a text that may take several lines."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    for name, text in listed:
        yield from _wrapped(f"  {name:<{width}}  ", text)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _wrapped(start: str, text: str) -> list[str]:
    """`text` behind `start`, its further lines below its first."""
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 100))
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]
