"""Tokens to words, by openai/whisper's rules: parted at spaces or characters, punctuation joined to words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxport.tokenizer import WhisperTokenizer
from voxport.tokenizer.words import TextPiece, join_punctuation, split_words

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> WhisperTokenizer:
    return WhisperTokenizer.from_folder(base)


def words(tokenizer: WhisperTokenizer, text: str, language: str) -> list[str]:
    pieces = split_words(tokenizer, tokenizer.encode(text), language)
    return [whole.text for whole, _ in join_punctuation(pieces)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", " And so, my fellow Americans.", [" And", " so,", " my", " fellow", " Americans."]),
        ("en", ' He said, "Oh! (Well...)"', [" He", " said,", ' "Oh!', ' (Well...)"']),
        ("en", " Don't; it's well-known", [" Don't", ";", " it's", " well", "-known"]),
        ("de", " Größe übermäßig", [" Größe", " übermäßig"]),
        ("ru", " Привет, мир.", [" Привет,", " мир."]),
        ("ko", " 안녕하세요 세계", [" 안녕하세요", " 세계"]),
        ("en", " 3.14 and 42%", [" 3", ".14", " and", " 42", "%"]),
    ],
)
def test_words_are_parted_at_spaces(tokenizer: WhisperTokenizer, language: str, text: str, expected: list[str]) -> None:
    assert words(tokenizer, text, language) == expected


def test_languages_without_spaces_are_parted_at_characters(tokenizer: WhisperTokenizer) -> None:
    text = "我们去吃饭。你好，世界！"
    assert words(tokenizer, text, "zh") == ["我们", "去", "吃", "饭。", "你好，", "世界！"]
    assert words(tokenizer, text, "en") == [text]


def test_a_character_of_several_tokens_stays_whole(tokenizer: WhisperTokenizer) -> None:
    text = "鬱𠮷"
    tokens = tokenizer.encode(text)
    assert len(tokens) > 2
    assert [piece.text for piece in split_words(tokenizer, tokens, "ja")] == ["鬱", "𠮷"]


def test_bytes_that_are_no_character_belong_to_the_word_before(tokenizer: WhisperTokenizer) -> None:
    tokens = [*tokenizer.encode(" one"), tokenizer.encode("鬱")[0]]
    (piece,) = split_words(tokenizer, tokens, "en")
    assert (piece.text, piece.first, piece.end) == (" one\ufffd", 0, len(tokens))
    assert [one.text for one in split_words(tokenizer, tokens[-1:], "en")] == ["\ufffd"]


def test_no_tokens_are_no_words(tokenizer: WhisperTokenizer) -> None:
    assert split_words(tokenizer, [], "en") == []
    assert join_punctuation([]) == []


def test_the_word_itself_is_told_beside_its_punctuation(tokenizer: WhisperTokenizer) -> None:
    tokens = [*tokenizer.encode(" ¿"), *tokenizer.encode(" Oh, no.")]
    (first, oh), (_, no) = join_punctuation(split_words(tokenizer, tokens, "en"))
    assert (first.text, first.first, tokens[first.end - 1]) == (" ¿ Oh,", 0, tokenizer.encode(",")[0])
    assert tokenizer.decode(tokens[oh.first : oh.end]) == " Oh"
    assert tokenizer.decode(tokens[no.first : no.end]) == " no"


def test_signs_can_be_others(tokenizer: WhisperTokenizer) -> None:
    pieces = split_words(tokenizer, tokenizer.encode(" a, b;"), "en")
    found = join_punctuation(pieces, prepended="", appended=";")
    assert [whole.text for whole, _ in found] == [" a", ",", " b;"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pieces_are_all_tokens_and_all_text(tokenizer: WhisperTokenizer, data: st.DataObject) -> None:
    """Whatever the tokens are, halves of characters among them."""
    tokens = data.draw(st.lists(st.integers(0, 2000) | st.integers(0, tokenizer.eot - 1), max_size=20))
    for language in ("en", "ja"):
        pieces = split_words(tokenizer, tokens, language)
        _assert_whole(pieces, tokenizer.decode(tokens), len(tokens))
        joined = join_punctuation(pieces)
        _assert_whole([whole for whole, _ in joined], tokenizer.decode(tokens), len(tokens))
        assert all(whole.first <= said.first < said.end <= whole.end for whole, said in joined)


def _assert_whole(pieces: list[TextPiece], text: str, count: int) -> None:
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.first for piece in pieces] == [0, *[piece.end for piece in pieces[:-1]]][: len(pieces)]
    assert not pieces or pieces[-1].end == count
    assert all(piece.first < piece.end for piece in pieces)
