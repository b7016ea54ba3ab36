"""Hypotheses and what was heard to words with times and probabilities."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from voxport.decoding.whisper_heads import published_heads
from voxport.models.whisper.alignment import TokenTimes, align_tokens
from voxport.models.whisper.forced_texts import ForcedTexts
from voxport.models.whisper.hypotheses import text_ranges
from voxport.tokenizer.words import join_punctuation, split_words
from voxport.types import Hypothesis, Segment, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from voxport.models.whisper.decoder_state import DecoderWeights
    from voxport.tokenizer import WhisperTokenizer
    from voxport.types import DecodingOptions

__all__ = ["WordFinder"]


class WordFinder:
    """Gives the segments of one model's hypotheses their words.

    Args:
        weights: of the decoder.
        tokenizer: of the model.
        published: ``alignment_heads`` of its generation_config.json, or None.
        bucket: as in `DecoderState`.

    Attributes:
        finding: look for heads that follow the audio better than the published ones.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        tokenizer: WhisperTokenizer,
        published: object,
        bucket: Callable[[int], int] = lambda length: length,
    ) -> None:
        self._weights = weights
        self._tokenizer = tokenizer
        self._bucket = bucket
        self._published = published
        self.finding = True

    @cached_property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The (layer, head) pairs that the checkpoint publishes, if it does.

        Raises:
            ModelFormatError: it publishes something else (code ``alignment_heads``).
        """
        dims = self._weights.dims
        return published_heads(self._published, dims.decoder_layers, dims.decoder_heads)

    def add(
        self, hidden: Tensor, durations: Sequence[float], hypotheses: Sequence[Hypothesis], options: DecodingOptions
    ) -> list[Hypothesis]:
        """The hypotheses with `words` in each of their segments: as they were aligned, from the window's start.

        Args:
            hidden: (B, T, D), the encoder's output for the windows of the hypotheses.
            durations: of their audio, seconds.
        """
        times = align_tokens(
            self._weights,
            hidden,
            ForcedTexts.of(hypotheses, durations, self._tokenizer, options.task),
            heads=self.heads,
            finding=self.finding,
            bucket=self._bucket,
        )
        return [self._with_words(one, own, options) for one, own in zip(hypotheses, times, strict=True)]

    def _with_words(self, hypothesis: Hypothesis, times: TokenTimes, options: DecodingOptions) -> Hypothesis:
        segments = [
            replace(segment, words=self._words(segment, own.start, hypothesis.language, times, options))
            for segment, own in zip(hypothesis.segments, text_ranges(hypothesis, self._tokenizer.eot), strict=True)
        ]
        return replace(hypothesis, segments=tuple(segments))

    def _words(
        self, segment: Segment, before: int, language: str | None, times: TokenTimes, options: DecodingOptions
    ) -> tuple[Word, ...]:
        """`before`: how many text tokens of the window stand before the segment's."""
        text = [token for token in segment.tokens if token < self._tokenizer.eot]
        # In translations, words are English whatever is spoken.
        language = "en" if options.task == "translate" else language
        pieces = split_words(self._tokenizer, text, language)
        return tuple(
            Word(
                whole.text,
                times.starts[before + said.first],
                times.starts[before + said.end],
                sum(times.probabilities[before + said.first : before + said.end]) / (said.end - said.first),
            )
            for whole, said in join_punctuation(pieces, options.prepend_punctuations, options.append_punctuations)
        )
