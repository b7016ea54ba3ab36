"""The simulated NPU's memory: what tensors take, what comes back, and what happens when there is no more."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from simulated_npu import activate_or_skip
from voxport import testing
from voxport.devices import get_device
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
npu: Any = None


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> None:
    global npu
    activate_or_skip()
    npu = torch.npu  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Any:
    npu.set_device(0)
    gc.collect()
    npu.empty_cache()
    before = [npu.memory_allocated(index) for index in range(2)]
    for index in range(2):
        npu.reset_peak_memory_stats(index)
    yield
    gc.collect()
    assert [npu.memory_allocated(index) for index in range(2)] == before


def test_a_device_says_what_it_holds_now() -> None:
    device = get_device("npu:1")
    before = device.held_memory()
    x = torch.empty(MIB, dtype=torch.uint8, device="npu:1")
    assert before is not None
    allocated, reserved = device.held_memory() or (0, 0)
    assert allocated - before[0] == MIB
    assert reserved >= allocated
    del x
    gc.collect()
    assert (device.held_memory() or (0, 0))[0] == before[0]
    assert get_device("cpu").held_memory() is None


def test_what_a_tensor_takes() -> None:
    base = npu.memory_allocated()
    x = torch.empty(1000, device="npu")
    assert npu.memory_allocated() - base == 4096  # in pieces of 512 bytes
    y = x.view(10, 100)[2:]
    z = x.t().expand(5, 1000)
    assert npu.memory_allocated() - base == 4096  # views take nothing
    del x, z
    assert npu.memory_allocated() - base == 4096  # and keep all
    del y
    assert npu.memory_allocated() == base


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: torch.empty(MIB, device="npu:1", dtype=torch.uint8), MIB),
        (lambda: torch.zeros(MIB // 4).to("npu:1"), MIB),
        (lambda: torch.ones(MIB // 4, device="npu:1") + 1, MIB),
        (lambda: torch.empty(0, device="npu:1").resize_(MIB // 4), MIB),
        (lambda: torch.add(torch.ones(MIB // 4, device="npu:1"), 1, out=torch.empty(0, device="npu:1")), MIB),
        (lambda: torch.ones(MIB // 4, device="npu:0").to("npu:1"), MIB),
        (lambda: torch.cat([torch.ones(MIB // 8, device="npu:1")] * 2), MIB),
        (lambda: torch.ones(512, 512, device="npu:1") @ torch.ones(512, 512, device="npu:1"), MIB),
        (lambda: torch.ones(512, 512, device="npu:1").t().contiguous(), MIB),
        (lambda: torch.ones(4, device="npu:1").nonzero(), 512),
        (lambda: torch.empty(0, device="npu:1"), 0),
        (lambda: torch.arange(MIB // 8, device="npu:1"), MIB),
        (lambda: torch.ones(MIB // 4, device="npu:1").unbind(0)[3], MIB),
        (lambda: nn.Linear(512, 511, device="npu:1"), MIB),
    ],
)
def test_every_way_to_memory_is_counted(make: Callable[[], Any], size: int) -> None:
    base, other = npu.memory_allocated(1), npu.memory_allocated(0)
    made = make()
    gc.collect()
    assert npu.memory_allocated(1) - base == pytest.approx(size, abs=2048 if size > 512 else 0)
    assert npu.memory_allocated(0) == other
    del made


def test_peak_and_statistics() -> None:
    base = npu.memory_allocated()
    x = torch.empty(MIB, dtype=torch.uint8, device="npu")
    y = torch.empty(3 * MIB, dtype=torch.uint8, device="npu")
    del x
    assert npu.max_memory_allocated() - base == 4 * MIB
    assert npu.memory_stats()["allocated_bytes.all.peak"] - base == 4 * MIB
    npu.reset_peak_memory_stats()
    assert npu.max_memory_allocated() - base == 3 * MIB
    assert npu.memory_allocated() == torch.accelerator.memory_allocated()
    assert npu.max_memory_allocated() == torch.accelerator.max_memory_allocated()
    assert npu.memory_reserved() == torch.accelerator.memory_reserved()
    assert torch.accelerator.memory_stats()["allocated_bytes.all.current"] == npu.memory_allocated()
    assert "simulated" in npu.memory_summary()
    del y


def test_freed_memory_stays_reserved_until_the_cache_is_emptied() -> None:
    free, total = npu.mem_get_info()
    assert total == 32 << 30
    x = torch.empty(64 * MIB, dtype=torch.uint8, device="npu")
    assert npu.mem_get_info()[0] <= free - 62 * MIB
    del x
    assert npu.memory_reserved() >= 64 * MIB
    npu.empty_cache()
    assert npu.memory_reserved() < 64 * MIB
    assert npu.mem_get_info() == (free, total)


@pytest.mark.parametrize("by", ["empty", "result", "copy", "resize", "gradient"])
def test_out_of_memory_and_on(by: str) -> None:
    x = torch.ones(MIB // 4, device="npu:1", requires_grad=by == "gradient")
    ways: dict[str, Callable[[], Any]] = {
        "empty": lambda: torch.empty(8 * MIB, dtype=torch.uint8, device="npu:1"),
        "result": lambda: torch.cat([x] * 8),
        "copy": lambda: torch.empty(8 * MIB, dtype=torch.uint8).to("npu:1"),
        "resize": lambda: torch.empty(0, device="npu:1").resize_(2 * MIB),
        "gradient": lambda: (x * x * x * x).sum().backward(),
    }
    with testing.memory_limit(npu.memory_allocated(1) + 3 * MIB, 1):
        with pytest.raises(
            torch.OutOfMemoryError, match=r"NPU out of memory. Tried to allocate .* \(NPU 1; .*simulated"
        ):
            ways[by]()
        gc.collect()
        # What fits goes on.
        assert (x.detach() + 1).sum().item() == MIB // 2
        torch.ones(8 * MIB // 4, device="npu:0").sum()  # the other device has its own
    torch.empty(8 * MIB, dtype=torch.uint8, device="npu:1")
    assert npu.memory_stats(1)["num_ooms"] > 0


def test_an_operation_that_fails_has_no_effect() -> None:
    x = torch.arange(MIB // 4, device="npu", dtype=torch.float32)
    with testing.memory_limit(npu.memory_allocated(), 0), pytest.raises(torch.OutOfMemoryError):
        x * 2
    assert torch.equal(x.cpu(), torch.arange(MIB // 4, dtype=torch.float32))


def test_limits_nest_and_end() -> None:
    with testing.memory_limit(10 * MIB):
        assert npu.mem_get_info(1)[1] == 10 * MIB
        with testing.memory_limit(MIB, 1):
            assert npu.mem_get_info(0)[1] == 10 * MIB
            assert npu.get_device_properties(1).total_memory == MIB
        assert npu.mem_get_info(1)[1] == 10 * MIB
    assert npu.mem_get_info(0)[1] == 32 << 30
    with testing.memory_limit(100 * MIB):
        npu.set_per_process_memory_fraction(0.5, 0)
        assert npu.mem_get_info(0)[1] == 50 * MIB
    testing.activate(2, memory=5 << 30, torch_npu=False)
    assert npu.mem_get_info(1)[1] == 5 << 30
    testing.activate(2, memory=32 << 30, torch_npu=False)


def test_a_model_moves_out_again() -> None:
    net = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4)))
    base = npu.memory_allocated()
    net.to("npu")
    assert npu.memory_allocated() - base == 4 * (256 * 256 + 256) * 4
    net(torch.ones(2, 256, device="npu")).sum().backward()
    net.zero_grad()
    net.cpu()
    gc.collect()
    assert npu.memory_allocated() == base


def test_senseless_sizes() -> None:
    with pytest.raises(UsageError):
        testing.activate(2, memory=0)
    with pytest.raises(UsageError):
        testing.activate(17)
