"""Candidates that are faithful pass: other dtypes, batches, devices, threads, engines and checkpoint formats.

The reference is the published implementation on the CPU in float32. Whisper's genuine weights are judged by words.
MedASR's are random here, and what they say means nothing: a candidate may be no further from float32 than the published
implementation is itself in the candidate's dtype.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from foreign_formats import (
    TIED,
    converted,
    ctranslate2_bytes,
    ctranslate2_variables,
    openai_checkpoint,
    rank_file_fetcher,
)
from lasr_folders import noise, small_folder
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.devices import get_device
from voxport.sides import Side
from voxport.types import DecodingOptions
from voxport.verify import Comparison, Loaded, Outcome, RecordedModel, Work, get_policy, save_trace, windows_of
from whisper_pairs import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("transformers")

OPTIONS = DecodingOptions(no_speech_threshold=None)

SIDES = [
    "cpu:float32",
    "cpu:bfloat16",
    "cpu:float16",
    "cpu:float32+batch=3",
    "cpu:bfloat16+batch=2",
    "cpu:float32+threads=1",
    "transformers/cpu:float32+attention=sdpa",
    "transformers/cpu:bfloat16",
    "npu:0",
    "npu:1:float32",
    "npu:1:bfloat16+batch=3",
    "npu:0:float32+precision=strict",
]
"""Twelve of each family; those of an NPU are simulated. Checkpoint formats are beside them."""

QUICK = ["cpu:bfloat16", "cpu:float32+batch=2", "npu:1:float32"]
"""Whisper's that `make test` holds against real speech; `make test-full` takes all of them, and non-speech too."""

NO_WORSE = 1.5
"""How much further from float32 than the published implementation in the same dtype."""


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> Iterator[None]:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        yield
        get_device("npu").set_precision("default")
        torch.npu.use_compatible_impl(False)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def speech(jfk: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Real speech of 2, 11 and 35 s (two windows), silence and noise."""
    place = tmp_path_factory.mktemp("clips")
    whole = read(jfk).samples
    clips = {
        "short": whole[: 2 * 16_000],
        "whole": whole,
        "long": np.concatenate([whole, whole, whole, whole[: 2 * 16_000]]),
        "silence": np.zeros(3 * 16_000, np.float32),
        "noise": 0.05 * noise(4.0).samples,
    }
    for name, samples in clips.items():
        soundfile.write(place / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    return [str(place / f"{name}.wav") for name in clips]


@pytest.fixture(scope="module")
def published(tiny_en: Path, speech: list[str], tmp_path_factory: pytest.TempPathFactory) -> RecordedModel:
    """What the published implementation says of all clips, worked out once."""
    return _published(tiny_en, speech, tmp_path_factory.mktemp("traces") / "all")


@pytest.fixture(scope="module")
def published_short(tiny_en: Path, speech: list[str], tmp_path_factory: pytest.TempPathFactory) -> RecordedModel:
    """Of the first two."""
    return _published(tiny_en, speech[:2], tmp_path_factory.mktemp("traces") / "short")


def _published(folder: Path, clips: list[str], path: Path) -> RecordedModel:
    side = Side.parse("transformers/cpu:float32")
    reference = Loaded(side, side.load(str(folder)))
    save_trace(path, reference, windows_of(clips, reference.model), Work(OPTIONS, look_at=0), lambda *_: None)
    return RecordedModel(path)


def hold(published: RecordedModel, side: Side, folder: Path, clips: list[str]) -> Outcome:
    reference = Loaded(Side.parse("transformers/cpu:float32"), published)
    candidate = Loaded(side, side.load(str(folder)))
    return Comparison(reference, candidate, Work(OPTIONS, look_at=0)).run(windows_of(clips, candidate.model))


def assert_faithful(outcome: Outcome, clips: list[str]) -> None:
    verdict = get_policy("words").judge(outcome)
    assert verdict.ok, verdict.checks
    assert [window.file for window in outcome.windows] == sorted(
        [*clips, clips[2]], key=clips.index
    )  # the long one twice
    assert outcome.total("word_edits")[1] > 60
    # No file is left out of the sum, and words of non-speech would count.
    assert sum(window.seconds for window in outcome.windows) == pytest.approx(2 + 11 + 35 + 3 + 4, abs=0.1)


@pytest.mark.parametrize("side", QUICK)
def test_whisper_on_speech(side: str, published_short: RecordedModel, tiny_en: Path, speech: list[str]) -> None:
    outcome = hold(published_short, Side.parse(side), tiny_en, speech[:2])
    verdict = get_policy("words").judge(outcome)
    assert verdict.ok, verdict.checks
    assert outcome.total("word_edits")[1] > 22


@pytest.mark.full
@pytest.mark.parametrize("side", SIDES)
def test_whisper(side: str, published: RecordedModel, tiny_en: Path, speech: list[str]) -> None:
    outcome = hold(published, Side.parse(side), tiny_en, speech)
    assert_faithful(outcome, speech)
    assert bool(outcome.candidate.simulated) == side.startswith("npu")
    assert outcome.candidate.device == side.rpartition("/")[2].split(":f")[0].split(":b")[0].split("+")[0]


@pytest.mark.parametrize("kind", ["openai", "ctranslate2", "shards"])
def test_whisper_from_other_formats(
    kind: str, published_short: RecordedModel, tiny_en: Path, base: Path, speech: list[str], tmp_path: Path
) -> None:
    folder = _other_format(kind, tiny_en, base, tmp_path)
    outcome = hold(published_short, Side.parse(f"cpu:float32@{folder}"), tiny_en, speech[:2])
    assert get_policy("words").judge(outcome).ok
    assert outcome.total("token_edits")[0] == 0
    assert outcome.total("token_edits")[1] > 20


def _other_format(kind: str, tiny_en: Path, base: Path, place: Path) -> Path:
    """The genuine weights, as others store them, imported."""
    weights = load_file(tiny_en / "model.safetensors")
    if kind == "shards":
        folder = place / "shards"
        shutil.copytree(tiny_en, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        return _sharded(weights, folder)
    if kind == "openai":
        torch.save(openai_checkpoint(weights, 6, 6), place / "tiny.en.pt")
        return converted(place / "tiny.en.pt", place / "hf", rank_file_fetcher(place, tiny_en, base))
    (place / "ct2").mkdir()
    (place / "ct2/model.bin").write_bytes(ctranslate2_bytes(ctranslate2_variables(weights, 6, 6), TIED))
    shutil.copy(tiny_en / "tokenizer.json", place / "ct2")
    return converted(place / "ct2", place / "hf", rank_file_fetcher(place, tiny_en, base))


def _sharded(weights: dict[str, torch.Tensor], folder: Path) -> Path:
    names = sorted(weights)
    files = {name: f"model-0000{1 + position % 2}-of-00002.safetensors" for position, name in enumerate(names)}
    for file in set(files.values()):
        save_file(
            {name: weights[name] for name in names if files[name] == file}, folder / file, metadata={"format": "pt"}
        )
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


# -------------------------------------------------------------------------------------------------------------- MedASR


@pytest.fixture(scope="module")
def lasr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("models") / "lasr")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("sounds")
    clips = {"a": noise(2.0, 1).samples, "b": noise(9.3, 2).samples, "silence": np.zeros(32_000, np.float32),
             "long": noise(31.0, 3).samples}  # fmt: skip
    for name, samples in clips.items():
        soundfile.write(place / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    return [str(place / f"{name}.wav") for name in clips]


def apart(reference: str, candidate: str, folder: Path, clips: list[str]) -> tuple[float, Outcome]:
    """Largest relative L2 of the logits of a window."""
    loaded = [Loaded(side, side.load(str(folder))) for side in map(Side.parse, (reference, candidate))]
    outcome = Comparison(loaded[0], loaded[1], Work(look_at=0)).run(windows_of(clips, loaded[0].model))
    worst = outcome.worst("logits", "relative_l2")
    assert worst is not None
    return worst[0], outcome


@pytest.fixture(scope="module")
def own_rounding(lasr: Path, sounds: list[str]) -> dict[str, float]:
    """How far the published implementation is from float32, by dtype."""
    found = {
        dtype: apart("transformers/cpu:float32", f"transformers/cpu:{dtype}", lasr, sounds)[0]
        for dtype in ("float16", "bfloat16")
    }
    sdpa = apart("transformers/cpu:float32", "transformers/cpu:float32+attention=sdpa", lasr, sounds)[0]
    return {**found, "float32": max(sdpa, 1e-6)}


@pytest.mark.parametrize("side", SIDES)
def test_medasr(side: str, lasr: Path, sounds: list[str], own_rounding: dict[str, float]) -> None:
    found, outcome = apart("transformers/cpu:float32", side, lasr, sounds)
    assert found <= NO_WORSE * own_rounding[outcome.candidate.dtype], (found, own_rounding)
    assert len(outcome.windows) == 5
    assert not [window.failure for window in outcome.windows if window.failure]
    if outcome.candidate.dtype == "float32":
        assert outcome.total("token_edits")[0] == 0
        assert get_policy("words").judge(outcome).ok


def test_medasr_from_shards(lasr: Path, sounds: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(lasr, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    _sharded(load_file(lasr / "model.safetensors"), folder)
    found, outcome = apart("cpu:float32", f"cpu:float32@{folder}", lasr, sounds)
    assert found == 0.0
    assert outcome.candidate.identity == outcome.reference.identity
