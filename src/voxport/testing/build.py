"""Compiles simulator.cpp with the host's C++ compiler, once for each torch, and keeps the result.

It lies in ``VOXPORT_HOME/simulator/DIGEST/simulator.so``; the digest is of the source, torch's version and the command.
One call of the compiler with what torch's own extensions are compiled with: no ninja, no setuptools, and no Python
headers, since Python talks to the result by ctypes. It needs a C++20 compiler (g++ 11, clang 14 or later) and takes
some 20 seconds.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.errors import SetupError

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).with_name("simulator.cpp")

_COMPILERS = ("c++", "g++", "clang++")
_INSTALL = "install one (Debian, Ubuntu: apt install g++; Fedora, openEuler: dnf install gcc-c++), or set CXX"


def folder() -> Path:
    """Where compiled simulators are kept: in VOXPORT_HOME, whose default is that of `voxport models`."""
    value = os.environ.get("VOXPORT_HOME")
    if value:
        return Path(value).expanduser().absolute() / "simulator"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "voxport/simulator"


def library(torch: ModuleType) -> Path:
    """The compiled simulator for this torch; compiles it if need be, and says so on stderr.

    Raises:
        SetupError: codes ``no_compiler``, ``compilation_failed``, ``home_not_writable``.
    """
    from filelock import FileLock

    arguments = _arguments(torch)
    target = folder() / _digest(torch, arguments) / "simulator.so"
    if target.is_file():
        return target
    compiler = find_compiler()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / "lock"):
            if not target.is_file():  # else another process was faster
                _compile([*compiler, *arguments], target)
    except OSError as error:
        raise SetupError(
            f"the simulated NPU can't be compiled into {target.parent}: {error.strerror or error}",
            hint="set VOXPORT_HOME to a folder that can be written",
            code="home_not_writable",
        ) from error
    return target


def find_compiler() -> list[str]:
    """The command of the C++ compiler: CXX, else the first of c++, g++ and clang++ in PATH.

    Raises:
        SetupError: there is none (code ``no_compiler``).
    """
    given = shlex.split(os.environ.get("CXX", ""))
    for command in [given] if given else [[name] for name in _COMPILERS]:
        if shutil.which(command[0]):
            return command
    searched = given[0] if given else ", ".join(_COMPILERS)
    raise SetupError(
        f"the simulated NPU is compiled on first use, and there is no C++ compiler ({searched})",
        hint=_INSTALL,
        code="no_compiler",
    )


def _arguments(torch: ModuleType) -> list[str]:
    """All but the compiler's name, input and output."""
    root = Path(torch.__file__ or "").parent
    abi = int(torch.compiled_with_cxx11_abi())
    return [
        *("-std=c++20", "-O1", "-fPIC", "-shared", "-w", f"-D_GLIBCXX_USE_CXX11_ABI={abi}"),
        *("-isystem", str(root / "include"), "-isystem", str(root / "include/torch/csrc/api/include")),
        *(f"-L{root / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"),
    ]


def _digest(torch: ModuleType, arguments: list[str]) -> str:
    facts = [torch.__version__, torch.version.git_version, platform.machine(), platform.libc_ver()[1], *arguments]
    return hashlib.sha256(SOURCE.read_bytes() + "\n".join(facts).encode()).hexdigest()[:16]


def _compile(command: list[str], target: Path) -> None:
    sys.stderr.write(f"voxport: compiling the simulated NPU into {target.parent} (once, about half a minute) ...\n")
    sys.stderr.flush()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=target.parent) as scratch:
        result = Path(scratch) / target.name
        # The source before the libraries: a linker that drops what nobody has asked for yet must not drop them.
        full = [command[0], str(SOURCE), *command[1:], "-o", str(result)]
        done = subprocess.run(full, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            log = target.parent / "compiler.log"
            log.write_text(shlex.join(full) + "\n" + done.stdout + done.stderr, encoding="utf-8")
            raise SetupError(
                f"the simulated NPU can't be compiled: {_first_error(done.stderr)}",
                hint=f"it needs a C++20 compiler and a torch from 2.9 on (made with 2.13); all of it is in {log}",
                code="compilation_failed",
            )
        result.replace(target)
    sys.stderr.write(f"voxport: compiled in {time.monotonic() - began:.0f} s\n")


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines()[-1:]
    return lines[0].strip()[:300] if lines else "the compiler said nothing"
