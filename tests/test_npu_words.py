"""Words with times on the simulated NPU: the CPU's, alone and in a batch, in float32 and float16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import voxport
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.types import DecodingOptions
from whisper_pairs import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voxport.types import Audio

WORDS = DecodingOptions(language="en", word_timestamps=True)


@pytest.fixture(scope="module", autouse=True)
def _simulated() -> Iterator[None]:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        yield


def words(model: Any, windows: list[Audio], *, finding: bool = True) -> list[list[voxport.Word]]:
    model._words.finding = finding
    found = model.decode(model.encode(model.features(windows)), WORDS)
    return [[word for segment in one.segments for word in segment.words or ()] for one in found]


@pytest.mark.parametrize("finding", [True, pytest.param(False, marks=pytest.mark.full)])
def test_the_cpus_words(tiny_en: Path, jfk: Path, finding: bool) -> None:
    windows = parts(jfk)
    wanted = words(voxport.load_model(str(tiny_en), "cpu", "float32"), windows, finding=finding)
    model = voxport.load_model(str(tiny_en), "npu:0", "float32")
    for found in (words(model, windows, finding=finding), [words(model, [one], finding=finding)[0] for one in windows]):
        assert [[(word.word, word.start, word.end) for word in row] for row in found] == [
            [(word.word, word.start, word.end) for word in row] for row in wanted
        ]
        assert [word.probability for row in found for word in row] == pytest.approx(
            [word.probability for row in wanted for word in row], abs=1e-3
        )


def test_float16_is_nearly_the_same(tiny_en: Path, jfk: Path) -> None:
    windows = parts(jfk)[1:2]
    found, wanted = (
        words(voxport.load_model(str(tiny_en), "npu:0", dtype), windows)[0] for dtype in ("float16", "float32")
    )
    assert [word.word for word in found] == [word.word for word in wanted]
    apart = np.abs([one.start - other.start for one, other in zip(found, wanted, strict=True)])
    assert np.median(apart) <= 0.04


def test_the_cpus_places(tiny_en: Path, jfk: Path) -> None:
    windows = parts(jfk)
    found = []
    for device in ("cpu", "npu:0"):
        model: Any = voxport.load_model(str(tiny_en), device, "float32")
        encoded = model.encode(model.features(windows))
        found.append(model.token_places(encoded, model.decode(encoded, DecodingOptions(language="en")), WORDS))
    assert found[0] == found[1]
    assert all(found[0])
