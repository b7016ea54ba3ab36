"""``voxport score``: from the command line to the exit code, with hypotheses from a file and heard now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import fake_pipeline
from lasr_folders import noise, small_folder
from voxport.cli import main
from voxport.cli.score import NORMALIZERS as CHOICES
from voxport.errors import UnsupportedOptionError
from voxport.score.listening import Listener
from voxport.sides import Side
from voxport.text import NORMALIZERS
from voxport.types import Audio


class Captured:
    """Exit code and what was written."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def object(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


class CommandLine:
    """``voxport score`` in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def lines(self, name: str, *entries: dict[str, Any]) -> str:
        (self.folder / name).write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")
        return name

    def __call__(self, *arguments: str) -> Captured:
        code = main(["score", *arguments])
        return Captured(code, *self._capsys.readouterr())


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return CommandLine(tmp_path, capsys)


@pytest.fixture
def files(score: CommandLine) -> tuple[str, ...]:
    """Arguments: three clips, of which one has an error."""
    score.lines(
        "m.jsonl",
        {"audio_filepath": "a.wav", "text": "The colour, Mr. Smith!", "lang": "en", "speaker": "x"},
        {"audio_filepath": "b.wav", "text": "twenty-one", "lang": "en", "speaker": "y"},
        {"audio_filepath": "c.wav", "text": "Größe", "lang": "de", "speaker": "y"},
    )
    score.lines(
        "h.jsonl",
        {"audio_filepath": "a.wav", "pred_text": "the color mister smith"},
        {"audio_filepath": "b.wav", "pred_text": "22"},
        {"audio_filepath": "c.wav", "pred_text": "größe"},
    )
    return ("--manifest", "m.jsonl", "--hyp", "h.jsonl")


def test_the_normalizers_are_those_that_there_are() -> None:
    assert tuple(NORMALIZERS) == CHOICES


def test_a_file_of_hypotheses(score: CommandLine, files: tuple[str, ...]) -> None:
    done = score(*files)
    assert (done.code, done.err) == (0, "")
    assert "data:       m.jsonl (manifest), 3 clips scored\n" in done.out
    assert "heard by:   unknown (the hypotheses do not say)\n" in done.out
    assert "normalizer: whisper-english (en 2)\nnormalizer: whisper-basic (de 1)\n" in done.out
    assert "all       3      6  16.67    1    0    0" in done.out
    assert "by lang\n  de      1      1   0.00" in done.out
    assert "  1. b.wav  WER 100.00 % (1 of 1: 1 sub, 0 del, 0 ins)\n     said   21\n     heard  22\n" in done.out


def test_json_holds_everything(score: CommandLine, files: tuple[str, ...]) -> None:
    found = score(*files, "--json", "--group-by", "speaker,lang+speaker").object
    assert (found["schema"], found["ok"], found["unit"]) == (1, True, "auto")
    assert found["normalizers"] == {"whisper-english": {"en": 2}, "whisper-basic": {"de": 1}}
    assert found["bootstrap"] == {"level": 0.95, "resamples": 1000, "seed": 0, "resample_by": None}
    (total,) = found["totals"]
    assert (total["wer"], total["errors"], total["length"], total["interval"]) == (1 / 6, 1, 6, None)
    assert [row["name"] for row in found["groups"]["lang+speaker"]] == ["de, y", "en, x", "en, y"]
    worst = found["clips"][0]
    assert (worst["id"], worst["reference"], worst["reference_normalized"]) == ("b.wav", "twenty-one", "21")
    assert worst["differences"] == [{"kind": "substitute", "at": 0, "reference": "21", "hypothesis": "22"}]
    assert found["confusions"]["substitutions"] == [{"reference": "21", "hypothesis": "22", "count": 1}]
    assert len(found["clips"]) == 3


@pytest.mark.parametrize(
    ("options", "errors"),
    [((), 1), (("--normalizer", "none"), 6), (("--normaliser", "whisper-basic"), 4), (("--unit", "characters"), 1)],
)
def test_normalizer_and_unit(score: CommandLine, files: tuple[str, ...], options: tuple[str, ...], errors: int) -> None:
    assert score(*files, *options, "--json").object["totals"][0]["errors"] == errors


@pytest.mark.parametrize(("limit", "code"), [("20", 0), ("16", 1), ("16.7%", 0), ("0", 1)])
def test_fail_above(score: CommandLine, files: tuple[str, ...], limit: str, code: int) -> None:
    done = score(*files, "--fail_above", limit)
    assert done.code == code
    assert done.out.endswith(f"limit: {limit.rstrip('%')} %, {'EXCEEDED' if code else 'kept'}\n")


def test_missing_failed_and_extra_are_told_and_the_rest_is_scored(score: CommandLine, files: tuple[str, ...]) -> None:
    score.lines(
        "h.jsonl",
        {"file": "b.wav", "text": "21"},
        {"file": "c.wav", "error": {"code": "audio_empty", "message": "c.wav is empty", "hint": None}},
        {"file": "z.wav", "text": "who"},
    )
    done = score(*files)
    assert done.code == 1
    assert "1 of 3 clips scored" in done.out
    assert "note: 1 clip without a hypothesis, NOT scored: a.wav\n" in done.out
    assert "note: 1 clip failed, NOT scored: c.wav\n" in done.out
    assert "note: 1 hypothesis of no clip: z.wav\n" in done.out
    found = score(*files, "--json").object
    assert (found["missing"], found["extra"], found["ok"]) == (["a.wav"], ["z.wav"], False)
    assert found["failed"] == [
        {"id": "c.wav", "error": {"code": "audio_empty", "message": "c.wav is empty", "hint": None}}
    ]


def test_a_part_of_the_data_leaves_hypotheses_over(score: CommandLine, files: tuple[str, ...]) -> None:
    done = score(*files, "--where", "lang=en", "--limit", "1")
    assert done.code == 0
    assert "1 clip scored" in done.out
    assert "note: 2 hypotheses of no clip: b.wav, c.wav\n" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--manifest/--data is missing"),
        (["--manifest", "m.jsonl"], "neither --hyp nor --model is given"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--model", "x"], "--hyp and --model are both given"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--save-hyp", "x"], "--save_hyp is for transcribing now"),
        (["--manifest", "m.jsonl", "--model", "x", "--side", "gpu"], "'gpu' is no side"),
        (["--manifest", "m.jsonl", "--model", "x", "--side", "cpu@y"], "'cpu@y' names a model"),
        (["--manifest", "x.jsonl", "--hyp", "h.jsonl"], "'x.jsonl' is not there"),
        (["--manifest", "m.jsonl", "--hyp", "x.jsonl"], "can't read 'x.jsonl': No such file or directory"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--group_by", "sex"], "no clip has a 'sex'"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--bootstrap_by", "speker"], "no clip has a 'speker'"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--normalizer", "whisper"], "--normaliser can't be 'whisper'"),
        (["--manifest", "m.jsonl", "--hyp", "h.jsonl", "--fail-above", "x"], "--fail_above can't be 'x'"),
        (["--manifest", "m.jsonl", "--hyp", "m.jsonl"], "3 lines of m.jsonl can't be used"),
    ],
)
def test_mistakes(score: CommandLine, files: tuple[str, ...], arguments: list[str], message: str) -> None:
    done = score(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")


# Heard now.


class Model(fake_pipeline.FakeModel):
    sample_rate = 16_000

    def check(self, options: Any) -> None:
        if options.language not in (None, "en", "de"):
            raise UnsupportedOptionError(f"no {options.language}")


class Heard:
    """What became of the model's work."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.languages: list[str | None] = []
        self.interrupt_at: int | None = None


@pytest.fixture
def now(score: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Heard:
    """A model over the fake pipeline: a "recording" is a JSON file with what is said in it."""
    heard = Heard()

    class Transcription(fake_pipeline.FakeTranscription):
        def __init__(self, audio: str, model: Any, options: Any) -> None:
            if heard.interrupt_at == len(heard.files):
                raise KeyboardInterrupt
            heard.files.append(Path(audio).name)
            heard.languages.append(options.language)
            super().__init__(audio, [model], options)

    monkeypatch.setattr("voxport.pipeline.Transcription", Transcription)
    monkeypatch.setattr("voxport.sides.Side.load", lambda side, name, **_: Model(side.model or name))
    for name, words in {"a.wav": "The color, Mister Smith", "b.wav": "22", "c.wav": "Größe"}.items():
        (score.folder / name).write_text(json.dumps({"segments": [[0, 1, words]]}), encoding="utf-8")
    return heard


LIVE = ("--manifest", "m.jsonl", "--model", "whisper-x", "--side", "cpu:float32")


def test_heard_now(score: CommandLine, files: tuple[str, ...], now: Heard) -> None:
    done = score(*LIVE)
    assert done.code == 0
    assert "heard by:   whisper-x (abababababab) on cpu:float32, language told where known, speech found" in done.out
    assert "all       3      6  16.67    1    0    0" in done.out
    assert "hypotheses:" not in done.out
    assert done.err.startswith("heard: 0:03 of audio in ")
    assert (now.files, now.languages) == (["a.wav", "b.wav", "c.wav"], ["en", "en", "de"])


def test_the_language_can_be_left_to_the_model(score: CommandLine, files: tuple[str, ...], now: Heard) -> None:
    score.lines("m.jsonl", {"audio_filepath": "a.wav", "text": "x", "lang": "fr"})
    done = score(*LIVE)
    assert done.code == 2
    assert done.err.startswith("error: no fr (1 clip is in it)\nhint: choose clips with --where lang=...")
    assert "language detected, no VAD" in score(*LIVE, "--detect_language", "--no-vad").out
    assert now.languages == [None]


def test_failing_clips_are_told_first_and_do_not_stop_the_others(
    score: CommandLine, files: tuple[str, ...], now: Heard
) -> None:
    (score.folder / "a.wav").write_text("damaged")
    (score.folder / "c.wav").unlink()
    done = score(*LIVE)
    assert done.code == 1
    missing = "error: c.wav is not there\nhint: paths are relative to the manifest's folder\n"
    assert done.err.startswith(missing + "error: a.wav: this is no recording\n")
    assert "1 of 3 clips scored" in done.out
    assert "note: 2 clips failed, NOT scored: c.wav, a.wav\n" in done.out


def test_what_is_heard_is_kept_and_gone_on_from(score: CommandLine, files: tuple[str, ...], now: Heard) -> None:
    now.interrupt_at = 2
    done = score(*LIVE, "--save_hyp", "kept/s.jsonl")
    assert (done.code, done.out) == (130, "")
    assert "kept: 2 of 3 clips are heard, in kept/s.jsonl; run it again to go on\n" in done.err
    now.interrupt_at, now.files = None, []
    done = score(*LIVE, "--save_hyp", "kept/s.jsonl")
    assert (done.code, now.files) == (0, ["c.wav"])
    assert "kept: 2 of 3 clips were heard before, in kept/s.jsonl\n" in done.err
    now.files = []
    again = score(*LIVE, "--save_hyp", "kept/s.jsonl", "--limit", "1")
    assert (again.code, now.files, "1 clip scored" in again.out) == (0, [], True)
    assert len((score.folder / "kept/s.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    later = score("--manifest", "m.jsonl", "--hyp", "kept/s.jsonl", "--json").object
    assert later["totals"][0]["errors"] == 1
    assert later["hypotheses"]["made_by"][0] == {
        "model": "whisper-x", "family": "whisper", "identity": "ab" * 32, "side": "cpu:float32", "simulated": None,
        "random_weights": False, "options": "language told where known, speech found first (VAD)",
        "voxport": later["voxport"], "clips": 3,
    }  # fmt: skip


def test_two_models_do_not_share_a_file(score: CommandLine, files: tuple[str, ...], now: Heard) -> None:
    assert score(*LIVE, "--save_hyp", "s.jsonl", "--limit", "1").code == 0
    done = score("--manifest", "m.jsonl", "--model", "whisper-y", "--side", "cpu", "--save_hyp", "s.jsonl")
    assert done.code == 2
    assert "s.jsonl holds what whisper-x heard (a.wav: model was whisper-x, is whisper-y)" in done.err
    # Also where there is nothing left to hear.
    done = score("--manifest", "m.jsonl", "--model", "whisper-y", "--limit", "1", "--save_hyp", "s.jsonl")
    assert (done.code, done.out) == (2, "")


def test_a_damaged_file_of_hypotheses_is_not_gone_on_from(
    score: CommandLine, files: tuple[str, ...], now: Heard
) -> None:
    (score.folder / "s.jsonl").write_bytes(b'{"id": "a.wav", "pred_text": "\xff"}\n')
    done = score(*LIVE, "--save_hyp", "s.jsonl")
    assert (done.code, now.files) == (2, [])
    assert "line 1: byte 31 is no UTF-8" in done.err
    assert "--save_hyp is the manifest itself" in score(*LIVE, "--save_hyp", "m.jsonl").err


def test_random_weights_are_said_before_and_after(score: CommandLine, files: tuple[str, ...], now: Heard) -> None:
    done = score("--manifest", "m.jsonl", "--model", "x-random")
    assert done.err.startswith("warning: x-random has random weights: what it says means nothing\n")
    assert "RANDOM WEIGHTS" in done.out


# Parts of recordings, and a genuine model.


def test_a_part_of_a_recording_is_cut_where_the_manifest_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxport.errors import AudioError
    from voxport.score import Clip

    ramp = Audio(np.arange(32_000, dtype=np.float32) / 32_000)
    loads: list[str] = []

    def load(path: str, **_: Any) -> Audio:
        loads.append(path)
        return ramp

    monkeypatch.setattr("voxport.audio.load_audio", load)
    listener = Listener(Model("m"), Side.parse("cpu"))  # type: ignore[arg-type]
    path = tmp_path / "a.wav"
    cut = listener._audio(Clip("a", "", path=path, offset=0.5, seconds=0.25))
    rest = listener._audio(Clip("a", "", path=path, offset=1.5))
    assert isinstance(cut, Audio)
    assert isinstance(rest, Audio)
    assert (cut.samples[0], len(cut.samples)) == (ramp.samples[8000], 4000)
    assert (rest.samples[0], len(rest.samples)) == (ramp.samples[24_000], 8000)
    assert len(loads) == 1
    with pytest.raises(AudioError, match=r"begins at 2 s, the recording is 2\.00 s long"):
        listener._audio(Clip("a", "", path=path, offset=2.0))


def test_a_genuine_model_on_real_recordings(score: CommandLine, tiny_en: Path, shared_data: Path) -> None:
    entries = [json.loads(line) for line in (shared_data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = {"audio/jfk.flac", "audio/ls-1089-134686-0001.flac", "audio/noise-2.flac"}
    entries = [one | {"file": str(shared_data / one["file"])} for one in entries if one["file"] in wanted]
    jfk = next(one for one in entries if one["file"].endswith("jfk.flac"))
    part = {"audio_filepath": jfk["file"], "text": "ask what you can do for your country", "offset": 7.9, "lang": "en"}
    score.lines("m.jsonl", *entries, part)
    done = score("--manifest", "m.jsonl", "--model", str(tiny_en), "--side", "cpu:float32", "--offline", "--json", "-q")
    assert done.code == 0, done.err
    found = done.object
    rates = {Path(one["id"]).name: (one["errors"], one["length"]) for one in found["clips"]}
    assert rates == {
        "jfk.flac": (0, 22), "jfk.flac@7.9": (0, 8), "ls-1089-134686-0001.flac": (2, 8), "noise-2.flac": (0, 0),
    }  # fmt: skip
    assert found["totals"][0]["wer"] == 2 / 38
    assert found["silent"] == {"clips": 1, "clips_with_words": 0, "invented": 0, "seconds": 5.0}


def test_a_model_that_joins_no_windows_hears_each_clip_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published MedASR, on a folder with random weights."""
    pytest.importorskip("transformers")
    folder = small_folder(tmp_path / "lasr")
    lines = []
    for number, seconds in enumerate((2.0, 25.0)):
        soundfile.write(tmp_path / f"{number}.wav", noise(seconds, number).samples, 16_000)
        lines.append(json.dumps({"audio_filepath": f"{number}.wav", "text": "nothing"}))
    (tmp_path / "m.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = []
    for side in ("transformers/cpu:float32", "cpu:float32"):
        command = ["score", "--manifest", str(tmp_path / "m.jsonl"), "--model", str(folder), "--side", side, "--json"]
        assert main([*command, "--no-vad", "-q"]) == 0
        clips = json.loads(capsys.readouterr().out)["clips"]
        found.append({clip["id"]: clip["hypothesis"] for clip in clips})
    (short,) = (name for name in found[0] if "0" in name)
    assert found[0][short] == found[1][short]
    assert all(found[0].values())
