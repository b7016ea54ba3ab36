"""What to transcribe: files, folders, globs and "-" become a list of recordings, each with its error if it has one."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Recording", "every_recording", "find_recordings"]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Recording:
    """One input.

    Attributes:
        name: the path as it was given, or as it was found in a folder; "-" is standard input.
        error: why it can't be read, where that is clear without opening it.
    """

    name: str
    error: AudioError | None = None


def find_recordings(arguments: Sequence[str]) -> list[Recording]:
    """The recordings that the arguments name, in their order.

    A folder gives the files in it, at any depth, that have a suffix in `voxport.audio.AUDIO_SUFFIXES`, sorted by path;
    hidden ones are left out. A glob (which a shell did not expand) gives what a shell would have given, and ``**`` any
    depth. What a folder or a glob finds is not added again if it is there already.

    A path that is not there, and a folder or a glob without a recording, give a `Recording` with its error: the others
    go on.

    Raises:
        UsageError: an argument is empty, or "-" is given twice or is a terminal.
    """
    recordings: list[Recording] = []
    seen: set[str] = set()
    for argument in arguments:
        found, explicit = _expand(argument)
        for recording in found:
            identity = recording.name if recording.error else os.path.realpath(recording.name)
            if explicit or identity not in seen:
                recordings.append(recording)
            seen.add(identity)
    if sum(recording.name == STANDARD_INPUT for recording in recordings) > 1:
        raise UsageError("standard input (-) is given twice", hint="it can be read only once")
    return recordings


def _expand(argument: str) -> tuple[list[Recording], bool]:
    """The recordings of one argument, and whether it names just one file."""
    if not argument:
        raise UsageError("an input is empty", hint='an unset variable in quotes, perhaps: "$file"')
    if argument == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            hint = "send a recording in: `voxport transcribe - < talk.mp3`"
            raise UsageError("standard input (-) is a terminal, not a recording", hint=hint)
        return [Recording(argument)], True
    try:
        kind = os.stat(argument).st_mode  # noqa: PTH116 - a name may be no valid path (a NUL byte)
    except (OSError, ValueError) as error:
        if glob.has_magic(argument):
            return _match(argument), False
        return [Recording(argument, _not_there(argument, error))], True
    if stat.S_ISDIR(kind):
        return _search(argument), False
    return [Recording(argument)], True


def _search(folder: str) -> list[Recording]:
    unreadable: list[OSError] = []
    found = sorted(_audio_files(folder, unreadable), key=lambda path: Path(path).parts)
    recordings = [Recording(path) for path in found]
    for error in unreadable:
        path = str(error.filename or folder)
        recordings.append(
            Recording(path, AudioError(f"can't read the folder: {error.strerror}", code="audio_permission"))
        )
    if not recordings:
        hint = "they are found by their suffix: wav, flac, mp3, m4a, ogg, mp4, ...; give one of another by its own name"
        recordings.append(Recording(folder, AudioError("no recording in this folder", hint=hint, code="audio_none")))
    return recordings


def _audio_files(folder: str, unreadable: list[OSError]) -> Iterator[str]:
    suffixes = _audio_suffixes()
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        # Hidden: macOS puts a "._talk.mp3" beside each file on foreign disks, which is no audio.
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield str(Path(parent) / name)


def _match(pattern: str) -> list[Recording]:
    recordings = []
    for path in sorted(glob.glob(pattern, recursive=True), key=lambda path: Path(path).parts):  # noqa: PTH207
        if not Path(path).is_dir():
            recordings.append(Recording(path))
        elif "**" not in pattern:  # which has gone into the folders itself
            recordings.extend(_search(path))
    if not recordings:
        recordings.append(Recording(pattern, AudioError("no file matches this pattern", code="audio_none")))
    return recordings


def _not_there(argument: str, error: OSError | ValueError) -> AudioError:
    if re.match(r"[a-z][a-z0-9+.-]*://", argument, re.IGNORECASE):
        hint = "only files are read: download it first, or pipe it in: `curl -s URL | voxport transcribe -`"
        return AudioError("this is a URL, not a file", hint=hint, code="audio_not_found")
    if isinstance(error, PermissionError):
        return AudioError(
            "no permission to look there", hint="check the rights of its folders", code="audio_permission"
        )
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return AudioError(f"can't be found: {reason}", hint=_similar(argument), code="audio_not_found")


def _similar(argument: str) -> str | None:
    """A hint: a file of a like name in the same folder, or the folder that is not there."""
    from voxport.cli.parser import nearest

    path = Path(argument)
    try:
        return nearest(path.name, sorted(os.listdir(path.parent)))  # noqa: PTH208
    except FileNotFoundError:
        return f"there is no folder {str(path.parent)!r}"
    except (OSError, ValueError):
        return None


def _audio_suffixes() -> frozenset[str]:
    from voxport.audio import AUDIO_SUFFIXES

    return frozenset(AUDIO_SUFFIXES)


def every_recording(inputs: Sequence[str], command: str) -> list[str]:
    """The names of recordings that are read more than once, and of which none may be left out: what `command` says of
    the others would be about something else.

    Raises:
        UsageError: there are none, one can't be read, or it is standard input.
    """
    if not inputs:
        raise UsageError(f"{command} needs recordings", hint="name some files or a folder of real speech")
    found = find_recordings(inputs)
    for recording in found:
        error = recording.error
        if error is not None:
            about = "" if recording.name in error.message else f"{recording.name}: "
            raise UsageError(f"{about}{error.message}", hint=error.hint, code=error.code)
    if "-" in inputs:
        raise UsageError(
            f"{command} reads recordings more than once, standard input only once", hint="write it to a file first"
        )
    return [recording.name for recording in found]
