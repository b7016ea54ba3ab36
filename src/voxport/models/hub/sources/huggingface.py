"""The Hugging Face hub, through huggingface_hub: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE as there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from voxport.models.hub import hub_cache
from voxport.models.hub.sources.hub_protocol import HubProtocolSource

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SOURCE", "HuggingFace"]


class HuggingFace(HubProtocolSource):
    name = "huggingface"
    title = "the Hugging Face hub"

    def endpoint(self) -> str:
        return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")

    def cache(self) -> Path:
        return hub_cache.huggingface_cache()

    def token(self) -> str | None:
        return os.environ.get("HF_TOKEN") or None

    def access_hint(self, repository: str) -> str:
        return (
            f"accept the terms at {self.endpoint()}/{repository}, make a token at {self.endpoint()}/settings/tokens "
            "and set HF_TOKEN to it (or run `hf auth login`)"
        )


SOURCE = HuggingFace()
