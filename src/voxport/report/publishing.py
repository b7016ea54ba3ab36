"""What is published names files by their names only: paths tell of people and machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["folders_of", "without_folders"]


def folders_of(paths: Iterable[str]) -> list[str]:
    """The folders of files, as written and in full, the longest first; each ends in a slash."""
    found = set()
    for path in paths:
        for one in (Path(path), Path(path).absolute(), Path(path).resolve()):
            if one.parent.name or one.parent.is_absolute():
                found.add(f"{one.parent}/")
    return sorted(found - {"/", "./"}, key=len, reverse=True)


def without_folders(value: Any, folders: Iterable[str]) -> Any:
    """The same JSON value; where a string names one of these folders it is left out."""
    folders = list(folders)
    if isinstance(value, str):
        for folder in folders:
            value = value.replace(folder, "")
        return value
    if isinstance(value, dict):
        return {key: without_folders(item, folders) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item, folders) for item in value]
    return value
