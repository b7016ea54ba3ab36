"""The same weights for every engine: a Hugging Face folder and what the peers' formats are made from it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker_client import ENGINES

if TYPE_CHECKING:
    import argparse

FORMATS = {
    "voxport": "huggingface",
    "transformers": "huggingface",
    "faster_whisper": "ctranslate2",
    "openai_whisper": "openai",
}
DEFAULT_MODELS = ("whisper-tiny.en", "whisper-base")
MULTILINGUAL_VOCABULARY = 51_865
"""Whisper vocabularies from this size on are multilingual; the English-only one has 51,864."""


@dataclass(frozen=True)
class Weights:
    """One model in every format.

    Attributes:
        name: for the tables, e.g. "tiny.en".
        paths: format -> folder or file.
    """

    name: str
    paths: dict[str, Path]

    def path(self, engine: str) -> Path:
        """What an engine loads."""
        return self.paths[FORMATS[engine]]

    @property
    def multilingual(self) -> bool:
        config = json.loads((self.paths["huggingface"] / "config.json").read_text())
        return bool(config["vocab_size"] >= MULTILINGUAL_VOCABULARY)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """``--model`` and the formats' overrides."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME[=FOLDER]",
        help="a Whisper model that `voxport models pull NAME` finds, or a folder in Hugging Face's format; repeat for "
        f"several (default: {', '.join(DEFAULT_MODELS)})",
    )
    for name, what in (("ctranslate2", "CTranslate2 folder"), ("openai", "openai-whisper .pt file")):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME=PATH", help=f"{what} (default: made from --model)"
        )


def gather(arguments: argparse.Namespace, pythons: dict[str, Path], engines: set[str]) -> list[Weights]:
    """The models asked for, in every format that `engines` need; what is missing is made under .bench/models.

    Raises:
        SystemExit: an option that is not NAME=PATH, or a path that is not there.
        subprocess.CalledProcessError: a download or an export failed.
    """
    asked = arguments.model or DEFAULT_MODELS
    named = [name if "=" in name else f"{name}={pull(name, pythons['voxport'])}" for name in asked]
    given = {key: _pairs(getattr(arguments, key)) for key in ("ctranslate2", "openai")} | {"model": _pairs(named)}
    models = []
    for name, folder in given["model"].items():
        paths = {"huggingface": folder}
        for engine, kind, file in (
            ("faster_whisper", "ctranslate2", "ctranslate2"),
            ("openai_whisper", "openai", "openai.pt"),
        ):
            if engine not in engines:
                continue
            if name in given[kind]:
                paths[kind] = given[kind][name]
                continue
            exports = arguments.environments.resolve() / "models" / name.replace("/", "--")
            paths[kind] = exports / _digest(folder)[:12] / file
            if not paths[kind].exists():
                paths[kind].parent.mkdir(parents=True, exist_ok=True)
                script = str(ENGINES / f"export_{kind}.py")
                subprocess.run([str(pythons[engine]), script, str(folder), str(paths[kind])], check=True)
        models.append(Weights(name, paths))
    return models


def _digest(folder: Path) -> str:
    """sha256 over the weight files, so that an export is never taken for that of other weights of the same name."""
    total = hashlib.sha256()
    for shard in sorted(folder.glob("model*.safetensors")):
        with shard.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def random_medasr(environments: Path, python: Path) -> Path:
    """A MedASR of the true shape with random weights, made below .bench/models unless it is there.

    Google's weights are gated. The same weights for everyone who has the same `random_weights.py`, whose digest is in
    the folder's name.

    Raises:
        subprocess.CalledProcessError: voxport could not write it.
    """
    import voxport

    source = Path(voxport.__file__).parent / "models" / "lasr" / "random_weights.py"
    models = environments.resolve() / "models"
    folder = models / f"medasr-random-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models) as unfinished:
            made = Path(unfinished) / "model"
            made.mkdir()
            subprocess.run([str(python), str(ENGINES / "random_medasr.py"), str(made)], check=True)
            made.rename(folder)
    return folder


def has_random_weights(folder: Path) -> bool:
    """Whether a model folder says so of itself."""
    return bool(json.loads((folder / "config.json").read_text()).get("voxport_random_weights", False))


def locate(name: str, python: Path) -> Path:
    """A model's folder: the one named, or that of a model which voxport knows, fetched if it is not here."""
    return Path(name).resolve() if Path(name).is_dir() else Path(pull(name, python))


def pull(name: str, python: Path) -> str:
    """The folder of a model that voxport knows, fetched if it is not here."""
    command = [str(python), "-m", "voxport", "models", "pull", name, "--json"]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return str(json.loads(result.stdout)["path"])


def _pairs(options: list[str]) -> dict[str, Path]:
    pairs = {}
    for option in options:
        name, _, path = option.partition("=")
        if not path or not Path(path).exists():
            raise SystemExit(f"{option!r}: want NAME=PATH with a path that exists")
        pairs[name] = Path(path).resolve()
    return pairs
