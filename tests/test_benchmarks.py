"""The benchmarks' own arithmetic: a yardstick that is wrong proves nothing. No engine is run here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
    assert row.differing.keys() == ({"a"} if ours != peer else set())


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

        def run(self, audio: str, language: str, mode: str, decoding: str) -> str:
            return f"{audio} {language} {mode} {decoding}"

        def watch(self, file: str, language: str, decoding: str) -> Any:
            for number in range(3):
                yield 50.0 * number, 50.0 * number + 40.0, f"{file} {decoding} {number}"

    requests = [
        {"op": "load", "model": "m", "dtype": "float32", "threads": 2},
        {"op": "run", "file": "f", "language": "en", "mode": "text"},
        {"op": "run", "file": "f", "language": "en", "mode": "batched"},
        {"op": "run", "file": "f", "language": "en", "mode": "text", "decoding": "beam"},
        {"op": "run", "file": "f", "language": "en", "mode": "text", "decoding": "best"},
        {"op": "watch", "file": "f", "language": "en", "decoding": "beam"},
        {"op": "quit"},
        {"op": "never reached"},
    ]
    answers = io.StringIO()
    protocol.serve(Fake(), io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    loaded, ran, refused, beam, unknown, watched = map(json.loads, answers.getvalue().splitlines())
    assert loaded["threads"] == 2
    assert (ran["text"], beam["text"]) == ("f en text greedy", "f en text beam")
    assert unknown["error"] == "ValueError: unknown decoding 'best'; there are greedy, beam"
    assert watched["segments"] == [[0, 40, "f beam 0"], [50, 90, "f beam 1"], [100, 140, "f beam 2"]]
    assert [position for position, _ in watched["memory"]] == [90, 140]
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


def medasr_table(load: Any, seconds: dict[str, list[float]], errors: dict[str, float]) -> Any:
    interleaved, medasr_speed = load("interleaved"), load("medasr_speed")
    columns = [
        interleaved.Column(setting, seconds={"clip": seconds[setting.label]}, cpu_seconds={"clip": [1.0]})
        for setting in medasr_speed.SETTINGS
        if setting.label in seconds
    ]
    return medasr_speed.Table("clip", 11.0, interleaved.Session(columns, None), errors)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "error", "missed"),
    [
        (1.7, 1.0, 0.011, []),
        (1.8, 1.0, 0.011, ["11 s: voxport float32, 0.944 times as fast, not 1"]),
        (1.7, 1.1, 0.011, ["11 s: voxport bfloat16, 1.55 times as fast, not 1.7"]),
        (1.7, 1.0, 0.0111, ["11 s: relative L2 in bfloat16, 1.11 times transformers', not 1.1"]),
        (1.7, 1.0, float("nan"), ["11 s: relative L2 in bfloat16, nan times transformers', not 1.1"]),
    ],
)
def test_medasr_is_judged_beside_transformers_float32(
    load: Any, float32: float, bfloat16: float, error: float, missed: list[str]
) -> None:
    seconds = {
        "voxport float32": [float32] * 2,
        "transformers float32": [1.7, 1.7],
        "voxport bfloat16": [bfloat16] * 2,
        "transformers bfloat16": [1.0, 9.0],
    }
    errors = {"voxport float32": 1e-6, "transformers float32": 0.0, "voxport bfloat16": error}
    table = medasr_table(load, seconds, {**errors, "transformers bfloat16": 0.0100001})
    assert table.missed() == missed


def test_medasr_without_bfloat16_is_judged_on_float32_alone(load: Any) -> None:
    seconds = {"voxport float32": [1.0], "transformers float32": [2.0]}
    table = medasr_table(load, seconds, {"voxport float32": 1e-6, "transformers float32": 0.0})
    assert table.error_ratio is None
    assert table.missed() == []
    assert "| voxport float32 | 1 [1-1] | 11.0 | 2 [2-2] | 1 | 1.00 | 1e-06 |" in load("medasr_speed").rows(table)


def test_relative_l2_is_taken_to_transformers_float32(load: Any) -> None:
    medasr_speed = load("medasr_speed")
    base = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    other = np.array([[3.0, 0.0], [0.5, 4.0]], np.float32)
    found = medasr_speed.relative_l2({"transformers float32": base, "voxport float32": other})
    assert found == {"transformers float32": 0.0, "voxport float32": pytest.approx(0.1)}
    with pytest.raises(load("worker_client").EngineError, match="shape"):
        medasr_speed.relative_l2({"transformers float32": base, "voxport float32": other[:1]})


def test_a_dictation_is_real_before_synthetic_and_medical_before_other(load: Any) -> None:
    recordings = load("recordings")

    def entry(name: str, kind: str, group: str, seconds: float, language: str = "en") -> Any:
        return recordings.Recording(name, Path(name), "", language, kind, group, seconds)

    other, synthetic = entry("other", "real", "", 60.0), entry("synthetic", "synthetic", "medical", 60.0)
    medical, short = entry("medical", "real", "medical", 44.0), entry("short", "real", "medical", 43.0)
    everything = [entry("de", "real", "medical", 60.0, "de"), synthetic, other, short, medical]
    assert recordings.long_enough(everything, 43.8) is medical
    assert recordings.long_enough([synthetic, other], 43.8) is other
    assert recordings.long_enough([short, synthetic], 43.8) is synthetic
    with pytest.raises(SystemExit, match=r"no English recording of 43\.8 seconds"):
        recordings.long_enough([short], 43.8)


def clips(load: Any, folder: Path) -> list[Any]:
    """Two clips of 0.5 s and 1 s whose samples tell them apart."""
    soundfile = pytest.importorskip("soundfile", reason="soundfile is in the dependency group `benchmark`")
    found = []
    for value, seconds in ((1, 0.5), (2, 1.0)):
        file = folder / f"{value}.flac"
        soundfile.write(file, np.full(int(seconds * 16_000), value, np.int16), 16_000, subtype="PCM_16")
        found.append(load("recordings").Recording(file.stem, file, "", "en", "real", "", seconds))
    return found


def test_a_playlist_has_each_clip_once_in_each_turn_and_pauses_between(load: Any) -> None:
    recordings = load("recordings")
    some = [recording(load, str(number), "text") for number in range(8)]
    first, again = ([next(play) for _ in range(24)] for play in (recordings.playlist(some, seed) for seed in (3, 3)))
    assert first == again
    turns = [[entry.name for entry, _ in first[start : start + 8]] for start in (0, 8, 16)]
    assert all(sorted(turn) == [entry.name for entry in some] for turn in turns)
    assert turns[0] != turns[1]
    assert all(0.3 <= pause <= 1.0 for _, pause in first)
    assert next(recordings.playlist(some, 4)) != first[0]
    with pytest.raises(SystemExit, match="no English clip"):
        next(recordings.playlist([], 0))


def test_a_joined_recording_has_the_length_asked_for_and_begins_as_a_longer_one(load: Any, tmp_path: Path) -> None:
    recordings = load("recordings")
    pool = clips(load, tmp_path)
    short, long = tmp_path / "short.flac", tmp_path / "long.flac"
    recordings.write_long(pool, 1.25, 0, short)
    recordings.write_long(pool, 10.0, 0, long)
    shorter, longer = recordings._read(short), recordings._read(long)
    assert (len(shorter), len(longer)) == (20_000, 160_000)
    assert np.array_equal(shorter, longer[:20_000])
    assert set(longer.tolist()) == {0, 1, 2}


def test_a_beginning_is_cut_to_the_sample_and_never_shorter(load: Any, tmp_path: Path) -> None:
    recordings = load("recordings")
    clip = recordings.beginning(clips(load, tmp_path)[1], 0.75, tmp_path)
    assert (clip.name, clip.seconds, len(recordings._read(clip.file))) == ("2-0.75s", 0.75, 12_000)
    with pytest.raises(ValueError, match=r"shorter than 1\.25 s"):
        recordings.beginning(clips(load, tmp_path)[1], 1.25, tmp_path)


@pytest.mark.parametrize(
    ("peak", "seconds", "missed"),
    [
        (600, 413.0, []),
        (601, 413.0, ["60 min: 101 MiB more than 20 min, allowed are 100"]),
        (600, 418.0, ["60 min: 1.16 times the cost per hour of 5 min, allowed are 1.15"]),
    ],
)
def test_the_longest_recording_is_judged_beside_shorter_ones(
    load: Any, peak: int, seconds: float, missed: list[str]
) -> None:
    long_recordings = load("long_recordings")

    def run(minutes: float, taken: float, highest: int, words: int = 9) -> Any:
        return long_recordings.Run(60 * minutes, taken, taken, words, 400 * 2**20, 900 * 2**20, highest * 2**20)

    runs = [run(60, seconds, peak), run(2, 99.0, 100), run(5, 30.0, 9999), run(20, 999.0, 500)]
    assert long_recordings.failures(runs) == missed
    assert long_recordings.failures(runs[:2]) == []
    assert long_recordings.failures([run(2, 1.0, 1, words=0)]) == ["2 min: nothing was said"]


def test_memory_is_told_in_bytes_and_the_peak_can_be_forgotten(load: Any) -> None:
    protocol = load("protocol")
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system has no /proc")
    before = protocol.memory()["peak"]
    held = np.ones(64 * 2**20, np.uint8)
    most = protocol.memory()
    assert most["peak"] >= most["now"] > held.nbytes
    assert most["peak"] >= before
    del held
    protocol.forget_peak()
    assert protocol.memory()["peak"] <= most["peak"]


def test_a_worker_writes_logits_to_a_file_or_says_that_it_has_none(load: Any, tmp_path: Path) -> None:
    protocol = load("protocol")

    class Fake(protocol.Engine):  # type: ignore[misc, name-defined]
        modes = ("window",)

        def prepare(self, file: str, mode: str) -> str:
            return file

    class Frames(Fake):
        def logits(self, audio: str) -> np.ndarray:
            return np.arange(6, dtype=np.float32).reshape(2, 3)

    request = {"op": "logits", "file": "f", "output": str(tmp_path / "logits.npy")}
    with pytest.raises(ValueError, match="gives no logits"):
        protocol.answer(Fake(), request)
    assert protocol.answer(Frames(), request) == {"shape": [2, 3]}
    assert np.load(tmp_path / "logits.npy").sum() == 15.0


def counted(module: Any, ours: bool, operations: int, waits: int = 5, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "model": "whisper-m", "engine": "voxport" if ours else "transformers 5", "dtype": "float16",
        "timestamps": True, "batch": 1, "tokens": 10, "encoder": 50, "operations": operations, "waits": waits,
    }  # fmt: skip
    return module.Counted(**{**values, **changes})


def test_operations_are_judged_by_their_share_in_float16(load: Any) -> None:
    module = load("npu_operations")
    just, over = [counted(module, True, 500), counted(module, False, 1000)], [
        counted(module, True, 501), counted(module, False, 1000)
    ]  # fmt: skip
    assert module.failures(just) == []
    assert module.failures(over) == ["whisper-m, float16, with times, batch 1: 0.50 of transformers' operations"]
    wide = [counted(module, True, 900, dtype="float32"), counted(module, False, 1000, dtype="float32")]
    assert module.failures(wide) == []
    waiting = [counted(module, True, 100, 10, dtype="float32"), counted(module, False, 1000, dtype="float32")]
    assert module.failures(waiting) == ["whisper-m, float32, with times, batch 1: it waits inside steps"]
    ctc = [counted(module, True, 9, tokens=None), counted(module, False, 1, tokens=None)]
    assert module.failures(ctc) == []


def test_the_table_of_operations_shows_both_and_the_verdict(load: Any) -> None:
    module = load("npu_operations")
    counts = [
        counted(module, True, 450),
        counted(module, False, 1100, 20, tokens=11),
        counted(module, True, 7, 1, model="medasr", tokens=None, timestamps=None),
        counted(module, False, 30, 2, model="medasr", tokens=None, timestamps=None, encoder=99),
    ]
    text = module.report(counts, [])
    assert "| whisper-m | float16 | yes | 1 | 10 / 11 | 45.0 / 100.0 | 0.450 | 0.50 / 1.82 |" in text
    assert "| medasr | float16 | 1 | 50 / 99 | 7 / 30 | 1 / 2 |" in text
    assert "**simulated**" in text
    assert "**every requirement is met.**" in text
    assert "**too many.**" in module.report(counts, ["too many"])
