"""Speech that a window's text leaves out: stretches in which not one of its tokens was heard.

Whisper passes over sentences: at the beginning of a window, at its end, between two others, and its timestamps may
cover what it left out. Where each token was heard (`PlacingModel.token_places`) tells: in the hour of speech of
benchmarks/long_form.py the spans in which no token was heard were words that are not in the text, and hesitations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from voxport.decoding.ascending import ascending
from voxport.types import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.types import Hypothesis, Segment

__all__ = ["LEAST_GAP", "NEAR", "Heard", "in_order", "is_certain", "is_doubtful", "missed", "within"]

LEAST_SPAN = 0.3
"""Speech between two pauses (seconds) that counts as missed where no token was heard in it. Less may be a breath."""

LEAST_GAP = 1.5
"""Speech without a pause (seconds) between a token and the next that counts as missed. One long word has less."""

SLIP = 0.2
"""Seconds from the beginning or end of a span within which tokens alone do not say that a part of it was heard."""

NEAR = 0.1
"""Seconds from a span up to which a token counts as heard in it."""

USUAL_TOKENS = 2.5
"""To a second of speech: a segment that has fewer may leave something out."""

NO_SPEECH, UNLIKELY = 0.3, -0.6
"""Probability of no speech above which, and mean log probability below which, what is said in a stretch that was missed
is left out after all: it is a breath, or an "um" that the model had passed over with good reason. Those that were seen
lie well beyond both, words well within one of them."""


@dataclass(frozen=True)
class Heard:
    """One segment and where its tokens were heard.

    Attributes:
        segment: on the recording's clock.
        places: of its tokens, seconds of the recording.
    """

    segment: Segment
    places: tuple[float, ...]

    def besides(self, gap: Span) -> tuple[float, ...]:
        """Where it was heard outside of a stretch that counts as missed: inside, at its edges, are slips."""
        return tuple(place for place in self.places if not gap.start <= place <= gap.end)


def is_certain(hypothesis: Hypothesis, speech: Sequence[Span], start: float, end: float) -> bool:
    """Whether a window's timestamps alone say that nothing was left out: they give each span a text of its own.

    Args:
        hypothesis: of the window.
        speech: spans of the recording.
        start, end: of the window, seconds of the recording.
    """
    if hypothesis.resume is not None:
        return False
    inside = within(speech, start, end)
    served: set[int] = set()
    for segment in hypothesis.segments:
        touched = [
            number
            for number, span in enumerate(inside)
            if min(span.end, start + segment.end) - max(span.start, start + segment.start) > NEAR
        ]
        seconds = sum(inside[number].duration for number in touched)
        if len(touched) == 1 and len(segment.tokens) >= USUAL_TOKENS * seconds:
            served.update(touched)
    return all(number in served for number, span in enumerate(inside) if span.duration >= LEAST_SPAN)


def is_doubtful(hypothesis: Hypothesis) -> bool:
    """Whether what was said in a stretch that was missed had better stay unsaid."""
    no_speech, likely = hypothesis.no_speech_prob, hypothesis.avg_logprob
    return no_speech is not None and no_speech > NO_SPEECH and likely is not None and likely < UNLIKELY


def in_order(heard: Sequence[Heard]) -> list[Heard]:
    """Without the places that are out of order: a head that follows the audio slips now and then."""
    places = [place for one in heard for place in one.places]
    kept = set(ascending(places))
    numbers = iter(range(len(places)))
    return [
        replace(one, places=tuple(place for place, number in zip(one.places, numbers, strict=False) if number in kept))
        for one in heard
    ]


def missed(places: Sequence[float], speech: Sequence[Span], start: float, end: float) -> list[Span]:
    """Stretches of speech from `start` to `end` without a token, in order.

    Each begins and ends in a pause, but where more than `LEAST_GAP` are missing inside a span: there it begins or ends
    `LEAST_GAP` / 3 from the token.

    Args:
        places: where tokens were heard, ascending.
        speech: spans of the recording.
    """
    found: list[Span] = []
    run: list[Span] = []
    for span in within(speech, start, end):
        if any(span.start - NEAR <= place <= span.end + NEAR for place in places):
            found += _long_enough(run)
            run = []
            found += _gaps(span, [place for place in places if span.start - NEAR <= place <= span.end + NEAR])
        elif span.start > start or span.duration >= LEAST_GAP:  # the rest of a word that was cut is none
            run.append(span)
    return _joined([*found, *_long_enough(run)], speech)


def within(speech: Sequence[Span], start: float, end: float) -> list[Span]:
    """The parts of the spans that lie between two times."""
    return [
        Span(max(span.start, start), min(span.end, end)) for span in speech if span.start < end and span.end > start
    ]


def _long_enough(run: Sequence[Span]) -> list[Span]:
    if sum(span.duration for span in run) < LEAST_SPAN:
        return []
    return [Span(run[0].start, run[-1].end)]


def _gaps(span: Span, places: Sequence[float]) -> list[Span]:
    """Where nothing was heard inside a span in which something was.

    All of it, where what was heard is too little to be told from a slip.
    """
    away = LEAST_GAP / 3
    gaps = []
    for before, after in pairwise([span.start, *places, span.end]):
        if after - before >= LEAST_GAP:
            first = span.start if before - span.start <= SLIP else before + away
            last = span.end if span.end - after <= SLIP else after - away
            gaps.append(Span(first, last))
    return gaps


def _joined(stretches: Sequence[Span], speech: Sequence[Span]) -> list[Span]:
    """Stretches between which there is no speech made one."""
    joined: list[Span] = []
    for stretch in stretches:
        if joined and not within(speech, joined[-1].end, stretch.start):
            joined[-1] = Span(joined[-1].start, stretch.end)
        else:
            joined.append(stretch)
    return joined
