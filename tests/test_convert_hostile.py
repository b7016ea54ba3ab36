"""Files that are something else, damaged, or carry code: told apart, refused, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from foreign_formats import (
    HEADS,
    State,
    never,
    openai_checkpoint,
    save_ctranslate2,
    save_huggingface,
    small_state,
)
from voxport.errors import ModelFormatError, ModelNotFoundError, OutputError
from voxport.models.convert import convert, convert_huggingface, convert_openai, detect
from voxport.models.convert.openai import read_openai


@pytest.fixture(scope="module")
def state() -> State:
    """A small network with the multilingual vocabulary."""
    return small_state(51_865)


# Code is never run ----------------------------------------------------------------------------------------------------


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, base: Path, state: State) -> None:
    mark = tmp_path / "ran"
    torch.save({"dims": Touch(mark), "model_state_dict": state}, tmp_path / "evil.pt")
    with pytest.raises(ModelFormatError, match=r"evil\.pt can't be read as a torch file of tensors"):
        convert_openai(tmp_path / "evil.pt", tmp_path, never)
    source = save_huggingface(tmp_path / "source", state, like=base)
    (source / "model.safetensors").unlink()
    torch.save({**state, "x": Touch(mark)}, source / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match="can't be read as a torch file of tensors"):
        convert_huggingface(source, tmp_path, never)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"model_state_dict": {}},
        {"dims": {}, "model_state_dict": {"a": 1}},
        {"dims": {"n_mels": 80}, "model_state_dict": {}},
        [1, 2],
        torch.zeros(3),
        {"state_dict": {"a": torch.zeros(1)}},
    ],
    ids=range(6),
)
def test_other_torch_files_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelFormatError) as caught:
        read_openai(tmp_path / "other.pt")
    assert "other.pt" in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 30, 5000, -1])
def test_cut_checkpoints_are_refused(tmp_path: Path, size: int) -> None:
    torch.save(openai_checkpoint(small_state(), *HEADS), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:size])
    with pytest.raises(ModelFormatError, match=r"cut\.pt"):
        read_openai(tmp_path / "cut.pt")


def test_unknown_and_missing_tensors_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = openai_checkpoint(small_state(), *HEADS)
    torch.save(
        {**checkpoint, "model_state_dict": {**checkpoint["model_state_dict"], "x.y": torch.zeros(1)}}, tmp_path / "a.pt"
    )
    with pytest.raises(ModelFormatError, match=r"unknown tensor: x\.y"):
        read_openai(tmp_path / "a.pt")
    del checkpoint["model_state_dict"]["decoder.ln.weight"]
    torch.save(checkpoint, tmp_path / "b.pt")
    with pytest.raises(ModelFormatError, match=r"1 missing, the first is model\.decoder\.layer_norm\.weight"):
        read_openai(tmp_path / "b.pt")
    integers = {**checkpoint["model_state_dict"], "decoder.ln.weight": torch.zeros(16, dtype=torch.int8)}
    torch.save({**checkpoint, "model_state_dict": integers}, tmp_path / "c.pt")
    with pytest.raises(ModelFormatError, match="is stored as I8"):
        read_openai(tmp_path / "c.pt")


# What is it? ----------------------------------------------------------------------------------------------------------


def test_detect(tmp_path: Path, base: Path) -> None:
    state = small_state()
    assert detect(save_ctranslate2(tmp_path / "ct2", state)) == "ctranslate2"
    assert detect(save_huggingface(tmp_path / "hf", state)) == "huggingface"
    assert detect(base) == "huggingface"
    torch.save(openai_checkpoint(state, *HEADS), tmp_path / "small.pt")
    assert detect(tmp_path / "small.pt") == "openai"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ggml-tiny.bin", b"lmgg\0\0\0\0", "a ggml file of whisper.cpp"),
        ("model.gguf", b"GGUF\x03", "a GGUF file"),
        ("encoder.onnx", b"\x08\x07", "an ONNX file"),
        ("tiny.pt", b"version https://git-lfs", "a pointer of Git LFS"),
        ("tiny.pt", b"<html>", "a file that begins with 3c 68"),
        ("empty.pt", b"", "a file that begins with nothing"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFormatError, match=message):
        detect(tmp_path / name)


def test_a_file_of_a_folder_points_to_the_folder(tmp_path: Path) -> None:
    folder = save_ctranslate2(tmp_path / "ct2", small_state())
    with pytest.raises(ModelFormatError) as caught:
        detect(folder / "model.bin")
    assert caught.value.hint == f"give its folder: {folder}"


def test_other_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no file or folder"):
        detect(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="it holds nothing"):
        detect(tmp_path / "empty")
    for n in range(8):
        (tmp_path / f"empty/{n}.wav").touch()
    with pytest.raises(ModelFormatError, match=r"it holds 0\.wav, .* and 2 more"):
        detect(tmp_path / "empty")
    (tmp_path / "empty/config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelFormatError, match="a model of type 'bert'"):
        detect(tmp_path / "empty")
    (tmp_path / "empty/config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(ModelFormatError, match="has neither"):
        detect(tmp_path / "empty")
    (tmp_path / "empty/config.json").write_text("{")
    with pytest.raises(ModelFormatError, match="is no JSON"):
        detect(tmp_path / "empty")


def test_what_can_not_be_written_is_an_error(tmp_path: Path, base: Path, state: State) -> None:
    source = save_ctranslate2(tmp_path / "ct2", state, base)
    with pytest.raises(OutputError, match="can't be written") as caught:
        convert(source, tmp_path / "absent", never)
    assert isinstance(caught.value.__cause__, OSError)
