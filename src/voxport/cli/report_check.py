"""``voxport report check``: whether a report's files are as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.terminal import write_stdout
from voxport.formats import json_line

if TYPE_CHECKING:
    import argparse

__all__ = ["add_check", "run_check"]

DESCRIPTION = """\
Compare a report's files with the sums that were written with them (results/files.json). The sum of
that file, which `voxport report` printed, stands for the whole report: keep it elsewhere."""

EPILOG = """\
exit codes:
  0  every file of the report is as it was written; files that are no part of it are named
  1  some were changed or are missing
  2  it is no report, or one without sums"""


def add_check(parser: Any) -> None:
    """Add ``check`` to ``voxport report``."""
    check = parser.add_alternative(
        "check", usage="voxport report check DIR|ZIP [options]", description=DESCRIPTION, epilog=EPILOG, add_help=False
    )
    check.set_defaults(func=run_check)
    check.add_argument("report", metavar="DIR|ZIP", help="a report's folder, or what --zip made of it")
    check.add_argument("--json", action="store_true", help="as one JSON object")
    check.add_argument("-h", "--help", action="help", help="show this help")


def run_check(arguments: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    from voxport.report.sums import SUMS
    from voxport.report.tampering import check_files

    found = check_files(Path(arguments.report))
    if arguments.json:
        write_stdout(json_line(found.to_dict()))
        return 0 if found.ok else 1
    lines = [f"changed: {name}" for name in found.changed]
    lines += [f"missing: {name}" for name in found.missing]
    lines += [f"no part of the report: {name}" for name in found.other]
    bad = len(found.changed) + len(found.missing)
    lines.append(f"{found.files - bad} of {found.files} files are as they were written")
    lines.append(f"sha256 of {SUMS}: {found.sha256}")
    write_stdout("\n".join(lines) + "\n")
    return 0 if found.ok else 1
