"""Start an engine's worker in its own environment and talk to it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from setup_engines import DEFAULT_ROOT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import TracebackType

ENGINES = Path(__file__).resolve().parent / "engines"
sys.path.append(str(ENGINES))
from protocol import BEAM, SEED  # noqa: E402 - the workers' own module, found there

__all__ = ["BEAM", "ENGINES", "NAMES", "SEED", "EngineError", "Setting", "Worker"]
__all__ += ["add_environment_options", "interpreters", "thread_environment", "told"]
NAMES = ("voxport", "faster_whisper", "openai_whisper", "transformers")
LOOK_SECONDS = 2.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class EngineError(Exception):
    """A worker could not do what it was asked for."""


def told(main: Callable[[], int]) -> int:
    """Run a script's `main`; an engine's error becomes a message and exit status 2 (1: a requirement is missed)."""
    try:
        return main()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


@dataclass(frozen=True)
class Setting:
    """One column of a table: an engine and how it runs.

    Attributes:
        label: of the column.
        engine: of `NAMES`.
        mode: of engines/protocol.py.
        dtype: as the engine spells it.
        counts: True where the requirement compares with it, False for information.
        decoding: of engines/protocol.py.
    """

    label: str
    engine: str
    mode: str
    dtype: str = "float32"
    counts: bool = True
    decoding: str = "greedy"


def add_environment_options(parser: argparse.ArgumentParser) -> None:
    """``--environments`` and ``--python``, which every benchmark takes."""
    parser.add_argument(
        "--environments", type=Path, default=DEFAULT_ROOT, help="where setup_engines.py built the engines"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="ENGINE=FILE",
        help="interpreter of one engine (voxport's default: the one that runs this)",
    )


def interpreters(environments: Path, overrides: list[str]) -> dict[str, Path]:
    """Engine -> interpreter; engines that are not there are left out.

    Raises:
        SystemExit: an override that is not ENGINE=FILE of a known engine and an existing file.
    """
    found = {"voxport": Path(sys.executable)}
    for engine in NAMES[1:]:
        python = environments.resolve() / engine / "bin" / "python"
        if python.exists():
            found[engine] = python
    for override in overrides:
        engine, _, file = override.partition("=")
        if engine not in NAMES or not Path(file).exists():
            raise SystemExit(f"--python {override!r}: want ENGINE=FILE, ENGINE one of {', '.join(NAMES)}")
        found[engine] = Path(file).absolute()
    return found


def thread_environment(threads: int) -> dict[str, str]:
    """This process's environment with every library's thread count set, offline, and without Python's own noise."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **offline}


def processor_seconds(process: int) -> float:
    """Of all threads of a process so far; 0 if it is gone or there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A running worker process."""

    def __init__(self, python: Path, setting: Setting, threads: int, log: Path | None = None) -> None:
        self.setting = setting
        self._threads = threads
        self._log = log.open("ab") if log else None
        self._process = subprocess.Popen(
            [str(python), str(ENGINES / f"{setting.engine}_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log or subprocess.DEVNULL,
            env=thread_environment(threads),
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def request(self, limit: float | None = None, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer, for at most `limit` processor seconds of the worker's.

        Raises:
            EngineError: the worker answered with an error, died, or was ended because it took more than the limit.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            if limit is not None:
                self._wait(limit)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass  # it died: told below
        if not line:
            code = self._process.wait()
            raise EngineError(f"{self.setting.label}: the worker ended with exit status {code} (see --log)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self.setting.label}: {answer['error']}")
        return answer

    def _wait(self, limit: float) -> None:
        """Until there is an answer."""
        assert self._process.stdout is not None
        begin = processor_seconds(self._process.pid)
        while not select.select([self._process.stdout.fileno()], [], [], LOOK_SECONDS)[0]:
            if processor_seconds(self._process.pid) - begin > limit:
                self._process.kill()
                self._process.wait()
                raise EngineError(f"{self.setting.label}: ended after {limit:g} processor seconds")

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def load(self, model: Path) -> dict[str, Any]:
        """Load a model; checks that the engine took the thread count.

        Raises:
            EngineError: see `request`; or the engine uses another number of threads than asked for.
        """
        answer = self.request(op="load", model=str(model), dtype=self.setting.dtype, threads=self._threads)
        if answer["threads"] != self._threads:
            raise EngineError(f"{self.setting.label}: asked for {self._threads} threads, got {answer['threads']}")
        return answer

    def run(self, file: Path, language: str, limit: float | None = None) -> dict[str, Any]:
        """One recording to text, in the setting's mode and decoding."""
        setting = self.setting
        mode = {"mode": setting.mode, "decoding": setting.decoding}
        return self.request(limit, op="run", file=str(file), language=language, **mode)

    def watch(self, file: Path, language: str) -> dict[str, Any]:
        """One file at the defaults: its segments as they came, and the memory meanwhile."""
        return self.request(op="watch", file=str(file), language=language, decoding=self.setting.decoding)

    def words(self, file: Path, language: str) -> dict[str, Any]:
        """The words of one recording with their times, in the setting's mode."""
        return self.request(op="words", file=str(file), language=language, mode=self.setting.mode)

    def logits(self, file: Path, output: Path) -> None:
        """Write the logits of one recording, as one window, to `output` (.npy)."""
        self.request(op="logits", file=str(file), output=str(output))

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()  # the worker's loop ends with its input
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._log is not None:
            self._log.close()
