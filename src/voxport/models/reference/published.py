"""What the references share: transformers itself, its way of loading a folder, and the refusal of broken numbers."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from voxport.errors import DecodingError, MissingDependencyError, ModelFormatError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

__all__ = ["import_transformers", "load_model", "load_part", "require_finite"]


def import_transformers(minimum: tuple[int, int]) -> Any:
    """The transformers package, of the version `minimum` or later.

    Raises:
        MissingDependencyError: it is absent or older; the hint is the command that helps.
    """
    wanted = ".".join(map(str, minimum))
    command = f'pip install "transformers>={wanted}"'
    try:
        found = metadata.version("transformers")
        import transformers
    except (metadata.PackageNotFoundError, ImportError) as error:
        raise MissingDependencyError(
            f"the reference implementation needs transformers >= {wanted}: {error}",
            hint=f'{command}, or pip install "voxport[reference]"',
        ) from error
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < minimum:
        raise MissingDependencyError(
            f"the reference implementation needs transformers >= {wanted}, found {found}", hint=command
        )
    return transformers


def load_model(transformers: Any, kind: str, folder: Path, dtype: torch.dtype, attention: str) -> Any:
    """The published model of class `kind`, in evaluation mode, every weight from the folder.

    Raises:
        ModelFormatError: the folder can't be read, or its tensors don't fit its config.json: transformers would make
            up missing ones and only warn.
    """
    logging = transformers.utils.logging
    show_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFormatError(f"transformers can't load {folder}: {error}") from error
    finally:
        if show_progress:
            logging.enable_progress_bar()
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(map(str, report.get(problem) or ()))
        if names:
            raise ModelFormatError(
                f"the weights in {folder} do not fit its config.json: "
                f"{problem.replace('_', ' ')} {', '.join(names[:3])}"
            )
    return model.eval()


def load_part(transformers: Any, kind: str, folder: Path) -> Any:
    """The published tokenizer or feature extractor of class `kind`.

    Raises:
        ModelFormatError: its files are absent or damaged.
    """
    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelFormatError(f"transformers can't read {folder}: {error}") from error


def require_finite(logits: Tensor) -> None:
    """Raise DecodingError (code ``non_finite``) where the network gave infinities or NaN."""
    if not bool(logits.isfinite().all()):
        raise DecodingError(
            "the model gave non-finite logits",
            hint="try --dtype float32; if it is float32 already, check the model's files",
            code="non_finite",
        )
