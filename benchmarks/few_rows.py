"""A few rows times a matrix: `F.linear` beside the same product with the matrix on the left.

    python benchmarks/few_rows.py [--threads 2]

Why `voxport.models.whisper.net.few_rows_linear` exists. The matrices are read from memory, not from a cache: as many
of them as make 160 MB take turns, as a decoder step's do. Medians of seven turns, milliseconds a product.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from voxport.devices import get_device
from voxport.models.whisper import net

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES = {
    "tiny q, k and v": (1152, 384),
    "tiny fc1": (1536, 384),
    "tiny fc2": (384, 1536),
    "tiny vocabulary": (51864, 384),
    "base fc1": (2048, 512),
    "base vocabulary": (51865, 512),
    "medium fc1": (4096, 1024),
    "medium fc2": (1024, 4096),
}
ROWS = (1, 2, 4, 8, 12)
BYTES = 160_000_000


def measure(product: Callable[[Tensor, Tensor], Tensor], x: Tensor, matrices: list[Tensor]) -> float:
    """Median milliseconds of one product."""
    times = []
    for _ in range(8):
        started = time.perf_counter()
        for matrix in matrices:
            product(x, matrix)
        times.append((time.perf_counter() - started) / len(matrices))
    return statistics.median(times[1:]) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    get_device("cpu").set_threads(parser.parse_args().threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'matrix':<18}{'rows':>5}{'F.linear':>12}{'few_rows_linear':>17}{'ratio':>7}")
    with torch.inference_mode():
        for name, (height, width) in SHAPES.items():
            matrices = [torch.randn(height, width) for _ in range(max(2, BYTES // (4 * height * width)))]
            for rows in ROWS:
                x = torch.randn(rows, width)
                plain = measure(F.linear, x, matrices)
                other = measure(net.few_rows_linear, x, matrices)
                print(f"{name:<18}{rows:>5}{plain:>12.3f}{other:>17.3f}{plain / other:>7.2f}")


if __name__ == "__main__":
    main()
