"""Networks as tables: both engines meet the same results under the same names, and the tables are the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from lasr_folders import noise, small_folder
from voxport.errors import UsageError
from voxport.models.stages import Inspectable, inputs_of, run_stages
from voxport.sides import Side
from whisper_folders import random_folder

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")

SHAPE = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 128,
}  # fmt: skip
TOKENS = [[50258, 50259, 50359, 50364, 843, 523, 616, 50400]]
CLOSE = 5e-6
"""Relative L2 of a stage of ours from the published one."""


@pytest.fixture(scope="module", params=["whisper", "lasr"])
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any, Any]:
    """The published model, ours, features, tokens."""
    folder = tmp_path_factory.mktemp("models")
    if request.param == "whisper":
        base: Path = request.getfixturevalue("base")
        path = random_folder(folder / "whisper", base, **SHAPE)
        seconds = 2.0
    else:
        path, seconds = small_folder(folder / "lasr"), 3.0
    theirs: Any = Side.parse("transformers/cpu:float32").load(str(path))
    ours: Any = Side.parse("cpu:float32").load(str(path))
    features = theirs.features([noise(seconds)])
    return theirs, ours, features, TOKENS if request.param == "whisper" else None


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def test_both_engines_have_the_same_table(sides: Any) -> None:
    theirs, ours, _, _ = sides
    assert isinstance(theirs, Inspectable)
    assert isinstance(ours, Inspectable)
    rows = [(stage.name, stage.reads, stage.kind, stage.module, stage.heads) for stage in ours.stages()]
    assert rows == [(stage.name, stage.reads, stage.kind, stage.module, stage.heads) for stage in theirs.stages()]
    modules = {name for name, module in theirs.model.named_modules() if dict(module.named_parameters(recurse=False))}
    ignored = {"model.decoder.embed_positions"}  # a part of the stage of the tokens' embedding
    assert modules - ignored == {module for *_, module, _ in rows if module is not None} - ignored


def test_every_stage_is_the_published_one(sides: Any) -> None:
    """Each in its own forward pass, and on the published one's inputs."""
    theirs, ours, features, tokens = sides
    names = [stage.name for stage in ours.stages()]
    wanted, found = theirs.capture(names, features, tokens), ours.capture(names, features, tokens)
    given = ours.given(features, tokens)
    for stage in ours.stages():
        assert relative(found[stage.name], wanted[stage.name]) < 4 * CLOSE, stage.name
        with torch.inference_mode():
            alone = stage.compute(*(given.get(name, wanted.get(name)) for name in stage.reads))
        assert alone.shape == wanted[stage.name].shape
        assert relative(alone, wanted[stage.name]) < CLOSE, stage.name


def test_stages_depend_on_what_they_say_they_read(sides: Any) -> None:
    """A table in which a stage read something else, or too little, would blame the wrong module."""
    theirs, ours, features, tokens = sides
    names = [stage.name for stage in ours.stages()]
    wanted = theirs.capture(names, features, tokens)
    given = ours.given(features, tokens)
    for stage in ours.stages():
        inputs = [given.get(name, wanted.get(name)) for name in stage.reads]
        with torch.inference_mode():
            before = stage.compute(*inputs)
            for position, name in enumerate(stage.reads):
                bent = [x if at != position or name == "tokens" else x.roll(1, 1) for at, x in enumerate(inputs)]
                if name != "tokens":
                    assert not torch.equal(stage.compute(*bent), before), (stage.name, name)


def test_the_fast_path_is_the_table(sides: Any) -> None:
    _, ours, features, tokens = sides
    last = ours.stages()[-1].name
    table = ours.capture([last], features, tokens)[last].float().numpy()
    fast = ours.logits(ours.encode(features), tokens)
    assert relative(torch.from_numpy(fast), torch.from_numpy(table)) < 4 * CLOSE


def test_parameters_by_path(sides: Any) -> None:
    theirs, ours, _, _ = sides
    for stage in ours.stages():
        if stage.module is None:
            continue
        mine, published = ours.parameter(stage.module), theirs.parameter(stage.module)
        assert mine.keys() & published.keys() >= {"weight"}
        for name in mine.keys() & published.keys():
            assert torch.equal(mine[name].double().reshape(-1), published[name].double().reshape(-1)), stage.name
        if stage.kind == "norm":
            assert float(mine["eps"]) == float(published["eps"])


def test_only_what_is_wanted_is_kept(sides: Any) -> None:
    _, ours, features, tokens = sides
    stages = ours.stages()
    some = [stages[0].name, stages[5].name]
    assert list(ours.capture(some, features, tokens)) == some
    with pytest.raises(UsageError, match="no stage 'nothing'"):
        run_stages(stages, {}, ["nothing"])
    assert inputs_of(stages, [stages[1].name]) == {stages[0].name}
