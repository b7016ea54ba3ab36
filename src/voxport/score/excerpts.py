"""The places where reference and hypothesis differ, side by side, for people to read."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.score.scoring import ScoredClip

__all__ = ["differences", "display_width", "excerpt_lines"]

CONTEXT = 3
"""Units shown on either side of a difference."""

_MARKS = {"equal": " ", "substitute": "S", "delete": "D", "insert": "I"}
_GAP = "..."


@dataclass(frozen=True)
class Column:
    """One unit of the reference, of the hypothesis, or of both."""

    said: str
    heard: str
    mark: str

    @property
    def width(self) -> int:
        return max(display_width(self.said), display_width(self.heard), 1)


def differences(clip: ScoredClip) -> Iterator[dict[str, object]]:
    """Every difference as ``{kind, at, reference, hypothesis}``; `at` is the place in the reference, in units."""
    joint = " " if clip.unit == "words" else ""
    for edit in clip.edits:
        if edit.kind != "equal":
            yield {
                "kind": edit.kind,
                "at": edit.reference[0],
                "reference": joint.join(clip.reference_units[slice(*edit.reference)]),
                "hypothesis": joint.join(clip.hypothesis_units[slice(*edit.hypothesis)]),
            }


def excerpt_lines(clip: ScoredClip, width: int, most: int = 4) -> list[str]:
    """Three lines for each stretch with differences: what was said, what was heard, and S, D or I below it.

    Args:
        width: that they may have, in columns of a terminal.
        most: no more than so many times three lines; the last line tells what is left out.
    """
    columns = _shortened(_columns(clip))
    joint = " " if clip.unit == "words" else ""
    blocks = list(_wrapped(columns, width - len("heard  "), len(joint)))
    while blocks and not any(column.mark.strip() for column in blocks[-1]):
        blocks.pop()
    lines = []
    for block in blocks[:most]:
        rows = [
            joint.join(_padded(text, column.width) for text, column in zip(texts, block, strict=True)).rstrip()
            for texts in zip(*((column.said, column.heard, column.mark) for column in block), strict=True)
        ]
        lines += [f"said   {rows[0]}", f"heard  {rows[1]}", f"       {rows[2]}"]
    left = sum(column.mark.strip() != "" for block in blocks[most:] for column in block)
    if left:
        lines.append(f"{_GAP} and {left} more; --json has all of them")
    return lines


def _columns(clip: ScoredClip) -> list[Column]:
    columns = []
    for edit in clip.edits:
        said = clip.reference_units[slice(*edit.reference)]
        heard = clip.hypothesis_units[slice(*edit.hypothesis)]
        for index in range(max(len(said), len(heard))):
            one = said[index] if index < len(said) else ""
            other = heard[index] if index < len(heard) else ""
            columns.append(
                Column(one or "*" * display_width(other), other or "*" * display_width(one), _MARKS[edit.kind])
            )
    return columns


def _shortened(columns: Sequence[Column]) -> list[Column]:
    """Without what is right for long: `CONTEXT` columns on either side of each difference stay."""
    wrong = [index for index, column in enumerate(columns) if column.mark != " "]
    if not wrong:
        return []
    gap = Column(_GAP, _GAP, "")
    kept = [gap] if wrong[0] > CONTEXT else []
    kept += columns[max(0, wrong[0] - CONTEXT) : wrong[0] + 1]
    for before, after in pairwise(wrong):
        if after - before > 2 * CONTEXT + 1:
            kept += [*columns[before + 1 : before + 1 + CONTEXT], gap, *columns[after - CONTEXT : after + 1]]
        else:
            kept += columns[before + 1 : after + 1]
    kept += columns[wrong[-1] + 1 : wrong[-1] + 1 + CONTEXT]
    return kept + ([gap] if wrong[-1] + CONTEXT + 1 < len(columns) else [])


def _wrapped(columns: Sequence[Column], width: int, joint: int) -> Iterator[list[Column]]:
    block: list[Column] = []
    used = 0
    for column in columns:
        if block and used + joint + column.width > width:
            yield block
            block, used = [], 0
        used += column.width + (joint if block else 0)
        block.append(column)
    if block:
        yield block


def display_width(text: str) -> int:
    """Columns that a terminal needs: two for a wide character, none for a mark."""
    return sum(
        0 if unicodedata.category(character) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))
