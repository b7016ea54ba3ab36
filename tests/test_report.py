"""The adaptation report: all of one run, in two languages, with scripts that work, and nothing that was not run."""

from __future__ import annotations

import json
import re
import runpy
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from lasr_folders import noise, small_folder
from voxport.cli import main
from voxport.errors import UsageError
from voxport.report import Measurements, make_report
from voxport.report.content import content_of
from voxport.report.figures import NAMES
from voxport.report.language import LANGUAGES, language

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("models") / "little-medasr")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("smith")
    names = []
    for number, seconds in enumerate((3.1, 1.4)):
        names.append(str(place / f"clip {number}.wav"))
        soundfile.write(names[-1], noise(seconds, number).samples, 16_000, subtype="FLOAT")
    manifest = "".join(
        json.dumps({"audio_filepath": name, "text": "the heart is not enlarged", "lang": "en"}) + "\n" for name in names
    )
    (place / "manifest.jsonl").write_text(manifest, encoding="utf-8")
    return names


@pytest.fixture(scope="module")
def made(folder: Path, clips: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("out") / "report"
    command = ["report", "--model", str(folder), "--candidate", "cpu:bfloat16", "-o", str(place), "-q", *clips]
    policy = place.parent / "any.toml"
    policy.write_text('[limits]\n"logits.relative_l2" = 0.5\n', encoding="utf-8")
    manifest = str(clips[0]).replace("clip 0.wav", "manifest.jsonl")
    assert main([*command, "--iterations", "2", "--warmup", "0", "--policy", str(policy), "--manifest", manifest]) == 0
    return place


def test_what_is_in_the_folder(made: Path) -> None:
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert files == {
        "README.md", "README.zh.md", "report.html", "inference.py", "benchmark.py", "accuracy.py", "any.toml",
        "results/summary.json", "results/environment.json", "results/verify.json", "results/bench.json",
        "results/score.json", "results/memory.json", "results/files.json",
        *(f"figures/{name}{suffix}.svg" for name in NAMES for suffix in ("", ".zh")),
        "logs/inference_cpu.log", "logs/benchmark_cpu.log", "logs/accuracy_cpu.log",
    }  # fmt: skip
    for code in LANGUAGES:
        text = (made / ("README.md" if code == "en" else "README.zh.md")).read_text(encoding="utf-8")
        assert not re.search(r"\{[a-z_]+\}|\{\{|None\b", text), "something was not filled in"
        for path in files - {"README.md", "README.zh.md"}:
            assert f"`{path}`" in text


def test_nothing_tells_where_it_was_made(made: Path, folder: Path, clips: list[str]) -> None:
    for path in made.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "smith" not in text, path
            assert str(folder.parent) not in text, path


def test_figures_are_those_of_the_run(made: Path) -> None:
    verify = json.loads((made / "results/verify.json").read_text(encoding="utf-8"))
    bench = json.loads((made / "results/bench.json").read_text(encoding="utf-8"))
    score = json.loads((made / "results/score.json").read_text(encoding="utf-8"))
    text = (made / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|", text, re.M))
    worst = max(window["logits"]["max_abs"] for window in verify["windows"])
    assert float(rows["max absolute error (logits)"]) == pytest.approx(worst, rel=1e-3)
    mean = bench["sides"][0]["scopes"]["model"]["latency"]["mean"] * 1e3
    assert float(rows["model only: mean"]) == pytest.approx(mean, rel=1e-3)
    rate = score["candidate"]["totals"][0]
    assert rows["WER"].startswith(f"{rate['rate']:.2%}")
    log = (made / "logs/accuracy_cpu.log").read_text(encoding="utf-8")
    assert f"Max probability difference: {verify['windows'][0]['probabilities']['max_probability']:.4%}" in log
    assert log.endswith("Result: PASS (any)\n")


def test_the_first_lines_say_what_must_be_known(made: Path) -> None:
    english = (made / "README.md").read_text(encoding="utf-8")
    chinese = (made / "README.zh.md").read_text(encoding="utf-8")
    assert (
        english.index("Random weights:") < english.index("## What was not measured") < english.index("## Environment")
    )
    assert chinese.index("随机权重") < chinese.index("## 未测量的内容")
    assert "`npu` was not used: torch_npu is not installed" in english
    assert "hardware:" not in english


def test_where_the_weights_come_from(made: Path, tmp_path: Path) -> None:
    measured = Measurements.read(made / "results")
    assert "voxport models import --random medasr little-medasr" in (made / "README.md").read_text(encoding="utf-8")
    for changes, line in (
        ({"random_weights": False}, "voxport models show little-medasr"),
        ({"sources": {"modelscope": "google/medasr"}}, "modelscope download --model google/medasr --local_dir"),
    ):
        model = {**measured.summary["model"], **changes}
        make_report(replace(measured, summary={**measured.summary, "model": model}), tmp_path, with_figures=False)
        assert line in (tmp_path / "README.md").read_text(encoding="utf-8")
        assert line in (tmp_path / "report.html").read_text(encoding="utf-8")


def changed(measured: Measurements, **candidate: Any) -> Measurements:
    """As if the candidate had been another."""
    sides = [{**measured.bench["sides"][0], **candidate}, measured.bench["sides"][1]]
    verify = {**measured.verify, "candidate": {**measured.verify["candidate"], **candidate}}
    return replace(measured, bench={**measured.bench, "sides": sides}, verify=verify)


def test_one_call_has_no_standard_deviation(made: Path, tmp_path: Path) -> None:
    measured = Measurements.read(made / "results")
    for side in measured.bench["sides"]:
        for scope in side["scopes"].values():
            scope["latency"]["std"] = None
    rows = {row.key: row.cells for row in content_of(measured).performance}
    assert rows["model.std"] == rows["end_to_end.std"] == ("-", "-")
    assert "-" not in rows["model.mean"]
    make_report(measured, tmp_path)
    log = (tmp_path / "logs/benchmark_cpu.log").read_text(encoding="utf-8")
    assert len(re.findall(r"P99 \d+\.\d\d ms, std -$", log, re.MULTILINE)) == 4


def test_hardware_is_named_only_where_it_is(made: Path, tmp_path: Path) -> None:
    measured = Measurements.read(made / "results")
    make_report(changed(measured, device="npu:1", simulated=None), tmp_path / "real")
    text = (tmp_path / "real/README.md").read_text(encoding="utf-8")
    assert "\nhardware: NPU\n" in text
    assert "\n- NPU\n" in text
    assert (tmp_path / "real/logs/accuracy_npu.log").exists()
    make_report(changed(measured, device="npu:1", simulated="Ascend910B4"), tmp_path / "simulated")
    text = (tmp_path / "simulated/README.md").read_text(encoding="utf-8")
    assert "hardware:" not in text
    assert "\n- NPU\n" not in text
    assert text.index("Simulated device:") < text.index("## What was not measured")
    assert "SIMULATED" in (tmp_path / "simulated/logs/benchmark_npu.log").read_text(encoding="utf-8")


def test_a_report_can_be_made_again_from_its_results(made: Path, tmp_path: Path) -> None:
    make_report(Measurements.read(made / "results"), tmp_path)
    for path in made.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(made)).read_bytes() == path.read_bytes(), path


def test_every_language_has_every_word() -> None:
    english = language("en").words
    for code in LANGUAGES:
        words = language(code).words
        assert {section: set(words[section]) for section in words} == {
            section: set(english[section]) for section in english
        }
        for section, entries in words.items():
            for key, text in entries.items():
                holes = sorted(re.findall(r"\{(\w+)\}", text))
                assert holes == sorted(re.findall(r"\{(\w+)\}", english[section][key])), (code, section, key)


def test_every_row_has_a_name(made: Path) -> None:
    content = content_of(Measurements.read(made / "results"))
    rows = language("en").words["rows"]
    for table in (content.environment, content.accuracy, content.performance, content.errors):
        assert table
        assert [row.key for row in table if row.key not in rows] == []


@pytest.mark.parametrize(
    ("script", "arguments", "code", "shown"),
    [
        ("inference.py", [], 0, ""),
        ("accuracy.py", ["--policy", "words", "--dtype", "float32"], 0, "PASS (words)"),
        ("benchmark.py", ["--warmup", "0", "--iterations", "1"], 0, "latency of a call, ms"),
        ("inference.py", ["--device", "npu"], 2, ""),
    ],
)
def test_the_scripts_work_as_they_are(
    made: Path, folder: Path, clips: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    script: str, arguments: list[str], code: int, shown: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", [script, "--model_path", str(folder), "--audio", clips[0], *arguments])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(made / script), run_name="__main__")
    assert done.value.code == code
    told = capsys.readouterr()
    assert shown in told.out
    if code:
        assert "torch_npu is not installed" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "-o", "out"], "report needs --candidate"),
        (["--candidate", "cpu", "a.wav"], "report needs a folder"),
        (["--candidate", "cpu", "-o", "out"], "report needs recordings"),
        (["--candidate", "cpu", "-o", "out", "absent.wav"], "absent.wav"),
        (["--candidate", "cpu", "-o", "out", "--policy", "no", "a.wav"], "no policy 'no'"),
        (["--candidate", "cpu", "-o", "out", "-"], "standard input only once"),
        (["--candidate", "cpu", "-o", "out", "--points", "5,1", "a.wav"], "at least two points, ascending"),
        (["--candidate", "cpu", "-o", "out", "--points", "one", "a.wav"], "--points can't be 'one'"),
        (["--candidate", "cpu", "-o", "out", "--points", "1,5", "--no-sweep", "a.wav"], "--no-sweep leaves out"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_are_no_results(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"summary.json is missing"):
        Measurements.read(tmp_path)
    Measurements.read(made / "results").write(tmp_path)
    (tmp_path / "summary.json").write_text('{"schema": 99}', encoding="utf-8")
    with pytest.raises(UsageError, match="results of version 99"):
        Measurements.read(tmp_path)
    (tmp_path / "summary.json").write_text("[", encoding="utf-8")
    with pytest.raises(UsageError, match="can't be read"):
        Measurements.read(tmp_path)
