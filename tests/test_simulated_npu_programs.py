"""The simulated NPU against the CPU: random programs of views and in-place operations, and torch's own samples.

A device that runs whole models can still get views wrong: one that is resized where it should stay a view is met by few
models and spoils them silently. So programs are drawn that write through views of views, and after every step all
tensors must be what they are on the CPU, bit for bit and with the same strides.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from simulated_npu import activate_or_skip
from voxport import testing

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = 2400
STEPS = 25
CHUNKS = 6


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> None:
    activate_or_skip()


class Pair:
    """A tensor on the CPU and its likeness on the device."""

    def __init__(self, host: Tensor, npu: Tensor) -> None:
        self.host, self.npu = host, npu

    def check(self) -> None:
        host, npu = self.host, self.npu
        assert (npu.shape, npu.stride(), npu.storage_offset()) == (host.shape, host.stride(), host.storage_offset())
        assert npu.dtype == host.dtype
        assert npu.device.type == "npu"
        assert torch.equal(npu.cpu().nan_to_num(), host.nan_to_num())


def both(pair: Pair, do: Callable[[Tensor], Tensor]) -> Pair:
    return Pair(do(pair.host), do(pair.npu))


# Each draws what it needs from a random.Random, and changes tensors or returns a new pair.


def narrow(r: random.Random, x: Pair) -> Pair | None:
    if not x.host.dim():
        return None
    dim = r.randrange(x.host.dim())
    size = x.host.shape[dim]
    begin = r.randint(0, size)
    end, step = r.randint(begin, size), r.choice([1, 1, 2, 3])
    return both(x, lambda t: t[(slice(None),) * dim + (slice(begin, end, step),)])


def select(r: random.Random, x: Pair) -> Pair | None:
    dims = [dim for dim, size in enumerate(x.host.shape) if size]
    if not dims:
        return None
    dim = r.choice(dims)
    index = r.randrange(x.host.shape[dim])
    return both(x, lambda t: t.select(dim, index))


def permute(r: random.Random, x: Pair) -> Pair:
    order = r.sample(range(x.host.dim()), x.host.dim())
    return both(x, lambda t: t.permute(order))


def expand(r: random.Random, x: Pair) -> Pair | None:
    if x.host.numel() > 60 or x.host.dim() > 3:
        return None
    count = r.randint(1, 3)
    return both(x, lambda t: t.unsqueeze(0).expand(count, *t.shape))


def reshape(r: random.Random, x: Pair) -> Pair:
    return both(x, lambda t: t.reshape(-1))


def view_or_copy(r: random.Random, x: Pair) -> Pair | None:
    if x.host.numel() == 0 or x.host.dim() == 0:
        return None
    last = x.host.shape[-1]
    divisors = [d for d in range(1, last + 1) if last % d == 0]
    part = r.choice(divisors)
    return both(x, lambda t: t.unflatten(-1, (part, -1)))


def strided(r: random.Random, x: Pair) -> Pair | None:
    if x.host.numel() < 6:
        return None
    limit = x.host.untyped_storage().nbytes() // x.host.element_size() - x.host.storage_offset()
    size, strides = (2, r.randint(1, 2)), (r.randint(0, 2), r.randint(1, 2))
    if 1 + sum((n - 1) * s for n, s in zip(size, strides, strict=True)) > limit:
        return None
    offset = x.host.storage_offset()
    return both(x, lambda t: t.as_strided(size, strides, offset))


def unfolded(r: random.Random, x: Pair) -> Pair | None:
    if not x.host.dim() or x.host.shape[-1] < 2 or x.host.dim() > 3:
        return None
    size, step = r.randint(1, min(3, x.host.shape[-1])), r.randint(1, 2)
    return both(x, lambda t: t.unfold(-1, size, step))


def diagonal(r: random.Random, x: Pair) -> Pair | None:
    return both(x, lambda t: t.diagonal(0, 0, -1)) if x.host.dim() >= 2 else None


def squeezed(r: random.Random, x: Pair) -> Pair:
    return both(x, lambda t: t.squeeze())


def parts(r: random.Random, x: Pair) -> Pair | None:
    if not x.host.dim() or not x.host.shape[0]:
        return None
    size = r.randint(1, x.host.shape[0])
    which = r.randrange(-(-x.host.shape[0] // size))
    return both(x, lambda t: t.split(size)[which])


def unbound(r: random.Random, x: Pair) -> Pair | None:
    if not x.host.dim() or not x.host.shape[-1]:
        return None
    which = r.randrange(x.host.shape[-1])
    return both(x, lambda t: t.unbind(-1)[which])


def detached(r: random.Random, x: Pair) -> Pair:
    return both(x, lambda t: t.detach())


def cloned(r: random.Random, x: Pair) -> Pair:
    kind = r.choice([torch.preserve_format, torch.contiguous_format])
    return both(x, lambda t: t.clone(memory_format=kind))


def elsewhere(r: random.Random, x: Pair) -> Pair:
    """By the other device, or by the host."""
    way = r.choice(["npu:0", "npu:1", "cpu"])
    return Pair(x.host.clone(), x.npu.to(way, copy=True).to(x.npu.device))


def computed(r: random.Random, x: Pair) -> Pair:
    kind = r.randrange(8)
    steps: list[Callable[[Tensor], Tensor]] = [
        lambda t: t + 1,
        lambda t: t * t,
        lambda t: torch.cat([t, t], -1) if t.dim() and t.numel() < 100 else t.neg(),
        lambda t: t.sum(0) if t.dim() else t.abs(),
        lambda t: t.cumsum(-1) if t.dim() else t.clone(),
        lambda t: t.flip(0) if t.dim() else t.clone(),
        lambda t: torch.where(t > 0, t, t.new_zeros(())),
        lambda t: t.roll(1),
    ]
    return both(x, steps[kind])


VIEWS = [
    narrow,
    select,
    permute,
    expand,
    reshape,
    view_or_copy,
    strided,
    unfolded,
    diagonal,
    squeezed,
    parts,
    unbound,
    detached,
    cloned,
    elsewhere,
    computed,
]


def overlaps_itself(x: Tensor) -> bool:
    """Whether two indices are one element; writing there is undefined, and torch refuses only some of it."""
    if x.numel() == 0:
        return False
    places = torch.zeros((), dtype=torch.long)
    for size, stride in zip(x.shape, x.stride(), strict=True):
        places = places[..., None] + torch.arange(size) * stride
    return places.flatten().unique().numel() < x.numel()


def fits(r: random.Random, pool: list[Pair], target: Tensor) -> Pair | None:
    """Another tensor that can be broadcast to this shape, and shares no memory with it."""
    storage = target.untyped_storage().data_ptr()
    found = []
    for pair in pool:
        try:
            same = torch.broadcast_shapes(pair.host.shape, target.shape) == target.shape
        except RuntimeError:
            continue
        if same and pair.host.untyped_storage().data_ptr() != storage:
            found.append(pair)
    return r.choice(found) if found else None


def write(r: random.Random, x: Pair, pool: list[Pair]) -> str | None:
    """Change x in place; what was done, or None if nothing could be."""
    if overlaps_itself(x.host):
        return None
    kind = r.randrange(12)
    source = fits(r, pool, x.host)
    number = r.randint(-3, 3)
    if kind == 0:
        return both(x, lambda t: t.fill_(number)) and "fill_"
    if kind == 1:
        return both(x, lambda t: t.add_(number)) and "add_"
    if kind == 2 and source:
        x.host.add_(source.host, alpha=2)
        x.npu.add_(source.npu, alpha=2)
        return "add_ tensor"
    if kind == 3 and source:
        x.host.copy_(source.host)
        x.npu.copy_(source.npu)
        return "copy_"
    if kind == 4 and source:
        x.host.copy_(source.host)
        x.npu.copy_(source.host, non_blocking=True)
        return "copy_ from the host"
    if kind == 5:
        return both(x, lambda t: t.masked_fill_(t > 1, number)) and "masked_fill_"
    if kind == 6:
        return both(x, lambda t: t.clamp_(-2, 2)) and "clamp_"
    if kind == 7 and x.host.dim() and x.host.shape[0]:
        index = torch.tensor([r.randrange(x.host.shape[0])])
        x.host[index] = number
        x.npu[index.to(x.npu.device)] = number
        return "index_put_"
    if kind == 8 and x.host.dim():
        return both(x, lambda t: t.__setitem__((..., slice(0, 1)), number) or t) and "[...] ="
    if kind == 9:
        torch.add(x.host.clone(), 1, out=x.host)
        torch.add(x.npu.clone(), 1, out=x.npu)
        return "out="
    if kind == 10 and x.host.dim() >= 2:
        return both(x, lambda t: t.transpose_(0, 1)) and "transpose_"
    if kind == 11 and source and source.host.shape == x.host.shape:
        torch._foreach_add_([x.host], [source.host])
        torch._foreach_add_([x.npu], [source.npu])
        return "_foreach_add_"
    return both(x, lambda t: t.mul_(2).remainder_(17)) and "mul_"


def run(r: random.Random, steps: int) -> None:
    device = r.choice(["npu:0", "npu:1"])
    dtype = r.choice([torch.float32, torch.float16, torch.int64, torch.bfloat16])
    pool = []
    for _ in range(3):
        shape = [r.randint(1, 4) for _ in range(r.randint(1, 3))]
        host = torch.tensor([r.randint(-8, 8) for _ in range(torch.Size(shape).numel())], dtype=dtype).view(shape)
        pool.append(Pair(host, host.to(device)))
    program: list[str] = []
    try:
        for _ in range(steps):
            at = r.randrange(len(pool))
            if r.random() < 0.55:
                made = r.choice(VIEWS)
                program.append(f"{len(pool)} = {made.__name__}({at})")
                new = made(r, pool[at])
                if new is not None and new.host.numel() <= 400:
                    pool.append(new)
            else:
                program.append(f"{at}: {write(r, pool[at], pool)}")
            for pair in pool:
                pair.check()
    except (AssertionError, RuntimeError) as error:
        raise AssertionError("\n".join([f"{device} {dtype}", *program])) from error


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_programs(chunk: int) -> None:
    for seed in range(chunk, PROGRAMS, CHUNKS):
        run(random.Random(seed), STEPS)


@given(st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_programs_that_shrink(r: random.Random) -> None:
    run(r, 10)


def test_programs_leave_no_memory_behind() -> None:
    npu = torch.npu  # type: ignore[attr-defined]
    gc.collect()
    before = [npu.memory_allocated(index) for index in range(2)]
    for seed in range(1000, 1020):
        run(random.Random(seed), STEPS)
    gc.collect()
    assert [npu.memory_allocated(index) for index in range(2)] == before


# ----------------------------------------------------------------------------------------------- torch's own samples

DIFFERENT = {
    # Not strided, memory that nobody has written, an argument that has to be on the host.
    *("sparse.sampled_addmm", "sparse.mm", "to_sparse", "tensor_split"),
    *("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"),
    # Sums in another order: LAPACK looks at where the matrix lies, and the fused one picks its blocks by device.
    *("linalg.lstsq", "nn.functional.linear_cross_entropy"),
}

SAMPLES = """
import json, sys, unittest, warnings
from types import ModuleType

warnings.simplefilter("ignore")
expecttest = ModuleType("expecttest")  # of torch's own test suite; nothing here uses it
expecttest.TestCase = unittest.TestCase
sys.modules.setdefault("expecttest", expecttest)
from voxport import testing

testing.activate(2, torch_npu=False)
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_leaves, tree_map

dtype = getattr(torch, sys.argv[1])


def there(value):
    return value.detach().to("npu:1") if isinstance(value, torch.Tensor) else "npu:1" if value == "cpu" else value


def attempt(op, *call):
    torch.manual_seed(0)
    try:
        return tree_leaves(op(call[0], *call[1], **call[2])), None
    except Exception as error:
        return [], error


def same(x, y):
    if not isinstance(x, torch.Tensor):
        return x == y or x != x
    if x.dtype != y.dtype or x.stride() != y.stride() or y.device.type != "npu":
        return False
    x, y = x.detach().resolve_conj(), y.detach().cpu().resolve_conj()
    if x.dtype == torch.complex32:  # can't be compared
        x, y = torch.view_as_real(x), torch.view_as_real(y)
    return torch.equal(x, y) or torch.allclose(x, y, 0, 0, equal_nan=True)


failures, count, operations = {}, 0, 0
for op in op_db:
    if dtype not in op.dtypes:
        continue
    operations += 1
    for sample in list(op.sample_inputs("cpu", dtype))[:10]:
        count += 1
        copy = tree_map(lambda x: x.detach().clone() if isinstance(x, torch.Tensor) else x, sample.input)
        wanted, refusal = attempt(op, copy, sample.args, sample.kwargs)
        with torch.npu.device(1):
            found, error = attempt(op, there(sample.input) if isinstance(sample.input, torch.Tensor) else
                                   tree_map(there, sample.input), *tree_map(there, (sample.args, sample.kwargs)))
        if bool(refusal) != bool(error):
            failures[op.name] = repr(error or refusal)[:200]
        elif len(wanted) != len(found):
            failures[op.name] = "another number of results"
        else:
            try:
                if not all(map(same, wanted, found)):
                    failures[op.name] = "another result"
            except Exception as error:
                failures[op.name] = repr(error)[:200]
print(json.dumps({"samples": count, "operations": operations, "failures": failures}))
"""


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "complex64"])
def test_torchs_own_samples(dtype: str) -> None:
    """Whatever torch's tests call an operation with, on torch's list of operations (private, so it may move)."""
    if importlib.util.find_spec("torch.testing._internal.common_methods_invocations") is None:
        pytest.skip("this torch comes without its list of operations")
    environment = {**os.environ, "VOXPORT_SIMULATE": ""}
    done = subprocess.run(
        [sys.executable, "-c", SAMPLES, dtype], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["samples"] > 1500
    unexpected = {name: text for name, text in result["failures"].items() if name not in DIFFERENT}
    assert not unexpected


def test_the_source_is_part_of_the_package() -> None:
    assert (Path(testing.__file__).parent / "simulator.cpp").is_file()
