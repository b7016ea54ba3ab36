"""Tokenizers of odd folders: a vocabulary of bytes, so that nothing has to be fetched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from voxport.errors import ModelFormatError
from voxport.tokenizer import LANGUAGES, WhisperTokenizer, byte_alphabet

if TYPE_CHECKING:
    from pathlib import Path


def toy_vocabulary() -> dict[str, int]:
    """The 256 bytes and " a", then end of text."""
    alphabet = byte_alphabet()
    tokens = {alphabet[byte]: byte for byte in range(256)}
    return {**tokens, f"{alphabet[32]}a": 256, "<|endoftext|>": 257}


def toy_specials(languages: int = 99, no_speech: str = "<|nospeech|>") -> dict[int, tuple[str, bool]]:
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in list(LANGUAGES)[:languages])]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", no_speech, "<|notimestamps|>"]
    return {257 + n: (name, True) for n, name in enumerate(names)}


MERGE = (byte_alphabet()[32], "a")


def toy(added: dict[int, tuple[str, bool]]) -> WhisperTokenizer:
    return WhisperTokenizer(toy_vocabulary(), [MERGE], added)


@pytest.mark.parametrize("languages", [99, 100])
def test_what_a_file_does_not_name_is_derived(languages: int) -> None:
    """Only the ends are named: the rest follows from the order of the tokens."""
    whole = toy(toy_specials(languages))
    sparse = toy({n: token for n, token in toy_specials(languages).items() if "end" in token[0] or "not" in token[0]})
    assert sparse.special_tokens == whole.special_tokens
    assert sparse.language_tokens == whole.language_tokens
    assert (sparse.translate, sparse.transcribe) == (whole.translate, whole.transcribe)
    assert (sparse.no_speech, sparse.sot_prev, sparse.sot_lm) == (whole.no_speech, whole.sot_prev, whole.sot_lm)
    assert sparse.vocab_size == whole.vocab_size == whole.no_timestamps + 1 + 1501


def test_hebrew_by_its_old_code() -> None:
    specials = {n: (token.replace("<|he|>", "<|iw|>"), special) for n, (token, special) in toy_specials().items()}
    assert toy(specials).language_tokens == toy(toy_specials()).language_tokens


def test_both_names_of_no_speech() -> None:
    assert toy(toy_specials(no_speech="<|nocaptions|>")).no_speech == toy(toy_specials()).no_speech


def test_words_added_behind_the_timestamps_are_text() -> None:
    specials = toy_specials()
    end = max(specials) + 1 + 1501
    tokenizer = toy({**specials, end: ("metoprolol", False), end + 1: ("<|speaker|>", True)})
    assert tokenizer.vocab_size == end + 2
    assert tokenizer.decode([256, end, end + 1]) == " ametoprolol"


def test_tokens_that_contradict_each_other_are_refused() -> None:
    specials = toy_specials()
    begin = max(specials) + 1
    with pytest.raises(ModelFormatError, match="timestamps begin at"):
        toy({**specials, begin + 1: ("<|0.00|>", False)})
    with pytest.raises(ModelFormatError, match="contradict"):
        toy({**specials, 258: ("<|notimestamps|>", True), max(specials): ("<|x|>", True)})
    with pytest.raises(ModelFormatError, match=r"no token <\|notimestamps\|>"):
        toy({n: token for n, token in specials.items() if token[0] != "<|notimestamps|>"})


def test_a_hole_in_the_vocabulary_is_refused() -> None:
    tokens = toy_vocabulary()
    del tokens["a"]
    with pytest.raises(ModelFormatError, match=r"lacks 1 of 257 text tokens, the first is \[97\]"):
        WhisperTokenizer(tokens, [], toy_specials())


def write_toy(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


MERGES_TXT = "#version: 0.2\n" + " ".join(MERGE) + "\n"


@pytest.mark.parametrize("where", ["added_tokens", "tokenizer_config"])
def test_slow_tokenizer_folders(tmp_path: Path, where: str) -> None:
    """vocab.json and merges.txt, the special tokens in either of the two places that transformers has used."""
    specials = toy_specials()
    if where == "added_tokens":
        extra: dict[str, Any] = {"added_tokens__json": {token: n for n, (token, _) in specials.items()}}
    else:
        decoder = {str(n): {"content": token, "special": special} for n, (token, special) in specials.items()}
        extra = {"tokenizer_config__json": {"added_tokens_decoder": decoder}}
    tokenizer = WhisperTokenizer.from_folder(
        write_toy(tmp_path, vocab__json=toy_vocabulary(), merges__txt=MERGES_TXT, **extra)
    )
    assert tokenizer.special_tokens == toy(specials).special_tokens
    assert tokenizer.encode(" ab") == [256, ord("b")]
    assert tokenizer.decode([256, ord("b")]) == " ab"


@pytest.mark.parametrize("pairs", [True, False])
def test_both_spellings_of_merges(tmp_path: Path, pairs: bool) -> None:
    merges = [list(MERGE)] if pairs else [" ".join(MERGE)]
    added = [{"id": n, "content": token, "special": special} for n, (token, special) in toy_specials().items()]
    model = {"type": "BPE", "vocab": toy_vocabulary(), "merges": merges}
    folder = write_toy(tmp_path, tokenizer__json={"model": model, "added_tokens": added})
    assert WhisperTokenizer.from_folder(folder).encode(" ab") == [256, ord("b")]


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "{", '{"model": 3}', '{"model": {"type": "WordPiece"}}', "\x00\x01",
        '{"model": {"vocab": {"a": "b"}, "merges": ["x"]}}',
        '{"model": {"vocab": [], "merges": []}, "added_tokens": 4}',
        "[" * 100_000,
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_tokenizer_is_a_clear_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        WhisperTokenizer.from_folder(write_toy(tmp_path, tokenizer__json=content))
    assert caught.value.code == "tokenizer_damaged"
    assert caught.value.hint


def test_a_folder_without_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="no tokenizer in") as caught:
        WhisperTokenizer.from_folder(tmp_path)
    assert caught.value.code == "tokenizer_missing"
