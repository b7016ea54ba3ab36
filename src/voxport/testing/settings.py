"""What is simulated: number of devices, memory, name. As text it is the value of VOXPORT_SIMULATE."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_DEVICES = 16
DEFAULT_MEMORY = 32 << 30
DEFAULT_CHIP = "Ascend910B4"

_EXAMPLE = "e.g. VOXPORT_SIMULATE=npu, npu:2, or npu:2,memory=2GiB"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|B|[KMGT]iB|[KMGT]B)", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """As given to `voxport.testing.activate`; None = the default, or what is active already."""

    devices: int = 2
    memory: int | None = None
    chip: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.devices <= MOST_DEVICES:
            raise UsageError(f"can't simulate {self.devices} devices", hint=f"1 to {MOST_DEVICES}")
        if self.memory is not None and self.memory <= 0:
            raise UsageError(f"a device can't have {self.memory} bytes of memory", hint="a positive number")


def parse(text: str) -> Settings:
    """``npu[:DEVICES][,memory=SIZE][,chip=NAME]``; SIZE in bytes, KiB, MiB, GiB.

    Raises:
        UsageError: it is anything else.
    """
    first, *rest = (part.strip() for part in text.split(","))
    kind, colon, count = first.partition(":")
    if kind != "npu" or (colon and not count.isdecimal()):
        raise UsageError(f"VOXPORT_SIMULATE={text}: {first!r} can't be simulated", hint=_EXAMPLE)
    memory, chip = None, None
    for part in rest:
        name, _, value = part.partition("=")
        if name == "memory":
            memory = _size(value, text)
        elif name == "chip" and value:
            chip = value
        else:
            raise UsageError(f"VOXPORT_SIMULATE={text}: {part!r} is not understood", hint=_EXAMPLE)
    return Settings(int(count) if count else Settings.devices, memory, chip)


def visible_devices(devices: int, environment: Mapping[str, str]) -> int:
    """How many ASCEND_RT_VISIBLE_DEVICES leaves: ascending indices; what follows a foreign character is ignored."""
    value = environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if value is None:
        return devices
    match = re.match(r"\d+(?:,\d+)*", value)
    seen: list[int] = []
    for index in map(int, match[0].split(",") if match else ()):
        if index >= devices or (seen and index <= seen[-1]):
            break
        seen.append(index)
    return len(seen)


def _size(value: str, text: str) -> int:
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise UsageError(f"VOXPORT_SIMULATE={text}: {value!r} is not a size", hint=_EXAMPLE)
    unit = match[2].upper()
    base = 1024 if "I" in unit else 1000
    return int(float(match[1]) * base ** (" KMGT".index(unit[0]) if unit not in ("", "B") else 0))
