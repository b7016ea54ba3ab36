"""Reads the tokenizer files of a published folder: tokenizer.json, or vocab.json and merges.txt."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from voxport.errors import ModelFormatError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Parts", "damaged", "read_tokenizer"]

Parts = tuple[dict[str, int], list[tuple[str, str]], dict[int, tuple[str, bool]]]
"""Vocabulary, merges and added tokens: the arguments of `WhisperTokenizer`."""


def read_tokenizer(folder: Path) -> Parts:
    """What the tokenizer files of a folder say: the vocabulary, the merges, and the added tokens by id.

    Raises:
        ModelFormatError: there are none, or they are damaged.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            return _read_tokenizer_json(folder / "tokenizer.json")
        if not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
            raise ModelFormatError(
                f"no tokenizer in {folder}",
                hint="it needs tokenizer.json, or vocab.json and merges.txt; pull or import the model again",
                code="tokenizer_missing",
            )
        added: dict[int, tuple[str, bool]] = {}
        if (folder / "tokenizer_config.json").is_file():
            decoder = _read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
            added = {int(number): (t["content"], bool(t["special"])) for number, t in decoder.items()}
        if (folder / "added_tokens.json").is_file():
            names: dict[str, int] = _read_json(folder / "added_tokens.json")
            added = {number: (token, _looks_special(token)) for token, number in names.items()} | added
        return _read_json(folder / "vocab.json"), _read_merges(folder / "merges.txt"), added
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> ModelFormatError:
    return ModelFormatError(
        f"the tokenizer files in {folder} are damaged: {error!r}",
        hint="pull or import the model again",
        code="tokenizer_damaged",
    )


def _looks_special(token: str) -> bool:
    """True for ``<|en|>``, not for the timestamp ``<|1.08|>``."""
    return re.fullmatch(r"<\|(?![0-9]+\.[0-9]+\|).+\|>", token) is not None


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    return [_merge(line) for line in lines if line]


def _merge(merge: str | list[str]) -> tuple[str, str]:
    """One merge, which `tokenizers` wrote as "a b" before 0.20 and as ["a", "b"] since."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _read_tokenizer_json(path: Path) -> Parts:
    data = _read_json(path)
    model = data["model"]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"the model in {path.name} is {model['type']}, not BPE")
    added = {token["id"]: (token["content"], token["special"]) for token in data.get("added_tokens", [])}
    return model["vocab"], [_merge(merge) for merge in model["merges"]], added
