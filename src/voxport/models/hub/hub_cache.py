"""Reading the hub's own cache: its documented layout, without importing the hub's library (which takes a while).

CACHE/models--ORG--NAME/refs/BRANCH            the commit that a branch or tag was at
CACHE/models--ORG--NAME/snapshots/COMMIT/      links to the files
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from voxport.models.hub.model_files import missing_files

__all__ = ["CachedSnapshot", "find_snapshot", "hub_is_offline", "huggingface_cache", "repository_folder"]


@dataclass(frozen=True)
class CachedSnapshot:
    """A complete model in a hub's cache."""

    path: Path
    commit: str


def huggingface_cache() -> Path:
    """Where huggingface_hub keeps models: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        value = os.environ.get(variable)
        if value:
            return Path(os.path.expandvars(value)).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def hub_is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set, as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def repository_folder(cache: Path, repository: str) -> Path:
    """The folder of one model repository."""
    return cache / ("models--" + repository.replace("/", "--"))


def find_snapshot(cache: Path, repository: str, revision: str | None = None) -> CachedSnapshot | None:
    """The cached snapshot of a repository if it holds a whole model, else None.

    `revision`: branch, tag, or commit (twelve digits or more will do); None = the default branch ("main", then
    "master"), or the one snapshot there is.
    """
    folder = repository_folder(cache, repository)
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return None
    candidates: list[str] = []
    for name in [revision] if revision else ["main", "master"]:
        reference = folder / "refs" / name
        if ".." not in name and reference.is_file():
            candidates.append(reference.read_text(encoding="utf-8").strip())
    commits = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
    if revision:
        candidates += [commit for commit in commits if len(revision) >= 7 and commit.startswith(revision)]
    elif not candidates and len(commits) == 1:
        candidates = commits
    for commit in candidates:
        path = snapshots / commit
        if commit and path.is_dir() and not missing_files(path):
            return CachedSnapshot(path, commit)
    return None
