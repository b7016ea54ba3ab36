"""The published implementations (Hugging Face transformers) behind the model contract: the yardstick for ours.

One module a family. transformers is imported when a model is loaded.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.devices import Device
    from voxport.models import ASRModel
    from voxport.models.reference.lasr import ReferenceLasr, ReferenceLasrEncoded, ReferenceLasrFeatures
    from voxport.models.reference.whisper import MAX_TOKENS, ReferenceEncoded, ReferenceFeatures, ReferenceWhisper

__all__ = [
    "MAX_TOKENS",
    "REFERENCES",
    "ReferenceEncoded",
    "ReferenceFeatures",
    "ReferenceLasr",
    "ReferenceLasrEncoded",
    "ReferenceLasrFeatures",
    "ReferenceWhisper",
    "load_reference",
]

REFERENCES: dict[str, str] = {
    "whisper": "voxport.models.reference.whisper:ReferenceWhisper",
    "lasr_ctc": "voxport.models.reference.lasr:ReferenceLasr",
}
"""Hugging Face ``model_type`` -> "module:Class"."""


def load_reference(
    folder: Path, device: Device, dtype: str, *, attention: str = "eager", name: str | None = None
) -> ASRModel:
    """The published implementation of the model in `folder`, whatever its family.

    Args:
        folder: in the published layout; read from the disk only.
        device: where to run.
        dtype: "float32", "float16" or "bfloat16".
        attention: transformers' ``attn_implementation``; "eager" is written out in plain operations.
        name: as it was asked for; None = the folder's.

    Raises:
        MissingDependencyError: transformers is absent, or too old for this family.
        ModelFormatError: the folder is incomplete or damaged, or of a family that has no reference here.
    """
    path = folder / "config.json"
    try:
        family = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"{path} can't be read: {error}", hint="is it a model folder?") from error
    if family not in REFERENCES:
        raise ModelFormatError(
            f"{folder} is a model of type {family!r}", hint=f"there are references for: {', '.join(sorted(REFERENCES))}"
        )
    module, _, attribute = REFERENCES[family].partition(":")
    model: ASRModel = getattr(import_module(module), attribute)(folder, device, dtype, attention=attention, name=name)
    return model


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{'lasr' if 'Lasr' in name else 'whisper'}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
