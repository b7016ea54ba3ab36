"""Compare the model on a device with the published implementation on the CPU: words, logits, every stage.

    python accuracy.py --model_path PATH --audio FILE

Exit code 0: it passes. 1: it fails. 2: it can't be compared.
"""

import argparse
import sys

from voxport.cli import main

MODEL, DEVICE, POLICY = "medasr-random", "cpu", "random-weights.toml"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model_path", default=MODEL, help="name or folder")
parser.add_argument("--audio", required=True)
parser.add_argument("--device", default=DEVICE, help="auto, cpu, cuda[:N], npu[:N]")
parser.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")
parser.add_argument("--policy", default=POLICY, help="what it must pass: voxport verify --explain")
arguments = parser.parse_args()

options = [
    "--model", arguments.model_path,
    "--policy", arguments.policy,
    "--candidate", f"{arguments.device}:{arguments.dtype}",
]  # fmt: skip
sys.exit(main(["verify", arguments.audio, *options]))
