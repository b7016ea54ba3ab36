"""verify: what is compared, what counts as the same, where an error is made, and what it looks like."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from lasr_folders import change_weights, noise, small_folder
from voxport.cli import main
from voxport.errors import DeviceError, UsageError
from voxport.sides import Side
from voxport.types import DecodingOptions
from voxport.verify import POLICIES, Comparison, Loaded, Outcome, Work, get_policy, windows_of
from voxport.verify.outcome import Difference, SideFacts, StageResult, WindowResult
from voxport.verify.text_edits import edit_distance, words

if TYPE_CHECKING:
    import torch

    from voxport.models import ASRModel

pytest.importorskip("transformers")

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("models") / "lasr")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("clips")
    names = []
    for number, seconds in enumerate((3.1, 1.4)):
        names.append(str(place / f"{number}.wav"))
        soundfile.write(names[-1], noise(seconds, number).samples, 16_000, subtype="FLOAT")
    return names


def compare(folder: Path, clips: list[str], reference: str, candidate: str, **work: Any) -> Outcome:
    loaded = [Loaded(side, side.load(str(folder))) for side in map(Side.parse, (reference, candidate))]
    return Comparison(loaded[0], loaded[1], Work(**work)).run(windows_of(clips, loaded[0].model))


# ------------------------------------------------------------------------------------------------- faithful candidates


@pytest.mark.parametrize(
    ("reference", "candidate", "policy"),
    [
        ("transformers/cpu:float32", "cpu:float32", "exact"),
        ("transformers/cpu:float32+attention=sdpa", "cpu:float32+threads=1", "exact"),
        ("transformers/cpu:float32", "transformers/cpu:float32+attention=sdpa", "exact"),
        ("cpu:float32", "cpu:float32+batch=2", "exact"),
        ("cpu:bfloat16", "transformers/cpu:bfloat16", "exact"),
        ("transformers/cpu:float32", "cpu:float32", "cann"),
        ("transformers/cpu:float32", "cpu:float32", "msprobe"),
        ("transformers/cpu:float32", "cpu:float32", "medasr-writeup"),
        ("transformers/cpu:float32", "cpu:float32", "words"),
    ],
)
def test_faithful_candidates_pass(folder: Path, clips: list[str], reference: str, candidate: str, policy: str) -> None:
    outcome = compare(folder, clips, reference, candidate)
    verdict = get_policy(policy).judge(outcome)
    assert verdict.ok, verdict.checks
    assert [window.file for window in outcome.windows] == clips
    assert all(window.stages for window in outcome.windows)
    assert outcome.total("token_edits")[1] > 10
    assert outcome.reference.random_weights
    assert outcome.candidate.identity == outcome.reference.identity


def test_whisper_passes(tiny_en: Path, jfk: Path) -> None:
    outcome = compare(tiny_en, [str(jfk)], "transformers/cpu:float32", "cpu:float32")
    for policy in ("exact", "words", "whisper-writeup", "cann", "msprobe"):
        verdict = get_policy(policy).judge(outcome)
        assert verdict.ok, verdict.checks
    (window,) = outcome.windows
    assert "ask not what your country" in window.text[1]
    assert window.word_edits == (0, 22)
    assert len(window.stages) == 3 + 4 * 12 + 1 + 1 + 4 * 19 + 2
    assert window.findings == ()
    assert window.features is not None
    assert window.features["max_abs"] < 1e-4


def test_other_precision_is_no_exact_comparison(folder: Path, clips: list[str]) -> None:
    outcome = compare(folder, clips[:1], "transformers/cpu:float32", "cpu:bfloat16")
    with pytest.raises(UsageError, match="compares sides of one dtype, not float32 and bfloat16"):
        get_policy("exact").judge(outcome)
    (window,) = outcome.windows
    assert window.logits is not None
    assert 1e-3 < window.logits["relative_l2"] < 0.1
    assert all(stage.made is not None and stage.made["relative_l2"] < 3e-2 for stage in window.stages)


# -------------------------------------------------------------------------------------------------------------- faults


def changed(folder: Path, tmp_path: Path, name: str, change: Any) -> Path:
    """The same model with another tensor."""
    other = small_folder(tmp_path / "other")

    def bend(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = change(tensors[name]).contiguous()

    change_weights(other, bend)
    return other


@pytest.mark.parametrize(
    ("tensor", "change", "module", "evidence"),
    [
        ("encoder.layers.1.feed_forward2.linear1.weight", lambda x: x * 1.02, "encoder.layers.1.feed_forward2.linear1",
         "the reference's times 1.02"),
        ("encoder.layers.0.self_attn.v_proj.weight", lambda x: x.roll(1, 0), "encoder.layers.0.self_attn.v_proj",
         "the same rows in another order"),
        ("encoder.subsampler.conv_1.weight", lambda x: x + 0.05, "encoder.subsampler.conv_1", "weight differs"),
        ("encoder.layers.1.conv.norm.running_mean", lambda x: x + 0.5, "encoder.layers.1.conv.norm",
         "running_mean differs"),
    ],
)  # fmt: skip
def test_wrong_weights_fail_and_are_named(
    folder: Path, clips: list[str], tmp_path: Path, tensor: str, change: Any, module: str, evidence: str
) -> None:
    other = changed(folder, tmp_path, tensor, change)
    outcome = compare(folder, clips[:1], "transformers/cpu:float32", f"cpu:float32@{other}")
    assert not get_policy("exact").judge(outcome).ok
    (window,) = outcome.windows
    assert [finding.module for finding in window.findings] == [module]
    assert window.findings[0].cause == "wrong weights"
    assert evidence in window.findings[0].evidence
    # What is passed on is told apart: later stages are off, and not blamed.
    later = [stage for stage in window.stages if stage.passed["relative_l2"] > 1e-4]
    assert len(later) > 1
    assert outcome.candidate.identity != outcome.reference.identity


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("verify_faults")


WHISPER_KINDS = ["weight_scaled", "heads_swapped", "norm_epsilon", "tanh_gelu", "hf32", "overflow", "mask",
                 "layer_skipped"]  # fmt: skip
CAUSES = {"weight_scaled": "wrong weights", "heads_swapped": "heads", "norm_epsilon": "wrong weights",
          "tanh_gelu": "tanh GELU", "hf32": "HF32", "overflow": "overflow", "mask": "mask handling",
          "layer_skipped": "layer left out"}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("family", "kind"),
    [("lasr", kind) for kind in WHISPER_KINDS if kind != "tanh_gelu"] + [("whisper", kind) for kind in WHISPER_KINDS],
)
def test_each_kind_of_fault(
    family: str, kind: str, seed: int, folder: Path, tiny_en: Path, jfk: Path, faults: Any
) -> None:
    """The whole way: a candidate with a fault is compared, judged, and the module found."""
    side = Side.parse("cpu:float32")
    path = folder if family == "lasr" else tiny_en
    model: Any = side.load(str(path))
    random = np.random.default_rng([seed, len(kind)])
    place = str(random.choice(faults.places(kind, model.stages())))
    faulty: Any = faults.inject(kind, place, model, random)
    reference = Loaded(Side.parse("cpu:float32"), side.load(str(path)))
    comparison = Comparison(reference, Loaded(side, faulty), Work(DecodingOptions(no_speech_threshold=None)))
    features = reference.model.features([noise(3.1)]) if family == "lasr" else None
    tokens = None
    if features is None:
        from whisper_pairs import read

        features = reference.model.features([read(jfk)])
        tokens = [[50257, 50363, 843, 523, 616, 5891, 3399, 1265, 407, 644]]
    stages, findings, _ = comparison._look(features, tokens, None)
    logits = stages[-1].passed
    moved = float("inf") if logits["non_finite"] else logits["relative_l2"]
    outcome = made_outcome(stages=stages, logits=logits)
    if moved > 1e-5:
        assert not get_policy("exact").judge(outcome).ok
        named = findings[0].module
        assert (faults.layer_of(named) == place) if kind == "layer_skipped" else named == place
        assert findings[0].cause in (CAUSES[kind], "overflow"), findings[0]


def made_outcome(**changes: Any) -> Outcome:
    """One window with nothing wrong, but for `changes`."""
    fine = {"relative_l2": 0.0, "non_finite": 0.0, "mean_relative": 0.0, "max_abs": 0.0, "cosine": 1.0}
    window = WindowResult(
        "a.wav", 0.0, 1.0, None, {**fine}, {"max_probability": 0.0, "kl": 0.0, "top1": 1.0}, 10, (),
        ((1, 2), (1, 2)), ("a b", "a b"), (0, 2), (0, 2), (0, 2), path={**fine},
    )  # fmt: skip
    side = SideFacts("cpu:float32", "voxport", "cpu", "float32", "0" * 64, {}, None, False)
    return Outcome("m", "whisper", side, side, (replace(window, **changes),))


# ------------------------------------------------------------------------------------------------------------ policies


@pytest.mark.parametrize(
    ("policy", "changes", "ok"),
    [
        ("words", {}, True),
        ("words", {"word_edits": (1, 10)}, True),
        ("words", {"word_edits": (2, 10)}, False),
        ("words", {"word_edits": (5, 1000)}, True),
        ("words", {"word_edits": (6, 1000)}, False),
        ("words", {"differences": (Difference(3, 1, 2, 0.019),)}, True),
        ("words", {"differences": (Difference(3, 1, 2, 0.021),)}, False),
        ("words", {"failure": "values beyond float16's range", "logits": None}, False),
        ("words", {"logits": {"relative_l2": 0.0, "non_finite": 1.0}}, False),
        ("medasr-writeup", {"logits": {"mean_relative": 0.01, "non_finite": 0.0}}, True),
        ("medasr-writeup", {"logits": {"mean_relative": 0.0101, "non_finite": 0.0}}, False),
        ("medasr-writeup", {"text": ("a b", "a c")}, False),
        ("whisper-writeup", {"probabilities": {"max_probability": 0.011, "kl": 0.0, "top1": 1.0}}, False),
        ("whisper-writeup", {"tokens": ((1, 2), (1, 3))}, False),
        ("whisper-writeup", {}, True),
        ("exact", {}, False),  # no stage was looked at: nothing is proved
        ("cann", {}, False),
        ("msprobe", {}, False),
    ],
)
def test_what_policies_ask_for(policy: str, changes: dict[str, Any], ok: bool) -> None:
    assert get_policy(policy).judge(made_outcome(**changes)).ok is ok


def stage(**made: float) -> tuple[StageResult, ...]:
    metrics = {"relative_l2": 0.0, "non_finite": 0.0, "cann_matched": 1.0, "cann_beyond": 0.0, "cosine": 1.0,
               "max_abs": 0.0, "over_thousandth": 0.0, "over_hundredth": 0.0}  # fmt: skip
    return (StageResult("fc1", "linear", metrics, {**metrics, **made}),)


@pytest.mark.parametrize(
    ("policy", "made", "ok"),
    [
        ("exact", {"relative_l2": 4.9e-6}, True),
        ("exact", {"relative_l2": 5.1e-6}, False),
        ("exact", {"relative_l2": float("nan")}, False),
        ("cann", {"cann_matched": 0.99}, True),
        ("cann", {"cann_matched": 0.989}, False),
        ("cann", {"cann_beyond": 1.0}, False),
        ("msprobe", {"cosine": 0.98, "max_abs": 0.0, "over_thousandth": 2e-3}, False),
        ("msprobe", {"cosine": 0.999, "max_abs": 0.1, "over_thousandth": 9e-4}, True),
        ("msprobe", {"cosine": 0.999, "max_abs": 0.0009, "over_thousandth": 1.0}, True),
    ],
)
def test_what_policies_ask_of_stages(policy: str, made: dict[str, float], ok: bool) -> None:
    assert get_policy(policy).judge(made_outcome(stages=stage(**made))).ok is ok


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ncannot_show = "much"\nsame_text = true\nmargin = 0.5\nwords = {share = 0.1, floor = 0}\n'
        '[limits]\n"logits.relative_l2" = 1e-3\n"stages.made.relative_l2" = 1e-2\n'
    )
    policy = get_policy(str(file))
    assert (policy.name, policy.cannot_show, policy.stages) == ("mine", "much", True)
    assert policy.judge(made_outcome(stages=stage())).ok
    assert not policy.judge(made_outcome(stages=stage(relative_l2=0.1))).ok
    assert not policy.judge(made_outcome(stages=stage(), logits={"relative_l2": 0.1, "non_finite": 0.0})).ok
    assert not policy.judge(made_outcome(stages=stage(), text=("a", "b"))).ok


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\n'logits.nonsense' = 1.0", "is no limit"),
        ("[limits]\n'nothing.cosine' = 1.0", "is no limit"),
        ("[limits]\n'logits.cosine' = 'x'", "is no limit"),
        ("limits = 3", "is a table"),
        ("wrong = 1\nmargin = 1.0", "unknown key 'wrong'"),
        ("name = 'x'", "it asks for nothing"),
        ("a = ", "can't be read"),
    ],
)
def test_policies_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        get_policy(str(file))
    with pytest.raises(UsageError, match="no policy 'p'"):
        get_policy("p")


def test_every_policy_says_what_it_asks_and_cannot_show() -> None:
    assert list(POLICIES) == ["words", "exact", "medasr-writeup", "whisper-writeup", "cann", "msprobe"]
    assert all(len(policy.asks) > 20 and len(policy.cannot_show) > 20 for policy in POLICIES.values())


# ------------------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("", "", 0), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2), ("axb", "ab", 1)],
)
def test_edit_distances(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right) == edit_distance(right, left) == distance


def test_words() -> None:
    assert words("Don't stop, O’Brien: 3.5!") == ["don't", "stop", "o’brien", "3", "5"]
    assert words("你好 world") == ["你", "好", "world"]
    assert words("...") == []


def test_recordings_are_cut_into_the_models_windows(folder: Path, tmp_path: Path) -> None:
    model: ASRModel = Side.parse("cpu").load(str(folder))
    file = tmp_path / "long.wav"
    soundfile.write(file, np.zeros(round(20.05 * 16_000), np.float32), 16_000)
    soundfile.write(tmp_path / "short.wav", np.zeros(800, np.float32), 16_000)
    windows = windows_of([str(file), str(tmp_path / "short.wav")], model)
    assert [(window.start, window.audio.duration) for window in windows] == [(0.0, 20.0)]  # too short for a frame
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(folder, [str(tmp_path / "short.wav")], "cpu", "cpu")


def test_the_command(folder: Path, clips: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["verify", "--model", str(folder), "--candidate", "cpu:float32", "--policy", "exact", *clips])
    shown = capsys.readouterr().out
    assert code == 0
    assert shown.startswith("PASS (exact)")
    assert "random weights: the words mean nothing" in shown
    assert "It does not show faults smaller than rounding" in shown
    assert "encoder.layers.1.conv.depthwise_conv" not in shown
    assert main(["verify", "--model", str(folder), "--candidate", "cpu", "--stages", *clips]) == 0
    assert "encoder.layers.1.conv.depthwise_conv" in capsys.readouterr().out


def test_each_clip_is_told_of(folder: Path, clips: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    many = [*clips, *clips, *clips, *clips]
    command = ["verify", "--model", str(folder), "--candidate", "cpu:float32", "--look_at", "0"]
    assert main([*command, *many]) == 0
    shown = capsys.readouterr().out
    assert "windows, the 6 that differ most (--clips shows all):" in shown
    assert sum(line.endswith(".wav") and line.lstrip()[0].isdigit() for line in shown.splitlines()) == 6
    assert main([*command, "--clips", *many]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.endswith(".wav")]
    assert [line[-1] for line in lines] == many
    assert [line[0] for line in lines[:2]] == ["3.1", "1.4"]
    assert all(line[1] == line[4] == "0" for line in lines)  # tokens, words that differ


def test_the_command_fails_with_a_finding(
    folder: Path, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(folder, tmp_path, "encoder.layers.0.norm_conv.weight", lambda x: x * 1.5)
    arguments = ["verify", "--model", str(folder), "--candidate", f"cpu:float32@{other}", "--policy", "exact"]
    assert main([*arguments, clips[0]]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("FAIL (exact)")
    assert "encoder.layers.0.norm_conv: wrong weights" in shown
    assert "it is the reference's times 1.5" in shown
    assert main([*arguments, "--json", clips[0]]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"]["ok"] is False
    assert value["windows"][0]["findings"][0]["module"] == "encoder.layers.0.norm_conv"
    assert value["candidate"]["side"] == f"cpu:float32@{other}"


@pytest.fixture
def trace(folder: Path, clips: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "ref.trace"
    assert main(["verify", "--model", str(folder), "--save", str(path), *clips]) == 0
    return path


def test_two_machines(folder: Path, clips: list[str], trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is held against a trace is what is held against the reference itself."""
    arguments = ["verify", "--model", str(folder), "--candidate", "cpu:float32", "--policy", "exact", "--json"]
    assert main([*arguments, *clips]) == 0
    direct = json.loads(capsys.readouterr().out)
    assert main([*arguments, "--against", str(trace), *reversed(clips)]) == 0
    traced = json.loads(capsys.readouterr().out)
    assert traced["reference"] == direct["reference"]
    for one, other in zip(traced["windows"][::-1], direct["windows"], strict=True):
        assert {name: one[name] for name in ("file", "tokens", "text", "positions", "differences", "findings")} == {
            name: other[name] for name in ("file", "tokens", "text", "positions", "differences", "findings")
        }
        assert one["logits"] == pytest.approx(other["logits"], rel=1e-3, abs=1e-7)
        for found in (one["logit_differences"], other["logit_differences"]):
            ends = found["zero"] + found["below"] + found["above"] + found["non_finite"]
            assert sum(found["counts"]) + ends == one["positions"] * 160  # of the vocabulary
            assert found["non_finite"] == 0
        assert [stage["name"] for stage in one["stages"]] == [stage["name"] for stage in other["stages"]]
    assert all(len(window["stages"]) > 50 for window in traced["windows"])
    assert traced["verdict"]["ok"]


def test_a_fault_is_found_against_a_trace(
    folder: Path, clips: list[str], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", "--model", str(folder), "--against", str(trace), "--policy", "exact"]
    assert main([*arguments, "--candidate", "cpu:float32", clips[0]]) == 0
    other = changed(folder, tmp_path, "encoder.layers.0.norm_conv.weight", lambda x: x * 1.5)
    assert main([*arguments, "--candidate", f"cpu@{other}", clips[0]]) == 2
    assert "made with other weights" in capsys.readouterr().err


def test_whisper_against_a_trace(tiny_en: Path, jfk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ref.trace"
    assert main(["verify", "--model", str(tiny_en), "--save", str(path), "--look_at", "0", str(jfk)]) == 0
    assert path.stat().st_size < 40 << 20
    arguments = ["verify", "--model", str(tiny_en), "--against", str(path), "--candidate", "cpu:bfloat16", str(jfk)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("PASS (words)")
    assert "transformers/cpu:float32" in shown


def test_what_is_not_comparable_is_refused(
    folder: Path, clips: list[str], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["verify", "--model", str(folder), "--candidate", "cpu", *arguments]) == 2
        return capsys.readouterr().err

    strange = str(tmp_path / "c.wav")
    soundfile.write(strange, noise(2.0, 9).samples, 16_000, subtype="FLOAT")
    assert "is not in the trace" in refused("--against", str(trace), strange)
    assert "is no trace" in refused("--against", clips[0], clips[0])
    assert "is no trace" in refused("--against", str(tmp_path / "absent"), clips[0])
    assert "takes the place of --reference" in refused("--against", str(trace), "--reference", "cpu", clips[0])
    damaged = tmp_path / "damaged.trace"
    damaged.write_bytes(trace.read_bytes()[:-1000])
    assert "is no trace" in refused("--against", str(damaged), clips[0])
    assert main(["verify", "--model", str(folder), "--save", str(damaged / "x"), clips[0]]) != 0
    assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.wav"], "verify needs --candidate"),
        (["--candidate", "cpu"], "verify needs recordings"),
        (["--candidate", "gpu", "x.wav"], "is no side"),
        (["--candidate", "cpu", "--policy", "none", "x.wav"], "no policy 'none'"),
        (["--candidate", "cpu", "--policy", "exact", "--look_at", "0", "x.wav"], "needs the stages"),
        (["--candidate", "cpu", "absent.wav"], "absent.wav"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--explain"]) == 0
    shown = capsys.readouterr().out
    for name in ("relative_l2", "cosine", "over_thousandth", "kl", "margin", "whisper-writeup", "cannot show"):
        assert name in shown


def test_what_needs_no_torch_loads_none(tmp_path: Path) -> None:
    """And what does loads it behind `import_torch`: with torch_npu but without CANN a plain import would fail."""
    code = (
        "import sys\n"
        "from voxport.cli import main\n"
        "assert main(['verify', '--explain']) == 0\n"
        "assert 'torch' not in sys.modules\n"
        "from voxport.devices import host\n"
        "calls = []\n"
        "real = host.import_torch\n"
        "host.import_torch = lambda: calls.append('torch' in sys.modules) or real()\n"
        "from voxport.verify import Comparison\n"
        "assert calls[0] is False, calls\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_failure_of_the_device_is_explained(folder: Path, clips: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side.parse("cpu:float32")
    reference, candidate = (Loaded(side, side.load(str(folder))) for _ in range(2))
    model: Any = candidate.model

    def full(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "capture", full)
    windows = windows_of(clips[:1], model)
    with pytest.raises(RuntimeError, match="out of memory"):
        Comparison(reference, candidate).run(windows)
    monkeypatch.setattr(type(model.device), "explain", lambda device, error: DeviceError(f"{device}: {error}"))
    with pytest.raises(DeviceError, match="cpu: out of memory"):
        Comparison(reference, candidate).run(windows)
