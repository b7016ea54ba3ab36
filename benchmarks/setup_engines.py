"""Build the engines that voxport is compared with: one virtual environment each, versions pinned.

    python benchmarks/setup_engines.py                      # all of them into .bench/
    python benchmarks/setup_engines.py faster_whisper       # one of them

Each engine gets an environment of its own, because CTranslate2 starts slower beside an installed torch. Packages come
from the index that pip is configured for. On Linux, PyPI's torch brings CUDA libraries along; to save the space, point
pip at an index that has a CPU build (``PIP_INDEX_URL`` or ``PIP_EXTRA_INDEX_URL``) and pass its version: ``--torch``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_ROOT = REPOSITORY / ".bench"

TORCH = "torch==2.13.0"
AUDIO = ["numpy==2.4.6", "soundfile==0.14.0", "soxr==1.1.0"]

STEPS: dict[str, list[list[str]]] = {
    "faster_whisper": [
        [
            "faster-whisper==1.2.1",
            "ctranslate2==4.8.5",
            "onnxruntime==1.31.1",
            "av==18.1.0",
            "safetensors==0.8.0",
            *AUDIO,
        ]
    ],
    # openai-whisper's sdist needs pkg_resources to build, which setuptools 81 dropped; and its own requirement of torch
    # has no upper bound, so that it is installed without its dependencies, after them.
    "openai_whisper": [
        ["TORCH", "safetensors==0.8.0", *AUDIO],
        ["tiktoken==0.14.0", "numba==0.68.1", "more-itertools==11.2.1", "tqdm==4.70.1", "setuptools==80.10.2", "wheel"],
        ["--no-build-isolation", "--no-deps", "openai-whisper==20250625"],
    ],
    "transformers": [["TORCH", *AUDIO], ["transformers==5.23.0"]],
}
"""Engine -> the arguments of its `pip install` calls, in order. "TORCH" stands for the value of ``--torch``."""


def build(engine: str, root: Path, torch: str) -> Path:
    """Make one environment; returns its interpreter.

    Raises:
        subprocess.CalledProcessError: pip failed; its own message is on stderr.
    """
    folder = root / engine
    python = folder / "bin" / "python"
    if not python.exists():
        venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    for step in STEPS[engine]:
        arguments = [torch if argument == "TORCH" else argument for argument in step]
        print(f"{engine}: pip install {' '.join(arguments)}", file=sys.stderr)
        command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
        # A looser requirement of a later step must not replace torch by another build.
        if torch not in arguments and any("TORCH" in other for other in STEPS[engine]):
            constraint = folder / "constraint.txt"
            constraint.write_text(torch + "\n")
            command += ["--constraint", str(constraint)]
        subprocess.run(command, check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the environments of the engines to compare with.")
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(STEPS)}; default: all")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="folder of the environments (default: .bench)")
    parser.add_argument("--torch", default=TORCH, help=f"torch requirement (default: {TORCH})")
    arguments = parser.parse_args()
    unknown = [engine for engine in arguments.engines if engine not in STEPS]
    if unknown:
        parser.error(f"unknown engine {unknown[0]!r}; known: {', '.join(STEPS)}")
    for engine in arguments.engines or STEPS:
        print(build(engine, arguments.root.resolve(), arguments.torch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
