"""Shared by the tests of the simulated NPU: it is activated in this process, or they are skipped."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from voxport import testing
from voxport.errors import SetupError


def activate_or_skip() -> None:
    """Two devices. Without torch_npu: transformers, the yardstick of other tests, must not take its NPU branches."""
    try:
        testing.activate(2, torch_npu=False)
    except SetupError as error:
        if error.code != "no_compiler":
            raise
        pytest.skip(f"no C++ compiler: {error.message}")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    inherited = {name: value for name, value in os.environ.items() if name != testing.ENVIRONMENT}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
