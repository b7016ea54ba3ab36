"""Devices, looked at and tried out in processes of their own.

Looking means importing torch and what a device needs beside it, and computing something. Where versions clash that can
end the interpreter, where a driver hangs it can take for ever, and in any case it leaves things behind. So each kind of
device gets a process: what happens there is a finding, and one kind's failure says nothing of another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from voxport.devices import DTYPES, make_device
from voxport.devices.host import import_torch
from voxport.doctor.facts import DeviceReport, KindReport, TorchFacts
from voxport.errors import VoxportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voxport.devices import Device

__all__ = ["TIME_LIMIT", "look", "probe"]

TIME_LIMIT = 120.0
"""Seconds for one kind: importing torch_npu from a slow disk takes half a minute."""

_PROGRAM = "import sys; sys.path[:] = {path!r}; from voxport.doctor.probing import main; main({kind!r}, {families!r})"


def probe(kind: str, families: Sequence[str], time_limit: float = TIME_LIMIT) -> KindReport:
    """Look at one kind of device in a process of its own. Never raises.

    Args:
        kind: of `voxport.devices.DEVICES`.
        families: of models, whose default dtypes are asked for.
        time_limit: seconds.
    """
    program = _PROGRAM.format(path=sys.path, kind=kind, families=list(families))
    command = [sys.executable, "-c", program]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        return _failed(kind, f"no process can be started to look at it: {error.strerror or error}")
    try:
        output, errors = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process that waits for a driver may not even be killed
            process.communicate(timeout=5)
        return _failed(
            kind,
            f"it gave no answer within {time_limit:g} s: the driver may hang, or another process hold the device",
            "end what uses the device, or restart the machine",
        )
    try:
        answer = json.loads(output.decode("utf-8", errors="replace").splitlines()[-1])
        return _from_dict(answer)
    except (IndexError, ValueError, KeyError, TypeError):
        return _failed(
            kind,
            f"looking at it ended the process ({_end(process.returncode)}){_last_line(errors)}",
            "its software is broken, or versions don't belong together: install it anew",
        )


def look(kind: str, families: Sequence[str]) -> KindReport:
    """Look at one kind of device in this process."""
    first = make_device(kind)
    error = first.unavailable()
    torch = _torch() if kind == "cpu" or error is None else None
    if error is not None:
        missing = DeviceReport(kind, kind, problem=error.message, hint=error.hint, simulated=first.simulated)
        return KindReport(kind, error.message, error.hint, _is_loaded(kind), (missing,))
    devices = [_report(device, families) for device in _visible(first)]
    return KindReport(kind, None, None, True, tuple(devices), torch)


def main(kind: str, families: Sequence[str]) -> None:
    """What the process does: `look`, and print the answer on what was standard output."""
    # Libraries print on standard output too: that goes to standard error from here on.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        answer.write(json.dumps(asdict(look(kind, families))) + "\n")


def _visible(first: Device) -> Iterator[Device]:
    """All devices of the kind."""
    if first.index is None:
        yield first
        return
    for index in range(int(first.describe()["count"])):
        device = make_device(first.kind, index)
        device.simulated = first.simulated
        yield device


def _report(device: Device, families: Sequence[str]) -> DeviceReport:
    error = device.unavailable() or device.try_out()
    report = DeviceReport(
        name=str(device),
        kind=device.kind,
        index=device.index,
        usable=error is None,
        problem=error.message if error else None,
        hint=error.hint if error else None,
        simulated=device.simulated,
    )
    if error is not None:
        return report
    facts = asdict(report) | {
        "chip": _ask(lambda: str(device.describe()["chip"]), None),
        "dtypes": {family: device.default_dtype(family) for family in families},
        "supported": tuple(dtype for dtype in DTYPES if _supports(device, dtype)),
        "notes": tuple(_ask(device.notes, [])),
    }
    memory = _ask(device.memory, None)
    if memory is not None:
        facts["memory_free"], facts["memory_total"] = memory
    return DeviceReport(**facts)


def _supports(device: Device, dtype: str) -> bool:
    try:
        device.check_dtype(dtype)
    except VoxportError:
        return False
    return True


def _ask(question: Callable[[], Any], otherwise: Any) -> Any:
    """A device that computes may still not answer every question."""
    try:
        return question()
    except Exception:  # noqa: BLE001 - drivers raise anything
        return otherwise


def _torch() -> TorchFacts:
    try:
        torch = import_torch()
    except VoxportError as error:
        return TorchFacts(None, error=error.message, hint=error.hint)
    return TorchFacts(
        str(torch.__version__),
        cuda=torch.version.cuda,
        capability=_ask(lambda: str(torch.backends.cpu.get_cpu_capability()), None),
        threads=int(torch.get_num_threads()),
    )


def _is_loaded(kind: str) -> bool:
    """Whether the software of this kind could be loaded, though there is no device."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, kind)


def _from_dict(answer: dict[str, Any]) -> KindReport:
    devices = [
        DeviceReport(**{**device, "supported": tuple(device["supported"]), "notes": tuple(device["notes"])})
        for device in answer["devices"]
    ]
    torch = TorchFacts(**answer["torch"]) if answer["torch"] else None
    return KindReport(answer["kind"], answer["error"], answer["hint"], answer["loaded"], tuple(devices), torch)


def _failed(kind: str, problem: str, hint: str | None = None) -> KindReport:
    torch = TorchFacts(None, error=f"torch can't be imported: {problem}", hint=hint) if kind == "cpu" else None
    return KindReport(kind, problem, hint, True, (DeviceReport(kind, kind, problem=problem, hint=hint),), torch)


def _end(code: int) -> str:
    """How a process ended."""
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _last_line(errors: bytes) -> str:
    lines = errors.decode("utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""
