"""Products on this CPU: `voxport.models.cpu_products` and the convolutions of MedASR beside the plain torch calls.

    python benchmarks/cpu_products.py [--threads 2]

MedASR's in float32 and, where the processor has it, bfloat16. Before each product 100 MB are read, so that the matrix
comes from memory and not from a cache, as in a decoder step. Medians of 25 products of each kind, taken in turn;
microseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

import machine
from voxport.devices.host import prepare_process, set_threads
from voxport.models.cpu_products import StepLinear, few_queries_attention, linear
from voxport.models.lasr.net import Convolution, LasrDimensions, SubsamplingConvolution

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
BEAMS = 5
PARTS = (4, 8, 12, 16, 64)
MEDASR = LasrDimensions()
STRIDED = {4378: MEDASR.width, 2187: MEDASR.subsampling_channels}
"""Frames of 43.8 s that go into the sub-sampler's convolutions, and how many channels come out."""
FRAMES = (1093, 497)
"""Of 43.8 s and of a window of 20 s."""
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
    print(f"{name:<36}{rows:>6}{first:>14.0f}{second:>14.0f}{first / second:>8.2f}")


def encoder_products(height: int, width: int, *, gelu: bool) -> tuple[Product, Product]:
    x, weight, bias = torch.randn(1, WINDOW, width), torch.randn(height, width), torch.randn(height)
    if gelu:
        return lambda: F.gelu(F.linear(x, weight, bias)), lambda: linear(x, weight, bias, activation="gelu")
    return lambda: F.linear(x, weight, bias), lambda: linear(x, weight, bias)


def feed_forwards(rows: int, dtype: torch.dtype) -> tuple[Product, Product]:
    """MedASR's first layer of a feed-forward module, SiLU behind it."""
    x = torch.randn(1, rows, MEDASR.width).to(dtype)
    weight = torch.randn(MEDASR.ffn, MEDASR.width).to(dtype)
    return lambda: F.silu(F.linear(x, weight)), lambda: linear(x, weight, activation="silu")


def strided_convolutions(frames: int, channels: int, dtype: torch.dtype) -> tuple[Product, Product]:
    """A convolution of MedASR's sub-sampler."""
    width, kernel, stride = MEDASR.width, MEDASR.subsampling_kernel, MEDASR.subsampling_stride
    layer = SubsamplingConvolution(width, channels, kernel, stride)
    x, weight, bias = torch.randn(1, frames, width), torch.randn(channels, width, kernel), torch.randn(channels)
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    layer.weight.data, layer.bias.data = weight.clone(), bias
    layer.fuse()
    return lambda: F.conv1d(x.transpose(1, 2), weight, bias, stride=stride).transpose(1, 2), lambda: layer(x)


def depthwise_convolutions(frames: int, dtype: torch.dtype) -> tuple[Product, Product]:
    """MedASR's filter of each channel, from and to the order in which the linear layers have the numbers."""
    module = Convolution(MEDASR).to(dtype)
    x, weight = torch.randn(1, frames, MEDASR.width).to(dtype), module.depthwise_conv.weight
    padding = ((MEDASR.kernel - 1) // 2, MEDASR.kernel // 2)

    def plain() -> torch.Tensor:
        return F.conv1d(F.pad(x.transpose(1, 2), padding), weight, groups=MEDASR.width).transpose(1, 2)

    return plain, lambda: module.depthwise(x)


def step_products(height: int, width: int, rows: int) -> tuple[Product, Product]:
    x, weight = torch.randn(rows, 1, width), torch.randn(height, width)
    layer = StepLinear(weight)
    return lambda: F.linear(x, weight), lambda: layer(x)


def low_parts(height: int, width: int, part: int) -> tuple[Product, Product]:
    """One row; on the right the matrix as a batch of matrices of `part` rows: how high they may be (`_PART`)."""
    x, weight = torch.randn(1, width), torch.randn(height // part * part, width)
    parts = weight.view(-1, part, width)
    column = x.expand(len(parts), -1, -1).transpose(1, 2)
    return lambda: F.linear(x, weight), lambda: torch.bmm(parts, column)


def attentions(heads: int, rows: int, queries: int) -> tuple[Product, Product]:
    q, k, v = (torch.randn(rows, heads, length, 64) for length in (queries, WINDOW, WINDOW))
    turned = k.transpose(2, 3).contiguous().transpose(2, 3)
    return lambda: F.scaled_dot_product_attention(q, k, v), lambda: few_queries_attention(q, turned, v)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    prepare_process()
    set_threads(parser.parse_args().threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'product':<36}{'rows':>6}{'plain torch':>14}{'voxport':>14}{'ratio':>8}")
    with torch.inference_mode():
        for name, shape in ENCODER.items():
            compare(name, WINDOW, *encoder_products(*shape, gelu=name.endswith("GELU")))
        for name, shape in STEP.items():
            for rows in ROWS:
                compare(name, rows, *step_products(*shape, rows))
        for name in ("tiny fc1", "tiny vocabulary"):
            for part in PARTS:
                compare(f"{name}, parts of {part}", 1, *low_parts(*STEP[name], part))
        for name, heads in HEADS.items():
            for rows in (1, 8):
                for queries in (1, BEAMS):
                    label = name if queries == 1 else f"{name}, {queries} beams"
                    compare(label, rows, *attentions(heads, rows, queries))
        for dtype in (torch.float32, torch.bfloat16) if machine.has_bfloat16() else (torch.float32,):
            label = str(dtype).removeprefix("torch.")
            compare(f"medasr linear, SiLU {label}", FRAMES[0], *feed_forwards(FRAMES[0], dtype))
            for frames, channels in STRIDED.items():
                compare(f"medasr strided {label}", frames, *strided_convolutions(frames, channels, dtype))
            for frames in FRAMES:
                compare(f"medasr depthwise {label}", frames, *depthwise_convolutions(frames, dtype))


if __name__ == "__main__":
    main()
