"""Whether a report's files are as they were written."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.report.stored import open_report
from voxport.report.sums import SUMS, read_sums

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Findings", "check_files"]


@dataclass(frozen=True)
class Findings:
    """What the files are beside their sums.

    Attributes:
        sha256: of `SUMS` itself: who kept it elsewhere sees whether that was changed too.
        files: how many were compared.
        changed, missing: of them.
        other: files that are no part of the report.
    """

    sha256: str
    files: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """All files of the report are there, and as they were."""
        return not self.changed and not self.missing

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, "kind": "voxport report check", "ok": self.ok, **asdict(self)}


def check_files(path: Path) -> Findings:
    """Compare a report's files, in its folder or zip, with the sums that were written with them.

    Raises:
        UsageError: it is no report, or one without sums.
    """
    with open_report(path) as report:
        try:
            content = report.read(SUMS)
        except FileNotFoundError:
            raise UsageError(
                f"{str(path)!r} has no {SUMS}: nothing to compare with", hint="reports of this voxport have it"
            ) from None
        sums = read_sums(content)
        names = report.names()
        there = set(names)
        missing = tuple(name for name in sums if name not in there)
        changed = tuple(name for name, digest in sums.items() if name in there and report.sha256(name) != digest)
        other = tuple(name for name in names if name not in sums and name != SUMS)
    return Findings(hashlib.sha256(content).hexdigest(), len(sums), changed, missing, other)
