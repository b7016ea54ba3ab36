"""The report of a Whisper model: its scripts work as they are, and its commands are ones that voxport takes."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from voxport.cli import build_parser, main
from voxport.errors import OutputError
from voxport.report import Measurements
from whisper_folders import SMALL_TEST, random_folder

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")

AS_WRITTEN = "a little model"
"""A folder with a space: what is written out must be quoted."""


@pytest.fixture(scope="module")
def made(tiny_en: Path, jfk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whisper report")
    model = random_folder(place / AS_WRITTEN, tiny_en, **{**SMALL_TEST, "vocab_size": 51_864})
    policy = place / "any.toml"
    policy.write_text('[limits]\n"logits.relative_l2" = 0.5\n', encoding="utf-8")
    manifest = place / "said.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": str(jfk), "text": "and so", "lang": "en"}) + "\n")
    command = ["report", "--model", str(model), "--candidate", "cpu:bfloat16", "-o", str(place / "report"), "-q"]
    effort = ["--iterations", "1", "--warmup", "0", "--no-sweep", "--no-figures", "--look_at", "1", "--language", "en"]
    assert main([*command, *effort, "--policy", str(policy), "--manifest", str(manifest), str(jfk)]) == 0
    return place / "report"


def test_the_commands_are_ones_that_voxport_takes(made: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (made / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    named = [words[1] for words in commands if words[0] == "voxport"]
    assert sorted(named) == ["bench", "models", "score", "score", "verify"]
    for words in commands:
        if words[0] == "voxport":
            parsed = build_parser().parse_args(words[1:])
            assert AS_WRITTEN in words
            assert parsed.command == words[1]
    scores = [words for words in commands if words[1] == "score"]
    assert [words[words.index("--side") + 1] for words in scores] == ["cpu:bfloat16", "transformers/cpu:float32"]


def test_what_was_measured_is_kept_where_no_report_can_be_made_of_it(
    made: Path, jfk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("voxport.report.measure", lambda *arguments, **options: Measurements.read(made / "results"))
    monkeypatch.setattr("voxport.report.make_report", fails)
    model = str(made.parent / AS_WRITTEN)
    command = ["report", "--model", model, "--candidate", "cpu", "-o", str(tmp_path / "out"), "--no-figures", str(jfk)]
    assert main(command) == OutputError("").exit_code
    told = capsys.readouterr().err
    assert "the disk is full" in told
    assert str(tmp_path / "out.measurements") in told
    assert Measurements.read(tmp_path / "out.measurements") == Measurements.read(made / "results")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "code", "shown"),
    [
        ("inference.py", ["--dtype", "float32"], 0, ""),
        ("accuracy_run.py", ["--policy", "words", "--dtype", "float32"], 0, "PASS (words)"),
        ("accuracy_run_perf.py", ["--warmup", "0", "--iterations", "1"], 0, "latency of a call, ms"),
        ("inference.py", ["--device", "npu"], 2, ""),
        ("accuracy_run.py", ["--device", "npu"], 2, ""),
        ("accuracy_run_perf.py", ["--device", "npu"], 2, ""),
        ("inference.py", ["--device", "auto"], 0, ""),
    ],
)
def test_the_scripts_work_as_they_are(
    made: Path, jfk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    script: str, arguments: list[str], code: int, shown: str,
) -> None:  # fmt: skip
    model = made.parent / AS_WRITTEN
    monkeypatch.chdir(made)  # where the policy lies that they name
    monkeypatch.setattr(sys, "argv", [script, str(jfk), "--model_path", str(model), *arguments])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(made / script), run_name="__main__")
    assert done.value.code == code
    told = capsys.readouterr()
    assert shown in told.out
    if code:
        assert "torch_npu is not installed" in told.err
        assert told.out == ""
    if arguments == ["--device", "auto"]:
        assert "cpu" in told.err
