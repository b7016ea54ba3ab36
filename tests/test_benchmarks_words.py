"""Benchmarks of words: sums of rows, cuts of long recordings, telephone prompts, guards. No engine is run here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def row(load: Any, kind: str, errors: dict[str, int], length: int = 200) -> Any:
    scoring, verdicts = load("scoring"), load("verdicts")
    scores = {column: scoring.Score(length, substitutions=count) for column, count in errors.items()}
    return verdicts.Row(kind, kind, "words", 1, scores, best="faster-whisper", required=True, ok=True)


@pytest.mark.parametrize(("ours", "failed"), [(9, []), (10, ["m, sum: 10 errors, the best peer 10"])])
def test_the_sum_leaves_out_what_repeats_speech_and_ours_must_be_ahead(load: Any, ours: int, failed: list[str]) -> None:
    accuracy = load("accuracy")
    rows = [
        row(load, "real", {"voxport": ours - 4, "faster-whisper": 6, "openai-whisper": 8}),
        row(load, "telephone", {"voxport": 4, "faster-whisper": 5, "openai-whisper": 2}),
        row(load, "longform", {"voxport": 50, "faster-whisper": 0, "openai-whisper": 0}),
        row(load, "nonspeech", {"voxport": 0, "faster-whisper": 30, "openai-whisper": 30}),
    ]
    assert accuracy.sums(rows) == (ours, {"faster-whisper": 11, "openai-whisper": 10})
    assert accuracy.shortfalls({"m": rows}, "beam") == failed
    assert accuracy.shortfalls({"m": rows}, "greedy") == []
    verdict = "ahead" if ours == 9 else "level"
    assert any(
        line.startswith("| **sum** | 2 | 400 |") and line.endswith(f"| {verdict} |") for line in accuracy.table(rows)
    )


def test_a_word_on_nonspeech_is_listed(load: Any) -> None:
    recording = load("recordings").Recording("hum", Path("hum"), "", "", "nonspeech", "", 1.0)
    texts = {"voxport": {"hum": " Thank you."}, "peer": {"hum": ""}}
    judged = load("verdicts").judge([recording], texts, "voxport", ["peer"], lambda text, language: text)
    assert load("accuracy").explain(judged) == ["Said where nobody speaks:", "", "* hum: Thank you."]


def test_references_without_accents_are_compared_without(load: Any) -> None:
    symbols = load("scoring").symbols
    assert symbols("Contraseña está", "es", "unaccented", lambda text, language: text.lower()) == "contrasena esta"
    assert symbols("Contraseña", "es", "", lambda text, language: text.lower()) == "contraseña"


def test_a_single_figure_counts_as_the_word_it_is_read_as(load: Any) -> None:
    symbols = load("scoring").symbols

    def plain(text: str, language: str) -> str:
        return text.lower()

    assert symbols("Appuyez sur 5", "fr", "", plain) == symbols("appuyez sur cinq", "fr", "", plain)
    assert symbols("clave 2", "es", "unaccented", plain) == "clave dos"
    assert symbols("нажмите 7", "ru", "unaccented", plain) == "нажмите семь"
    assert symbols("12 tasti, 3 volte", "it", "", plain) == "12 tasti, tre volte"
    assert symbols("taste 3", "de", "", plain) == "taste 3"


def test_joined_recordings_come_in_several_orders(load: Any, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    recordings = load("recordings")
    parts = []
    for language, kind in (("en", "real"), ("it", "telephone")):
        for number in range(1, 5):
            file = tmp_path / f"{language}-{number}.flac"
            soundfile.write(file, np.full(1600 * number, number, np.int16), 16_000, subtype="PCM_16")
            parts.append(recordings.Recording(file.stem, file, str(number), language, kind, "", number / 10))
    whole = recordings.join(parts[4:], tmp_path / "prompts-it.flac", "telephone-joined")
    found = load("accuracy").joined([*parts, whole], 3, tmp_path)
    assert [one.name for one in found] == [
        "joined-real-en", "joined-real-en-1", "joined-real-en-2", "prompts-it-1", "prompts-it-2",
    ]  # fmt: skip
    assert {one.row for one in found} == {"longform-joined en", "telephone-joined it"}
    assert all(sorted(one.text.split()) == ["1", "2", "3", "4"] for one in found)
    assert len({one.text for one in found[2:]} | {whole.text}) > 1
    samples, _ = soundfile.read(found[-1].file, dtype="int16")
    said = [str(value) for value in dict.fromkeys(samples[samples > 0].tolist())]
    assert said == found[-1].text.split()


def test_a_manifest_with_an_unknown_way_of_scoring_is_refused(load: Any, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"file": "a.flac", "text": "a", "lang": "es", "kind": "telephone", "scoring": "unaccented"}\n')
    (recording,) = load("recordings").read_manifest(manifest)
    assert recording.row == "telephone es unaccented"
    manifest.write_text('{"file": "a.flac", "text": "a", "lang": "es", "kind": "telephone", "scoring": "lenient"}\n')
    with pytest.raises(SystemExit, match="unknown scoring 'lenient'"):
        load("recordings").read_manifest(manifest)


def test_prompts_are_read_chosen_and_left_out_by_their_text(load: Any) -> None:
    prompts = load("prompts")
    listing = (
        "\ufeff; Core Sounds: English\n\nvm-a: Please  enter your: number.\ndigits/1: one\nbeep: [a short tone there]\n"
    )
    said = prompts.texts(listing)
    assert said == {"vm-a": "Please enter your: number.", "digits/1": "one", "beep": "[a short tone there]"}
    assert [name for name, text in said.items() if prompts.usable(text)] == ["vm-a"]
    names = [f"p{number}" for number in range(100)]
    chosen = prompts.choose(names, 30)
    assert chosen == prompts.choose(names[::-1], 30) == sorted(set(chosen))
    assert len(chosen) == 30
    assert prompts.choose(names[:5], 30) == names[:5]


def test_a_package_other_than_the_pinned_one_is_refused(load: Any, tmp_path: Path) -> None:
    prompts = load("prompts")
    (tmp_path / f"asterisk-core-sounds-es_{prompts.VERSION}_all.deb").write_bytes(b"another")
    with pytest.raises(SystemExit, match="has sha256"):
        prompts.fetch("asterisk-core-sounds-es", tmp_path)


def test_earlier_answers_are_put_together_and_never_of_another_decoding(load: Any, tmp_path: Path) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    engines = {"peer": {"peer": "1.0"}}
    first.write_text(json.dumps({"decoding": "beam", "engines": engines, "answers": {"m": {"peer": {"x": 1, "y": 1}}}}))
    second.write_text(json.dumps({"decoding": "beam", "engines": {"peer": {}}, "answers": {"m": {"peer": {"y": 2}}}}))
    expected = {"engines": engines, "answers": {"m": {"peer": {"x": 1, "y": 2}}}}
    assert load("accuracy").earlier_answers([first, second], "beam") == expected
    with pytest.raises(SystemExit, match="not a result of --decoding greedy"):
        load("accuracy").earlier_answers([first], "greedy")


CLIPS = [["a", "b", "c"], ["d", "e"], ["f", "g", "h", "i"]]


@pytest.mark.parametrize(
    ("said", "errors", "lost_at_cut", "doubled_at_cut"),
    [
        ("a b c d e f g h i", [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        ("a b d e f g h i", [1, 0, 0], [1, 0, 0], [0, 0, 0]),  # the last word of a clip
        ("a b e f g h i", [1, 1, 0], [1, 1, 0], [0, 0, 0]),  # a run across a cut
        ("a b c d e f i", [0, 0, 2], [0, 0, 0], [0, 0, 0]),  # inside a clip
        ("a b c c d e f g h i", [1, 0, 0], [0, 0, 0], [1, 0, 0]),  # doubled
        ("a b c d e d e f g h i", [0, 2, 0], [0, 0, 0], [0, 2, 0]),  # two words doubled
        ("a b c x d e f g h i", [1, 0, 0], [0, 0, 0], [0, 0, 0]),  # added, but nothing said again
        ("a b c d e f g g h i", [0, 0, 1], [0, 0, 0], [0, 0, 0]),  # doubled, but inside a clip
        ("a b c d e f g x i", [0, 0, 1], [0, 0, 0], [0, 0, 0]),  # another word
        ("", [3, 2, 4], [3, 2, 4], [0, 0, 0]),
        ("a bc d e f g h i", [2, 0, 0], [0, 0, 0], [0, 0, 0]),  # written together
        ("a b cd e f g h i", [1, 1, 0], [0, 0, 0], [0, 0, 0]),  # over a cut
        ("a b x d e f g h i", [1, 0, 0], [0, 0, 0], [0, 0, 0]),
        ("a bx d e f g h i", [2, 0, 0], [1, 0, 0], [0, 0, 0]),  # not the same: one is lost
    ],
)
def test_errors_are_given_to_the_clip_and_the_cut_where_they_lie(
    load: Any, said: str, errors: list[int], lost_at_cut: list[int], doubled_at_cut: list[int]
) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    found = load("cuts").attribute(CLIPS, said.split())
    assert [clip.errors for clip in found] == errors
    assert [clip.lost_at_cut for clip in found] == lost_at_cut
    assert [clip.doubled_at_cut for clip in found] == doubled_at_cut
    assert [bool(clip.details) for clip in found] == [clip.lost + clip.added > 0 for clip in found]


def outcome(load: Any, lost: int, memory: dict[float, int]) -> Any:
    cuts, long_form = load("cuts"), load("long_form")
    return long_form.Outcome(
        "m", "beam", "hour", 3600.0, 60.0, 100, cuts.Found(lost_at_cut=lost), cuts.Found(lost_at_cut=2), memory
    )


def test_a_long_recording_may_lose_at_its_cuts_what_the_clips_lose_and_must_not_grow(load: Any) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    mib = 2**20
    assert outcome(load, 2, {10.0: 500 * mib, 30.0: 600 * mib, 60.0: 640 * mib}).failures() == []
    assert outcome(load, 3, {60.0: mib}).failures() == ["m, beam, hour: 3 words lost at cut, 2 on the single clips"]
    assert outcome(load, 0, {30.0: 600 * mib, 60.0: 660 * mib}).failures() == [
        "m, beam, hour: 60 MiB more after minute 30"
    ]


def test_peaks_of_memory_are_taken_between_the_marks(load: Any) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    held = [(300.0, 5), (590.0, 9), (700.0, 7), (1790.0, 8), (2000.0, 6), (3590.0, 4)]
    assert load("long_form").peaks(held, 3600.0) == {10.0: 9, 30.0: 8, 60.0: 6}
    assert load("long_form").peaks([(100.0, 5), (230.0, 6)], 232.0) == {3.9: 6}


def test_a_shuffled_recording_is_made_of_whole_clips(load: Any, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile is in the dependency group `benchmark`")
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    clips = []
    for number in range(3):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.full(16_000 * (number + 1), 1000 * (number + 1), np.int16), 16_000)
        clips.append(load("recordings").Recording(str(number), file, "a", "en", "real", "", number + 1.0))
    long = load("long_form").shuffled(clips, 20.0, 0, tmp_path / "long.flac")
    samples, _ = soundfile.read(long.file, dtype="int16")
    assert long.seconds == len(samples) / 16_000 >= 20.0
    assert len(long.clips) > 6
    for number, clip in enumerate(clips):
        assert (samples == 1000 * (number + 1)).sum() == long.clips.count(clip) * 16_000 * (number + 1)


def test_sounds_without_speech_are_the_same_for_a_seed_and_as_loud_as_said(load: Any) -> None:
    nonspeech = load("nonspeech")
    sounds = nonspeech.sounds(seed=1, seconds=2.0)
    again, other = nonspeech.sounds(seed=1, seconds=2.0), nonspeech.sounds(seed=2, seconds=2.0)
    assert len(sounds) == 8
    for name, samples in sounds.items():
        assert samples.shape == (32_000,)
        assert samples.dtype == np.float32
        assert np.array_equal(samples, again[name])
        assert np.abs(samples).max() <= 1.0
    assert not np.array_equal(sounds["hiss"], other["hiss"])
    assert 20 * np.log10(np.sqrt(np.mean(sounds["hiss"] ** 2))) == pytest.approx(-65.0, abs=0.01)


def test_guards_must_silence_what_is_no_speech_and_lose_no_speech(load: Any) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    guards, scoring = load("guards"), load("scoring")

    def table(said: int, lost: int) -> dict[str, list[Any]]:
        bare = guards.Line(tuple(guards.OFF), recorded=90, speech=scoring.Score(1000, deletions=10))
        return {"m": [guards.Line((), made=said, speech=scoring.Score(1000, deletions=lost)), bare]}

    assert guards.failures(table(0, 15)) == []
    assert guards.failures(table(2, 15)) == ["m: 2 words where nobody speaks"]
    assert guards.failures(table(0, 16)) == ["m: 6 words of speech lost beyond those lost without guards"]


def test_without_the_loop_cut_nothing_is_a_loop(load: Any) -> None:
    pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
    from voxport.decoding.repetition import find_loop

    loop = [1, 2] * 100
    assert find_loop(loop) is not None
    with load("guards").without_loop_cut():
        assert find_loop(loop) is None
    assert find_loop(loop) is not None
