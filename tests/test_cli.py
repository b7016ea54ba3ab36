"""The command line as a whole: help, exit codes, spelling, start-up; and the pieces that subcommands share."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import types

import pytest

from voxport.cli import COMMANDS, build_parser, main
from voxport.cli.parser import CommandParser, integer_from
from voxport.cli.progress import Progress, clock, speed
from voxport.errors import OutputError, UsageError
from voxport.version import __version__


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voxport", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a wrong call says on standard error."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    return captured.err


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: voxport COMMAND")
    assert "exit codes:" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: voxport {command}")


def test_help_is_at_most_100_columns_and_names_each_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for arguments in ([], ["transcribe", "-h"], ["score", "-h"]):
        assert main(arguments) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
    main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"\n    {command} " in listed for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"voxport {__version__}\n"


def test_help_and_mistakes_load_nothing_heavy() -> None:
    heavy = ("torch", "av", "soxr", "tokenizers", "huggingface_hub", "safetensors", "tqdm")
    program = (
        "import sys\nfrom voxport.cli import main\n"
        "codes = [main([]), main(['transcribe', '-h']), main(['transcribe', '--threads', '-1', 'x.wav'])]\n"
        f"print(codes, [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[0, 0, 2] []"


def test_module_and_exit_code() -> None:
    done = run("transcribe")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: INPUT is missing\nhint: usage: voxport transcribe INPUT... [options]; `--help` tells more\n"
    )


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "transcibe", "a.wav") == (
        "error: unknown command 'transcibe'\nhint: did you mean transcribe?\n"
    )


def test_a_file_in_place_of_a_command(capsys: pytest.CaptureFixture[str], tmp_path: os.PathLike[str]) -> None:
    assert f"hint: to transcribe it: voxport transcribe {tmp_path}" in refused(capsys, str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["--modle", "x"], "unknown option '--modle'", "did you mean --model?"),
        (["-m", "x"], "unknown option '-m'", "did you mean --model or --max_line_width or"),
        (["--dtype", "float31"], "--dtype can't be 'float31'", "did you mean float32?"),
        (["--dtype", "int8"], "--dtype can't be 'int8'", "it can be: auto, float32, float16, bfloat16"),
        (["-f", "pdf"], "--output_format can't be 'pdf'", "it can be: txt, srt, vtt, tsv, json, all"),
        (["--threads", "-1"], "--threads can't be -1", "it must be at least 1"),
        (["--threads", "two"], "--threads can't be 'two'", "it is a whole number from 1 on"),
        (["--threads", "9" * 30], f"--threads can't be {'9' * 30}", "it must be at most 1024"),
        (["--batch_size", "0"], "--batch_size can't be 0", "it must be at least 1"),
        (["--batch-size", "1.5"], "--batch_size can't be '1.5'", "it is a whole number from 1 on"),
        (["--channels", "-1"], "--channels can't be '-1'", "mix = all as one"),
        (["--channels", "left"], "--channels can't be 'left'", "mix = all as one"),
        (["--task", "summarise"], "--task can't be 'summarise'", "it can be: transcribe, translate"),
        (["--threads"], "--threads needs a value", "`voxport transcribe --help`"),
        (["-f", "--json"], "-f needs a value", "`voxport transcribe --help`"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_right(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str
) -> None:
    said = refused(capsys, "transcribe", "a.wav", *arguments).splitlines()
    assert said[0] == f"error: {error}"
    assert said[1].startswith(f"hint: {hint}")


def test_options_are_spelled_with_underscores_or_dashes_and_stand_anywhere() -> None:
    parser = build_parser()
    one = parser.parse_args(["transcribe", "a.wav", "--output-dir", "out", "b.wav", "--batch-size=4", "--no_vad", "-"])
    two = parser.parse_args(["transcribe", "--output_dir=out", "--batch_size", "4", "--no-vad", "a.wav", "b.wav", "-"])
    assert vars(one) == vars(two)
    assert one.inputs == ["a.wav", "b.wav", "-"]
    assert (one.output_dir, one.batch_size, one.no_vad) == ("out", 4, True)


def test_after_two_dashes_everything_is_an_input() -> None:
    parsed = build_parser().parse_args(["transcribe", "-q", "--", "--output_dir", "-x.wav"])
    assert parsed.inputs == ["--output_dir", "-x.wav"]


def test_short_options_may_be_joined_to_each_other_and_to_their_value() -> None:
    parsed = build_parser().parse_args(["transcribe", "-qf", "srt", "a.wav", "-oout", "b.wav"])
    assert (parsed.quiet, parsed.output_format, parsed.output_dir) == (True, "srt", "out")
    assert parsed.inputs == ["a.wav", "b.wav"]


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown option '--out'" in refused(capsys, "transcribe", "a.wav", "--out", "x")


def test_the_options_are_the_agreed_ones() -> None:
    """Scripts rely on these: adding one is a decision, taking one away breaks somebody."""
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(subparsers.choices, dict)
    names = {name for action in subparsers.choices["transcribe"]._actions for name in action.option_strings}
    assert names == {
        "--model", "--device", "--dtype", "--language", "--language_detection_segments", "--task",
        "--output_format", "-f", "--output_dir", "-o",
        "--json", "--format_dictation", "--precision", "--graph", "--recipe", "--threads", "--batch_size", "--no-vad",
        "--channels", "--offline", "--source", "--quiet", "-q", "--help", "-h",
        "--max_line_width", "--max_line_count", "--max_words_per_line", "--highlight_words",
        "--beam_size", "--patience", "--length_penalty", "--best_of", "--temperature",
        "--temperature_increment_on_fallback", "--compression_ratio_threshold", "--logprob_threshold",
        "--no_speech_threshold", "--seed", "--initial_prompt", "--condition_on_previous_text", "--hotwords",
        "--hotword_weight",
        "--word_timestamps", "--prepend_punctuations", "--append_punctuations",
    }  # fmt: skip


def test_the_options_of_score_are_the_agreed_ones() -> None:
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(subparsers.choices, dict)
    names = {name for action in subparsers.choices["score"]._actions for name in action.option_strings}
    assert names == {
        "--manifest", "--data", "--text_key", "--language", "--where", "--limit", "--hyp", "--model", "--side",
        "--save_hyp", "--detect_language", "--no-vad", "--source", "--offline", "--normalizer", "--normaliser",
        "--unit", "--group_by", "--bootstrap", "--bootstrap_by", "--seed", "--worst", "--worst_by", "--json",
        "--fail_above", "--quiet", "-q", "--help", "-h",
    }  # fmt: skip


def test_defaults() -> None:
    parsed = vars(build_parser().parse_args(["transcribe", "a.wav"]))
    assert {name: parsed[name] for name in ("model", "device", "dtype", "language", "task", "channels")} == {
        "model": "whisper-base", "device": "auto", "dtype": "auto", "language": None, "task": "transcribe",
        "channels": "mix",
    }  # fmt: skip


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "voxport", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_behind_standard_output() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "voxport", "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == b"error: can't write to standard output: No space left on device\n"


def test_errors_are_coloured_on_a_terminal_unless_no_color(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["x"])
    assert capsys.readouterr().err.startswith("\x1b[1;31merror\x1b[0m: ")
    monkeypatch.setenv("NO_COLOR", "1")
    main(["x"])
    assert capsys.readouterr().err.startswith("error: ")


def test_an_error_decides_the_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise OutputError("can't write", hint="make room")

    monkeypatch.setattr("voxport.cli.transcribe.run", fail)
    assert main(["transcribe", "a.wav"]) == 1
    assert capsys.readouterr().err == "error: can't write\nhint: make room\n"


def test_ctrl_c_anywhere_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("voxport.cli.transcribe.run", interrupted)
    assert main(["transcribe", "a.wav"]) == 130
    assert capsys.readouterr().err == "interrupted: stopped on request\n"


def test_a_parser_of_its_own_refuses_what_is_left_over() -> None:
    parser = CommandParser(prog="tool")
    with pytest.raises(UsageError, match="unexpected argument 'b'"):
        parser.parse_args(["b"])


def test_integer_from() -> None:
    assert integer_from(0, "--n")("0") == 0
    with pytest.raises(UsageError, match="--n can't be -1"):
        integer_from(0, "--n")("-1")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723.2, "1:02:03"), (36_000, "10:00:00")]
)
def test_clock(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


def test_speed() -> None:
    assert speed(60, 4) == "15.0x real time"
    assert speed(0, 4) == speed(4, 0) == ""


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True

    def said(self) -> str:
        """What was written since this was asked last."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def terminal_in(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal of 60 columns, and each look at the clock a second later than the last."""
    seconds = itertools.count()
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("voxport.cli.progress.time", types.SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_in(monkeypatch)
    progress = Progress()
    progress.begin("talk.mp3")
    terminal.said()
    progress.update(30.0, 120.0)
    line = "talk.mp3  0:30 of 2:00  25 %  15.0x real time  0:06 left"
    assert terminal.said() == f"\r{line}\r"
    progress.clear()
    assert terminal.said() == "\r" + " " * len(line) + "\r"
    progress.clear()
    assert terminal.said() == ""


def test_progress_without_a_known_length_and_too_long_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_in(monkeypatch)
    progress = Progress()
    progress.begin("x" * 200)
    assert terminal.said() == "\r" + "x" * 59 + "\r"
    progress = Progress()
    progress.begin("a.ogg")
    terminal.said()
    progress.update(30.0, None)
    assert terminal.said() == "\ra.ogg  0:30  15.0x real time\r"


def test_quiet_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_in(monkeypatch)
    progress = Progress(enabled=False)
    progress.begin("talk.mp3")
    progress.update(1.0, 2.0)
    progress.clear()
    assert terminal.said() == ""


def test_no_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.begin("talk.mp3")
    progress.update(1.0, 2.0)
    progress.clear()
    assert capsys.readouterr().err == ""


def test_actions_of_a_command_follow_the_same_rules(capsys: pytest.CaptureFixture[str]) -> None:
    parsed = build_parser().parse_args(["models", "pull", "--local_dir", "weights", "openai/whisper-tiny", "-q"])
    assert (parsed.name, str(parsed.directory), parsed.quiet) == ("openai/whisper-tiny", "weights", True)
    assert "did you mean pull?" in refused(capsys, "models", "pul", "whisper-tiny")
    assert "usage: voxport models show NAME [options]" in refused(capsys, "models", "show")
