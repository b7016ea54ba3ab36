"""MedASR's tokenizer: pieces to text and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from medasr_vocabulary import published_pieces, write_tokenizer
from voxport.errors import ModelFormatError
from voxport.tokenizer import LasrTokenizer

if TYPE_CHECKING:
    from pathlib import Path

PIECES = ["<epsilon>", "<s>", "</s>", "<unk>", "▁", "▁clas", "s", "es", "▁{", "period", "}", "<pad>", "<extra_id_0>"]


@pytest.fixture
def published(medasr_facts: Path, tmp_path: Path) -> LasrTokenizer:
    return write_tokenizer(tmp_path, published_pieces(medasr_facts))


def test_the_published_vocabulary(published: LasrTokenizer) -> None:
    assert len(published.pieces) == 613
    assert published.special == {0, 1, 2, 3, *range(512, 613)}


def test_the_real_transcripts_come_back(published: LasrTokenizer, medasr_facts: Path) -> None:
    value = json.loads((medasr_facts / "medasr_greedy_outputs_librispeech32.json").read_text(encoding="utf-8"))
    examples = (medasr_facts / "medasr_real_output_examples.txt").read_text(encoding="utf-8").splitlines()
    texts = [*value["texts"].values(), *(line for line in examples if not line.startswith("#"))]
    assert len(texts) == 35
    for text in texts:
        tokens = published.encode(text)
        assert all(0 < token < 512 for token in tokens)
        assert published.decode(tokens) == text
        assert published.decode([*tokens, 2]) == text  # </s>


def test_repeats_are_kept() -> None:
    """Collapsing is CTC's business, and has been done: it is not done a second time here."""
    assert LasrTokenizer(PIECES).decode([5, 6, 6, 7]) == "classses"
    assert LasrTokenizer(PIECES).decode([5, 6, 7, 8, 9, 10]) == "classes {period}"


def test_special_tokens_are_no_text() -> None:
    assert LasrTokenizer(PIECES).decode([0, 1, 5, 3, 6, 11, 7, 12, 2]) == "classes"
    assert LasrTokenizer(PIECES, special=[9]).decode([8, 9, 10]) == "{}"


def test_one_space_between_words_and_none_at_the_ends() -> None:
    assert LasrTokenizer(PIECES).decode([4, 4, 5, 4, 5, 4]) == "clas clas"


def test_without_a_file_it_can_not_encode() -> None:
    with pytest.raises(ModelFormatError, match="was built without a tokenizer"):
        LasrTokenizer(PIECES).encode("classes")
