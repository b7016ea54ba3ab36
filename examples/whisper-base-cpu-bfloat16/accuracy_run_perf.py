"""Measure how fast the model is on a device, beside the published implementation on the CPU, in turns in one run.

python accuracy_run_perf.py AUDIO [--dtype float16]
"""

import argparse
import sys

from voxport.cli import main

MODEL, DEVICE, REFERENCE = "whisper-base", "cpu", "transformers/cpu:float32"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("audio")
parser.add_argument("--model_path", default=MODEL, help="name or folder")
parser.add_argument("--device", default=DEVICE, help="auto, cpu, cuda[:N], npu[:N]")
parser.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")
parser.add_argument("--warmup", default="3")
parser.add_argument("--iterations", default="20")
arguments = parser.parse_args()

options = [
    "--model", arguments.model_path,
    "--against", REFERENCE,
    "--side", f"{arguments.device}:{arguments.dtype}",
    "--warmup", arguments.warmup,
    "--iterations", arguments.iterations,
]  # fmt: skip
sys.exit(main(["bench", arguments.audio, *options]))
