"""Private traces: what they hold and what not, that faithful sides pass, and what else is refused or fails."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from lasr_folders import change_weights, noise, small_folder
from voxport.cli import main
from voxport.sides import Side
from voxport.verify.outcome import SideFacts
from voxport.verify.private import PrivateOutcome, PrivateStage, PrivateWindow, Statistics, judge_private
from voxport.verify.private.trace import behind_tokens
from whisper_folders import random_folder

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")

SHAPE = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 128, "max_target_positions": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {"whisper": random_folder(place / "whisper", base, **SHAPE), "lasr": small_folder(place / "lasr")}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("john-smith-1953")
    names = []
    for number, seconds in enumerate((3.1, 1.4, 2.0)):
        names.append(str(place / f"patient-{number}.wav"))
        soundfile.write(names[-1], noise(seconds, number).samples, 16_000, subtype="FLOAT")
    return names


@pytest.fixture(scope="module")
def traces(folders: dict[str, Path], clips: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("traces")
    found = {}
    for family, folder in folders.items():
        found[family] = place / f"{family}.json"
        command = ["verify", "--model", str(folder), "--save", str(found[family]), "--private", "-q", *clips]
        assert main([*command, "--language", "en"]) == 0
    return found


def against(folder: Path, trace: Path, candidate: str, clips: list[str], *more: str) -> int:
    command = ["verify", "--model", str(folder), "--candidate", candidate, "--against", str(trace), "-q", *clips, *more]
    return main(command)


@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_what_it_holds(family: str, folders: dict[str, Path], clips: list[str], traces: dict[str, Path]) -> None:
    text = traces[family].read_text(encoding="utf-8")
    assert "john" not in text
    assert "patient" not in text
    assert str(folders[family]) not in text
    content = json.loads(text)
    assert set(content) == {"format", "version", "facts", "info", "options", "windows"}
    assert set(content["info"]) == {"family", "identity"}
    assert len(content["windows"]) == len(clips)
    for number, window in enumerate(content["windows"]):
        assert set(window) == {"samples", "tokens", "stages"}
        assert re.fullmatch(r"[0-9a-f]{64}", window["samples"])
        assert re.fullmatch(r"[0-9a-f]{64}", window["tokens"])
        assert bool(window["stages"]) == (number < 2)  # --look_at 2
        assert all(len(figures) == 5 for figures in window["stages"].values())
    # Nothing that could be computed of a sentence alone, or tells how many tokens it has.
    names = set(content["windows"][0]["stages"])
    hidden = behind_tokens(Side.parse("cpu:float32").load(str(folders[family])))
    assert names.isdisjoint(hidden)
    assert (family == "lasr") == (hidden == {"tokens"})
    assert "model.decoder.embed_tokens" not in names
    assert len({window["tokens"] for window in content["windows"]}) == len(clips)


def test_equal_words_of_other_recordings_have_other_hashes(folders: dict[str, Path], tmp_path: Path) -> None:
    """Whoever has no recording can't try out sentences."""
    for name, level in (("a", 0.0), ("b", 1e-9)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(32_000, level, np.float32), 16_000, subtype="FLOAT")
    command = ["verify", "--model", str(folders["lasr"]), "--private", "-q", "--look_at", "0"]
    assert main([*command, "--save", str(tmp_path / "t"), str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]) == 0
    windows = json.loads((tmp_path / "t").read_text(encoding="utf-8"))["windows"]
    assert windows[0]["tokens"] != windows[1]["tokens"]


@pytest.mark.parametrize(
    "candidate", ["cpu:float32", "transformers/cpu:float32+attention=sdpa", "cpu:float32+threads=1"]
)
@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_faithful_candidates_pass(
    family: str, candidate: str, folders: dict[str, Path], clips: list[str], traces: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert against(folders[family], traces[family], candidate, clips, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"]["policy"] == "private"
    assert all(window["same_tokens"] for window in found["windows"])
    assert [window["file"] for window in found["windows"]] == clips
    for window in found["windows"]:  # and nothing of the logits
        assert set(window) == {"file", "start", "seconds", "same_tokens", "stages", "failure"}
    names = [stage["name"] for stage in found["windows"][0]["stages"]]
    assert len(names) > 30
    assert ("model.encoder.layer_norm" if family == "whisper" else "ctc_head") in names


@pytest.mark.parametrize(
    ("family", "tensor", "change"),
    [
        ("lasr", "encoder.layers.1.feed_forward2.linear1.weight", lambda x: x * 1.02),
        ("lasr", "encoder.layers.0.self_attn.v_proj.weight", lambda x: x.roll(16, 0)),
        ("whisper", "model.encoder.layers.0.fc1.weight", lambda x: x * 1.02),
        ("whisper", "model.decoder.layers.1.encoder_attn.v_proj.weight", lambda x: x * 1.02),
    ],
)
def test_faults_fail(
    family: str, tensor: str, change: Any, folders: dict[str, Path], clips: list[str], traces: dict[str, Path],
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Other weights are refused by their hash, so the trace is told that they are the same."""
    other = small_folder(tmp_path / "x") if family == "lasr" else random_folder(tmp_path / "x", base, **SHAPE)

    def bend(tensors: dict[str, Any]) -> None:
        tensors[tensor] = change(tensors[tensor]).contiguous()

    change_weights(other, bend)
    assert against(other, traces[family], "cpu:float32", clips) == 2
    told = capsys.readouterr().err
    assert "was made with other weights" in told
    identity = re.search(r"not ([0-9a-f]{12})\)", told)
    assert identity is not None
    content = json.loads(traces[family].read_text(encoding="utf-8"))
    from voxport.models.identity import model_identity

    content["info"]["identity"] = model_identity(other)
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    assert against(other, tmp_path / "t.json", "cpu:float32", clips) == 1
    assert "FAIL (private)" in capsys.readouterr().out


def test_other_tokens_fail(
    folders: dict[str, Path], clips: list[str], traces: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    content = json.loads(traces["whisper"].read_text(encoding="utf-8"))
    content["windows"][0]["tokens"] = "0" * 64
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    assert against(folders["whisper"], tmp_path / "t.json", "cpu:float32", clips, "--json") == 1
    windows = json.loads(capsys.readouterr().out)["windows"]
    assert [window["same_tokens"] for window in windows] == [False, True, True]


def test_recordings_without_stages_are_compared_by_their_tokens(
    folders: dict[str, Path], clips: list[str], traces: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert against(folders["lasr"], traces["lasr"], "cpu:float32", clips[2:]) == 0
    shown = capsys.readouterr().out
    assert "only tokens are compared" in shown
    assert "difference of mean" not in shown


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_what_is_not_finite_fails_wherever_it_is(order: tuple[int, int]) -> None:
    fine = Statistics(10, 0, 0.0, 1.0, 2.0)
    windows = tuple(
        PrivateWindow(
            f"{count}.wav", 0.0, 1.0, True, (PrivateStage("a", "norm", fine, Statistics(10, count, 0.0, 1.0, 2.0)),)
        )
        for count in order
    )
    facts = SideFacts("cpu:float32", "voxport", "cpu", "float32", "0" * 64, {}, None, False)
    verdict = judge_private(PrivateOutcome("m", "whisper", facts, facts, windows))
    assert not verdict.ok
    (check,) = [check for check in verdict.checks if not check.ok]
    assert (check.value, check.where) == (1, "1.wav, a")


def test_what_is_refused(
    folders: dict[str, Path], clips: list[str], traces: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refused(*arguments: str) -> str:
        assert main(["verify", "--model", str(folders["lasr"]), "-q", *arguments]) == 2
        return capsys.readouterr().err

    strange = str(tmp_path / "strange.wav")
    soundfile.write(strange, noise(1.0, 77).samples, 16_000)
    trace = str(traces["lasr"])
    assert "is not in the trace" in refused("--candidate", "cpu", "--against", trace, strange)
    assert "one policy only" in refused("--candidate", "cpu", "--against", trace, "--policy", "exact", clips[0])
    assert "one policy only" in refused("--candidate", "cpu", "--against", trace, "--advise", "r.toml", clips[0])
    assert "heard one by one" in refused("--candidate", "cpu+batch=2", "--against", trace, clips[0])
    assert "decodes as its trace was made" in refused(
        "--candidate", "cpu", "--against", trace, "--language", "en", clips[0]
    )
    assert "what --save writes" in refused("--candidate", "cpu", "--private", clips[0])
    for text, message in (
        ("{", "is no trace"),
        ("{}", "is no trace"),
        ('{"format": "x", "version": 3}', "a x of version 3"),
    ):
        (tmp_path / "bad").write_text(text, encoding="utf-8")
        assert message in refused("--candidate", "cpu", "--against", str(tmp_path / "bad"), clips[0])


def test_statistics() -> None:
    values = np.array([[3.0, -4.0], [np.nan, np.inf]], np.float32)
    assert Statistics.of(values) == Statistics(4, 2, -0.5, float(f"{12.5**0.5:.9g}"), 4.0)
    assert Statistics.of(np.full(3, np.nan, np.float32)) == Statistics(3, 3, 0.0, 0.0, 0.0)
