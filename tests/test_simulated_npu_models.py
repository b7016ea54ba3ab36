"""voxport's own models on the simulated NPU: the CPU's numbers, on the device asked for, and what wrong devices do."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import voxport
from lasr_folders import noise, small_folder
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.errors import DeviceError, VoxportError
from voxport.models import cpu_products
from voxport.testing import faults
from voxport.types import Audio, DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxport.types import FloatArray

npu: Any = None

CLOSE = 2e-5
"""Logits: the CPU's path has fused layers that sum up in another order."""
CLOSE_WHISPER = 2e-3
"""Logits up to 30, hidden states up to 13; over four layers the orders of sums show."""

PLAIN = DecodingOptions(timestamps=False, no_speech_threshold=None)


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> Iterator[None]:
    global npu
    activate_or_skip()
    npu = torch.npu  # type: ignore[attr-defined]
    testing.activate(2)  # with torch_npu, whose version goes into results
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        yield


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    yield
    npu.conv.allow_hf32, npu.matmul.allow_hf32 = True, False
    npu.use_compatible_impl(False)


@pytest.fixture(scope="module")
def lasr(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_folder(tmp_path_factory.mktemp("models") / "lasr"))


def logits(model: Any, windows: list[Audio]) -> FloatArray:
    """Of all valid frames, one window's after the other's: (frames, V)."""
    encoded = model.encode(model.features(windows))
    found = model.logits(encoded)
    return np.concatenate([rows[:count] for rows, count in zip(found, encoded.frames, strict=True)])


# ------------------------------------------------------------------------------------------------------------ MedASR


@pytest.mark.parametrize("device", ["npu:0", "npu:1"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_medasr(lasr: str, device: str, dtype: str) -> None:
    windows = [noise(3.3), noise(1.2, 1), noise(0.2, 2)]
    wanted = logits(voxport.load_model(lasr, "cpu", dtype), windows)
    model: Any = voxport.load_model(lasr, device, dtype)
    assert {str(parameter.device) for parameter in model.net.parameters()} == {device}
    found = logits(model, windows)
    room = {"float32": CLOSE, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    assert np.abs(found - wanted).max() < room
    decoded = model.decode(model.encode(model.features(windows)), DecodingOptions())
    assert len(decoded) == len(windows)


def test_medasrs_memory_comes_back(lasr: str) -> None:
    gc.collect()
    before = npu.memory_allocated(1), npu.memory_allocated(0)
    model: Any = voxport.load_model(lasr, "npu:1", "float32")
    weights = sum(parameter.numel() * 4 for parameter in model.net.parameters())
    assert npu.memory_allocated(1) - before[0] >= weights
    logits(model, [noise(2.0)])
    assert npu.memory_allocated(0) == before[1], "something went to the wrong device"
    del model
    gc.collect()
    assert npu.memory_allocated(1) == before[0]


def test_medasrs_forward_never_waits_for_the_device(lasr: str) -> None:
    model: Any = voxport.load_model(lasr, "npu:0", "float32")
    features = model.features([noise(2.0), noise(1.0)])
    model.encode(features)
    with testing.count_operations() as counted:
        mel = torch.from_numpy(features.mel).to("npu:0")
        model.net(mel, [mel.shape[1], mel.shape[1] // 2])
    assert counted.synchronisations == 0
    assert counted.total > 50


def test_medasrs_chip_without_a_kernel(lasr: str) -> None:
    model: Any = voxport.load_model(lasr, "npu:0", "float32")
    with testing.unsupported("silu"), pytest.raises(NotImplementedError, match="aten::silu"):
        logits(model, [noise(1.0)])


@pytest.mark.parametrize(
    ("kind", "module", "parameters"),
    [
        ("hf32", "encoder.layers.1.feed_forward1", {"operations": "matmul"}),
        ("hf32", "encoder.layers.0.conv", {}),
        ("hf32", None, {}),
        ("fp16_accumulation", "encoder.layers.1", {}),
        ("mask_ignored", "encoder.layers.1.self_attn", {"position": 10}),
        ("mask_ignored", None, {"position": 10}),
    ],
)
def test_a_fault_in_medasr_is_seen(
    lasr: str, kind: faults.Kind, module: str | None, parameters: dict[str, Any]
) -> None:
    """What a comparison with the CPU has to find."""
    windows = [noise(3.3), noise(1.2, 1)]
    model: Any = voxport.load_model(lasr, "npu:0", "float32")
    right = logits(model, windows)
    with faults.inject(kind, None if module is None else (model.net, module), **parameters):
        wrong = logits(model, windows)
    assert np.abs(wrong - right).max() > CLOSE
    assert np.array_equal(logits(model, windows), right)


# ----------------------------------------------------------------------------------------------------------- Whisper


@pytest.fixture(scope="module")
def tiny(tiny_en: Path) -> Any:
    return voxport.load_model(str(tiny_en), "npu:1", "float32")


@pytest.fixture(scope="module")
def tiny_on_cpu(tiny_en: Path) -> Any:
    return voxport.load_model(str(tiny_en), "cpu", "float32")


def test_whispers_numbers(tiny: Any, tiny_on_cpu: Any, jfk: Path) -> None:
    from whisper_pairs import read

    features = tiny.features([read(jfk)])
    encoded, wanted = tiny.encode(features), tiny_on_cpu.encode(features)
    assert str(encoded.hidden.device) == "npu:1"
    assert (encoded.hidden.cpu() - wanted.hidden).abs().max() < CLOSE_WHISPER
    tokens = [[50257, 50362, 843, 523, 616, 5891, 3399, 1265]]
    assert np.abs(tiny.logits(encoded, tokens) - tiny_on_cpu.logits(wanted, tokens)).max() < CLOSE_WHISPER
    (found,), (expected,) = tiny.decode(encoded, PLAIN), tiny_on_cpu.decode(wanted, PLAIN)
    assert found.tokens == expected.tokens
    assert "ask not what your country can do for you" in found.text
    assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)


def test_whispers_encoder_bit_for_bit(tiny: Any, tiny_on_cpu: Any, jfk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the CPU without its fused layers: the very operations that run on the device."""
    from whisper_pairs import read

    monkeypatch.setattr(cpu_products, "_has_mkl", lambda: False)
    monkeypatch.setattr(cpu_products, "_onednn", lambda: None)
    features = tiny.features([read(jfk)])
    assert torch.equal(tiny.encode(features).hidden.cpu(), tiny_on_cpu.encode(features).hidden)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_whisper_in_half_precision(tiny_en: Path, jfk: Path, dtype: str) -> None:
    transcript = voxport.transcribe(jfk, model=str(tiny_en), device="npu:0", dtype=dtype)
    assert "what your country can do for you" in transcript.text
    assert transcript.simulated == "npu"


def test_a_transcript_says_that_it_is_simulated(tiny: Any, tiny_on_cpu: Any, jfk: Path) -> None:
    found, wanted = voxport.transcribe(jfk, model=tiny), voxport.transcribe(jfk, model=tiny_on_cpu)
    assert found.text == wanted.text
    assert found.simulated == "npu"
    assert wanted.simulated is None
    description = tiny.device.describe()
    assert "(simulated)" in description["chip"]
    assert description["torch_npu"].endswith("+simulated")
    assert description["simulated"] == "npu"


def test_whisper_waits_less_than_once_a_token(tiny: Any, jfk: Path) -> None:
    from whisper_pairs import read

    encoded = tiny.encode(tiny.features([read(jfk)]))
    with testing.count_operations() as counted:
        (hypothesis,) = tiny.decode(encoded, PLAIN)
    assert counted.synchronisations <= len(hypothesis.tokens) / 2 + 5
    assert counted.transfers["device_to_device"] == 0


def test_both_devices_at_once(tiny_en: Path, jfk: Path) -> None:
    transcript = voxport.transcribe(jfk, model=str(tiny_en), device="npu:0,1", dtype="float32")
    assert "ask not what your country can do for you" in transcript.text


@pytest.mark.parametrize(
    ("kind", "module", "parameters"),
    [
        ("gelu_tanh", None, {}),
        ("gelu_tanh", "model.encoder.layers.2", {}),
        ("hf32", "model.encoder", {"operations": "conv"}),
        ("hf32", "model.encoder.layers.3", {"operations": "matmul"}),
        ("fp16_accumulation", "model.encoder.layers.0", {}),
    ],
)
def test_a_fault_in_whisper_is_seen(
    tiny: Any, jfk: Path, kind: faults.Kind, module: str | None, parameters: dict[str, Any]
) -> None:
    from whisper_pairs import read

    features = tiny.features([read(jfk)])
    right = tiny.encode(features).hidden
    with faults.inject(kind, None if module is None else (tiny.net, module), **parameters):
        wrong = tiny.encode(features).hidden
    assert (wrong - right).abs().max() > 1e-3
    assert torch.equal(tiny.encode(features).hidden, right)


def test_strict_precision_switches_the_devices_own_shortcuts_off(tiny_en: Path, jfk: Path) -> None:
    from whisper_pairs import read

    def hidden(precision: Any) -> torch.Tensor:
        model: Any = voxport.load_model(str(tiny_en), "npu:0", "float32", precision=precision)
        found: torch.Tensor = model.encode(model.features([read(jfk)])).hidden.cpu()
        return found

    right = hidden("default")
    with faults.inject("hf32", as_configured=True), faults.inject("gelu_tanh", as_configured=True):
        assert (hidden("default") - right).abs().max() > 5e-3
    npu.conv.allow_hf32 = True
    npu.use_compatible_impl(False)
    with (
        faults.inject("hf32", as_configured=True, must_hit=False) as rounding,
        faults.inject("gelu_tanh", as_configured=True, must_hit=False) as tanh,
    ):
        assert torch.equal(hidden("strict"), right)
    assert rounding.hits == tanh.hits == 0


def test_too_little_memory_is_explained(tiny_en: Path, jfk: Path) -> None:
    with testing.memory_limit(npu.memory_allocated(0) + (20 << 20), 0), pytest.raises(VoxportError) as caught:
        voxport.load_model(str(tiny_en), "npu:0", "float32")
    assert isinstance(caught.value, DeviceError)
    assert "memory" in caught.value.message
    model = voxport.load_model(str(tiny_en), "npu:0", "float32")
    gc.collect()
    with testing.memory_limit(npu.memory_allocated(0) + (1 << 20), 0), pytest.raises(VoxportError, match="memory"):
        voxport.transcribe(jfk, model=model)
    assert "country" in voxport.transcribe(jfk, model=model).text
