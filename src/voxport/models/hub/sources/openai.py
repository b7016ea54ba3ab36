"""OpenAI's own Whisper checkpoints, by digest. VOXPORT_OPENAI_ENDPOINT points at a mirror of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from voxport.errors import ModelNotFoundError, UsageError
from voxport.models.hub.download import HTTPStatusError, download
from voxport.models.hub.sources import Fetched
from voxport.models.hub.store import downloads_folder

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.models.hub.catalog import KnownModel
    from voxport.models.hub.hub_cache import CachedSnapshot
    from voxport.models.hub.progress import Progress

__all__ = ["SOURCE", "OpenAI"]


class OpenAI:
    name = "openai"

    def endpoint(self) -> str:
        default = "https://openaipublic.azureedge.net/main/whisper/models"
        return (os.environ.get("VOXPORT_OPENAI_ENDPOINT") or default).rstrip("/")

    def may_be_asked(self) -> bool:
        return True

    def find_local(self, model: KnownModel, revision: str | None) -> CachedSnapshot | None:
        """None: what comes from here is converted into the store."""
        return None

    def fetch(self, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        if model.openai_file is None:
            raise ModelNotFoundError(f"OpenAI has no checkpoint for {model.name}")
        sha256, _, name = model.openai_file.partition("/")
        if revision is not None and revision != sha256:
            raise UsageError("OpenAI's checkpoints have no revisions", hint="leave --revision out")
        folder = downloads_folder(self.name, sha256)
        try:
            path = download(
                f"{self.endpoint()}/{model.openai_file}",
                folder / name,
                sha256=sha256,
                progress=progress,
                label=f"{name} from OpenAI",
            )
        except HTTPStatusError as error:
            if error.status in (403, 404, 410):
                raise ModelNotFoundError(f"OpenAI no longer offers {name} (HTTP {error.status})") from error
            raise
        origin = {"repository": "openai/whisper", "source_revision": sha256, "sha256": {name: sha256}}
        return Fetched(path, sha256, origin)

    def fetch_into(
        self, model: KnownModel, revision: str | None, folder: Path, progress: Progress, *, whole: bool
    ) -> Fetched:
        return self.fetch(model, revision, progress)


SOURCE = OpenAI()
