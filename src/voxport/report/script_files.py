"""The scripts that people expect beside such a report, written out for its model: thin calls of voxport's commands."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxport.report.measurements import Measurements

__all__ = ["script_files"]

FAMILIES = {"whisper": "whisper", "lasr_ctc": "ctc"}
"""Model type -> the folder of its scripts."""


def script_files(measured: Measurements) -> dict[str, str]:
    """File name -> text."""
    summary = measured.summary
    side = measured.bench["sides"][0]
    values = {
        "MODEL": summary["model"]["name"],
        "DEVICE": side["device"],
        "POLICY": summary["options"]["policy"],
        "REFERENCE": summary["reference"],
    }
    folder = resources.files("voxport.report") / "scripts" / FAMILIES[summary["model"]["family"]]
    found = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".py"):
            text = file.read_text(encoding="utf-8")
            for name, value in values.items():
                text = text.replace(f'"{name}"', _literal(value))
            found[file.name] = text
    return found


def _literal(value: str) -> str:
    """A Python string in double quotes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
