"""MedASR's tokenizer: 512 SentencePiece (Unigram) pieces that CTC emits, from the published tokenizer.json.

Text is made here by joining pieces, since the published decoders differ: some versions of transformers group repeats a
second time (which loses the second "s" of "classes"), some print ``<epsilon>``, and all keep ``</s>`` unless told not
to.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from voxport.errors import ModelFormatError
from voxport.tokenizer.files import damaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["WORD_START", "LasrTokenizer"]

WORD_START = "\u2581"
"""What a piece begins with that begins a word (SentencePiece's meta symbol)."""

_CONTROL = re.compile(r"<(epsilon|s|/s|unk|pad|extra_id_\d+)>")


class LasrTokenizer:
    """Token ids to text and back.

    Attributes:
        pieces: by id.
        special: ids that are no text: blank, begin and end of sentence, unknown, padding, sentinels.
    """

    def __init__(self, pieces: Sequence[str], special: Iterable[int] = (), file: Path | None = None) -> None:
        """Build from parts.

        Args:
            pieces: by id.
            special: ids that are no text, beside those whose names say so.
            file: the tokenizer.json, which `encode` needs.
        """
        self.pieces = tuple(pieces)
        named = (number for number, piece in enumerate(self.pieces) if _CONTROL.fullmatch(piece))
        self.special = frozenset([*named, *special])
        self._file = file
        self._encoder: Tokenizer | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> LasrTokenizer:
        """Read the tokenizer.json of a published folder.

        Raises:
            ModelFormatError: there is none (code ``tokenizer_missing``), or it is damaged or of another kind
                (``tokenizer_damaged``).
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFormatError(
                f"no tokenizer.json in {folder}", hint="pull or import the model again", code="tokenizer_missing"
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["model"].get("type", "Unigram") != "Unigram":
                raise ValueError(f"the model in {path.name} is {data['model']['type']}, not Unigram")
            pieces = dict(enumerate(str(piece) for piece, _ in data["model"]["vocab"]))
            added = {int(token["id"]): token for token in data.get("added_tokens", [])}
            pieces |= {number: str(token["content"]) for number, token in added.items()}
            if sorted(pieces) != list(range(len(pieces))):
                raise ValueError("its ids have gaps")
            special = [number for number, token in added.items() if token["special"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(folder, error) from error
        return cls([pieces[number] for number in range(len(pieces))], special, path)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of collapsed tokens: pieces joined, special ones left out, one space between words."""
        text = "".join(self.pieces[token] for token in tokens if token not in self.special)
        return " ".join(text.replace(WORD_START, " ").split())

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens, as the published tokenizer cuts it.

        Raises:
            ModelFormatError: this tokenizer was built from parts, or `tokenizers` can't read the file.
        """
        if self._encoder is None:
            if self._file is None:
                raise ModelFormatError("this tokenizer was built without a tokenizer.json and can't encode")
            from tokenizers import Tokenizer

            try:
                self._encoder = Tokenizer.from_file(str(self._file))
            except Exception as error:
                raise damaged(self._file.parent, error) from error
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids
