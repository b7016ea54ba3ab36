"""Whisper behind the model contract: features, encode, decode, and teacher-forced logits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from voxport.decoding.greedy import decode_greedy
from voxport.decoding.hotwords import HotwordTree
from voxport.decoding.whisper_rules import WhisperRules
from voxport.devices.fused import NOTHING_FUSED
from voxport.errors import AudioError, UnsupportedOptionError, UsageError
from voxport.features.whisper import LogMelExtractor
from voxport.models.checkpoint import read_json
from voxport.models.identity import model_identity
from voxport.models.recipe import modules_in_float32
from voxport.models.stages import Stage, Tabled, parameters
from voxport.models.whisper.checkpoint import dimensions, load_network
from voxport.models.whisper.decoder_state import DecoderState, DecoderWeights
from voxport.models.whisper.forced_texts import ForcedTexts
from voxport.models.whisper.graph_state import GraphDecoderState, GraphStep
from voxport.models.whisper.hotword_tokens import hotword_tokens
from voxport.models.whisper.hypotheses import text_ranges
from voxport.models.whisper.places import find_places, spoken_places
from voxport.models.whisper.stages import whisper_stages
from voxport.models.whisper.window_decoder import WindowDecoder
from voxport.models.whisper.words import WordFinder
from voxport.tokenizer import WhisperTokenizer
from voxport.types import Audio, DecodingOptions, FloatArray, Hypothesis, ModelInfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from voxport.devices import Device
    from voxport.models.recipe import Recipe
    from voxport.models.whisper.net import Whisper


@dataclass(frozen=True)
class WhisperFeatures:
    """Log-mel windows: `mel` float32 (B, n_mels, 3000), padded to 30 s; `durations` of the audio in seconds."""

    mel: FloatArray
    durations: tuple[float, ...]


@dataclass(frozen=True)
class EncodedWindows:
    """Encoder output `hidden` (B, 1500, D) on the model's device; `durations` as in `WhisperFeatures`."""

    hidden: Tensor
    durations: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.durations)

    def select(self, rows: Sequence[int]) -> EncodedWindows:
        """Only these windows, in this order."""
        return EncodedWindows(self.hidden[list(rows)], tuple(self.durations[row] for row in rows))


class WhisperModel(Tabled):
    """Any Whisper checkpoint in the published layout, from tiny to large-v3-turbo, fine-tuned or distilled.

    Use `from_folder`, or `voxport.load_model`.
    """

    sample_rate = 16_000
    max_seconds = 30.0
    min_seconds = 0.0  # whatever is shorter than 30 s is filled up
    window_seconds = 30.0
    context_seconds = 0.0

    def __init__(
        self,
        net: Whisper,
        tokenizer: WhisperTokenizer,
        info: ModelInfo,
        device: Device,
        dtype: str,
        generation_config: dict[str, object],
    ) -> None:
        self.name = info.name
        self.info = info
        self.device = device
        self.dtype = dtype
        self.net = net
        self.tokenizer = tokenizer
        self._torch_device = device.torch_device
        self.float32_modules = () if dtype == "float32" else modules_in_float32(net)
        self._weights = DecoderWeights(net, NOTHING_FUSED if self.float32_modules else device.fused(dtype))
        self._step = device.compile(GraphStep(net)) if device.graph else None
        self._mel_dtype = net.model.encoder.conv1.weight.dtype
        self._extractor = LogMelExtractor(net.dims.n_mels)
        heads = generation_config.get("alignment_heads")
        self._words = WordFinder(self._weights, tokenizer, heads, device.bucket)
        self._hotwords: tuple[tuple[tuple[str, ...], float], HotwordTree] | None = None
        supports = {"timestamps", "word_timestamps", "token_places", "punctuation", "no_speech"}
        supports |= {"search", "prompt", "hotwords"}
        if tokenizer.multilingual:
            supports |= {"translate", "language_detection"}
        self.supports = frozenset(supports)
        self.languages = frozenset(tokenizer.language_tokens) if tokenizer.multilingual else frozenset({"en"})
        self.batch_size = _batch_size(net)
        self._suppress, self._suppress_first, self._max_initial = _generation_rules(generation_config, tokenizer)

    @classmethod
    def from_folder(
        cls, folder: Path, device: Device, dtype: str, *, name: str | None = None, recipe: Recipe | None = None
    ) -> WhisperModel:
        """Load a published folder: config.json, safetensors, tokenizer files, generation_config.json if there is one.

        Raises:
            ModelFormatError: the folder is incomplete, damaged, or its files do not belong together.
            UsageError: the recipe names a module that this model lacks, or steps are to be compiled with one.
        """
        if recipe is not None and device.graph:
            raise UsageError("steps compiled into graphs have one dtype", hint="use the recipe without --graph")
        config = read_json(folder / "config.json")
        # Hashing lets go of the interpreter's lock: it costs no time beside the loading.
        with ThreadPoolExecutor(1) as pool:
            identity = pool.submit(model_identity, folder)
            own = getattr(torch, dtype)
            net = load_network(folder, dimensions(config, folder), device.torch_device, own, recipe)
            device.prepare(net)
            tokenizer = WhisperTokenizer.from_folder(folder)
        info = ModelInfo(
            name=name or folder.name,
            family="whisper",
            identity=identity.result(),
            path=str(folder),
            random_weights=bool(config.get("voxport_random_weights", False)),
        )
        generation = read_json(folder / "generation_config.json", required=False)
        return cls(net, tokenizer, info, device, dtype, generation)

    # The contract ----------------------------------------------------------------------------------------------------

    def features(self, audio: Sequence[Audio]) -> WhisperFeatures:
        """Log-mel spectrograms of windows of at most 30 s at 16 kHz, padded with silence to 30 s.

        Raises:
            AudioError: a window is too long or has another rate (code ``audio_window``).
        """
        for window in audio:
            if window.sample_rate != self.sample_rate:
                raise AudioError(
                    f"a window has {window.sample_rate} Hz, Whisper hears {self.sample_rate}", code="audio_window"
                )
        mel = self._extractor([window.samples for window in audio])
        return WhisperFeatures(mel, tuple(window.duration for window in audio))

    def encode(self, features: WhisperFeatures) -> EncodedWindows:
        """The encoder over the batch, in as many forwards as suit the device."""
        mel = torch.from_numpy(features.mel)
        size = self.device.windows_per_forward or len(mel)
        with torch.inference_mode():
            pieces = [
                self.net.model.encoder(windows.to(self._torch_device, self._mel_dtype))
                for windows in torch.split(mel, size)
            ]
            return EncodedWindows(pieces[0] if len(pieces) == 1 else torch.cat(pieces), features.durations)

    def decode(self, encoded: EncodedWindows, options: DecodingOptions) -> list[Hypothesis]:
        """The words of each window by Whisper's rules: greedy, by beam search or by samples, see `WindowDecoder`.

        Raises:
            UnsupportedOptionError: a language or a task that this checkpoint lacks.
            DecodingError: non-finite values (code ``non_finite``).
        """
        self.check(options)
        with torch.inference_mode():
            hypotheses = self._decode(encoded, options)
            if options.word_timestamps:
                return self._words.add(encoded.hidden, encoded.durations, hypotheses, options)
            return hypotheses

    def detect_language(self, encoded: EncodedWindows) -> list[dict[str, float]]:
        """How likely each language is in each window: code -> probability among all languages.

        Raises:
            UnsupportedOptionError: the checkpoint knows one language only.
        """
        if not self.tokenizer.multilingual:
            raise UnsupportedOptionError(f"{self.name} knows English only and detects no language")
        with torch.inference_mode():
            return self._detect(self.start(encoded, 1))

    def token_places(
        self, encoded: EncodedWindows, hypotheses: Sequence[Hypothesis | None], options: DecodingOptions
    ) -> list[list[tuple[float, ...]] | None]:
        """Where each spoken token of each segment was heard, see `PlacingModel` and `voxport.models.whisper.places`."""
        tokenizer = self.tokenizer
        texts = ForcedTexts.of(hypotheses, encoded.durations, tokenizer, options.task)
        with torch.inference_mode():
            found = find_places(self._weights, encoded.hidden, texts, bucket=self.device.bucket)
        result: list[list[tuple[float, ...]] | None] = [None] * len(hypotheses)
        for number, (one, places) in enumerate(zip(hypotheses, found, strict=True)):
            if one is not None and places is not None:
                parts = zip(one.segments, text_ranges(one, tokenizer.eot), strict=True)
                result[number] = [
                    spoken_places(tokenizer, segment.tokens, places[own.start : own.stop]) for segment, own in parts
                ]
        return result

    def logits(self, encoded: EncodedWindows, tokens: Sequence[Sequence[int]] | None = None) -> FloatArray:
        """Teacher-forced logits of the decoder input `tokens` (B, T), prompt included: float32 (B, T, V)."""
        if tokens is None:
            raise UnsupportedOptionError("Whisper's logits need the tokens that come before them")
        with torch.inference_mode():
            given = torch.tensor(tokens, device=self._torch_device)
            state = self.start(encoded, given.shape[1])
            logits: FloatArray = state.logits(state.advance(given)).cpu().numpy()
            return logits

    def check(self, options: DecodingOptions) -> None:
        """Refuse options that this checkpoint lacks.

        Raises:
            UnsupportedOptionError: with what there is.
            ModelFormatError: words with times are asked for, and the published alignment heads are damaged.
        """
        for language in sorted({*options.languages} - self.languages):
            if not self.tokenizer.multilingual:
                raise UnsupportedOptionError(
                    f"{self.name} is an English-only model, the language asked for is {language!r}",
                    hint=f"use a multilingual model, e.g. {self.name.removesuffix('.en')}, or --language en",
                )
            cantonese = "Cantonese came with large-v3, e.g. whisper-large-v3-turbo; --language zh is the nearest here"
            raise UnsupportedOptionError(
                f"{self.name} does not know the language {language!r}",
                hint=cantonese if language == "yue" else f"it knows: {', '.join(sorted(self.languages))}",
            )
        if options.task == "translate" and "translate" not in self.supports:
            raise UnsupportedOptionError(
                f"{self.name} is an English-only model and can't translate",
                hint=f"use a multilingual model, e.g. {self.name.removesuffix('.en')}",
            )
        if options.word_timestamps:
            _ = self._words.heads  # damaged ones are refused here

    def prompt(self, language: str | None, task: str, timestamps: bool) -> list[int]:
        """What the decoder starts with."""
        return list(self.tokenizer.sot_sequence(language, task, timestamps))

    def start(self, encoded: EncodedWindows, max_length: int, beams: int = 1) -> DecoderState:
        """Begin decoding these windows token by token, at most `max_length` tokens in all, prompt included.

        `beams`: rows that `DecoderState.widen` may make of each window.
        """
        if self._step is not None:
            return GraphDecoderState(self._weights, encoded.hidden, max_length, self._step, beams)
        return DecoderState(self._weights, encoded.hidden, max_length, self.device.bucket, beams)

    def rules_bias(self, rules: WhisperRules) -> Tensor:
        """(V,), to be added to all logits, see `WhisperRules.bias`."""
        return rules.bias(self._torch_device, self._weights.vocabulary.weight.dtype)

    def hotword_tree(self, terms: tuple[str, ...], weight: float) -> HotwordTree:
        """The prefix tree of some terms. The latest is kept: every batch of a recording asks for the same."""
        asked = (terms, weight)
        if self._hotwords is None or self._hotwords[0] != asked:
            tokens = hotword_tokens(terms, self.tokenizer)
            tree = HotwordTree(tokens, weight, self.net.dims.vocabulary, self._torch_device)
            self._hotwords = (asked, tree)
        return self._hotwords[1]

    # Looking into it -------------------------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """The network as a table, see `voxport.models.stages`."""
        return whisper_stages(self.net)

    def parameter(self, path: str) -> dict[str, Tensor]:
        """Parameters of the module at a published path."""
        return parameters(self.net, path)

    def given(self, features: WhisperFeatures, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        """What the table starts from: "features" (B, n_mels, 3000) and "tokens" (B, n)."""
        mel = torch.from_numpy(features.mel).to(self._torch_device, self._mel_dtype)
        return {"features": mel, "tokens": torch.tensor(tokens or [[]], device=self._torch_device)}

    # Decoding --------------------------------------------------------------------------------------------------------

    def decode_exactly(self, encoded: EncodedWindows, count: int) -> list[list[int]]:
        """So many tokens of each window, the end of text forbidden: the same work whatever was said, to be timed.

        Greedy, without timestamps and without looking for loops; at most as many as the model has positions.
        """
        tokenizer = self.tokenizer
        prompt = tokenizer.sot_sequence("en", "transcribe", timestamps=False)
        count = min(count, self.net.dims.max_target - len(prompt))
        rules = WhisperRules(
            vocabulary=self.net.dims.vocabulary,
            eot=tokenizer.eot,
            no_timestamps=tokenizer.no_timestamps,
            timestamp_begin=tokenizer.timestamp_begin,
            suppress=(*self._suppress, tokenizer.eot),
            suppress_first=self._suppress_first,
            timestamps=False,
        )
        with torch.inference_mode():
            state = self.start(encoded, len(prompt) + count)
            hidden = state.advance(torch.tensor([prompt] * len(encoded), device=self._torch_device))
            rows = decode_greedy(
                state,
                hidden[:, -1],
                rules.start(len(encoded), self._torch_device),
                bias=self.rules_bias(rules),
                eot=tokenizer.eot,
                max_tokens=count,
                sync_interval=self.device.sync_interval,
            )
        return [row.tokens for row in rows]

    def _decode(self, encoded: EncodedWindows, options: DecodingOptions) -> list[Hypothesis]:
        rules = WhisperRules(
            vocabulary=self.net.dims.vocabulary,
            eot=self.tokenizer.eot,
            no_timestamps=self.tokenizer.no_timestamps,
            timestamp_begin=self.tokenizer.timestamp_begin,
            suppress=self._suppress,
            suppress_first=self._suppress_first,
            timestamps=options.timestamps,
            max_initial_timestamp=self._max_initial,
        )
        return WindowDecoder(self, rules, options).decode(encoded)

    def languages_for(
        self, state: DecoderState, options: DecodingOptions
    ) -> tuple[Sequence[str], Sequence[dict[str, float] | None]]:
        """The language of each window, and how likely each is where it had to be detected, which rewinds the state."""
        undetected = [None] * state.rows
        if not self.tokenizer.multilingual:
            return ["en"] * state.rows, undetected
        if options.window_languages is not None:
            return options.window_languages, undetected
        if options.language is not None:
            return [options.language] * state.rows, undetected
        detected = self._detect(state)
        state.rewind()
        return [max(among, key=among.__getitem__) for among in detected], detected

    def _detect(self, state: DecoderState) -> list[dict[str, float]]:
        first = torch.full((state.rows, 1), self.tokenizer.sot, device=self._torch_device)
        logits = state.logits(state.advance(first)[:, 0])
        codes = list(self.tokenizer.language_tokens)
        ids = torch.tensor(list(self.tokenizer.language_tokens.values()), device=logits.device)
        return [dict(zip(codes, row, strict=True)) for row in logits[:, ids].softmax(dim=-1).tolist()]


def _batch_size(net: Whisper) -> int:
    """As many windows as keep their cross-attention keys and values within 1 GiB, at most 8."""
    dims = net.dims
    window = 2 * dims.decoder_layers * dims.max_source * dims.width * net.proj_out.weight.element_size()
    return max(1, min(8, 2**30 // window))


def _generation_rules(
    config: dict[str, object], tokenizer: WhisperTokenizer
) -> tuple[tuple[int, ...], tuple[int, ...], int | None]:
    """Suppressed tokens, those suppressed at first, and the latest first timestamp: published, else openai/whisper's.

    Fine-tuned and distilled folders often carry no or only half of a generation_config.json.
    """
    suppress = config.get("suppress_tokens")
    if not isinstance(suppress, list):  # an empty one is meant: fine-tuned folders often have it
        suppress = list(tokenizer.suppress_tokens)
    first = config.get("begin_suppress_tokens")
    if not isinstance(first, list):
        first = list(tokenizer.blank_tokens)
    latest = config.get("max_initial_timestamp_index", 50)
    return (
        tuple(token for token in suppress if token != tokenizer.eot),
        tuple(first),
        latest if isinstance(latest, int) else None,
    )
