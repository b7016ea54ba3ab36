"""The device contract, on every device that is here and on the simulated NPU always: itself, and our models on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

import voxport
from lasr_folders import noise, small_folder
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.devices import DEVICES, DTYPES, PRECISIONS, Device, get_device, make_device
from voxport.types import DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxport.types import Audio

LONG = 65.0
"""Seconds of the long recording: three windows of Whisper's, four of MedASR's."""


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with pytest.MonkeyPatch.context() as patch:
        found = make_device(request.param)
        error = found.unavailable()
        if error is not None and request.param == "npu":
            activate_or_skip()
            testing.activate(2)
            patch.setenv(testing.ENVIRONMENT, "npu:2")
            found = make_device("npu")
            error = found.unavailable()
        if error is not None:
            pytest.skip(f"no {request.param}: {error.message}")
        yield found
        found.set_precision("default")
        if found.simulated:  # strict switches it on, and nothing switches it off on a real one
            torch.npu.use_compatible_impl(False)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def elsewhere(device: Device) -> Device:
    """What is held against the CPU must be another."""
    if device.kind == "cpu":
        pytest.skip("the CPU is what others are held against")
    return device


@pytest.fixture(scope="module")
def lasr(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_folder(tmp_path_factory.mktemp("models") / "lasr"))


def names(device: Device) -> list[str]:
    """The device, and where there are several of its kind two of them."""
    several = device.describe()["count"] > 1
    return [str(device), f"{device.kind}:0,1"] if several else [str(device)]


# ------------------------------------------------------------------------------------------------------------- itself


def test_it_has_the_name_by_which_it_is_found(device: Device) -> None:
    assert str(get_device(str(device))) == str(device)
    assert str(device).partition(":")[0] == device.kind
    assert device.torch_device.type == device.kind


def test_it_says_what_it_is(device: Device) -> None:
    facts = device.describe()
    assert {"device", "chip", "count", "host", "logical_cores", "threads", "torch", "python"} <= facts.keys()
    assert facts["device"] == str(device)
    assert facts["chip"]
    assert facts["count"] >= 1
    assert all(isinstance(note, str) for note in device.notes())


@pytest.mark.parametrize("family", ["whisper", "lasr_ctc"])
def test_its_default_dtype_is_one_it_can_compute_in(device: Device, family: str) -> None:
    dtype = device.default_dtype(family)
    assert dtype in DTYPES
    device.check_dtype(dtype)


def test_it_computes_and_counts(device: Device) -> None:
    assert device.try_out() is None
    device.reset_peak_memory()
    values = torch.ones(1024, device=device.torch_device)
    device.synchronize()
    peak, memory = device.peak_memory(), device.memory()
    assert peak is None or peak >= values.nbytes
    assert memory is None or 0 < memory[0] <= memory[1]
    assert device.bucket(100) >= 100
    assert device.sync_interval >= 1
    assert device.explain(ValueError("nothing of the device's")) is None


def test_precision_can_be_chosen_and_chosen_back(device: Device) -> None:
    for precision in (*PRECISIONS, PRECISIONS[0]):
        device.set_precision(precision)


# ---------------------------------------------------------------------------------------------------- models on it


@pytest.mark.parametrize("timestamps", [False, True])
def test_whispers_tokens_are_the_cpus(elsewhere: Device, tiny_en: Path, jfk: Path, timestamps: bool) -> None:
    """Single and in a batch whose rows end one after the other."""
    from whisper_pairs import parts

    windows = parts(jfk)
    options = DecodingOptions(language="en", timestamps=timestamps, no_speech_threshold=None)

    def tokens(model: Any, windows: list[Audio]) -> list[tuple[int, ...]]:
        return [found.tokens for found in model.decode(model.encode(model.features(windows)), options)]

    wanted = tokens(voxport.load_model(str(tiny_en), "cpu", "float32"), windows)
    model = voxport.load_model(str(tiny_en), str(elsewhere), "float32", precision="strict")
    assert tokens(model, windows) == wanted
    assert [tokens(model, [window])[0] for window in windows] == wanted


def test_medasrs_tokens_are_the_cpus(elsewhere: Device, lasr: str) -> None:
    windows = [noise(9.3), noise(4.0, 1), noise(0.3, 2)]

    def tokens(model: Any, windows: list[Audio]) -> list[tuple[int, ...]]:
        return [found.tokens for found in model.decode(model.encode(model.features(windows)), DecodingOptions())]

    wanted = tokens(voxport.load_model(lasr, "cpu", "float32"), windows)
    assert len(wanted[0]) > 20
    model = voxport.load_model(lasr, str(elsewhere), "float32", precision="strict")
    assert tokens(model, windows) == wanted
    assert [tokens(model, [window])[0] for window in windows] == wanted


@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_a_long_recording(
    elsewhere: Device, family: str, tiny_en: Path, lasr: str, shared_data: Path, tmp_path: Path
) -> None:
    """Batches of windows, on one device and on two: the CPU's tokens and times."""
    model = str(tiny_en) if family == "whisper" else lasr
    samples, rate = soundfile.read(shared_data / "audio/long-lj001.flac", dtype="float32")
    recording = tmp_path / "long.wav"
    soundfile.write(recording, samples[: round(LONG * rate)], rate)

    def segments(name: str) -> list[tuple[float, float, tuple[int, ...]]]:
        found = voxport.transcribe(recording, model=model, device=name, dtype="float32", precision="strict")
        return [(segment.start, segment.end, tuple(segment.tokens)) for segment in found.segments]

    wanted = segments("cpu")
    assert len(wanted) >= 3
    assert wanted[-1][1] > LONG - 5
    for name in names(elsewhere):
        found = segments(name)
        assert [tokens for _, _, tokens in found] == [tokens for _, _, tokens in wanted]
        assert np.allclose([times[:2] for times in found], [times[:2] for times in wanted], atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_it_has(device: Device, dtype: str, tiny_en: Path, lasr: str, jfk: Path) -> None:
    device.check_dtype(dtype)
    found = voxport.transcribe(jfk, model=str(tiny_en), device=str(device), dtype=dtype)
    assert "ask not what your country can do for you" in found.text
    assert (found.device, found.dtype, found.simulated) == (str(device), dtype, device.simulated)
    heard = voxport.transcribe(jfk, model=lasr, device=str(device), dtype=dtype)
    assert heard.dtype == dtype
    assert heard.model.random_weights
