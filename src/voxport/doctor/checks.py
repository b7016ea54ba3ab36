"""From facts to problems.

An error is something that is here and can't be used, or that nothing can run without. A warning is something that works
otherwise than one may expect, or hardware that lies idle because its software isn't installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.doctor.facts import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voxport.doctor.facts import DeviceReport, Diagnosis, KindReport

__all__ = ["find_problems"]

LITTLE_DISK = 5 * 10**9
"""Bytes: whisper-large-v3 has 3 GB, and what is converted is there twice for a while."""

LITTLE_MEMORY = 2 * 2**30
"""Bytes of a device's memory: whisper-large-v3-turbo needs some 2 GiB in float16."""


def find_problems(diagnosis: Diagnosis, kinds: Mapping[str, KindReport]) -> list[Problem]:
    """What is wrong, and what mends it."""
    problems = [*_packages(diagnosis)]
    if diagnosis.torch.version is None:
        # No device can say more than that.
        problems.append(Problem("error", diagnosis.torch.error or "torch can't be imported", diagnosis.torch.hint))
    else:
        for kind in kinds.values():
            problems += _failing_devices(diagnosis, kind)
        problems += _npu(diagnosis, kinds["npu"])
        problems += _cuda(diagnosis, kinds["cuda"])
    problems += _ascend(diagnosis, kinds["npu"])
    problems += _models(diagnosis)
    problems += _threads(diagnosis)
    return problems


def _packages(diagnosis: Diagnosis) -> Iterator[Problem]:
    for package in diagnosis.packages:
        if package.required and not package.fits:
            what, _, remedy = (package.note or "").partition(": ")
            version = f" {package.version}" if package.version else ""
            wanted = f", voxport needs {package.wanted}" if package.wanted else ""
            yield Problem("error", f"{package.name}{version} is {what}{wanted}", remedy)


def _failing_devices(diagnosis: Diagnosis, kind: KindReport) -> Iterator[Problem]:
    """Devices that are there and don't work."""
    for device in kind.devices:
        if kind.error is None and not device.usable:
            holders = _holders(diagnosis, device)
            yield Problem("error", f"{device.name}: {device.problem}{holders}", device.hint)
        elif device.memory_free is not None and device.memory_free < LITTLE_MEMORY:
            free = f"{device.memory_free / 2**30:.1f} GiB"
            smi = "npu-smi info" if device.kind == "npu" else "nvidia-smi"
            yield Problem(
                "warning",
                f"{device.name} has only {free} of its memory free{_holders(diagnosis, device)}",
                f"{smi}  (shows who holds it)",
            )
    if kind.error is None and kind.devices and not kind.devices[0].usable:
        others = [name for name in diagnosis.usable if name != diagnosis.auto.device]
        if others and diagnosis.auto.device == kind.devices[0].name:
            yield Problem(
                "warning",
                f"--device auto takes {diagnosis.auto.device}, which doesn't work",
                f"voxport transcribe --device {others[0]} ...",
            )


def _holders(diagnosis: Diagnosis, device: DeviceReport) -> str:
    """Processes that npu-smi shows on an NPU."""
    if device.kind != "npu" or not diagnosis.ascend.chips:
        return ""
    chip = _chip_of(diagnosis, device)
    processes = chip["processes"] if chip else ()
    if not processes:
        return ""
    return "; npu-smi shows on it: " + ", ".join(
        f"{process['name']} (process {process['pid']})" for process in processes
    )


def _chip_of(diagnosis: Diagnosis, device: DeviceReport) -> dict[str, Any] | None:
    """The row of npu-smi's table for npu:N: the Nth of the visible ones."""
    chips = list(diagnosis.ascend.chips or ())
    visible = (diagnosis.ascend.visible or "").split(",")
    index = device.index or 0
    if diagnosis.ascend.visible:
        if index >= len(visible) or not visible[index].isdecimal():
            return None
        index = int(visible[index])
    for place, chip in enumerate(chips):
        if index == (place if chip["device"] is None else chip["device"]):
            return chip
    return None


def _npu(diagnosis: Diagnosis, kind: KindReport) -> Iterator[Problem]:
    """Why there is no NPU, where there could be one."""
    ascend = diagnosis.ascend
    if any(device.simulated for device in kind.devices):
        what = "VOXPORT_SIMULATE is set: the NPU is simulated on the CPU, its speed and numbers are no real one's"
        yield Problem("warning", what, "unset VOXPORT_SIMULATE")
    if kind.error is None:
        return
    if ascend.torch_npu is None:
        if ascend.device_files:
            yield Problem("warning", f"the NPUs can't be used: {kind.error}", kind.hint)
        return
    chosen = kind.loaded and (ascend.visible is not None or not ascend.device_files)
    yield Problem("warning" if chosen else "error", f"no NPU: {kind.error}", kind.hint)


def _cuda(diagnosis: Diagnosis, kind: KindReport) -> Iterator[Problem]:
    if kind.error is None or not diagnosis.cuda.driver:
        return
    chosen = diagnosis.torch.cuda is None or diagnosis.cuda.visible is not None
    yield Problem("warning" if chosen else "error", f"no GPU: {kind.error}", kind.hint)


def _ascend(diagnosis: Diagnosis, kind: KindReport) -> Iterator[Problem]:
    """Huawei's software and hardware, as far as the device itself hasn't spoken of it."""
    ascend = diagnosis.ascend
    if ascend.mismatch is not None and ascend.mismatch[0] not in (kind.error or ""):
        yield Problem("warning" if kind.usable else "error", *ascend.mismatch)
    if ascend.torch_npu is not None and not kind.loaded and diagnosis.environment.get(_AUTOLOAD) != "0":
        yield Problem(
            "warning",
            "torch_npu can't be loaded: in other programs (transformers, ...) a plain `import torch` fails too; "
            "voxport switches that off for itself",
            f"export {_AUTOLOAD}=0  (or mend torch_npu, or pip uninstall torch_npu)",
        )
    if ascend.npu_smi_error is not None:
        remedy = "be in the group HwHiAiUser; `dcmi ... -8005` in a container means that another one holds the device"
        yield Problem("warning", ascend.npu_smi_error, remedy)
    for chip in ascend.chips or ():
        if chip["health"] not in ("OK", ""):
            name = f"NPU {chip['index']} chip {chip['chip']} ({chip['name']})"
            yield Problem("warning", f"{name} is {chip['health']}", f"npu-smi info -t health -i {chip['index']}")


_AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"


def _models(diagnosis: Diagnosis) -> Iterator[Problem]:
    home, environment = diagnosis.home, diagnosis.environment
    if home.path and not home.writable:
        yield Problem(
            "warning" if diagnosis.models else "error",
            f"VOXPORT_HOME ({home.path}) can't be written: no model can be fetched",
            "export VOXPORT_HOME=FOLDER  (one that you can write)",
        )
    elif home.free is not None and home.free < LITTLE_DISK:
        free = f"{home.free / 10**9:.1f} GB"
        yield Problem(
            "warning",
            f"only {free} are free where models are kept ({home.path})",
            "export VOXPORT_HOME=FOLDER  (on a larger disk)",
        )
    offline = environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if offline and not diagnosis.models:
        yield Problem(
            "warning",
            "no model is here, and HF_HUB_OFFLINE forbids to fetch one",
            "unset HF_HUB_OFFLINE  (or copy VOXPORT_HOME from a machine that has models)",
        )


def _threads(diagnosis: Diagnosis) -> Iterator[Problem]:
    processor = diagnosis.processor
    allowed = [count for count in (processor.usable_cores, processor.cpu_limit) if count]
    if processor.threads and allowed and processor.threads > max(1, min(allowed)):
        yield Problem(
            "warning",
            f"{processor.threads} threads ({processor.threads_why}) on {min(allowed):g} CPUs wait for each other",
            "unset OMP_NUM_THREADS MKL_NUM_THREADS  (or voxport transcribe --threads N)",
        )
