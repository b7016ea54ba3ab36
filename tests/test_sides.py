"""Sides of a comparison: what they mean, that they say it again, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxport import sides
from voxport.errors import MissingDependencyError, UsageError
from voxport.sides import Side, default_reference

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("cpu", Side("cpu")),
        ("npu:1:float16", Side("npu:1", "float16")),
        ("transformers/cpu:float32", Side("cpu", "float32", "transformers")),
        ("voxport/cuda:bfloat16", Side("cuda", "bfloat16")),
        ("cpu:bfloat16+threads=1", Side("cpu", "bfloat16", threads=1)),
        ("cpu:float32@./finetuned", Side("cpu", "float32", model="./finetuned")),
        ("npu@openai/whisper-tiny.en", Side("npu", model="openai/whisper-tiny.en")),
        ("cpu@a+b@c:float16", Side("cpu", model="a+b@c:float16")),
        (
            "transformers/npu:0:float16+batch=4+attention=sdpa+precision=strict",
            Side("npu:0", "float16", "transformers", batch=4, attention="sdpa", precision="strict"),
        ),
        ("npu+graph=yes", Side("npu", graph=True)),
        ("npu+graph=no", Side("npu")),
        ("auto:auto", Side("auto")),
    ],
)
def test_what_sides_mean(text: str, side: Side) -> None:
    assert Side.parse(text) == side
    assert Side.parse(str(side)) == side


@given(
    st.builds(
        Side,
        st.sampled_from(["auto", "cpu", "cuda", "cuda:3", "npu", "npu:0"]),
        st.sampled_from(["auto", "float32", "float16", "bfloat16"]),
        batch=st.none() | st.integers(1, 99999),
        threads=st.none() | st.integers(1, 99999),
        precision=st.sampled_from(["default", "strict"]),
        graph=st.booleans(),
        model=st.none() | st.text(min_size=1),
    )
)
def test_a_side_says_itself_again(side: Side) -> None:
    assert Side.parse(str(side)) == side


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no side"),
        ("gpu", "is no side"),
        ("cpu:float64", "is no side"),
        ("cpu:0", "is no side"),
        ("npu:0,1", "is no side"),
        ("npu:1:float16:x", "is no side"),
        ("cpu@", "is no side"),
        ("CPU", "is no side"),
        ("cpu\n", "is no side"),
        ("onnx/cpu", "unknown engine 'onnx'"),
        ("cpu+speed=9", "unknown setting 'speed=9'"),
        ("cpu+threads", "unknown setting 'threads'"),
        ("cpu+threads=", "unknown setting 'threads='"),
        ("cpu+threads=0", "threads must be a number from 1 on, not '0'"),
        ("cpu+threads=١", "threads must be a number"),
        ("cpu+threads=1+threads=2", "sets threads twice"),
        ("transformers/cpu+attention=flash", "attention must be one of eager, sdpa, not 'flash'"),
        ("cpu+attention=sdpa", "attention is a setting of transformers"),
        ("transformers/npu+graph=yes", "graph is a setting of voxport's own engine"),
        ("transformers/cpu:float16+recipe=a.toml", "recipe is a setting of voxport's own engine"),
    ],
)
def test_what_is_no_side(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Side.parse(text)


def test_both_engines_load(tiny_en: Path) -> None:
    pytest.importorskip("transformers")
    ours = Side.parse("cpu:float32").load(str(tiny_en))
    theirs = Side.parse("transformers/cpu:bfloat16+attention=sdpa").load(str(tiny_en))
    assert type(ours).__name__ == "WhisperModel"
    assert type(theirs).__name__ == "ReferenceWhisper"
    assert theirs.dtype == "bfloat16"
    assert theirs.model.config._attn_implementation == "sdpa"  # type: ignore[attr-defined]
    assert ours.info.identity == theirs.info.identity


def test_a_side_may_have_its_own_model(tiny_en: Path) -> None:
    assert Side("cpu", model=str(tiny_en)).load("whisper-large-v3").name == str(tiny_en)


def test_threads_hold_while_it_runs() -> None:
    before = torch.get_num_threads()
    with Side.parse(f"cpu+threads={before + 1}").running():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), Side.parse("cpu+threads=1").running():
        raise KeyError
    assert torch.get_num_threads() == before


def test_the_reference_is_the_published_implementation_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    assert default_reference() == (Side("cpu", "float32", "transformers"), None)

    def absent(_: object) -> None:
        raise MissingDependencyError("transformers is absent")

    monkeypatch.setattr("voxport.models.reference.published.import_transformers", absent)
    side, told = default_reference()
    assert side == Side("cpu", "float32")
    assert "transformers is absent" in (told or "")
    assert sides.GRAMMAR.startswith("[ENGINE/]")
