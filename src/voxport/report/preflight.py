"""What would stop a report after minutes of measuring, found before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.devices import get_device
from voxport.errors import UsageError
from voxport.score import read_dataset
from voxport.score.listening import check_recordings
from voxport.sides import Side

if TYPE_CHECKING:
    from voxport.report.options import ReportOptions

__all__ = ["check"]

DEFAULT_REFERENCE = Side("cpu", "float32")
"""As far as the device and the dtype go, see `voxport.sides.default_reference`."""


def check(options: ReportOptions) -> None:
    """Refuse what can't end well. Loads no model.

    Raises:
        DeviceError: a side's device is not there, or can't compute in its dtype.
        UsageError: the policy or the manifest can't be read, a recording of it is not there, or the policy is for sides
            of one dtype.
    """
    from voxport.verify import get_policy

    policy = get_policy(options.policy)
    sides = (options.candidate, options.reference or DEFAULT_REFERENCE)
    if policy.same_dtype and "auto" not in (dtypes := [side.dtype for side in sides]) and dtypes[0] != dtypes[1]:
        raise UsageError(
            f"the policy {policy.name} compares sides of one dtype, not {dtypes[1]} and {dtypes[0]}",
            hint=f"--reference transformers/cpu:{dtypes[0]}, or another --policy",
        )
    if options.manifest is not None:
        absent = check_recordings(read_dataset(options.manifest).clips)
        if absent:
            first = next(iter(absent.values()))
            raise UsageError(
                f"{len(absent)} of the clips of {options.manifest} have no recording, the first: {first.message}",
                hint=first.hint,
            )
    for side in sides:
        device = get_device(side.device)
        if side.dtype != "auto":
            device.check_dtype(side.dtype)
