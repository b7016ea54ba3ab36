"""The words of a report, in the languages in which it is written: files in ``wording/``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxport.report.content import Statement

__all__ = ["LANGUAGES", "Language", "language"]

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Language:
    """One language's wording, by section and key."""

    code: str
    words: dict[str, dict[str, str]]

    def statement(self, one: Statement) -> str:
        """A sentence."""
        return self.words["statements"][one.key].format(**one.values).strip()

    def heading(self, key: str, **values: Any) -> str:
        return self.words["headings"][key].format(**values)

    def column(self, key: str, **values: Any) -> str:
        return self.words["columns"][key].format(**values)

    def text(self, key: str, **values: Any) -> str:
        return self.words["text"][key].format(**values)

    def figure(self, key: str, **values: Any) -> str:
        return self.words["figures"][key].format(**values)

    def label(self, key: str) -> str:
        """The name of a row; what has none, a module's path, say, stands for itself."""
        return self.words["rows"].get(key, key)


@cache
def language(code: str) -> Language:
    """One of `LANGUAGES`."""
    text = (resources.files("voxport.report") / "wording" / f"{code}.toml").read_text(encoding="utf-8")
    return Language(code, tomllib.loads(text))
