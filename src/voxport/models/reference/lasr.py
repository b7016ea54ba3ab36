"""The published LASR (transformers' `LasrForCTC`, the architecture of MedASR) behind the model contract.

Features, network and the text of the tokens are transformers' own. Its `LasrForCTC.generate` is written out here, so
that logits can be looked at between the network and the words.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from voxport.errors import AudioError, ModelFormatError, UnsupportedOptionError, UsageError
from voxport.models.abilities import refuse_missing
from voxport.models.identity import model_identity
from voxport.models.lasr.net import LasrDimensions
from voxport.models.lasr.stages import lasr_topology
from voxport.models.reference.hooks import Point, capture
from voxport.models.reference.published import import_transformers, load_model, load_part, require_finite
from voxport.models.stages import Stage, parameters
from voxport.types import Audio, DecodingOptions, FloatArray, Hypothesis, ModelInfo, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from voxport.devices import Device

__all__ = ["ReferenceLasr", "ReferenceLasrEncoded", "ReferenceLasrFeatures"]

MINIMUM_TRANSFORMERS = (5, 0)


@dataclass(frozen=True)
class ReferenceLasrFeatures:
    """Log-mel windows.

    Attributes:
        mel: float32 (B, T, 128), a frame every 10 ms; shorter windows end in frames of silence.
        frames: of each window's own audio, at most T.
        durations: of the audio, seconds.
    """

    mel: FloatArray
    frames: tuple[int, ...]
    durations: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceLasrEncoded:
    """CTC logits.

    Attributes:
        logits: float32 (B, frames, vocabulary) on the model's device, a frame every 40 ms.
        frames: of each window's own audio; those behind them mean nothing.
        durations: as in `ReferenceLasrFeatures`.
    """

    logits: Tensor
    frames: tuple[int, ...]
    durations: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.durations)


class ReferenceLasr:
    """`transformers.LasrForCTC` as an `ASRModel`.

    Attributes:
        model: the published model, in evaluation mode.
        extractor: its `LasrFeatureExtractor`.
        tokenizer: its `LasrTokenizer`. `AutoTokenizer` is not asked: in transformers 5.0 it gives another class, which
            does not join repeated tokens.
        blank: the id of the CTC blank.
    """

    sample_rate = 16_000
    max_seconds = 400.0
    window_seconds = 20.0
    context_seconds = 2.0
    min_seconds = 0.145
    languages = frozenset({"en"})
    supports = frozenset({"timestamps"})
    batch_size = 8

    def __init__(
        self, folder: Path, device: Device, dtype: str, *, attention: str = "eager", name: str | None = None
    ) -> None:
        """Load a published folder, from the disk only.

        Args:
            folder: config.json, safetensors, tokenizer.json, tokenizer_config.json, and preprocessor_config.json or
                processor_config.json.
            device: where to run.
            dtype: "float32", "float16" or "bfloat16".
            attention: transformers' ``attn_implementation``; "eager" is written out in plain operations.
            name: as it was asked for; None = the folder's.

        Raises:
            MissingDependencyError: transformers is absent or too old.
            ModelFormatError: the folder is incomplete or damaged, or its tensors don't fit its config.
        """
        transformers = import_transformers(MINIMUM_TRANSFORMERS)
        self.device = device
        self.dtype = dtype
        self.float32_modules: tuple[str, ...] = ()
        self._torch_device = device.torch_device
        self._torch_dtype: torch.dtype = getattr(torch, dtype)
        self.model = load_model(transformers, "LasrForCTC", folder, self._torch_dtype, attention)
        self.model.to(self._torch_device)
        device.prepare(self.model)
        self.extractor = load_part(transformers, "LasrFeatureExtractor", folder)
        if not (folder / "tokenizer.json").is_file():
            # transformers would make up a vocabulary.
            raise ModelFormatError(f"{folder} has no tokenizer.json")
        self.tokenizer = load_part(transformers, "LasrTokenizer", folder)
        self.blank: int = self.model.config.pad_token_id
        self.name = name or folder.name
        self.info = ModelInfo(
            name=self.name,
            family="lasr_ctc",
            identity=model_identity(folder),
            path=str(folder),
            random_weights=bool(getattr(self.model.config, "voxport_random_weights", False)),
        )

    # The contract ----------------------------------------------------------------------------------------------------

    def check(self, options: DecodingOptions) -> None:
        """Refuse what CTC has not: other languages, translation, a limit of tokens.

        Raises:
            UnsupportedOptionError: one of them is asked for, or an ability that it lacks.
        """
        others = {*options.languages} - self.languages
        if others or options.task != "transcribe":
            raise UnsupportedOptionError(
                f"{self.name} transcribes English only: no language {', '.join(sorted(others))}, task {options.task!r}"
            )
        refuse_missing(self, options)
        if options.max_tokens is not None:
            raise UnsupportedOptionError(f"{self.name} decodes all frames at once and takes no max_tokens")

    def features(self, audio: Sequence[Audio]) -> ReferenceLasrFeatures:
        """Log-mel spectrograms of windows of at most 400 s at 16 kHz, by the published extractor on the CPU.

        Windows shorter than 25 ms have no frame.

        Raises:
            AudioError: a window is too long or has another rate (code ``audio_window``).
        """
        for window in audio:
            if window.sample_rate != self.sample_rate or window.duration > self.max_seconds:
                raise AudioError(
                    f"a window has {window.duration:.2f} s at {window.sample_rate} Hz, "
                    f"LASR hears at most {self.max_seconds:g} s at {self.sample_rate} Hz",
                    code="audio_window",
                )
        samples = [window.samples for window in audio]
        durations = tuple(window.duration for window in audio)
        if max(map(len, samples), default=0) < self.extractor.win_length:  # the extractor fails on them
            nothing = np.zeros((len(samples), 0, self.extractor.feature_size), np.float32)
            return ReferenceLasrFeatures(nothing, (0,) * len(samples), durations)
        # On the CPU whatever the device: on others, some releases' extractor mixes devices and fails.
        output = self.extractor(
            samples,
            sampling_rate=self.sample_rate,
            padding="longest",
            return_attention_mask=True,
            return_tensors="np",
        )
        frames = tuple(output.attention_mask.sum(axis=-1).tolist())
        return ReferenceLasrFeatures(np.asarray(output.input_features, dtype=np.float32), frames, durations)

    def encode(self, features: Any) -> ReferenceLasrEncoded:
        """One forward of the published model; takes any features with `mel`, `frames` and `durations`, ours too."""
        frames = tuple(self._output_frames(count) for count in features.frames)
        durations = tuple(features.durations)
        if not any(frames):  # the convolutions refuse less than one output frame
            nothing = torch.zeros(len(frames), 0, self.model.config.vocab_size, device=self._torch_device)
            return ReferenceLasrEncoded(nothing, frames, durations)
        mel = torch.from_numpy(features.mel).to(self._torch_device, self._torch_dtype)
        mask = None
        if any(count != mel.shape[1] for count in features.frames):
            mask = _mask(features.frames, mel.shape[1], self._torch_device)
        with torch.inference_mode(), warnings.catch_warnings():
            # The published convolution has an even kernel, and torch says that it may have to copy its input.
            warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")
            logits = self.model(input_features=mel, attention_mask=mask).logits.float()
        return ReferenceLasrEncoded(logits, frames, durations)

    def decode(self, encoded: Any, options: DecodingOptions) -> list[Hypothesis]:
        """The likeliest token of each frame, joined; takes any encoding with `logits`, `frames` and `durations`.

        Raises:
            UnsupportedOptionError: `check` refuses the options.
            DecodingError: non-finite logits (code ``non_finite``).
        """
        self.check(options)
        valid = _mask(encoded.frames, encoded.logits.shape[1], encoded.logits.device)
        require_finite(encoded.logits[valid])
        rows = encoded.logits.argmax(dim=-1).masked_fill(~valid, self.blank).tolist()
        return [self._hypothesis(row, duration) for row, duration in zip(rows, encoded.durations, strict=True)]

    def detect_language(self, encoded: Any) -> list[dict[str, float]]:
        """None to detect.

        Raises:
            UnsupportedOptionError: always.
        """
        raise UnsupportedOptionError(f"{self.name} knows English only and detects no language")

    def logits(self, encoded: Any, tokens: Sequence[Sequence[int]] | None = None) -> FloatArray:
        """CTC logits, float32 (B, frames, V).

        Raises:
            UsageError: tokens are given.
        """
        if tokens is not None:
            raise UsageError("CTC logits depend on the audio alone: give no tokens")
        logits: FloatArray = encoded.logits.float().cpu().numpy()
        return logits

    # Looking into it -------------------------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """The table of our own network's stages; linear layers and layer norms can be computed alone."""
        config = self.model.config.encoder_config
        base = float((config.rope_parameters or {}).get("rope_theta", LasrDimensions.rope_theta))
        table = lasr_topology(config.num_hidden_layers, config.num_attention_heads, base)
        return [replace(stage, compute=self._computation(stage)) for stage in table]

    def given(self, features: Any, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        """What the published model is given."""
        return {"features": torch.from_numpy(features.mel).to(self._torch_device, self._torch_dtype)}

    def capture(
        self, names: Collection[str], features: Any, tokens: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        """As `voxport.models.stages.Inspectable.capture`, by hooks on the published modules."""

        def forward() -> Tensor:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")
                logits: Tensor = self.model(input_features=self.given(features, tokens)["features"]).logits
            return logits

        return capture(self.model, {name: _point(name) for name in names}, names, forward)

    def parameter(self, path: str) -> dict[str, Tensor]:
        """As `voxport.models.stages.Inspectable.parameter`."""
        return parameters(self.model, path)

    def _computation(self, stage: Stage) -> Callable[..., Tensor] | None:
        module: Any = self.model.get_submodule(stage.name) if stage.kind in ("linear", "norm") else None
        if stage.name.endswith("subsampler.dense_1"):
            return lambda x: module(x.relu())
        return module if isinstance(module, (nn.Linear, nn.LayerNorm)) else None

    # Decoding --------------------------------------------------------------------------------------------------------

    def _output_frames(self, frames: int) -> int:
        """How many frames the two strided convolutions leave of so many mel frames."""
        config = self.model.config.encoder_config
        for _ in range(2):
            frames = (frames - config.subsampling_conv_kernel_size) // config.subsampling_conv_stride + 1
        return max(frames, 0)

    def _hypothesis(self, row: list[int], duration: float) -> Hypothesis:
        tokens = tuple(token for token, _ in groupby(row) if token != self.blank)
        text = self._text(row, tokens)
        # They are no part of what is said: the text is without them too.
        tokens = tuple(token for token in tokens if token not in self.tokenizer.all_special_ids)
        segments = (Segment(0, None, 0.0, duration, text, tokens),) if text.strip() else ()
        return Hypothesis(text, tokens, segments)

    def _text(self, row: list[int], tokens: tuple[int, ...]) -> str:
        """Of one window's frames `row`, or of its `tokens` where the tokenizer does not know the blank."""
        if self.tokenizer.pad_token_id == self.blank:
            text: str = self.tokenizer.decode(row, skip_special_tokens=True)
        else:
            # It leaves out its padding token, which is another here: a blank would become part of the text.
            text = self.tokenizer.decode(list(tokens), skip_special_tokens=True, group_tokens=False)
        return text


_BEHIND = {  # who reads the stream behind an addition
    "feed_forward1.residual": "norm_self_att",
    "self_attn.residual": "norm_conv",
    "conv.residual": "norm_feed_forward2",
    "feed_forward2.residual": "norm_out",
}


def _point(name: str) -> Point:
    """Where a stage's result is met in the published model."""
    if name == "ctc_head":  # its layout is not the same in all versions
        return Point("", "logits")
    if name.startswith("encoder.subsampler.conv"):
        return Point(name, channels_last=True)
    layer, _, rest = re.sub(r"(layers\.\d+)\.", r"\1/", name).partition("/")
    if rest in _BEHIND:
        return Point(f"{layer}.{_BEHIND[rest]}", "input")
    if rest == "self_attn":
        return Point(f"{name}.o_proj", "input")
    if rest.startswith("feed_forward") and rest.endswith(".activation_fn"):
        return Point(f"{name.removesuffix('.activation_fn')}.linear2", "input")
    if rest == "conv.glu":
        return Point(f"{layer}.conv.depthwise_conv", "input", channels_last=True)
    if rest == "conv.activation_fn":
        return Point(f"{layer}.conv.pointwise_conv2", "input", channels_last=True)
    return Point(name, channels_last=rest.startswith("conv."))


def _mask(frames: Sequence[int], length: int, device: torch.device) -> Tensor:
    """Bool (B, `length`): True for each window's own frames."""
    return torch.arange(length, device=device) < torch.tensor(frames, device=device)[:, None]
