"""Options that not every family has: refused where they would be ignored."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from voxport.errors import UnsupportedOptionError
from voxport.types import DecodingOptions

if TYPE_CHECKING:
    from voxport.models import ASRModel

__all__ = ["refuse_missing"]

_NEEDED = {
    "search": (
        "beam_size",
        "patience",
        "length_penalty",
        "best_of",
        "temperatures",
        "seed",
        "compression_ratio_threshold",
    ),
    "no_speech": ("logprob_threshold",),
    "prompt": ("initial_prompt", "previous_tokens"),
    "hotwords": ("hotwords", "hotword_weight"),
    "word_timestamps": ("word_timestamps",),
    "punctuation": ("prepend_punctuations", "append_punctuations"),
}
"""An ability, as `ASRModel.supports` names it, and the fields of `DecodingOptions` that need it."""

_NAMES = {"temperatures": "temperature"}


def refuse_missing(model: ASRModel, options: DecodingOptions) -> None:
    """Refuse options that need an ability which the model lacks.

    Raises:
        UnsupportedOptionError: naming the first of them.
    """
    defaults = {field.name: field.default for field in fields(DecodingOptions)}
    for ability, names in _NEEDED.items():
        if ability in model.supports:
            continue
        for name in names:
            if getattr(options, name) != defaults[name]:
                raise UnsupportedOptionError(
                    f"{model.name} has no use for --{_NAMES.get(name, name)}",
                    hint="leave it out, or use one of voxport's Whisper models, e.g. whisper-base",
                )
