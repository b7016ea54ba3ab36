"""``voxport transcribe``: what goes in, where results go, what is said when things go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fake_pipeline
from voxport.cli import main

FAKE = Path(fake_pipeline.__file__)


class Captured:
    """Exit code and what was written."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """``voxport transcribe`` over the fake pipeline, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def record(self, name: str, *segments: object, **script: object) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"segments": segments, **script}), encoding="utf-8")
        return name

    def __call__(self, *arguments: str) -> Captured:
        code = main(["transcribe", *arguments])
        return Captured(code, *self._capsys.readouterr())

    def files(self, folder: str = "out") -> dict[str, str]:
        found = sorted((self.folder / folder).rglob("*"))
        return {path.name: path.read_text(encoding="utf-8") for path in found if path.is_file()}


@pytest.fixture
def voxport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    fake_pipeline.install(monkeypatch.setattr)
    return CommandLine(tmp_path, capsys)


HELLO = [0.0, 1.5, " Hello"]
WORLD = [1.5, 2.0, " world."]


# Where results go.


def test_words_go_to_standard_output_and_the_summary_to_standard_error(voxport: CommandLine) -> None:
    done = voxport(voxport.record("talk.wav", HELLO, WORLD))
    assert (done.code, done.out) == (0, "Hello\nworld.\n")
    assert done.err.startswith("done: 0:11 of audio in 0.0 s")
    assert done.err.endswith("x real time, whisper-base on cpu in float32\n")


def test_quiet_says_nothing(voxport: CommandLine) -> None:
    assert voxport("-q", voxport.record("talk.wav", HELLO)).err == ""


@pytest.mark.parametrize(
    ("output_format", "expected"),
    [
        ("txt", "Hello\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,500\nHello\n\n"),
        ("vtt", "WEBVTT\n\n00:00.000 --> 00:01.500\nHello\n\n"),
        ("tsv", "start\tend\ttext\n0\t1500\tHello\n"),
    ],
)
def test_a_stream_and_a_file_of_one_format_are_the_same(
    voxport: CommandLine, output_format: str, expected: str
) -> None:
    voxport.record("talk.wav", HELLO)
    assert voxport("talk.wav", "-f", output_format).out == expected
    done = voxport("talk.wav", "-f", output_format, "-o", "out")
    assert (done.code, done.out) == (0, "")
    assert voxport.files() == {f"talk.{output_format}": expected}


def test_no_speech_is_no_error_and_gives_empty_files(voxport: CommandLine) -> None:
    assert voxport(voxport.record("silence.wav"), "-f", "all", "-o", "out").code == 0
    files = voxport.files()
    assert {name: files[name] for name in sorted(files) if name != "silence.json"} == {
        "silence.srt": "", "silence.tsv": "start\tend\ttext\n", "silence.txt": "", "silence.vtt": "WEBVTT\n\n",
    }  # fmt: skip
    assert json.loads(files["silence.json"])["text"] == ""
    assert voxport("silence.wav").out == ""


def test_all_writes_every_format_and_they_agree(voxport: CommandLine) -> None:
    assert voxport(voxport.record("talk.wav", HELLO, WORLD), "-f", "all", "-o", "a/new/folder").code == 0
    files = voxport.files("a/new/folder")
    assert sorted(files) == ["talk.json", "talk.srt", "talk.tsv", "talk.txt", "talk.vtt"]
    assert json.loads(files["talk.json"])["text"].split() == files["talk.txt"].split() == ["Hello", "world."]


def test_json_is_one_line_for_each_input_in_order_failed_ones_too(voxport: CommandLine) -> None:
    voxport.record("a.wav", HELLO)
    voxport.record("c.wav", WORLD)
    (voxport.folder / "b.wav").write_text("no recording")
    done = voxport("--json", "a.wav", "missing.wav", "b.wav", "c.wav")
    assert done.code == 1
    assert [one["file"] for one in done.objects] == ["a.wav", "missing.wav", "b.wav", "c.wav"]
    assert [one["schema"] for one in done.objects] == [1, 1, 1, 1]
    assert [one.get("text") for one in done.objects] == ["Hello", None, None, "world."]
    assert done.objects[2] == {
        "schema": 1,
        "file": "b.wav",
        "error": {"code": "audio_corrupt", "message": "this is no recording", "hint": "check the file"},
    }
    assert done.objects[1]["error"]["code"] == "audio_not_found"
    assert "error: b.wav: this is no recording\nhint: check the file\n" in done.err


def test_json_and_f_json_are_the_same(voxport: CommandLine) -> None:
    voxport.record("a.wav", HELLO)
    voxport.record("b.wav", WORLD)
    lines = voxport("--json", "a.wav", "b.wav").out
    assert voxport("-f", "json", "a.wav", "b.wav").out == lines
    assert voxport("-f", "json", "--json", "a.wav", "b.wav").out == lines
    assert voxport("-f", "json", "a.wav", "b.wav", "-o", "out").out == ""
    files = voxport.files()
    assert files["a.json"] + files["b.json"] == lines


def test_json_lines_beside_files(voxport: CommandLine) -> None:
    done = voxport("--json", "-o", "out", "-f", "srt", voxport.record("a.wav", HELLO))
    assert [one["text"] for one in done.objects] == ["Hello"]
    assert list(voxport.files()) == ["a.srt"]


def test_several_as_txt_are_parted_by_an_empty_line(voxport: CommandLine) -> None:
    inputs = [voxport.record("a.wav", HELLO, WORLD), voxport.record("b.wav"), voxport.record("c.wav", HELLO)]
    done = voxport(*inputs)
    assert done.out == "Hello\nworld.\n\nHello\n"
    assert done.err.startswith("done: 3 of 3 recordings, 0:33 of audio")


def test_several_as_tsv_name_their_file(voxport: CommandLine) -> None:
    done = voxport("-f", "tsv", voxport.record("a.wav", HELLO), voxport.record("b.wav", WORLD))
    assert done.out == "file\tstart\tend\ttext\na.wav\t0\t1500\tHello\nb.wav\t1500\t2000\tworld.\n"


def test_split_channels_are_marked(voxport: CommandLine) -> None:
    voxport.record("call.wav", [0, 1, " Hello", {"channel": 0}], [1, 2, " Hi", {"channel": 1}])
    assert voxport("call.wav", "--channels", "split").out == "[channel 0] Hello\n[channel 1] Hi\n"
    voxport("call.wav", "--channels", "split", "-o", "out")
    assert voxport.files() == {"call.txt": "[channel 0] Hello\n[channel 1] Hi\n"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-f", "all", "a.wav"], "-f all makes several files"),
        (["-f", "srt", "a.wav", "b.wav"], "2 inputs don't go into one srt stream"),
        (["-f", "vtt", "."], "2 inputs don't go into one vtt stream"),
        (["--json", "-f", "srt", "a.wav"], "--json and -f srt can't both have standard output"),
        (["-o", "", "a.wav"], "the output folder is empty"),
        (["-o", "a.wav", "a.wav"], "'a.wav' is a file, not a folder"),
        (["-o", "a.wav/x", "a.wav"], "'a.wav' is a file, not a folder"),
        (["-o", "talk.srt", "a.wav"], "the output folder 'talk.srt' has the name of a file"),
        ([""], "an input is empty"),
        (["-", "-"], "standard input (-) is given twice"),
        (["--device", "tpu", "a.wav"], "unknown device 'tpu'"),
        (["--device", "cpu:7", "a.wav"], "device 'cpu:7' does not exist"),
        (["--language", "klingon", "a.wav"], "unknown language 'klingon'"),
        (["--model", "whisper-huge", "a.wav"], "no model is called 'whisper-huge'"),
        (["--max_line_width", "42", "a.wav"], "txt has no subtitles for --max_line_width"),
        (["--json", "--max_line_width", "20", "a.wav"], "json has no subtitles for --max_line_width"),
        (["--json", "-o", "out", "--max_line_width", "20", "a.wav"], "txt has no subtitles for --max_line_width"),
        (["-f", "json", "--highlight_words", "a.wav"], "json has no subtitles for --highlight_words"),
        (["-f", "srt", "--max_line_width", "0", "a.wav"], "--max_line_width can't be 0"),
        (["-f", "srt", "--max_line_count", "x", "a.wav"], "--max_line_count can't be 'x'"),
        (["-f", "srt", "--max_line_count", "2", "a.wav"], "max_line_count does nothing without max_line_width"),
        (
            ["-f", "vtt", "--max_words_per_line", "2", "--max_line_width", "9", "a.wav"],
            "max_words_per_line and max_line",
        ),
        (["-f", "vtt", "--highlight_words", "--model", "wordless", "a.wav"], "wordless gives no times of words"),
        (
            ["-f", "all", "-o", "out", "--max_words_per_line", "3", "--model", "wordless", "a.wav"],
            "wordless gives no times of words",
        ),
        (["--word_timestamps", "--model", "wordless", "a.wav"], "wordless gives no times of words"),
        (["-f", "srt", "--highlight_words", "--format_dictation", "a.wav"], "the words of a formatted report have no"),
    ],
)
def test_usage_errors_come_before_any_work(
    voxport: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: str
) -> None:
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123
    voxport.record("a.wav", HELLO)
    voxport.record("b.wav", HELLO)
    done = voxport(*arguments)
    sys.stdin.close()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {error}")
    assert "\nhint: " in done.err


# Lines of subtitles.


def test_subtitle_lines_in_a_stream_and_in_files(voxport: CommandLine) -> None:
    voxport.record("a.wav", HELLO, [2.0, 4.0, " one two three"])
    arguments = ["a.wav", "-f", "srt", "--max_line_width", "7", "--max-line-count", "1"]
    expected = (
        "1\n00:00:00,000 --> 00:00:01,500\nHello\n\n"
        "2\n00:00:02,000 --> 00:00:03,091\none two\n\n3\n00:00:03,091 --> 00:00:04,000\nthree\n\n"
    )
    assert voxport(*arguments).out == expected
    voxport(*arguments, "-o", "out")
    assert voxport.files() == {"a.srt": expected}
    voxport("a.wav", "-f", "all", "-o", "all", "--max_line_width", "7")
    files = voxport.files("all")
    assert files["a.txt"] == "Hello\none two three\n"
    assert files["a.vtt"].endswith("one two\nthree\n\n")


def test_words_are_underlined_where_the_model_gives_their_times(voxport: CommandLine) -> None:
    words = [[" one", 2.0, 2.5], [" two", 2.5, 3.0]]
    voxport.record("a.wav", [2.0, 3.0, " one two", {"words": words}])
    done = voxport("a.wav", "-f", "vtt", "--highlight_words", "--model", "medasr")
    assert (done.code, done.out) == (
        0,
        "WEBVTT\n\n00:02.000 --> 00:02.500\n<u>one</u> two\n\n00:02.500 --> 00:03.000\none <u>two</u>\n\n",
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-f", "vtt", "--highlight_words"], "00:02.000 --> 00:02.500\n<u>one</u> two\n\n"),
        (["-f", "srt", "--max_words_per_line", "1"], "1\n00:00:02,000 --> 00:00:02,500\none\n\n"),
    ],
)
def test_what_needs_words_asks_for_them(voxport: CommandLine, options: list[str], expected: str) -> None:
    voxport.record("a.wav", [2.0, 3.0, " one two"])
    done = voxport("a.wav", *options)
    assert done.code == 0
    assert expected in done.out


def test_words_in_json(voxport: CommandLine) -> None:
    voxport.record("a.wav", [2.0, 3.0, " one two"])
    (segment,) = json.loads(voxport("a.wav", "--json", "--word_timestamps").out)["segments"]
    assert segment["words"][1] == {"word": " two", "start": 2.5, "end": 3.0, "probability": 0.5}
    (segment,) = json.loads(voxport("a.wav", "--json").out)["segments"]
    assert segment["words"] is None


def test_what_was_heard_before_a_failure_is_printed_whole(voxport: CommandLine) -> None:
    words = [[" one", 2.0, 2.5], [" two", 2.5, 3.0]]
    voxport.record("a.wav", [2.0, 3.0, " one two", {"words": words}], then="corrupt")
    done = voxport("a.wav", "-f", "srt", "--max_line_width", "40", "--max_line_count", "2")
    assert (done.code, done.out) == (1, "1\n00:00:02,000 --> 00:00:03,000\none two\n\n")


# One bad file beside good ones.


def test_a_bad_file_does_not_stop_the_good_ones(voxport: CommandLine) -> None:
    inputs = [voxport.record("a.wav", HELLO), voxport.record("b.wav", then="corrupt"), voxport.record("c.wav", WORLD)]
    done = voxport(*inputs, "-o", "out")
    assert done.code == 1
    assert voxport.files() == {"a.txt": "Hello\n", "c.txt": "world.\n"}
    assert "error: b.wav: the rest is damaged\nhint: check the file\n" in done.err
    assert "done: 2 of 3 recordings" in done.err


def test_all_bad_is_1_and_loads_no_model(voxport: CommandLine) -> None:
    done = voxport("missing.wav", "gone.wav", "--model", "whisper-huge")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("error: ") == 2


def test_failing_half_way_writes_no_file(voxport: CommandLine) -> None:
    assert voxport(voxport.record("a.wav", HELLO, then="corrupt"), "-o", "out").code == 1
    assert not (voxport.folder / "out").exists()


def test_an_error_about_the_whole_run_ends_it(voxport: CommandLine) -> None:
    inputs = [voxport.record("a.wav", HELLO), voxport.record("b.wav", then="usage"), voxport.record("c.wav", WORLD)]
    done = voxport(*inputs)
    assert (done.code, done.out) == (2, "Hello\n")
    assert done.err == (
        "stopped: 1 of 3 recordings are done\nerror: whisper-tiny.en knows no French\nhint: use whisper-base\n"
    )


def test_warnings_and_flags_are_told_even_when_quiet(voxport: CommandLine) -> None:
    voxport.record("a.wav", [0, 1, " so so so", {"flags": ["repetition"]}], warnings=["its end is missing"])
    done = voxport("-q", "a.wav")
    assert done.code == 0
    assert done.err == "warning: a.wav: its end is missing\nwarning: a.wav: 1 segment is flagged: repetition\n"


# What goes in.


def test_standard_input(voxport: CommandLine) -> None:
    script = json.dumps({"segments": [HELLO]})
    done = subprocess.run(
        [sys.executable, str(FAKE), "transcribe", "-", "--json", "-o", "out"],
        input=script, capture_output=True, text=True, check=False, timeout=60, cwd=voxport.folder,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["file"] == "-"
    assert voxport.files() == {"stdin.txt": "Hello\n"}


def test_a_file_name_that_is_no_utf_8(voxport: CommandLine) -> None:
    raw = b"caf\xe9.wav"
    name = os.fsdecode(raw)
    try:
        voxport.record(name, HELLO)
    except OSError:
        pytest.skip("this file system takes no such name")
    done = voxport("--json", name, "-o", "out")
    assert done.code == 0
    assert done.objects[0]["file"] == name
    assert [os.fsencode(path.name) for path in (voxport.folder / "out").iterdir()] == [b"caf\xe9.txt"]


def test_inputs_of_one_name_do_not_overwrite_each_other(voxport: CommandLine) -> None:
    voxport(voxport.record("a/x.wav", HELLO), voxport.record("b/x.wav", WORLD), "-o", "out")
    assert voxport.files() == {"a_x.txt": "Hello\n", "b_x.txt": "world.\n"}


def test_a_result_never_overwrites_an_input(voxport: CommandLine) -> None:
    voxport.record("out/talk.json", HELLO)
    before = (voxport.folder / "out/talk.json").read_text()
    voxport("out/talk.json", "-f", "json", "-o", "out")
    files = voxport.files()
    assert files["talk.json"] == before
    assert json.loads(files["talk-2.json"])["text"] == "Hello"


def test_a_full_disk_leaves_nothing_half_written(voxport: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [voxport.record(f"{name}.wav", HELLO) for name in "abc"]
    synced: list[int] = []

    def fill_up(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxport.writing.os.fsync", fill_up)
    done = voxport(*inputs, "-o", "out")
    assert done.code == 1
    assert done.err == (
        "stopped: 1 of 3 recordings are done\n"
        "error: can't write 'out/b.txt': No space left on device\n"
        "hint: the disk is full: make room, or choose another place\n"
    )
    assert voxport.files() == {"a.txt": "Hello\n"}


def test_no_permission_is_said_before_any_work(voxport: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the system's answer is changed, not the rights.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    done = voxport(voxport.record("a.wav", HELLO), "-o", "out/deep", "--model", "whisper-huge")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: can't write 'out/deep': Permission denied\nhint: no permission to write there: choose another place\n"
    )


# Interrupted, and readers who leave.


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(FAKE), "transcribe", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_text_stays_and_is_130(voxport: CommandLine, number: int) -> None:
    inputs = [voxport.record("a.wav", HELLO), voxport.record("b.wav", WORLD, then="hang"), voxport.record("c.wav")]
    process = start(voxport.folder, *inputs)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["Hello\n", "\n", "world.\n"]  # b hangs now
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[0] == (
        "interrupted: 1 of 3 recordings are done, b.wav was at 0:02 of 0:11; kept: what is printed above"
    )


def test_interrupted_files_are_kept_the_unfinished_one_under_a_name_that_says_so(voxport: CommandLine) -> None:
    inputs = [voxport.record("a.wav", HELLO), voxport.record("b.wav", HELLO, WORLD, then="hang")]
    process = start(voxport.folder, *inputs, "-o", "out", "-f", "srt", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    while not (voxport.folder / "hanging").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    second = json.loads(out)
    assert process.returncode == 130
    assert (first["file"], first["text"]) == ("a.wav", "Hello")
    assert (second["file"], second["text"], second["error"]["code"]) == ("b.wav", "Hello world.", "interrupted")
    files = voxport.files()
    assert sorted(files) == ["a.srt", "b.partial.srt"]
    assert files["b.partial.srt"].splitlines()[2::4] == ["Hello", "world."]
    assert err == (
        "interrupted: 1 of 2 recordings are done, b.wav was at 0:02 of 0:11; "
        "kept: out/b.partial.srt and its JSON object\n"
    )


def test_a_signal_while_a_result_is_kept_waits(voxport: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [voxport.record("a.wav", HELLO), voxport.record("b.wav", WORLD)]

    def disturb(_: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("voxport.writing.os.fsync", disturb)
    done = voxport(*inputs, "-o", "out", "--json")
    assert done.code == 130
    assert [one["text"] for one in done.objects] == ["Hello"]
    assert voxport.files() == {"a.txt": "Hello\n"}
    assert done.err == "interrupted: 1 of 2 recordings are done\n"


def test_an_interrupted_recording_without_a_word_writes_nothing(
    voxport: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fake_pipeline.time.sleep", interrupted)
    done = voxport(voxport.record("a.wav", then="hang"), "-o", "out")
    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted: stopped on request, a.wav was at 0:00 of 0:11\n"
    assert not (voxport.folder / "out").exists()


def test_a_partial_result_takes_nobodys_name(voxport: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fake_pipeline.time.sleep", interrupted)
    done = voxport(voxport.record("a.partial.wav", HELLO), voxport.record("a.wav", WORLD, then="hang"), "-o", "out")
    assert done.code == 130
    assert voxport.files() == {"a.partial.txt": "Hello\n", "a.partial-2.txt": "world.\n"}


def test_a_reader_who_leaves_is_no_error(voxport: CommandLine) -> None:
    process = start(voxport.folder, voxport.record("a.wav", *[HELLO] * 20_000))
    assert process.stdout is not None
    assert process.stdout.readline() == "Hello\n"
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 141


# With genuine weights.


def test_a_real_recording(tiny_en: Path, jfk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(jfk), "--model", str(tiny_en), "--offline", "-q"]) == 0
    captured = capsys.readouterr()
    assert "fellow americans" in captured.out.lower()
    assert captured.err == ""


def test_a_real_recording_as_json(tiny_en: Path, jfk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"no recording")
    arguments = ["--json", "-o", str(tmp_path / "out"), "-f", "all", "--model", str(tiny_en), "--offline"]
    assert main(["transcribe", str(broken), str(jfk), *arguments]) == 1
    failed, done = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert failed["file"] == str(broken)
    assert failed["error"]["code"].startswith("audio_")
    assert done["file"] == str(jfk)
    assert done["language"] == "en"
    assert done["duration"] == pytest.approx(11.0, abs=0.01)
    assert json.loads((tmp_path / "out" / f"{jfk.stem}.json").read_text()) == done
    text = (tmp_path / "out" / f"{jfk.stem}.txt").read_text()
    assert text.split() == done["text"].split()
    assert (tmp_path / "out" / f"{jfk.stem}.vtt").read_text().startswith("WEBVTT\n\n00:0")


# Which language it is.


FRENCH = [[{"fr": 0.976, "en": 0.024}, 20.0]]


def test_the_detected_language_is_told_once(voxport: CommandLine) -> None:
    done = voxport(voxport.record("talk.wav", HELLO, WORLD, detected=FRENCH))
    assert done.err.splitlines()[0] == "language: French (98 %, from 1 window)"
    assert done.err.count("language") == 1
    assert done.out == "Hello\nworld.\n"


def test_a_second_language_is_told_with_what_to_do(voxport: CommandLine) -> None:
    two = [[{"fr": 0.99, "en": 0.01}, 30.0], [{"fr": 0.02, "en": 0.98}, 20.0]]
    done = voxport(voxport.record("talk.wav", HELLO, detected=two))
    assert done.err.splitlines()[0] == (
        "language: French (60 %, from 2 windows); English 40 %: if both are spoken, use --language auto-per-window"
    )
    unsure = [[{"fr": 0.6, "en": 0.4}, 1.0]]  # one window is in one language
    assert "English" not in voxport(voxport.record("short.wav", HELLO, detected=unsure)).err


def test_of_several_recordings_each_language_is_told_with_its_name(voxport: CommandLine) -> None:
    names = [voxport.record(f"{name}.wav", HELLO, detected=FRENCH) for name in ("a", "b")]
    lines = voxport(*names).err.splitlines()
    assert lines[:2] == [f"language: {name}: French (98 %, from 1 window)" for name in names]


def test_languages_of_windows_are_told_at_the_end(voxport: CommandLine) -> None:
    french = [2.0, 5.0, " Bonjour", {"language": "fr"}]
    segments = [[0.0, 1.5, " Hello", {"language": "en"}], french, [5.0, 5.5, " again", {"language": "en"}]]
    done = voxport("--language", "auto-per-window", voxport.record("talk.wav", *segments, detected=FRENCH))
    assert done.err.splitlines()[0] == "languages: French 60 %, English 40 % of the speech"
    assert "language:" not in done.err


def test_quiet_tells_no_language(voxport: CommandLine) -> None:
    recording = voxport.record("talk.wav", [0.0, 1.5, " Hello", {"language": "en"}], detected=FRENCH)
    for language in ("auto", "auto-per-window"):
        assert voxport("-q", "--language", language, recording).err == ""
