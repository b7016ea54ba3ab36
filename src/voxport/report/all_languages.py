"""The wording in all languages at once, as HTML of which a page shows one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from voxport.report.language import LANGUAGES, language

if TYPE_CHECKING:
    from voxport.report.content import Statement

__all__ = ["AllLanguages", "tagged"]


class AllLanguages:
    """Every text in every language: ``<span class="in-en" lang="en">`` and so on; once, bare, where all agree.

    What is filled in is text: it can't become markup.
    """

    def text(self, section: str, key: str, **values: Any) -> Markup:
        """A text of the wording.

        Raises:
            KeyError: there is none.
        """
        return tagged({code: _html(language(code).words[section][key]).format(**values).strip() for code in LANGUAGES})

    def statement(self, one: Statement) -> Markup:
        return self.text("statements", one.key, **one.values)

    def label(self, key: str) -> Markup:
        """The name of a row; what has none, a module's path, say, stands for itself."""
        if key in language("en").words["rows"]:
            return self.text("rows", key)
        return Markup("<code>{}</code>").format(key)

    def page(self, key: str, **values: Any) -> Markup:
        """A text that only the page has."""
        return self.text("page", key, **values)


def tagged(texts: dict[str, Markup]) -> Markup:
    """Language -> HTML, as HTML of which one is shown."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return Markup("").join(
        Markup('<span class="in-{}" lang="{}">{}</span>').format(code, language(code).words["page"]["tag"], text)
        for code, text in texts.items()
    )


def _html(wording: str) -> Markup:
    """The Markdown that the wording has: bold, emphasis, code."""
    html = str(escape(wording))
    for mark, element in ((r"\*\*", "strong"), ("`", "code"), (r"\*", "em")):
        html = re.sub(f"{mark}(.+?){mark}", rf"<{element}>\1</{element}>", html)
    return Markup(html)
