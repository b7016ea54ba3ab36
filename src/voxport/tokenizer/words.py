"""Tokens to words, by openai/whisper's rules (`split_to_word_tokens` in whisper/tokenizer.py, `merge_punctuations` in
whisper/timing.py, MIT).

Words are parted at spaces, in languages that write none at every character that tokens allow. Punctuation is a word of
its own first, so that it does not lengthen the word beside it, and is joined to that later.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxport.types import APPENDED, PREPENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.tokenizer.whisper import WhisperTokenizer

__all__ = ["WITHOUT_SPACES", "TextPiece", "join_punctuation", "split_words"]

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages whose words no spaces part."""

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class TextPiece:
    """A word, or punctuation on its own.

    Attributes:
        text: with the space before it.
        first, end: its tokens are those from number `first` to before `end`.
    """

    text: str
    first: int
    end: int


def split_words(tokenizer: WhisperTokenizer, tokens: Sequence[int], language: str | None) -> list[TextPiece]:
    """Part text into words and punctuation.

    Args:
        tokenizer: of the model.
        tokens: text alone, no special tokens.
        language: its code; None = one that writes spaces.

    Returns:
        Pieces in order: together they have every token once, and their texts joined are the text of all tokens.
    """
    characters = _split_characters(tokenizer, tokens)
    if language in WITHOUT_SPACES:
        return characters
    words: list[TextPiece] = []
    for piece in characters:
        if not words or piece.text.startswith(" ") or piece.text.strip() in string.punctuation:
            words.append(piece)
        else:
            words[-1] = TextPiece(words[-1].text + piece.text, words[-1].first, piece.end)
    return words


def _split_characters(tokenizer: WhisperTokenizer, tokens: Sequence[int]) -> list[TextPiece]:
    """Part at every place where the tokens so far are whole characters."""
    full = tokenizer.decode(tokens)
    pieces: list[TextPiece] = []
    first = place = 0
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[first:end])
        at = text.find(_REPLACEMENT)
        # A character under way reads as U+FFFD; where the whole text has one too, it is no character at all.
        is_whole = at < 0 or full[place + at : place + at + 1] == _REPLACEMENT
        if is_whole and full.startswith(text, place):
            pieces.append(TextPiece(text, first, end))
            first, place = end, place + len(text)
    if place < len(full) or first < len(tokens):  # bytes that never became a character
        start = pieces.pop() if pieces else TextPiece("", 0, 0)
        pieces.append(TextPiece(start.text + full[place:], start.first, len(tokens)))
    return pieces


def join_punctuation(
    pieces: Sequence[TextPiece], prepended: str = PREPENDED, appended: str = APPENDED
) -> list[tuple[TextPiece, TextPiece]]:
    """Join punctuation to the words that it belongs to.

    Args:
        pieces: as `split_words` gives them.
        prepended: a piece that begins with a space and is otherwise part of this belongs to the piece after it.
        appended: a piece that is part of this belongs to the piece before it.

    Returns:
        For each word: all of it, and the piece that it was made around, which is what is said.
    """
    # From the end, so that several signs in a row go to the same word.
    words: list[tuple[TextPiece, TextPiece]] = []
    for piece in reversed(pieces):
        if words and piece.text.startswith(" ") and piece.text.strip() in prepended:
            whole, core = words[-1]
            words[-1] = (TextPiece(piece.text + whole.text, piece.first, whole.end), core)
        else:
            words.append((piece, piece))
    words.reverse()
    joined: list[tuple[TextPiece, TextPiece]] = []
    for whole, core in words:
        if joined and whole.text in appended and not joined[-1][0].text.endswith(" "):
            before, said = joined[-1]
            joined[-1] = (TextPiece(before.text + whole.text, before.first, whole.end), said)
        else:
            joined.append((whole, core))
    return joined
