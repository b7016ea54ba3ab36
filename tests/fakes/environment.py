"""An environment in which nothing of the person's own is read or written, and no real host is named."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from voxport.models.hub.sources import pip_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

PREFIXES = ("PIP_", "HF_", "HUGGINGFACE_", "MODELSCOPE_", "ATOMGIT_", "VOXPORT_")


def isolate(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Point every home into `folder` and every source at a port where nothing listens; returns VOXPORT_HOME."""
    for name in list(os.environ):
        if name.startswith(PREFIXES) and not name.startswith("VOXPORT_TEST"):
            patch.delenv(name)
    for name, value in {
        "HOME": folder,
        "VOXPORT_HOME": folder / "voxport",
        "HF_HOME": folder / "hf",
        "PIP_CONFIG_FILE": os.devnull,
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        patch.setenv(name, str(value))
    patch.delenv("XDG_CACHE_HOME", raising=False)
    nowhere = f"http://127.0.0.1:{unused_port()}"
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "ATOMGIT_ENDPOINT", "VOXPORT_OPENAI_ENDPOINT"):
        patch.setenv(name, nowhere)
    patch.setenv("PIP_INDEX_URL", f"{nowhere}/simple/")
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    patch.setattr("voxport.models.hub.download.BACKOFF", 0.0)
    pip_settings.pip_settings.cache_clear()
    return folder / "voxport"


def unused_port() -> int:
    """A port of this machine that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def files_under(folder: Path) -> set[str]:
    """Every file below `folder`, relative; locks left out."""

    def walk() -> Iterator[str]:
        for path in folder.rglob("*"):
            relative = path.relative_to(folder)
            if path.is_file() and relative.parts[0] != "locks":
                yield str(relative)

    return set(walk())


class RecordingProgress:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.totals: list[int | None] = []
        self.counts: list[int] = []
        self.notes: list[str] = []
        self.finished = 0

    def start(self, label: str, total: int | None) -> None:
        self.labels.append(label)
        self.totals.append(total)
        self.counts.append(0)

    def advance(self, count: int) -> None:
        self.counts[-1] += count

    def finish(self) -> None:
        self.finished += 1

    def note(self, message: str) -> None:
        self.notes.append(message)
