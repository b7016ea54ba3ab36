"""`voxport doctor` on machines of every kind, simulated: what it finds, says, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from fakes.ascend import HELD_DEVICE, MISSING_CANN, TABLE_910B4, write_cann, write_torch_npu
from fakes.environment import isolate
from voxport import cli
from voxport.cli.doctor import FAMILY_NAMES, render
from voxport.devices import DEVICES, cuda
from voxport.devices.ascend import inspect_host, parse_npu_smi
from voxport.doctor import choose, examine, host, probing
from voxport.doctor.checks import find_problems
from voxport.doctor.facts import (
    AscendFacts,
    Choice,
    CudaFacts,
    DeviceReport,
    Diagnosis,
    Home,
    KindReport,
    Package,
    Problem,
    Processor,
    PythonFacts,
    ReadyModel,
    RunPlan,
    System,
    TorchFacts,
)
from voxport.models import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

TORCH = metadata.version("torch").partition("+")[0]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in host.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("ASCEND_TOOLKIT_HOME", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    place = isolate(monkeypatch, tmp_path)
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "ATOMGIT_ENDPOINT"):
        monkeypatch.delenv(name)
    return place


@pytest.fixture
def cpu_only() -> None:
    """A machine with neither accelerators nor their software, but for what the test puts there."""
    ascend = inspect_host()
    if cuda.has_driver() or ascend.cann or ascend.sourced or ascend.device_files:
        pytest.skip("this machine has an accelerator, or the software for one")


PROGRAM = """
import functools, sys
import voxport.doctor
from voxport import cli
voxport.doctor.examine = functools.cache(voxport.doctor.examine)
code = cli.main(["doctor", "--json"])
print("=" * 9, code, cli.main(["doctor"]))
"""


class Doctor:
    """Runs the command in a process of its own, for people and for programs, and keeps what it says.

    Attributes:
        code: it ended with.
        text: for people.
        found: for programs.
    """

    def __init__(self) -> None:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        output, _, codes = done.stdout.rpartition("=" * 9)
        self.code, again = map(int, codes.split())
        assert again == self.code
        self.found, end = json.JSONDecoder().raw_decode(output)
        self.text = output[end:].lstrip("\n")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of packages that a new process meets first."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    return folder


def errors(diagnosis: Any) -> list[str]:
    return [problem["what"] for problem in diagnosis["problems"] if problem["severity"] == "error"]


# the four machines of which it must know what to say ------------------------------------------------------------


@pytest.mark.usefixtures("cpu_only")
def test_nothing_but_a_cpu() -> None:
    doctor = Doctor()
    found = doctor.found
    assert doctor.code == 0
    assert (found["schema"], found["ready"], found["ok"]) == (1, True, True)
    assert found["problems"] == []
    assert {device["name"]: device["usable"] for device in found["devices"]} == {
        "npu": False, "cuda": False, "cpu": True,
    }  # fmt: skip
    assert found["auto"] == {
        "device": "cpu",
        "why": "cpu, chosen by auto: no npu: torch_npu is not installed; no cuda: no NVIDIA driver is loaded",
    }
    assert found["plan"] == [{"family": family, "device": "cpu", "dtype": "float32"} for family in FAMILIES]
    assert found["torch"]["version"].startswith(TORCH)
    assert found["processor"]["threads"] >= 1
    assert found["models"] == []
    assert doctor.text.startswith(
        "ready: yes, on cpu; no model is here yet\ntry:   voxport transcribe RECORDING   (fetches whisper-base first)\n"
        "\nproblems: none\n"
    )


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("autoload", [None, "0"])
def test_torch_npu_without_cann(packages: Path, monkeypatch: pytest.MonkeyPatch, autoload: str | None) -> None:
    write_torch_npu(packages, f"def _autoload(): raise ImportError({MISSING_CANN!r})")
    if autoload is not None:
        monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", autoload)
    doctor = Doctor()
    found = doctor.found
    assert doctor.code == 1
    assert (found["ready"], found["ok"]) == (True, False)  # the CPU works all the same
    assert found["auto"]["device"] == "cpu"
    assert errors(found) == [f"no NPU: torch_npu {TORCH} is installed, CANN is not"]
    assert found["problems"][0]["remedy"].startswith("install CANN (toolkit and ops")
    warnings = found["problems"][1:]
    if autoload is None:
        (warning,) = warnings
        assert "plain `import torch` fails too" in warning["what"]
        assert warning["remedy"].startswith("export TORCH_DEVICE_BACKEND_AUTOLOAD=0")
    else:
        assert warnings == []


@pytest.mark.usefixtures("cpu_only")
def test_cann_whose_set_env_was_forgotten(packages: Path, tmp_path: Path) -> None:
    write_torch_npu(packages)
    cann = write_cann(tmp_path / "Ascend/cann-8.5.0")  # HOME is there: an install without root
    assert Doctor().found["problems"][0] == {
        "severity": "error",
        "what": f"no NPU: CANN is in {cann}, but its libraries aren't found in this shell (libhccl.so)",
        "remedy": f"source {cann}/set_env.sh",
    }


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("version", "wants", "cann", "problem", "remedy"),
    [
        ("2.12.0", TORCH, "8.5.0", "torch_npu 2.12.0 is paired with CANN 9.1, installed is 8.5.0",
         'pip install "torch==2.9.*" "torch_npu==2.9.*"'),
        ("2.7.1", "2.7.1", "8.3.RC1",
         f"torch_npu 2.7.1 is built for torch 2.7.1, torch is {metadata.version('torch')}",
         "pip install torch==2.7.1 "),
    ],
    ids=["cann", "torch"],
)  # fmt: skip
def test_versions_that_do_not_belong_together(
    packages: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    wants: str,
    cann: str,
    problem: str,
    remedy: str,
) -> None:
    body = "raise ImportError('libtorch_npu.so: undefined symbol: aclnnFoo')"
    write_torch_npu(packages, body, version=version, wants=wants)
    folder = write_cann(tmp_path / "cann", text=f"toolkit_running_version=[1.0:{cann}]\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(folder))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder / "lib64"))
    doctor = Doctor()
    found = doctor.found
    assert doctor.code == 1
    assert errors(found) == [
        f"no NPU: torch_npu can't be loaded: {problem} (libtorch_npu.so: undefined symbol: aclnnFoo)"
    ]
    assert found["problems"][0]["remedy"].startswith(remedy)
    assert found["ascend"]["mismatch"][0] == problem
    assert found["ascend"]["cann_version"] == cann
    assert f"torch_npu  {version}, goes with torch {wants}" in doctor.text
    assert f"  mend it: {remedy}" in doctor.text


@pytest.mark.usefixtures("cpu_only")
def test_a_device_held_by_another_process(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_torch_npu(packages, HELD_DEVICE)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(write_cann(tmp_path / "cann") / "lib64"))
    table = TABLE_910B4.replace("| 3     910B4 ", "| 0     910B4 ").replace("| 3       0 ", "| 0       0 ")
    table = "\n".join(table.splitlines()[:6] + table.splitlines()[9:])  # one NPU
    program = tmp_path / "npu-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{table}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    doctor = Doctor()
    found = doctor.found
    assert doctor.code == 1
    assert found["ready"] is False  # auto takes the NPU, since it is there
    (held,) = errors(found)
    assert held.startswith("npu:0: the driver refuses the device: another process or container may hold it")
    assert held.endswith("npu-smi shows on it: python3 (process 12345), vllm worker (process 12399)")
    assert "`npu-smi info` shows who uses it" in found["problems"][0]["remedy"]
    warnings = {problem["what"]: problem["remedy"] for problem in found["problems"][1:]}
    assert warnings["--device auto takes npu:0, which doesn't work"] == "voxport transcribe --device cpu ..."
    assert warnings["NPU 0 chip 0 (910B4) is Alarm"] == "npu-smi info -t health -i 0"
    assert doctor.text.startswith(
        "ready: not on npu:0, which --device auto takes; cpu works\ntry:   voxport transcribe --device cpu RECORDING\n"
    )


# machines that are more broken than that -----------------------------------------------------------------------


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("raise ImportError('libtorch_cpu.so: cannot open shared object file')", "torch can't be imported: libtorch_"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "torch can't be imported: looking at it ended"),
    ],
)
def test_a_torch_that_cannot_be_imported(packages: Path, body: str, problem: str) -> None:
    (packages / "torch.py").write_text(body + "\n")
    doctor = Doctor()
    found = doctor.found
    assert doctor.code == 1
    assert (found["ready"], found["ok"]) == (False, False)
    assert len(errors(found)) == 1
    assert errors(found)[0].startswith(problem)
    assert found["problems"][0]["remedy"]
    assert doctor.text.startswith("ready: no\n\nproblems: 1 error\n")
    assert "torch      can't be imported" in doctor.text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "looking at it ended the process (SIGABRT)"),
        ("import sys; sys.exit('gave up')", "looking at it ended the process (exit code 1): gave up"),
        ("import time; time.sleep(60)", "it gave no answer within 2 s"),
    ],
)
@pytest.mark.usefixtures("cpu_only")
def test_a_device_that_takes_its_process_down(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    (packages / "torch_npu.py").write_text("")
    (packages / "torch.py").write_text(body + "\n")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(write_cann(tmp_path / "cann") / "lib64"))
    report = probing.probe("npu", ["whisper"], time_limit=2.0 if "sleep" in body else 120.0)
    assert report.error is not None
    assert report.error.startswith(problem)
    assert report.hint
    assert not report.usable
    assert [device.problem for device in report.devices] == [report.error]


def test_what_libraries_print_is_no_answer(packages: Path) -> None:
    """Also what C code prints."""
    (packages / "torch.py").write_text("import os; print('hello'); os.write(1, b'{}'); raise ImportError('x')\n")
    report = probing.probe("cpu", ["whisper"])
    assert report.torch is not None
    assert report.torch.error == "torch can't be imported: x"
    assert report.devices[0].problem == "torch can't be imported: x"


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    report = probing.probe("cpu", ["whisper"])
    assert "no process can be started" in (report.error or "")
    assert report.torch is not None


def test_questions_that_cannot_be_answered_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("not\nallowed")

    for name in ("system", "python", "processor", "ascend", "cuda", "packages", "home", "models", "environment"):
        monkeypatch.setattr(host, name, fail)
    monkeypatch.setattr("voxport.doctor.find_problems", fail)
    monkeypatch.setattr("voxport.doctor.probe", lambda kind, families: KindReport(kind, "x", None, False, ()))
    diagnosis = examine()
    assert len(diagnosis.problems) == 10
    assert all(problem.severity == "warning" for problem in diagnosis.problems)
    assert "can't find out about the models that are here: not allowed" in [one.what for one in diagnosis.problems]
    assert not diagnosis.ok
    assert list(render(diagnosis))
    json.dumps(diagnosis.to_dict())


# from facts to problems ----------------------------------------------------------------------------------------

CPU = DeviceReport(
    "cpu", "cpu", usable=True, chip="Kunpeng 920 (TaiShan-v110), aarch64",
    dtypes={"whisper": "float32", "lasr_ctc": "float32"}, supported=("float32", "float16", "bfloat16"),
)  # fmt: skip
NPU = DeviceReport(
    "npu:0", "npu", 0, usable=True, chip="Ascend910B4", dtypes={"whisper": "float16", "lasr_ctc": "float32"},
    supported=("float32", "float16", "bfloat16"), notes=("float32 convolutions run in HF32",),
    memory_free=29 * 2**30, memory_total=32 * 2**30,
)  # fmt: skip
SERVER = Diagnosis(
    voxport="0.1.0",
    system=System("openEuler 22.03", "5.10.0", "aarch64", 512 * 2**30, 500 * 2**30, False),
    python=PythonFacts("3.11.14", "/usr/bin/python3", "/usr"),
    torch=TorchFacts("2.9.0+cpu", None, "DEFAULT", 128),
    processor=Processor("Kunpeng 920", "aarch64", 128, 128, (32, 32, 32, 32), None, 32, "one NUMA node"),
    devices=(NPU, DeviceReport("cuda", "cuda", problem="no NVIDIA driver is loaded"), CPU),
    ascend=AscendFacts(
        torch_npu="2.9.0", torch_npu_wants="2.9.0", cann="/usr/local/Ascend/cann", cann_version="8.5.1", sourced=True,
        driver_version="25.3.rc1", device_files=(0, 1), manager=True, cann_wanted=("8.5", "9.0"),
    ),
    cuda=CudaFacts(),
    packages=(Package("torch", "2.9.0+cpu", ">=2.9"), Package("transformers", None, required=False, fits=False)),
    home=Home("/data/voxport", True, 10**12),
    models=(ReadyModel("whisper-base", 149_556_309, "huggingface", "abc", False),),
    auto=Choice("npu:0", "npu:0, chosen by auto"),
    plan=(
        RunPlan("whisper", "npu:0", "float16"), RunPlan("lasr_ctc", "npu:0", "float32"),
        RunPlan("whisper", "cpu", "float32"), RunPlan("lasr_ctc", "cpu", "float32"),
    ),
    environment={},
)  # fmt: skip
KINDS = {
    "npu": KindReport("npu", None, None, True, (NPU,)),
    "cuda": KindReport("cuda", "no NVIDIA driver is loaded", None, True, (SERVER.devices[1],)),
    "cpu": KindReport("cpu", None, None, True, (CPU,), SERVER.torch),
}
NO_NPU = KindReport("npu", "why", "do this", False, (DeviceReport("npu", "npu", problem="why"),))


def found(diagnosis: Diagnosis = SERVER, **kinds: KindReport) -> list[Problem]:
    return find_problems(diagnosis, KINDS | kinds)


def test_a_server_on_which_all_is_well() -> None:
    assert found() == []
    assert SERVER.ready
    assert SERVER.ok
    assert SERVER.usable == ("npu:0", "cpu")


@pytest.mark.parametrize(
    ("ascend", "kind", "severity"),
    [
        ({"torch_npu": None, "device_files": ()}, NO_NPU, None),
        ({"torch_npu": None}, NO_NPU, "warning"),  # NPUs lie idle
        ({}, NO_NPU, "error"),
        ({"visible": "7"}, replace(NO_NPU, loaded=True), "warning"),  # somebody wanted it so
        ({"device_files": ()}, replace(NO_NPU, loaded=True), "warning"),
        ({}, replace(NO_NPU, loaded=True), "error"),
    ],
)
def test_how_bad_a_missing_npu_is(ascend: dict[str, Any], kind: KindReport, severity: str | None) -> None:
    diagnosis = replace(SERVER, ascend=replace(SERVER.ascend, **ascend), devices=(CPU,), auto=Choice("cpu", ""))
    problems = [problem for problem in found(diagnosis, npu=kind) if "why" in problem.what]
    assert [problem.severity for problem in problems] == ([severity] if severity else [])
    assert all(problem.remedy == "do this" for problem in problems)


@pytest.mark.parametrize(
    ("driver", "built", "severity"),
    [
        (CudaFacts(), "13.0", None),
        (CudaFacts(driver=True), None, "warning"),
        (CudaFacts(driver=True, visible=""), "13.0", "warning"),
        (CudaFacts(driver=True), "13.0", "error"),
    ],
)
def test_how_bad_a_missing_gpu_is(driver: CudaFacts, built: str | None, severity: str | None) -> None:
    diagnosis = replace(SERVER, cuda=driver, torch=replace(SERVER.torch, cuda=built))
    assert [problem.severity for problem in found(diagnosis)] == ([severity] if severity else [])


def test_versions_that_clash_and_work() -> None:
    clash = replace(SERVER, ascend=replace(SERVER.ascend, mismatch=("they clash", "pip install")))
    assert found(clash) == [Problem("warning", "they clash", "pip install")]
    (error, *_) = found(clash, npu=replace(NO_NPU, error="no device: they clash (x)"))
    assert error.what == "no NPU: no device: they clash (x)"
    assert "they clash" in [problem.what for problem in found(clash, npu=NO_NPU) if problem.severity == "error"]


def test_chips_that_npu_smi_knows_more_of() -> None:
    chips = tuple({**chip.__dict__, "processes": tuple(p.__dict__ for p in chip.processes)}
                  for chip in parse_npu_smi(TABLE_910B4))  # fmt: skip
    full = replace(NPU, name="npu:1", index=1, memory_free=2**30)
    ascend = replace(SERVER.ascend, chips=chips)
    diagnosis = replace(SERVER, ascend=ascend, devices=(NPU, full, CPU))
    memory, health = found(diagnosis, npu=replace(KINDS["npu"], devices=(NPU, full)))
    assert memory.what == (
        "npu:1 has only 1.0 GiB of its memory free; npu-smi shows on it: python3 (process 12345), vllm worker "
        "(process 12399)"
    )
    assert health.what == "NPU 3 chip 0 (910B4) is Alarm"
    text = "\n".join(render(diagnosis))
    assert "  3    0     910B4  Alarm   90.1  41  0       30,100 of 32,768 MiB  python3 (12345), vllm worker" in text


def test_npu_smi_that_fails() -> None:
    (problem,) = found(replace(SERVER, ascend=replace(SERVER.ascend, npu_smi_error="npu-smi failed (1): -8005")))
    assert "npu-smi failed" in problem.what
    assert "another one holds the device" in (problem.remedy or "")


def test_one_npu_of_two_fails() -> None:
    held = replace(NPU, usable=False, problem="it is held", hint="end it")
    other = replace(NPU, name="npu:1", index=1)
    diagnosis = replace(SERVER, devices=(held, other, CPU))
    error, warning = found(diagnosis, npu=replace(KINDS["npu"], devices=(held, other)))
    assert (error.severity, error.what, error.remedy) == ("error", "npu:0: it is held", "end it")
    assert warning.remedy == "voxport transcribe --device npu:1 ..."
    assert not diagnosis.ready
    assert diagnosis.usable == ("npu:1", "cpu")
    first = held, replace(held, name="npu:1", index=1)
    problems = found(
        replace(SERVER, devices=(NPU, *first[1:], CPU)), npu=replace(KINDS["npu"], devices=(NPU, first[1]))
    )
    assert [problem.what for problem in problems] == ["npu:1: it is held"]  # auto has another


def test_a_simulated_npu_is_said_to_be_one() -> None:
    simulated = replace(NPU, simulated="npu")
    diagnosis = replace(SERVER, devices=(simulated, CPU))
    (problem,) = found(diagnosis, npu=replace(KINDS["npu"], devices=(simulated,)))
    assert problem.remedy == "unset VOXPORT_SIMULATE"
    assert next(iter(render(diagnosis))) == "ready: yes, whisper-base on npu:0 (simulated)"


@pytest.mark.parametrize(
    ("changes", "severity", "what", "remedy"),
    [
        ({"home": Home("/data", False, 1)}, "warning", "can't be written", "export VOXPORT_HOME="),
        ({"home": Home("/data", False, 1), "models": ()}, "error", "can't be written", "export VOXPORT_HOME="),
        ({"home": Home("/data", True, 10**9)}, "warning", "only 1.0 GB are free", "export VOXPORT_HOME="),
        ({"models": (), "environment": {"HF_HUB_OFFLINE": "1"}}, "warning", "no model is here", "unset HF_HUB_OFFLINE"),
        ({"processor": replace(SERVER.processor, threads=128, threads_why="OMP_NUM_THREADS is set", cpu_limit=8.0)},
         "warning", "128 threads (OMP_NUM_THREADS is set) on 8 CPUs", "unset OMP_NUM_THREADS"),
        ({"packages": (Package("av", None, ">=17.1", fits=False, note='not installed: pip install "av>=17.1"'),)},
         "error", "av is not installed, voxport needs >=17.1", 'pip install "av>=17.1"'),
        ({"packages": (Package("av", "9.0", ">=17.1", fits=False, note="too old: pip install -U av"),)},
         "error", "av 9.0 is too old, voxport needs >=17.1", "pip install -U av"),
    ],
)  # fmt: skip
def test_other_problems(changes: dict[str, Any], severity: str, what: str, remedy: str) -> None:
    (problem,) = found(replace(SERVER, **changes))
    assert problem.severity == severity
    assert what in problem.what
    assert (problem.remedy or "").startswith(remedy)


def test_auto_takes_what_is_there_without_trying() -> None:
    assert choose(KINDS) == Choice("npu:0", "npu:0, chosen by auto")
    assert choose({"npu": NO_NPU, "cpu": KINDS["cpu"]}) == Choice("cpu", "cpu, chosen by auto: no npu: why")
    assert choose({"npu": NO_NPU}) == Choice(None, "no npu: why")


# facts ---------------------------------------------------------------------------------------------------------


def test_passwords_are_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {
        "http_proxy": "http://me:secret@proxy.example:8080",
        "HTTPS_PROXY": "me:se:c@ret@proxy.example:8080",
        "HF_ENDPOINT": "https://token-secret@mirror.example/hf",
        "no_proxy": "localhost,.example",
        "HF_TOKEN": "hf_secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("voxport.doctor.probe", lambda kind, families: KINDS[kind])
    cli.main(["doctor"])
    text = capsys.readouterr().out
    cli.main(["doctor", "--json"])
    assert "secret" not in text + capsys.readouterr().out
    assert "  http_proxy    http://***@proxy.example:8080\n" in text
    assert host.environment() == {
        "http_proxy": "http://***@proxy.example:8080",
        "HTTPS_PROXY": "***@proxy.example:8080",
        "HF_ENDPOINT": "https://***@mirror.example/hf",
        "no_proxy": "localhost,.example",
    } | {name: host.environment()[name] for name in ("VOXPORT_HOME", "HF_HOME")}


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.8.1+cpu", "transformers": "4.57.1", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    listed = {package.name: package for package in host.packages()}
    assert next(iter(listed)) == "torch"
    assert not listed["torch"].fits
    assert listed["torch"].note == 'too old: pip install --upgrade "torch>=2.9"'
    assert listed["numpy"].fits
    assert (listed["av"].version, listed["av"].fits) == (None, False)
    assert listed["transformers"].note == 'too old for the reference of MedASR: pip install "transformers>=5.0"'
    assert not listed["transformers"].required
    versions["transformers"] = "4.40.0"
    assert "Whisper and MedASR" in ({p.name: p for p in host.packages()}["transformers"].note or "")
    del versions["transformers"]
    assert "pip install" in ({p.name: p for p in host.packages()}["transformers"].note or "")


def test_everything_that_voxport_requires_is_listed() -> None:
    listed = {package.name: package for package in host.packages()}
    required = {line.partition(">")[0] for line in metadata.requires("voxport") or [] if "extra" not in line}
    assert required == {name for name, package in listed.items() if package.required}
    assert all(package.fits for package in listed.values() if package.required)


def test_what_the_references_want_is_what_they_say() -> None:
    from voxport.models.reference import lasr, whisper

    assert host.REFERENCE_WANTS == {"Whisper": whisper.MINIMUM_TRANSFORMERS, "MedASR": lasr.MINIMUM_TRANSFORMERS}
    assert FAMILY_NAMES.keys() == FAMILIES.keys()


def test_a_home_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "a/b"))
    assert host.home().writable
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").write_text("a file")
    assert not host.home().writable


def test_lines_fit_and_sections_without_content_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    random = ReadyModel("medasr-random", 10**8, "import", None, True)
    lines = list(render(replace(SERVER, models=(random,))))
    assert max(map(len, lines)) <= 100
    assert lines[0] == "ready: yes, on npu:0; no model is here yet"  # one that means something
    assert any(line.endswith("import, random weights: what it says means nothing") for line in lines)
    assert "environment" not in lines
    assert "Ascend" in lines
    assert "Ascend" not in list(render(replace(SERVER, ascend=AscendFacts())))
    table = lines[lines.index("what runs where") + 1 :][:3]
    assert table == ["         Whisper  MedASR", "  npu:0  float16  float32", "  cpu    float32  float32"]
    other = ReadyModel("whisper-tiny.en", 10**8, "index", None, False)
    assert list(render(replace(SERVER, models=(other,))))[:2] == [
        "ready: yes, whisper-tiny.en on npu:0",
        "try:   voxport transcribe --model whisper-tiny.en RECORDING",
    ]


def test_help_and_the_command_itself_import_no_torch() -> None:
    code = (
        "import sys\nfrom voxport import cli\nimport voxport.doctor, voxport.cli.doctor\n"
        "cli.main(['doctor', '--help'])\n"
        "code = cli.main(['doctor'])\nprint(code, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines()[-1].endswith("False False")
    assert done.stderr == ""


def test_every_kind_of_device_is_looked_at() -> None:
    assert {kind for kind in DEVICES if probing.look(kind, ["whisper"]).kind == kind} == set(DEVICES)
    report = probing.look("cpu", ["whisper"])
    assert report.torch is not None
    assert report.torch.version
    assert report.devices[0].dtypes == {"whisper": "float32"}
    assert report.devices[0].supported == ("float32", "float16", "bfloat16")
