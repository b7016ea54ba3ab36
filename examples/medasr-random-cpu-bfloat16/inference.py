"""Transcribe a recording.

    python inference.py --model_path PATH --audio FILE --device npu

A device that is not there is an error; `--device auto` says which one it chose.
"""

import argparse
import sys

from voxport.cli import main

MODEL, DEVICE = "medasr-random", "cpu"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model_path", default=MODEL, help="name or folder")
parser.add_argument("--audio", required=True)
parser.add_argument("--device", default=DEVICE, help="auto, cpu, cuda[:N], npu[:N]")
parser.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")
arguments = parser.parse_args()

options = [
    "--model", arguments.model_path,
    "--device", arguments.device,
    "--dtype", arguments.dtype,
]  # fmt: skip
sys.exit(main(["transcribe", arguments.audio, *options]))
