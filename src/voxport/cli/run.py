"""``voxport run``: somebody's Python script, where "cuda" means the NPU or on the simulated NPU."""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.terminal import note
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Run a Python script as `python SCRIPT` does: as __main__, with its own arguments and its own exit code.
With --cuda-as-npu code written for CUDA runs on an NPU unchanged: torch.cuda, .cuda(), .to("cuda:0"),
device="cuda", events, memory statistics, autocast. With VOXPORT_SIMULATE=npu:2 the NPUs are simulated on
the CPU, with or without that option."""

EPILOG = """\
examples:
  voxport run --cuda-as-npu train.py --epochs 3        --epochs is train.py's
  voxport run --cuda-as-npu -m package.module ARGS     as `python -m package.module ARGS`
  VOXPORT_SIMULATE=npu:2 voxport run script.py         a script for NPUs where there is none

Options of voxport stand before SCRIPT; everything behind it is the script's. What --cuda-as-npu does not
cover (CUDA kernels, torch.compile, CUDA graphs, several processes) is in docs/guides/cuda-as-npu.md."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "run",
        help='a Python script, with "cuda" meaning the NPU',
        usage="voxport run [options] SCRIPT [ARGS...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument("script", metavar="SCRIPT", help="a Python file, a folder or zip with __main__.py")
    rest = parser.add_argument("arguments", metavar="ARGS...", nargs=argparse.REMAINDER, help="the script's own")
    rest.required = False  # so that an error names SCRIPT only
    options = parser.add_argument_group("options")
    options.add_argument("--cuda-as-npu", action="store_true", help='"cuda" means the NPU while the script runs')
    options.add_argument("-m", "--module", action="store_true", help="SCRIPT is a module's name, as for `python -m`")
    options.add_argument("-h", "--help", action="help", help="show this help")


def run(arguments: argparse.Namespace) -> int:
    """Run the script; returns its exit code."""
    if not arguments.module and not Path(arguments.script).exists():
        hint = f"`voxport run -m {arguments.script}` runs a module" if "/" not in arguments.script else None
        raise UsageError(f"there is no script {arguments.script!r}", hint=hint)
    with ExitStack() as stack:
        if arguments.cuda_as_npu:
            from voxport.compat import cuda_as_npu

            stack.enter_context(cuda_as_npu())
        else:
            _load_npu()
        if _simulation():
            note("simulated", f"{_simulation()} on the CPU: shows that a script runs, not an NPU's speed or precision")
        return _run(arguments.script, arguments.arguments, module=arguments.module)


def _simulation() -> str | None:
    from voxport.devices.npu import SIMULATE

    return os.environ.get(SIMULATE) or None


def _load_npu() -> None:
    """torch, and torch.npu where there is one: as a plain `import torch` does, but without failing where it can't."""
    from voxport.devices import get_device
    from voxport.devices.host import import_torch

    if _simulation():
        get_device("npu")
        return
    import_torch()
    with suppress(ImportError, RuntimeError, OSError, AttributeError):
        importlib.import_module("torch_npu")


def _run(script: str, arguments: Sequence[str], *, module: bool) -> int:
    threads = set(threading.enumerate())
    argv, path = sys.argv, sys.path
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path = [_folder(script, module=module), *path[1:]]
    try:
        code = _outcome(script, module=module)
        # The interpreter would wait for them too, but only when "cuda" means nothing any more.
        while started := _started(threads):
            started[0].join()
        return code
    finally:
        sys.argv, sys.path = argv, path


def _folder(script: str, *, module: bool) -> str:
    """The first of sys.path, as Python sets it."""
    if module:
        return str(Path.cwd())
    path = Path(script).resolve()
    return str(path.parent if path.is_file() else path)


def _outcome(script: str, *, module: bool) -> int:
    """The exit code that Python would end with."""
    try:
        if module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") != "__main__":
            trace = trace.tb_next  # voxport's and runpy's own frames
        if trace is None and isinstance(error, ImportError):
            raise UsageError(f"{script!r} can't be run: {error}", hint="see `voxport run --help`") from error
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


def _started(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that still run and that Python waits for at its end."""
    return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
