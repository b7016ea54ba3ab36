"""What the simulated NPU counts, and operations it is told to lack."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from simulated_npu import activate_or_skip
from voxport import testing
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> None:
    activate_or_skip()


def test_a_known_program() -> None:
    host = torch.ones(4, 8)
    weight, bias = torch.ones(6, 8).to("npu"), torch.ones(6).to("npu")
    with testing.count_operations() as counted:
        x = host.to("npu")
        for _ in range(3):
            y = F.gelu(F.linear(x, weight, bias))
        z = y.view(2, 12)[:, ::2].t().unsqueeze(0)  # views run nothing
        torch.empty(5, device="npu")  # nor does an allocation
        total = (z + 1).sum()
        total.item()
        y.cpu()
        y.to("npu:1")
        host + 1  # not the device's
    assert counted.operations == Counter(
        {
            "aten::addmm": 3,
            "aten::gelu": 3,
            "aten::add.Tensor": 1,
            "aten::sum.dim_IntList": 1,
            "aten::_local_scalar_dense": 1,
            "aten::copy_": 3,
        }
    )
    assert counted.total == 12
    assert counted.transfers == Counter(host_to_device=1, device_to_host=1, device_to_device=1)
    assert counted.synchronisations == 2
    assert counted["addmm"] == counted["aten::addmm"] == 3
    assert counted["add"] == counted["add.Tensor"] == 1
    assert counted["softmax"] == 0


@pytest.mark.parametrize(
    ("do", "waits"),
    [
        (lambda x: x.item(), 1),
        (lambda x: float(x), 1),
        (lambda x: bool(x > 0), 1),
        (lambda x: x.expand(3).tolist(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.to("cpu", non_blocking=True), 0),
        (lambda x: torch.zeros(()).copy_(x), 1),
        (lambda x: x.to("npu:1"), 0),
        (lambda x: torch.ones(3).to("npu"), 0),
        (lambda x: x + 1, 0),
        (lambda x: x.expand(3).nonzero(), 1),
        (lambda x: x.expand(3)[x.expand(3) > 0], 1),
        (lambda x: torch.where(x > 0, x, 0), 0),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: torch.allclose(x, x), 1),
        (lambda x: x.expand(3).clone().masked_fill_(x.expand(3) > 0, 2), 0),
        (lambda x: torch.npu.synchronize(), 1),  # type: ignore[attr-defined]
        (lambda x: torch.accelerator.synchronize(), 1),
        (lambda x: torch.npu.current_stream().synchronize(), 1),  # type: ignore[attr-defined]
    ],
)
def test_waiting_for_the_device(do: Callable[[Tensor], Any], waits: int) -> None:
    x = torch.ones((), device="npu")
    with testing.count_operations() as counted:
        do(x)
    assert counted.synchronisations == waits


def test_nested_and_by_other_threads() -> None:
    x = torch.ones(3, device="npu")
    testing.reset_counters()
    with testing.count_operations() as outer:
        x * 2
        with testing.count_operations() as inner:
            thread = threading.Thread(target=lambda: x * 3)
            thread.start()
            thread.join()
        x * 4
        testing.reset_counters()
        x * 5
    assert inner.operations == Counter({"aten::mul.Tensor": 1})
    assert outer["mul"] == 4
    assert testing.counters().operations == Counter({"aten::mul.Tensor": 1})


def test_counts_are_complete_after_a_failure() -> None:
    x = torch.ones(3, device="npu")
    with testing.count_operations() as counted, pytest.raises(RuntimeError):
        (x * 2) + torch.ones(2, device="npu")
    assert counted["mul"] == 1


def test_an_operation_that_is_lacking() -> None:
    x = torch.ones(3, device="npu")
    with testing.unsupported("gelu", "aten::sub.Tensor"):
        with pytest.raises(
            NotImplementedError, match=r"The operator 'aten::gelu' is not currently supported on the NPU backend"
        ):
            F.gelu(x)
        with pytest.raises(NotImplementedError, match=r"aten::sub\.Tensor"):
            x - x
        F.gelu(x.cpu())
        F.silu(x)
        with testing.count_operations() as counted, pytest.raises(NotImplementedError):
            F.gelu(x)
        assert counted.total == 0
        with testing.unsupported("gelu", "silu"), pytest.raises(NotImplementedError):
            F.silu(x)
        F.silu(x)
        with pytest.raises(NotImplementedError):
            F.gelu(x)
    F.gelu(x)


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("copy_", lambda x: x.cpu()),
        ("convolution", lambda x: F.conv1d(x, x[:1])),
        ("aten::convolution_overrideable", lambda x: F.conv1d(x, x[:1])),
        ("scaled_dot_product_attention", lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None])),
        ("native_layer_norm", lambda x: F.layer_norm(x, (3,))),
        ("addmm", lambda x: F.linear(x[0], x[0], x[0, 0])),
        ("mul", lambda x: x.mul_(2)),
        ("mul_.Tensor", lambda x: x.mul_(2)),
        ("fill_", lambda x: x.fill_(2)),
        ("index", lambda x: x[x > 0]),
        ("uniform_", lambda x: torch.rand(3, device="npu")),
        ("_fft_r2c", lambda x: torch.fft.rfft(x)),
        ("sort", lambda x: x.sort()),
    ],
)
def test_operations_by_name(name: str, do: Callable[[Tensor], Any]) -> None:
    x = torch.ones(3, 3, 3, device="npu")
    do(x)
    denied = "mul_" if name == "mul" else name
    with testing.unsupported(denied), pytest.raises(NotImplementedError):
        do(x)


@pytest.mark.parametrize("name", ["gelo", "aten::gelo", "add.Tensr", "nothing::at_all", "linear", "view"])
def test_names_that_would_deny_nothing(name: str) -> None:
    with pytest.raises(UsageError), testing.unsupported(name):
        pass


def test_other_libraries_operations_are_lacking() -> None:
    x = torch.ones(4, 4, device="npu")
    with pytest.raises(NotImplementedError, match="mkldnn"):
        torch.ops.mkldnn._linear_pointwise(x, x, None, "none", [], "")
