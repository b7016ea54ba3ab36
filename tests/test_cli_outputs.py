"""Names of result files, and writing them whole or not at all."""

from __future__ import annotations

import os
import stat
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxport.cli.outputs import check_folder, output_stems
from voxport.errors import OutputError
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a/talk.wav"], ["talk"]),
        (["a/talk.wav", "b/speech.wav"], ["talk", "speech"]),
        (["talk.wav", "talk.mp3"], ["talk.wav", "talk.mp3"]),
        (["a/x.wav", "b/x.wav"], ["a_x", "b_x"]),
        (["x.wav", "b/x.wav"], ["x", "b_x"]),
        (["one/a/x.wav", "two/a/x.wav"], ["one_a_x", "two_a_x"]),
        (["a/x.wav", "b/x.wav", "a/x.mp3"], ["a_x.wav", "b_x.wav", "a_x.mp3"]),
        (["X.wav", "x.wav"], ["X", "x-2"]),
        (["x.wav", "x.wav"], ["x", "x-2"]),
        (["../x.wav", "x.wav"], ["x", "x-2"]),
        (["a/x.wav", "b/x.wav", "a_x.wav"], ["a_x", "b_x", "a_x-2"]),
        (["x.wav", "x.wav", "x-2.wav"], ["x", "x-3", "x-2"]),
        (["-"], ["stdin"]),
        (["-", "stdin.wav"], ["stdin", "stdin.wav"]),
        (["talk.tar.wav"], ["talk.tar"]),
        (["caf\u00e9.wav", "cafe\u0301.wav"], ["caf\u00e9", "cafe\u0301-2"]),
    ],
)
def test_output_stems(inputs: list[str], expected: list[str]) -> None:
    assert output_stems(inputs) == expected


@given(st.lists(st.from_regex(r"(?:[abA]/){0,2}[xXy]{1,2}(?:-2)?\.(?:wav|mp3)", fullmatch=True), max_size=8))
def test_no_two_inputs_share_a_result_file(inputs: list[str]) -> None:
    stems = output_stems(inputs)
    assert len(stems) == len(inputs)
    assert len({unicodedata.normalize("NFC", stem).casefold() for stem in stems}) == len(inputs)
    assert stems == output_stems(inputs)
    assert not any("/" in stem for stem in stems)


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    stems = output_stems(["é" * 120 + "1.wav", "é" * 120 + "2.wav"])
    assert stems[0] != stems[1]
    assert all(len(os.fsencode(stem)) <= 200 for stem in stems)


def test_files_are_replaced_whole_with_ordinary_rights(tmp_path: Path) -> None:
    path = tmp_path / "new" / "talk.txt"
    write_atomically(path, "first\n")
    write_atomically(path, "日本\n")
    assert path.read_bytes() == "日本\n".encode()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_for_real(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_folder(tmp_path / "out")
    with pytest.raises(OutputError, match="Permission denied"):
        write_atomically(tmp_path / "talk.txt", "")


def test_checking_a_folder_makes_nothing(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
