"""Numerics that are wrong on purpose: each against its definition, on the simulated NPU and on the CPU."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simulated_npu import activate_or_skip
from voxport.errors import UsageError
from voxport.testing import faults
from voxport.testing.faults_on_cpu import half_accumulated, with_mantissa_of

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICES = ["npu", "cpu"]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Literal["npu", "cpu"]:
    """Faults on CPU tensors need no compiler."""
    if request.param == "npu":
        activate_or_skip()
    return request.param


@pytest.fixture
def npu() -> Any:
    activate_or_skip()
    return torch.npu  # type: ignore[attr-defined]


def draw(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(sum(shape))) * scale


def equal(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == wanted.dtype
    assert torch.equal(found.cpu(), wanted), (found.cpu() - wanted).abs().max()


# --------------------------------------------------------------------------------------------------------- gelu_tanh


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gelu(device: Literal["npu", "cpu"], dtype: torch.dtype) -> None:
    x = draw(40, 7).to(dtype)
    wanted = F.gelu(x, approximate="tanh")
    assert not torch.equal(wanted, F.gelu(x))
    with faults.inject("gelu_tanh", device=device) as fault:
        equal(F.gelu(x.to(device)), wanted)
        equal(F.gelu(x.to(device), approximate="tanh"), wanted)  # nothing to falsify
        equal(nn.GELU()(x.to(device)), wanted)
        with torch.inference_mode():
            equal(F.gelu(x.to(device)), wanted)
    assert fault.hits == 3
    equal(F.gelu(x.to(device)), F.gelu(x))


# -------------------------------------------------------------------------------------------------------------- hf32


def rounded(x: Tensor, bits: int) -> Tensor:
    """By arithmetic instead of bits: nearest multiple of the last place, ties to even."""
    mantissa, exponent = torch.frexp(x.double())
    return torch.ldexp(torch.round(torch.ldexp(mantissa, torch.tensor(bits + 1))), exponent - bits - 1).float()


def test_rounding_of_the_mantissa() -> None:
    x = torch.cat([draw(2000), draw(2000, scale=1e-30), draw(2000, scale=1e30), torch.tensor([0.0, -0.0, 1.0, -2.0])])
    for bits in (1, 7, 10, 11, 22):
        found = with_mantissa_of(x, bits)
        assert torch.equal(found, rounded(x, bits))
        assert ((found.view(torch.int32) & ((1 << (23 - bits)) - 1)) == 0).all()
    ties = torch.tensor([1 + 2**-12, 1 + 3 * 2**-12, -1 - 2**-12])
    assert with_mantissa_of(ties, 11).tolist() == [1.0, 1 + 2**-10, -1.0]
    special = torch.tensor([math.inf, -math.inf, math.nan])
    assert torch.equal(with_mantissa_of(special, 11).isnan(), special.isnan())
    assert with_mantissa_of(special, 11)[:2].tolist() == [math.inf, -math.inf]
    assert with_mantissa_of(torch.tensor([3.4028235e38]), 11).isinf().item()  # rounds up, as a number does


@pytest.mark.parametrize("bits", [11, 10, 7])
def test_hf32(device: Literal["npu", "cpu"], bits: int) -> None:
    x, weight, bias = draw(2, 8, 30), draw(6, 8, 3), draw(6)
    a, b = draw(5, 40), draw(9, 40)

    def r(tensor: Tensor) -> Tensor:
        return with_mantissa_of(tensor, bits)

    convolved, product = F.conv1d(r(x), r(weight), bias), F.linear(r(a), r(b))
    there = [tensor.to(device) for tensor in (x, weight, bias, a, b)]
    with faults.inject("hf32", device=device, mantissa_bits=bits) as fault:
        equal(F.conv1d(*there[:3]), convolved)
        equal(F.linear(*there[3:]), product)
    assert fault.hits == 2
    with faults.inject("hf32", device=device, operations="conv", mantissa_bits=bits):
        equal(F.conv1d(*there[:3]), convolved)
        equal(F.linear(*there[3:]), F.linear(a, b))
    with faults.inject("hf32", device=device, operations="matmul", mantissa_bits=bits):
        equal(F.conv1d(*there[:3]), F.conv1d(x, weight, bias))
        equal(F.linear(*there[3:]), product)
    equal(F.conv1d(*there[:3]), F.conv1d(x, weight, bias))


PRODUCTS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "mm": (lambda a, b: a @ b, ((5, 70), (70, 6))),
    "transposed": (lambda a, b: F.linear(a, b), ((5, 70), (6, 70))),
    "addmm": (lambda a, b, c: torch.addmm(c, a, b, beta=0.5, alpha=2.0), ((5, 70), (70, 6), (6,))),
    "linear": (lambda a, b, c: F.linear(a, b, c), ((2, 3, 70), (6, 70), (6,))),
    "bmm": (lambda a, b: torch.bmm(a, b), ((3, 5, 70), (3, 70, 6))),
    "baddbmm": (lambda a, b, c: torch.baddbmm(c, a, b, beta=0), ((3, 5, 70), (3, 70, 6), (3, 5, 6))),
    "mv": (lambda a, b: a @ b, ((5, 70), (70,))),
    "addmv": (lambda a, b, c: torch.addmv(c, a, b), ((5, 70), (70,), (5,))),
    "dot": (lambda a, b: torch.dot(a, b), ((70,), (70,))),
    "out": (lambda a, b: torch.mm(a, b, out=a.new_empty(0)), ((5, 70), (70, 6))),
    "in place": (lambda a, b, c: c.clone().addmm_(a, b), ((5, 70), (70, 6), (5, 6))),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("kind", ["hf32", "fp16_accumulation"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_product_on_both_devices(name: str, kind: faults.Kind, dtype: torch.dtype, npu: Any) -> None:
    """The two implementations agree: C++ for the simulated NPU, Python for the CPU."""
    do, shapes = PRODUCTS[name]
    factors = [draw(*shape).to(dtype) for shape in shapes]
    plain = do(*factors)
    falsified = kind != "hf32" or dtype == torch.float32
    with faults.inject(kind, device="cpu", must_hit=falsified):
        wanted = do(*factors)
    with faults.inject(kind, must_hit=falsified) as fault:
        equal(do(*(factor.to("npu") for factor in factors)), wanted)
    assert fault.hits == int(falsified)
    if falsified and dtype != torch.bfloat16 and name != "dot":  # a result of few bits may come out the same
        assert not torch.equal(wanted, plain)


# ------------------------------------------------------------------------------------------------- fp16_accumulation


@pytest.mark.parametrize("block", [1, 16, 50, 1000])
def test_fp16_accumulation(device: Literal["npu", "cpu"], block: int) -> None:
    a, b, bias = draw(4, 100).half(), draw(3, 100).half(), draw(3).half()
    total = torch.zeros(4, 3)
    for begin in range(0, 100, block):
        part = a.float()[:, begin : begin + block] @ b.float().t()[begin : begin + block]
        total = (total + part).half().float()
    with faults.inject("fp16_accumulation", device=device, block=block):
        found = F.linear(a.to(device), b.to(device), bias.to(device))
        equal(a.to(device) @ b.to(device).t(), total.half())
    equal(found, (total + bias.float()).half())
    assert torch.equal(half_accumulated(a, b.t(), block), total)


def test_fp16_accumulation_overflows() -> None:
    activate_or_skip()
    x = torch.full((1, 200), 100.0, device="npu")
    assert (x @ x.t()).item() == 2_000_000
    with faults.inject("fp16_accumulation"):
        assert (x @ x.t()).item() == math.inf
        with faults.inject("saturate", must_hit=False):
            assert (x @ x.t()).item() == math.inf  # a float32 result


def test_integers_and_doubles_are_left_alone(device: Literal["npu", "cpu"]) -> None:
    x = torch.arange(9).view(3, 3)
    with faults.inject("fp16_accumulation", device=device, must_hit=False) as fault:
        equal(x.to(device) @ x.to(device), x @ x)
        equal(x.double().to(device) @ x.double().to(device), x.double() @ x.double())
    assert fault.hits == 0


# ------------------------------------------------------------------------------------------------------ mask_ignored


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("inference", [True, False])
def test_mask_ignored(device: Literal["npu", "cpu"], kind: str, inference: bool) -> None:
    q, k, v = draw(2, 3, 5, 8), draw(2, 3, 20, 8), draw(2, 3, 20, 8)
    seen = torch.ones(2, 1, 1, 20, dtype=torch.bool)
    seen[0, ..., 4:] = False
    seen[1, ..., 15:] = False
    changed = seen.clone()
    changed[..., 12:] = True
    mask, wrong = (seen, changed) if kind == "bool" else (torch.where(m, 0.0, -math.inf) for m in (seen, changed))
    there = [tensor.to(device) for tensor in (q, k, v)]
    with torch.inference_mode(inference):
        wanted, right = (F.scaled_dot_product_attention(q, k, v, m) for m in (wrong, mask))
        assert not torch.equal(wanted, right)
        given = mask.to(device)
        with faults.inject("mask_ignored", device=device, position=12) as fault:
            equal(F.scaled_dot_product_attention(*there, given), wanted)
            F.scaled_dot_product_attention(*there)  # no mask, nothing to ignore
        assert fault.hits == 1
        equal(given, mask)  # the mask itself is not changed
        with faults.inject("mask_ignored", device=device, position=20, must_hit=False):
            equal(F.scaled_dot_product_attention(*there, given), right)


# ---------------------------------------------------------------------------------------------------------- saturate


def test_saturate(device: Literal["npu", "cpu"]) -> None:
    x = torch.tensor([60000.0, -60000.0, 1.0, 0.0]).half()
    there = x.to(device)
    with faults.inject("saturate", device=device) as fault:
        assert (there * 2).tolist() == [65504.0, -65504.0, 2.0, 0.0]
        assert (there / 0).tolist() == [65504.0, -65504.0, 65504.0, 0.0]
        assert (there + there).float().tolist() == [65504.0, -65504.0, 2.0, 0.0]
        there.mul_(2)
        assert there.tolist() == [65504.0, -65504.0, 2.0, 0.0]
        assert (there.float() * 1e35).isinf().any()  # float32 as it is
        # What is only moved or set stays.
        infinite = there.new_full((2,), -math.inf)
        assert infinite.tolist() == [-math.inf] * 2
        assert torch.cat([infinite, infinite]).isinf().all()
        assert there.masked_fill(there > 0, -math.inf).isinf().any()
        assert infinite.view(2, 1).t()[0].tolist() == [-math.inf] * 2
        assert infinite.clone().to("cpu").isinf().all()
        assert (-infinite).abs().tolist() == [math.inf] * 2
        # A conversion can overflow.
        assert (there.float() * 1e6).half().tolist() == [65504.0, -65504.0, 65504.0, 0.0]
        assert torch.zeros_like(there).copy_(there.float() * 1e6).tolist() == [65504.0, -65504.0, 65504.0, 0.0]
    assert fault.hits > 5
    assert (there * 2).isinf().any()


# ------------------------------------------------------------------------------------------------------------ modules


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.fc2(F.gelu(self.fc1(x)))
        return out


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Layer() for _ in range(4))).eval()


@pytest.mark.parametrize("where", ["1", "3"])
def test_only_inside_a_module(device: Literal["npu", "cpu"], where: str) -> None:
    net, x = network(), draw(5, 8)
    wanted = x
    with torch.no_grad():
        for index, layer in enumerate(net):
            assert isinstance(layer, Layer)
            approximate = "tanh" if index == int(where) else "none"
            wanted = wanted + layer.fc2(F.gelu(layer.fc1(wanted), approximate=approximate))
        plain = net(x)
    moved = network().to(device)
    with torch.no_grad(), faults.inject("gelu_tanh", (moved, where), device=device) as fault:
        equal(moved(x.to(device)), wanted)
        assert fault.hits == 1
        F.gelu(x.to(device))
        assert fault.hits == 1
    with torch.no_grad():
        equal(moved(x.to(device)), plain)
    with torch.no_grad(), faults.inject("gelu_tanh", moved[int(where)], device=device):
        equal(moved(x.to(device)), wanted)


def test_two_modules_and_two_faults(device: Literal["npu", "cpu"]) -> None:
    moved, x = network().to(device), draw(5, 8).to(device)
    with (
        torch.no_grad(),
        faults.inject("hf32", (moved, "0.fc1"), device=device) as first,
        faults.inject("hf32", (moved, "2"), device=device, mantissa_bits=4) as second,
        faults.inject("gelu_tanh", (moved, "2"), device=device) as third,
    ):
        moved(x)
        if device == "cpu":
            assert (first.hits, second.hits, third.hits) == (1, 2, 1)
        else:
            assert third.hits == 1
            assert first.hits == second.hits == 3  # of one kind they are counted together
    assert first.hits


def test_a_module_that_fails_leaves_no_fault_behind(device: Literal["npu", "cpu"]) -> None:
    moved, x = network().to(device), draw(5, 8).to(device)
    with faults.inject("gelu_tanh", (moved, "1"), device=device, must_hit=False) as fault:
        with pytest.raises(RuntimeError):
            moved(x[:, :3])
        with pytest.raises(RuntimeError):
            moved[1](x[:, :3])
        F.gelu(x)
        assert fault.hits == 0
    assert not moved[1]._forward_pre_hooks
    assert not moved[1]._forward_hooks


def test_a_modules_fault_is_its_threads(npu: Any) -> None:
    inside, wait = threading.Event(), threading.Event()

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inside.set()
            assert wait.wait(30)
            return F.gelu(x)

    slow, x = Slow(), draw(20).to("npu")
    results: list[Tensor] = []
    with faults.inject("gelu_tanh", slow):
        thread = threading.Thread(target=lambda: results.append(slow(x)))
        thread.start()
        assert inside.wait(30)
        equal(F.gelu(x), F.gelu(x.cpu()))
        wait.set()
        thread.join()
    equal(results[0], F.gelu(x.cpu(), approximate="tanh"))


def test_everywhere_is_every_thread(npu: Any) -> None:
    x = draw(20).to("npu")
    results: list[Tensor] = []
    with faults.inject("gelu_tanh"):
        thread = threading.Thread(target=lambda: results.append(F.gelu(x)))
        thread.start()
        thread.join()
    equal(results[0], F.gelu(x.cpu(), approximate="tanh"))


def test_cpu_tensors_stay_right_beside_a_falsified_npu(npu: Any) -> None:
    x = draw(20)
    right = F.gelu(x)
    with faults.inject("gelu_tanh"):
        F.gelu(x.to("npu"))
        equal(F.gelu(x), right)
    with faults.inject("gelu_tanh", device="cpu"):
        F.gelu(x)
        equal(F.gelu(x.to("npu")), right)


# ------------------------------------------------------------------------------------------------- torch.npu's switches


def test_faults_that_follow_the_switches(npu: Any) -> None:
    x, weight, a = draw(2, 8, 30).to("npu"), draw(6, 8, 3).to("npu"), draw(5, 5).to("npu")
    right = F.conv1d(x, weight).cpu()
    with faults.inject("hf32", as_configured=True) as fault:
        assert not torch.equal(F.conv1d(x, weight).cpu(), right)  # on by default
        equal(a @ a, a.cpu() @ a.cpu())  # off by default
        npu.conv.allow_hf32 = False
        equal(F.conv1d(x, weight), right)
        npu.conv.allow_hf32 = True
        assert fault.hits == 1
        npu.matmul.allow_hf32 = True
        assert not torch.equal((a @ a).cpu(), a.cpu() @ a.cpu())
        npu.matmul.allow_hf32 = False
    with faults.inject("gelu_tanh", as_configured=True):
        equal(F.gelu(a), F.gelu(a.cpu(), approximate="tanh"))
        npu.use_compatible_impl(True)
        equal(F.gelu(a), F.gelu(a.cpu()))
        npu.use_compatible_impl(False)


# ------------------------------------------------------------------------------------------------------------- misuse


def test_a_fault_that_hits_nothing_is_an_error(device: Literal["npu", "cpu"]) -> None:
    net = network().to(device)
    with (
        pytest.raises(UsageError, match=r"met no operation in 1\.fc1"),
        faults.inject("gelu_tanh", (net, "1.fc1"), device=device),
    ):
        net(draw(2, 8).to(device))
    with pytest.raises(UsageError, match="met no operation everywhere"), faults.inject("saturate", device=device):
        pass
    with pytest.raises(ZeroDivisionError), faults.inject("saturate", device=device):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("gelu", {}),
        ("hf32", {"bits": 11}),
        ("hf32", {"mantissa_bits": 0}),
        ("hf32", {"mantissa_bits": 23}),
        ("hf32", {"operations": "convolutions"}),
        ("fp16_accumulation", {"block": 0}),
        ("mask_ignored", {"position": -1}),
        ("saturate", {"position": 1}),
    ],
)
def test_what_is_not_understood(kind: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(UsageError), faults.inject(kind, device="cpu", **parameters):
        pass


def test_a_module_that_is_not_there() -> None:
    with (
        pytest.raises(UsageError, match=r"no module '1\.fc3'"),
        faults.inject("gelu_tanh", (network(), "1.fc3"), device="cpu"),
    ):
        pass


# ---------------------------------------------------------------------------------------------- the CPU's own operators


def test_fused_layers_of_the_cpu_are_met_too() -> None:
    """voxport's CPU path goes by oneDNN's fused layers."""
    from voxport.models.cpu_products import StepLinear, linear

    x, weight, bias, add = draw(3, 96), draw(64, 96, scale=0.1), draw(64), draw(3, 64)
    layer = StepLinear(weight, bias)
    calls: list[Callable[[], Tensor]] = [
        lambda: linear(x, weight, bias, activation="gelu"),
        lambda: layer(x, activation="gelu"),
        lambda: linear(x, weight, bias, activation="silu"),
        lambda: linear(x, weight, bias, add=add),
        lambda: layer(x),
    ]
    exact = F.linear(x.double(), weight.double(), bias.double())
    coarse = F.linear(with_mantissa_of(x, 5), with_mantissa_of(weight, 5), bias)
    behind: list[Callable[[Tensor], Tensor]] = [
        F.gelu,
        F.gelu,
        F.silu,
        lambda y: y + add,
        lambda y: y,
    ]
    with torch.inference_mode():
        for call, then in zip(calls, behind, strict=True):
            torch.testing.assert_close(call(), then(exact).float(), rtol=1e-4, atol=1e-4)
            with faults.inject("hf32", device="cpu", mantissa_bits=5):
                torch.testing.assert_close(call(), then(coarse), rtol=1e-4, atol=1e-4)
        right, wrong = F.gelu(exact).float(), F.gelu(exact, approximate="tanh").float()
        for call in calls[:2]:
            with faults.inject("gelu_tanh", device="cpu"):
                found = call()
            torch.testing.assert_close(found, wrong, rtol=1e-5, atol=1e-5)
            assert (found - right).abs().max() > 1e-4
