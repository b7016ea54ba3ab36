"""ModelScope, over its HTTP interface.

After the source of its own client, ``modelscope-hub`` 0.5.1 on the package index (``modelscope`` 1.40 delegates to it):

    GET /api/v1/models/ORG/NAME/repo/files?Revision=R&Recursive=True
        {"Data": {"Files": [{"Path", "Type", "Size", "Sha256"}, ...]}}
    GET /api/v1/models/ORG/NAME/repo?Revision=R&FilePath=P
        the bytes, after redirects; Range is honoured

A token goes as ``Authorization: Bearer`` and as the cookie ``m_session_id``. The default branch is "master". The
environment variables are the client's: MODELSCOPE_ENDPOINT (before it MODELSCOPE_DOMAIN) and MODELSCOPE_API_TOKEN. The
login that the client stores is a pickle, which is never opened here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

from voxport.errors import DownloadError, GatedModelError, ModelFormatError, ModelNotFoundError
from voxport.models.hub.download import CONNECT_TIMEOUT, READ_TIMEOUT, HTTPStatusError, download, new_session
from voxport.models.hub.model_files import select_files
from voxport.models.hub.sources import Fetched
from voxport.models.hub.store import downloads_folder

if TYPE_CHECKING:
    import requests

    from voxport.models.hub.catalog import KnownModel
    from voxport.models.hub.hub_cache import CachedSnapshot
    from voxport.models.hub.progress import Progress

__all__ = ["SOURCE", "ModelScope"]

DEFAULT_REVISION = "master"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """One file of the listing; size and sha256 are None where it has none."""

    path: str
    size: int | None
    sha256: str | None


class ModelScope:
    name = "modelscope"

    def endpoint(self) -> str:
        value = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or "modelscope.cn"
        value = value.strip().rstrip("/")
        return value if value.lower().startswith(("http://", "https://")) else f"https://{value}"

    def may_be_asked(self) -> bool:
        return True

    def find_local(self, model: KnownModel, revision: str | None) -> CachedSnapshot | None:
        """None: what comes from here is placed in the store."""
        return None

    def fetch(self, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        return self.fetch_into(model, revision, downloads_folder(self.name, model.name), progress, whole=False)

    def fetch_into(
        self, model: KnownModel, revision: str | None, folder: Path, progress: Progress, *, whole: bool
    ) -> Fetched:
        repository = model.repositories[self.name]
        revision = revision or DEFAULT_REVISION
        with self._session() as session:
            files = self._list(session, repository, revision)
            if not whole:
                try:
                    names = set(select_files(file.path for file in files))
                except ModelFormatError as error:
                    raise ModelFormatError(f"{repository} can't be used: {error.message}", hint=error.hint) from error
                files = [file for file in files if file.path in names]
            for file in files:
                self._download(session, repository, revision, file, folder, progress)
        digests = {file.path: file.sha256 for file in files if file.sha256}
        origin = {"repository": repository, "source_revision": revision, "sha256": digests}
        return Fetched(folder, revision, origin)

    def _session(self) -> requests.Session:
        session = new_session()
        token = os.environ.get("MODELSCOPE_API_TOKEN")
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
            session.cookies.set("m_session_id", token, domain=urlsplit(self.endpoint()).hostname or "", path="/")
        return session

    def _list(self, session: requests.Session, repository: str, revision: str) -> list[RemoteFile]:
        import requests

        url = f"{self.endpoint()}/api/v1/models/{repository}/repo/files"
        try:
            response = session.get(
                url, params={"Revision": revision, "Recursive": "True"}, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
            )
            if response.status_code >= 400:
                raise _refusal(response.status_code, _message(response), repository, revision)
            entries = _entries(response.json())
        except (requests.RequestException, ValueError) as error:
            raise DownloadError(f"{repository} from ModelScope: {error}") from error
        if not entries:
            raise ModelNotFoundError(f"ModelScope lists no files for {repository} at revision {revision!r}")
        return entries

    def _download(
        self,
        session: requests.Session,
        repository: str,
        revision: str,
        file: RemoteFile,
        folder: Path,
        progress: Progress,
    ) -> None:
        url = (
            f"{self.endpoint()}/api/v1/models/{repository}/repo"
            f"?Revision={quote_plus(revision)}&FilePath={quote_plus(file.path)}"
        )
        try:
            download(
                url,
                folder / file.path,
                sha256=file.sha256,
                size=file.size,
                session=session,
                progress=progress,
                label=f"{repository}/{file.path} from ModelScope",
            )
        except HTTPStatusError as error:
            raise _refusal(error.status, error.message, repository, revision) from error


def _entries(body: Any) -> list[RemoteFile]:
    """The files of a listing.

    Raises:
        ValueError: not a listing, or a path that leads out of the folder.
    """
    data = body.get("Data", body) if isinstance(body, dict) else body
    listed = data.get("Files") if isinstance(data, dict) else data
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ValueError("the answer is no listing of files")
    files: list[RemoteFile] = []
    for entry in listed:
        if entry.get("Type", "blob") == "tree":
            continue
        path = str(entry.get("Path") or entry.get("Name") or "")
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
            raise ValueError(f"the listing has the path {path!r}")
        sha256 = str(entry.get("Sha256") or "")
        size = entry.get("Size")
        # The client's note: 0 stands for empty files and for unknown sizes alike.
        files.append(
            RemoteFile(path, int(size) if size else None, sha256.lower() if _SHA256.fullmatch(sha256) else None)
        )
    return files


def _message(response: requests.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.reason or ""
    return str(body.get("Message") or body.get("message") or "") if isinstance(body, dict) else ""


def _refusal(status: int, message: str, repository: str, revision: str) -> Exception:
    """The error for an HTTP status."""
    if status == 404:
        return ModelNotFoundError(f"ModelScope has no {repository} at revision {revision!r}" + _in_brackets(message))
    if status in (401, 403):
        return GatedModelError(
            f"ModelScope gives {repository} only to those with access (HTTP {status})" + _in_brackets(message),
            hint="ask for access at the model's page on modelscope.cn and set MODELSCOPE_API_TOKEN to your token",
        )
    return DownloadError(f"ModelScope answered HTTP {status} for {repository}" + _in_brackets(message))


def _in_brackets(message: str) -> str:
    return f" ({message})" if message else ""


SOURCE = ModelScope()
