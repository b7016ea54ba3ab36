"""The published Whisper (transformers' `WhisperForConditionalGeneration`) behind the model contract.

Everything that can be wrong in a port is transformers' own here: features, network, cache, next-token rules, and the
text of the tokens. Shared with our own model, and tested by itself, is only `decoding.whisper_segments`, which puts
decoded tokens on the clock.

The network is driven through `GenerationMixin.generate` and not through `WhisperForConditionalGeneration.generate`:
given an encoding, the latter's loop over a long recording decodes the same encoding once for every window that it
believes to see, and its tokens are wrong without an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from voxport.decoding.repetition import compression_ratio
from voxport.decoding.whisper_segments import split_segments
from voxport.errors import AudioError, ModelFormatError, UnsupportedOptionError, UsageError
from voxport.models.abilities import refuse_missing
from voxport.models.identity import model_identity
from voxport.models.reference.hooks import Point, capture
from voxport.models.reference.published import import_transformers, load_model, load_part, require_finite
from voxport.models.stages import Stage, parameters
from voxport.models.whisper.stages import whisper_topology
from voxport.types import Audio, DecodingOptions, FloatArray, Hypothesis, ModelInfo, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from voxport.devices import Device

__all__ = ["MAX_TOKENS", "ReferenceEncoded", "ReferenceFeatures", "ReferenceWhisper"]

MINIMUM_TRANSFORMERS = (4, 57)

MAX_TOKENS = 224
"""Of a window, openai/whisper's limit: half of the decoder's positions."""


@dataclass(frozen=True)
class ReferenceFeatures:
    """Log-mel windows: `mel` float32 (B, n_mels, 3000), padded to 30 s; `durations` of the audio in seconds."""

    mel: FloatArray
    durations: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceEncoded:
    """Encoder output `hidden` (B, 1500, D) on the model's device; `durations` as in `ReferenceFeatures`."""

    hidden: Tensor
    durations: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.durations)


class ReferenceWhisper:
    """`transformers.WhisperForConditionalGeneration` as an `ASRModel`.

    Attributes:
        model: the published model, in evaluation mode. Its own generation config is replaced by an empty one.
        generation: the published generation config, whose rules `decode` follows.
        extractor: its `WhisperFeatureExtractor`.
        tokenizer: its tokenizer, as `AutoTokenizer` finds it.
    """

    sample_rate = 16_000
    max_seconds = 30.0
    window_seconds = 30.0
    context_seconds = 0.0
    min_seconds = 0.0
    batch_size = 8

    def __init__(
        self, folder: Path, device: Device, dtype: str, *, attention: str = "eager", name: str | None = None
    ) -> None:
        """Load a published folder, from the disk only.

        Args:
            folder: config.json, safetensors, tokenizer files, preprocessor_config.json, generation_config.json.
            device: where to run.
            dtype: "float32", "float16" or "bfloat16".
            attention: transformers' ``attn_implementation``; "eager" is written out in plain operations.
            name: as it was asked for; None = the folder's.

        Raises:
            MissingDependencyError: transformers is absent or too old.
            ModelFormatError: the folder is incomplete or damaged, or its tensors don't fit its config.
        """
        transformers = import_transformers(MINIMUM_TRANSFORMERS)
        self._transformers = transformers
        self.device = device
        self.dtype = dtype
        self.float32_modules: tuple[str, ...] = ()
        self._torch_device = device.torch_device
        self._torch_dtype: torch.dtype = getattr(torch, dtype)
        self.model = load_model(transformers, "WhisperForConditionalGeneration", folder, self._torch_dtype, attention)
        self.model.to(self._torch_device)
        device.prepare(self.model)
        self.extractor = load_part(transformers, "WhisperFeatureExtractor", folder)
        self.tokenizer = load_part(transformers, "AutoTokenizer", folder)
        self.name = name or folder.name
        self.info = ModelInfo(
            name=self.name,
            family="whisper",
            identity=model_identity(folder),
            path=str(folder),
            random_weights=bool(getattr(self.model.config, "voxport_random_weights", False)),
        )
        self.generation = self.model.generation_config
        # `generate` completes its options from this one: it must not apply the published rules a second time.
        self.model.generation_config = transformers.GenerationConfig()
        self._set_tokens()

    def _set_tokens(self) -> None:
        """Look up the special tokens, by name or in the generation config."""

        def token(text: str) -> int:
            found: int | None = self.tokenizer.convert_tokens_to_ids(text)
            if found is None or self.tokenizer.convert_ids_to_tokens(found) != text:
                raise ModelFormatError(f"the tokenizer of {self.name} has no token {text}")
            return found

        published = getattr(self.generation, "no_timestamps_token_id", None)
        self.no_timestamps = token("<|notimestamps|>") if published is None else int(published)
        self.no_speech = self.no_timestamps - 1
        self.timestamp_begin = self.no_timestamps + 1
        self.sot = token("<|startoftranscript|>")
        self.eot = token("<|endoftext|>")
        multilingual = getattr(self.generation, "is_multilingual", None)
        if multilingual is None:
            multilingual = self.model.config.vocab_size >= 51_865
        self.language_tokens: dict[str, int] = {}
        self.task_tokens: dict[str, int] = {}
        supports = {"timestamps", "no_speech"}
        if multilingual:
            published = getattr(self.generation, "lang_to_id", None)
            if published is None:
                published = {text: token(text) for text in _language_names(self.tokenizer)}
            self.language_tokens = {text.strip("<|>"): number for text, number in published.items()}
            self.task_tokens = {task: token(f"<|{task}|>") for task in ("transcribe", "translate")}
            supports |= {"translate", "language_detection"}
        self.languages = frozenset(self.language_tokens or {"en"})
        self.supports = frozenset(supports)

    # The contract ----------------------------------------------------------------------------------------------------

    def check(self, options: DecodingOptions) -> None:
        """Refuse options that this checkpoint lacks.

        Raises:
            UnsupportedOptionError: a language or task that it does not know.
        """
        for language in options.languages or [next(iter(self.languages))]:
            self.prompt(language, options.task, options.timestamps)
        refuse_missing(self, options)

    def features(self, audio: Sequence[Audio]) -> ReferenceFeatures:
        """Log-mel spectrograms of windows of at most 30 s at 16 kHz, padded to 30 s, by the published extractor.

        Raises:
            AudioError: a window is too long or has another rate (code ``audio_window``).
        """
        for window in audio:
            if window.sample_rate != self.sample_rate or window.duration > self.max_seconds:
                raise AudioError(
                    f"a window has {window.duration:.2f} s at {window.sample_rate} Hz, "
                    f"Whisper hears at most {self.max_seconds:g} s at {self.sample_rate} Hz",
                    code="audio_window",
                )
        samples = [window.samples for window in audio]
        mel: FloatArray = self.extractor(samples, sampling_rate=self.sample_rate, return_tensors="np").input_features
        return ReferenceFeatures(np.asarray(mel, dtype=np.float32), tuple(window.duration for window in audio))

    def encode(self, features: Any) -> ReferenceEncoded:
        """One forward of the published encoder; takes any features with `mel` and `durations`, ours too."""
        mel = torch.from_numpy(features.mel).to(self._torch_device, self._torch_dtype)
        with torch.inference_mode():
            hidden = self.model.get_encoder()(mel).last_hidden_state
        return ReferenceEncoded(hidden, tuple(features.durations))

    def decode(self, encoded: Any, options: DecodingOptions) -> list[Hypothesis]:
        """Greedy decoding under the published logits processors; takes any encoding with `hidden` and `durations`.

        Raises:
            UnsupportedOptionError: a language or task that this checkpoint lacks.
            DecodingError: non-finite logits (code ``non_finite``).
        """
        self.check(options)
        languages, detected = self._languages_for(encoded, options)
        prompt = torch.tensor(
            [self.prompt(language, options.task, options.timestamps) for language in languages],
            device=self._torch_device,
        )
        room = self.model.config.max_target_positions - prompt.shape[1]
        limit = min(options.max_tokens or MAX_TOKENS, room)
        with torch.inference_mode():
            no_speech = self._forward(encoded, prompt)[:, 0].softmax(dim=-1)[:, self.no_speech].tolist()
            rows, logprobs = self._generate(encoded, prompt, limit, options.timestamps)
        hypotheses = [
            self._hypothesis(rows[i], logprobs[i], options, encoded.durations[i], languages[i], no_speech[i])
            for i in range(len(rows))
        ]
        return [replace(one, language_probabilities=among) for one, among in zip(hypotheses, detected, strict=True)]

    def detect_language(self, encoded: Any) -> list[dict[str, float]]:
        """How likely each language is in each window: code -> probability among all languages.

        Raises:
            UnsupportedOptionError: the checkpoint knows one language only.
        """
        if not self.language_tokens:
            raise UnsupportedOptionError(f"{self.name} knows English only and detects no language")
        first = torch.full((encoded.hidden.shape[0], 1), self.sot, device=self._torch_device)
        codes, ids = list(self.language_tokens), list(self.language_tokens.values())
        with torch.inference_mode():
            probabilities = self._forward(encoded, first)[:, 0, ids].softmax(dim=-1).tolist()
        return [dict(zip(codes, row, strict=True)) for row in probabilities]

    def logits(self, encoded: Any, tokens: Sequence[Sequence[int]] | None = None) -> FloatArray:
        """Teacher-forced logits of the decoder input `tokens` (B, T), prompt included: float32 (B, T, V).

        Raises:
            UsageError: no tokens, or rows of unequal lengths.
        """
        if tokens is None or len({len(row) for row in tokens}) != 1:
            raise UsageError("Whisper's logits need the tokens that come before them, equally many in each window")
        with torch.inference_mode():
            logits: FloatArray = self._forward(encoded, torch.tensor(tokens, device=self._torch_device)).cpu().numpy()
        return logits

    # Looking into it -------------------------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """The table of our own network's stages; linear layers and norms can be computed alone."""
        config = self.model.config
        table = whisper_topology(
            config.encoder_layers, config.encoder_attention_heads, config.decoder_layers, config.decoder_attention_heads
        )
        return [replace(stage, compute=self._computation(stage)) for stage in table]

    def given(self, features: Any, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        """What the published model is given."""
        mel = torch.from_numpy(features.mel).to(self._torch_device, self._torch_dtype)
        return {"features": mel, "tokens": torch.tensor(tokens or [[]], device=self._torch_device)}

    def capture(
        self, names: Collection[str], features: Any, tokens: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        """As `voxport.models.stages.Inspectable.capture`, by hooks on the published modules."""

        def forward() -> Tensor:
            given = self.given(features, tokens)
            output = self.model(given["features"], decoder_input_ids=given["tokens"], use_cache=False)
            logits: Tensor = output.logits
            return logits

        return capture(self.model, {name: _point(name) for name in names}, names, forward)

    def parameter(self, path: str) -> dict[str, Tensor]:
        """As `voxport.models.stages.Inspectable.parameter`."""
        return parameters(self.model, path)

    def _computation(self, stage: Stage) -> Callable[..., Tensor] | None:
        if stage.kind not in ("linear", "norm"):
            return None
        module: Callable[..., Tensor] = self.model.get_submodule(stage.name)
        return module

    # Decoding --------------------------------------------------------------------------------------------------------

    def decode_exactly(self, encoded: Any, count: int) -> list[list[int]]:
        """So many tokens of each window, the end of text forbidden: the same work whatever was said, to be timed.

        Greedy, without timestamps; at most as many as the model has positions.
        """
        rows = encoded.hidden.shape[0]
        prompt = self.prompt("en" if "en" in self.languages else next(iter(self.languages)), "transcribe", False)
        count = min(count, self.model.config.max_target_positions - len(prompt))
        tokens, _ = self._generate(
            encoded, torch.tensor([prompt] * rows, device=self._torch_device), count, False, forbidden=[self.eot]
        )
        return tokens

    def prompt(self, language: str | None, task: str, timestamps: bool) -> list[int]:
        """What the decoder starts with.

        Raises:
            UnsupportedOptionError: a language or task that this checkpoint lacks.
        """
        end = [] if timestamps else [self.no_timestamps]
        if not self.language_tokens:
            if language not in (None, "en") or task != "transcribe":
                raise UnsupportedOptionError(f"{self.name} is English only: no language {language!r}, task {task!r}")
            return [self.sot, *end]
        if language not in self.language_tokens or task not in self.task_tokens:
            raise UnsupportedOptionError(f"{self.name} lacks the language {language!r} or the task {task!r}")
        return [self.sot, self.language_tokens[language], self.task_tokens[task], *end]

    def _languages_for(
        self, encoded: Any, options: DecodingOptions
    ) -> tuple[Sequence[str], Sequence[dict[str, float] | None]]:
        """The language of each window, and among which it was detected, if it was."""
        rows = encoded.hidden.shape[0]
        if options.window_languages is not None:
            return options.window_languages, [None] * rows
        if options.language is None and self.language_tokens:
            detected = self.detect_language(encoded)
            return [max(among, key=among.__getitem__) for among in detected], detected
        return [options.language or "en"] * rows, [None] * rows

    def _forward(self, encoded: Any, tokens: Tensor) -> Tensor:
        """One pass of the decoder over all `tokens` (B, T): float32 logits (B, T, V)."""
        output = self.model(encoder_outputs=_encoder_output(encoded), decoder_input_ids=tokens, use_cache=False)
        logits: Tensor = output.logits.float()
        return logits

    def _generate(
        self, encoded: Any, prompt: Tensor, limit: int, timestamps: bool, forbidden: Sequence[int] = ()
    ) -> tuple[list[list[int]], list[list[float]]]:
        """transformers' greedy loop: per row its tokens and their log probabilities, the end of text included."""
        from transformers.generation.utils import GenerationMixin

        confidence = _Confidence()
        with torch.inference_mode():
            output = GenerationMixin.generate(
                self.model,
                encoder_outputs=_encoder_output(encoded),
                decoder_input_ids=prompt,
                generation_config=self._transformers.GenerationConfig(
                    max_new_tokens=limit,
                    do_sample=False,
                    num_beams=1,
                    eos_token_id=self.eot,
                    # What stands behind an ended row; another than the end, or transformers warns of a missing mask.
                    pad_token_id=self.sot,
                    bos_token_id=self.eot,
                    decoder_start_token_id=self.sot,
                ),
                logits_processor=self._processors(prompt.shape[1], timestamps, confidence, forbidden),
            )
        rows = output[:, prompt.shape[1] :].tolist()
        steps = torch.stack(confidence.logprobs, dim=1).tolist()
        # A row that ended early goes on with padding: keep what stands up to its end.
        lengths = [row.index(self.eot) + 1 if self.eot in row else len(row) for row in rows]
        tokens = [row[:length] for row, length in zip(rows, lengths, strict=True)]
        return tokens, [step[:length] for step, length in zip(steps, lengths, strict=True)]

    def _processors(
        self, prompt_length: int, timestamps: bool, confidence: _Confidence, forbidden: Sequence[int] = ()
    ) -> Any:
        """The published rules, in the order in which transformers applies them; and tokens that may not come."""
        from transformers.generation.logits_process import (
            LogitsProcessorList,
            SuppressTokensAtBeginLogitsProcessor,
            SuppressTokensLogitsProcessor,
            WhisperTimeStampLogitsProcessor,
        )

        processors: list[Any] = [_require_finite]
        at_begin = getattr(self.generation, "begin_suppress_tokens", None)
        if at_begin:
            processors.append(
                SuppressTokensAtBeginLogitsProcessor(
                    at_begin, begin_index=prompt_length, device=str(self._torch_device)
                )
            )
        suppressed = [*(getattr(self.generation, "suppress_tokens", None) or ()), *forbidden]
        if suppressed:
            processors.append(SuppressTokensLogitsProcessor(suppressed, device=str(self._torch_device)))
        if timestamps:
            config = self._transformers.GenerationConfig(eos_token_id=self.eot, bos_token_id=self.eot)
            config.no_timestamps_token_id = self.no_timestamps
            config.max_initial_timestamp_index = getattr(self.generation, "max_initial_timestamp_index", None)
            processors.append(WhisperTimeStampLogitsProcessor(config, begin_index=prompt_length))
        return LogitsProcessorList([*processors, confidence])

    def _hypothesis(
        self,
        tokens: list[int],
        logprobs: list[float],
        options: DecodingOptions,
        duration: float,
        language: str | None,
        no_speech: float,
    ) -> Hypothesis:
        ended = tokens[-1:] == [self.eot]
        tokens = tokens[:-1] if ended else tokens
        average = sum(logprobs) / max(len(logprobs), 1)
        text = self._text(tokens)
        shared: dict[str, Any] = {
            "temperature": 0.0,
            "avg_logprob": average,
            "compression_ratio": compression_ratio(text.strip()),
            "no_speech_prob": no_speech,
            "flags": () if ended else ("truncated",),
        }
        threshold = options.no_speech_threshold
        unlikely = options.logprob_threshold is not None and average < options.logprob_threshold
        if threshold is not None and no_speech > threshold and unlikely:
            return Hypothesis("", (), (), language, **shared)
        pieces, resume = split_segments(tokens, self.timestamp_begin, duration)
        segments: list[Segment] = []
        for piece in pieces:
            words = self._text(piece.tokens)
            if words.strip() and piece.start < piece.end:
                segments.append(Segment(len(segments), None, piece.start, piece.end, words, piece.tokens, **shared))
        text = "".join(segment.text for segment in segments)
        return Hypothesis(text, tuple(tokens), tuple(segments), language, resume=resume, **shared)

    def _text(self, tokens: Sequence[int]) -> str:
        text = [token for token in tokens if token < self.eot]
        decoded: str = self.tokenizer.decode(text, clean_up_tokenization_spaces=False)
        return decoded


class _Confidence:
    """The last logits processor: notes the log probability of each row's likeliest token, which greedy decoding takes.

    Attributes:
        logprobs: one tensor (B,) a step.
    """

    def __init__(self) -> None:
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.logprobs.append(scores.log_softmax(dim=-1).amax(dim=-1))
        return scores


def _require_finite(input_ids: Tensor, scores: Tensor) -> Tensor:
    """The first logits processor."""
    require_finite(scores)
    return scores


def _language_names(tokenizer: Any) -> list[str]:
    """The language tokens that the tokenizer has: what stands between <|startoftranscript|> and the tasks."""
    first = tokenizer.convert_tokens_to_ids("<|startoftranscript|>") + 1
    end = min(tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate"))
    names: list[str] = tokenizer.convert_ids_to_tokens(list(range(first, end)))
    return names


def _point(name: str) -> Point:
    """Where a stage's result is met in the published model."""
    layer = name.rpartition(".encoder_attn" if ".encoder_attn" in name else ".self_attn")[0]
    if name == "model.encoder.embed_positions":
        return Point("model.encoder.layers.0", "input")
    if name == "model.decoder.embed_tokens":
        return Point("model.decoder.layers.0", "input")
    if name.endswith("self_attn.residual") and ".decoder." in name:
        return Point(f"{layer}.encoder_attn_layer_norm", "input")
    if name.endswith(".residual"):
        return Point(f"{layer}.final_layer_norm", "input")
    if name.endswith((".self_attn", ".encoder_attn")):
        return Point(f"{name}.out_proj", "input")
    if name.endswith(".activation_fn"):
        return Point(f"{name.removesuffix('.activation_fn')}.fc2", "input")
    return Point(name)


def _encoder_output(encoded: Any) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=encoded.hidden)
