"""Our MedASR against the published implementation, on random weights: the real ones are gated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from lasr_folders import LOGITS, PADDED, change_weights, noise, small_folder
from voxport.devices import get_device
from voxport.errors import AudioError, DecodingError, UnsupportedOptionError, UsageError
from voxport.models import load_model
from voxport.models.lasr import LasrModel
from voxport.models.lasr.model import LasrFeatures
from voxport.models.lasr.random_weights import write_random_folder
from voxport.types import Audio, DecodingOptions

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.reference import ReferenceLasr
    from voxport.types import FloatArray

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")

LENGTHS = (0.145, 0.146, 0.5, 3.3, 11.0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="module")
def true_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("medasr")
    write_random_folder(folder)
    return folder


@pytest.fixture
def model(small: Path) -> LasrModel:
    return LasrModel.from_folder(small, get_device("cpu"), "float32")


def published(folder: Path, dtype: str = "float32", attention: str = "eager") -> ReferenceLasr:
    transformers = pytest.importorskip("transformers", reason="the published implementation is in transformers")
    if int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip(f"transformers {transformers.__version__} has no MedASR, 5.0 has")
    from voxport.models.reference import ReferenceLasr

    return ReferenceLasr(folder, get_device("cpu"), dtype, attention=attention)


def together(model: LasrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the batch go through the network in one forward, as on an accelerator."""
    monkeypatch.setattr(type(model.device), "windows_per_forward", None)


def logits(model: Any, *windows: Audio) -> FloatArray:
    found: FloatArray = model.logits(model.encode(model.features(windows)))
    return found


def largest(difference: FloatArray) -> float:
    return float(np.abs(difference).max(initial=0.0))


# The published implementation -------------------------------------------------------------------------------------


def check_against_the_published(folder: Path, monkeypatch: pytest.MonkeyPatch, lengths: tuple[float, ...]) -> None:
    ours = LasrModel.from_folder(folder, get_device("cpu"), "float32")
    theirs = published(folder)
    windows = [noise(seconds, seed) for seed, seconds in enumerate(lengths)]
    expected = []
    for window in windows:
        features, reference = ours.features([window]), theirs.features([window])
        assert features.frames == reference.frames
        assert largest(features.mel - reference.mel) <= 1e-5
        wanted = theirs.logits(theirs.encode(reference))
        found = ours.logits(ours.encode(features))
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        assert largest(found - wanted) <= LOGITS
        assert np.ptp(wanted, axis=1).max(initial=0.0) > 0.1 or wanted.shape[1] < 10  # frames do differ
        expected.append(wanted[0])
    # A batch: one at a time, all in one forward, and as the published code pads and masks it.
    alone = logits(ours, *windows)
    together(ours, monkeypatch)
    batch, reference_batch = logits(ours, *windows), logits(theirs, *windows)
    for row, wanted in enumerate(expected):
        count = len(wanted)
        assert largest(alone[row, :count] - wanted) <= LOGITS
        assert largest(batch[row, :count] - alone[row, :count]) <= PADDED
        assert largest(batch[row, :count] - reference_batch[row, :count]) <= LOGITS


def test_the_true_shape(true_shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight, norm and running statistic is random; several lengths; a batch with padding."""
    check_against_the_published(true_shape, monkeypatch, LENGTHS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": 5},
        {"kernel": 1},
        {"heads": 4, "layers": 1},
        {"subsampling_kernel": 3},
        {"n_mels": 80},
        {"attention_bias": True},
        {"convolution_bias": True},
        {"ffn_residual": (1.0, 0.75), "conv_residual": (0.5, 2.0)},
        {"rope_theta": 500.0, "norm_eps": 1e-3},
    ],
    ids=str,
)
def test_other_shapes(changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_against_the_published(small_folder(tmp_path / "model", **changes), monkeypatch, (0.145, 0.6, 2.0))


def test_sdpa_and_eager_are_the_same_yardstick(small: Path) -> None:
    window = noise(2.0)
    assert largest(logits(published(small), window) - logits(published(small, attention="sdpa"), window)) <= LOGITS


def test_parameters_keep_their_published_names(small: Path, model: LasrModel) -> None:
    """Fusing happens in memory: the named parameters are views, and equal the published ones."""
    ours, theirs = model.net.state_dict(), published(small).model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    attention = model.net.encoder.layers[0].self_attn
    assert attention.k_proj.weight.untyped_storage().data_ptr() == attention.qkv_weight.untyped_storage().data_ptr()
    convolution = model.net.encoder.subsampler.conv_0
    assert convolution.weight.untyped_storage().data_ptr() == convolution.rows.untyped_storage().data_ptr()


def test_every_tensor_matters(model: LasrModel) -> None:
    """Each one, made uneven, moves the logits by more than the tolerance: none could be left out unnoticed."""
    features = model.features([noise(2.0)])
    expected = model.logits(model.encode(features))
    unnoticed = []
    for name, tensor in model.net.state_dict().items():
        if not tensor.is_floating_point():
            continue
        before = tensor.clone()
        tensor.mul_(torch.linspace(0.5, 1.5, tensor.numel()).view(tensor.shape))
        moved = largest(model.logits(model.encode(features)) - expected)
        tensor.copy_(before)
        if moved <= LOGITS:
            unnoticed.append((name, moved))
    assert not unnoticed


# Padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -11.5, 100.0])
@pytest.mark.parametrize("more", [1, 3, 40, 333])
def test_padding_to_a_bucket_moves_nothing(model: LasrModel, more: int, value: float) -> None:
    features = model.features([noise(1.7)])
    padded = LasrFeatures(
        np.pad(features.mel, ((0, 0), (0, more), (0, 0)), constant_values=value), features.frames, features.durations
    )
    expected, found = model.encode(features), model.encode(padded)
    assert found.frames == expected.frames
    count = expected.frames[0]
    assert largest(model.logits(found)[:, :count] - model.logits(expected)) <= PADDED


def test_padding_of_the_true_shape(true_shape: Path) -> None:
    model = LasrModel.from_folder(true_shape, get_device("cpu"), "float32")
    features = model.features([noise(3.0)])
    mel = np.pad(features.mel, ((0, 0), (0, 500), (0, 0)), constant_values=-11.5)
    found = model.logits(model.encode(LasrFeatures(mel, features.frames, features.durations)))
    expected = model.logits(model.encode(features))
    assert largest(found[:, : expected.shape[1]] - expected) <= PADDED


@pytest.mark.parametrize("at_once", [True, False])
def test_a_device_that_wants_few_shapes(model: LasrModel, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths are filled up to its buckets; the words are those of the windows as they are."""
    if at_once:
        together(model, monkeypatch)
    windows = [noise(seconds) for seconds in (0.05, 0.7, 1.3)]
    expected = model.encode(model.features(windows))
    shapes: list[int] = []
    forward = model.net.forward
    monkeypatch.setattr(type(model.device), "bucket", lambda _, length: -(-length // 64) * 64)
    monkeypatch.setattr(model.net, "forward", lambda mel, *more: (shapes.append(mel.shape[1]), forward(mel, *more))[1])
    found = model.encode(model.features(windows))
    assert shapes == ([128] if at_once else [128, 128])  # 68 and 128 mel frames; the shortest has none
    assert found.frames == expected.frames
    assert found.logits.shape == expected.logits.shape
    for row, count in enumerate(expected.frames):
        assert largest((found.logits - expected.logits)[row, :count].numpy()) <= PADDED


def test_a_window_does_not_depend_on_its_neighbours(model: LasrModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together(model, monkeypatch)
    window, others = noise(1.0), [noise(0.05), noise(4.0, 1), Audio(np.zeros(30_000, np.float32))]
    alone = logits(model, window)[0]
    among = logits(model, *others, window)[3]
    assert largest(among[: len(alone)] - alone) <= PADDED


# Precision --------------------------------------------------------------------------------------------------------


def relative(found: FloatArray, wanted: FloatArray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_bfloat16_is_as_near_as_the_published(true_shape: Path) -> None:
    window = noise(3.3)
    exact = logits(published(true_shape), window)
    ours = LasrModel.from_folder(true_shape, get_device("cpu"), "bfloat16")
    assert relative(logits(ours, window), exact) <= 1.1 * relative(
        logits(published(true_shape, "bfloat16"), window), exact
    )


def test_float16_keeps_its_stream_in_float32(small: Path, model: LasrModel) -> None:
    half = LasrModel.from_folder(small, get_device("cpu"), "float16")
    dtypes = {name: parameter.dtype for name, parameter in half.net.named_parameters()}
    assert dtypes["encoder.subsampler.conv_0.weight"] == torch.float32
    assert dtypes["encoder.layers.0.norm_out.weight"] == torch.float32
    assert dtypes["ctc_head.weight"] == torch.float32
    assert dtypes["encoder.layers.0.feed_forward1.linear1.weight"] == torch.float16
    assert dtypes["encoder.layers.1.conv.depthwise_conv.weight"] == torch.float16
    window = noise(2.0)
    assert relative(logits(half, window), logits(model, window)) <= 2e-3


def test_a_stream_beyond_float16_is_no_trouble(small: Path, tmp_path: Path) -> None:
    """As with the published weights, whose stream reaches two millions."""

    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.subsampler.dense_1.weight"] *= 1e6
        tensors["encoder.subsampler.dense_1.bias"] *= 1e6

    folder = small_folder(tmp_path / "model")
    change_weights(folder, enlarge)
    exact = LasrModel.from_folder(folder, get_device("cpu"), "float32")
    window = noise(2.0)
    with torch.inference_mode():
        features = exact.features([window])
        assert exact.net.encoder.subsampler(torch.from_numpy(features.mel)).abs().max() > 1e6
    half = LasrModel.from_folder(folder, get_device("cpu"), "float16")
    assert relative(logits(half, window), logits(exact, window)) <= 2e-3


OVERFLOWS = {
    "encoder.layers.1.feed_forward1.linear1": "encoder.layers.1.feed_forward1.linear1.weight",
    "encoder.layers.0.feed_forward2.linear2": "encoder.layers.0.feed_forward2.linear2.weight",
    "encoder.layers.0.self_attn.qkv": "encoder.layers.0.self_attn.k_proj.weight",
    "encoder.layers.1.self_attn.o_proj": "encoder.layers.1.self_attn.o_proj.weight",
    "encoder.layers.0.conv.pointwise_conv1": "encoder.layers.0.conv.pointwise_conv1.weight",
    "encoder.layers.0.conv.depthwise_conv": "encoder.layers.0.conv.depthwise_conv.weight",
    "encoder.layers.1.conv.norm": "encoder.layers.1.conv.norm.weight",
    "encoder.layers.0.conv.pointwise_conv2": "encoder.layers.0.conv.pointwise_conv2.weight",
}


@pytest.mark.parametrize("saturating", [False, True], ids=["infinity", "saturating"])
@pytest.mark.parametrize("module", OVERFLOWS)
def test_an_overflow_is_named_and_never_decoded(
    module: str, saturating: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on chips where a value stays 65,504 instead of becoming infinite, which the next norm would hide."""
    folder = small_folder(tmp_path / "model")
    change_weights(folder, lambda tensors: tensors[OVERFLOWS[module]].sign_().mul_(60_000))
    model = LasrModel.from_folder(folder, get_device("cpu"), "float16")
    if saturating:
        saturate(monkeypatch)
    with pytest.raises(DecodingError) as caught:
        logits(model, noise(2.0))
    assert caught.value.code == "overflow"
    assert f"beyond float16's range in {module} on cpu" in caught.value.message
    assert caught.value.hint == "use --dtype bfloat16 or --dtype float32"


def saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make float16 results saturate, as on Ascend 310P: what would be infinite is 65,504, NaN is 0."""
    from voxport.models.lasr import net

    def saturated(function: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> torch.Tensor:
            result: torch.Tensor = function(*arguments, **options)
            if result.dtype == torch.float16:
                result = result.float().nan_to_num(0.0).clamp(-65_504, 65_504).half()
            return result

        return wrapped

    monkeypatch.setattr(net, "linear", saturated(net.linear))
    monkeypatch.setattr(net.Convolution, "depthwise", saturated(net.Convolution.depthwise))
    original = torch.Tensor.to

    def to(self: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if arguments and arguments[0] == torch.float16 and self.dtype == torch.float32:
            return original(self.nan_to_num(0.0).clamp(-65_504, 65_504), torch.float16)
        return original(self, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)


def test_an_overflow_in_padding_is_none(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LasrModel.from_folder(small, get_device("cpu"), "float16")
    together(model, monkeypatch)
    features = model.features([noise(1.0), noise(2.0)])
    mel = features.mel.copy()
    mel[0, features.frames[0] :] = 1e30
    model.encode(LasrFeatures(mel, features.frames, features.durations))


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        ("float32", "the weights or the recording are damaged: `voxport models show` tells the weights' identity"),
        ("bfloat16", "use --dtype float32"),
    ],
)
def test_logits_that_are_not_finite_are_an_error(dtype: str, hint: str, tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "model")
    change_weights(folder, lambda tensors: tensors["encoder.out_norm.weight"].fill_(float("inf")))
    model = LasrModel.from_folder(folder, get_device("cpu"), dtype)
    encoded = model.encode(model.features([noise(1.0)]))
    for decode in (lambda: model.decode(encoded, DecodingOptions()), lambda: model.paths(encoded)):
        with pytest.raises(DecodingError, match=f"gave values that are not finite in {dtype} on cpu") as caught:
            decode()
        assert (caught.value.code, caught.value.hint) == ("non_finite", hint)


# Short and odd input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 2_319])
def test_what_is_too_short_for_a_frame_has_no_words(model: LasrModel, samples: int) -> None:
    """Below 25 ms there is no mel frame, below 0.145 s none of 40 ms."""
    assert model.min_seconds == 0.145
    window = noise(samples / 16_000)
    encoded = model.encode(model.features([window]))
    assert encoded.logits.shape == (1, 0, 160)
    (found,) = model.decode(encoded, DecodingOptions())
    assert (found.text, found.tokens, found.segments) == ("", (), ())


def test_the_shortest_that_has_a_frame(model: LasrModel) -> None:
    assert model.encode(model.features([noise(2_320 / 16_000)])).logits.shape == (1, 1, 160)


@pytest.mark.parametrize("at_once", [True, False])
def test_short_ones_in_a_batch(model: LasrModel, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if at_once:
        together(model, monkeypatch)
    windows = [noise(0.01), noise(1.0), noise(0.1), Audio(np.zeros(0, np.float32))]
    encoded = model.encode(model.features(windows))
    assert encoded.frames == (0, model.net.dims.frames(98), 0, 0)
    found = model.decode(encoded, DecodingOptions())
    assert [bool(one.segments) for one in found] == [False, bool(found[1].segments), False, False]


def test_no_windows(model: LasrModel) -> None:
    assert model.decode(model.encode(model.features([])), DecodingOptions()) == []


def test_silence_has_finite_logits(model: LasrModel) -> None:
    assert np.isfinite(logits(model, Audio(np.zeros(32_000, np.float32)))).all()


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Audio(np.zeros(8_000, np.float32), 8_000), "a window has 8000 Hz, MedASR hears 16000"),
        (Audio(np.zeros((100, 2), np.float32)), r"a window must be mono, an array of shape \(n,\), not \(100, 2\)"),
        (Audio(np.zeros(40 * 16_000 + 1, np.float32)), "a window of 40.0 s is too long: MedASR was made for 40 s"),
    ],
)
def test_windows_that_can_not_be(model: LasrModel, window: Audio, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        model.features([window])
    assert caught.value.code == "audio_window"


def test_the_published_shape_hears_400_s(true_shape: Path) -> None:
    model = LasrModel.from_folder(true_shape, get_device("cpu"), "float32")
    assert model.max_seconds == 400.0
    assert (model.window_seconds, model.context_seconds, model.frame_seconds) == (20.0, 2.0, 0.04)
    assert model.clock.centre == pytest.approx(0.0725)
    # The published 105.28 million count the running statistics too.
    assert sum(parameter.numel() for parameter in model.net.parameters()) == 105_265_408
    assert sum(tensor.numel() for tensor in model.net.state_dict().values()) == 105_265_408 + 17 * (2 * 512 + 1)
    assert model.net.dims.frames(1998) == 497  # 20 s


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DecodingOptions(language="de"), "knows English only, the language asked for is 'de'"),
        (DecodingOptions(task="translate"), "can't translate"),
        (DecodingOptions(max_tokens=5), "there is no limit to set"),
    ],
)
def test_options_that_it_lacks(model: LasrModel, options: DecodingOptions, message: str) -> None:
    with pytest.raises(UnsupportedOptionError, match=message):
        model.check(options)


def test_it_detects_no_language_and_takes_no_tokens(model: LasrModel) -> None:
    encoded = model.encode(model.features([noise(0.5)]))
    with pytest.raises(UnsupportedOptionError, match="detects no language"):
        model.detect_language(encoded)
    with pytest.raises(UsageError, match="depend on the audio only"):
        model.logits(encoded, [[1]])


def test_it_is_loaded_by_its_type(small: Path) -> None:
    model = load_model(str(small), "cpu")
    assert isinstance(model, LasrModel)
    assert (model.info.family, model.info.random_weights, model.dtype) == ("lasr_ctc", True, "float32")
    assert model.languages == {"en"}
