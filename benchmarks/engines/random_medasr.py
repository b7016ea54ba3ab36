"""Write a MedASR folder of the true shape with random weights.

    python benchmarks/engines/random_medasr.py FOLDER

Runs in the environment of voxport, so that the benchmark itself loads no torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a MedASR folder with random weights.")
    parser.add_argument("folder", type=Path, help="an existing, empty one")
    folder = parser.parse_args().folder

    from voxport.models.lasr.random_weights import write_random_folder

    write_random_folder(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
