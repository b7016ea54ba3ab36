"""Where models can be fetched from: one file per source, all behind one small protocol.

A source only fetches. Locks, conversion, identity and placing are `voxport.models.hub`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.hub.catalog import KnownModel
    from voxport.models.hub.hub_cache import CachedSnapshot
    from voxport.models.hub.progress import Progress

__all__ = ["Fetched", "Source", "get_source"]

_MODULES = {
    "huggingface": "voxport.models.hub.sources.huggingface",
    "modelscope": "voxport.models.hub.sources.modelscope",
    "atomgit": "voxport.models.hub.sources.atomgit",
    "openai": "voxport.models.hub.sources.openai",
    "index": "voxport.models.hub.sources.package_index",
}


@dataclass(frozen=True)
class Fetched:
    """What a source brought.

    Attributes:
        path: a folder, or one checkpoint file.
        revision: as the source names it: a commit, a branch, a version.
        origin: what goes into the record: repository or packages, and digests of what was fetched.
        stays: True for files in a hub's own cache, which are used where they lie; else `path` may be moved or deleted.
    """

    path: Path
    revision: str
    origin: dict[str, Any] = field(default_factory=dict)
    stays: bool = False


class Source(Protocol):
    """One place that models come from.

    Attributes:
        name: as ``--source`` has it.
    """

    name: str

    def endpoint(self) -> str | None:
        """The address to knock at before relying on it; None = no address of our own (the package index is pip's)."""
        ...

    def may_be_asked(self) -> bool:
        """False where the person's settings forbid the network to this source; `fetch` then says so itself."""
        ...

    def find_local(self, model: KnownModel, revision: str | None) -> CachedSnapshot | None:
        """The model in this source's own cache, without any network."""
        ...

    def fetch(self, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        """Bring the files that are needed, verified. The lock of the model is held.

        Raises:
            ModelNotFoundError: it has no such model or revision.
            GatedModelError: it wants terms accepted first.
            ModelFormatError: it has it in a form that voxport doesn't read.
            DownloadError: anything else.
        """
        ...

    def fetch_into(
        self, model: KnownModel, revision: str | None, folder: Path, progress: Progress, *, whole: bool
    ) -> Fetched:
        """Like `fetch`, into a folder of the person's choice; `whole`: every file of the repository.

        A source that has no repositories puts there what it has, to be converted.
        """
        ...


def get_source(name: str) -> Source:
    """The source of that name; loaded when it is asked for."""
    source: Source = import_module(_MODULES[name]).SOURCE
    return source
