"""What a report is made of: plain values, as they lie in its ``results`` folder, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.formats import json_line
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["SCHEMA_VERSION", "Measurements"]

SCHEMA_VERSION = 1
PARTS = ("summary", "environment", "verify", "bench", "score", "memory")
OPTIONAL = ("score", "memory")


@dataclass(frozen=True)
class Measurements:
    """One run. Each part is a JSON object.

    Attributes:
        summary: ``schema``, ``voxport``, ``made`` (UTC), ``model`` (name, family, identity, random_weights, sources),
            ``candidate`` and ``reference`` (sides), ``options``, ``recordings`` (names and seconds).
        environment: what `voxport doctor` found.
        verify: verdict and outcome, as ``voxport verify --json`` has them.
        bench: as ``voxport bench --json``; the candidate is A, the reference B.
        score: as ``voxport score --json``, of both sides ("candidate", "reference"); None = no references were given.
        memory: over time, as `memory_sampling.MemorySampler.to_dict` has it; None in results of older versions.
    """

    summary: dict[str, Any]
    environment: dict[str, Any]
    verify: dict[str, Any]
    bench: dict[str, Any]
    score: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None

    def write(self, folder: Path) -> list[str]:
        """As files of a folder, written atomically; returns their names.

        Raises:
            OutputError: they can't be.
        """
        parts = {f"{part}.json": getattr(self, part) for part in PARTS if getattr(self, part) is not None}
        for name, value in parts.items():
            write_atomically(folder / name, json_line(value))
        return list(parts)

    @classmethod
    def read(cls, folder: Path) -> Measurements:
        """From such files.

        Raises:
            UsageError: it is no folder of results, or of another version.
        """
        return cls.load(str(folder), lambda name: (folder / name).read_bytes())

    @classmethod
    def load(cls, where: str, read: Callable[[str], bytes]) -> Measurements:
        """From such files, wherever they lie.

        Args:
            where: that is, for messages.
            read: file name -> content; raises `FileNotFoundError` where there is none.

        Raises:
            UsageError: as `read`.
        """
        values: dict[str, Any] = {}
        for part in PARTS:
            name = f"{part}.json"
            try:
                values[part] = json.loads(read(name).decode("utf-8"))
            except FileNotFoundError:
                if part not in OPTIONAL:
                    raise UsageError(f"{where} holds no results of a report: {name} is missing") from None
            except (OSError, ValueError, RecursionError) as error:
                raise UsageError(f"{name} of {where} can't be read: {error}") from error
        found = values["summary"].get("schema") if isinstance(values["summary"], dict) else None
        if found != SCHEMA_VERSION:
            raise UsageError(f"{where} holds results of version {found}, this voxport reads version {SCHEMA_VERSION}")
        wrong = [name for name, value in values.items() if not isinstance(value, dict)]
        if wrong:
            raise UsageError(f"{wrong[0]}.json of {where} is no JSON object")
        return cls(**values)
