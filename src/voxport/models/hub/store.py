"""Where models lie on disk: ``VOXPORT_HOME/models/NAME/REVISION/``, placed whole or not at all.

    VOXPORT_HOME                    default ~/.cache/voxport
    ├── models/NAME/REVISION/       a model in the hub's format; "/" in a name is written "--"
    │   └── voxport.json            where it came from
    ├── models/NAME/latest          the revision that was placed last
    ├── files/SHA256/NAME           small files by digest (vocabularies, a recording)
    ├── downloads/                  what an interrupted download has so far
    └── locks/                      one file per name: two processes never work on the same model

REVISION is the first twelve hex digits of the model's identity, so the same weights from two sources are one folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelError, ModelFormatError, OutputError
from voxport.models.hub.download import disk_full
from voxport.models.hub.progress import Progress, SilentProgress
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "RECORD",
    "StoredModel",
    "downloads_folder",
    "files_folder",
    "find",
    "folder_size",
    "home",
    "list_models",
    "locked",
    "place",
    "remove",
    "staging",
    "store_errors",
]

RECORD = "voxport.json"
REVISION_LENGTH = 12
_REVISION = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class StoredModel:
    """A model in the store.

    Attributes:
        name: as in the catalogue, or a hub id.
        revision: first twelve hex digits of the identity.
        path: its folder.
        record: what voxport.json says: source, repository, identity, licence, digests of what it was made from.
    """

    name: str
    revision: str
    path: Path
    record: dict[str, Any]

    @property
    def source(self) -> str:
        return str(self.record.get("source", "unknown"))


def home() -> Path:
    """VOXPORT_HOME, made absolute; ``~/.cache/voxport`` (under XDG_CACHE_HOME if that is set) without it."""
    value = os.environ.get("VOXPORT_HOME")
    if value:
        return Path(value).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "voxport"


def folder_name(name: str) -> str:
    """A model's name as a folder's: the hub's own convention."""
    return name.replace("/", "--")


def models_folder() -> Path:
    return home() / "models"


def files_folder(sha256: str) -> Path:
    """Where the file with this digest is kept."""
    return home() / "files" / sha256


def downloads_folder(*parts: str) -> Path:
    """Where unfinished and not yet converted downloads wait."""
    return home().joinpath("downloads", *(folder_name(part) for part in parts))


@contextmanager
def locked(key: str, *, progress: Progress | None = None) -> Iterator[None]:
    """Hold the lock called `key`; a second process waits here, and says so.

    Raises:
        ModelError: the folder of locks can't be written (code ``home_not_writable``).
    """
    from filelock import FileLock, Timeout

    folder = home() / "locks"
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{folder_name(key)}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            (progress or SilentProgress()).note(f"waiting for another process that is working on {key}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def staging(name: str, parent: Path | None = None) -> Iterator[Path]:
    """An empty folder on the store's file system (or in `parent`) that is gone afterwards, whatever happens.

    Called with the lock of `name` held: what a killed process left under that name is cleared away first.
    """
    root = parent or models_folder()
    prefix = f".staging-{folder_name(name)}-"
    with store_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    try:
        with store_errors(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(folder: Path, name: str, identity: str, record: dict[str, Any]) -> StoredModel:
    """Move a finished `folder` (on the store's file system) to its place; the lock of `name` is held.

    If the same weights are there already, they stay and only their record is renewed.
    """
    revision = identity[:REVISION_LENGTH]
    target = models_folder() / folder_name(name) / revision
    full_record = {"schema": 1, "name": name, "identity": identity, **record}
    with store_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            write_atomically(target / RECORD, _json(full_record))
        else:
            (folder / RECORD).write_text(_json(full_record), encoding="utf-8")
            folder.chmod(0o755)  # mkdtemp's 0700 would hide it from others who share this home
            folder.rename(target)
        write_atomically(target.parent / "latest", revision + "\n")
    return StoredModel(name, revision, target, full_record)


def list_models() -> list[StoredModel]:
    """Everything in the store, sorted by name, the latest revision of each name first."""
    found: list[StoredModel] = []
    root = models_folder()
    if not root.is_dir():
        return found
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found.extend(_read(path, folder.name) for path in _revisions(folder))
    return found


def find(name: str, *, source: str | None = None, revision: str | None = None) -> StoredModel | None:
    """The stored model of that name: the latest, or the one of that source or revision (or identity)."""
    folder = models_folder() / folder_name(name)
    if not folder.is_dir():
        return None
    for path in _revisions(folder):
        model = _read(path, folder.name)
        if source is not None and model.source != source:
            continue
        if revision is None or _same_revision(model, revision):
            return model
    return None


def remove(name: str) -> list[StoredModel]:
    """Delete every revision of `name` from the store; returns what was deleted. The hub's cache is not touched."""
    folder = models_folder() / folder_name(name)
    # By the folders, not by their records: a damaged record must not keep its model from being removed.
    removed = [StoredModel(name, path.name, path, {}) for path in _revisions(folder)]
    if removed:
        with store_errors(folder):
            # Out of sight in one step first, so that a half-deleted model is never found.
            hidden = folder.with_name(f".staging-{folder.name}-removed")
            shutil.rmtree(hidden, ignore_errors=True)
            folder.rename(hidden)
            shutil.rmtree(hidden)
    return removed


def folder_size(folder: Path) -> int:
    """Bytes of all files under `folder`, links followed."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _revisions(folder: Path) -> list[Path]:
    """A stored model's revisions, the latest first; none if there is no such model."""
    if not folder.is_dir():
        return []
    latest = _latest(folder)
    revisions = sorted(path for path in folder.iterdir() if path.is_dir() and _REVISION.fullmatch(path.name))
    return sorted(revisions, key=lambda path: path.name != latest)


def _same_revision(model: StoredModel, revision: str) -> bool:
    wanted = revision.lower()
    if len(wanted) >= REVISION_LENGTH and str(model.record.get("identity", "")).startswith(wanted):
        return True
    return wanted == model.revision or revision == model.record.get("source_revision")


def _latest(folder: Path) -> str | None:
    try:
        return (folder / "latest").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _read(path: Path, name: str) -> StoredModel:
    record_path = path / RECORD
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        record = {}  # a folder that someone put there by hand
    except (ValueError, OSError) as error:
        raise ModelFormatError(
            f"{record_path} can't be read: {error}",
            hint="`voxport models rm` removes the model, `voxport models pull` fetches it again",
        ) from error
    return StoredModel(str(record.get("name", name.replace("--", "/"))), path.name, path, record)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn a file system's errors, and converters' reports of them, into the store's."""
    try:
        yield
    except (OSError, OutputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(path) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ModelError(
                f"can't write to {getattr(cause, 'filename', None) or path}: {os.strerror(number or 0)}",
                hint="set VOXPORT_HOME to a folder that you may write to",
                code="home_not_writable",
            ) from error
        if number in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP):
            raise ModelError(
                f"can't write to {getattr(cause, 'filename', None) or path}: {os.strerror(number or 0)}",
                hint="a folder is wanted there: set VOXPORT_HOME, or give another folder",
                code="home_not_writable",
            ) from error
        raise
