"""Measure how fast the model is: latency, real-time factor, clips a second, memory.

python benchmark.py --model_path PATH --audio FILE --device npu --warmup 3 --iterations 10
"""

import argparse
import sys

from voxport.cli import main

MODEL, DEVICE = "medasr-random", "npu:0"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model_path", default=MODEL, help="name or folder")
parser.add_argument("--audio", required=True)
parser.add_argument("--device", default=DEVICE, help="auto, cpu, cuda[:N], npu[:N]")
parser.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")
parser.add_argument("--warmup", default="3")
parser.add_argument("--iterations", default="10")
arguments = parser.parse_args()

options = [
    "--model", arguments.model_path,
    "--device", arguments.device,
    "--dtype", arguments.dtype,
    "--warmup", arguments.warmup,
    "--iterations", arguments.iterations,
]  # fmt: skip
sys.exit(main(["bench", arguments.audio, *options]))
