"""MedASR behind the model contract: features, encode, decode, and logits."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from voxport.decoding.ctc import BestPath, Collapser, best_paths
from voxport.decoding.ctc_seams import PathJoiner, Piece
from voxport.decoding.ctc_segments import SegmentAssembler
from voxport.decoding.ctc_words import FrameClock, WordAssembler
from voxport.errors import AudioError, DecodingError, ModelFormatError, UnsupportedOptionError, UsageError
from voxport.features.lasr import HOP_LENGTH, SAMPLE_RATE, WIN_LENGTH, frame_count, lasr_log_mel
from voxport.models.abilities import refuse_missing
from voxport.models.checkpoint import read_json
from voxport.models.identity import model_identity
from voxport.models.lasr.checkpoint import blank_token, dimensions, load_network
from voxport.models.lasr.ranges import RangeWatch
from voxport.models.lasr.stages import lasr_stages
from voxport.models.recipe import modules_in_float32
from voxport.models.stages import Stage, Tabled, parameters
from voxport.tokenizer.lasr import WORD_START, LasrTokenizer
from voxport.types import Audio, DecodingOptions, FloatArray, Hypothesis, ModelInfo, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from voxport.devices import Device
    from voxport.models.lasr.net import Lasr
    from voxport.models.recipe import Recipe

SILENCE = float(np.log(np.float32(1e-5)))
"""What the front end gives for silence: what stands behind a window that is shorter than its batch."""


@dataclass(frozen=True)
class LasrFeatures:
    """Log-mel windows: `mel` float32 (B, mel frames, n_mels); of each window its valid `frames`, and its `durations` in
    seconds."""

    mel: FloatArray
    frames: tuple[int, ...]
    durations: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class EncodedFrames:
    """Logits of a batch: float32 (B, T, V) on the model's device, one row for 40 ms; `frames` and `durations` as in
    `LasrFeatures`, but counted in those rows."""

    logits: Tensor
    frames: tuple[int, ...]
    durations: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.frames)


class LasrModel(Tabled):
    """MedASR, or another checkpoint of its kind, in the published layout.

    Use `from_folder`, or `voxport.load_model`.
    """

    sample_rate = SAMPLE_RATE
    window_seconds = 20.0
    """As Google recommends for long recordings: windows of 20 s ..."""
    context_seconds = 2.0
    """... of which 2 s at either end are heard for the context only."""
    languages = frozenset({"en"})
    supports = frozenset({"timestamps", "word_timestamps", "always_words", "dictation"})
    batch_size = 8

    def __init__(
        self, net: Lasr, tokenizer: LasrTokenizer, blank: int, info: ModelInfo, device: Device, dtype: str
    ) -> None:
        self.name = info.name
        self.info = info
        self.device = device
        self.dtype = dtype
        self.net = net
        self.float32_modules = () if dtype == "float32" else modules_in_float32(net)
        self.tokenizer = tokenizer
        self.blank = blank
        stride = net.dims.subsampling_stride
        # A frame sees K + stride (K - 1) mel frames; what it speaks for is in their middle.
        reach = (net.dims.subsampling_kernel - 1) * (1 + stride) / 2
        self.clock = FrameClock(
            step=stride**2 * HOP_LENGTH / SAMPLE_RATE,
            centre=(reach * HOP_LENGTH + WIN_LENGTH / 2) / SAMPLE_RATE,
        )
        self.max_seconds = net.dims.max_positions * self.clock.step
        fewest = next(count for count in itertools.count(1) if net.dims.frames(count))
        self.min_seconds = ((fewest - 1) * HOP_LENGTH + WIN_LENGTH) / SAMPLE_RATE
        self.frame_seconds = self.clock.step

    @classmethod
    def from_folder(
        cls, folder: Path, device: Device, dtype: str, *, name: str | None = None, recipe: Recipe | None = None
    ) -> LasrModel:
        """Load a published folder: config.json, safetensors, tokenizer.json.

        Raises:
            ModelFormatError: the folder is incomplete, damaged, or its files do not belong together.
            UnsupportedOptionError: the device is to compile graphs.
            UsageError: the recipe names a module that this model lacks.
        """
        if device.graph:
            raise UnsupportedOptionError(
                "--graph compiles a decoder's steps, and a CTC model has no decoder", hint="leave --graph out"
            )
        config = read_json(folder / "config.json")
        compute = getattr(torch, dtype)
        stream = torch.float32 if compute == torch.float16 else compute
        blank = blank_token(config, folder)
        # Hashing lets go of the interpreter's lock: it costs no time beside the loading.
        with ThreadPoolExecutor(1) as pool:
            identity = pool.submit(model_identity, folder)
            net = load_network(folder, dimensions(config, folder), device.torch_device, stream, compute, recipe)
            device.prepare(net)
            tokenizer = LasrTokenizer.from_folder(folder)
        if len(tokenizer.pieces) < net.dims.vocabulary:
            raise ModelFormatError(
                f"the tokenizer in {folder} has {len(tokenizer.pieces)} tokens, the weights have {net.dims.vocabulary}",
                hint="tokenizer and weights are from different models: put the right tokenizer.json beside the weights",
            )
        info = ModelInfo(
            name=name or folder.name,
            family="lasr_ctc",
            identity=identity.result(),
            path=str(folder),
            random_weights=bool(config.get("voxport_random_weights", False)),
        )
        return cls(net, tokenizer, blank, info, device, dtype)

    # The contract ----------------------------------------------------------------------------------------------------

    def features(self, audio: Sequence[Audio]) -> LasrFeatures:
        """Log-mel spectrograms of windows at 16 kHz; shorter ones are filled up with silence to the longest.

        Raises:
            AudioError: a window is longer than 400 s, has another rate or is not mono (code ``audio_window``).
        """
        for window in audio:
            self._check_window(window)
        frames = tuple(frame_count(len(window.samples)) for window in audio)
        mel = np.full((len(audio), max(frames, default=0), self.net.dims.n_mels), SILENCE, np.float32)
        for row, (window, count) in enumerate(zip(audio, frames, strict=True)):
            lasr_log_mel(window.samples, self.net.dims.n_mels, out=mel[row, :count])
        return LasrFeatures(mel, frames, tuple(window.duration for window in audio))

    def encode(self, features: LasrFeatures) -> EncodedFrames:
        """Logits of the batch, in as many forwards as suit the device.

        Raises:
            DecodingError: a result did not fit into float16 (code ``overflow``).
        """
        counts = tuple(self.net.dims.frames(frames) for frames in features.frames)
        size = self.device.windows_per_forward or len(counts)
        longest = max(counts, default=0)
        vocabulary = self.net.dims.vocabulary
        with torch.inference_mode():
            pieces = []
            for start in range(0, len(counts), size):
                frames = features.frames[start : start + size]
                mel = features.mel[start : start + size]
                if size < len(counts):  # no further than the longest of these
                    mel = mel[:, : max(frames)]
                mel = _widened(mel, self.device.bucket(mel.shape[1]))
                pieces.append(_fitted(self._forward(mel, frames), longest))
            logits = torch.cat(pieces) if pieces else torch.empty(0, 0, vocabulary)
        return EncodedFrames(logits, counts, features.durations)

    def decode(self, encoded: EncodedFrames, options: DecodingOptions) -> list[Hypothesis]:
        """Greedy decoding of each window by itself.

        Raises:
            UnsupportedOptionError: a language, a task or a limit that this family lacks.
            DecodingError: non-finite logits (code ``non_finite``).
        """
        self.check(options)
        return [self._hypothesis(path) for path in self.paths(encoded)]

    def detect_language(self, encoded: EncodedFrames) -> list[dict[str, float]]:
        """Not here.

        Raises:
            UnsupportedOptionError: always.
        """
        raise UnsupportedOptionError(f"{self.name} knows English only and detects no language")

    def logits(self, encoded: EncodedFrames, tokens: Sequence[Sequence[int]] | None = None) -> FloatArray:
        """Logits frame by frame: float32 (B, T, V), meaningless beyond a window's valid frames.

        Raises:
            UsageError: tokens were given; CTC's logits depend on the audio only.
        """
        if tokens is not None:
            raise UsageError("MedASR's logits depend on the audio only, they take no tokens")
        logits: FloatArray = encoded.logits.cpu().numpy()
        return logits

    def check(self, options: DecodingOptions) -> None:
        """Refuse options that this family lacks.

        Raises:
            UnsupportedOptionError: with what there is.
        """
        for language in sorted({*options.languages} - self.languages):
            raise UnsupportedOptionError(
                f"{self.name} knows English only, the language asked for is {language!r}",
                hint="use a multilingual model, e.g. whisper-base",
            )
        if options.task != "transcribe":
            raise UnsupportedOptionError(
                f"{self.name} can't {options.task}", hint="use a multilingual model, e.g. whisper-base"
            )
        if options.max_tokens is not None:
            raise UnsupportedOptionError(f"{self.name} has a token for each frame: there is no limit to set")
        refuse_missing(self, options)

    # Looking into it -------------------------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """The network as a table, see `voxport.models.stages`."""
        return lasr_stages(self.net)

    def parameter(self, path: str) -> dict[str, Tensor]:
        """Parameters of the module at a published path."""
        return parameters(self.net, path)

    def given(self, features: LasrFeatures, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        """What the table starts from: "features" (B, mel frames, n_mels), in the sub-sampler's dtype.

        Raises:
            UsageError: the windows are not of one length.
        """
        if min(features.frames, default=0) != features.mel.shape[1]:
            raise UsageError("a look into MedASR takes windows of one length, without padding")
        first = self.net.encoder.subsampler.dense_0.weight.dtype
        return {"features": torch.from_numpy(features.mel).to(self.device.torch_device, first)}

    # Windows that are joined -----------------------------------------------------------------------------------------

    def paths(self, encoded: EncodedFrames) -> list[BestPath]:
        """What is heard in each window, to be joined with its neighbours by `joiner`.

        Raises:
            DecodingError: non-finite logits (code ``non_finite``).
        """
        with torch.inference_mode():
            paths = best_paths(encoded.logits, encoded.frames)
        if paths is None:
            raise DecodingError(
                f"{self.name} gave values that are not finite in {self.dtype} on {self.device}",
                hint=self._way_out(),
                code="non_finite",
            )
        return paths

    def joiner(self) -> LasrJoiner:
        """Begin a recording."""
        return LasrJoiner(self.tokenizer, self.blank, self.clock)

    # Inner workings --------------------------------------------------------------------------------------------------

    def _check_window(self, window: Audio) -> None:
        problem = None
        if window.sample_rate != self.sample_rate:
            problem = f"a window has {window.sample_rate} Hz, MedASR hears {self.sample_rate}"
        elif window.samples.ndim != 1:
            problem = f"a window must be mono, an array of shape (n,), not {window.samples.shape}"
        elif window.duration > self.max_seconds:
            problem = f"a window of {window.duration:.1f} s is too long: MedASR was made for {self.max_seconds:g} s"
        if problem is not None:
            raise AudioError(problem, hint="`voxport transcribe` cuts recordings into windows", code="audio_window")

    def _forward(self, mel: FloatArray, frames: Sequence[int]) -> Tensor:
        """Logits (B, T, V) of mel frames (B, mel frames, n_mels)."""
        first = self.net.encoder.subsampler.dense_0.weight.dtype
        if not self.net.dims.frames(max(frames, default=0)):
            return torch.empty(len(mel), 0, self.net.dims.vocabulary, device=self.device.torch_device)
        given = torch.from_numpy(mel).to(self.device.torch_device, first)
        watch = RangeWatch() if self.dtype == "float16" else None
        logits: Tensor = self.net(given, frames, watch)
        module = None if watch is None else watch.first_overflow()
        if module is not None:
            raise DecodingError(
                f"{self.name} gave values beyond float16's range in {module} on {self.device}",
                hint=self._way_out(),
                code="overflow",
            )
        return logits

    def _way_out(self) -> str:
        if self.dtype == "float32":
            return "the weights or the recording are damaged: `voxport models show` tells the weights' identity"
        others = "float32" if self.dtype == "bfloat16" else "bfloat16 or --dtype float32"
        return f"use --dtype {others}"

    def _hypothesis(self, path: BestPath) -> Hypothesis:
        joiner = self.joiner()
        segments = [*joiner.feed(path, 0.0, None), *joiner.finish()]
        segments = [replace(segment, id=number) for number, segment in enumerate(segments)]
        probabilities = [value for segment in segments for value in segment.token_probabilities or ()]
        return Hypothesis(
            text="".join(segment.text for segment in segments),
            tokens=tuple(token for segment in segments for token in segment.tokens),
            segments=tuple(segments),
            avg_logprob=float(np.mean(np.log(np.maximum(probabilities, 1e-30)))) if probabilities else None,
        )


class LasrJoiner:
    """Windows of one recording in order of time, its segments out, on the recording's clock."""

    def __init__(self, tokenizer: LasrTokenizer, blank: int, clock: FrameClock) -> None:
        self._clock = clock
        self._joiner = PathJoiner(blank)
        self._collapser = Collapser(blank)
        self._words = WordAssembler(tokenizer.pieces, tokenizer.special, WORD_START)
        self._segments = SegmentAssembler(clock)
        self._end: int | None = None  # frame behind the last window

    def feed(self, path: BestPath, start: float, seam: float | None) -> list[Segment]:
        """Take a window; give the segments that are complete.

        Args:
            path: from `LasrModel.paths`.
            start: of the window, seconds; a multiple of the frame step where windows overlap.
            seam: where this window should take over from the one before, seconds, or None if they are apart.
        """
        first = round(start / self._clock.step)
        takes_over = None if seam is None else round((seam - self._clock.centre) / self._clock.step)
        apart = seam is None or self._end is None or first >= self._end
        segments: list[Segment] = []
        for piece in self._joiner.feed(path, first, takes_over):
            segments += self._hear(piece)
        if apart:
            segments += self._pause()
        self._end = first + len(path)
        return segments

    def finish(self) -> list[Segment]:
        """End the recording: the segments not given yet."""
        segments: list[Segment] = []
        for piece in self._joiner.finish():
            segments += self._hear(piece)
        return [*segments, *self._pause(), *self._segments.finish()]

    def _hear(self, piece: Piece) -> list[Segment]:
        return self._segments.feed(self._words.feed(self._collapser.feed(piece.path, piece.start)))

    def _pause(self) -> list[Segment]:
        """Windows that are apart share no word."""
        words = [*self._words.feed(self._collapser.finish()), *self._words.finish()]
        return self._segments.feed(words)


def _widened(mel: FloatArray, frames: int) -> FloatArray:
    """Mel frames (B, mel frames, n_mels), filled up with silence to `frames`."""
    missing = frames - mel.shape[1]
    return np.pad(mel, ((0, 0), (0, missing), (0, 0)), constant_values=SILENCE) if missing else mel


def _fitted(logits: Tensor, frames: int) -> Tensor:
    """Logits (B, T, V) with T filled up or cut to `frames`."""
    missing = frames - logits.shape[1]
    return torch.nn.functional.pad(logits, (0, 0, 0, missing)) if missing > 0 else logits[:, :frames]
