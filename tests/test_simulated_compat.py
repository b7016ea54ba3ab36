"""While `cuda_as_npu` is active, CUDA means the (simulated) NPU; afterwards torch is what it was.

The simulation stays in this process: what does without it is in test_compat.py.
"""

from __future__ import annotations

import io
import sys
import threading
import time
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.utils._device import DeviceContext
from torch.utils.data import DataLoader, TensorDataset

from simulated_npu import activate_or_skip
from voxport.cli import main
from voxport.compat import cuda_as_npu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


NO_CUDA = "not compiled with CUDA|no NVIDIA driver"
"""What the true torch.cuda says here: a build without CUDA, and one with it."""


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> None:
    activate_or_skip()


@pytest.fixture
def cuda() -> Iterator[None]:
    """Within `cuda_as_npu`."""
    with cuda_as_npu():
        yield


def _contents() -> dict[tuple[str, str], Any]:
    """All that torch's modules hold, and the classes that are changed."""
    owners: dict[str, Any] = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "torch" and isinstance(module, types.ModuleType)
    }
    classes: list[Any] = [
        torch.Tensor, torch.UntypedStorage, torch.TypedStorage, torch.storage._StorageBase, torch.Generator, nn.Module,
        nn.DataParallel, torch.autocast, torch.cuda.amp.autocast, torch.amp.GradScaler, DeviceContext, threading.Thread,
    ]  # fmt: skip
    owners |= {f"{owner.__module__}.{owner.__qualname__}": owner for owner in classes}
    return {(name, attribute): value for name, owner in owners.items() for attribute, value in vars(owner).items()}


def _differences(before: dict[tuple[str, str], Any], after: dict[tuple[str, str], Any]) -> list[tuple[str, str]]:
    """What is not the same object; submodules that were loaded meanwhile don't count."""
    known = {owner for owner, _ in before}
    changed = [key for key, value in before.items() if key not in after or after[key] is not value]
    return changed + [
        key
        for key, value in after.items()
        if key not in before and key[0] in known and not isinstance(value, types.ModuleType)
    ]


def _twice() -> None:
    for _ in range(2):
        with cuda_as_npu():
            torch.ones(1).cuda()


def _nested() -> None:
    with cuda_as_npu(), cuda_as_npu():
        pass
    with cuda_as_npu():
        with cuda_as_npu():
            torch.ones(1).cuda()
        assert torch.ones(1, device="cuda").is_cuda


def _failing() -> None:
    def fail() -> None:
        torch.set_default_device("cuda")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), cuda_as_npu():
        fail()


def _exiting() -> None:
    with pytest.raises(KeyboardInterrupt), cuda_as_npu(), cuda_as_npu():
        raise KeyboardInterrupt


@cuda_as_npu()
def _decorated() -> None:
    assert torch.ones(1).cuda().is_cuda


@pytest.mark.parametrize("use", [_twice, _nested, _failing, _exiting, _decorated])
def test_everything_is_put_back(use: Callable[[], None]) -> None:
    from voxport.compat import redirection

    with cuda_as_npu():  # what torch loads late is loaded now
        torch.ones(1).cuda()
    before = _contents()
    with cuda_as_npu():
        assert len(_differences(before, _contents())) > 100  # it would be seen
        replaced = list(redirection._undo)
    use()
    assert _differences(before, _contents()) == []
    assert all(vars(owner).get(name, redirection._ABSENT) is value for owner, name, value in replaced)
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.ones(1).device.type == "cpu"
    assert not torch.cuda.is_available()
    with pytest.raises((AssertionError, RuntimeError), match=NO_CUDA):
        torch.ones(1).cuda()


def test_it_ends_with_the_last_thread_that_uses_it() -> None:
    before = _contents()
    entered, leave = threading.Event(), threading.Event()

    def use() -> bool:
        with cuda_as_npu():
            entered.set()
            leave.wait(60)
            return torch.ones(1).cuda().is_cuda

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(use)
        entered.wait(60)
        with cuda_as_npu():
            pass
        assert torch.cuda.is_available()
        leave.set()
        assert other.result()
    assert _differences(before, _contents()) == []


def test_what_somebody_kept_does_what_it_did_before() -> None:
    with cuda_as_npu():
        from torch.cuda import Event, FloatTensor, is_available, synchronize

        class Kept(torch.Generator):
            pass

        assert is_available()
        assert isinstance(torch.Generator("cuda"), Kept.__bases__[0])
    assert not is_available()
    assert isinstance(torch.Generator(), torch.Generator)
    for use in (synchronize, lambda: Event().record()):
        with pytest.raises((AssertionError, RuntimeError)):
            use()
    assert not isinstance(torch.ones(1), FloatTensor)


def test_it_gives_the_device() -> None:
    with cuda_as_npu() as device:
        assert str(device) == "npu:0"
        assert device.simulated == "npu"


def test_leaving_it_waits_for_threads_of_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take the GIL to let go of the mode: once Python is being torn down, that ends the process."""
    from torch.overrides import _get_current_function_mode

    from voxport.compat import redirection

    def hold(seconds: float) -> tuple[threading.Thread, weakref.ref[Any]]:
        mode = _get_current_function_mode()
        assert isinstance(mode, redirection.CUDAMode)
        thread = threading.Thread(target=lambda _: time.sleep(seconds), args=(mode,))
        thread.start()
        return thread, weakref.ref(mode)

    with cuda_as_npu():
        thread, mode = hold(0.2)
    assert mode() is None
    thread.join()

    monkeypatch.setattr(redirection, "RELEASE_SECONDS", 0.01)
    with cuda_as_npu():
        thread, mode = hold(0.2)
    assert mode() is not None  # one that is never let go of holds nobody up
    thread.join()

    monkeypatch.setattr(redirection, "RELEASE_SECONDS", 60.0)
    passes: list[tuple[threading.Thread, weakref.ref[Any]]] = []
    with cuda_as_npu():
        x = torch.ones(2, device="cuda", requires_grad=True)
        x.register_hook(lambda grad: passes.append(hold(0.2)))
        x.sum().backward()
    assert passes[0][1]() is None


# ------------------------------------------------------------------------------------------------ what means the NPU

DEVICES: dict[str, tuple[int, Callable[[], Any]]] = {
    "cuda()": (0, lambda: torch.ones(1).cuda()),
    "cuda(index)": (1, lambda: torch.ones(1).cuda(1)),
    "cuda(name)": (1, lambda: torch.ones(1).cuda("cuda:1", non_blocking=True)),
    "to(name)": (0, lambda: torch.ones(1).to("cuda")),
    "to(name:index)": (1, lambda: torch.ones(1).to("cuda:1")),
    "to(device)": (1, lambda: torch.ones(1).to(torch.device("cuda", 1), torch.float16)),
    "to(device=)": (0, lambda: torch.ones(1).to(device="cuda")),
    "to(tensor)": (0, lambda: torch.ones(1).to(torch.ones(1).cuda())),
    "tensor": (1, lambda: torch.tensor([1.0], device="cuda:1")),
    "zeros": (0, lambda: torch.zeros(1, device="cuda")),
    "randn": (0, lambda: torch.randn(1, device=torch.device("cuda"))),
    "randn, generator": (0, lambda: torch.randn(1, device="cuda", generator=torch.Generator("cuda").manual_seed(1))),
    "arange": (0, lambda: torch.arange(3, device="cuda")),
    "empty_like": (1, lambda: torch.empty_like(torch.ones(1), device="cuda:1")),
    "new_zeros": (1, lambda: torch.ones(1).new_zeros(1, device="cuda:1")),
    "as_tensor": (0, lambda: torch.as_tensor([1], device="cuda")),
    "hann_window": (0, lambda: torch.hann_window(4, device="cuda")),
    "Module.cuda()": (0, lambda: nn.Linear(1, 1).cuda().weight),
    "Module.cuda(index)": (1, lambda: nn.Linear(1, 1).cuda(1).weight),
    "Module.to(name)": (1, lambda: nn.Linear(1, 1).to("cuda:1").weight),
    "Module.to(device=)": (0, lambda: nn.Linear(1, 1).to(device="cuda", dtype=torch.float16).weight),
    "Module(device=)": (0, lambda: nn.Linear(1, 1, device="cuda").weight),
    "Module.to_empty": (0, lambda: nn.Linear(1, 1, device="meta").to_empty(device="cuda").weight),
    "PackedSequence": (0, lambda: nn.utils.rnn.pack_sequence([torch.ones(2, 1)]).cuda().data),
    "storage": (0, lambda: torch.ones(1).untyped_storage().cuda()),
    "storage(index)": (1, lambda: torch.ones(1).untyped_storage().cuda(1)),
    "FloatTensor": (0, lambda: torch.cuda.FloatTensor([1.0])),
    "type(name)": (0, lambda: torch.ones(1).type("torch.cuda.HalfTensor")),
    "type(class)": (0, lambda: torch.ones(1).type(torch.cuda.HalfTensor)),
}


@pytest.mark.parametrize("name", DEVICES)
def test_devices(cuda: None, name: str) -> None:
    index, make = DEVICES[name]
    made = make()
    assert made.is_cuda
    assert made.device == torch.device("npu", index)  # what it says is true


def test_the_current_device(cuda: None) -> None:
    assert torch.cuda.current_device() == 0
    with torch.cuda.device(1):
        assert torch.cuda.current_device() == 1
        assert torch.ones(1).cuda().get_device() == 1
        assert torch.empty(1, device="cuda").get_device() == 1
    torch.cuda.set_device("cuda:1")
    assert torch.cuda.current_device() == 1
    torch.cuda.set_device(torch.device("cuda:0"))
    assert torch.cuda.current_device() == 0


def test_a_scripts_own_device_is_still_of_type_cuda(cuda: None) -> None:
    device = torch.device("cuda:1" if torch.cuda.is_available() else "cpu")
    assert isinstance(device, torch.device)
    assert (device.type, device.index) == ("cuda", 1)


def test_strings_that_are_no_devices_stay(cuda: None) -> None:
    assert torch.einsum("cuda->c", torch.ones(2, 1, 1, 1)).tolist() == [1, 1]
    assert torch.ones(1, device="cpu").device.type == "cpu"
    assert not torch.ones(1).is_cuda
    assert not torch.ones(1).untyped_storage().is_cuda


def test_default_devices() -> None:
    torch.set_default_device("cpu")
    try:
        with cuda_as_npu():
            torch.set_default_device("cuda:1")
            assert torch.ones(1).get_device() == 1
            with torch.device("cuda:0"):
                assert torch.ones(1).get_device() == 0
        assert torch.get_default_device() == torch.device("cpu")
        assert torch.ones(1).device.type == "cpu"
    finally:
        torch.set_default_device(None)
    with cuda_as_npu():
        torch.set_default_tensor_type("torch.cuda.FloatTensor")
        assert torch.ones(1).is_cuda
    assert torch.ones(1).device.type == "cpu"


def test_loading_and_saving(cuda: None) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.ones(3).cuda()}, file)

    def load(**options: Any) -> torch.Tensor:
        file.seek(0)
        loaded: torch.Tensor = torch.load(file, **options)["a"]
        return loaded

    assert load().get_device() == 0
    for place in ("cuda:1", torch.device("cuda:1"), {"npu:0": "cuda:1"}, lambda storage, _: storage.cuda(1)):
        assert load(map_location=place).get_device() == 1
    assert load(map_location="cpu").device.type == "cpu"
    saved_by_cuda = torch.serialization.default_restore_location(torch.ones(1).untyped_storage(), "cuda:1")
    assert saved_by_cuda.device == torch.device("npu:1")


def test_tensors_hand_out_no_cuda_memory(cuda: None) -> None:
    assert not hasattr(torch.ones(1).cuda(), "__cuda_array_interface__")


@pytest.mark.filterwarnings("ignore:The argument 'device' of Tensor:DeprecationWarning")  # torch 2.9's own
def test_pinned_memory(cuda: None) -> None:
    assert torch.ones(1).pin_memory().is_pinned()
    assert torch.ones(1, pin_memory=True).is_pinned()
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2, pin_memory=True)
    assert all(batch.is_pinned() and batch.cuda(non_blocking=True).is_cuda for (batch,) in loader)


# -------------------------------------------------------------------------------------------------------- torch.cuda


def test_what_the_device_says(cuda: None) -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.is_initialized()
    torch.cuda.init()
    assert torch.cuda.device_count() == 2
    assert "simulated" in torch.cuda.get_device_name("cuda:1")
    assert torch.cuda.is_bf16_supported()
    assert torch.cuda.get_device_capability(0) == (8, 0)  # bfloat16, nothing newer
    properties = torch.cuda.get_device_properties("cuda:0")
    assert properties.name == torch.cuda.get_device_name()
    assert properties.total_memory == torch.cuda.mem_get_info("cuda:0")[1]
    assert (properties.major, properties.minor) == (8, 0)
    assert properties.multi_processor_count >= 1


def test_chips_without_bfloat16_have_a_lower_capability(cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.npu, "is_bf16_supported", lambda: False)  # type: ignore[attr-defined]
    assert not torch.cuda.is_bf16_supported()
    assert torch.cuda.get_device_capability() == (7, 0)


def test_memory(cuda: None) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats("cuda:1")
    before = torch.cuda.memory_allocated("cuda:1")
    values = torch.ones(1 << 20, device="cuda:1")
    assert torch.cuda.memory_allocated("cuda:1") >= before + values.nbytes
    assert torch.cuda.memory.max_memory_allocated(1) >= values.nbytes
    assert torch.cuda.memory_reserved(torch.device("cuda", 1)) >= values.nbytes
    assert torch.cuda.memory_stats(1)["allocated_bytes.all.current"] >= values.nbytes
    assert torch.cuda.memory_summary("cuda:1")
    assert torch.cuda.OutOfMemoryError is torch.OutOfMemoryError


def test_events_and_streams(cuda: None) -> None:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    stream = torch.cuda.Stream(device="cuda:0")
    with torch.cuda.stream(stream):
        torch.ones(100, device="cuda").sum()
        assert torch.cuda.current_stream() == stream
    stream.synchronize()
    torch.cuda.current_stream().wait_stream(stream)
    end.record()
    end.synchronize()
    torch.cuda.synchronize("cuda:0")
    assert start.elapsed_time(end) >= 0
    assert isinstance(end, torch.cuda.Event)
    assert isinstance(stream, torch.cuda.Stream)
    assert isinstance(torch.Event("cuda", enable_timing=True), torch.Event)

    class Named(torch.cuda.Stream):
        name = "copies"

    assert isinstance(Named(), torch.cuda.Stream)
    with torch.cuda.nvtx.range("region"):
        torch.cuda.nvtx.range_push("inner")
        torch.cuda.nvtx.mark("here")
        torch.cuda.nvtx.range_pop()


def test_seeds(cuda: None) -> None:
    for seed in (torch.manual_seed, torch.cuda.manual_seed, torch.cuda.manual_seed_all):
        seed(7)
        first = torch.rand(4, device="cuda")
        state = torch.cuda.get_rng_state("cuda:0")
        second = torch.rand(4, device="cuda")
        torch.cuda.set_rng_state(state, "cuda:0")
        assert torch.equal(torch.rand(4, device="cuda"), second)
        seed(7)
        assert torch.equal(torch.rand(4, device="cuda"), first)


def test_autocast(cuda: None) -> None:
    assert torch.get_autocast_dtype("cuda") == torch.get_autocast_gpu_dtype() == torch.float16
    for autocast in (
        lambda: torch.autocast("cuda", dtype=torch.bfloat16),
        lambda: torch.autocast(device_type="cuda", dtype=torch.bfloat16),
        lambda: torch.amp.autocast(torch.device("cuda").type, dtype=torch.bfloat16),
    ):
        with autocast():
            assert torch.is_autocast_enabled()
            assert torch.is_autocast_enabled("cuda")
            assert torch.get_autocast_dtype("cuda") == torch.bfloat16
            assert torch.is_autocast_enabled("npu")
        assert not torch.is_autocast_enabled()
    with pytest.warns(FutureWarning, match="deprecated"):
        old = torch.cuda.amp.autocast()
    with old:
        assert torch.is_autocast_enabled("npu")


def test_scaled_training_in_mixed_precision(cuda: None) -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype == torch.float32
            assert not torch.is_autocast_enabled()
            return x * 2

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    model = nn.Linear(2, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for scaler in (torch.amp.GradScaler("cuda", init_scale=128), torch.amp.GradScaler(init_scale=128)):
        assert scaler.is_enabled()
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            half = torch.ones(3, 2, device="cuda", dtype=torch.float16)
            loss = model(Doubled.apply(half)).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.allclose(before - model.weight, torch.full_like(before, 0.6), atol=1e-2)


def test_the_profiler_leaves_cuda_out(cuda: None) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with (
        pytest.warns(UserWarning, match="torch_npu.profiler does"),
        torch.profiler.profile(activities=activities) as profile,
    ):
        torch.ones(4).cuda() + 1
    assert "aten::add" in profile.key_averages().table(sort_by="self_cuda_time_total")


@pytest.mark.parametrize(
    "use",
    [
        lambda: torch.cuda.CUDAGraph(),
        lambda: torch.cuda.graph(None),
        lambda: torch.cuda.make_graphed_callables(nn.Linear(1, 1), (torch.ones(1),)),
        lambda: torch.cuda.cudart(),
        lambda: torch.cuda.memory_snapshot(),
        lambda: nn.DataParallel(nn.Linear(1, 1)),
    ],
)
def test_what_has_no_counterpart_says_so(cuda: None, use: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"cuda_as_npu has no"):
        use()


def test_a_class_without_counterpart_is_still_a_class(cuda: None) -> None:
    assert not isinstance(torch.ones(1), torch.cuda.CUDAGraph)


# ----------------------------------------------------------------------------------------------------------- threads


def test_threads_started_inside_are_covered(cuda: None) -> None:
    class Own(threading.Thread):
        found: torch.Tensor

        def run(self) -> None:
            self.found = torch.ones(1, device="cuda")

    thread = Own()
    thread.start()
    thread.join()
    assert thread.found.is_cuda
    assert "run" not in vars(thread)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: torch.ones(1).to("cuda").is_cuda).result()


def test_threads_that_ran_before_are_told() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        with cuda_as_npu():
            assert pool.submit(torch.cuda.is_available).result()  # torch.cuda is everybody's
            with pytest.raises(NotImplementedError, match="in a thread that ran before"):
                pool.submit(lambda: torch.ones(1).cuda()).result()


def test_threads_left_behind_get_the_true_cuda_again() -> None:
    going = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with cuda_as_npu():
            late = pool.submit(lambda: going.wait(60) and torch.ones(1).cuda())
        going.set()
        with pytest.raises((AssertionError, RuntimeError), match=NO_CUDA):
            late.result()


def test_python_inside_backward_is_covered(cuda: None) -> None:
    """tensor.backward() switches modes off, and works in threads of its own."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * torch.full((1,), 3.0, device="cuda")

    x = torch.ones(2, device="cuda", requires_grad=True)
    x.register_hook(lambda grad: grad + torch.ones(1).cuda())
    Function.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4, 4]
    (again,) = torch.autograd.grad(Function.apply(x).sum(), x)
    assert again.tolist() == [4, 4]


# -------------------------------------------------------------------------------------------------------- voxport run


def test_torch_is_put_back_after_a_script_that_failed(tmp_path: Path) -> None:
    before = _contents()
    script = tmp_path / "script.py"
    script.write_text('import torch\nx = torch.ones(1).cuda()\nraise ValueError("on purpose")\n')
    assert main(["run", "--cuda-as-npu", str(script)]) == 1
    assert _differences(before, _contents()) == []


def test_threads_of_a_script_are_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (
        "import threading, time, torch\n"
        "def work():\n    time.sleep(0.3)\n    print(torch.ones(1).cuda().device)\n"
        "threading.Thread(target=work).start()\n"
    )
    script = tmp_path / "script.py"
    script.write_text(text)
    assert main(["run", "--cuda-as-npu", str(script)]) == 0
    assert capfd.readouterr().out == "npu:0\n"
