"""Two sequences of words or characters side by side: the fewest edits between them, and their counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Confusions", "Counts", "Edit", "align", "count_characters"]

Kind: TypeAlias = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class Edit:
    """A run of one kind: units ``[start, end)`` of the reference and of the hypothesis."""

    kind: Kind
    reference: tuple[int, int]
    hypothesis: tuple[int, int]


@dataclass(frozen=True)
class Counts:
    """Units that are right, and the three kinds of errors; sums add up."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def length(self) -> int:
        """Units of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors by the reference's length (0.05 is 5 %, above 1 is possible); None without a reference."""
        return self.errors / self.length if self.length else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[tuple[Edit, ...], Counts]:
    """The fewest substitutions, deletions and insertions (Levenshtein), as jiwer finds and counts them.

    Args:
        reference, hypothesis: units without white space.
    """
    if not reference or not hypothesis:  # jiwer refuses an empty reference
        edits = []
        if reference:
            edits.append(Edit("delete", (0, len(reference)), (0, 0)))
        elif hypothesis:
            edits.append(Edit("insert", (0, 0), (0, len(hypothesis))))
        return tuple(edits), Counts(deletions=len(reference), insertions=len(hypothesis))
    import jiwer

    result = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    edits = [
        Edit(chunk.type, (chunk.ref_start_idx, chunk.ref_end_idx), (chunk.hyp_start_idx, chunk.hyp_end_idx))  # type: ignore[arg-type]
        for chunk in result.alignments[0]
    ]
    return tuple(edits), Counts(result.hits, result.substitutions, result.deletions, result.insertions)


def count_characters(reference: str, hypothesis: str) -> Counts:
    """Errors by character; a space between words is one, as in `jiwer.cer`."""
    if not reference or not hypothesis:
        return Counts(deletions=len(reference), insertions=len(hypothesis))
    import jiwer

    result = jiwer.process_characters(reference, hypothesis)
    return Counts(result.hits, result.substitutions, result.deletions, result.insertions)


class Confusions:
    """How often which unit was taken for which, was missed, or was made up."""

    def __init__(self) -> None:
        self.substitutions: Counter[tuple[str, str]] = Counter()
        self.deletions: Counter[str] = Counter()
        self.insertions: Counter[str] = Counter()

    def add(self, reference: Sequence[str], hypothesis: Sequence[str], edits: Iterable[Edit]) -> None:
        """Take in one clip."""
        for edit in edits:
            said = reference[slice(*edit.reference)]
            heard = hypothesis[slice(*edit.hypothesis)]
            if edit.kind == "substitute":
                self.substitutions.update(zip(said, heard, strict=True))
            elif edit.kind == "delete":
                self.deletions.update(said)
            elif edit.kind == "insert":
                self.insertions.update(heard)
