"""Models with random weights: how they come into the store, and that nothing shows them without saying so."""

from __future__ import annotations

import errno
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import fake_pipeline
import voxport
from fakes.checkpoints import model_files, write_folder
from fakes.environment import RecordingProgress, files_under, isolate
from fakes.lasr import SMALL, lasr_folder
from voxport import cli
from voxport.errors import ModelError, UsageError
from voxport.models import hub
from voxport.models.hub import store
from voxport.models.hub.inventory import describe, list_all
from voxport.models.identity import model_identity
from voxport.models.lasr import LasrModel

MEANS_NOTHING = "what it says means nothing"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Models that take no time to make, but where a test is about the true shape."""
    if "true_shape" not in request.node.name:
        monkeypatch.setattr("voxport.models.lasr.random_weights.LasrDimensions", lambda: SMALL)


def run(capsys: pytest.CaptureFixture[str], *arguments: object, expect: int = 0) -> tuple[str, str]:
    code = cli.main([*map(str, arguments)])
    output, error = capsys.readouterr()
    assert code == expect, error
    return output, error


# How they are made ----------------------------------------------------------------------------------------------------


def test_it_is_in_the_store_and_can_be_loaded(home: Path) -> None:
    progress = RecordingProgress()
    stored = hub.import_random("medasr", "mine", seed=3, progress=progress)
    assert stored.path.parent == home / "models/mine"
    assert {name: stored.record[name] for name in ("source", "random", "seed")} == {
        "source": "import", "random": "medasr", "seed": 3,
    }  # fmt: skip
    assert stored.record["identity"] == model_identity(stored.path)
    assert stored.revision == stored.record["identity"][:12]
    assert progress.notes == [f"making medasr with random weights as mine: {MEANS_NOTHING}"]
    model = voxport.load_model("mine", device="cpu", offline=True)
    assert isinstance(model, LasrModel)
    assert model.info.random_weights
    assert (model.info.identity, model.info.name) == (stored.record["identity"], "mine")
    assert model.net.dims == SMALL


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    first = hub.import_random("medasr", "a", seed=1)
    again = hub.import_random("medasr", "b", seed=1)
    other = hub.import_random("medasr", "a", seed=2)
    assert first.record["identity"] == again.record["identity"] != other.record["identity"]
    assert hub.resolve("a", offline=True).revision == other.revision  # the last one made
    assert model_identity(lasr_folder(tmp_path / "by-hand", seed=1)) == first.record["identity"]
    assert first.record["identity"] != hub.import_random("medasr", "c").record["identity"]


def test_repeated_it_is_the_same_folder() -> None:
    first = hub.import_random("medasr", "mine")
    before = (first.path / "model.safetensors").stat().st_mtime_ns
    assert hub.import_random("medasr", "mine").path == first.path
    assert (first.path / "model.safetensors").stat().st_mtime_ns == before


def test_weights_are_written_as_they_are_drawn(tmp_path: Path) -> None:
    tensors = load_file(lasr_folder(tmp_path / "made") / "model.safetensors")
    assert tensors["encoder.layers.1.conv.norm.num_batches_tracked"].item() == 1000
    assert tensors["ctc_head.weight"].shape == (64, 32, 1)
    assert all(tensor.float().std() > 0.01 for tensor in tensors.values() if tensor.ndim)


@pytest.mark.full
def test_the_true_shape() -> None:
    hub.import_random("medasr", "true_shape")
    facts = describe("true_shape")
    # 105,265,408 parameters; and in each of 17 batch norms 2 x 512 statistics and a count.
    assert facts["parameters"] == 105_282_833
    assert facts["shape"] == {"encoder_layers": 17, "width": 512, "encoder_heads": 8}
    assert (facts["mels"], facts["vocabulary"]) == (128, 512)


@pytest.mark.parametrize(
    "name", ["medasr", "MedASR", "google/medasr", "base", "whisper-base", "Turbo", "openai/whisper-tiny", "org/name"]
)
def test_it_never_goes_by_a_published_models_name(home: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"random weights must not be called '{name}'") as caught:
        hub.import_random("medasr", name)
    assert caught.value.hint == "choose another, e.g. medasr-random"
    assert files_under(home) == set()


def test_it_never_takes_the_place_of_another_model() -> None:
    with store.locked("ours"), store.staging("ours") as folder:
        place = store.place(write_folder(folder / "model", model_files()), "ours", "f" * 64, {"source": "import"})
    with pytest.raises(UsageError, match="ours is in the store already, with weights that are not random") as caught:
        hub.import_random("medasr", "ours")
    assert "voxport models rm ours" in str(caught.value.hint)
    assert hub.resolve("ours", offline=True).path == place.path


def test_a_folder_imported_by_hand_may_be_replaced(tmp_path: Path) -> None:
    hub.import_model(lasr_folder(tmp_path / "made", seed=8), "mine")
    assert hub.import_random("medasr", "mine").path == hub.resolve("mine", offline=True).path


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", ".hidden", "with space"])
def test_bad_names(home: Path, name: str) -> None:
    with pytest.raises(UsageError):
        hub.import_random("medasr", name)
    assert files_under(home) == set()


def test_unknown_family() -> None:
    with pytest.raises(UsageError, match="no random weights for 'whisper'") as caught:
        hub.import_random("whisper", "mine")
    assert caught.value.hint == "one of: medasr"


def test_a_full_disk_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if self.name == "model.safetensors" and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ModelError) as caught:
        hub.import_random("medasr", "mine")
    assert caught.value.code == "disk_full"
    assert files_under(home) == set()


# The command line -----------------------------------------------------------------------------------------------------


def test_import_prints_the_folder_and_says_what_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, error = run(capsys, "models", "import", "--random", "medasr", "mine")
    path = Path(output.rstrip("\n"))
    assert path.parent == home / "models/mine"
    assert error == f"making medasr with random weights as mine: {MEANS_NOTHING}\n"
    output, error = run(capsys, "models", "import", "mine", "--seed", 5, "--random=medasr", "--json", "--quiet")
    found = json.loads(output)
    assert error == ""
    assert found == {
        "name": "mine", "path": str(path.parent / found["revision"]), "source": "import", "revision": found["revision"],
    }  # fmt: skip
    assert json.loads((Path(found["path"]) / "voxport.json").read_text())["seed"] == 5


def test_import_refuses_a_known_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, error = run(capsys, "models", "import", "--random", "medasr", "medasr", expect=2)
    assert output == ""
    assert error.splitlines() == [
        "error: random weights must not be called 'medasr': a published model goes by that name",
        "hint: choose another, e.g. medasr-random",
    ]
    assert files_under(home) == set()


def test_list_marks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.import_random("medasr", "mine")
    cached = tmp_path / "hf/hub/models--google--medasr"
    write_folder(cached / "refs", {"main": b"a" * 40})
    lasr_folder(cached / "snapshots" / ("a" * 40))
    lines = run(capsys, "models", "list")[0].splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert "import (random weights)" in rows["mine"]
    assert "huggingface (random weights)" in rows["medasr"]
    assert "random" not in rows["whisper-tiny"]
    entries = {entry["name"]: entry for entry in json.loads(run(capsys, "models", "list", "--json")[0])}
    assert [entries[name]["random_weights"] for name in ("mine", "medasr", "whisper-tiny")] == [True, True, False]


def test_a_damaged_config_is_no_reason_to_list_nothing() -> None:
    stored = hub.import_random("medasr", "mine")
    for damaged in ("{", "[]", "\udcff"):
        (stored.path / "config.json").write_bytes(damaged.encode("utf-8", "surrogateescape"))
        assert [entry.random_weights for entry in list_all() if entry.name == "mine"] == [False]


def test_show_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = hub.import_random("medasr", "mine")
    facts = json.loads(run(capsys, "models", "show", "mine", "--json")[0])
    assert facts["random_weights"] is True
    assert (facts["family"], facts["identity"]) == ("lasr_ctc", stored.record["identity"])
    assert (facts["mels"], facts["vocabulary"], facts["dtypes"]) == (16, 64, ["F32", "I64"])
    assert facts["shape"] == {"encoder_layers": 2, "width": 32, "encoder_heads": 2}
    assert set(facts["languages"]) == LasrModel.languages
    assert facts["tensors"]["ctc_head.weight"] == {"dtype": "F32", "shape": [64, 32, 1]}
    lines = run(capsys, "models", "show", "mine")[0].splitlines()
    assert f"weights:          random: {MEANS_NOTHING}" in lines
    assert not any(line.startswith("random weights") for line in lines)
    folder = lasr_folder(tmp_path / "trained", voxport_random_weights=False)
    assert json.loads(run(capsys, "models", "show", folder, "--json")[0])["random_weights"] is False
    assert "weights:" not in run(capsys, "models", "show", folder)[0]


# Transcribing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["plain", "quiet"])
def test_transcribing_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: list[str]
) -> None:
    fake_pipeline.install(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        Path(name).write_text(json.dumps({"segments": [[0.0, 1.0, " Hello"]]}))
    output, error = run(capsys, "transcribe", "a.wav", "b.wav", "--model", "medasr-random", *quiet)
    assert output.count("Hello") == 2
    warning = f"warning: medasr-random has random weights: {MEANS_NOTHING}\n"
    assert error.count(warning) == 1
    assert (error == warning) == bool(quiet)
    assert "random weights" not in run(capsys, "transcribe", "a.wav", "--model", "whisper-base")[1]


def test_a_real_run_says_it_in_the_warning_and_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = hub.import_random("medasr", "mine")
    samples = np.random.default_rng(0).normal(0, 3000, 32_000).astype("<i2")
    with wave.open(str(tmp_path / "noise.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    arguments = ("--model", "mine", "--device", "cpu", "--offline", "--json", "--quiet")
    output, error = run(capsys, "transcribe", tmp_path / "noise.wav", *arguments)
    assert f"warning: mine has random weights: {MEANS_NOTHING}" in error
    model = json.loads(output)["model"]
    assert (model["random_weights"], model["identity"], model["family"]) == (
        True,
        stored.record["identity"],
        "lasr_ctc",
    )
