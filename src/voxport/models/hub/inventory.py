"""What is known of models and what is here: for ``voxport models list``, ``show`` and ``rm``. No network."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError, ModelNotFoundError
from voxport.models import hub
from voxport.models.hub import catalog, hub_cache, store
from voxport.models.hub.model_files import has_random_weights, safetensors_files
from voxport.models.hub.sources import get_source
from voxport.models.hub.sources.hub_protocol import HubProtocolSource
from voxport.models.safetensors_file import read_safetensors
from voxport.tokenizer import WhisperTokenizer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Entry", "describe", "list_all", "remove"]


@dataclass(frozen=True)
class Entry:
    """One line of the list.

    Attributes:
        name: short name, hub id, or what it was imported as.
        ready: its files are here.
        sources: that may have it.
        source: where the files here came from, or None.
        revision: of the files here: the store's, or a commit; or None.
        path: their folder, or None.
        size: of the folder in bytes, or None.
        licence: of the weights, as far as known.
        random_weights: the files here were made with random weights, see `ModelInfo.random_weights`.
    """

    name: str
    ready: bool
    sources: tuple[str, ...]
    source: str | None = None
    revision: str | None = None
    path: str | None = None
    size: int | None = None
    licence: str | None = None
    random_weights: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def list_all() -> list[Entry]:
    """The known models in the catalogue's order, then what else is in the store; a model that is here twice, twice."""
    stored = store.list_models()
    entries: list[Entry] = []
    for model in catalog.MODELS.values():
        here = [_stored_entry(item, model) for item in stored if item.name == model.name]
        for source in model.sources:
            cached = get_source(source).find_local(model, None)
            if cached is not None:
                here.append(_entry(model, source, cached.commit, cached.path, model.licence))
        entries += here or [Entry(model.name, False, model.sources, licence=model.licence or None)]
    entries += [_stored_entry(item, None) for item in stored if item.name not in catalog.MODELS]
    return entries


def describe(name: str) -> dict[str, Any]:
    """Everything that ``voxport models show`` prints, as plain values; ``ready`` is False where only the name is known.

    Raises:
        ModelNotFoundError: neither a known name nor anything that is here.
        ModelFormatError: the files here can't be read.
    """
    found = _resolve_here(name)
    if found is None:
        model = catalog.lookup(name)
        return {
            "schema": 1,
            "name": model.name,
            "ready": False,
            "sources": list(model.sources),
            "repositories": dict(model.repositories),
            "licence": model.licence or None,
            "gated": model.gated,
        }
    record = _record(found.path)
    facts: dict[str, Any] = {
        "schema": 1,
        "name": found.name,
        "ready": True,
        "family": None,
        "random_weights": False,
        "identity": _identity(found.path),
        "path": str(found.path),
        "source": found.source,
        "revision": found.revision or None,
        "source_revision": record.get("source_revision"),
        "licence": _licence(record, found.source, catalog.MODELS.get(found.name)),
        "size": store.folder_size(found.path),
        **_configuration(found.path),
        **_weights(found.path),
    }
    return facts


def remove(name: str) -> dict[str, list[str]]:
    """Delete a model's conversions. ``left``: folders of it in the hubs' caches, which are not ours to delete.

    Raises:
        ModelNotFoundError: there is nothing of that name in the store.
    """
    canonical = catalog.canonical_name(name)
    with store.locked(canonical):
        removed = store.remove(canonical)
    left = _cached_folders(canonical)
    if not removed:
        if left:
            raise ModelNotFoundError(
                f"{name} isn't in the store; it is in a hub's own cache, which is left alone",
                hint=f"to remove it there: rm -r '{left[0]}'",
            )
        raise ModelNotFoundError(f"there is no model {name} in the store", hint="`voxport models list` shows what is")
    return {"removed": [str(model.path) for model in removed], "left": [str(path) for path in left]}


def _resolve_here(name: str) -> hub.ResolvedModel | None:
    """The model if it is here: a folder, in the store under any name, or in a hub's cache."""
    folder = hub.as_folder(name)
    if folder is not None:
        return hub.resolve(name, offline=True)
    return hub.find_local(name)


def _cached_folders(name: str) -> list[Path]:
    """A model's folders in the hubs' own caches."""
    try:
        model = catalog.lookup(name)
    except ModelNotFoundError:
        return []  # imported under a name of its own
    folders: list[Path] = []
    for source in model.sources:
        place = get_source(source)
        if isinstance(place, HubProtocolSource):
            folder = hub_cache.repository_folder(place.cache(), place.repository(model))
            if folder.is_dir():
                folders.append(folder)
    return folders


def _stored_entry(item: store.StoredModel, model: catalog.KnownModel | None) -> Entry:
    return Entry(
        name=item.name,
        ready=True,
        sources=model.sources if model else (),
        source=item.source,
        revision=item.revision,
        path=str(item.path),
        size=store.folder_size(item.path),
        licence=_licence(item.record, item.source, model),
        random_weights=has_random_weights(item.path),
    )


def _entry(model: catalog.KnownModel, source: str, revision: str, path: Path, licence: str) -> Entry:
    return Entry(
        name=model.name,
        ready=True,
        sources=model.sources,
        source=source,
        revision=revision,
        path=str(path),
        size=store.folder_size(path),
        licence=licence or None,
        random_weights=has_random_weights(path),
    )


def _licence(record: dict[str, Any], source: str, model: catalog.KnownModel | None) -> str | None:
    """The recorded one, else the catalogue's; what was imported may be anything, whatever it is called."""
    recorded = record.get("licence")
    if recorded:
        return str(recorded)
    return model.licence or None if model is not None and source not in ("import", "folder") else None


def _identity(folder: Path) -> str:
    from voxport.models.identity import model_identity

    return model_identity(folder)


def _record(folder: Path) -> dict[str, Any]:
    path = folder / store.RECORD
    return dict(_json_object(path)) if path.is_file() else {}


def _configuration(folder: Path) -> dict[str, Any]:
    """What config.json and generation_config.json say of the shape."""
    config = _json_object(folder / "config.json")
    generation_path = folder / "generation_config.json"
    generation = _json_object(generation_path) if generation_path.is_file() else {}
    nested = config.get("encoder_config")  # MedASR's
    encoder: dict[str, Any] = nested if isinstance(nested, dict) else {}
    shape = {
        "encoder_layers": config.get(
            "encoder_layers", config.get("num_hidden_layers", encoder.get("num_hidden_layers"))
        ),
        "decoder_layers": config.get("decoder_layers"),
        "width": config.get("d_model", encoder.get("hidden_size")),
        "encoder_heads": config.get("encoder_attention_heads", encoder.get("num_attention_heads")),
        "decoder_heads": config.get("decoder_attention_heads"),
    }
    facts: dict[str, Any] = {
        "family": config.get("model_type"),
        "random_weights": has_random_weights(folder),
        "mels": config.get("num_mel_bins", encoder.get("num_mel_bins")),
        "vocabulary": config.get("vocab_size"),
        "shape": {key: value for key, value in shape.items() if value is not None},
    }
    if config.get("model_type") == "whisper":
        facts["languages"] = _languages(folder, generation)
    elif config.get("model_type") == "lasr_ctc":
        facts["languages"] = ["en"]  # no file says so
    return facts


def _languages(folder: Path, generation: dict[str, Any]) -> list[str]:
    """Codes: those the generation config publishes, else those the tokenizer has tokens for; English alone has none."""
    published = generation.get("lang_to_id")
    if isinstance(published, dict) and published:
        return sorted(token.strip("<|>") for token in published)
    tokenizer = WhisperTokenizer.from_folder(folder)
    return sorted(tokenizer.language_tokens) if tokenizer.multilingual else ["en"]


def _weights(folder: Path) -> dict[str, Any]:
    """Names, dtypes and shapes from the headers of the weights, and the number of parameters."""
    tensors: dict[str, dict[str, Any]] = {}
    for path in safetensors_files(folder):
        for name, tensor in read_safetensors(path).items():
            tensors[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape)}
    parameters = sum(math.prod(entry["shape"]) for entry in tensors.values())
    dtypes = sorted({str(entry["dtype"]) for entry in tensors.values()})
    return {"parameters": parameters, "dtypes": dtypes, "tensors": tensors}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} can't be read: {error}", hint="fetch the model again") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} holds no object", hint="fetch the model again")
    return value
