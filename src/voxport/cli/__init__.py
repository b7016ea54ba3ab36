"""The command line: `main`, its exit codes, and the list of subcommands.

A subcommand is one module here with ``add_parser(subparsers)``, which sets ``func`` to a function of the parsed
arguments that returns the exit code, and one name in `COMMANDS`. Nothing heavy is imported before `func` runs, so that
``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from voxport.cli.parser import CommandParser
from voxport.cli.signals import EXIT_INTERRUPTED, terminable
from voxport.cli.terminal import abandon_stdout, flush_stdout, note, prepare_streams, show_error
from voxport.errors import VoxportError
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = ("transcribe", "verify", "bench", "score", "report", "models", "run", "doctor")
"""Modules of this package that are subcommands, in the order in which help lists them."""


EXIT_BROKEN_PIPE = 141  # as a shell reports a program that wrote to a closed pipe

DESCRIPTION = """\
Run open speech-recognition models on the accelerator you have,
and prove that they say what the reference says."""

EPILOG = """\
examples:
  voxport transcribe talk.mp3                     the words, on standard output
  voxport transcribe -f srt talk.mp3 > talk.srt   subtitles
  voxport transcribe recordings/ -f all -o out/   a folder, every format
  voxport doctor                                  what is here, what is wrong, what mends it

exit codes:
  0  done
  1  some inputs failed, or results can't be written; the rest is done. doctor: something is wrong.
     score: a rate is above the limit, or not all clips are scored
  2  wrong usage, or the machine or the model is not ready
  130  interrupted; what was done is kept

Results go to standard output, everything else to standard error."""


def build_parser() -> CommandParser:
    """The parser with all subcommands."""
    parser = CommandParser(
        prog="voxport", usage="voxport COMMAND ...", description=DESCRIPTION, epilog=EPILOG, add_help=False
    )
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this help; after a command, that command's")
    options.add_argument("--version", action="version", version=f"voxport {__version__}", help="show the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name in COMMANDS:
        import_module(f"voxport.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: without the program's name; None = those of the process.
    """
    prepare_streams()
    parser = build_parser()
    try:
        with terminable():
            code = _dispatch(parser, sys.argv[1:] if arguments is None else list(arguments))
            flush_stdout()
            return code
    except VoxportError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:
        abandon_stdout()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        note("interrupted", "stopped on request")
        return EXIT_INTERRUPTED


def _dispatch(parser: CommandParser, arguments: Sequence[str]) -> int:
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as answered:  # --help and --version
        return int(answered.code or 0)
    if parsed.command is None:
        parser.print_help()
        return 0
    code: int = parsed.func(parsed)
    return code
