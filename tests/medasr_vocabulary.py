"""A tokenizer.json as MedASR's hub repository has it, from its published vocabulary.

The scores of the pieces are not published apart from the gated repository: here they fall with the rank, so a text may
be cut into other pieces than Google's. What the pieces say when joined is the same.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from voxport.tokenizer.lasr import WORD_START, LasrTokenizer

if TYPE_CHECKING:
    from pathlib import Path

BLANK = 0
VOCABULARY = 512


def published_pieces(facts: Path) -> list[str]:
    tokens: list[str] = json.loads((facts / "medasr_vocab_613.json").read_text(encoding="utf-8"))["tokens"]
    return tokens


def write_tokenizer(folder: Path, pieces: list[str]) -> LasrTokenizer:
    """Write tokenizer.json and read it back."""
    metaspace = {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "always", "split": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": piece, **plain}
            for number, piece in enumerate(pieces)
            if number < 4 or number >= VOCABULARY
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": None,
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": 3,
            "vocab": [[piece, -math.log(number + 1)] for number, piece in enumerate(pieces[:VOCABULARY])],
            "byte_fallback": False,
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return LasrTokenizer.from_folder(folder)
