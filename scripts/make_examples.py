"""Make the reports under examples/ again, each by the command that it names: two families, on the CPU and on a
simulated NPU, and on a CUDA GPU where there is one.

The recording is the one of `make demo` (J. F. Kennedy, 1961, public domain), whole and cut at its pauses. MedASR's
genuine weights are gated, so its reports are about random ones, and say so in their first lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from voxport.audio import load_audio
from voxport.errors import VoxportError
from voxport.models.hub import fetch_member, import_random, resolve, store
from voxport.models.hub.carriers import JFK_RECORDING
from voxport.models.hub.progress import terminal_progress
from voxport.report import Measurements, make_report

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RANDOM_MEDASR = "medasr-random"
SIMULATE = "npu:1"

EFFORT = ("--warmup", "1", "--iterations", "5", "--points", "2,10,30")
"""Less than by default, so that all of it takes minutes on a laptop's CPU."""

PARTS = {
    "jfk-1.wav": (0.0, 2.9, "And so, my fellow Americans,"),
    "jfk-2.wav": (2.9, 7.95, "ask not what your country can do for you,"),
    "jfk-3.wav": (7.95, 11.0, "ask what you can do for your country."),
    "jfk.wav": (
        0.0,
        11.0,
        "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    ),
}
"""File -> from where to where, in seconds, and what is said."""


@dataclass(frozen=True)
class Example:
    """One report: its folder, what is reported on, and what this needs."""

    folder: str
    model: str
    candidate: str
    options: tuple[str, ...]
    simulated: bool = False
    needs_cuda: bool = False


# Nothing random weights say is worth comparing: their numbers are.
_RANDOM = ("--policy", "examples/random-weights.toml")
_WORDS = ("--manifest", "{folder}/manifest.jsonl", "--language", "en")
ALL = (
    Example("whisper-base-cpu-bfloat16", "whisper-base", "cpu:bfloat16", _WORDS),
    Example("whisper-tiny.en-npu-float16-simulated", "whisper-tiny.en", "npu:float16", _WORDS, simulated=True),
    Example("medasr-random-cpu-bfloat16", RANDOM_MEDASR, "cpu:bfloat16", _RANDOM),
    Example("medasr-random-npu-float16-simulated", RANDOM_MEDASR, "npu:float16", _RANDOM, simulated=True),
    Example("whisper-base-cuda-float16", "whisper-base", "cuda:float16", _WORDS, needs_cuda=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="only these of examples/ (default: all)")
    parser.add_argument(
        "--again",
        action="store_true",
        help="measure nothing: write the reports that are there again, from their results",
    )
    arguments = parser.parse_args()
    wanted = arguments.folders
    unknown = set(wanted) - {one.folder for one in ALL}
    if unknown:
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(one.folder for one in ALL)}")
    try:
        if arguments.again:
            for folder in wanted or [one.folder for one in ALL if (EXAMPLES / one.folder).is_dir()]:
                make_report(Measurements.read(EXAMPLES / folder / "results"), EXAMPLES / folder)
            return 0
        with tempfile.TemporaryDirectory() as place:
            recordings = cut_recordings(Path(place))
            for one in ALL:
                if wanted and one.folder not in wanted:
                    continue
                if one.needs_cuda and not cuda_is_here():
                    print(f"{one.folder}: left out, there is no CUDA GPU here", file=sys.stderr)
                    continue
                fetch_model(one.model)
                make(one, recordings)
    except VoxportError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def cut_recordings(folder: Path) -> list[str]:
    """The parts as files in a folder, beside a manifest of what is said in them."""
    audio = load_audio(fetch_member(JFK_RECORDING, progress=terminal_progress()))
    lines = []
    for name, (start, end, text) in PARTS.items():
        samples = audio.samples[round(start * audio.sample_rate) : round(end * audio.sample_rate)]
        write_wav(folder / name, samples, audio.sample_rate)
        lines.append(json.dumps({"audio_filepath": name, "text": text, "lang": "en"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(folder / name) for name in PARTS]


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=sample_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.round(samples * 32767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
        )
        frame.sample_rate = sample_rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def fetch_model(name: str) -> None:
    if name != RANDOM_MEDASR:
        resolve(name, progress=terminal_progress())
    elif store.find(name) is None:
        import_random("medasr", name, progress=terminal_progress())


def cuda_is_here() -> bool:
    import torch

    return torch.cuda.is_available()


def make(one: Example, recordings: list[str]) -> None:
    """Run the command; a candidate that fails its policy is no failure here, but a report that says so."""
    print(f"{one.folder} ...", file=sys.stderr)
    environment = {name: value for name, value in os.environ.items() if name != "VOXPORT_SIMULATE"}
    if one.simulated:
        environment["VOXPORT_SIMULATE"] = SIMULATE
    place = str(Path(recordings[0]).parent)
    options = [*EFFORT, *(option.format(folder=place) for option in one.options)]
    command = voxport("report", "--model", one.model, "--candidate", one.candidate, *options, *recordings, "-q")
    done = subprocess.run(
        [*command, "-o", str(EXAMPLES / one.folder)], env=environment, cwd=EXAMPLES.parent, check=False
    )
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, command)


def voxport(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "voxport", *arguments]


if __name__ == "__main__":
    sys.exit(main())
