"""The benchmarks' own arithmetic: a yardstick that is wrong proves nothing. No engine is run here."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/ as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "engines"))

    def load_module(name: str) -> Any:
        if name in ("scoring", "verdicts"):
            pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
        return importlib.import_module(name)

    return load_module


def plain(text: str, language: str) -> str:
    """Stands in for openai-whisper's normalisers."""
    return text.lower().replace(",", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", "12"),
        ("1 2", "12"),
        ("12", "12"),
        ("Zero, oh. Nine!", "009"),
        ("twenty-one", "21"),
        ("twenty 5", "205"),
        ("ninety", "90"),
        ("seventeen", "17"),
        ("thirty ten", "3010"),
        ("", ""),
    ],
)
def test_number_words_and_figures_are_the_same_digits(load: Any, text: str, expected: str) -> None:
    assert "".join(load("scoring").digits(text)) == expected


def test_a_word_among_digits_is_one_symbol(load: Any) -> None:
    assert load("scoring").digits("five for 6") == ["5", "for", "6"]


def test_scores_count_each_kind_of_error_and_add_up(load: Any) -> None:
    scoring = load("scoring")
    first = scoring.score("a b c d", "a x c d e")
    assert (first.length, first.substitutions, first.deletions, first.insertions) == (4, 1, 0, 1)
    assert first.rate == 50.0
    both = first + scoring.score("a b c d", "a b")
    assert (both.length, both.errors, both.deletions) == (8, 4, 2)
    assert scoring.score("", "two words").insertions == 2


@pytest.mark.parametrize(
    ("language", "group", "text", "expected"),
    [("en", "", "A, B", "a b"), ("ja", "", "今日 は", "今 日 は"), ("en", "digits", "one 2", "1 2")],
)
def test_units_follow_language_and_group(load: Any, language: str, group: str, text: str, expected: str) -> None:
    assert load("scoring").symbols(text, language, group, plain) == expected


def test_emitted_words_are_those_with_a_letter_or_digit(load: Any) -> None:
    assert load("scoring").emitted_words(" ... [Music] Thank you. 5 -") == 4


def test_differences_name_both_sides_and_their_surroundings(load: Any) -> None:
    assert load("scoring").differences("one two three four", "one too three four five") == [
        "one [two -> too] three four",
        "two three four [∅ -> five]",
    ]


def recording(load: Any, name: str, text: str, kind: str = "real") -> Any:
    return load("recordings").Recording(name, Path(name), text, "en" if text else "", kind, "", 1.0)


@pytest.mark.parametrize(
    ("ours", "peer", "ok"),
    [(5, 2, True), (6, 2, False), (202, 199, True), (205, 200, False), (204, 200, True), (0, 50, True)],
)
def test_a_row_holds_within_three_errors_or_two_per_cent(load: Any, ours: int, peer: int, ok: bool) -> None:
    words = [f"w{number}" for number in range(1000)]
    texts = {
        "voxport": {"a": " ".join(words[ours:])},
        "peer": {"a": " ".join(words[peer:])},
        "worse": {"a": " ".join(words[500:])},
        "information": {"a": " ".join(words)},
    }
    row = load("verdicts").judge([recording(load, "a", " ".join(words))], texts, "voxport", ["peer", "worse"], plain)
    assert (row.best, row.ok, row.required) == ("peer", ok, True)
    assert bool(row.differing) is not ok


def test_a_short_row_is_for_information_and_lists_its_differences(load: Any) -> None:
    texts = {"voxport": {"a": "x y z w"}, "peer": {"a": "a b c d"}}
    row = load("verdicts").judge([recording(load, "a", "a b c d")], texts, "voxport", ["peer"], plain)
    assert (row.ok, row.required) == (False, False)
    assert row.differing == {"a": {"ours": ["[a b c d -> x y z w]"], "best": []}}


@pytest.mark.parametrize(("said", "ok"), [("", True), (" Thank you.", False)])
def test_one_word_on_nonspeech_falls_short_whatever_the_peers_say(load: Any, said: str, ok: bool) -> None:
    texts = {"voxport": {"a": said}, "peer": {"a": "a lot of words"}}
    row = load("verdicts").judge([recording(load, "a", "", "nonspeech")], texts, "voxport", ["peer"], plain)
    assert (row.ok, row.required, row.scores["peer"].insertions) == (ok, True, 4)


def test_ratios_are_per_round_and_above_one_where_ours_is_faster(load: Any) -> None:
    interleaved = load("interleaved")
    setting = load("worker_client").Setting("x", "voxport", "window")
    ours = interleaved.Column(setting, seconds={"a": [1.0, 2.0, 1.0], "b": [1.0, 2.0, 1.0]})
    other = interleaved.Column(setting, seconds={"a": [2.0, 2.0, 1.0], "b": [2.0, 4.0, 2.0]})
    assert ours.rounds() == [2.0, 4.0, 2.0]
    assert interleaved.ratio(other, ours) == interleaved.Spread(1.5, 1.5, 2.0)


def test_tensor_names_of_openai(load: Any) -> None:
    name = load("export_openai").openai_name
    assert name("model.decoder.layers.3.encoder_attn.q_proj.weight") == "decoder.blocks.3.cross_attn.query.weight"
    assert name("model.decoder.layers.0.encoder_attn_layer_norm.bias") == "decoder.blocks.0.cross_attn_ln.bias"
    assert name("model.encoder.layers.1.final_layer_norm.weight") == "encoder.blocks.1.mlp_ln.weight"
    assert name("model.encoder.layers.1.fc2.bias") == "encoder.blocks.1.mlp.2.bias"
    assert name("model.encoder.layer_norm.weight") == "encoder.ln_post.weight"
    assert name("model.decoder.layer_norm.weight") == "decoder.ln.weight"
    assert name("model.decoder.embed_tokens.weight") == "decoder.token_embedding.weight"
    assert name("model.decoder.embed_positions.weight") == "decoder.positional_embedding"
    assert name("model.encoder.conv1.bias") == "encoder.conv1.bias"


def test_a_worker_answers_every_request_and_tells_errors(load: Any) -> None:
    protocol = load("protocol")

    class Fake(protocol.Engine):  # type: ignore[misc, name-defined]
        def load(self, model: str, dtype: str, threads: int) -> None:
            self.count = threads

        def threads(self) -> int:
            return self.count

        def prepare(self, file: str, mode: str) -> str:
            return file

        def run(self, audio: str, language: str, mode: str) -> str:
            return f"{audio} {language} {mode}"

    requests = [
        {"op": "load", "model": "m", "dtype": "float32", "threads": 2},
        {"op": "run", "file": "f", "language": "en", "mode": "text"},
        {"op": "run", "file": "f", "language": "en", "mode": "batched"},
        {"op": "quit"},
        {"op": "never reached"},
    ]
    answers = io.StringIO()
    protocol.serve(Fake(), io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    loaded, ran, refused = map(json.loads, answers.getvalue().splitlines())
    assert loaded["threads"] == 2
    assert ran["text"] == "f en text"
    assert refused["error"] == "ValueError: this engine has no mode 'batched'; it has text, window"


def test_the_import_timer_is_read_with_depth_and_milliseconds(load: Any) -> None:
    cold_start = load("cold_start")
    lines = (
        "import time: self [us] | cumulative | imported package\nimport time:       104 |       1104 |   voxport.x\n"
    )
    assert cold_start.IMPORT_LINE.findall(lines) == [("104", "1104", "   ", "voxport.x")]
    tree = [cold_start.Import("torch", 1, 0.1, 1.1), cold_start.Import("voxport", 0, 0.1, 2.0)]
    assert cold_start.heavy(tree) == ["torch"]


def test_cold_start_names_what_is_missed(load: Any) -> None:
    cold_start = load("cold_start")
    spread = load("interleaved").Spread
    trees = {"import voxport": [], "voxport --help": [cold_start.Import("torch", 0, 1.0, 1.0)]}
    spreads = {
        cold_start.OURS: spread(2.6, 2.5, 2.7),
        cold_start.TORCH: spread(1.5, 1.4, 1.6),
        cold_start.HELP: spread(0.2, 0.2, 0.2),
    }
    assert cold_start.failures(spreads, {cold_start.OURS: "words"}, trees) == [
        "voxport transcribe: 2.60 s, allowed are 2.50 s",
        "voxport --help loads torch",
    ]
