"""A difference as a Markdown file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.report.markdown import cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.report.diff.document import Document, Table

__all__ = ["markdown_of"]


def markdown_of(document: Document) -> str:
    """The same as `text_of`."""
    lines = [f"# {cell(document.title)}", "", f"**{document.verdict}**", ""]
    lines += [f"- {kind}: {cell(reason)}" for kind, reason in document.reasons]
    if document.notes:
        lines += ["", *(f"> {cell(note)}\n>" for note in document.notes)]
    for section in document.sections:
        lines += ["", f"## {section.heading}", "", *_table(section.table)]
        if section.table and section.lines:
            lines.append("")
        lines += [f"{'  ' if line.startswith(' ') else ''}- {cell(line)}" for line in section.lines]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> Iterator[str]:
    for place, row in enumerate(table):
        yield f"| {' | '.join(cell(one) for one in row)} |"
        if place == 0:
            yield "|---" * len(row) + "|"
