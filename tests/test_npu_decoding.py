"""Decoding on the simulated NPU: few operations, fused ones that are right, graphs; the CPU's tokens in each way."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

import voxport
from lasr_folders import small_folder
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.devices import get_device, npu_fused
from voxport.errors import DeviceError, UnsupportedOptionError
from voxport.testing import faults
from voxport.types import DecodingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxport.types import Audio

OPERATIONS = {"float32": 12, "float16": 10}
"""That one layer of the decoder takes for a step."""


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> Iterator[None]:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        yield
        get_device("npu").set_precision("default")
        torch.npu.use_compatible_impl(False)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def windows(jfk: Path) -> list[Audio]:
    """Of different lengths, so that rows end one after the other."""
    from whisper_pairs import parts

    return parts(jfk)


def tokens(model: Any, windows: list[Audio], *, timestamps: bool, limit: int | None = None) -> list[tuple[int, ...]]:
    options = DecodingOptions(language="en", timestamps=timestamps, no_speech_threshold=None, max_tokens=limit)
    return [found.tokens for found in model.decode(model.encode(model.features(windows)), options)]


@pytest.mark.parametrize(
    ("options", "timestamps"),
    [({}, True), ({}, False), ({"graph": True}, True), pytest.param({"graph": True}, False, marks=pytest.mark.full)],
    ids=str,
)
def test_the_cpus_tokens(tiny_en: Path, windows: list[Audio], options: dict[str, Any], timestamps: bool) -> None:
    wanted = tokens(voxport.load_model(str(tiny_en), "cpu", "float32"), windows, timestamps=timestamps)
    assert len({len(row) for row in wanted}) == len(windows)
    model = voxport.load_model(str(tiny_en), "npu:1", "float32", **options)
    assert tokens(model, windows, timestamps=timestamps) == wanted
    assert tokens(model, windows[:1], timestamps=timestamps) == wanted[:1]


def test_float16_says_the_same_with_and_without_fused_operations(tiny_en: Path, windows: list[Audio]) -> None:
    found = [
        tokens(voxport.load_model(str(tiny_en), "npu:0", "float16", graph=graph), windows[:1], timestamps=True, limit=8)
        for graph in (False, True)  # graphs use none
    ]
    assert len(found[0][0]) == 8
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_operations_of_a_step(tiny_en: Path, windows: list[Audio], dtype: str) -> None:
    model: Any = voxport.load_model(str(tiny_en), "npu:0", dtype)
    state = model.start(model.encode(model.features(windows[:1])), 20)
    state.advance(torch.tensor([[50257, 50362]], device="npu:0"))
    given = torch.full((1, 1), 843, device="npu:0")
    with testing.count_operations() as counted:
        state.advance(given)
    embedding_and_first_norm = 2
    assert counted.total == OPERATIONS[dtype] * len(model.net.model.decoder.layers) + embedding_and_first_norm
    assert counted.synchronisations == 0


def test_nothing_waits_inside_a_step(tiny_en: Path, windows: list[Audio]) -> None:
    model: Any = voxport.load_model(str(tiny_en), "npu:0", "float32")
    options = DecodingOptions(language="en", timestamps=True, no_speech_threshold=None)
    encoded = model.encode(model.features(windows[:1]))
    with testing.count_operations() as counted:
        (found,) = model.decode(encoded, options)
    looks = -(-(len(found.tokens) + 1) // model.device.sync_interval)
    no_speech = 1
    assert counted.synchronisations == looks + no_speech


def test_results_say_what_was_fused(tiny_en: Path) -> None:
    found = {
        options: voxport.load_model(str(tiny_en), "npu:0", dtype, **dict([options])).device.describe()  # type: ignore[arg-type]
        for options, dtype in [(("threads", 1), "float32"), (("threads", 2), "float16"), (("graph", True), "float16")]
    }
    assert found["threads", 1]["fused"] == ["add_norm"]
    assert found["threads", 2]["fused"] == ["add_norm", "feed_forward"]
    assert found["threads", 2]["graph"] is None
    assert found["graph", True]["fused"] == []
    assert found["graph", True]["graph"] == "torchair"
    strict = voxport.load_model(str(tiny_en), "npu:0", "float32", precision="strict")
    assert strict.device.describe()["fused"] == []


@pytest.mark.parametrize(
    ("name", "wrong", "reason"),
    [
        ("npu_add_layer_norm", lambda right: lambda *a, **k: (right(*a, **k)[0] * 1.01, *right(*a, **k)[1:]), "wrong"),
        ("npu_add_layer_norm", lambda right: lambda *a, **k: (*right(*a, **k)[:3], torch.empty(0)), "wrong"),
        ("npu_add_layer_norm", lambda right: lambda *a, **k: right(*a, nothing=1), "nothing"),
        ("npu_ffn", lambda right: lambda *a, **k: right(*a, **{**k, "bias2": None}), "wrong"),
        ("npu_ffn", lambda right: lambda *a, **k: right(*a, **k) * float("nan"), "wrong"),
    ],
)
def test_a_fused_operation_that_is_wrong_is_not_used(
    tiny_en: Path, windows: list[Audio], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    name: str, wrong: Any, reason: str,
) -> None:  # fmt: skip
    torch_npu = sys.modules["torch_npu"]
    monkeypatch.setattr(torch_npu, name, wrong(getattr(torch_npu, name)))
    with caplog.at_level(logging.WARNING, logger="voxport"):
        model = voxport.load_model(str(tiny_en), "npu:0", "float16")
    mine = {"npu_add_layer_norm": "add_norm", "npu_ffn": "feed_forward"}
    assert model.device.describe()["fused"] == [other for theirs, other in mine.items() if theirs != name]
    (message,) = [record.getMessage() for record in caplog.records]
    assert name in message
    assert reason in message
    (said,) = tokens(model, windows[:1], timestamps=False, limit=4)
    assert said == (843, 523, 616, 5891)  # and so my fellow


def test_gelu_as_an_npu_computes_it_passes_for_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tanh form is what the device's own GELU is too, without --precision strict."""
    with faults.inject("gelu_tanh"):
        found = npu_fused.find_fused(torch.device("npu:0"), "float16")
    assert found.names == ["add_norm", "feed_forward"]
    assert found.refused == ()


def test_torch_npu_without_fused_operations(tiny_en: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("npu_add_layer_norm", "npu_ffn"):
        monkeypatch.delattr(sys.modules["torch_npu"], name)
    assert voxport.load_model(str(tiny_en), "npu:0", "float16").device.describe()["fused"] == []


def test_graphs_are_for_decoders_on_npus(tiny_en: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="cpu has no graph mode") as refused:
        voxport.load_model(str(tiny_en), "cpu", graph=True)
    assert refused.value.code == "graph_unsupported"
    with pytest.raises(UnsupportedOptionError, match="CTC model has no decoder"):
        voxport.load_model(str(small_folder(tmp_path / "lasr")), "npu:0", graph=True)
    monkeypatch.setitem(sys.modules, "torchair", None)
    with pytest.raises(DeviceError, match="needs torchair"):
        voxport.load_model(str(tiny_en), "npu:0", graph=True)


def test_few_graphs_are_compiled(tiny_en: Path, windows: list[Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each power of two of rows, however many rows there are and however they end."""
    compiled = []
    torchair: Any = sys.modules["torchair"]

    def counting(*, compiler_config: object) -> Any:
        def backend(graph: Any, inputs: Any) -> Any:
            compiled.append([x.shape[0] for x in inputs if x.dtype == torch.int64 and x.dim() == 2])
            return graph.forward

        return backend

    monkeypatch.setattr(torchair, "get_npu_backend", counting)
    model = voxport.load_model(str(tiny_en), "npu:0", "float32", graph=True)
    for count in (1, 2, 3, 3, 1):
        tokens(model, windows[:count], timestamps=False, limit=3)
    assert compiled == [[1], [2], [4]]
