"""Result files: their names, so that none overwrites another, and whether a folder takes them."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.errors import UsageError
from voxport.formats import FORMATS
from voxport.writing import output_error, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["check_folder", "output_stems"]

LONGEST_STEM_BYTES = 200
"""File systems allow 255 bytes a name; the rest is for suffixes and the temporary name."""


def output_stems(inputs: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """A file name without suffix for each input, all different, also where case and accents' encoding don't count.

    An input alone of its name gives that name (``a/talk.wav`` -> ``talk``). Inputs that share it are told apart by as
    little of their path as does: first by their suffix (``talk.wav``, ``talk.mp3``), then by their folders
    (``a_talk``, ``b_talk``), at last by a number in their order (``talk``, ``talk-2``). The same inputs give the same
    names each time.

    Args:
        inputs: paths, or "-" for standard input, which is called ``stdin``.
        taken: names (without suffix) that are not to be used.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(inputs):
        groups[_key(_stem(name))].append(index)
    wanted = [""] * len(inputs)
    for members in groups.values():
        names = _telling_apart([inputs[index] for index in members])
        for index, name in zip(members, names, strict=True):
            wanted[index] = _shortened(name)
    return _numbered(wanted, taken)


def _telling_apart(inputs: Sequence[str]) -> list[str]:
    """The shortest kind of name by which inputs of one stem differ; the stem where they are the same file."""
    stems = [_stem(name) for name in inputs]
    if len(inputs) == 1:
        return stems
    names = [_stem(name) if name == "-" else Path(name).name for name in inputs]
    folders = [[part for part in Path(name).parts[:-1] if part not in ("/", "..")] for name in inputs]
    for depth in range(max(map(len, folders)) + 1):
        for ends in (stems, names):
            longer = [
                "_".join([*parts[max(0, len(parts) - depth) :], end]) for parts, end in zip(folders, ends, strict=True)
            ]
            if len({_key(name) for name in longer}) == len(longer):
                return longer
    return stems


def _numbered(wanted: Sequence[str], taken: Iterable[str]) -> list[str]:
    """The names, with a number added where one is used already; what just one input wants is left to it."""
    used = {_key(name) for name in taken}
    reserved = {key for key, count in Counter(map(_key, wanted)).items() if count == 1}
    result = []
    for name in wanted:
        candidate, number = name, 1
        while _key(candidate) in used or (number > 1 and _key(candidate) in reserved):
            number += 1
            candidate = f"{name}-{number}"
        used.add(_key(candidate))
        result.append(candidate)
    return result


FOLDER_HINT = "-o takes a folder; for one file write `voxport transcribe talk.mp3 > talk.txt`"


def check_folder(folder: Path, hint: str | None = FOLDER_HINT) -> None:
    """Make sure, before any work is done, that results can be written here. Leaves nothing behind.

    Raises:
        UsageError: it is, or looks like, a file.
        OutputError: it is not there and can't be created, or can't be written to.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"{str(existing)!r} is a file, not a folder", hint=hint)
    if existing != folder and folder.suffix.lstrip(".") in FORMATS:
        raise UsageError(f"the output folder {str(folder)!r} has the name of a file", hint=hint)
    # Tried and not asked for: rights alone don't tell of read-only and special file systems.
    probe = existing / temporary_name()
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise output_error(folder, error) from error


def _stem(name: str) -> str:
    return "stdin" if name == "-" else Path(name).stem


def _key(name: str) -> str:
    """What a file system that ignores case and composes accents compares."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shortened(name: str) -> str:
    """The name itself, or a part of it and a digest of all of it where it is too long for a file system."""
    raw = os.fsencode(name)
    if len(raw) <= LONGEST_STEM_BYTES:
        return name
    return f"{os.fsdecode(raw[: LONGEST_STEM_BYTES - 9]).rstrip()}-{hashlib.sha256(raw).hexdigest()[:8]}"
