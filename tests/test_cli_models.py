"""`voxport models`: what it prints, what it leaves alone, and how it fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fakes.checkpoints import fake_convert, model_files, repository_files, write_folder
from fakes.environment import files_under, isolate
from fakes.hub import COMMIT, FakeHub
from fakes.modelscope import FakeModelScope
from voxport import cli
from voxport.cli.models import RANDOM_NAMES, SOURCE_NAMES
from voxport.models.hub import catalog
from voxport.models.hub.progress import BarProgress, LineProgress, SilentProgress, megabytes, terminal_progress

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("voxport.models.convert.convert", fake_convert)
    return isolate(monkeypatch, tmp_path)


class Shell:
    """Runs commands, keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.error = ""

    def __call__(self, *arguments: object, expect: int = 0) -> str:
        code = cli.main(["models", *map(str, arguments)])
        output, self.error = self._capsys.readouterr()
        assert code == expect, self.error
        return output

    def json(self, *arguments: object) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "ours.pt"
    path.write_bytes(b"weights")
    return path


def test_the_sources_it_names_are_all_there_are() -> None:
    assert SOURCE_NAMES == catalog.SOURCES
    assert tuple(catalog.RANDOM_FAMILIES) == RANDOM_NAMES


def test_pulling_into_a_file_fails_before_anything_is_fetched(shell: Shell, checkpoint: Path) -> None:
    shell("pull", "whisper-tiny.en", "--source", "index", "-d", checkpoint, expect=2)
    assert f"{checkpoint} is a file, not a folder" in shell.error
    assert checkpoint.read_bytes() == b"weights"


def test_a_home_that_nobody_has(shell: Shell) -> None:
    shell("show", "~nobody-lives-here/model", expect=2)
    assert "~nobody-lives-here/model" in shell.error


def cache_model(tmp_path: Path, repository: str = "openai--whisper-tiny") -> Path:
    folder = tmp_path / f"hf/hub/models--{repository}"
    write_folder(folder / "refs", {"main": COMMIT.encode()})
    write_folder(folder / "snapshots" / COMMIT, model_files())
    return folder


def test_list(shell: Shell, checkpoint: Path, tmp_path: Path) -> None:
    shell("import", checkpoint, "ours")
    cache_model(tmp_path)
    lines = shell("list").splitlines()
    assert lines[0].split() == ["NAME", "HERE", "SIZE", "SOURCE", "REVISION"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows["whisper-tiny"][1] == "yes"
    assert rows["whisper-tiny"][-2:] == ["huggingface", COMMIT[:12]]
    assert rows["medasr"][1] == "-"
    assert rows["ours"][1] == "yes"
    assert len(rows) == 12


def test_list_json(shell: Shell, checkpoint: Path, home: Path) -> None:
    path = shell("import", checkpoint, "ours", "-q").strip()
    entries = {entry["name"]: entry for entry in shell.json("list")}
    assert entries["ours"] == {
        "name": "ours",
        "ready": True,
        "sources": [],
        "source": "import",
        "revision": path.rsplit("/", 1)[-1],
        "path": path,
        "size": sum((home / path / name).stat().st_size for name in files_under(home / path)),
        "licence": None,
        "random_weights": False,
    }
    assert entries["whisper-base"]["ready"] is False
    assert entries["whisper-base"]["sources"][-1] == "index"


def test_show(shell: Shell, checkpoint: Path) -> None:
    path = shell("import", checkpoint, "whisper-tiny", "-q").strip()
    facts = shell.json("show", "tiny")
    assert facts["ready"] is True
    assert len(facts["identity"]) == 64
    assert facts["identity"].startswith(facts["revision"])
    assert (facts["name"], facts["path"], facts["source"]) == ("whisper-tiny", path, "import")
    assert (facts["family"], facts["mels"], facts["vocabulary"]) == ("whisper", 80, 51865)
    assert facts["languages"] == ["de", "en"]
    assert facts["parameters"] == 16
    assert facts["dtypes"] == ["F32"]
    assert facts["random_weights"] is False
    assert facts["licence"] is None  # an import may be anything, whatever it is called
    assert facts["shape"] == {
        "encoder_layers": 2, "decoder_layers": 1, "width": 4, "encoder_heads": 2, "decoder_heads": 2,
    }  # fmt: skip
    assert facts["tensors"]["model.encoder.conv1.weight"] == {"dtype": "F32", "shape": [4, 3]}
    text = shell("show", "whisper-tiny")
    assert f"identity:         {facts['identity']}" in text
    assert "conv1" not in text
    assert "weights:" not in text  # said of random ones only


def test_show_a_folder_and_a_cached_model(shell: Shell, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", model_files())
    facts = shell.json("show", folder)
    assert (facts["source"], facts["path"], facts["revision"]) == ("folder", str(folder), None)
    cached = cache_model(tmp_path)
    facts = shell.json("show", "openai/whisper-tiny")
    assert facts["path"] == str(cached / "snapshots" / COMMIT)
    assert facts["revision"] == COMMIT
    assert "MIT" in facts["licence"]


def test_show_what_is_not_here(shell: Shell) -> None:
    facts = shell.json("show", "medasr")
    assert facts["ready"] is False
    assert facts["gated"] is True
    assert facts["repositories"]["atomgit"] == "hf_mirrors/google/medasr"
    shell("show", "medasr")
    assert "voxport models pull medasr" in shell.error
    shell("show", "whisper-huge", expect=2)
    assert "error: unknown model 'whisper-huge'" in shell.error


def test_pull_into_a_folder(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = repository_files()
    monkeypatch.chdir(tmp_path)
    with FakeModelScope({"google/medasr": files}) as fake:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", fake.url)
        output = shell("pull", "google/medasr", "--source", "modelscope", "-d", "./weights")
        assert output == f"{tmp_path / 'weights'}\n"
        assert "google/medasr/model.safetensors from ModelScope" in shell.error
        found = shell.json("pull", "google/medasr", "--source", "modelscope", "--local_dir", "again", "-q")
        assert shell.error == ""
    assert found == {"name": "medasr", "path": str(tmp_path / "again"), "source": "modelscope", "revision": "master"}
    assert files_under(tmp_path / "weights") == files_under(tmp_path / "again") == set(files)


def test_pull_from_the_hub_and_rm_leaves_its_cache(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHub({"openai/whisper-tiny": repository_files()}) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        path = shell("pull", "whisper-tiny", "-q").strip()
    assert path == str(tmp_path / "hf/hub/models--openai--whisper-tiny/snapshots" / COMMIT)
    shell("rm", "whisper-tiny", expect=2)
    assert f"rm -r '{tmp_path / 'hf/hub/models--openai--whisper-tiny'}'" in shell.error
    assert shell.json("show", "whisper-tiny")["ready"] is True


def test_rm(shell: Shell, checkpoint: Path, home: Path, tmp_path: Path) -> None:
    path = shell("import", checkpoint, "whisper-tiny", "-q").strip()
    cached = cache_model(tmp_path)
    assert shell("rm", "tiny") == f"removed {path}\n"
    assert f"rm -r '{cached}'" in shell.error
    assert files_under(home) == set()
    assert (cached / "snapshots" / COMMIT / "model.safetensors").exists()
    assert shell.json("show", "tiny")["source"] == "huggingface"
    shell("import", checkpoint, "ours", "-q")
    outcome = shell.json("rm", "ours")
    assert len(outcome["removed"]) == 1
    assert outcome["left"] == []
    shell("rm", "ours", expect=2)
    assert "no model ours in the store" in shell.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "whisper-huge"], "unknown model"),
        (["pull", "whisper-tiny", "--source", "ftp"], "ftp"),
        (["pull", "medasr", "--source", "index"], "index doesn't have medasr"),
        (["pull", "whisper-small"], "no source could give whisper-small"),
        (["import", "./none.pt", "ours"], "no file or folder"),
        (["import"], "PATH and NAME are missing"),
        (["import", "ours.pt"], "hint: usage: voxport models import PATH NAME"),
        (["import", "a", "b", "c"], "unexpected argument 'c'"),
        (["import", "a", "b", "--seed", "1"], "--seed is of random weights only"),
        (["import", "--random", "whisper", "mine"], "--random can't be 'whisper'"),
        (["import", "--random"], "--random needs a value"),
        (["import", "--random", "medasr"], "hint: usage: voxport models import --random medasr NAME"),
        (["import", "--random", "medasr", "a", "b"], "takes a NAME only, not 'a' and 'b'"),
        (["import", "--random", "medasr", "mine", "--seed", "-1"], "--seed can't be -1"),
        (["import", "--random", "medasr", "no such"], "'no such' can't be a model's name"),
        (["rm", "../../etc"], "no model"),
        (["show"], "NAME"),
        (["fly"], "fly"),
    ],
)
def test_mistakes(shell: Shell, home: Path, arguments: list[str], words: str) -> None:
    assert shell(*arguments, expect=2) == ""
    assert words in shell.error
    assert "Traceback" not in shell.error
    assert files_under(home) == set()


def test_without_an_action_it_says_what_there_is(shell: Shell) -> None:
    assert "voxport models {list,show,pull,import,rm}" in shell()
    assert "--source" in shell("pull", "--help")


def test_progress_suits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(terminal_progress(quiet=True), SilentProgress)
    assert isinstance(terminal_progress(), LineProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(terminal_progress(), BarProgress)


def test_plain_lines_and_bars(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (LineProgress(interval=0.0), BarProgress()):
        progress.start("model.bin", 2_000_000)
        progress.advance(1_500_000)
        progress.advance(500_000)
        progress.finish()
    output, error = capsys.readouterr()
    assert output == ""
    lines = error.splitlines()
    assert lines[0] == "downloading model.bin (2.0 MB)"
    assert lines[1].startswith("  model.bin: 1.5 MB of 2.0 MB, ")
    assert lines[3].startswith("  model.bin: done in ")
    assert "100%" in lines[-1]


def test_megabytes() -> None:
    assert [megabytes(count) for count in (2_317, 75_537_502, 3_087_000_000)] == ["2.3 kB", "75.5 MB", "3.09 GB"]
