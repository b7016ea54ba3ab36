"""What `voxport score` counts: alignment, rates, units, intervals, and how they are told."""

from __future__ import annotations

import unicodedata
from typing import Any

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.score import Clip, Dataset, Heard, Matched, Origin, ScoringOptions, evaluate
from voxport.score.alignment import Counts, align, count_characters
from voxport.score.bootstrap import interval
from voxport.score.excerpts import display_width, excerpt_lines
from voxport.score.report import Report
from voxport.score.scoring import score_clip
from voxport.score.units import split, unit_of

PLAIN = ScoringOptions(normalizer="none", resamples=0)
WORDS = st.lists(st.sampled_from(["a", "b", "c", "über", "楼"]), max_size=8)


def clip(name: str, reference: str, language: str | None = "en", **keys: str) -> Clip:
    return Clip(name, reference, audio=name, language=language, keys=keys, seconds=2.0)


# Alignment.


@pytest.mark.parametrize(
    ("said", "heard", "counts"),
    [
        ("the cat sat", "the cat sat", Counts(3, 0, 0, 0)),
        ("the cat sat", "the bat sat", Counts(2, 1, 0, 0)),
        ("the cat sat", "cat sat", Counts(2, 0, 1, 0)),
        ("the cat sat", "the fat cat sat", Counts(3, 0, 0, 1)),
        ("the cat sat on the mat", "a cat sat the mat now", Counts(4, 1, 1, 1)),
        ("the cat", "", Counts(0, 0, 2, 0)),
        ("", "the cat sat", Counts(0, 0, 0, 3)),
        ("", "", Counts()),
    ],
)
def test_counts_by_hand(said: str, heard: str, counts: Counts) -> None:
    assert align(said.split(), heard.split())[1] == counts


def test_rates() -> None:
    assert Counts(2, 1, 1, 1).rate == 3 / 4
    assert Counts(insertions=3).rate is None
    assert Counts(0, 1, 0, 2).rate == 3.0
    assert Counts(1, 2, 3, 4) + Counts(10, 20, 30, 40) == Counts(11, 22, 33, 44)


@given(WORDS, WORDS)
def test_the_edits_turn_one_into_the_other_and_are_the_fewest(said: list[str], heard: list[str]) -> None:
    edits, counts = align(said, heard)
    made: list[str] = []
    for edit in edits:
        made += said[slice(*edit.reference)] if edit.kind == "equal" else heard[slice(*edit.hypothesis)]
        before, after = edit.reference[1] - edit.reference[0], edit.hypothesis[1] - edit.hypothesis[0]
        if edit.kind in ("equal", "substitute"):
            assert before == after
        else:
            assert (after if edit.kind == "delete" else before) == 0
    assert made == heard
    assert counts.length == len(said)
    assert counts.errors == _distance(said, heard)


def _distance(said: list[str], heard: list[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


@given(WORDS.filter(bool), WORDS)
def test_rates_are_jiwers(said: list[str], heard: list[str]) -> None:
    reference, hypothesis = " ".join(said), " ".join(heard)
    assert align(said, heard)[1].rate == pytest.approx(jiwer.wer(reference, hypothesis))
    assert count_characters(reference, hypothesis).rate == pytest.approx(jiwer.cer(reference, hypothesis))


# Units and normalisers.


@pytest.mark.parametrize(
    ("language", "reference", "unit"),
    [("zh", "a", "characters"), ("ja", "", "characters"), ("yue", "x", "characters"), ("th", "x", "characters"),
     ("en", "楼市", "words"), ("ko", "안녕 하세요", "words"), (None, "对楼市 ok", "characters"),
     (None, "hello 楼", "words"),
     (None, "สวัสดี", "characters"), (None, "", "words")],
)  # fmt: skip
def test_unit(language: str | None, reference: str, unit: str) -> None:
    assert unit_of(clip("a", reference, language)) == unit


def test_split() -> None:
    assert split("a bc", "words") == ("a", "bc")
    assert split("而 对 楼市", "characters") == ("而", "对", "楼", "市")
    assert split("ที่", "characters") == ("ที่",)


@given(st.text(max_size=20))
def test_characters_lose_nothing_but_spaces(text: str) -> None:
    units = split(text, "characters")
    assert "".join(units) == "".join(text.split())
    assert all(unicodedata.category(mark)[0] == "M" for unit in units for mark in unit[1:])


@pytest.mark.parametrize(
    ("language", "family", "normalizer"),
    [("en", None, "whisper-english"), ("de", None, "whisper-basic"), (None, "whisper", "whisper-basic"),
     ("en", "lasr_ctc", "google-medasr")],
)  # fmt: skip
def test_the_normalizer_follows_language_and_family(language: str, family: str | None, normalizer: str) -> None:
    scored = score_clip(clip("a", "Exam {period}", language), "exam period", ScoringOptions(family=family))
    assert scored.normalizer == normalizer
    assert scored.counts.errors == 0


def test_chinese_by_character_whatever_the_spaces() -> None:
    scored = score_clip(clip("a", "而 对 楼市", "zh"), "而对楼是。", ScoringOptions())
    assert (scored.unit, scored.counts, scored.characters) == ("characters", Counts(3, 1, 0, 0), Counts(3, 1, 0, 0))


# Rows.


def test_rates_are_pooled_and_each_unit_has_a_row_of_its_own() -> None:
    score = evaluate(
        [
            (clip("a", "one two three four", kind="x"), "one two three"),
            (clip("b", "five", kind="y"), "six seven"),
            (clip("c", "楼市", "zh", kind="x"), "楼"),
            (clip("d", "", kind="x"), "thank you"),
        ],
        ScoringOptions(normalizer="none", resamples=0, group_by=("kind",)),
    )
    words, characters = score.totals
    assert (words.unit, words.clips, words.counts, words.seconds) == ("words", 2, Counts(3, 1, 1, 1), 4.0)
    assert words.counts.rate == 3 / 5  # not the mean of 1/4 and 2/1
    assert (characters.unit, characters.counts.rate) == ("characters", 1 / 2)
    assert [(row.name, row.unit, row.counts.errors) for row in score.groups["kind"]] == [
        ("x", "words", 1), ("y", "words", 2), ("x", "characters", 1),
    ]  # fmt: skip
    assert [one.clip.id for one in score.clips] == ["b", "c", "a"]
    assert (score.invented, [one.clip.id for one in score.silent]) == (2, ["d"])
    assert score.confusions.deletions == {"four": 1, "市": 1}
    assert score.confusions.substitutions.total() == score.confusions.insertions.total() == 1


def test_crossed_groups_and_clips_without_the_key() -> None:
    heard = [(clip("a", "x", sex="F", kind="k"), "x"), (clip("b", "x", kind="k"), "")]
    score = evaluate(heard, ScoringOptions(normalizer="none", group_by=("kind+sex",), resamples=0))
    assert [(row.name, row.counts.rate) for row in score.groups["kind+sex"]] == [("k, (none)", 1.0), ("k, F", 0.0)]


def test_groups_with_numbers_are_in_their_order() -> None:
    heard = [(clip(str(n), "x", speaker=name), "x") for n, name in enumerate(["s10", "s9", "a", "10", "9"])]
    score = evaluate(heard, ScoringOptions(normalizer="none", group_by=("speaker",), resamples=0))
    assert [row.name for row in score.groups["speaker"]] == ["9", "10", "a", "s9", "s10"]


def test_what_the_normaliser_empties_is_said() -> None:
    score = evaluate([(clip("a", "[noise] um"), "um hello")], ScoringOptions())
    assert (score.totals, score.invented) == ([], 1)
    assert score.notes[0].startswith("the normaliser leaves nothing of 1 reference ")


def test_nothing_to_score() -> None:
    score = evaluate([], ScoringOptions())
    assert (score.totals, score.clips, score.silent) == ([], [], [])


@settings(max_examples=30)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_the_total_is_the_sum_of_clips_and_of_groups(pairs: list[tuple[list[str], list[str]]]) -> None:
    heard = [
        (clip(str(n), " ".join(said), "de", part=str(n % 2)), " ".join(guess)) for n, (said, guess) in enumerate(pairs)
    ]
    score = evaluate(heard, ScoringOptions(normalizer="none", group_by=("part",), resamples=0))
    total = sum((row.counts for row in score.totals), Counts())
    assert total == sum((one.counts for one in score.clips), Counts())
    assert total == sum((row.counts for row in score.groups["part"]), Counts())
    assert len(score.clips) + len(score.silent) == len(pairs)


# Intervals.


def test_the_interval_is_the_percentile_bootstrap() -> None:
    """Against the same, written plainly."""
    generator = np.random.default_rng(7)
    errors, lengths = generator.integers(0, 4, 40), generator.integers(1, 20, 40)
    draws = np.random.default_rng(3).integers(40, size=(500, 40))
    rates = [errors[draw].sum() / lengths[draw].sum() for draw in draws]
    found = interval(list(errors), list(lengths), resamples=500, seed=3)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((np.quantile(rates, 0.025), np.quantile(rates, 0.975)))
    assert found.low < errors.sum() / lengths.sum() < found.high
    assert found == interval(list(errors), list(lengths), resamples=500, seed=3)
    assert found != interval(list(errors), list(lengths), resamples=500, seed=4)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        lengths = generator.integers(5, 30, 100)
        errors = generator.binomial(lengths, 0.1)
        found = interval(list(errors), list(lengths), resamples=300, seed=seed)
        assert found is not None
        held += found.low <= 0.1 <= found.high
    assert 180 <= held <= 198  # 95 % of 200 is 190, give or take three standard deviations


def test_no_interval_where_it_would_mean_nothing() -> None:
    assert interval([1] * 9, [5] * 9, resamples=100, seed=0) is None
    assert interval([0] * 50, [5] * 50, resamples=100, seed=0) is None
    assert interval([1] * 50, [5] * 50, resamples=0, seed=0) is None
    small, large = (interval([0, 1] * n, [5] * 2 * n, resamples=100, seed=0) for n in (5, 15))
    assert small is not None
    assert large is not None
    assert (small.small, large.small) == (True, False)


def test_speakers_are_drawn_whole() -> None:
    """Ten speakers, one of them always wrong: clip by clip that looks far surer than it is."""
    errors = [5 if n % 10 == 0 else 0 for n in range(200)]
    speakers = [str(n % 10) for n in range(200)]
    alone = interval(errors, [5] * 200, resamples=500, seed=0)
    whole = interval(errors, [5] * 200, resamples=500, seed=0, clusters=speakers)
    assert alone is not None
    assert whole is not None
    assert (whole.drawn, alone.drawn) == (10, 200)
    assert whole.high - whole.low > 3 * (alone.high - alone.low)


def test_many_clips_are_drawn_in_parts() -> None:
    found = interval([1, 0] * 30_000, [10] * 60_000, resamples=200, seed=0)
    assert found is not None
    assert found.low == pytest.approx(0.05, abs=0.001)


# For people.


def test_excerpts() -> None:
    said = "one two three four five six seven eight nine ten eleven twelve"
    heard = "one two three four five 6 seven eight nine ten and eleven twelfe"
    assert excerpt_lines(score_clip(clip("a", said), heard, PLAIN), 100) == [
        "said   ... three four five six seven eight nine ten *** eleven twelve",
        "heard  ... three four five 6   seven eight nine ten and eleven twelfe",
        "                           S                        I          S",
    ]


def test_excerpts_leave_out_what_is_right_and_wrap() -> None:
    said = " ".join(f"w{n}" for n in range(100))
    heard = said.replace("w10 ", "x ").replace("w50 ", "").replace("w90", "w90 y")
    shown = excerpt_lines(score_clip(clip("a", said), heard, PLAIN), 40)
    assert shown[:3] == [
        "said   ... w7 w8 w9 w10 w11 w12 w13 ...",
        "heard  ... w7 w8 w9 x   w11 w12 w13 ...",
        "                    S",
    ]
    assert max(map(len, shown)) <= 40
    short = excerpt_lines(score_clip(clip("a", said), heard, PLAIN), 40, most=1)
    assert short[3:] == ["... and 2 more; --json has all of them"]


def test_excerpts_of_wide_characters_stand_below_each_other() -> None:
    lines = excerpt_lines(score_clip(clip("a", "广州市房间", "zh"), "广洲房间吧", ScoringOptions()), 60)
    assert lines == ["said   广州市房间**", "heard  广洲**房间吧", "         S D     I"]
    assert display_width("广a") == 3


def report(
    *heard: tuple[Clip, str], options: ScoringOptions = PLAIN, limit: float | None = None, **origin: Any
) -> Report:
    made = {one.id: Heard(text, Origin(**origin)) for one, text in heard}
    data = Dataset("m.jsonl", "manifest", [one for one, _ in heard])
    matched = Matched(made, {}, missing=(), extra=(), repeated=())
    return Report(data, evaluate(heard, options), matched, "h", limit)


def test_the_table() -> None:
    told = report(
        (clip("a", "one two three four", kind="x"), "one two three"), (clip("b", "five", kind="y"), "six seven"),
        options=ScoringOptions(normalizer="none", resamples=0, group_by=("kind",)), model="m", identity="ab" * 32,
    )  # fmt: skip
    assert list(told.lines(100, worst=1)) == [
        "data:       m.jsonl (manifest), 2 clips scored",
        "heard by:   m (abababababab)",
        "hypotheses: h",
        "normalizer: none (en 2)",
        "",
        "     clips  words   WER %  sub  del  ins   CER %",
        "all      2      5   60.00    1    1    1   50.00",
        "by kind",
        "  x      1      4   25.00    0    1    0   27.78",
        "  y      1      1  200.00    1    0    1  150.00",
        "",
        "most frequent",
        "  said -> heard  five -> seven (1)",
        "  missed         four (1)",
        "  added          six (1)",
        "",
        "worst clips first (1 of 2 with errors; 0 without any)",
        "  1. b  WER 200.00 % (2 of 1: 1 sub, 0 del, 1 ins)",
        "     said   *** five",
        "     heard  six seven",
        "            I   S",
    ]


def test_simulated_and_random_are_said_everywhere() -> None:
    told = report((clip("a", "one"), "one"), model="m-random", simulated="npu", random_weights=True)
    text = "\n".join(told.lines(100, 1))
    assert "SIMULATED: npu" in text
    assert "RANDOM WEIGHTS" in text
    assert "m-random has random weights: what it says, and these rates, mean nothing" in text
    found = told.to_dict()["hypotheses"]
    assert (found["simulated"], found["random_weights"]) == (True, True)


@pytest.mark.parametrize(
    ("heard", "limit", "within"), [("one", 0.0, True), ("two", 0.5, False), ("two", 1.0, True), ("two", None, True)]
)
def test_the_limit(heard: str, limit: float | None, within: bool) -> None:
    assert report((clip("a", "one"), heard), limit=limit).within_limit is within


def test_a_limit_is_not_kept_by_measuring_nothing() -> None:
    assert not report((clip("a", ""), ""), limit=0.5).within_limit


def test_invented_words_are_told() -> None:
    text = "\n".join(report((clip("a", ""), "Thank you."), (clip("b", ""), ""), (clip("c", "x"), "x")).lines(100, 3))
    assert "nobody speaks (empty reference, in no rate above): 2 clips, 4 s; 2 words invented in 1 of them\n" in text
    assert text.endswith("\n  a: Thank you.")
