"""The Dockerfiles, read instruction by instruction; the entrypoint, run with a stand-in for CANN. Nothing is built."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKER = REPOSITORY / "docker"
FILES = {name: DOCKER / f"Dockerfile.{name}" for name in ("cpu", "cann")}
KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, rest of it), continuation lines joined and comments left out."""
    lines = [line for line in FILES[name].read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def arguments(name: str) -> dict[str, str]:
    return dict(rest.split("=", 1) for word, rest in instructions(name) if word == "ARG")


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"(?m)^([\w-]+)==(\S+)$", path.read_text(encoding="utf-8"))
    return dict(found)


def copied(name: str) -> list[str]:
    """Sources of COPY, relative to the repository."""
    found = []
    for word, rest in instructions(name):
        if word == "COPY":
            *sources, _ = [part for part in shlex.split(rest) if not part.startswith("--")]
            found += sources
    return found


@pytest.mark.parametrize("name", FILES)
def test_instructions_are_known_and_in_order(name: str) -> None:
    words = [word for word, _ in instructions(name)]
    assert set(words) <= KNOWN
    assert words[:2] == ["ARG", "FROM"]
    assert words.count("FROM") == words.count("ENTRYPOINT") == words.count("CMD") == 1
    last_work = max(index for index, word in enumerate(words) if word in ("RUN", "COPY"))
    assert last_work < words.index("USER"), "root's work comes before the user"


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_reaches_the_build(name: str) -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    taken = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert copied(name)
    for source in copied(name):
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch.fnmatch(source, f"{one}*") for one in taken), f"{source} is ignored"


@pytest.mark.parametrize("name", FILES)
def test_images_have_a_tag_that_stays(name: str) -> None:
    image = next(value for key, value in arguments(name).items() if key.endswith("_IMAGE"))
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", image)
    assert "latest" not in FILES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_it_does_not_run_as_root_and_keeps_models_in_a_volume(name: str) -> None:
    found = dict(instructions(name))
    assert found["USER"] == "${UID}", "a number, which Kubernetes' runAsNonRoot can check"
    assert int(arguments(name)["UID"]) > 0
    environment = " ".join(rest for word, rest in instructions(name) if word == "ENV")
    home = re.search(r"VOXPORT_HOME=(\S+)", environment)
    assert home is not None
    assert f'"{home[1]}"' in found["VOLUME"]
    assert f"install -d -o voxport -g {'voxport' if name == 'cpu' else 'HwHiAiUser'} {home[1]}" in " ".join(
        rest for word, rest in instructions(name) if word == "RUN"
    )


@pytest.mark.parametrize("name", FILES)
def test_versions_and_extras_agree_with_the_project(name: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = FILES[name].read_text(encoding="utf-8")
    extras = re.search(r"\[([\w,]+)\]\" *\\\n", text)
    assert extras is not None
    assert extras[1].split(",") == ["reference", "report"]
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    least = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"])
    assert least is not None
    image = next(value for key, value in arguments(name).items() if key.endswith("_IMAGE"))
    python = re.search(r"(?:python:|-py)(\d+)\.(\d+)", image)
    assert python is not None
    assert tuple(map(int, python.groups())) >= tuple(map(int, least.groups()))
    assert f"Programming Language :: Python :: {python[1]}.{python[2]}" in project["classifiers"]


def test_torch_on_the_cpu_is_the_one_of_the_constraints() -> None:
    assert arguments("cpu")["TORCH_VERSION"] == pins(REPOSITORY / "constraints.txt")["torch"]


def test_torch_and_torch_npu_are_a_pair_and_pinned_once() -> None:
    pair = pins(DOCKER / "requirements-cann.txt")
    assert set(pair) == {"torch", "torch_npu"}
    assert re.fullmatch(rf"{re.escape(pair['torch'])}(\.post\d+)?", pair["torch_npu"])
    assert pair["torch"] == pins(REPOSITORY / "constraints-oldest.txt")["torch"], "what `make test-oldest` runs with"
    for text in (FILES["cann"].read_text(encoding="utf-8"), (DOCKER / "entrypoint-cann.sh").read_text("utf-8")):
        assert pair["torch"] not in text
    cann = re.search(r"cann:(\d+\.\d+)", arguments("cann")["CANN_IMAGE"])
    assert cann is not None
    from voxport.devices.ascend import CANN_OF_TORCH_NPU

    assert cann[1] in CANN_OF_TORCH_NPU[".".join(pair["torch_npu"].split(".")[:2])], "doctor would call it a mismatch"
    table = (DOCKER / "README.md").read_text(encoding="utf-8")
    assert f"| {pair['torch']} | {pair['torch_npu']} | {cann[1]} | " in table
    assert arguments("cann")["CANN_IMAGE"] in table


def test_the_line_that_starts_it_passes_what_an_npu_needs() -> None:
    page = (DOCKER / "README.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "voxport:cann doctor" in one]
    words = shlex.split(block.replace("$(", "(").replace("\\\n", " "))
    devices = [words[index + 1] for index, word in enumerate(words) if word == "--device"]
    assert devices == ["/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
    mounts = {words[index + 1].split(":")[0] for index, word in enumerate(words) if word == "-v"}
    assert mounts >= {
        "/usr/local/dcmi",
        "/usr/local/bin/npu-smi",
        "/usr/local/Ascend/driver/lib64",
        "/usr/local/Ascend/driver/version.info",
        "/etc/ascend_install.info",
    }
    assert "--group-add" in words
    assert "--privileged" not in words


# --------------------------------------------------------------------------------------------------- the entrypoint


def start(folder: Path, set_env: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The entrypoint, with a `voxport` that shows what it was started with."""
    (folder / "voxport").write_text(
        '#!/bin/sh\necho "$LD_LIBRARY_PATH"\necho "$CANN $#"\nprintf "%s\\n" "$@"\nexit 3\n'
    )
    (folder / "voxport").chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "ASCEND_SET_ENV": str(set_env),
        "LD_LIBRARY_PATH": "before",
    }
    command = ["bash", str(DOCKER / "entrypoint-cann.sh"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_entrypoint_is_a_script(shell: str) -> None:
    subprocess.run([shell, "-n", str(DOCKER / "entrypoint-cann.sh")], check=True)
    assert os.access(DOCKER / "entrypoint-cann.sh", os.X_OK)


def test_the_entrypoint_sources_cann_and_passes_everything_on(tmp_path: Path) -> None:
    script = tmp_path / "set_env.sh"
    script.write_text('export CANN="sourced with $#"\nexport LD_LIBRARY_PATH="cann:$LD_LIBRARY_PATH"\n')
    done = start(tmp_path, script, "transcribe", "a b.wav", "--device", "npu")
    libraries, told, *words = done.stdout.splitlines()
    assert done.returncode == 3, "voxport's own exit code"
    assert told == "sourced with 0 4"
    assert words == ["transcribe", "a b.wav", "--device", "npu"]
    driver = "/usr/local/Ascend/driver/lib64"
    assert libraries.split(":") == [driver, f"{driver}/common", f"{driver}/driver", "cann", "before"]


def test_without_cann_the_entrypoint_says_so(tmp_path: Path) -> None:
    done = start(tmp_path, tmp_path / "absent.sh", "doctor")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: CANN's set_env.sh is not at {tmp_path}/absent.sh" in done.stderr
    assert "hint: build on an image with CANN" in done.stderr
