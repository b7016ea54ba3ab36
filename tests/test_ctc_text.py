"""Emissions of CTC to words and segments with times and confidences."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.decoding.ctc import Emission
from voxport.decoding.ctc_segments import LONGEST, PAUSE, SegmentAssembler
from voxport.decoding.ctc_words import FrameClock, SpokenWord, WordAssembler

if TYPE_CHECKING:
    from voxport.types import Segment

CLOCK = FrameClock(step=0.04, centre=0.0725)
PIECES = [
    "<epsilon>",
    "</s>",
    "▁",
    "▁the",
    "▁la",
    "a",
    "z",
    "y",
    ".",
    "▁{",
    "new",
    "▁para",
    "graph",
    "}",
    "▁[",
    "X",
    "]",
]
SPECIAL = frozenset({0, 1})


def spell(*pieces: str, start: int = 0, every: int = 2) -> list[Emission]:
    """These pieces, one every so many frames."""
    return [Emission(PIECES.index(p), start + every * n, start + every * n, 0.9) for n, p in enumerate(pieces)]


def words_of(*pieces: str) -> list[str]:
    assembler = WordAssembler(PIECES, SPECIAL, "▁")
    return [word.text for word in [*assembler.feed(spell(*pieces)), *assembler.finish()]]


def words(text: str, start: int = 0, every: int = 10) -> list[SpokenWord]:
    """Words of two frames each; a mark in braces or brackets is one word."""
    spoken, frame = [], start
    for word in text.replace("{new paragraph}", "{new_paragraph}").split():
        emissions = (Emission(5, frame, frame + 1, 0.8),)
        spoken.append(SpokenWord(word.replace("_", " "), emissions))
        frame += every
    return spoken


def segments_of(*groups: list[SpokenWord]) -> list[Segment]:
    assembler = SegmentAssembler(CLOCK)
    found = [segment for group in groups for segment in assembler.feed(group)]
    return found + assembler.finish()


# Frames ------------------------------------------------------------------------------------------------------


def test_a_frame_speaks_for_40_ms_around_its_centre() -> None:
    assert CLOCK.start(0) == pytest.approx(0.0525)
    assert CLOCK.end(0) == pytest.approx(0.0925)
    assert (CLOCK.start(25) + CLOCK.end(25)) / 2 == pytest.approx(25 * 0.04 + 0.0725)


# Words -------------------------------------------------------------------------------------------------------


def test_pieces_are_joined_to_words() -> None:
    assert words_of("▁la", "a", "z", "y", "▁the", ".") == ["laazy", "the."]


def test_special_tokens_are_no_text() -> None:
    assert words_of("▁the", "</s>") == ["the"]
    assert words_of("</s>") == []
    assert words_of("▁la", "</s>", "z", "y") == ["lazy"]


def test_a_bare_word_start_begins_a_word_with_what_follows() -> None:
    assert words_of("▁", "a", "▁", "▁the", "▁") == ["a", "the"]
    assert words_of("a", "z") == ["az"]  # a recording that begins in mid-word


def test_a_mark_is_one_word() -> None:
    assert words_of("▁the", "▁{", "new", "▁para", "graph", "}", "▁la") == ["the", "{new paragraph}", "la"]
    assert words_of("▁[", "X", "▁", "X", "]", "a") == ["[X X]a"]


def test_a_mark_that_is_never_closed_ends_after_some_words() -> None:
    assert words_of("▁{", "new", "▁the", "▁the", "▁the", "▁the", "▁la") == ["{new", "the", "the", "the", "the", "la"]
    assert words_of("▁{", "new", "▁the") == ["{new", "the"]


def test_a_word_has_the_frames_and_the_mean_probability_of_its_pieces() -> None:
    assembler = WordAssembler(PIECES, SPECIAL, "▁")
    emissions = [Emission(4, 10, 11, 0.9), Emission(6, 14, 16, 0.5), Emission(1, 20, 20, 0.1)]
    assert assembler.feed(emissions) == []
    (word,) = assembler.finish()
    assert (word.text, word.first, word.last) == ("laz", 10, 16)
    assert word.probability == pytest.approx(0.7)


@given(st.lists(st.sampled_from(range(len(PIECES))), max_size=40), st.integers(0, 40))
def test_fed_in_parts_the_words_are_the_same(tokens: list[int], cut: int) -> None:
    emissions = [Emission(token, 2 * n, 2 * n, 0.9) for n, token in enumerate(tokens)]
    whole, parts = WordAssembler(PIECES, SPECIAL, "▁"), WordAssembler(PIECES, SPECIAL, "▁")
    expected = [*whole.feed(emissions), *whole.finish()]
    assert [*parts.feed(emissions[:cut]), *parts.feed(emissions[cut:]), *parts.finish()] == expected
    spoken = "".join(word.text for word in expected).replace(" ", "")
    assert spoken == "".join(PIECES[token] for token in tokens if token not in SPECIAL).replace("▁", "")


# Segments ----------------------------------------------------------------------------------------------------


def test_sentences_are_segments() -> None:
    found = segments_of(words("The heart is normal. No effusion {period} Lungs are clear"))
    assert [segment.text for segment in found] == [" The heart is normal.", " No effusion {period}", " Lungs are clear"]


def test_marks_stay_with_what_stands_before_them() -> None:
    found = segments_of(words("greater than left {period} {new paragraph} [IMPRESSION] {colon} Acute PE {period}"))
    assert [segment.text for segment in found] == [
        " greater than left {period} {new paragraph}",
        " [IMPRESSION] {colon} Acute PE {period}",
    ]
    assert [segment.text for segment in segments_of(words("mole . [X] : back , 6 mm"))] == [
        " mole .",
        " [X] : back , 6 mm",
    ]


def test_a_section_begins_a_segment() -> None:
    assert [s.text for s in segments_of(words("chest [INDICATION] fever"))] == [" chest", " [INDICATION] fever"]


def test_a_pause_parts_segments_but_not_a_mark_from_its_sentence() -> None:
    far = round((PAUSE + 0.1) / CLOCK.step)
    found = segments_of(
        words("no fever", every=5), words("{period}", start=5 + far), words("no pain", start=5 + 3 * far)
    )
    assert [segment.text for segment in found] == [" no fever {period}", " no pain"]
    assert [s.text for s in segments_of(words("no"), words("fever", start=2 + far))] == [" no", " fever"]
    assert [s.text for s in segments_of(words("no"), words("fever", start=far - 5))] == [" no fever"]


def test_what_is_too_long_is_parted_at_its_longest_gap() -> None:
    early, late = words("a b c", every=20), words("d " * 14, start=70, every=20)
    found = segments_of(early, late)
    assert found[0].text == " a b c"
    assert all(segment.end - segment.start <= LONGEST for segment in found)
    assert "".join(segment.text for segment in found) == " a b c" + " d" * 14


def test_times_and_confidences() -> None:
    emissions = (Emission(7, 10, 11, 0.5), Emission(8, 12, 12, 1.0))
    (segment,) = segments_of([SpokenWord("hello", emissions), SpokenWord("you", (Emission(9, 20, 24, 0.25),))])
    assert segment.words is not None
    assert [(word.word, word.probability) for word in segment.words] == [(" hello", 0.75), (" you", 0.25)]
    assert segment.tokens == (7, 8, 9)
    assert segment.token_probabilities == (0.5, 1.0, 0.25)
    expected = [(CLOCK.start(10), CLOCK.end(11)), (CLOCK.start(12), CLOCK.end(12)), (CLOCK.start(20), CLOCK.end(24))]
    assert segment.token_times == tuple(map(pytest.approx, expected))
    assert (segment.start, segment.end) == (segment.words[0].start, segment.words[1].end)
    assert segment.start == pytest.approx(10 * 0.04 + 0.0525)
    assert segment.end == pytest.approx(24 * 0.04 + 0.0925)
    assert segment.avg_logprob == pytest.approx((math.log(0.5) + math.log(0.25)) / 3)


def test_times_never_go_back() -> None:
    """Where windows were joined an emission may come a frame before the one that it follows."""
    found = segments_of([SpokenWord("a", (Emission(5, 11, 12, 0.9),)), SpokenWord("b", (Emission(6, 10, 10, 0.9),))])
    times = [time for segment in found for pair in segment.token_times or () for time in pair]
    starts = times[::2]
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(times[::2], times[1::2], strict=True))


@given(st.lists(st.tuples(st.sampled_from(["a", "b.", "{period}", "[X]", "{new_paragraph}", ","]), st.integers(2, 60))))
def test_no_word_is_lost_and_segments_follow_one_another(script: list[tuple[str, int]]) -> None:
    spoken, frame = [], 0
    for text, gap in script:
        frame += gap
        spoken.append(SpokenWord(text, (Emission(5, frame, frame + 1, 0.9),)))
    found = segments_of(spoken)
    assert [word.word for segment in found for word in segment.words or ()] == [f" {text}" for text, _ in script]
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start + 1e-9
    assert all(segment.text == "".join(word.word for word in segment.words or ()) for segment in found)
