"""The simulated NPU behaves as a device: placement, copies, dtypes, streams, random numbers, torch.npu."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simulated_npu import activate_or_skip
from voxport import testing
from voxport.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

npu: Any = None
"""torch.npu, once it is there."""

DTYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
]


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> None:
    global npu
    activate_or_skip()
    npu = torch.npu  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _current_device() -> None:
    npu.set_device(0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed + sum(shape)))


def same(found: Tensor, wanted: Tensor) -> bool:
    """Bit for bit, and laid out in the same way."""
    return found.dtype == wanted.dtype and found.stride() == wanted.stride() and torch.equal(found.cpu(), wanted)


# --------------------------------------------------------------------------------------------------------- placement


def test_tensors_are_of_the_device_and_of_torchs_own_class() -> None:
    x = torch.ones(2, 3, device="npu")
    assert type(x) is Tensor
    assert x.device == torch.device("npu", 0)
    assert x.is_npu  # type: ignore[attr-defined]
    assert not x.is_cpu
    assert str(x.device) == "npu:0"
    assert "device='npu:0'" in repr(x)


@pytest.mark.parametrize("index", [0, 1])
def test_factories(index: int) -> None:
    device = torch.device("npu", index)
    kinds = [
        torch.empty(3, device=device),
        torch.zeros(3, device=device),
        torch.full((2,), 7, device=device),
        torch.arange(5, device=device),
        torch.linspace(0, 1, 4, device=device),
        torch.eye(3, device=device),
        torch.tensor([1.0, 2.0], device=device),
        torch.tensor(3, device=device),
        torch.rand(3, device=device),
        torch.randperm(4, device=device),
        torch.tril_indices(3, 3, device=device),
        torch.hann_window(8, device=device),
        torch.empty_strided((2, 2), (1, 2), device=device),
        torch.as_tensor([1, 2], device=device),
        torch.zeros(2).to(device),
    ]
    assert {tensor.device for tensor in kinds} == {device}
    assert torch.ones(2, device=f"npu:{index}").device == device


def test_the_default_device_can_be_the_npu() -> None:
    with torch.device("npu:1"):
        layer = nn.Linear(3, 4)
        x = torch.ones(2, 3)
    assert layer(x).device == torch.device("npu:1")


def test_current_device() -> None:
    assert npu.current_device() == 0
    with npu.device(1):
        assert torch.empty(1, device="npu").device.index == 1
        with npu.device_of(torch.empty(1, device="npu:0")):
            assert npu.current_device() == 0
    assert npu.current_device() == 0
    npu.set_device("npu:1")
    assert torch.ones(2).npu().device.index == 1  # type: ignore[attr-defined]
    assert torch.accelerator.current_device_index() == 1


def test_the_current_device_is_the_threads_own() -> None:
    npu.set_device(1)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(npu.current_device()))
    thread.start()
    thread.join()
    assert seen == [0]


def test_a_device_that_is_not_there() -> None:
    for call in (
        lambda: torch.empty(1, device="npu:2"),
        lambda: torch.zeros(1).to("npu:5"),
        lambda: npu.set_device(2),
        lambda: npu.mem_get_info("npu:7"),
    ):
        with pytest.raises(RuntimeError, match=r"there are 2 simulated devices"):
            call()
    with pytest.raises(ValueError, match="Expected a npu device"):
        npu.synchronize("cpu")


def test_mixed_devices_are_refused() -> None:
    x, other, host = torch.ones(3, device="npu:0"), torch.ones(3, device="npu:1"), torch.ones(3)
    for call, devices in (
        (lambda: x + host, "npu:0 and cpu"),
        (lambda: host + x, "npu:0 and cpu"),
        (lambda: x * other, "npu:0 and npu:1"),
        (lambda: torch.stack([x, host]), "npu:0 and cpu"),
        (lambda: F.linear(torch.ones(2, 3, device="npu"), torch.ones(4, 3)), "npu:0 and cpu"),
        (lambda: F.conv1d(torch.ones(1, 2, 5, device="npu"), torch.ones(3, 2, 2)), "npu:0 and cpu"),
        (lambda: F.layer_norm(x, (3,), host), "npu:0 and cpu"),
        (lambda: x.add_(host), "npu:0 and cpu"),
        (lambda: torch.add(x, x, out=torch.empty(3)), "npu:0 and cpu"),
        (lambda: host.index_select(0, torch.tensor([0], device="npu")), "npu:0 and cpu"),
        (lambda: torch.where(x > 0, x, host), "npu:0 and cpu"),
    ):
        with pytest.raises(RuntimeError, match=f"all tensors to be on the same device.*{devices}"):
            call()


def test_numbers_on_the_host_may_be_mixed_in() -> None:
    x = torch.arange(6.0, device="npu").view(2, 3)
    half = torch.tensor(0.5)
    assert torch.equal((x * half).cpu(), torch.arange(6.0).view(2, 3) * 0.5)
    assert torch.equal(x[torch.tensor([1])].cpu(), torch.tensor([[3.0, 4.0, 5.0]]))  # an index may be on the host
    x[torch.tensor([0])] = half
    assert x[0].tolist() == [0.5] * 3
    with pytest.raises(RuntimeError, match="same device"):
        half.add_(x[0, 0])


def test_the_host_sees_no_device_memory() -> None:
    x = torch.ones(2, device="npu")
    with pytest.raises(TypeError, match=r"can't convert npu:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
        x.numpy()
    with pytest.raises(TypeError, match=r"Tensor\.cpu\(\)"):
        np.asarray(x)
    assert x.tolist() == [1.0, 1.0]
    assert x.cpu().numpy().tolist() == [1.0, 1.0]


def test_layouts_that_the_device_lacks() -> None:
    with pytest.raises(NotImplementedError):
        torch.ones(2, device="npu").to_sparse()
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.ones(2, device="npu").to_mkldnn()


# ------------------------------------------------------------------------------------------------- copies and dtypes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_there_and_back(dtype: torch.dtype) -> None:
    x = (draw(4, 5) * 3).to(dtype)
    for y in (x.to("npu"), x.to("npu:1"), x.npu(), x.to("npu").to("npu:1"), x.to("npu:1", non_blocking=True)):  # type: ignore[attr-defined]
        assert y.dtype == dtype
        assert torch.equal(y.cpu(), x)
        assert torch.equal(y.to("cpu", non_blocking=True), x)


@pytest.mark.parametrize("target", DTYPES, ids=str)
@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_conversions(source: torch.dtype, target: torch.dtype) -> None:
    x = (draw(3, 4) * 3).abs().to(source).t()
    assert same(x.to("npu").to(target), x.to(target))
    assert same(x.to("npu:1", target), x.to(target))
    assert torch.equal(x.to("npu").to("cpu", target), x.to(target))


def test_copies_between_views_of_any_layout() -> None:
    base = torch.arange(60.0).view(3, 4, 5)
    views = [base, base.permute(2, 0, 1), base[:, ::2, 1:4], base[0, :, :1].expand(4, 5)]
    views.append(base.as_strided((3, 4), (1, 1)))  # elements that lie in several places
    for view in views:
        there = view.to("npu:1")
        assert torch.equal(there.cpu(), view)
        assert there.stride() == view.clone().stride()
        target = torch.zeros(8, *view.shape, device="npu").transpose(0, -1)[..., 3]
        expected = torch.zeros(8, *view.shape).transpose(0, -1)[..., 3]
        if target.shape == view.shape:
            target.copy_(there)
            expected.copy_(view)
            assert same(target, expected)


def test_a_copy_is_one() -> None:
    x = torch.zeros(3)
    y = x.to("npu")
    z = y.to("npu:1")
    y.add_(1)
    assert x.tolist() == [0, 0, 0]
    assert z.tolist() == [0, 0, 0]
    w = y.cpu()
    y.add_(1)
    assert w.tolist() == [1, 1, 1]


def test_lazy_conjugation_and_negation() -> None:
    x = torch.view_as_complex(draw(5, 2))
    y = x.to("npu")
    assert y.conj().is_conj()
    assert torch.equal(y.conj().cpu(), x.conj())
    assert torch.equal(y.conj().resolve_conj().cpu(), x.conj().resolve_conj())
    assert torch.equal((y.conj() * y).cpu(), x.conj() * x)
    assert torch.equal(y.conj().imag.cpu(), x.conj().imag)
    y.conj().copy_(y)
    assert torch.equal(y.cpu(), x.conj().resolve_conj())


@pytest.mark.parametrize("shape", [(4,), (2, 0, 3), (0,)])
def test_empty_and_resized(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, device="npu:1")
    assert x.cpu().shape == shape
    x.resize_(5, 6)
    assert x.device.index == 1
    assert x.fill_(2).sum().item() == 60
    grown = torch.empty(0, device="npu:1")
    torch.add(torch.ones(3, device="npu:1"), 1, out=grown)
    assert grown.tolist() == [2.0, 2.0, 2.0]
    x.untyped_storage().resize_(4 * 40)
    assert x.device.index == 1
    assert x.sum().item() == 60


def test_a_view_that_is_an_output_stays_a_view() -> None:
    base = torch.zeros(4, 4, device="npu")
    torch.add(torch.ones(4, device="npu"), 1, out=base[1])
    torch.add(torch.ones(4, device="npu"), 2, out=base[:, 3])
    expected = torch.zeros(4, 4)
    expected[1], expected[:, 3] = 2, 3
    assert torch.equal(base.cpu(), expected)


def test_storages() -> None:
    x = torch.arange(6.0, device="npu:1")
    y = torch.empty(0, device="npu:1").set_(x.untyped_storage(), 1, (2, 2), (2, 1))
    y.zero_()
    assert x.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 5.0]
    assert y.is_set_to(x[1:5].view(2, 2))
    assert x.data_ptr() + 4 == y.data_ptr()
    assert torch.empty(0, device="npu:1").set_(x).data_ptr() == x.data_ptr()
    assert torch.ones(3, device="npu").set_().numel() == 0
    with pytest.raises(RuntimeError, match="different device"):
        torch.empty(0, device="npu:0").set_(x.untyped_storage())


def test_deep_copies_and_shared_parameters() -> None:
    import copy

    x = torch.ones(2, device="npu:1")
    y = copy.deepcopy(x)
    y.zero_()
    assert x.tolist() == [1.0, 1.0]
    assert y.device.index == 1


# ---------------------------------------------------------------------------------------------------- saving, loading


def test_save_and_load(tmp_path: Path) -> None:
    x = {"a": draw(3, 4).to("npu:1"), "b": torch.arange(3).to("npu:0"), "c": torch.ones(2)}
    x["view"] = x["a"][1:, ::2]
    torch.save(x, tmp_path / "x.pt")
    same_place = torch.load(tmp_path / "x.pt")
    assert {name: str(tensor.device) for name, tensor in same_place.items()} == {
        "a": "npu:1",
        "b": "npu:0",
        "c": "cpu",
        "view": "npu:1",
    }
    assert same_place["view"].untyped_storage().data_ptr() == same_place["a"].untyped_storage().data_ptr()
    for where in ("cpu", "npu:0", "npu:1"):
        moved = torch.load(tmp_path / "x.pt", map_location=where)
        assert {str(tensor.device) for tensor in moved.values()} == {where}
        assert all(torch.equal(moved[name].cpu(), x[name].cpu()) for name in x)


def test_a_file_of_the_cpus_is_loaded_onto_the_device() -> None:
    buffer = io.BytesIO()
    torch.save(torch.arange(4), buffer)
    buffer.seek(0)
    assert torch.load(buffer, map_location="npu:1").device.index == 1


def test_modules_and_state_dicts() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.GELU(), nn.Flatten(), nn.Linear(48, 5))
    net.eval()
    there = nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.GELU(), nn.Flatten(), nn.Linear(48, 5))
    there.eval().to("npu:1")
    there.load_state_dict(net.state_dict())
    x = draw(2, 4, 8)
    assert torch.equal(there(x.to("npu:1")).cpu(), net(x))
    assert {str(tensor.device) for tensor in there.state_dict().values()} == {"npu:1"}
    assert torch.equal(there.cpu()(x), net(x))
    assert torch.equal(there.npu()(x.to("npu")).cpu(), net(x))  # type: ignore[operator]
    assert torch.equal(there.to("npu:1", torch.float64)(x.double().to("npu:1")).cpu(), net.double()(x.double()))


def test_tied_parameters_stay_tied() -> None:
    net = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    weight = net[1].weight = net[0].weight
    net.to("npu")
    assert net[1].weight is net[0].weight
    assert net[0].weight is weight
    assert weight.device.index == 0


# ------------------------------------------------------------------------------------------------------------ results


def test_layers_equal_the_cpus() -> None:
    x, image, q = draw(2, 7, 8), draw(2, 8, 20), draw(2, 3, 9, 4)
    weight, bias, kernel = draw(5, 8), draw(5), draw(6, 8, 3)
    mask = torch.rand(2, 1, 1, 9, generator=torch.Generator().manual_seed(0)) > 0.3

    def layers(x: Tensor, image: Tensor, q: Tensor, weight: Tensor, bias: Tensor, kernel: Tensor, mask: Tensor) -> Any:
        yield F.linear(x, weight, bias)
        yield x @ weight.t()
        yield F.conv1d(image, kernel, stride=2, padding=1)
        yield F.conv1d(image, kernel[:, :1].expand(-1, -1, 3)[:8].repeat(4, 1, 1), groups=8)
        yield F.conv_transpose1d(image, kernel.transpose(0, 1))
        yield F.layer_norm(x, (8,))
        yield F.gelu(x)
        yield F.silu(x)
        yield x.softmax(-1)
        yield x.log_softmax(-1)
        yield F.scaled_dot_product_attention(q, q, q)
        yield F.scaled_dot_product_attention(q, q, q, mask)
        yield F.scaled_dot_product_attention(q, q, q, is_causal=True, scale=0.3)
        yield F.glu(x, -1)
        yield F.embedding(x.argmax(-1) % 5, weight)
        yield x.topk(3).values
        yield x.cumsum(1)
        yield x.var(-1)

    values = (x, image, q, weight, bias, kernel, mask)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        cast = [value.to(dtype) if value.is_floating_point() else value for value in values]
        found = list(layers(*(value.to("npu:1") for value in cast)))
        for number, (y, wanted) in enumerate(zip(found, layers(*cast), strict=True)):
            assert y.device.index == 1
            assert same(y, wanted), (dtype, number)


def test_gradients_equal_the_cpus() -> None:
    def train(device: str) -> list[Tensor]:
        torch.manual_seed(0)
        conv, norm, out = nn.Conv1d(4, 8, 3), nn.LayerNorm(8), nn.Linear(8, 3)
        net = nn.ModuleList([conv, norm, out]).to(device)
        x = draw(2, 4, 10).to(device)
        optimizer = torch.optim.AdamW(net.parameters(), foreach=True)
        for _ in range(3):
            h = norm(conv(x).transpose(1, 2))[:, None]
            h = F.scaled_dot_product_attention(h, h, h, is_causal=True)[:, 0]
            loss = F.cross_entropy(out(h).flatten(0, 1), torch.arange(16, device=device) % 3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [parameter.detach().cpu() for parameter in net.parameters()]

    for found, wanted in zip(train("npu:1"), train("cpu"), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_inference_mode() -> None:
    with torch.inference_mode():
        x = torch.ones(2, 3, device="npu")
        y = x.view(3, 2).t()[0].add_(1)
        assert y.is_inference()
        assert x.tolist() == [[2.0, 1.0, 2.0], [1.0, 2.0, 1.0]]


def test_hooks_of_autograd_see_in_place_changes() -> None:
    x = torch.ones(3, device="npu", requires_grad=True)
    y = x * 2
    z = y**2
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


# ------------------------------------------------------------------------------------------- random numbers, autocast


def test_generators() -> None:
    first, second = (torch.Generator("npu:1").manual_seed(5) for _ in range(2))
    x = torch.empty(20, device="npu:1").normal_(generator=first)
    assert torch.equal(x.cpu(), torch.empty(20, device="npu:1").normal_(generator=second).cpu())
    state = first.get_state()
    y = torch.rand(3, device="npu:1", generator=first)
    first.set_state(state)
    assert torch.equal(torch.rand(3, device="npu:1", generator=first).cpu(), y.cpu())
    assert first.device == torch.device("npu:1")
    assert first.initial_seed() == 5
    with pytest.raises(RuntimeError, match="Expected a 'npu' device type for generator but found 'cpu'"):
        torch.rand(3, device="npu", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator"):
        torch.rand(3, generator=first)


def test_seeds() -> None:
    def numbers() -> tuple[list[float], list[float], list[float]]:
        return torch.rand(2).tolist(), torch.rand(2, device="npu:0").tolist(), torch.rand(2, device="npu:1").tolist()

    torch.manual_seed(3)
    wanted = numbers()
    torch.manual_seed(3)
    assert numbers() == wanted
    # The device's numbers and the host's don't disturb each other.
    torch.manual_seed(3)
    torch.rand(7, device="npu")
    assert torch.rand(2).tolist() == wanted[0]
    state = npu.get_rng_state("npu:1")
    again = torch.rand(2, device="npu:1").tolist()
    npu.set_rng_state(state, "npu:1")
    assert torch.rand(2, device="npu:1").tolist() == again
    npu.manual_seed_all(-1)
    npu.set_rng_state_all(npu.get_rng_state_all())


def test_dropout_and_sampling_stay_on_the_device() -> None:
    x = torch.ones(1000, device="npu:1")
    dropped = F.dropout(x, 0.5)
    assert dropped.device.index == 1
    assert 300 < (dropped == 0).sum().item() < 700
    assert torch.multinomial(x, 5).device.index == 1


def test_autocast() -> None:
    x, weight = torch.ones(2, 3, device="npu"), torch.ones(4, 3, device="npu")
    with torch.autocast("npu"):
        assert F.linear(x, weight).dtype == torch.float16
        assert F.layer_norm(x.half(), (3,)).dtype == torch.float32
        assert F.linear(x.cpu(), weight.cpu()).dtype == torch.float32
    with torch.autocast("npu", dtype=torch.bfloat16):
        assert (x @ weight.t()).dtype == torch.bfloat16
    with npu.amp.autocast(enabled=False):
        assert (x @ weight.t()).dtype == torch.float32


# ------------------------------------------------------------------------------------------------ streams and events


def test_events_and_streams() -> None:
    begin, end = npu.Event(enable_timing=True), npu.Event(enable_timing=True)
    begin.record()
    torch.ones(100, 100, device="npu") @ torch.ones(100, 100, device="npu")
    end.record()
    end.synchronize()
    assert begin.elapsed_time(end) > 0
    assert end.query()
    assert isinstance(end, npu.Event)
    untimed = npu.Event()
    untimed.record()
    with pytest.raises(ValueError, match="enable_timing"):
        untimed.elapsed_time(end)

    stream = npu.Stream("npu:1")
    assert isinstance(stream, npu.Stream)
    assert stream.device == torch.device("npu:1")
    with npu.stream(stream):
        assert npu.current_device() == 1
        assert npu.current_stream() == stream
    assert npu.current_device() == 0
    assert npu.current_stream() == npu.default_stream()
    stream.wait_stream(npu.current_stream("npu:1"))
    stream.synchronize()
    torch.ones(2, device="npu:1").record_stream(stream)


def test_torch_accelerator() -> None:
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator() == torch.device("npu")
    assert torch.accelerator.device_count() == 2
    torch.accelerator.set_device_index(1)
    assert npu.current_device() == 1
    torch.accelerator.synchronize()
    assert torch.get_device_module("npu") is npu


def test_pinned_memory() -> None:
    x = torch.arange(4.0).pin_memory()
    assert x.is_pinned()
    assert x[2:].is_pinned()
    assert not torch.arange(4.0).is_pinned()
    assert x.to("npu", non_blocking=True).tolist() == [0, 1, 2, 3]


# ---------------------------------------------------------------------------------------------------------- torch.npu


def test_what_it_says_of_itself() -> None:
    assert npu.is_available()
    assert npu.device_count() == 2
    assert npu.get_device_name() == "Ascend910B4 (simulated)"
    assert npu.get_device_properties(1).total_memory == 32 << 30
    assert npu.is_bf16_supported()
    assert npu.utilization() == 0
    npu.set_compile_mode(jit_compile=False)


def test_switches() -> None:
    assert npu.conv.allow_hf32
    assert not npu.matmul.allow_hf32
    npu.conv.allow_hf32 = False
    npu.config.allow_internal_format = False
    assert not npu.conv.allow_hf32
    npu.conv.allow_hf32 = True
    with pytest.raises(AttributeError, match="allow_hf23"):
        npu.conv.allow_hf23 = False


def test_activating_again() -> None:
    testing.activate(2, torch_npu=False)
    assert testing.is_active()
    with pytest.raises(UsageError, match="simulated already"):
        testing.activate(1)
    with pytest.raises(UsageError, match="simulated already"):
        testing.activate(2, chip="Ascend310P3")


def test_threads_have_no_part_in_each_others_devices() -> None:
    wrong: list[str] = []

    def work(index: int) -> None:
        npu.set_device(index)
        x = torch.arange(1000.0, device="npu")
        for _ in range(200):
            x = (x + 1).clone()
        if x.device.index != index or not torch.equal(x.cpu(), torch.arange(1000.0) + 200):
            wrong.append(f"{index}: {x}")

    threads = [threading.Thread(target=work, args=(number % 2,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
