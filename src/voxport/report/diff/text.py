"""A difference for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from voxport.score.excerpts import display_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.report.diff.document import Document, Table

__all__ = ["text_of"]

WIDTH = 100
WIDEST_CELL = 48


def text_of(document: Document) -> str:
    """The verdict with its reasons, what must be known, then tables."""
    lines = [f"{document.verdict}  {_printable(document.title)}"]
    for kind, reason in document.reasons:
        lines += _wrapped(f"  {kind}: ", reason)
    for note in document.notes:
        lines += _wrapped("! ", note)
    for section in document.sections:
        lines += ["", section.heading, *_table(section.table)]
        for line in section.lines:
            indent = " " * (len(line) - len(line.lstrip()))
            lines += _wrapped(f"  {indent}", line.strip())
    return "\n".join(lines) + "\n"


def _table(table: Table) -> Iterator[str]:
    """Names to the left, values to the right; a cell that is too long has its row broken up."""
    rows = [[_printable(cell) for cell in row] for row in table]
    if not rows:
        return
    whole = [row for row in rows if all(display_width(cell) <= WIDEST_CELL for cell in row)]
    widths = [max(display_width(row[column]) for row in whole) for column in range(len(rows[0]))]
    for row in rows:
        if row in whole:
            cells = [
                " " * (width - display_width(cell)) + cell for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
            yield ("  " + "  ".join([row[0] + " " * (widths[0] - display_width(row[0])), *cells])).rstrip()
        else:
            yield f"  {row[0]}"
            for name, cell in zip(rows[0][1:], row[1:], strict=True):
                yield from _wrapped(f"    {name}: ", cell)


def _wrapped(prefix: str, text: str) -> list[str]:
    text = _printable(text)
    indent = " " * min(display_width(prefix), 12)
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=indent) or [prefix.rstrip()]


def _printable(text: str) -> str:
    """A report from elsewhere sends no commands to the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
