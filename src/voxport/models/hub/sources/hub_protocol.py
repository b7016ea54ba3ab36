"""Hubs that speak Hugging Face's protocol, through huggingface_hub: the hub itself, its mirrors, and AtomGit."""

from __future__ import annotations

import errno
import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from voxport.errors import (
    DigestError,
    DownloadError,
    GatedModelError,
    ModelFormatError,
    ModelNotFoundError,
    OfflineError,
)
from voxport.models.hub import hub_cache
from voxport.models.hub.download import disk_full, download, sha256_of
from voxport.models.hub.model_files import select_files
from voxport.models.hub.sources import Fetched
from voxport.version import __version__
from voxport.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.models.hub.catalog import KnownModel
    from voxport.models.hub.progress import Progress

__all__ = ["HubProtocolSource"]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository. `sha256` for large files (LFS), `git_sha1` for the others; None = the hub won't say."""

    name: str
    size: int | None
    sha256: str | None
    git_sha1: str | None

    @property
    def etag(self) -> str | None:
        """What the hub's cache calls the file's bytes."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit; `branch` is the name it was asked for by, None = the library's default."""

    repository: str
    branch: str | None
    commit: str
    files: tuple[RemoteFile, ...]


class HubProtocolSource:
    """Base of the sources that huggingface_hub can talk to. Files stay in the hub's own cache."""

    name: str
    title: str

    def endpoint(self) -> str:
        raise NotImplementedError

    def may_be_asked(self) -> bool:
        return not hub_cache.hub_is_offline()

    def cache(self) -> Path:
        """The cache that the hub's own client uses."""
        raise NotImplementedError

    def token(self) -> str | bool | None:
        """What to authenticate with; None = whatever huggingface_hub finds itself, False = nothing."""
        raise NotImplementedError

    def repository(self, model: KnownModel) -> str:
        """The repository's id in URLs."""
        return model.repositories[self.name]

    def access_hint(self, repository: str) -> str:
        """How to get access to a repository that isn't open."""
        raise NotImplementedError

    def find_local(self, model: KnownModel, revision: str | None) -> hub_cache.CachedSnapshot | None:
        if self.name not in model.repositories:
            return None
        return hub_cache.find_snapshot(self.cache(), self.repository(model), revision)

    def fetch(self, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        repository = self.repository(model)
        with self._explained(repository, revision, gated=model.gated):
            snapshot = self._snapshot(repository, revision)
            wanted = self._select(snapshot)
            folder = hub_cache.repository_folder(self.cache(), repository)
            _check_room(self.cache(), folder / "blobs", wanted)
            path = self._download(snapshot, wanted, progress, cache=self.cache())
            digests = _verify(path, wanted, folder / "blobs")
            _write_reference(folder, snapshot.branch or "main", snapshot.commit)
        return Fetched(path, snapshot.commit, self._origin(snapshot, digests), stays=True)

    def fetch_into(
        self, model: KnownModel, revision: str | None, folder: Path, progress: Progress, *, whole: bool
    ) -> Fetched:
        repository = self.repository(model)
        with self._explained(repository, revision, gated=model.gated):
            snapshot = self._snapshot(repository, revision)
            wanted = list(snapshot.files) if whole else self._select(snapshot)
            folder.mkdir(parents=True, exist_ok=True)
            _check_room(folder, None, wanted)
            self._download(snapshot, wanted, progress, folder=folder)
            digests = _verify(folder, wanted, None)
        return Fetched(folder, snapshot.commit, self._origin(snapshot, digests), stays=True)

    def default_revision(self, repository: str) -> str | None:
        """The branch to take when none is asked for; None = the library's default."""
        return None

    def _origin(self, snapshot: Snapshot, digests: dict[str, str]) -> dict[str, Any]:
        return {"repository": snapshot.repository, "source_revision": snapshot.commit, "sha256": digests}

    def _select(self, snapshot: Snapshot) -> list[RemoteFile]:
        try:
            names = set(select_files(file.name for file in snapshot.files))
        except ModelFormatError as error:
            raise ModelFormatError(f"{snapshot.repository} can't be used: {error.message}", hint=error.hint) from error
        return [file for file in snapshot.files if file.name in names]

    def _snapshot(self, repository: str, revision: str | None) -> Snapshot:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint(), token=self.token(), library_name="voxport", library_version=__version__)
        revision = revision or self.default_revision(repository)
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=10)
        if not info.sha:
            raise DownloadError(f"{self.title} names no commit for {repository}")
        files = tuple(
            RemoteFile(
                name=sibling.rfilename,
                size=sibling.size,
                sha256=sibling.lfs.sha256 if sibling.lfs else None,
                git_sha1=None if sibling.lfs else sibling.blob_id,
            )
            for sibling in info.siblings or ()
        )
        return Snapshot(repository, revision, info.sha, files)

    def _download(
        self,
        snapshot: Snapshot,
        wanted: Sequence[RemoteFile],
        progress: Progress,
        *,
        cache: Path | None = None,
        folder: Path | None = None,
    ) -> Path:
        """Bring the files into the hub's cache, or into `folder`; by commit, so that all are of one state.

        The small ones come first and through the library, which knows best what a refusal means. The large ones are
        put by us where the library looks for them: since its version 2 it doesn't go on with an interrupted file, and
        it checks no digests. Then the library finds everything there and links it.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        small = [file for file in wanted if file.sha256 is None]
        large = [file for file in wanted if file.sha256 is not None]
        if small:
            self._ask_library(snapshot, small, cache, folder)
        headers = {
            name: value
            for name, value in build_hf_headers(token=self.token(), library_name="voxport").items()
            if name.lower() == "authorization"
        }
        blobs = None if cache is None else hub_cache.repository_folder(cache, snapshot.repository) / "blobs"
        for file in large:
            assert file.sha256 is not None
            place = blobs / file.sha256 if blobs is not None else (folder or Path()) / _inside(file.name)
            download(
                hf_hub_url(snapshot.repository, file.name, revision=snapshot.commit, endpoint=self.endpoint()),
                place,
                sha256=file.sha256,
                size=file.size,
                headers=headers,
                progress=progress,
                label=f"{snapshot.repository}/{file.name} from {self.title}",
            )
        return self._ask_library(snapshot, wanted, cache, folder)

    def _ask_library(
        self, snapshot: Snapshot, files: Sequence[RemoteFile], cache: Path | None, folder: Path | None
    ) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        silent = are_progress_bars_disabled()
        if not silent:
            disable_progress_bars()
        try:
            path = snapshot_download(
                snapshot.repository,
                revision=snapshot.commit,
                allow_patterns=[_literal(file.name) for file in files],
                endpoint=self.endpoint(),
                token=self.token(),
                library_name="voxport",
                library_version=__version__,
                cache_dir=cache,
                local_dir=folder,
            )
        finally:
            if not silent:
                enable_progress_bars()
        return Path(path)

    @contextmanager
    def _explained(self, repository: str, revision: str | None, *, gated: bool) -> Iterator[None]:
        """Turn the library's errors into ours."""
        if hub_cache.hub_is_offline():
            raise OfflineError(f"HF_HUB_OFFLINE is set, so {self.title} isn't asked", hint="unset it to fetch models")
        from huggingface_hub import errors as hub_errors

        # huggingface_hub speaks through requests, httpx or httpx2, depending on its version: the base of its own HTTP
        # error is that library's, and so of the connection errors too. RuntimeError is what its Xet transport raises.
        transport_errors: tuple[type[Exception], ...] = (*hub_errors.HfHubHTTPError.__bases__, OSError, RuntimeError)
        try:
            yield
        except hub_errors.GatedRepoError as error:
            raise GatedModelError(
                f"{repository} at {self.title} is gated: its terms have to be accepted first",
                hint=self.access_hint(repository),
            ) from error
        except hub_errors.RevisionNotFoundError as error:
            raise ModelNotFoundError(f"{repository} at {self.title} has no revision {revision!r}") from error
        except hub_errors.RepositoryNotFoundError as error:
            raise ModelNotFoundError(
                f"{self.title} has no model {repository}, or it is private",
                hint=f"check the spelling; for a private one: {self.access_hint(repository)}",
            ) from error
        except hub_errors.HFValidationError as error:
            raise ModelNotFoundError(f"{repository!r} is no repository id: {error}") from error
        except transport_errors as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise disk_full(self.cache()) from error
            if refusal := _refusal(error, gated):
                raise GatedModelError(
                    f"{self.title} refuses {repository}: {refusal}", hint=self.access_hint(repository)
                ) from error
            raise DownloadError(f"{repository} from {self.title}: {_first_line(error)}") from error


def _refusal(error: BaseException, gated: bool) -> str | None:
    """What the hub itself said of a token that doesn't reach (403) or of one that it doesn't know (401, and only where
    one is needed); None for any other failure, a proxy's refusal among them."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if response is not None and response.status_code in ((401, 403) if gated else (403,)):
            said = str(response.headers.get("X-Error-Message") or "").strip()
            return said or None
        cause = cause.__cause__
    return None


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _literal(name: str) -> str:
    """A file name as an fnmatch pattern that matches nothing else."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _write_reference(folder: Path, name: str, commit: str) -> None:
    reference = folder / "refs" / name
    if len(name) == 40 or ".." in name or (reference.is_file() and reference.read_text(encoding="utf-8") == commit):
        return
    with replacing(reference) as temporary:
        temporary.write_text(commit, encoding="utf-8")


def _check_room(root: Path, blobs: Path | None, wanted: Sequence[RemoteFile]) -> None:
    missing = [file for file in wanted if blobs is None or not file.etag or not (blobs / file.etag).is_file()]
    needed = sum(file.size or 0 for file in missing)
    while not root.is_dir():
        root = root.parent
    if needed > shutil.disk_usage(root).free:
        raise disk_full(root, needed)


def _verify(folder: Path, files: Sequence[RemoteFile], blobs: Path | None) -> dict[str, str]:
    """Hash what came against what the hub announced; a wrong file is deleted. Returns the sha256 of the large files.

    A link to a blob that is named by its sha256 was checked when it was written.
    """
    digests: dict[str, str] = {}
    for file in files:
        path = folder / file.name
        if file.sha256 is not None:
            digests[file.name] = expected = file.sha256
            checked = blobs is not None and path.resolve() == (blobs / expected).resolve()
            actual = expected if checked else sha256_of(path)
        elif file.git_sha1 is not None and len(file.git_sha1) == 40:
            content = path.read_bytes()
            actual = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            expected = file.git_sha1
        else:
            continue
        if actual != expected:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise DigestError(
                f"{file.name}: digest {actual} instead of {expected}",
                hint="the file was discarded; try again later, or another --source",
            )
    return digests


def _inside(name: str) -> PurePosixPath:
    """A repository's file name as a path that can't lead out of the folder it is put into."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise DownloadError(f"the hub lists a file {name!r}")
    return path
