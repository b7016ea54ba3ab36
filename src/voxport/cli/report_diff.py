"""``voxport report diff``: what changed from one report to another, and whether it is worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.outputs import check_folder
from voxport.cli.terminal import write_stdout
from voxport.errors import UsageError
from voxport.formats import json_line
from voxport.writing import write_atomically

if TYPE_CHECKING:
    import argparse

__all__ = ["add_diff", "run_diff"]

DESCRIPTION = """\
What changed from one report to another of the same recordings (a new driver or CANN, another dtype):
conditions, accuracy, words, speed beyond the noise, error rates; and whether it is better, the same
or worse, by rules that are printed with it. A and B are reports' folders, or what --zip made of them."""

EPILOG = """\
exit codes:
  0  better, or the same
  1  worse
  2  wrong usage, or two reports that can't be compared"""

LANGUAGES = ("en", "zh")


def add_diff(parser: Any) -> None:
    """Add ``diff`` to ``voxport report``."""
    diff = parser.add_alternative(
        "diff", usage="voxport report diff A B [options]", description=DESCRIPTION, epilog=EPILOG, add_help=False
    )
    diff.set_defaults(func=run_diff)
    diff.add_argument("first", metavar="A", help="a report's folder or zip")
    diff.add_argument("second", metavar="B", help="another one, made later or elsewhere")
    diff.add_argument("--json", action="store_true", help="everything, as one JSON object")
    diff.add_argument("-o", "--output", metavar="FILE.md", help="write it as Markdown too")
    diff.add_argument("--language", choices=LANGUAGES, default="en", metavar="L", help="of the text: en, zh")
    diff.add_argument("-h", "--help", action="help", help="show this help")


def run_diff(arguments: argparse.Namespace) -> int:
    """Compare two reports; returns the exit code."""
    output = None if arguments.output is None else _output(arguments.output)
    from voxport.report.diff import compare_reports, document_of, markdown_of, text_of
    from voxport.report.stored import read_report

    difference = compare_reports(read_report(Path(arguments.first)), read_report(Path(arguments.second)))
    document = document_of(difference, arguments.language)
    if output is not None:
        write_atomically(output, markdown_of(document))
    write_stdout(json_line(difference.to_dict()) if arguments.json else text_of(document))
    return 1 if difference.judgement.word == "worse" else 0


def _output(name: str) -> Path:
    path = Path(name)
    if path.suffix != ".md" or path.is_dir():
        raise UsageError(f"-o {name!r}: a Markdown file is written", hint="its name ends in .md")
    check_folder(path.parent, hint=None)
    return path
