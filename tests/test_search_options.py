"""What may be asked of a search, on the command line and in Python, and what each window is told."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from voxport.cli import build_parser
from voxport.cli.search_options import search_options
from voxport.errors import UnsupportedOptionError, UsageError
from voxport.pipeline import PipelineOptions, Transcription
from voxport.pipeline.history import KEPT, History
from voxport.pipeline.kinds import KINDS
from voxport.types import DecodingOptions, Hypothesis, Segment

if TYPE_CHECKING:
    from pathlib import Path


def given(*arguments: str) -> PipelineOptions:
    return PipelineOptions(**search_options(build_parser().parse_args(["transcribe", "a.wav", *arguments])))


def test_the_defaults_are_greedy_decoding() -> None:
    assert given() == PipelineOptions(temperature=(0.0,))
    assert given().decoding() == DecodingOptions()


def test_options_reach_the_decoder() -> None:
    options = given(
        "--beam_size", "4", "--patience", "2", "--length_penalty", "0.5", "--best_of", "3", "--temperature", "0.2",
        "--temperature_increment_on_fallback", "0.4", "--compression_ratio_threshold", "none",
        "--logprob_threshold", "-0.5", "--no_speech_threshold", "None", "--seed", "7", "--initial_prompt", "Dr. Osei",
        "--hotwords", "apixaban, lisinopril,,apixaban", "--hotword_weight", "1.5",
    )  # fmt: skip
    assert options.decoding() == DecodingOptions(
        beam_size=4,
        patience=2.0,
        length_penalty=0.5,
        best_of=3,
        temperatures=(0.2, 0.6, 1.0),
        compression_ratio_threshold=None,
        logprob_threshold=-0.5,
        no_speech_threshold=None,
        seed=7,
        initial_prompt="Dr. Osei",
        hotwords=("apixaban", "lisinopril"),
        hotword_weight=1.5,
    )
    assert not options.condition_on_previous_text
    assert given("--condition_on_previous_text").condition_on_previous_text


def test_the_temperatures_are_openai_whispers() -> None:
    assert given("--temperature_increment_on_fallback", "0.2").temperatures == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert given("--temperature_increment_on_fallback", "0.3").temperatures == (0.0, 0.3, 0.6, 0.9)
    assert given("--temperature_increment_on_fallback", "None").temperatures == (0.0,)
    assert given("--temperature", "1", "--temperature_increment_on_fallback", "0.2").temperatures == (1.0,)
    assert given("--temperature", "1.5", "--temperature_increment_on_fallback", "0.2").temperatures == (1.5,)
    assert len(given("--temperature_increment_on_fallback", "0.01").temperatures) == 101


def test_hotwords_from_a_file(tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("\ufeff# drugs\napixaban\n\n  metoprolol succinate \n", encoding="utf-8")
    options = given("--hotwords", f"@{terms}")
    assert options.hotwords == ("apixaban", "metoprolol succinate")
    assert options.decoding().beam_size == 5, "hotwords need a search"
    assert given("--hotwords", f"@{terms}", "--beam_size", "3").decoding().beam_size == 3


def test_comments_in_a_file_of_hotwords(tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text(
        "  # drugs\napixaban # an anticoagulant\nC#\nwarfarin\t#\n#metoprolol\nC# sharp\n", encoding="utf-8"
    )
    assert given("--hotwords", f"@{terms}").hotwords == ("apixaban", "C#", "warfarin", "C# sharp")
    terms.write_text("  # nothing\n\t#but comments\n", encoding="utf-8")
    with pytest.raises(UsageError, match="there is no term in it"):
        given("--hotwords", f"@{terms}")
    assert given("--hotwords", "C #,#2").hotwords == ("C #", "#2"), "in a list there are none"


def test_white_space_within_a_hotword_is_one_space(tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("metoprolol \t succinate\nmetoprolol\u3000succinate\n", encoding="utf-8")
    assert given("--hotwords", f"@{terms}").hotwords == ("metoprolol succinate",)
    assert given("--hotwords", "Dr.   Osei,apixaban").hotwords == ("Dr. Osei", "apixaban")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beam_size", "0"], "--beam_size can't be 0"),
        (["--patience", "x"], "--patience can't be 'x'"),
        (["--patience", "2"], "patience is about a beam search"),
        (["--patience", "0", "--beam_size", "2"], "patience must be above 0"),
        (["--length_penalty", "1.5"], "length_penalty must be from 0 to 1"),
        (["--temperature", "-1"], "temperatures are 0, or from 0.01 to 100"),
        (["--temperature", "nan"], "temperatures are 0, or from 0.01 to 100"),
        (["--temperature_increment_on_fallback", "0"], "can't be 0"),
        (["--temperature_increment_on_fallback", "nan"], "can't be nan"),
        (["--temperature_increment_on_fallback", "inf"], "can't be inf"),
        (["--temperature_increment_on_fallback", "1e-9"], "can't be 1e-09"),
        (["--temperature", "nan", "--temperature_increment_on_fallback", "0.2"], "temperatures are 0, or"),
        (["--temperature=-inf", "--temperature_increment_on_fallback", "0.2"], "temperatures are 0, or"),
        (["--temperature=-1e308", "--temperature_increment_on_fallback", "0.2"], "temperatures are 0, or"),
        (["--temperature", "1e-40"], "temperatures are 0, or from 0.01 to 100"),
        (["--temperature", "0.0099"], "temperatures are 0, or from 0.01 to 100"),
        (["--temperature", "1e300"], "temperatures are 0, or from 0.01 to 100"),
        (["--patience", "1e308", "--beam_size", "5"], "patience must be above 0 and at most 100"),
        (["--compression_ratio_threshold", "nan"], "compression_ratio_threshold must be at least 0, not nan"),
        (["--compression_ratio_threshold", "-0.1"], "compression_ratio_threshold must be at least 0, not -0.1"),
        (["--logprob_threshold", "nan"], "logprob_threshold must be at most 0, "),
        (["--logprob_threshold", "0.1"], "logprob_threshold must be at most 0, "),
        (["--no_speech_threshold", "nan"], "no_speech_threshold must be a probability, from 0 to 1, not nan"),
        (["--no_speech_threshold", "1.1"], "no_speech_threshold must be a probability, from 0 to 1, not 1.1"),
        (["--no_speech_threshold", "-0.1"], "no_speech_threshold must be a probability, from 0 to 1, not -0.1"),
        (["--hotwords", "x", "--hotword_weight", "nan"], "hotword_weight must be above 0 and at most 100"),
        (["--hotwords", "x", "--hotword_weight", "1e300"], "hotword_weight must be above 0 and at most 100"),
        (["--logprob_threshold", "x"], "--logprob_threshold can't be 'x'"),
        (["--hotwords", " , "], "there is no term in it"),
        (["--hotwords", "@missing.txt"], "--hotwords @missing.txt: No such file"),
        (["--hotwords", "x", "--beam_size", "1"], "hotwords need a search over several texts"),
        (["--hotwords", "x", "--hotword_weight", "-1"], "hotword_weight must be above 0"),
        (["--hotword_weight", "2"], "--hotword_weight needs --hotwords"),
    ],
)
def test_what_can_not_be_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        given(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": ()}, "temperatures are 0, or from 0.01 to 100"),
        ({"temperature": (0.4, 0.2)}, "temperatures must rise"),
        ({"best_of": 0}, "best_of must be from 1 to 100"),
        ({"hotwords": "lisinopril"}, "hotwords must be a list of terms, .*, not 'lisinopril'"),
        ({"seed": -1}, "the seed must be at least 0"),
        ({"condition_on_previous_text": True, "batch_size": 4}, "can't be decoded together"),
    ],
)
def test_so_it_is_in_python(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PipelineOptions(**options)


NUMBERS = ["patience", "length_penalty", "temperature", "compression_ratio_threshold", "logprob_threshold",
           "no_speech_threshold", "hotword_weight"]  # fmt: skip
WHOLE_NUMBERS = ["language_detection_segments", "batch_size", "beam_size", "best_of", "seed"]
TEXTS = ["language", "task", "prepend_punctuations", "append_punctuations", "initial_prompt"]
SWITCHES = ["vad", "format_dictation", "word_timestamps", "condition_on_previous_text"]


@pytest.mark.parametrize(
    ("names", "values", "wanted"),
    [
        (NUMBERS, ["0.5", True, b"", 1j, 10**400], "a number"),
        (WHOLE_NUMBERS, ["2", 2.0, np.float32(2), True, [2]], "a whole number"),
        (TEXTS, [5, b"en", ["en"]], "text"),
        (SWITCHES, ["no", None, 0, 1.0], "True or False"),
        (["channels"], [None, 1.0, True, [0]], "'mix', 'split' or a channel's number"),
        (["hotwords"], [None, "apixaban", b"", [b"apixaban"], [1], 5], "a list of terms"),
        (["temperature"], [["0.2"], (0.0, None), "", np.array(0.5)], "a number, or a list of them"),
        (["patience", "best_of", "seed", "task", "temperature", "hotword_weight"], [None], ""),
    ],
)
def test_values_of_another_kind_are_refused_by_name(names: list[str], values: list[Any], wanted: str) -> None:
    for name in names:
        for value in values:
            with pytest.raises(UsageError, match=rf"{name} must be {wanted}.*, not ") as caught:
                PipelineOptions(**{name: value})
            assert len(str(caught.value)) < 200


def test_every_option_has_a_kind() -> None:
    assert list(KINDS) == [field.name for field in fields(PipelineOptions)]
    assert {*NUMBERS, *WHOLE_NUMBERS, *TEXTS, *SWITCHES, "channels", "hotwords"} == set(KINDS)


def test_lists_and_numpys_numbers_are_as_good_as_pythons() -> None:
    steps = [np.float64(0.0), 0.5, np.int64(1)]
    options = PipelineOptions(
        temperature=steps, hotwords=["apixaban"], beam_size=np.int32(3), channels=np.int64(1), vad=np.bool_(False)
    )
    plain = PipelineOptions(temperature=(0.0, 0.5, 1.0), hotwords=("apixaban",), beam_size=3, channels=1, vad=False)
    assert options == plain
    assert repr(options) == repr(plain), "and they become Python's"
    assert hash(options) == hash(plain)
    assert PipelineOptions(temperature=np.array([0.0, 0.5])).temperatures == (0.0, 0.5)
    assert PipelineOptions(no_speech_threshold=np.float32(0.5)).no_speech_threshold == 0.5


@pytest.mark.parametrize("option", ["--initial_prompt", "--hotwords", "--prepend_punctuations", "--language"])
def test_arguments_that_are_no_utf_8_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    from voxport.cli import main

    assert main(["transcribe", "a.wav", f"{option}=\udcff\udcfe"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {option[2:]} is not UTF-8 text: ")
    assert "hint: give it in UTF-8" in told


def test_the_ends_of_the_ranges_are_within_them() -> None:
    PipelineOptions(temperature=0.01, no_speech_threshold=0, logprob_threshold=0, compression_ratio_threshold=0)
    PipelineOptions(no_speech_threshold=1, hotwords=["x"], hotword_weight=100)
    with pytest.raises(UsageError) as caught:
        PipelineOptions(temperature=1e-3)
    assert caught.value.hint == "0 is greedy: it takes the likeliest text"


def test_a_missing_file_of_hotwords_ends_the_command_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from voxport.cli import main

    assert main(["transcribe", "a.wav", "--hotwords", "@no.txt"]) == 2
    assert "--hotwords @no.txt: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({}, []),
        ({"best_of": 3}, ["best_of"]),
        ({"best_of": 3, "temperature": (0.0, 0.5)}, []),
        ({"length_penalty": 0.5}, ["length_penalty"]),
        ({"length_penalty": 0.5, "beam_size": 2}, []),
        ({"length_penalty": 0.5, "hotwords": ["apixaban"]}, []),
        ({"length_penalty": 0.5, "temperature": (0.0, 0.5)}, []),
        ({"length_penalty": 0.5, "temperature": 0.5, "best_of": 1}, ["length_penalty"]),
        ({"temperature": 0.5, "beam_size": 5, "hotwords": ["apixaban"]}, ["beam_size", "hotwords"]),
        ({"temperature": (0.0, 0.5), "beam_size": 5, "hotwords": ["apixaban"]}, []),
        ({"temperature": 0.5, "beam_size": 1}, []),
    ],
)
def test_options_without_an_effect_are_told_of(options: dict[str, Any], idle: list[str]) -> None:
    model: Any = Talker()
    warnings = Transcription(minutes(1), model, PipelineOptions(**options)).warnings
    assert [text.partition(" has no effect: ")[0] for text in warnings] == idle
    assert all(text.partition(" has no effect: ")[2] for text in warnings)


# What was said before ---------------------------------------------


class Talker:
    """A model that says two tokens a window, and remembers what it was told."""

    name = "talker"
    supports = frozenset({"timestamps", "prompt"})
    languages = frozenset({"en"})
    max_seconds = window_seconds = 30.0
    min_seconds = context_seconds = 0.0
    sample_rate = 16_000
    batch_size = 4

    def __init__(self, temperature: float = 0.0, flags: tuple[str, ...] = ()) -> None:
        from voxport.devices import get_device

        self.device = get_device("cpu")
        self.told: list[tuple[int, ...]] = []
        self._temperature, self._flags = temperature, flags

    def check(self, options: DecodingOptions) -> None:
        pass

    def features(self, audio: Any) -> Any:
        return audio

    def encode(self, features: Any) -> Any:
        return features

    def decode(self, encoded: Any, options: DecodingOptions) -> list[Hypothesis]:
        found = []
        for window in encoded:
            number = len(self.told)
            self.told.append(options.previous_tokens)
            segment = Segment(0, None, 0.0, window.duration, f" {number}", (number, 100 + number))
            odd = number == 1
            found.append(
                Hypothesis(
                    segment.text,
                    segment.tokens,
                    (segment,),
                    "en",
                    temperature=self._temperature if odd else 0.0,
                    flags=self._flags if odd else (),
                )
            )
        return found


class Polyglot(Talker):
    """It detects the language before it says anything."""

    supports = frozenset({"timestamps", "prompt", "language_detection"})
    languages = frozenset({"en", "de"})

    def detect_language(self, encoded: Any) -> list[dict[str, float]]:
        assert not self.told
        return [{"en": 0.9, "de": 0.1} for _ in encoded]


def minutes(count: int) -> tuple[Any, int]:
    return np.random.default_rng(0).normal(0, 0.1, count * 60 * 16_000).astype(np.float32), 16_000


def hear(model: Any, **options: Any) -> None:
    list(Transcription(minutes(2), model, PipelineOptions(vad=False, **options)))


@pytest.mark.parametrize("kind", [Talker, Polyglot])
def test_each_window_is_told_what_was_said_before_it(kind: type[Talker]) -> None:
    model = kind()
    hear(model, condition_on_previous_text=True)
    assert len(model.told) >= 4
    for number, told in enumerate(model.told):
        assert told == tuple(token for before in range(number) for token in (before, 100 + before))


def test_windows_are_told_nothing_unless_asked_for() -> None:
    model = Talker()
    hear(model)
    assert set(model.told) == {()}


@pytest.mark.parametrize("reason", [{"temperature": 0.6}, {"flags": ("repetition",)}])
def test_a_doubtful_window_is_no_example(reason: dict[str, Any]) -> None:
    model = Talker(**reason)
    hear(model, condition_on_previous_text=True)
    assert model.told[1] == (0, 100)
    assert model.told[2] == ()
    assert model.told[3] == (2, 102)


def test_a_slightly_warm_window_is_one() -> None:
    model = Talker(temperature=0.4)
    hear(model, condition_on_previous_text=True)
    assert model.told[2] == (0, 100, 1, 101)


def test_the_history_is_bounded() -> None:
    history = History()
    segment = Segment(0, None, 0.0, 1.0, "", tuple(range(300)))
    for _ in range(3):
        history.add([segment], Hypothesis("", (), ()))
    assert history.tokens == (*range(152, 300), *range(300))
    assert len(history.tokens) == KEPT


def test_conditioning_is_refused_where_it_can_not_be() -> None:
    model = Talker()
    with pytest.raises(UsageError, match="can't be shared out among several devices"):
        Transcription(minutes(1), [model, Talker()], PipelineOptions(condition_on_previous_text=True))  # type: ignore[arg-type]
    model.supports = frozenset({"timestamps"})  # type: ignore[misc]
    with pytest.raises(UnsupportedOptionError, match="can't be told what was said before"):
        Transcription(minutes(1), model, PipelineOptions(condition_on_previous_text=True))  # type: ignore[arg-type]
