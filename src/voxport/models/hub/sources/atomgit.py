"""AtomGit (formerly GitCode). Its hub speaks Hugging Face's protocol, so huggingface_hub talks to it.

After the source of its own client, ``atomgit`` 1.0.17 on the package index: the endpoint hub.atomgit.com, ids of three
parts joined as ``hf_mirrors-org/name``, the default branch asked for first ("main" can't be relied on), the token that
``atomgit login`` stores, the cache under ~/.cache/atomgit, plain HTTP instead of Xet. That client takes its endpoint
from HF_ENDPOINT; since that is the hub's here, ATOMGIT_ENDPOINT does it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from voxport.models.hub.download import CONNECT_TIMEOUT, new_session
from voxport.models.hub.sources.hub_protocol import HubProtocolSource

if TYPE_CHECKING:
    from voxport.models.hub.catalog import KnownModel

__all__ = ["SOURCE", "AtomGit", "flat_repository_id"]

ANSWER_TIMEOUT = 15.0


def flat_repository_id(repository: str) -> str:
    """``hf_mirrors/google/medasr`` -> ``hf_mirrors-google/medasr``; ids of two parts unchanged."""
    parts = repository.split("/")
    return repository if len(parts) < 3 else f"{parts[0]}-{parts[1]}/" + "/".join(parts[2:])


class AtomGit(HubProtocolSource):
    name = "atomgit"
    title = "AtomGit"

    def endpoint(self) -> str:
        return (os.environ.get("ATOMGIT_ENDPOINT") or "https://hub.atomgit.com").rstrip("/")

    def cache(self) -> Path:
        return Path("~/.cache/atomgit/hub").expanduser()

    def token(self) -> str | Literal[False]:
        """ATOMGIT_TOKEN, else what ``atomgit login`` stored, else none: the hub's own token is not for AtomGit."""
        if os.environ.get("ATOMGIT_TOKEN"):
            return os.environ["ATOMGIT_TOKEN"]
        try:
            stored = json.loads(Path("~/.atomgit/config.json").expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        token = stored.get("token") if isinstance(stored, dict) else None
        return token if isinstance(token, str) and token else False

    def repository(self, model: KnownModel) -> str:
        return flat_repository_id(super().repository(model))

    def access_hint(self, repository: str) -> str:
        return "ask for access at the model's page on atomgit.com and set ATOMGIT_TOKEN (or run `atomgit login`)"

    def default_revision(self, repository: str) -> str | None:
        """As the client finds it: what the model's details say, else whichever of "main" and "master" exists."""
        import requests

        token = self.token()
        address = f"{self.endpoint()}/api/models/{repository}"
        try:
            with new_session() as session:
                if token:
                    session.headers["Authorization"] = f"Bearer {token}"
                response = session.get(address, timeout=(CONNECT_TIMEOUT, ANSWER_TIMEOUT))
                branch = response.json().get("default_branch") if response.ok else None
                if isinstance(branch, str) and branch:
                    return branch
                for candidate in ("main", "master"):
                    if session.get(f"{address}/revision/{candidate}", timeout=(CONNECT_TIMEOUT, ANSWER_TIMEOUT)).ok:
                        return candidate
        except (requests.RequestException, ValueError, AttributeError):
            return None  # the listing that follows meets the same problem and explains it
        return None


SOURCE = AtomGit()
