"""A precision recipe: the modules of a network that stay in float32 while the others are computed in fewer bits.

Names are published module paths; one stands for all that lies beneath it. A module in float32 has its parameters in
float32, takes what it reads as float32 and gives float32. A norm also decides about the residual stream: the sum that
it reads is made, and kept, in the norm's dtype. What a matrix is shared by, or laid side by side with in memory, has
one dtype: an attention's queries, keys and values, and tied embeddings; a recipe that names one of them means all.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from torch import nn

__all__ = ["VERSION", "Recipe", "modules_in_float32"]

VERSION = 1
DTYPES = ("float16", "bfloat16")
_KEYS = {"version", "dtype", "float32", "found"}


@dataclass(frozen=True)
class Recipe:
    """Which modules stay in float32.

    Attributes:
        dtype: of all the others: "float16" or "bfloat16".
        float32: published module paths.
        found: how it was found, for people: model, weights, policy and the like. Nothing depends on it.
        path: the file it was read from, or None.
    """

    dtype: str
    float32: tuple[str, ...]
    found: tuple[tuple[str, str], ...] = ()
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """A recipe from a TOML file.

        Raises:
            UsageError: it can't be read, or says something that can't be.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(
                f"the recipe {path} can't be read: {reason}", hint="make one with `voxport verify --advise`"
            ) from error
        problem = _problem(content)
        if problem is not None:
            raise UsageError(
                f"the recipe {path}: {problem}",
                hint='it needs version = 1, dtype = "float16" or "bfloat16", float32 = ["module.path", ...]',
            )
        found = tuple((str(key), str(value)) for key, value in content.get("found", {}).items())
        return cls(content["dtype"], tuple(content["float32"]), found, path)

    def write(self, path: Path) -> None:
        """Write it as TOML, atomically.

        Raises:
            OutputError: it can't be written.
        """
        lines = [
            "# A precision recipe of voxport: these modules stay in float32.",
            f"version = {VERSION}",
            f"dtype = {json.dumps(self.dtype)}",
            "float32 = [",
            *(f"  {json.dumps(name)}," for name in self.float32),
            "]",
        ]
        if self.found:
            lines += ["", "[found]", *(f"{key} = {_quoted(value)}" for key, value in self.found)]
        write_atomically(path, "\n".join(lines) + "\n")

    def modules(self, among: Collection[str], together: Iterable[Collection[str]]) -> frozenset[str]:
        """The modules that stay in float32.

        Args:
            among: paths of all modules with parameters of the network.
            together: modules that have one dtype.

        Raises:
            UsageError: the network has no module of a name.
        """
        kept: set[str] = set()
        for name in self.float32:
            named = {module for module in among if module == name or module.startswith(f"{name}.")}
            if not named:
                where = "the recipe" if self.path is None else f"the recipe {self.path}"
                raise UsageError(
                    f"{where} names the module {name!r}, which this model does not have", hint=_meant(name, among)
                )
            kept |= named
        for group in together:
            if not kept.isdisjoint(group):
                kept |= set(group) & set(among)
        return frozenset(kept)


def _meant(name: str, among: Collection[str]) -> str:
    for whole in (f"model.{name}", name.removeprefix("model.")):
        if whole in among:
            return f"did it mean {whole}?"
    close = get_close_matches(name, among, 1, cutoff=0.9)
    return f"did it mean {close[0]}?" if close else "it was made for another model"


def modules_in_float32(net: nn.Module) -> tuple[str, ...]:
    """Paths of the modules whose own parameters are float32, in the network's order."""
    return tuple(
        path
        for path, module in net.named_modules()
        if any(str(parameter.dtype) == "torch.float32" for parameter in module.parameters(recurse=False))
    )


def _problem(content: dict[str, Any]) -> str | None:
    unknown = sorted(content.keys() - _KEYS)
    names = content.get("float32")
    if unknown:
        return f"unknown key {unknown[0]!r}"
    if content.get("version") != VERSION:
        return f"version {content.get('version')!r} is not {VERSION}"
    if content.get("dtype") not in DTYPES:
        return f"dtype can't be {content.get('dtype')!r}"
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return "float32 must be a list of module paths"
    if not isinstance(content.get("found", {}), dict):
        return "[found] must be a table"
    return None


def _quoted(text: str) -> str:
    """As a TOML string: JSON's rules are TOML's, but for one escape."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
