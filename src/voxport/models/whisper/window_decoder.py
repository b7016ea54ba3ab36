"""A batch of encoded windows to hypotheses: greedy, by beam search or by samples, again where the first answer is bad.

A window whose text compresses too well, ends in a loop or is too unlikely is decoded again at the next temperature
(Whisper's paper, 4.5; `decode_with_fallback` in whisper/transcribe.py). Only the windows that need it are: the others
keep what they have. Where no temperature gives a text within the thresholds, the likeliest of those that do not repeat
themselves is taken, as faster-whisper does; openai/whisper takes the last. What a loop was cut from does not any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from voxport.decoding.beam import decode_beam
from voxport.decoding.candidates import best
from voxport.decoding.greedy import decode_greedy
from voxport.decoding.repetition import find_loop
from voxport.decoding.sampling import decode_samples
from voxport.models.whisper.hypotheses import Said, is_silent, make_hypothesis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.decoding.whisper_rules import WhisperRules
    from voxport.models.whisper.decoder_state import DecoderState
    from voxport.models.whisper.model import EncodedWindows, WhisperModel
    from voxport.types import DecodingOptions, Hypothesis

MAX_TOKENS = 224
"""Of a window, openai/whisper's limit: half of the decoder's positions."""

LIKELIER = 1e-3
"""Mean log probability by which one text must be above another to be likelier."""

LOOK_FOR_LOOPS_EVERY = 16
"""Tokens between two looks: a loop is worth cutting short, not worth finding at once."""


@dataclass(frozen=True)
class _Begun:
    """Windows whose prompt is in the state.

    Attributes:
        hidden: (N, D), at the prompt's last token.
        languages: of each window.
        detected: how likely each language is in each window, None where it was not detected for this.
        no_speech: of each, the probability of the no-speech token directly after the start of transcript.
        limit: tokens that each may have.
    """

    state: DecoderState
    hidden: Tensor
    languages: Sequence[str]
    detected: Sequence[dict[str, float] | None]
    no_speech: list[float]
    limit: int


@dataclass(frozen=True)
class _Attempt:
    """A window's text at one temperature.

    Attributes:
        likelihood: mean log probability of a token of it.
        repetitive: what is left without a loop at its end compresses as only loops do.
        satisfying: it will do; so does silence.
    """

    hypothesis: Hypothesis
    likelihood: float
    repetitive: bool
    satisfying: bool


class WindowDecoder:
    """Decodes windows of one model by the same options."""

    def __init__(self, model: WhisperModel, rules: WhisperRules, options: DecodingOptions) -> None:
        self._model = model
        self._rules = rules
        self._options = options
        self._bias = model.rules_bias(rules)
        self._hotwords = model.hotword_tree(options.hotwords, options.hotword_weight) if options.hotwords else None

    def decode(self, encoded: EncodedWindows) -> list[Hypothesis]:
        """The text of each window.

        Raises:
            DecodingError: non-finite values (code ``non_finite``).
        """
        tried: list[list[_Attempt]] = [[] for _ in range(len(encoded))]
        languages: Sequence[str] | None = None
        detected: Sequence[dict[str, float] | None] = ()
        pending = list(range(len(encoded)))
        for temperature in self._options.temperatures:
            windows = encoded if len(pending) == len(encoded) else encoded.select(pending)
            if languages is None:
                attempts, languages, detected = self._attempts(windows, temperature, None)
            else:
                attempts, _, _ = self._attempts(windows, temperature, [languages[window] for window in pending])
            for window, attempt in zip(pending, attempts, strict=True):
                tried[window].append(attempt)
            pending = [window for window in pending if not tried[window][-1].satisfying]
            if not pending:
                break
        return [
            replace(_settled(attempts).hypothesis, language_probabilities=among)
            for attempts, among in zip(tried, detected, strict=True)
        ]

    def _attempts(
        self, encoded: EncodedWindows, temperature: float, languages: Sequence[str] | None
    ) -> tuple[list[_Attempt], Sequence[str], Sequence[dict[str, float] | None]]:
        """Each window's text at this temperature, its language, and how likely each is where it had to be detected.

        The state, which is the most that decoding holds, is gone when this returns: before the next temperature's is
        made.
        """
        begun = self._begin(encoded, temperature, languages)
        texts = self._texts(begun, temperature)
        attempts = [self._attempt(said, encoded, begun, place, temperature) for place, said in enumerate(texts)]
        return attempts, begun.languages, begun.detected

    def _begin(self, encoded: EncodedWindows, temperature: float, languages: Sequence[str] | None) -> _Begun:
        """Feed the prompt. Languages are detected where they are neither asked for nor known already."""
        model, options = self._model, self._options
        before = self._before()
        length = len(before) + len(model.prompt("en", options.task, options.timestamps))  # in any language
        limit = min(options.max_tokens or MAX_TOKENS, model.net.dims.max_target - length)
        state = model.start(encoded, length + limit, self._beams(temperature))
        detected: Sequence[dict[str, float] | None] = [None] * len(encoded)
        if languages is None:
            languages, detected = model.languages_for(state, options)
        prompts = [[*before, *model.prompt(language, options.task, options.timestamps)] for language in languages]
        hidden = state.advance(torch.tensor(prompts, device=encoded.hidden.device))
        at_start = state.logits(hidden[:, len(before)]).softmax(dim=-1)
        no_speech: list[float] = at_start[:, model.tokenizer.no_speech].tolist()
        return _Begun(state, hidden[:, -1], languages, detected, no_speech, limit)

    def _texts(self, begun: _Begun, temperature: float) -> list[Said]:
        """Decode to the end, or to the limit."""
        options, state = self._options, begun.state
        windows, beams = state.rows, self._beams(temperature)
        rules = self._rules.start(windows * beams, begun.hidden.device)
        common: dict[str, Any] = {
            "bias": self._bias,
            "eot": self._rules.eot,
            "max_tokens": begun.limit,
            "sync_interval": self._model.device.sync_interval,
            "should_stop": self._is_looping,
        }
        if temperature > 0.0:
            found = decode_samples(
                state, begun.hidden, rules, samples=beams, temperature=temperature, seed=options.seed, **common
            )
        elif beams > 1 or self._hotwords is not None:
            biasing = None if self._hotwords is None else self._hotwords.start(windows * beams)
            found = decode_beam(
                state, begun.hidden, rules, beams=beams, patience=options.patience, biasing=biasing, **common
            )
        else:
            return [Said.of_row(row) for row in decode_greedy(state, begun.hidden, rules, **common)]
        return [Said.of_candidate(best(candidates, options.length_penalty)) for candidates in found]

    def _attempt(
        self, said: Said, windows: EncodedWindows, begun: _Begun, position: int, temperature: float
    ) -> _Attempt:
        """What a window said, and whether that will do."""
        options = self._options
        said = said.without_loop(self._rules.eot)
        hypothesis = make_hypothesis(
            said,
            self._model.tokenizer,
            options,
            duration=windows.durations[position],
            language=begun.languages[position],
            no_speech=begun.no_speech[position],
            temperature=temperature,
        )
        ratio, likely = options.compression_ratio_threshold, options.logprob_threshold
        silent = is_silent(said.average, begun.no_speech[position], options)
        repetitive = ratio is not None and (hypothesis.compression_ratio or 0.0) > ratio
        looped = ratio is not None and said.looped
        unlikely = likely is not None and said.average < likely
        return _Attempt(hypothesis, said.likelihood, repetitive, silent or not (looped or repetitive or unlikely))

    def _beams(self, temperature: float) -> int:
        """Rows for each window."""
        return self._options.beam_size if temperature == 0.0 else self._options.best_of

    def _before(self) -> list[int]:
        """What stands before the start of transcript: as much of the latest as half of the positions hold."""
        options, tokenizer = self._options, self._model.tokenizer
        room = self._model.net.dims.max_target // 2 - 1
        prompt = (options.initial_prompt or "").strip()
        initial = tokenizer.encode(f" {prompt}")[-room:] if prompt else []
        left = room - len(initial)
        previous = list(options.previous_tokens[-left:]) if left else []
        return [tokenizer.sot_prev, *initial, *previous] if initial or previous else []

    def _is_looping(self, tokens: Sequence[int]) -> bool:
        eot = self._rules.eot
        return len(tokens) % LOOK_FOR_LOOPS_EVERY == 0 and find_loop([t for t in tokens if t < eot]) is not None


def _settled(attempts: Sequence[_Attempt]) -> _Attempt:
    """The last one if it will do, else the likeliest of those that do not repeat themselves, or of all.

    Of equally likely ones the earliest: the same text may come at several temperatures, and no rounding, which differs
    from batch to batch, is to choose between them.
    """
    if attempts[-1].satisfying:
        return attempts[-1]
    chosen, *others = [attempt for attempt in attempts if not attempt.repetitive] or attempts
    for attempt in others:
        if attempt.likelihood > chosen.likelihood + LIKELIER:
            chosen = attempt
    return chosen
