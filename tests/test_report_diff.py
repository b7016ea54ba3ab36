"""Two reports: what changed, whether it is worse and why, and what is refused. Differences are made by hand."""

from __future__ import annotations

import copy
import json
import re
import shutil
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from report_folders import edit, make
from voxport.cli import main
from voxport.errors import UsageError
from voxport.formats import json_line
from voxport.report import Measurements
from voxport.report.diff import compare_reports, document_of, markdown_of, text_of
from voxport.report.language import LANGUAGES, language
from voxport.report.packing import pack
from voxport.report.stored import LARGEST_PART, read_report
from voxport.score.bootstrap import paired_difference

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("transformers")

ROUNDS = 12
CLIPS = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with times that hardly vary, and with error rates of 20 clips."""
    folder = tmp_path_factory.mktemp("out") / "made"
    make(tmp_path_factory.mktemp("jones"), folder)
    edit(folder, "bench", steady)
    edit(folder, "score", many_clips)
    return folder


@pytest.fixture
def reports(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The same report twice, for a test to change."""
    return Path(shutil.copytree(made, tmp_path / "A")), Path(shutil.copytree(made, tmp_path / "B"))


def steady(bench: dict[str, Any], factor: float = 1.0, label: str = "AB") -> None:
    """Model only and end to end of some sides take 10 ms and 20 ms for each clip, times `factor`."""
    for side in bench["sides"]:
        if side["label"] not in label:
            continue
        for name, seconds in (("model", 0.01), ("end_to_end", 0.02)):
            scope = side["scopes"][name]
            calls = len(scope["rounds"][0])
            scope["rounds"] = [[seconds * factor * (1 + 0.001 * (place % 5))] * calls for place in range(ROUNDS)]
            scope["latency"]["median"] = seconds * factor
    bench["noise"] = {**bench["noise"], "quiet": True, "findings": []}


def many_clips(score: dict[str, Any], errors: int = 1, places: range = range(CLIPS)) -> None:
    """Of ten words in each clip of the candidate, `errors` are wrong in `places`."""
    clip = score["candidate"]["clips"][0]
    if len(score["candidate"]["clips"]) < CLIPS:
        score["candidate"]["clips"] = [
            {**copy.deepcopy(clip), "id": f"{number}", "length": 10, "errors": 1} for number in range(CLIPS)
        ]
    for place in places:
        score["candidate"]["clips"][place]["errors"] = errors


def say(verify: dict[str, Any], text: str, window: int = 0) -> None:
    """The candidate says something else."""
    found = verify["windows"][window]
    found["text"][1] = text
    found["tokens"][1] = [1, 2, 3]


def difference_of(reports: tuple[Path, Path]) -> dict[str, Any]:
    """As ``--json`` has it."""
    found: dict[str, Any] = json.loads(json_line(compare_reports(*map(read_report, reports)).to_dict()))
    return found


def reasons(found: dict[str, Any], kind: str) -> list[str]:
    return [reason["key"] for reason in found[kind]]


def notes(found: dict[str, Any]) -> list[str]:
    return [note["key"] for note in found["notes"]]


# ------------------------------------------------------------------------------------------------------------ verdict


def test_the_same_report_twice_is_the_same(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "diff", *map(str, reports)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("SAME  little-medasr, cpu:bfloat16 (")
    assert "it changed in 0 of 2 windows" in told
    found = difference_of(reports)
    assert (found["verdict"], found["worse"], found["better"], found["conditions"]) == ("same", [], [], [])
    assert {row["ratio"] for row in found["accuracy"]["metrics"]} <= {1.0, None}
    assert notes(found) == ["random_first", "random_second"]


def fails(verify: dict[str, Any]) -> None:
    verify["verdict"]["ok"] = False
    check = next(one for one in verify["verdict"]["checks"] if one["name"] == "logits: relative_l2")
    check.update(ok=False, value=0.75)


@pytest.mark.parametrize("turned", [False, True])
def test_a_verdict_that_flips(reports: tuple[Path, Path], turned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    edit(reports[0 if turned else 1], "verify", fails)
    first, second = reports
    assert main(["report", "diff", str(first), str(second)]) == (0 if turned else 1)
    told = capsys.readouterr().out
    found = difference_of(reports)
    if turned:
        assert (found["verdict"], found["worse"]) == ("better", [])
        assert reasons(found, "better") == ["passes_now", "check_ok_now"]
        assert "BETTER" in told
        return
    assert (found["verdict"], found["better"]) == ("worse", [])
    assert reasons(found, "worse") == ["fails_now", "check_fails_now"]
    before = json.loads((first / "results/verify.json").read_text(encoding="utf-8"))["verdict"]["checks"][2]["value"]
    values = {"check": "logits: relative_l2", "first": before, "second": 0.75, "limit": 0.5}
    assert found["worse"][1]["values"] == values
    assert "  worse: the verdict went from pass to fail (policy any)\n" in told


def test_another_policy_is_not_judged(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "verify", fails)
    edit(reports[1], "verify", lambda verify: verify.update(asks="logits.relative_l2 <= 0.001"))
    found = difference_of(reports)
    assert found["verdict"] == "same"
    assert "other_policy" in notes(found)
    assert found["accuracy"]["passes"] == [True, False]
    assert found["conditions"] == [
        {"key": "requirements", "first": "logits.relative_l2 <= 0.5", "second": "logits.relative_l2 <= 0.001"}
    ]


def test_checks_are_known_although_their_names_count(reports: tuple[Path, Path]) -> None:
    def with_check(verify: dict[str, Any], name: str, ok: bool) -> None:
        check = {"name": name, "value": 3, "limit": 1, "ok": ok, "where": ""}
        verify["verdict"]["checks"].append(check)

    edit(reports[0], "verify", lambda verify: with_check(verify, "words that differ, of 32", True))
    edit(reports[1], "verify", lambda verify: with_check(verify, "words that differ, of 30", False))
    assert reasons(difference_of(reports), "worse") == ["check_fails_now"]


def test_words_that_changed(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for report in reports:
        edit(report, "verify", lambda verify: verify["windows"][0]["text"].__setitem__(0, "the heart is not enlarged"))
    edit(reports[0], "verify", lambda verify: say(verify, "the heart is now enlarged"))
    edit(reports[1], "verify", lambda verify: say(verify, "The heart was enlarged."))
    found = difference_of(reports)
    [window] = found["accuracy"]["windows"]
    assert window["edits"] == [1, 2]
    assert window["length"] == 5
    assert window["differences"] == [["the", "The"], ["is now enlarged", "was enlarged."]]
    assert reasons(found, "worse") == ["words_further"]
    assert main(["report", "diff", *map(str, reports)]) == 1
    told = capsys.readouterr().out
    assert "clip 0.wav at 0 s is further from the reference: 1 -> 2 of 5 words differ" in told
    assert "it changed in 1 of 2 windows" in told
    turned = difference_of((reports[1], reports[0]))
    assert (turned["verdict"], reasons(turned, "better")) == ("better", ["words_nearer"])


def test_other_marks_are_shown_and_judge_nothing(reports: tuple[Path, Path]) -> None:
    text = json.loads((reports[0] / "results/verify.json").read_text(encoding="utf-8"))["windows"][1]["text"][1]
    edit(reports[1], "verify", lambda verify: say(verify, f"{text}.", 1))
    found = difference_of(reports)
    assert found["verdict"] == "same"
    assert found["accuracy"]["windows"][0]["differences"] == [[text.split()[-1], f"{text.split()[-1]}."]]


def test_tokens_alone(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edit(reports[1], "verify", lambda verify: verify["windows"][0]["tokens"].__setitem__(1, [7]))
    assert main(["report", "diff", *map(str, reports)]) == 0
    assert "the same text from other tokens" in capsys.readouterr().out


def test_a_window_that_gives_nothing(reports: tuple[Path, Path]) -> None:
    def fail(verify: dict[str, Any]) -> None:
        say(verify, "")
        verify["windows"][0]["failure"] = "overflow in float16"

    edit(reports[1], "verify", fail)
    found = difference_of(reports)
    assert reasons(found, "worse") == ["window_fails_now"]
    assert found["worse"][0]["values"]["failure"] == "overflow in float16"
    assert reasons(difference_of((reports[1], reports[0])), "better") == ["window_works_now"]


def test_words_of_scripts_without_spaces(reports: tuple[Path, Path]) -> None:
    edit(reports[0], "verify", lambda verify: say(verify, "心脏没有增大"))
    edit(reports[1], "verify", lambda verify: say(verify, "心脏有些增大"))
    [window] = difference_of(reports)["accuracy"]["windows"]
    assert window["differences"] == [["没有", "有些"]]


def test_metrics_are_the_worst_with_their_ratio(reports: tuple[Path, Path]) -> None:
    def worsen(verify: dict[str, Any]) -> None:
        verify["windows"][1]["logits"].update(max_abs=0.5, cosine=0.9, rmse=None)

    before = json.loads((reports[0] / "results/verify.json").read_text(encoding="utf-8"))["windows"]
    edit(reports[1], "verify", worsen)
    found = difference_of(reports)
    rows = {row["key"]: row for row in found["accuracy"]["metrics"]}
    largest = max(window["logits"]["max_abs"] for window in before)
    smallest = min(window["logits"]["cosine"] for window in before)
    assert (rows["max_abs"]["first"], rows["max_abs"]["second"]) == (largest, 0.5)
    assert rows["max_abs"]["ratio"] == pytest.approx(0.5 / largest)
    assert rows["cosine"]["ratio"] == pytest.approx(0.1 / (1 - smallest))
    assert (rows["rmse"]["second"], rows["rmse"]["ratio"]) == (None, None)
    assert found["verdict"] == "same"  # the policy's business


def test_findings_come_and_go(reports: tuple[Path, Path]) -> None:
    def find(verify: dict[str, Any], module: str) -> None:
        finding = {"module": module, "kind": "norm", "error": 0.1, "limit": 0.01, "cause": "scale", "evidence": "x"}
        verify["windows"][0]["findings"] = [finding]

    edit(reports[0], "verify", lambda verify: find(verify, "encoder.one"))
    edit(reports[1], "verify", lambda verify: find(verify, "encoder.two"))
    assert difference_of(reports)["accuracy"]["findings"] == [
        {"module": "encoder.two", "cause": "scale", "appeared": True},
        {"module": "encoder.one", "cause": "scale", "appeared": False},
    ]


# -------------------------------------------------------------------------------------------------------------- speed


@pytest.mark.parametrize(
    ("factor", "verdict", "worse", "better"),
    [
        (1.5, "worse", ["slower", "slower"], []),
        (0.5, "better", [], ["faster", "faster"]),
        (1.01, "same", [], []),
    ],
)
def test_speed(
    reports: tuple[Path, Path], factor: float, verdict: str, worse: list[str], better: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    edit(reports[1], "bench", lambda bench: steady(bench, factor, "A"))
    found = difference_of(reports)
    assert (found["verdict"], reasons(found, "worse"), reasons(found, "better")) == (verdict, worse, better)
    metric = next(one for one in found["speed"]["metrics"] if one["title"] == "A model only")
    assert metric["ratio"] == pytest.approx(factor, rel=1e-2)
    assert main(["report", "diff", *map(str, reports)]) == (1 if worse else 0)
    if worse:
        assert re.search(r"worse: candidate: model only: time \+(49|50)\.\d % \(", capsys.readouterr().out)


def test_a_reference_that_changed_too_is_said(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "bench", lambda bench: steady(bench, 1.5))
    found = difference_of(reports)
    assert (found["verdict"], "reference_speed" in notes(found)) == ("worse", True)
    assert "reference: model only: +50" in text_of(document_of(compare_reports(*map(read_report, reports))))


def test_times_of_a_simulation_judge_nothing(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "bench", lambda bench: steady(bench, 1.5, "A"))
    edit(reports[1], "bench", lambda bench: bench["sides"][0].update(simulated="Ascend910B4"))
    edit(reports[1], "verify", lambda verify: verify["candidate"].update(simulated="Ascend910B4"))
    found = difference_of(reports)
    assert found["verdict"] == "same"
    assert notes(found)[2:] == ["simulated_second", "speed_simulated"]


def test_too_few_iterations_judge_nothing(reports: tuple[Path, Path]) -> None:
    def shorten(bench: dict[str, Any]) -> None:
        for scope in bench["sides"][0]["scopes"].values():
            scope["rounds"] = [[3 * value for value in one] for one in scope["rounds"][:2]]

    edit(reports[1], "bench", shorten)
    found = difference_of(reports)
    assert (found["verdict"], "speed_few" in notes(found)) == ("same", True)


def test_other_work_is_not_compared_for_speed(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "bench", lambda bench: bench["sides"][0].update(batch=4))
    edit(reports[1], "verify", fails)
    found = difference_of(reports)
    assert found["speed"]["metrics"] == []
    assert "batch sizes: 1, 1 and 4, 1" in found["speed"]["refused"]
    assert "speed_refused" in notes(found)
    assert found["verdict"] == "worse"


def test_noise_is_said(reports: tuple[Path, Path]) -> None:
    edit(reports[0], "bench", lambda bench: bench["noise"].update(quiet=False, findings=["other programs"]))
    found = difference_of(reports)
    assert {"key": "noisy_first", "values": {"findings": "other programs"}} in found["notes"]


# -------------------------------------------------------------------------------------------------------- error rates


def test_an_error_rate_that_is_higher(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edit(reports[1], "score", lambda score: many_clips(score, 3, range(12)))
    found = difference_of(reports)
    [row] = found["error_rates"]["rows"]
    assert (row["first"], row["second"], row["clips"]) == (0.1, pytest.approx((12 * 3 + 8) / 200), CLIPS)
    assert 0.05 < row["difference"]["low"] < 0.12 < row["difference"]["high"] < 0.2
    assert reasons(found, "worse") == ["rate_higher"]
    assert main(["report", "diff", *map(str, reports)]) == 1
    assert "worse: WER 10.00% -> 22.00%: higher by" in capsys.readouterr().out
    assert reasons(difference_of((reports[1], reports[0])), "better") == ["rate_lower"]


def test_one_clip_is_no_evidence(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "score", lambda score: many_clips(score, 5, range(1)))
    found = difference_of(reports)
    [row] = found["error_rates"]["rows"]
    assert row["second"] > row["first"]
    assert row["difference"]["low"] == 0
    assert found["verdict"] == "same"


@pytest.mark.parametrize(
    ("intervals", "overlap"),
    [(([0.1, 0.2], [0.19, 0.3]), True), (([0.1, 0.2], [0.21, 0.3]), False), (([0, 1], None), None)],
)
def test_whether_intervals_overlap(reports: tuple[Path, Path], intervals: Any, overlap: bool | None) -> None:
    for report, interval in zip(reports, intervals, strict=True):
        edit(report, "score", lambda score, found=interval: score["candidate"]["totals"][0].update(interval=found))
    assert difference_of(reports)["error_rates"]["rows"][0]["overlap"] is overlap


def test_clips_that_fail_and_clips_of_one_only(reports: tuple[Path, Path]) -> None:
    def lose(score: dict[str, Any]) -> None:
        score["candidate"]["clips"][1]["reference_normalized"] = "other"
        lost = score["candidate"]["clips"].pop(0)
        score["candidate"]["failed"] = [{"id": lost["id"], "error": {}}]

    edit(reports[1], "score", lose)
    found = difference_of(reports)
    assert found["error_rates"]["rows"][0]["clips"] == CLIPS - 2
    assert (found["error_rates"]["left_out"], found["error_rates"]["other_texts"]) == (1, 1)
    assert reasons(found, "worse") == ["more_clips_fail"]
    assert "clips_left_out" in notes(found)


@pytest.mark.parametrize(("without", "note"), [((0,), "first"), ((1,), "second"), ((0, 1), "both")])
def test_without_error_rates(reports: tuple[Path, Path], without: tuple[int, ...], note: str) -> None:
    for place in without:
        (reports[place] / "results/score.json").unlink()
    found = difference_of(reports)
    assert (found["verdict"], found["error_rates"]["rows"]) == ("same", [])
    assert f"no_rates_{note}" in notes(found)


def test_the_paired_interval() -> None:
    lengths = [10] * 30
    hard = [0, 9] * 15  # the same clips are hard for both: the difference is 1 each time
    found = paired_difference(hard, [one + 1 for one in hard], lengths, resamples=500, seed=0)
    assert found is not None
    assert (found.low, found.high, found.drawn) == (pytest.approx(0.1), pytest.approx(0.1), 30)
    assert paired_difference([1] * 9, [2] * 9, [10] * 9, resamples=500, seed=0) is None
    assert paired_difference([0] * 30, [0] * 30, lengths, resamples=500, seed=0) is None
    assert paired_difference(hard, hard, lengths, resamples=0, seed=0) is None


# --------------------------------------------------------------------------------------------- conditions and refusals


def test_conditions_that_differ(reports: tuple[Path, Path]) -> None:
    def upgraded(bench: dict[str, Any]) -> None:
        bench["conditions"]["versions"].update(torch="9.9", numpy="8.8")
        bench["conditions"]["environment"]["TASK_QUEUE_ENABLE"] = "2"
        bench["sides"][0]["environment"]["cann"] = "8.5.0"
        bench["sides"][0]["threads"] = 64

    edit(reports[1], "bench", upgraded)
    edit(reports[1], "summary", lambda summary: summary.update(candidate="npu:float16"))
    bench = json.loads((reports[0] / "results/bench.json").read_text(encoding="utf-8"))
    versions, threads = bench["conditions"]["versions"], bench["sides"][0]["threads"]
    rows = {row["key"]: (row["first"], row["second"]) for row in difference_of(reports)["conditions"]}
    assert rows == {
        "candidate": ("cpu:bfloat16", "npu:float16"),
        "cann": ("-", "8.5.0"),
        "torch": (versions["torch"], "9.9"),
        "threads": (str(threads), "64"),
        "numpy": (versions["numpy"], "8.8"),
        "TASK_QUEUE_ENABLE": ("-", "2"),
    }


def test_other_weights_are_compared_and_said_first(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "summary", lambda summary: summary["model"].update(identity="f" * 64, name="finetuned"))
    found = difference_of(reports)
    assert found["notes"][0] == {"key": "other_weights", "values": {"first": "little-medasr", "second": "finetuned"}}
    assert [row["key"] for row in found["conditions"]] == ["model", "weights"]


def test_a_reference_that_says_something_else(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "verify", lambda verify: verify["windows"][0]["text"].__setitem__(0, "other words"))
    found = difference_of(reports)
    assert {"key": "reference_says_other", "values": {"windows": 1}} in found["notes"]
    assert found["verdict"] == "same"


def test_windows_cut_otherwise(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "verify", lambda verify: verify["windows"][1].update(start=0.5))
    found = difference_of(reports)
    assert (found["accuracy"]["compared"], found["accuracy"]["left_out"]) == (1, 2)
    assert "windows_left_out" in notes(found)


def other_recordings(bench: dict[str, Any]) -> None:
    bench["conditions"]["clips"][0].update(sha256="0" * 64, name="another.wav")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("bench", other_recordings, "other recordings: clip 0.wav only in the first, another.wav only in the second"),
        ("summary", lambda one: one["model"].update(family="whisper"), "different families: lasr_ctc and whisper"),
        ("summary", lambda one: one.update(schema=2), "results of version 2"),
        ("verify", lambda one: one.pop("windows"), "not as voxport writes it: KeyError: 'windows'"),
        ("verify", lambda one: one.update(windows=[[]]), "not as voxport writes it: TypeError"),
        ("bench", lambda one: one.update(sides=[]), "not as voxport writes it: IndexError"),
        ("score", lambda one: one.update(candidate=None), "not as voxport writes it: TypeError"),
    ],
)
def test_what_is_refused(
    reports: tuple[Path, Path], part: str, change: Callable[[dict[str, Any]], None], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    edit(reports[1], part, change)
    assert main(["report", "diff", *map(str, reports)]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_wrong_usage(reports: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(str, reports)
    for arguments, message in (
        ([first], "B is missing"),
        ([first, str(tmp_path / "absent")], "absent' is not there"),
        ([first, str(tmp_path)], "is no report: results/summary.json is missing"),
        ([first, second, "-o", "a.txt"], "a Markdown file is written"),
        ([first, second, "-o", str(tmp_path / "A" / "README.md" / "a.md")], "is a file, not a folder"),
        ([first, second, "--language", "fr"], "can't be 'fr'"),
    ):
        assert main(["report", "diff", *arguments]) == 2
        assert message in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------- zips


def test_zips_say_what_folders_say(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edit(reports[1], "verify", fails)
    assert main(["report", "diff", "--json", *map(str, reports)]) == 1
    told = capsys.readouterr().out
    assert main(["report", "diff", "--json", *(str(pack(report)) for report in reports)]) == 1
    assert capsys.readouterr().out == told


def members(report: Path, top: str = "A/") -> dict[str, bytes]:
    return {f"{top}results/{path.name}": path.read_bytes() for path in (report / "results").iterdir()}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_without_a_top_folder(made: Path, tmp_path: Path) -> None:
    found = read_report(write_zip(tmp_path / "a.zip", members(made, "")))
    assert found == Measurements.read(made / "results")


def bomb(files: dict[str, bytes]) -> None:
    files["A/results/verify.json"] = b" " * (LARGEST_PART + 1)


def deep(files: dict[str, bytes]) -> None:
    files["A/results/verify.json"] = b"[" * 1_000_000


def without(part: str) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.__delitem__(f"A/results/{part}.json")


def adding(name: str, content: bytes = b"{}") -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: content})


def crowd(files: dict[str, bytes]) -> None:
    files.update({f"A/{number}": b"" for number in range(1001)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bomb, "verify.json is larger than 64 MiB"),
        (deep, "verify.json of .* can't be read"),
        (without("verify"), "holds no results of a report: verify.json is missing"),
        (without("summary"), "is no report: results/summary.json is missing"),
        (adding("../results/summary.json"), r"it names '\.\./results/summary.json'"),
        (adding("/etc/passwd"), "it names '/etc/passwd'"),
        (adding("A/C:evil"), "it names 'A/C:evil'"),
        (adding("B/results/summary.json"), "it has 2 times results/summary.json"),
        (adding("A/results/bench.json", b"[]"), r"bench\.json of .* is no JSON object"),
        (adding("A/results/bench.json", b"\xff"), "bench.json of .* can't be read"),
        (adding("A/results/bench.json", b"1" * 5000), "bench.json of .* (can't be read|is no JSON object)"),
        (crowd, "a report at most 1000"),
    ],
)
def test_hostile_zips(made: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str) -> None:
    files = members(made)
    change(files)
    path = write_zip(tmp_path / "a.zip", files)
    with pytest.raises(UsageError, match=message):
        read_report(path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]


def test_a_bomb_that_lies_about_its_size(made: Path, tmp_path: Path) -> None:
    """The directory says 10 bytes; what is packed is more than the limit."""
    path = write_zip(tmp_path / "a.zip", {**members(made), "A/results/verify.json": b" " * (LARGEST_PART + 1)})
    true, false = struct.pack("<I", LARGEST_PART + 1), struct.pack("<I", 10)
    content = path.read_bytes()
    assert content.count(true) == 2
    path.write_bytes(content.replace(true, false))
    with pytest.raises(UsageError, match=r"larger than|damaged|can't be read"):
        read_report(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing(made: Path, tmp_path: Path, method: int) -> None:
    with pytest.raises(UsageError, match="in a way that --zip never does"):
        read_report(write_zip(tmp_path / "a.zip", members(made), method))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(made: Path, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", members(made))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("A/results/bench.json", b"{}")
    with pytest.raises(UsageError, match="two files of one name"):
        read_report(path)


@pytest.mark.parametrize("cut", [0, 10, 1000, -30])
def test_damaged_zips(made: Path, tmp_path: Path, cut: int) -> None:
    path = write_zip(tmp_path / "a.zip", members(made))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UsageError, match="is no report, or is damaged"):
        read_report(path)


def test_a_zip_whose_content_was_changed(made: Path, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", members(made), zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b'"lasr_ctc"', b'"lasr_CTC"'))
    with pytest.raises(UsageError, match="Bad CRC-32"):
        read_report(path)


# ---------------------------------------------------------------------------------------------------------- in writing


def everything(reports: tuple[Path, Path]) -> None:
    """Changes of every kind."""
    edit(reports[1], "verify", fails)
    edit(reports[1], "verify", lambda verify: say(verify, "a | b *c*"))
    edit(reports[1], "bench", lambda bench: steady(bench, 1.5))
    edit(reports[1], "score", lambda score: many_clips(score, 3, range(12)))
    edit(reports[1], "summary", lambda summary: summary.update(candidate="cpu:float16"))


@pytest.mark.parametrize("code", LANGUAGES)
def test_markdown(reports: tuple[Path, Path], tmp_path: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    everything(reports)
    path = tmp_path / "diff.md"
    assert main(["report", "diff", *map(str, reports), "-o", str(path), "--language", code]) == 1
    text = path.read_text(encoding="utf-8")
    words = language(code).words["diff"]
    assert f"**{words['verdict_worse']}**" in text
    assert not re.search(r"\{[a-z_]+\}|None\b", text), "something was not filled in"
    assert r"a \| b \*c\*" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1
    for name in ("conditions", "accuracy", "words", "speed", "error_rates", "rules"):
        assert f"## {words[name]}\n" in text
    assert capsys.readouterr().out.startswith(words["verdict_worse"])


def test_reports_from_elsewhere_send_no_commands_to_the_terminal(reports: tuple[Path, Path]) -> None:
    edit(reports[1], "verify", lambda verify: say(verify, "\x1b[2Jgone\x07"))
    edit(reports[1], "summary", lambda summary: summary.update(candidate="cpu\x1b]0;x\x07"))
    text = text_of(document_of(compare_reports(*map(read_report, reports))))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_every_sentence_can_be_said() -> None:
    """Keys that the code names are in the wording; nothing in the wording is said by nobody."""
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(compare_reports.__code__.co_filename).parent.glob("*.py")
    )
    for key in language("en").words["diff_statements"]:
        stem = re.sub(r"_(first|second|both)$", "_{", key)
        assert f'"{key}"' in source or f'f"{stem}' in source, key
    said = set(re.findall(r'Statement\(\s*"(\w+)"', source))
    assert said <= language("en").words["diff_statements"].keys()


def test_markdown_of_the_same(reports: tuple[Path, Path]) -> None:
    document = document_of(compare_reports(*map(read_report, reports)))
    text = markdown_of(document)
    assert "**SAME**" in text
    assert text.count("\n> ") == 2  # random weights, twice
