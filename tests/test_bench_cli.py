"""`voxport bench` as people call it: genuine weights, random MedASR, a simulated NPU, mistakes, two results compared.

What is asserted is what figures there are and how they hang together, never how large a time is.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from lasr_folders import small_folder
from simulated_npu import activate_or_skip
from voxport.cli import build_parser, main

if TYPE_CHECKING:
    from pathlib import Path

STATISTICS = {
    "count", "mean", "median", "std", "p90", "p99", "minimum", "maximum", "mean_interval", "median_interval"
}  # fmt: skip


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a call says on standard output; it must succeed."""
    code = main(["bench", *arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(["bench", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.fixture(scope="module")
def whisper_result(tiny_en: Path, jfk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.en in two dtypes side by side."""
    path = tmp_path_factory.mktemp("bench") / "whisper.json"
    arguments = [
        "--model", str(tiny_en), "--side", "cpu:float32", "--against", "cpu:bfloat16+threads=1", "--warmup", "0",
        "--iterations", "1", "--language", "en", "-q", "-o", str(path), "-o", str(path.with_suffix(".txt")), str(jfk),
    ]  # fmt: skip
    assert main(["bench", *arguments]) == 0
    return path


def test_the_json_object_of_two_sides(whisper_result: Path) -> None:
    found = json.loads(whisper_result.read_text())
    assert (found["schema"], found["kind"]) == (1, "voxport bench")
    assert [side["label"] for side in found["sides"]] == ["A", "B"]
    assert [side["dtype"] for side in found["sides"]] == ["float32", "bfloat16"]
    assert found["sides"][1]["threads"] == 1
    for side in found["sides"]:
        assert set(side["scopes"]) == {"model", "end_to_end"}
        assert set(side["stages"]) == {"features", "encode", "decode", "prefill", "token"}
        for one in [*side["scopes"].values(), *side["stages"].values()]:
            assert set(one["latency"]) == STATISTICS
            assert one["latency"]["count"] == 1
            assert one["latency"]["minimum"] == one["latency"]["median"] == one["latency"]["p99"] > 0
        model = side["scopes"]["model"]
        assert model["rtf"] * model["rtfx"] == pytest.approx(1.0)
        assert model["clips_per_second"] == pytest.approx(side["batch"] / model["latency"]["mean"])
        # Model only is made of encode and decode, and of nothing else.
        parts = zip(side["stages"]["encode"]["rounds"], side["stages"]["decode"]["rounds"], strict=True)
        assert model["rounds"] == [[encode[0] + decode[0]] for encode, decode in parts]
        assert side["memory"]["host_peak"] > side["memory"]["host_growth"] > 0
        assert side["cold_start"]["load"] > 0
        assert side["roofline"]["ceilings"]["flops"] > 0
        assert side["roofline"]["token"]["bytes"] == side_bytes(side["dtype"])
    counts = [side["tokens_counted"] for side in found["sides"]]
    assert counts[0] == counts[1] == [found["sides"][0]["tokens_heard"][0][0] + 1]
    assert set(found["comparison"]["speed_up"]) == {*found["sides"][0]["scopes"], *found["sides"][0]["stages"]}
    assert found["comparison"]["same_text"] == 1
    assert found["conditions"]["clips"][0]["name"] in ("jfk.flac", "jfk.wav")
    assert found["conditions"]["end_to_end"] == "pipeline"
    assert set(found["noise"]["spread"]) == {"A model only", "A end to end", "B model only", "B end to end"}


def side_bytes(dtype: str) -> int:
    """Of a step of tiny.en: 4 layers of width 384, a vocabulary of 51,864, keys and values of 1500 positions."""
    weights = 4 * (6 * 384 * 384 + 2 * 384 * 1536) + 51_864 * 384
    return (4 if dtype == "float32" else 2) * (weights + 4 * 2 * 1500 * 384)


def test_no_words_are_kept_in_a_result(whisper_result: Path) -> None:
    text = whisper_result.read_text().lower()
    assert "country" not in text
    assert "/audio/" not in text


def test_the_report_says_the_same_in_words(whisper_result: Path) -> None:
    text = whisper_result.with_suffix(".txt").read_text()
    assert re.search(r"jfk\.(flac|wav) \(11\.0 s\), batch 1, 0 warm-up and 1 timed iteration", text)
    (counted,) = json.loads(whisper_result.read_text())["sides"][0]["tokens_counted"]
    for words in (
        "A  cpu:float32: voxport", "B  cpu:bfloat16+threads=1", "1 CPU thread,", "A model only", "RTFx",
        f"per token (of {counted})", "speed-up of A over B", "both say the same in 1 of 1 clip",
        "first call, model only", "host, peak resident", "reading memory, GB/s",
        "too few iterations for an interval", "ddof = 1",
    ):  # fmt: skip
        assert words in text, words


def test_a_result_compared_with_itself(whisper_result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = bench(capsys, "diff", str(whisper_result), str(whisper_result))
    assert "nothing changed beyond the noise" in text
    found = json.loads(bench(capsys, "diff", "--json", str(whisper_result), str(whisper_result)))
    assert found["kind"] == "voxport bench diff"
    assert {metric["ratio"] for metric in found["metrics"]} == {1.0}
    assert {metric["verdict"] for metric in found["metrics"]} == {"too few iterations", "within noise"}


def test_results_of_other_work_are_refused(
    whisper_result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(whisper_result.read_text())
    found["conditions"]["clips"][0]["sha256"] = "0" * 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found))
    assert "different work, recordings" in refused(capsys, "diff", str(whisper_result), str(other))
    assert "B.json is missing" in refused(capsys, "diff", str(other))
    assert "unknown option '--model'" in refused(capsys, "diff", str(other), str(other), "--model", "x")


@pytest.mark.full
def test_beside_transformers(tiny_en: Path, jfk: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    found = json.loads(
        bench(
            capsys, "--model", str(tiny_en), "--side", "cpu:float32", "--against", "transformers/cpu:float32",
            "--warmup", "0", "--iterations", "1", "--tokens", "3", "--json", "-q", str(jfk),
        )
    )  # fmt: skip
    assert [side["engine"] for side in found["sides"]] == ["voxport", "transformers"]
    assert found["sides"][1]["attention"] == "eager"
    assert [side["tokens_counted"] for side in found["sides"]] == [[3], [3]]
    assert [side["window_seconds"] for side in found["sides"]] == [[[11.0]]] * 2
    assert found["comparison"]["same_text"] == 1
    assert any("decodes exactly 3 tokens" in note for note in found["notes"])


@pytest.mark.full
def test_both_engines_decode_the_very_tokens(tiny_en: Path, jfk: Path) -> None:
    """Exactly as many as asked for, beyond the end of text, and the same."""
    pytest.importorskip("transformers")
    from whisper_pairs import load_pair, read

    pair = load_pair(tiny_en)
    encoded = pair.ours.encode(pair.ours.features([read(jfk)] * 2))
    ours, theirs = (model.decode_exactly(encoded, 32) for model in (pair.ours, pair.theirs))
    assert [len(row) for row in ours] == [32, 32]
    assert ours == theirs
    assert pair.ours.tokenizer.eot not in ours[0]
    assert [len(row) for row in pair.ours.decode_exactly(encoded, 1)] == [1, 1]
    assert len(pair.ours.decode_exactly(encoded, 10_000)[0]) == 446  # 448 positions less the prompt


def test_random_medasr_beside_transformers(tmp_path: Path, jfk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", minversion="5.0")
    folder = small_folder(tmp_path / "small")
    picture, data = tmp_path / "growth.svg", tmp_path / "growth.json"
    text = bench(
        capsys, "--model", str(folder), "--side", "cpu:float32", "--against", "transformers/cpu:float32",
        "--warmup", "1", "--iterations", "4", "--sweep", "length", "--points", "1,4", "--sweep_iterations", "3", "-o",
        str(picture), "-o", str(data), str(jfk),
    )  # fmt: skip
    assert "! random weights in A and B" in text
    assert "A side here can't join windows" in text
    assert "per token" not in text
    assert "sweep over length" in text
    found = json.loads(data.read_text())
    assert set(found["sides"][0]["stages"]) == {"features", "encode", "decode"}
    assert found["conditions"]["end_to_end"] == "windows"
    assert found["comparison"]["speed_up"]["encode"]["interval"]["low"] > 0
    assert [point["x"] for point in found["sweep"]["points"]] == [1.0, 4.0]
    assert found["sweep"]["iterations"] == 3
    assert [len(point["sides"]["A"]["end_to_end"]["rounds"]) for point in found["sweep"]["points"]] == [3, 3]
    assert set(found["sweep"]["growth"]["B"]) == {"model", "end_to_end"}
    assert picture.read_text().startswith("<svg ")


def test_tokens_of_a_model_that_has_none_are_refused(
    tmp_path: Path, jfk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_folder(tmp_path / "small")
    arguments = ("--model", str(folder), "--device", "cpu", "--tokens", "5", "--warmup", "0", str(jfk))
    assert "does not go token by token" in refused(capsys, *arguments)


def test_a_sweep_over_the_batch_and_a_trace(tmp_path: Path, jfk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_folder(tmp_path / "small")
    trace = tmp_path / "trace.json"
    found = json.loads(
        bench(
            capsys, "--model", str(folder), "--device", "cpu", "--warmup", "0", "--iterations", "1", "--sweep", "batch",
            "--points", "1,3", "--batch-size", "2", "--profile", str(trace), "--json", str(jfk),
        )
    )  # fmt: skip
    assert [set(point["sides"]["A"]) for point in found["sweep"]["points"]] == [{"model", "encode"}] * 2
    assert found["conditions"]["end_to_end"] == "pipeline"
    assert found["sides"][0]["window_seconds"] == [[11.0, 11.0]]
    model = found["sides"][0]["scopes"]["model"]
    assert model["clips_per_second"] == pytest.approx(2 / model["latency"]["mean"])
    assert found["profile"] == {"side": "A", "by": "torch.profiler"}
    events = json.loads(trace.read_text())["traceEvents"]
    assert any(event.get("name") == "aten::scaled_dot_product_attention" for event in events)


def test_a_simulated_npu_is_called_one(tmp_path: Path, jfk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    activate_or_skip()
    folder = small_folder(tmp_path / "small")
    data = tmp_path / "npu.json"
    text = bench(
        capsys, "--model", str(folder), "--side", "npu:1:float32", "--against", "cpu:float32", "--warmup", "0",
        "--iterations", "1", "-o", str(data), str(jfk),
    )  # fmt: skip
    assert "! A: npu:1 is simulated on the CPU: its times are the CPU's" in text
    assert "(simulated on the CPU)" in text
    assert "device, peak of tensors" in text
    found: dict[str, Any] = json.loads(data.read_text())
    memory = found["sides"][0]["memory"]
    assert memory["device_total"] >= memory["device_used"] >= memory["device_allocated"] > 0
    assert memory["device_reserved"] >= memory["device_allocated"]
    assert found["sides"][1]["memory"]["device_allocated"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iterations", "0"], "--iterations can't be 0"),
        (["--warmup", "-1"], "--warmup can't be -1"),
        (["--side", "gpu:float32"], "'gpu:float32' is no side"),
        (["--side", "cpu", "--device", "npu"], "--side says cpu, --device says npu"),
        (["--device", "tpu"], "'tpu' is no side"),
        (["--sweep", "colour"], "--sweep can't be 'colour'"),
        (["--sweep", "length", "--points", "1,two"], "--points can't be '1,two'"),
        (["-o", "result.pdf"], "the suffix says what is written"),
        (["-o", "growth.svg"], "the picture (.svg) is of a sweep"),
        (["-o", "no/such/folder/a.json"], "is in a folder that isn't there"),
        (["--dtype", "float31"], "--dtype can't be 'float31'"),
    ],
)
def test_mistakes_are_said_before_any_work(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, "a.wav", *arguments)


def test_a_recording_that_is_not_there_ends_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refused(capsys, str(tmp_path / "none.wav"), "--device", "cpu", code=1)
    assert "none.wav: can't be found" in said


def test_ctrl_c_is_130(
    tmp_path: Path, jfk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voxport.bench.measure.measure", interrupted)
    folder = small_folder(tmp_path / "small")
    output = tmp_path / "a.json"
    assert main(["bench", "--model", str(folder), "--device", "cpu", "-o", str(output), str(jfk)]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "interrupted: stopped on request"
    assert not output.exists()


def test_the_options_are_the_agreed_ones() -> None:
    """Scripts rely on these: adding one is a decision, taking one away breaks somebody."""
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(subparsers.choices, dict)
    names = {name for action in subparsers.choices["bench"]._actions for name in action.option_strings}
    assert names == {
        "--model", "--side", "--against", "--device", "--dtype", "--batch_size", "--language", "--no-vad", "--tokens",
        "--warmup", "--iterations", "--sweep", "--points", "--sweep_iterations", "--seed", "--profile", "--json",
        "--output", "-o", "--source", "--offline", "--quiet", "-q", "--help", "-h",
    }  # fmt: skip
    parsed = build_parser().parse_args(["bench", "a.wav"])
    assert (parsed.warmup, parsed.iterations, parsed.seed) == (3, 10, 0)


def test_help_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "diff", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: voxport bench diff A.json B.json")
    assert main(["bench", "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
