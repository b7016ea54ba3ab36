"""Numerics that are wrong on purpose, so that tests can show that they would be noticed.

    with faults.inject("gelu_tanh"):                                        # everything on the simulated NPU
    with faults.inject("hf32", (model, "encoder.layers.3"), operations="matmul"):   # inside this module's forward
    with faults.inject("mask_ignored", position=512, device="cpu"):         # CPU tensors, in this thread

- ``gelu_tanh``: GELU is the tanh approximation, whatever is asked for. Parameter ``as_configured`` = False.
- ``hf32``: the float32 factors of convolutions and products are rounded to ``mantissa_bits`` = 11 explicit bits;
  ``operations`` = "both", "conv" or "matmul"; ``as_configured`` = False.
- ``fp16_accumulation``: products of matrices add up parts of ``block`` = 16 terms in float16.
- ``mask_ignored``: attention ignores its explicit mask from the key at ``position`` = 512 on.
- ``saturate``: float16 results that are infinite become ±65,504, NaN becomes 0.

``as_configured`` lets a fault follow torch.npu's own switches, as on a real device: HF32 where ``torch.npu.conv`` (by
default) and ``torch.npu.matmul`` have ``allow_hf32``, tanh unless ``torch.npu.use_compatible_impl(True)`` was called.

Products are mm, bmm, addmm, baddbmm, mv, addmv and dot, which is what linear layers and `@` end in; attention is one
operation, whose inner products are left alone. `saturate` spares operations that only move or set values (`MOVING`).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from voxport.errors import UsageError
from voxport.testing.native import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from voxport.testing.faults_on_cpu import CPUFaults

__all__ = ["MOVING", "Effect", "Fault", "Kind", "inject"]

Kind = Literal["gelu_tanh", "hf32", "fp16_accumulation", "mask_ignored", "saturate"]

KINDS: tuple[str, ...] = get_args(Kind)
"""In the order of the simulator's own list."""

_MOVING = """
    _index_put_impl_ _local_scalar_dense abs abs_ alias amax amin cat clamp clamp_ clamp_max clamp_max_ clamp_min
    clamp_min_ clone constant_pad_nd copy detach embedding empty empty_like empty_strided fill fill_ flip full full_like
    gather index index_copy index_copy_ index_fill index_fill_ index_put index_put_ index_select kthvalue lift
    lift_fresh masked_fill masked_fill_ masked_scatter masked_scatter_ masked_select max maximum min minimum movedim
    nan_to_num nan_to_num_ neg neg_ new_empty new_empty_strided new_full new_ones new_zeros ones ones_like put_
    reflection_pad1d relu relu_ repeat repeat_interleave replication_pad1d resize_ roll rot90 scalar_tensor scatter
    scatter_ select_scatter sign slice_scatter sort stack take topk tril tril_ triu triu_ unfold_copy where zero_ zeros
    zeros_like
"""

MOVING = frozenset(_MOVING.split())
"""Operations that can't overflow: they set or move values, or change their sign."""


@dataclass(frozen=True)
class Effect:
    """What one or several faults do; the defaults do nothing.

    Attributes:
        gelu_tanh: GELU by tanh.
        convolution_bits, product_bits: explicit bits of mantissa of the factors, 0 = all.
        block: terms that are added up before float16 is met, 0 = no float16.
        mask_position: the first key whose mask is ignored, -1 = none.
        saturate: infinite float16 results become finite.
    """

    gelu_tanh: bool = False
    convolution_bits: int = 0
    product_bits: int = 0
    block: int = 0
    mask_position: int = -1
    saturate: bool = False

    def __or__(self, other: Effect) -> Effect:
        """Both; of two numbers the one that does more."""
        return Effect(
            self.gelu_tanh or other.gelu_tanh,
            _least(self.convolution_bits, other.convolution_bits, nothing=0),
            _least(self.product_bits, other.product_bits, nothing=0),
            _least(self.block, other.block, nothing=0),
            _least(self.mask_position, other.mask_position, nothing=-1),
            self.saturate or other.saturate,
        )

    def numbers(self) -> tuple[int, int, int, int, int, int]:
        return (
            int(self.gelu_tanh),
            self.convolution_bits,
            self.product_bits,
            self.block,
            self.mask_position,
            int(self.saturate),
        )


def _least(a: int, b: int, *, nothing: int) -> int:
    return b if a == nothing else a if b == nothing else min(a, b)


@dataclass
class Fault:
    """A fault that is being injected.

    Attributes:
        kind: as given.
        parameters: all of the kind's, with their defaults.
        where: for messages: "everywhere" or "in" a module.
    """

    kind: Kind
    parameters: dict[str, Any]
    where: str
    _hits: list[int] = field(default_factory=lambda: [0])
    _before: int | None = None

    @property
    def hits(self) -> int:
        """Operations that were falsified since it began (by every fault of this kind, on the simulated NPU)."""
        if self._before is None:
            return self._hits[0]
        return simulator().fault_hits(KINDS.index(self.kind)) - self._before

    def effect(self) -> Effect:
        """What it does with torch.npu's switches as they are now."""
        given = self.parameters
        if self.kind == "gelu_tanh":
            return Effect(gelu_tanh=not (given["as_configured"] and _switch("_state", "compatible_impl")))
        if self.kind == "hf32":
            bits, free = given["mantissa_bits"], not given["as_configured"]
            wanted = given["operations"]
            return Effect(
                convolution_bits=bits if wanted != "matmul" and (free or _switch("conv", "allow_hf32")) else 0,
                product_bits=bits if wanted != "conv" and (free or _switch("matmul", "allow_hf32")) else 0,
            )
        if self.kind == "fp16_accumulation":
            return Effect(block=given["block"])
        if self.kind == "mask_ignored":
            return Effect(mask_position=given["position"])
        return Effect(saturate=True)


_DEFAULTS: dict[str, dict[str, Any]] = {
    "gelu_tanh": {"as_configured": False},
    "hf32": {"mantissa_bits": 11, "operations": "both", "as_configured": False},
    "fp16_accumulation": {"block": 16},
    "mask_ignored": {"position": 512},
    "saturate": {},
}

_lock = threading.Lock()
_everywhere: list[Fault] = []


class _Here(threading.local):
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.modes: list[CPUFaults] = []


_here = _Here()


@contextmanager
def inject(
    kind: Kind,
    module: nn.Module | tuple[nn.Module, str] | None = None,
    *,
    device: Literal["npu", "cpu"] = "npu",
    must_hit: bool = True,
    **parameters: Any,
) -> Iterator[Fault]:
    """Let operations inside a ``with`` be wrong.

    Args:
        kind: what is wrong with them.
        module: only while this module's forward runs; as a module, or a model and the dotted name of its part. A part
            whose weights others use, without calling it, has no forward to be in. None = everywhere.
        device: "npu" falsifies what all threads do on the simulated devices, "cpu" what this thread does with CPU
            tensors (a module's: the thread that runs it).
        must_hit: raise at the end if no operation was falsified, since a test of that shows nothing.
        parameters: see the table above.

    Raises:
        UsageError: an unknown kind, parameter or module; nothing is simulated (`device` "npu"); nothing was hit.
    """
    target, where = _resolve(module)
    fault = Fault(kind, _parameters(kind, parameters), where)
    if device == "npu":
        fault._before = simulator().fault_hits(KINDS.index(kind))
    enter, leave = (_enter_npu, _leave_npu) if device == "npu" else (_enter_cpu, _leave_cpu)
    if target is None:
        enter(fault, False)
        try:
            yield fault
        finally:
            leave(fault, False)
    else:
        handles: list[RemovableHandle] = [
            target.register_forward_pre_hook(lambda *_: enter(fault, True), prepend=True),
            target.register_forward_hook(lambda *_: leave(fault, True), always_call=True),
        ]
        try:
            yield fault
        finally:
            for handle in handles:
                handle.remove()
    if must_hit and not fault.hits:
        raise UsageError(
            f"the fault {kind!r} met no operation {where} on {device}",
            hint="is the forward called, on that device? A fault that hits nothing proves nothing (must_hit=False)",
        )


def refresh() -> None:
    """Follow torch.npu's switches: called when one is changed."""
    with _lock:
        _apply(this_thread=False)
    _apply(this_thread=True)


def _parameters(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    if kind not in _DEFAULTS:
        raise UsageError(f"there is no fault {kind!r}", hint=f"there are: {', '.join(KINDS)}")
    known = _DEFAULTS[kind]
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        has = ", ".join(known) or "none"
        raise UsageError(f"the fault {kind!r} has no parameter {unknown[0]!r}", hint=f"it has: {has}")
    found = known | given
    limits = {"mantissa_bits": (1, 22), "block": (1, 1 << 30), "position": (0, 1 << 40)}
    for name, (least, most) in limits.items():
        if name in found and not (isinstance(found[name], int) and least <= found[name] <= most):
            raise UsageError(f"{name} = {found[name]!r} makes no sense", hint=f"an integer, {least} to {most}")
    if found.get("operations", "both") not in ("both", "conv", "matmul"):
        raise UsageError(f"operations = {found['operations']!r} is unknown", hint="'both', 'conv' or 'matmul'")
    return found


def _resolve(module: nn.Module | tuple[nn.Module, str] | None) -> tuple[nn.Module | None, str]:
    if module is None:
        return None, "everywhere"
    if not isinstance(module, tuple):
        return module, f"in {type(module).__name__}"
    model, name = module
    try:
        return model.get_submodule(name), f"in {name}"
    except AttributeError as error:
        kind = type(model).__name__
        raise UsageError(f"{kind} has no module {name!r}", hint="a name of model.named_modules()") from error


def _enter_npu(fault: Fault, this_thread: bool) -> None:
    if this_thread:
        _here.faults.append(fault)
        _apply(this_thread=True)
    else:
        with _lock:
            _everywhere.append(fault)
            _apply(this_thread=False)


def _leave_npu(fault: Fault, this_thread: bool) -> None:
    if this_thread:
        _remove(_here.faults, fault)
        _apply(this_thread=True)
    else:
        with _lock:
            _remove(_everywhere, fault)
            _apply(this_thread=False)


def _remove(faults: list[Fault], fault: Fault) -> None:
    """The last one that is this very one: recursion enters it twice."""
    for index in reversed(range(len(faults))):
        if faults[index] is fault:
            del faults[index]
            return


def _enter_cpu(fault: Fault, this_thread: bool) -> None:
    from voxport.testing.faults_on_cpu import CPUFaults

    mode = CPUFaults(fault.effect(), fault._hits)
    mode.__enter__()  # type: ignore[no-untyped-call]
    _here.modes.append(mode)


def _leave_cpu(fault: Fault, this_thread: bool) -> None:
    _here.modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _apply(*, this_thread: bool) -> None:
    effect = Effect()
    for fault in _here.faults if this_thread else _everywhere:
        effect |= fault.effect()
    simulator().set_faults(this_thread, effect.numbers())


def _switch(group: str, name: str) -> bool:
    from voxport.testing import npu_api

    return bool(getattr(getattr(npu_api, group), name))
