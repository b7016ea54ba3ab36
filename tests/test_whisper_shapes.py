"""Our Whisper on random weights of other shapes, in other precisions, and the properties of the network itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from voxport.decoding.whisper_rules import WhisperRules
from voxport.devices import get_device
from voxport.models.whisper import WhisperModel
from voxport.models.whisper.decoder_state import DecoderState, DecoderWeights
from voxport.models.whisper.net import Whisper, WhisperDimensions
from whisper_folders import MEDIUM, SMALL_TEST, TURBO, random_folder
from whisper_pairs import (
    LOGITS,
    TIMED,
    Pair,
    assert_numbers_agree,
    assert_tokens_equal,
    check_random,
    load_pair,
    noise,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.whisper.model import EncodedWindows


@pytest.fixture(scope="module")
def small(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of a very small multilingual shape."""
    return random_folder(tmp_path_factory.mktemp("small") / "model", base, **SMALL_TEST)


@pytest.mark.parametrize(
    "shape", [pytest.param(MEDIUM, marks=pytest.mark.full), TURBO], ids=["medium", "large-v3-turbo"]
)
def test_random_weights_of_true_width(shape: dict[str, Any], base: Path, tmp_path: Path) -> None:
    """Heads, widths, mels and vocabulary of the published model, but few layers."""
    check_random(random_folder(tmp_path / "model", base, **{**shape, "encoder_layers": 1, "decoder_layers": 2}), 4)


@pytest.mark.full
@pytest.mark.parametrize("shape", [MEDIUM, TURBO], ids=["medium", "large-v3-turbo"])
def test_random_weights_of_true_shape(shape: dict[str, Any], base: Path, tmp_path: Path) -> None:
    check_random(random_folder(tmp_path / "model", base, **shape))


def test_every_tensor_matters(small: Path) -> None:
    """Each one, halved, moves the logits by more than the tolerance: none could be left out unnoticed."""
    model = WhisperModel.from_folder(small, get_device("cpu"), "float32")
    features = model.features([noise(3.0)])
    encoded = model.encode(features)
    given = [[*model.tokenizer.sot_sequence("en", "transcribe", timestamps=True), 400, 370, 452]]

    @torch.inference_mode()
    def logits(encoded: EncodedWindows) -> Tensor:
        state = DecoderState(DecoderWeights(model.net), encoded.hidden, 8)  # laid out anew: weights change
        return state.logits(state.advance(torch.tensor(given)))

    expected = logits(encoded)
    unnoticed = []
    for name, parameter in model.net.named_parameters():
        before = parameter.data.clone()
        parameter.data.mul_(0.5)
        moved = (logits(model.encode(features) if "encoder." in name else encoded) - expected).abs().max().item()
        parameter.data.copy_(before)
        if moved <= LOGITS:
            unnoticed.append((name, moved))
    assert not unnoticed


def test_distilled_shape(base: Path, tmp_path: Path) -> None:
    """Fewer decoder layers than encoder layers, other heads and widths within, no alignment heads."""
    shape = {
        **SMALL_TEST,
        "encoder_layers": 4,
        "decoder_layers": 1,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 96,
    }
    check_random(random_folder(tmp_path / "model", base, **shape))


def test_english_only_shape(tiny_en: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "model", tiny_en, **{**SMALL_TEST, "vocab_size": 51_864})
    pair = load_pair(folder)
    assert_numbers_agree(pair, [noise(2.0)])
    encoded = pair.ours.encode(pair.ours.features([noise(2.0)]))
    options = replace(TIMED, max_tokens=20)
    assert_tokens_equal(pair.ours.decode(encoded, options), pair.theirs.decode(encoded, options))


def test_untied_projection(base: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "model", base, **SMALL_TEST, tie_word_embeddings=False)
    assert "proj_out.weight" in load_file(folder / "model.safetensors")
    check_random(folder)


# Precision and memory layout ----------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.15), ("bfloat16", 1.5)])
def test_half_precision(tiny_en: Path, tiny_pair: Pair, jfk: Path, dtype: str, tolerance: float) -> None:
    model = WhisperModel.from_folder(tiny_en, get_device("cpu"), dtype)
    assert {parameter.dtype for parameter in model.net.parameters()} == {getattr(torch, dtype)}
    features = model.features([read(jfk)])
    assert features.mel.dtype == np.float32
    encoded = model.encode(features)
    assert encoded.hidden.dtype == getattr(torch, dtype)
    given = [[*tiny_pair.theirs.prompt("en", "transcribe", timestamps=True), 50_363, 843, 523]]
    full = tiny_pair.theirs.logits(tiny_pair.theirs.encode(features), given)
    assert np.abs(model.logits(encoded, given) - full).max() <= tolerance
    (found,) = model.decode(encoded, TIMED)
    assert "my fellow Americans" in found.text


@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
def test_parameters_keep_their_published_names(name: str, request: pytest.FixtureRequest) -> None:
    """Fusing happens in memory: the named parameters are views of the fused matrices, and equal the published ones."""
    pair: Pair = request.getfixturevalue(name)
    ours = dict(pair.ours.net.named_parameters())
    theirs = dict(pair.theirs.model.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in theirs.items():
        assert torch.equal(ours[name], parameter), name
    attention = pair.ours.net.model.decoder.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.qkv_weight.untyped_storage().data_ptr()
    assert ours["model.decoder.embed_tokens.weight"].data_ptr() == pair.ours.net.proj_out.weight.data_ptr()


def test_a_device_that_wants_few_shapes(tiny_pair: Pair, jfk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention looks at whole buckets of the cache, and what lies beyond the tokens is masked: the same tokens."""
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk), noise(3.0)]))
    expected = model.decode(encoded, TIMED)
    seen: set[int] = set()
    monkeypatch.setattr(type(model.device), "bucket", lambda _, length: (seen.add(length), -(-length // 32) * 32)[1])
    assert_tokens_equal(model.decode(encoded, TIMED), expected)
    assert len(seen) > 20
    given = [[*tiny_pair.theirs.prompt("en", "transcribe", timestamps=True), 50_363, 843, 523]] * 2
    assert np.abs(model.logits(encoded, given) - tiny_pair.theirs.logits(encoded, given)).max() <= LOGITS


# No waiting for the device ----------------------------------------------------------


class NoHostSynchronisation(TorchDispatchMode):
    """Raises where a tensor's value is brought to the host, which on an accelerator waits for the queue."""

    FORBIDDEN: ClassVar[set[str]] = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select"}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in self.FORBIDDEN, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


DIMENSIONS = WhisperDimensions(80, 64, 1, 2, 128, 2, 2, 128, 51_865)


def run_steps(device: str, timestamps: bool) -> int:
    """A prompt and a few steps under the rules, tokens fed back without a look at them."""
    with torch.device(device):
        net = Whisper(DIMENSIONS).requires_grad_(False)
        net.fuse()
        hidden = torch.zeros(3, 1500, 64)
        prompt = torch.zeros(3, 4, dtype=torch.int64)
    rules = WhisperRules(51_865, 50_257, 50_363, 50_364, suppress=(1, 2), suppress_first=(220,), timestamps=timestamps)
    state = DecoderState(DecoderWeights(net), hidden, 16)
    chooser = rules.start(3, torch.device(device))
    bias = rules.bias(torch.device(device), torch.float32)
    with NoHostSynchronisation(), torch.inference_mode():
        last = state.advance(prompt)[:, -1]
        for _ in range(2):
            steps = chooser.begin(3)
            for index in range(3):
                tokens = chooser.choose(state.logits(last, bias, steps.room(index)), steps, index)
                assert tokens.shape == (3,)
                last = state.advance(tokens[:, None])[:, -1]
            assert steps.tokens.shape == chooser.logprobs(steps).shape == (3, 3)
    return state.position


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_steps_never_wait_for_the_device(device: str, timestamps: bool) -> None:
    """On the meta device there are shapes but no values: whatever looks at one raises."""
    assert run_steps(device, timestamps) == 10


def test_the_guard_catches_a_look() -> None:
    with NoHostSynchronisation(), pytest.raises(AssertionError, match="waits for the device"):
        torch.ones(1).item()
