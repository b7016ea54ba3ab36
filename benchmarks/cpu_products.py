"""Matrix products on this CPU: `voxport.models.cpu_products` beside the plain torch calls.

    python benchmarks/cpu_products.py [--threads 2]

Before each product 100 MB are read, so that the matrix comes from memory and not from a cache, as in a decoder step.
Medians of 25 products of each kind, taken in turn; microseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from voxport.devices import get_device
from voxport.models.cpu_products import StepLinear, linear, one_query_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    Product = Callable[[], object]

WINDOW = 1500
ENCODER = {"tiny fc1, GELU": (1536, 384), "base fc1, GELU": (2048, 512), "base q, k and v": (1536, 512)}
STEP = {
    "tiny fc1": (1536, 384),
    "tiny vocabulary": (51864, 384),
    "base q": (512, 512),
    "base fc1": (2048, 512),
    "base fc2": (512, 2048),
    "base vocabulary": (51865, 512),
    "medium fc1": (4096, 1024),
}
HEADS = {"tiny attention to a window": 6, "base attention to a window": 8}
ROWS = (1, 2, 4, 8)
TURNS = 25


def compare(name: str, rows: int, plain: Product, other: Product) -> None:
    """Print both medians and their ratio."""
    flush = torch.zeros(25_000_000)
    times: tuple[list[float], list[float]] = ([], [])
    plain()
    other()
    for _ in range(TURNS):
        for product, taken in zip((plain, other), times, strict=True):
            flush.sum()
            started = time.perf_counter()
            product()
            taken.append(time.perf_counter() - started)
    first, second = (1e6 * statistics.median(taken) for taken in times)
    print(f"{name:<28}{rows:>6}{first:>14.0f}{second:>14.0f}{first / second:>8.2f}")


def encoder_products(height: int, width: int, *, gelu: bool) -> tuple[Product, Product]:
    x, weight, bias = torch.randn(1, WINDOW, width), torch.randn(height, width), torch.randn(height)
    if gelu:
        return lambda: F.gelu(F.linear(x, weight, bias)), lambda: linear(x, weight, bias, activation="gelu")
    return lambda: F.linear(x, weight, bias), lambda: linear(x, weight, bias)


def step_products(height: int, width: int, rows: int) -> tuple[Product, Product]:
    x, weight = torch.randn(rows, 1, width), torch.randn(height, width)
    layer = StepLinear(weight)
    return lambda: F.linear(x, weight), lambda: layer(x)


def attentions(heads: int, rows: int) -> tuple[Product, Product]:
    q, k, v = (torch.randn(rows, heads, length, 64) for length in (1, WINDOW, WINDOW))
    v_transposed = v.transpose(2, 3).contiguous()
    return lambda: F.scaled_dot_product_attention(q, k, v), lambda: one_query_attention(q, k, v_transposed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    device = get_device("cpu")
    device.prepare_process()
    device.set_threads(parser.parse_args().threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'product':<28}{'rows':>6}{'plain torch':>14}{'voxport':>14}{'ratio':>8}")
    with torch.inference_mode():
        for name, shape in ENCODER.items():
            compare(name, WINDOW, *encoder_products(*shape, gelu=name.endswith("GELU")))
        for name, shape in STEP.items():
            for rows in ROWS:
                compare(name, rows, *step_products(*shape, rows))
        for name, heads in HEADS.items():
            for rows in (1, 8):
                compare(name, rows, *attentions(heads, rows))


if __name__ == "__main__":
    main()
