"""What an error looks like: hypotheses, each tried on the inputs on which the error was made.

A cause is named where its imitation explains the candidate's numbers: where they are much closer to the imitation than
to the reference's. All is computed on the host, in float64 where it is affordable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from voxport.models.stages import Stage

__all__ = ["CATALOGUE", "Case", "explain"]

CATALOGUE: dict[str, str] = {
    "overflow": "a value passed the dtype's range: it became infinite, NaN, or stayed at the limit",
    "wrong weights": "the module's parameters are not the reference's",
    "tanh GELU": "GELU by its tanh approximation instead of the error function",
    "HF32": "factors rounded to 11 bits of mantissa (HF32, TF32)",
    "half precision": "computed in float16 or bfloat16 although float32 was asked for",
    "mask handling": "attention sees other positions than it should",
    "heads": "attention heads in another order",
    "layer left out": "what the branch gives is not added to the stream, or the stream is lost",
}

EXPLAINS = 0.3
"""An imitation explains an error if it leaves less than this share of it."""

FLOAT16_MAX = 65_504.0
ROUNDING = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Relative L2 between parameters of one checkpoint, by the candidate's dtype."""


@dataclass(frozen=True)
class Case:
    """A stage whose result is off.

    Attributes:
        stage: of the candidate's table.
        inputs: the reference's results that it reads, as the candidate's stage was given them.
        wanted: the reference's result.
        found: what the candidate's stage made of the inputs.
        reference, candidate: parameters of the module, by name.
    """

    stage: Stage
    inputs: Sequence[Tensor]
    wanted: Tensor
    found: Tensor
    reference: Mapping[str, Tensor]
    candidate: Mapping[str, Tensor]


def explain(case: Case) -> tuple[str, str]:
    """The likeliest cause, by its name in `CATALOGUE`, and the evidence; ("unknown", ...) if nothing fits."""
    for hypothesis in (_overflow, _weights, _activation, _attention, _left_out, _precision):
        for cause, evidence in hypothesis(case):
            return cause, evidence
    return "unknown", f"relative L2 {_relative(case.found, case.wanted):.2g}; nothing of the catalogue explains it"


def _overflow(case: Case) -> Iterator[tuple[str, str]]:
    found, wanted = case.found.float().cpu(), case.wanted.float().cpu()
    broken = int((~found.isfinite() & wanted.isfinite()).sum())
    largest = float(wanted[wanted.isfinite()].abs().max()) if wanted.isfinite().any() else float("inf")
    if broken:
        yield "overflow", f"{broken} values are not finite; the reference's largest is {largest:.3g}"
    elif case.found.dtype == torch.float16 and largest > FLOAT16_MAX:
        yield "overflow", f"values stay at {float(found.abs().max()):.6g}; the reference's largest is {largest:.3g}"


def _weights(case: Case) -> Iterator[tuple[str, str]]:
    for name in sorted(case.reference.keys() & case.candidate.keys()):
        theirs, ours = case.reference[name].double().cpu(), case.candidate[name].double().cpu()
        if theirs.shape != ours.shape:
            if theirs.numel() != ours.numel():
                yield "wrong weights", f"{name} has the shape {tuple(ours.shape)} instead of {tuple(theirs.shape)}"
            theirs = theirs.reshape(ours.shape)
        if name == "eps":
            if float(theirs) != float(ours):
                yield "wrong weights", f"epsilon is {float(ours):g} instead of {float(theirs):g}"
            continue
        error = _relative(ours, theirs)
        if not error > ROUNDING[case.candidate[name].dtype]:
            continue
        yield "wrong weights", f"{name} differs by {error:.2g} (relative L2){_what_happened(ours, theirs)}"


def _what_happened(ours: Tensor, theirs: Tensor) -> str:
    factor = float((ours * theirs).sum() / (theirs * theirs).sum().clamp_min(1e-30))
    if _relative(ours, factor * theirs) < 0.05 * abs(factor - 1):
        return f": it is the reference's times {factor:.4g}"
    if ours.dim() == 2:
        for axis, which in ((0, "rows"), (1, "columns")):
            same = torch.equal(ours.norm(dim=1 - axis).sort().values, theirs.norm(dim=1 - axis).sort().values)
            if same:
                return f": the same {which} in another order"
    return ""


def _activation(case: Case) -> Iterator[tuple[str, str]]:
    """GELU stands before the second convolution and behind it too."""
    name = case.stage.name
    x = case.inputs[0].double().cpu()
    if case.stage.kind == "activation":
        imitation = F.gelu(x, approximate="tanh")
    elif name.endswith("encoder.embed_positions"):
        positions = case.wanted.double().cpu() - F.gelu(x).transpose(1, 2)
        imitation = F.gelu(x, approximate="tanh").transpose(1, 2) + positions
    elif name.endswith("encoder.conv2"):
        imitation = case.wanted.double().cpu() + _convolved(
            F.gelu(x, approximate="tanh") - F.gelu(x), case.reference, bias=False
        )
    else:
        return
    yield from _if_explained(case, "tanh GELU", imitation)


def _attention(case: Case) -> Iterator[tuple[str, str]]:
    if case.stage.kind != "attention" or not case.stage.heads:
        return
    heads = case.stage.heads
    found, wanted = _by_heads(case.found, heads), _by_heads(case.wanted, heads)
    order = [
        min(range(heads), key=lambda other: float((found[..., one, :] - wanted[..., other, :]).norm()))
        for one in range(heads)
    ]
    if order != list(range(heads)) and _relative(found, wanted[..., order, :]) < EXPLAINS * _relative(found, wanted):
        moved = [one for one in range(heads) if order[one] != one]
        yield "heads", f"heads {moved} are the reference's {[order[one] for one in moved]}"
        return
    q, k, v = (_by_heads(x, heads).transpose(1, 2) for x in case.inputs)
    if case.stage.rotary_base:
        q, k = (_rotated(x, case.stage.rotary_base) for x in (q, k))
    n, seen = q.shape[2], k.shape[2]
    for what, mask in _masks(n, seen):
        imitation = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        yield from _if_explained(case, "mask handling", imitation, f"as if {what}")


def _by_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, T, H, d), float64 on the host."""
    return x.double().cpu().reshape(*x.shape[:-1], heads, -1)


def _rotated(x: Tensor, base: float) -> Tensor:
    """Rotary positions as MedASR has them: x (B, H, T, d), each pair (i, i + d/2) turned by its angle."""
    length, size = x.shape[2:]
    speeds = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * speeds
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _masks(queries: int, keys: int) -> Iterator[tuple[str, Tensor]]:
    """What a mask may have been instead."""
    everything = torch.ones(queries, keys, dtype=torch.bool)
    yield "no position were hidden", everything
    if queries == keys:
        yield "each position saw one more", everything.tril(1)
        following = everything.tril(1)
        following[:, 0] = keys == 1
        yield "each position saw those one further", following
        before = everything.tril(-1)
        before[0, 0] = True
        yield "each position saw one less", before
        yield "only positions before were seen", everything.tril()
    if keys > 1:
        shorter = everything.clone()
        shorter[:, -1] = False
        yield "the last key were hidden", shorter
        later = everything.clone()
        later[:, 0] = False
        yield "the first key were hidden", later


def _left_out(case: Case) -> Iterator[tuple[str, str]]:
    if case.stage.kind == "norm":
        yield from _if_explained(case, "layer left out", case.inputs[0].double().cpu(), "it gives what it is given")
    if case.stage.kind != "residual":
        return
    stream, branch = (x.double().cpu() for x in case.inputs)
    for what, imitation in (("the branch is not added", stream), ("the stream is lost", branch)):
        yield from _if_explained(case, "layer left out", imitation, what)


def _precision(case: Case) -> Iterator[tuple[str, str]]:
    """Products with factors of fewer bits; for float32 only, since others have fewer bits anyway."""
    weight = case.reference.get("weight")
    if case.found.dtype != torch.float32 or case.stage.kind not in ("linear", "convolution") or weight is None:
        return
    x = case.inputs[0].float().cpu()
    if case.stage.name.endswith("encoder.conv2"):
        x = F.gelu(x)
    elif case.stage.kind == "convolution" and not case.stage.name.startswith("model."):
        return  # MedASR's: strides and layouts of its own
    for cause, rounded in (
        ("HF32", lambda value: _with_bits(value, 11)),
        ("half precision", lambda value: value.half().float()),
        ("half precision", lambda value: value.bfloat16().float()),
    ):
        few = rounded(x), {"weight": rounded(weight.float().cpu())}
        if "bias" in case.reference:
            few[1]["bias"] = case.reference["bias"].float().cpu()
        yield from _if_explained(case, cause, _product(*few, case.stage))


def _product(x: Tensor, parameters: Mapping[str, Tensor], stage: Stage) -> Tensor:
    if stage.kind == "convolution":
        return _convolved(x.double(), parameters, stride=2 if stage.name.endswith("conv2") else 1)
    weight = parameters["weight"].double()
    bias = parameters.get("bias")
    return F.linear(x.double(), weight.reshape(weight.shape[0], -1), None if bias is None else bias.double())


def _convolved(x: Tensor, parameters: Mapping[str, Tensor], *, bias: bool = True, stride: int = 2) -> Tensor:
    """Whisper's convolutions: three wide, one frame of padding."""
    weight = parameters["weight"].double().cpu()
    added = parameters["bias"].double().cpu() if bias and "bias" in parameters else None
    return F.conv1d(x, weight, added, stride=stride, padding=1)


def _if_explained(case: Case, cause: str, imitation: Tensor, what: str = "") -> Iterator[tuple[str, str]]:
    error = _relative(case.found, case.wanted)
    left = _relative(case.found, imitation)
    if left < EXPLAINS * error:
        shown = f"{what}: " if what else ""
        yield cause, f"{shown}the imitation leaves {left:.2g} of a relative error of {error:.2g}"


def _with_bits(value: Tensor, bits: int) -> Tensor:
    """float32 with so many bits of mantissa, the hidden one included; to nearest."""
    mantissa, exponent = torch.frexp(value)
    return torch.ldexp(torch.round(mantissa * 2**bits) / 2**bits, exponent)


def _relative(found: Tensor, wanted: Tensor) -> float:
    """Relative L2 in float64."""
    left, right = found.double().cpu(), wanted.double().cpu()
    return float((left - right).norm() / right.norm().clamp_min(1e-30))
