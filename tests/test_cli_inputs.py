"""Files, folders, globs and standard input become a list of recordings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from voxport.cli.inputs import find_recordings
from voxport.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def names_of(*arguments: str) -> list[str]:
    return [recording.name for recording in find_recordings(arguments)]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.wav", "a.MP3", "deep/er/c.flac", "deep/d.ogg", "notes.txt", ".hidden.wav", ".git/e.wav"):
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "library"


@pytest.mark.usefixtures("library")
def test_a_folder_gives_its_recordings_sorted() -> None:
    found = ["library/a.MP3", "library/b.wav", "library/deep/d.ogg", "library/deep/er/c.flac"]
    assert names_of("library") == names_of("library/") == found


@pytest.mark.usefixtures("library")
def test_globs_give_what_a_shell_would() -> None:
    assert names_of("library/*.wav") == ["library/b.wav"]
    assert names_of("library/**/*.[fo]*") == ["library/deep/d.ogg", "library/deep/er/c.flac"]
    assert names_of("library/d*") == ["library/deep/d.ogg", "library/deep/er/c.flac"]


@pytest.mark.usefixtures("library")
def test_what_is_found_twice_is_taken_once_and_what_is_named_twice_is_taken_twice() -> None:
    assert names_of("library/b.wav", "library", "library/*.wav") == [
        "library/b.wav", "library/a.MP3", "library/deep/d.ogg", "library/deep/er/c.flac",
    ]  # fmt: skip
    assert names_of("library/b.wav", "library/b.wav") == ["library/b.wav", "library/b.wav"]


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    path = tmp_path / "talk [1]*.wav"
    path.touch()
    assert names_of(str(path)) == [str(path)]


@pytest.mark.parametrize(
    ("argument", "code", "message", "hint"),
    [
        ("library/empty", "audio_none", "no recording in this folder", "they are found by their suffix"),
        ("library/*.zip", "audio_none", "no file matches this pattern", None),
        ("library/bb.wav", "audio_not_found", "can't be found: No such file", "did you mean b.wav?"),
        ("libary/b.wav", "audio_not_found", "can't be found: No such file", "there is no folder 'libary'"),
        ("https://example.org/a.mp3", "audio_not_found", "this is a URL", "only files are read"),
        ("a\0b.wav", "audio_not_found", "can't be found: ", None),
    ],
)
def test_what_is_not_there_is_explained(
    library: Path, argument: str, code: str, message: str, hint: str | None
) -> None:
    (library / "empty").mkdir()
    (recording,) = find_recordings([argument])
    error = recording.error
    assert error is not None
    assert (recording.name, error.code, error.exit_code) == (argument, code, 1)
    assert error.message.startswith(message)
    assert (error.hint or "").startswith(hint or "")


def test_a_terminal_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyboard:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard())
    with pytest.raises(UsageError, match="is a terminal"):
        find_recordings(["-"])
