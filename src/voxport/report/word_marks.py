"""What two sides said, side by side: the words that differ, marked in either text as it was written."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from voxport.score.alignment import align
from voxport.verify.text_edits import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Mark", "Piece", "marked"]

Mark: TypeAlias = Literal["equal", "form", "replaced", "missing", "added"]
"""``form``: the same word, written differently (case, punctuation). ``missing``: the candidate lacks it."""


@dataclass(frozen=True)
class Piece:
    """A run of words of one kind, as written, and the white space after it."""

    mark: Mark
    text: str
    space: str


@dataclass(frozen=True)
class Word:
    """A word with its punctuation, what it is compared by, and the white space after it."""

    text: str
    key: str
    space: str


# Scripts without spaces go by character, as in `voxport.verify.text_edits.words`.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+(?:['’](?:(?![{_UNSPACED}])[^\W_])+)*")


def marked(reference: str, candidate: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; a text is the sum of its pieces.

    Words are compared without case and punctuation, those of scripts without spaces by character.
    """
    ours, theirs = _words(reference), _words(candidate)
    edits, _ = align([word.key for word in ours], [word.key for word in theirs])
    left: list[tuple[Mark, Word]] = []
    right: list[tuple[Mark, Word]] = []
    for edit in edits:
        said, heard = ours[slice(*edit.reference)], theirs[slice(*edit.hypothesis)]
        if edit.kind == "equal":
            for one, other in zip(said, heard, strict=True):
                mark: Mark = "equal" if one.text == other.text else "form"
                left.append((mark, one))
                right.append((mark, other))
        else:
            replaced = edit.kind == "substitute"
            left += [("replaced" if replaced else "missing", word) for word in said]
            right += [("replaced" if replaced else "added", word) for word in heard]
    return list(_joined(left)), list(_joined(right))


def _words(text: str) -> list[Word]:
    """Punctuation stays with the word that it touches, with the one before where it touches two."""
    starts = [match.start() for match in _WORD.finditer(text)]
    starts = [start for start in starts if start == 0 or not _belongs_to_the_left(text[start])]
    found = []
    begin = 0
    for index, start in enumerate(starts):
        following = starts[index + 1] if index + 1 < len(starts) else len(text)
        space = re.search(r"\s+", text[start:following])
        if space is None or index + 1 == len(starts):
            body, end = text[begin:following], following
        else:
            end = start + space.end()
            body = text[begin:end]
        stripped = body.rstrip()
        found.append(Word(stripped, _key(stripped), body[len(stripped) :]))
        begin = end
    return found if found or not text.strip() else [Word(text.strip(), text.strip(), "")]


def _belongs_to_the_left(character: str) -> bool:
    """A combining mark, such as a vowel sign, is no word of its own."""
    return unicodedata.category(character)[0] == "M"


def _key(text: str) -> str:
    """Without white space, which the alignment takes for the end of a word."""
    return "_".join(words(text)) or "".join(text.split())


def _joined(marked_words: Iterable[tuple[Mark, Word]]) -> Iterator[Piece]:
    """Neighbours of one kind as one piece."""
    run: list[Word] = []
    kind: Mark = "equal"
    for mark, word in marked_words:
        if run and mark != kind:
            yield _piece(kind, run)
            run = []
        kind = mark
        run.append(word)
    if run:
        yield _piece(kind, run)


def _piece(mark: Mark, run: Sequence[Word]) -> Piece:
    text = "".join(word.text + word.space for word in run[:-1]) + run[-1].text
    return Piece(mark, text, run[-1].space)
