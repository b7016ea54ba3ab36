"""What was said in a window, as tokens, to a hypothesis: loops cut, silence left out, segments on the clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from voxport.decoding.repetition import compression_ratio, find_loop
from voxport.decoding.whisper_segments import split_segments
from voxport.types import Hypothesis, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.decoding.candidates import Candidate
    from voxport.decoding.greedy import GreedyRow
    from voxport.tokenizer import WhisperTokenizer
    from voxport.types import DecodingOptions

REPETITIVE = 2.4
"""A compression ratio above this speaks of a loop (openai/whisper's threshold)."""


@dataclass(frozen=True)
class Said:
    """One window's tokens, however they were found.

    Attributes:
        tokens: timestamps included, without prompt and end of text.
        average: mean natural-log probability of all tokens that were decoded, the end of text included.
        running: sum of the natural-log probabilities up to each token, at least.
        ended: False if the token limit stopped it.
        stopped: True if it was stopped because it ran in a loop.
        looped: True if a loop at its end was cut.
    """

    tokens: Sequence[int]
    average: float
    running: Sequence[float]
    ended: bool
    stopped: bool
    looped: bool = False

    @classmethod
    def of_row(cls, row: GreedyRow) -> Said:
        """What greedy decoding gave."""
        average = sum(row.logprobs) / max(len(row.logprobs), 1)
        return cls(row.tokens, average, tuple(accumulate(row.logprobs)), row.ended, row.stopped)

    @classmethod
    def of_candidate(cls, candidate: Candidate) -> Said:
        """What a search chose."""
        return cls(candidate.tokens, candidate.average, candidate.running, candidate.ended, candidate.stopped)

    @property
    def likelihood(self) -> float:
        """As `average`, but of what is left where a loop was cut: each round of a loop is likelier than the last."""
        return self.running[len(self.tokens) - 1] / len(self.tokens) if self.looped else self.average

    def without_loop(self, eot: int) -> Said:
        """With a loop at the end (of text; timestamps between do not matter) reduced to its first round."""
        places = [place for place, token in enumerate(self.tokens) if token < eot]
        loop = find_loop([self.tokens[place] for place in places])
        if loop is None:
            return self
        keep = loop.start + loop.period
        tokens = self.tokens[: places[keep]] if keep < len(places) else self.tokens
        return replace(self, tokens=tokens, looped=True)


def is_silent(average: float, no_speech: float, options: DecodingOptions) -> bool:
    """openai/whisper's rule: probably no speech, and what was heard all the same is unlikely.

    Args:
        average: mean log probability of a token.
        no_speech: probability of the no-speech token.
        options: its two thresholds.
    """
    speech, likely = options.no_speech_threshold, options.logprob_threshold
    return speech is not None and likely is not None and no_speech > speech and average < likely


def make_hypothesis(
    said: Said,
    tokenizer: WhisperTokenizer,
    options: DecodingOptions,
    *,
    duration: float,
    language: str | None,
    no_speech: float,
    temperature: float,
) -> Hypothesis:
    """One window's text.

    Args:
        said: the tokens, a loop at their end cut already.
        tokenizer: of the model.
        options: the no-speech rule's thresholds.
        duration: of the window's audio, seconds.
        language: that it was decoded in.
        no_speech: probability of the no-speech token.
        temperature: that it was decoded at.
    """
    tokens = said.tokens
    text = tokenizer.decode(tokens)
    ratio = compression_ratio(text.strip())
    flags: tuple[str, ...] = ("repetition",) if said.looped or ratio > REPETITIVE else ()
    if not said.ended and not said.stopped:
        flags = (*flags, "truncated")
    shared: dict[str, Any] = {
        "temperature": temperature,
        "avg_logprob": said.average,
        "compression_ratio": ratio,
        "no_speech_prob": no_speech,
        "flags": flags,
    }
    if is_silent(said.average, no_speech, options):
        return Hypothesis(text="", tokens=(), segments=(), language=language, **shared)
    pieces, resume = split_segments(tokens, tokenizer.timestamp_begin, duration)
    segments: list[Segment] = []
    for piece in pieces:
        words = tokenizer.decode(piece.tokens)
        if words.strip() and piece.start < piece.end:
            segments.append(Segment(len(segments), None, piece.start, piece.end, words, piece.tokens, **shared))
    text = "".join(segment.text for segment in segments)
    return Hypothesis(text, tuple(tokens), tuple(segments), language, resume=resume, **shared)


def text_ranges(hypothesis: Hypothesis, eot: int) -> list[range]:
    """Of each segment, which of the window's text tokens are its own. Between segments may be some that made none."""
    ranges = []
    place = before = 0
    for segment in hypothesis.segments:
        while hypothesis.tokens[place : place + len(segment.tokens)] != segment.tokens:
            before += hypothesis.tokens[place] < eot
            place += 1
        count = sum(token < eot for token in segment.tokens)
        ranges.append(range(before, before + count))
        before += count
        place += len(segment.tokens)
    return ranges
