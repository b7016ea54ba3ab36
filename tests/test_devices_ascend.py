"""What is found of Huawei's software by looking at files, and what npu-smi's tables say."""

from __future__ import annotations

import random
import stat
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from fakes.ascend import TABLE_310P3, TABLE_910B4, TABLE_A3, write_cann, write_torch_npu
from voxport.devices import ascend
from voxport.devices.ascend import (
    AscendHost,
    NPUProcess,
    NPUStatus,
    inspect_host,
    npu_status,
    parse_npu_smi,
    run_npu_smi,
)

TORCH = metadata.version("torch").partition("+")[0]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "LD_LIBRARY_PATH", "ASCEND_RT_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/users/somebody")
    # What simulates an NPU in this process stands in for torch_npu.
    monkeypatch.delitem(sys.modules, "torch_npu", raising=False)
    ours = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("voxport.")]
    monkeypatch.setattr(sys, "meta_path", ours)


def test_a_host_without_anything(tmp_path: Path) -> None:
    host = inspect_host(tmp_path)
    assert host == AscendHost(
        torch_npu=None, torch_npu_wants=None, torch=metadata.version("torch"), cann=None, cann_version=None,
        set_env=None, sourced=False, driver_version=None, device_files=(), manager=False, visible=None,
    )  # fmt: skip
    assert not host.has_hardware
    assert host.mismatch() is None
    assert host.cann_wanted == ()


DRIVER = """\
Version=24.1.rc3
ascendhal_version=7.35.23
aicpu_version=1.0
Innerversion=V100R001C19SPC001B141
compatible_version=[V100R001C13],[V100R001C15]
package_version=24.1.rc3
"""


def test_a_driver_and_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usr/local/Ascend/driver").mkdir(parents=True)
    (tmp_path / "usr/local/Ascend/driver/version.info").write_text(DRIVER)
    (tmp_path / "dev").mkdir()
    for name in ("davinci10", "davinci2", "davinci0", "davinci_manager", "davinci1x", "devmm_svm"):
        (tmp_path / "dev" / name).touch()
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "")
    host = inspect_host(tmp_path)
    assert host.driver_version == "24.1.rc3"
    assert host.device_files == (0, 2, 10)
    assert host.has_hardware
    assert host.manager
    assert host.visible == ""
    assert host.cann is None  # the driver lies beside it, and is none


VERSION_CFG = """\
# version: 1.0
runtime_running_version=[7.3.0:8.0.RC2]
toolkit_running_version=[7.5.0:8.1.RC1]
toolkit_upgrade_version=[1:9.9]
"""
INSTALL_INFO = """\
package_name=Ascend-cann-toolkit
version={}
innerversion=V100R001C23
compatible_version=[V100R001C15],[V100R001C20]
arch=aarch64
os=linux
path=/usr/local/Ascend/cann-8.5.0/aarch64-linux
"""


@pytest.mark.parametrize(
    ("folder", "version_file", "text", "version"),
    [
        ("usr/local/Ascend/ascend-toolkit/latest", "version.cfg", None, "8.5.0"),
        ("usr/local/Ascend/ascend-toolkit/latest", "version.cfg", "toolkit_running_version=[7.3:8.0.RC2]", "8.0.RC2"),
        ("usr/local/Ascend/ascend-toolkit/latest", "version.cfg", VERSION_CFG, "8.1.RC1"),
        ("usr/local/Ascend/ascend-toolkit/latest", "version.cfg", "opp_installed_version=[7.3.0:8.3.RC1]", "8.3.RC1"),
        ("usr/local/Ascend/ascend-toolkit/latest", "aarch64-linux/ascend_toolkit_install.info",
         INSTALL_INFO.format("8.2.RC1"), "8.2.RC1"),
        ("usr/local/Ascend/cann", "x86_64-linux/ascend_toolkit_install.info", INSTALL_INFO.format("9.0.0-beta.1"),
         "9.0.0-beta.1"),
        ("usr/local/Ascend/cann-8.5.0", "ascend_toolkit_install.info", INSTALL_INFO.format("8.5.0"), "8.5.0"),
        ("usr/local/Ascend/ascend-toolkit/8.0.0", "version.info", "Version = 8.0.0\r\n", "8.0.0"),
        ("usr/local/Ascend/latest", "version.info", "version=8.0.RC3.alpha002\n", "8.0.RC3.alpha002"),
        ("users/somebody/Ascend/ascend-toolkit/latest", "version.cfg", None, "8.5.0"),
        ("usr/local/Ascend/cann", "version.cfg", "nothing that is a version\n\xff", None),
    ],
)  # fmt: skip
def test_where_cann_lies_and_which_it_is(
    tmp_path: Path, folder: str, version_file: str, text: str | None, version: str | None
) -> None:
    write_cann(tmp_path / folder, version_file, text)
    host = inspect_host(tmp_path)
    assert host.cann == tmp_path / folder
    assert host.cann_version == version
    assert host.set_env == tmp_path / folder / "set_env.sh"
    assert not host.sourced


def test_the_newest_of_several_that_no_link_points_at(tmp_path: Path) -> None:
    for version in ("8.5.0", "9.1.0", "10.0.0"):
        write_cann(tmp_path / f"usr/local/Ascend/cann-{version}")
    assert inspect_host(tmp_path).cann == tmp_path / "usr/local/Ascend/cann-10.0.0"


def test_what_set_env_said_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cann(tmp_path / "usr/local/Ascend/cann")
    ours = write_cann(tmp_path / "ours/cann-9.1.0", "version.cfg", "toolkit_running_version=[1.2:9.1.0]\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "gone"))
    assert inspect_host(tmp_path).cann == tmp_path / "usr/local/Ascend/cann"
    monkeypatch.setenv("ASCEND_HOME_PATH", str(ours))
    host = inspect_host(tmp_path)
    assert (host.cann, host.cann_version, host.set_env) == (ours, "9.1.0", ours / "set_env.sh")


def test_the_set_env_of_the_classic_layout_lies_above(tmp_path: Path) -> None:
    cann = write_cann(tmp_path / "usr/local/Ascend/ascend-toolkit/latest")
    (cann / "set_env.sh").rename(cann.parent / "set_env.sh")
    assert inspect_host(tmp_path).set_env == cann.parent / "set_env.sh"


def test_whether_its_libraries_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cann = write_cann(tmp_path / "usr/local/Ascend/cann")
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}:/nowhere")
    assert not inspect_host(tmp_path).sourced
    monkeypatch.setenv("LD_LIBRARY_PATH", f":/nowhere:{cann / 'lib64'}")
    assert inspect_host(tmp_path).sourced
    monkeypatch.delenv("LD_LIBRARY_PATH")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.cache").write_bytes(b"\x7f...libhccl.so.old\0...")
    assert not inspect_host(tmp_path).sourced
    (tmp_path / "etc/ld.so.cache").write_bytes(b"...\0libhccl.so\0/usr/lib/libhccl.so\0")
    assert inspect_host(tmp_path).sourced


def test_an_installed_torch_npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = write_torch_npu(tmp_path / "packages", version="2.9.0.post1+gitee7ba04", wants="2.9.0")
    monkeypatch.syspath_prepend(packages)
    host = inspect_host(tmp_path)
    assert host.torch_npu == "2.9.0.post1+gitee7ba04"
    assert host.torch_npu_wants == "2.9.0"
    assert host.cann_wanted == ("8.5", "9.0", "9.1")
    assert "torch_npu" not in sys.modules  # nothing is loaded


def test_a_torch_npu_that_was_never_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_npu.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    host = inspect_host(tmp_path)
    assert (host.torch_npu, host.torch_npu_wants) == ("unknown", None)
    assert host.mismatch() is None


def test_a_torch_npu_whose_files_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = write_torch_npu(tmp_path / "packages")
    (packages / "torch_npu/__init__.py").unlink()
    (packages / "torch_npu").rmdir()
    monkeypatch.syspath_prepend(packages)
    assert inspect_host(tmp_path).torch_npu is None


def test_a_torch_npu_that_is_loaded_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_npu", ModuleType("torch_npu"))  # without a spec
    assert inspect_host(tmp_path).torch_npu == "unknown"


HOST = AscendHost(
    torch_npu="2.9.0.post1", torch_npu_wants="2.9.0", torch="2.9.0+cpu", cann=Path("/cann"), cann_version="8.5.1",
    set_env=None, sourced=True, driver_version=None, device_files=(), manager=False, visible=None,
)  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        HOST,
        replace(HOST, torch="2.9.0"),
        replace(HOST, cann_version=None),
        replace(HOST, cann_version="9.0.0-beta.1"),
        replace(HOST, torch_npu="2.14.0", torch_npu_wants="2.14.0", torch="2.14.0"),  # paired with what isn't known
        replace(HOST, torch_npu=None),
        replace(HOST, torch_npu_wants=None, torch="2.13.0"),
    ],
)
def test_versions_that_belong_together(host: AscendHost) -> None:
    assert host.mismatch() is None


@pytest.mark.parametrize("torch", ["2.13.0+cpu", "2.9.1", "2.90.0"])
def test_a_torch_that_torch_npu_is_not_built_for(torch: str) -> None:
    clash = replace(HOST, torch=torch).mismatch()
    assert clash is not None
    assert clash[0] == f"torch_npu 2.9.0.post1 is built for torch 2.9.0, torch is {torch}"
    assert clash[1].startswith("pip install torch==2.9.0 ")


def test_a_cann_that_torch_npu_is_not_paired_with() -> None:
    clash = replace(HOST, cann_version="8.3.RC1").mismatch()
    assert clash == (
        "torch_npu 2.9.0.post1 is paired with CANN 8.5 or 9.0 or 9.1, installed is 8.3.RC1",
        'pip install "torch==2.8.*" "torch_npu==2.8.*"  (paired with CANN 8.3.RC1)',
    )
    clash = replace(HOST, cann_version="7.0.0").mismatch()
    assert clash is not None
    assert clash[1].startswith("install CANN 9.1 ")
    assert replace(HOST, cann_version="8.50.0").mismatch() is not None


# npu-smi --------------------------------------------------------------------------------------------------------


def test_a_310p() -> None:
    assert parse_npu_smi(TABLE_310P3) == [NPUStatus(0, "310P3", "OK", 15.8, 42.0, 0.0, 600, 7578, chip=0, device=0)]


def test_a_910b_with_its_hbm_and_processes() -> None:
    first, second = parse_npu_smi(TABLE_910B4)
    assert first == NPUStatus(2, "910B4", "OK", 88.9, 39.0, 12.0, 2858, 32768)
    assert (second.index, second.health, second.memory_used) == (3, "Alarm", 30100)
    assert second.processes == (NPUProcess(12345, "python3", 27301), NPUProcess(12399, "vllm worker", 140))


def test_two_chips_an_npu() -> None:
    first, second = parse_npu_smi(TABLE_A3)
    assert (first.index, first.chip, first.device, first.power, first.temperature) == (0, 0, 0, 178.5, 36.0)
    assert (second.index, second.chip, second.device, second.power, second.temperature) == (0, 1, 1, None, 37.0)
    assert second.memory_total == 65536


def test_power_that_is_not_shown_is_not_the_temperature() -> None:
    (chip,) = parse_npu_smi(TABLE_310P3.replace("15.8", "NA  "))
    assert (chip.power, chip.temperature) == (None, 42.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "dcmi module initialize failed. ret is -8005",
        "| 0 | 1 | 2 |",
        "| 0 310P3 | OK | 15.8 42 |",
        "| 0 0 | a | 1 |\n| 0 0 | a |",
        "|||\n||||\n| x | y | z |\n",
        f"| {'9' * 5000} a | OK | 1 |\n| {'9' * 5000} 0 | 0 | 1 / 2 |",
    ],
)
def test_what_is_no_table(text: str) -> None:
    assert parse_npu_smi(text) == []


def test_columns_that_nobody_knows_are_left_alone() -> None:
    text = "| 0 910X | Fine | 1.0 2 3 / 4 5 |\n| 0 0 9 | ?? | 7 1 / 2 3 / 4 60% |"
    assert parse_npu_smi(text) == [NPUStatus(0, "910X", "Fine", 1.0, 2.0, 7.0, 3, 4, device=0)]
    assert parse_npu_smi("| 0 910X | | |\n| 0 | | |") == [NPUStatus(0, "910X", "", None, None, None, None, None)]


def test_no_garbage_makes_it_fall_over() -> None:
    chance = random.Random(0)
    letters = "| 0123456789/-+.NAOK\n\t=:x²٣"
    for table in (TABLE_310P3, TABLE_910B4, TABLE_A3):
        for _ in range(300):
            text = list(table)
            for _ in range(30):
                text[chance.randrange(len(text))] = chance.choice(letters)
            for chip in parse_npu_smi("".join(text)):
                assert chip.index >= 0


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program called npu-smi, alone on the path."""
    path = folder / "npu-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_asking_npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"cat <<'END'\n{TABLE_310P3}END")
    assert npu_status() == parse_npu_smi(TABLE_310P3)
    program(tmp_path, monkeypatch, "echo 'dcmi module initialize failed. ret is -8005'; exit 1")
    assert npu_status() is None
    assert run_npu_smi() == (None, "npu-smi failed (1): dcmi module initialize failed. ret is -8005")
    program(tmp_path, monkeypatch, "echo nothing")
    assert run_npu_smi() == (None, "npu-smi failed (0): nothing")
    program(tmp_path, monkeypatch, "exec sleep 20")
    assert run_npu_smi(timeout=0.2) == (None, "npu-smi gave no answer within 0.2 s")


def test_npu_smi_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascend.shutil, "which", lambda _: str(tmp_path / "npu-smi"))
    assert run_npu_smi() == (None, None)
    assert npu_status() is None
    (tmp_path / "npu-smi").write_text("not a program")
    text, error = run_npu_smi()
    assert text is None
    assert "npu-smi can't be run" in (error or "")
