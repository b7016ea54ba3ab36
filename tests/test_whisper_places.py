"""Where Whisper heard what it says: real weights on a real recording, and texts that leave something of it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from voxport.models.whisper.alignment import align_tokens
from voxport.models.whisper.forced_texts import ForcedTexts
from voxport.models.whisper.hypotheses import text_ranges
from voxport.pipeline.coverage import missed
from voxport.types import Audio, DecodingOptions, Hypothesis, Segment, Span
from whisper_pairs import parts, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from voxport.models.whisper import WhisperModel
    from whisper_pairs import Pair

OPTIONS = DecodingOptions(language="en")

FIRST = " And so, my fellow Americans,"
SECOND = " ask not what your country can do for you,"
LAST = " ask what you can do for your country."

SPEECH = [Span(0.32, 2.24), Span(3.296, 4.416), Span(5.408, 7.68), Span(8.192, 10.592)]
"""Of the recording (`jfk`), as it is cut for decoding."""


def said(model: WhisperModel, *texts: str) -> Hypothesis:
    """A window's text in segments; their times do not matter here."""
    tokens = [tuple(model.tokenizer.encode(text)) for text in texts]
    begin = model.tokenizer.timestamp_begin
    segments = tuple(
        Segment(n, None, n, n + 1.0, text, (begin, *own, begin + 50))
        for n, (text, own) in enumerate(zip(texts, tokens, strict=True))
    )
    return Hypothesis("".join(texts), tuple(t for one in segments for t in one.tokens), segments, "en")


def places(model: WhisperModel, audio: Audio, *texts: str) -> list[tuple[float, ...]]:
    (found,) = model.token_places(model.encode(model.features([audio])), [said(model, *texts)], OPTIONS)
    assert found is not None
    return found


def gaps(found: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
    return [(gap.start, gap.end) for gap in missed(sorted(place for own in found for place in own), SPEECH, 0.0, 11.0)]


@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
def test_a_text_that_leaves_nothing_out(name: str, request: pytest.FixtureRequest, jfk: Path) -> None:
    model = request.getfixturevalue(name).ours
    found = places(model, read(jfk), FIRST, SECOND, LAST)
    assert [len(own) for own in found] == [5, 9, 8]  # words: each is one token, and signs have no place
    assert gaps(found) == []


@pytest.mark.parametrize("name", ["tiny_pair", "base_pair"])
@pytest.mark.parametrize(
    ("texts", "gap"),
    [
        ((SECOND, LAST), (0.32, 2.24)),
        ((FIRST, SECOND), (8.192, 10.592)),
    ],
    ids=["the first", "the last"],
)
def test_the_sentence_that_a_text_leaves_out_is_missed(
    name: str, texts: tuple[str, ...], gap: tuple[float, float], request: pytest.FixtureRequest, jfk: Path
) -> None:
    assert gaps(places(request.getfixturevalue(name).ours, read(jfk), *texts)) == [gap]


def test_a_token_is_heard_where_it_is_said(tiny_pair: Pair, jfk: Path) -> None:
    """By the alignment, which shares out the time among the tokens: near the beginning of each one's part."""
    model = tiny_pair.ours
    said = f"{FIRST}{SECOND}".replace(",", "")
    (found,) = places(model, read(jfk), said)
    text = model.tokenizer.encode(said)
    encoded = model.encode(model.features([read(jfk)]))
    with torch.inference_mode():
        (times,) = align_tokens(
            model._weights,
            encoded.hidden,
            ForcedTexts(
                encoded.durations,
                [model.tokenizer.sot_sequence("en", "transcribe", timestamps=False)],
                [text],
                model.tokenizer.eot,
            ),
        )
    late = np.subtract(found, times.starts[:-1])
    assert 0.0 <= np.median(late) <= 0.2
    assert np.abs(late).max() < 0.8


def test_a_window_alone_and_in_a_batch(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    audio = parts(jfk)
    encoded = model.encode(model.features(audio))
    hypotheses = model.decode(encoded, OPTIONS)
    together = model.token_places(encoded, hypotheses, OPTIONS)
    assert all(together)
    for window, one, found in zip(audio, hypotheses, together, strict=True):
        assert model.token_places(model.encode(model.features([window])), [one], OPTIONS) == [found]


def test_what_is_not_asked_or_too_short_or_silent_has_no_places(tiny_pair: Pair, jfk: Path) -> None:
    model = tiny_pair.ours
    encoded = model.encode(model.features([read(jfk)] * 4))
    asked = [None, said(model, " Ask"), Hypothesis("", (), ()), said(model, FIRST, SECOND)]
    found = model.token_places(encoded, asked, OPTIONS)
    assert [one is None for one in found] == [True, True, True, False]
    assert model.token_places(encoded, [None] * 4, OPTIONS) == [None] * 4


def test_tokens_between_segments_belong_to_none(tiny_pair: Pair) -> None:
    model = tiny_pair.ours
    whole = said(model, FIRST, " lost", SECOND)
    first, lost, second = (segment for segment in whole.segments)
    own = text_ranges(Hypothesis("", whole.tokens, (first, second), "en"), model.tokenizer.eot)
    counts = [len(segment.tokens) - 2 for segment in (first, lost, second)]
    assert own == [range(counts[0]), range(counts[0] + counts[1], sum(counts))]
