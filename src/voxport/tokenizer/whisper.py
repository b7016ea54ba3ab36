"""Whisper's tokenizer: byte-level BPE plus special tokens, from the files that published folders carry.

The rules are openai/whisper's (`whisper/tokenizer.py`, MIT). Ids below `eot` are text; then come the special tokens in
a fixed order, then 1501 timestamps of 20 ms::

    text | eot sot languages... translate transcribe sot_lm sot_prev no_speech no_timestamps | <|0.00|> ... <|30.00|>

Published files name them differently (``<|nospeech|>``, ``<|nocaptions|>``) and often leave the timestamps out; what a
file does not name is derived from that order.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from voxport.errors import ModelFormatError, UnsupportedOptionError, UsageError
from voxport.tokenizer.files import damaged, read_tokenizer
from voxport.tokenizer.languages import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tokenizers import Tokenizer

__all__ = ["TIMESTAMPS", "TIMESTAMP_SECONDS", "WhisperTokenizer", "byte_alphabet"]

TIMESTAMPS = 1501
"""How many timestamp tokens there are: 0.00 to 30.00 s."""
TIMESTAMP_SECONDS = 0.02
"""What one step between timestamp tokens is worth."""

_ENGLISH_ONLY_EOT = 50_256
"""End of text in the `.en` checkpoints: GPT-2's vocabulary is one token shorter than the multilingual one."""

# The special tokens between the languages and the timestamps, by their distance from <|notimestamps|>.
_TAIL = {"translate": -5, "transcribe": -4, "startoflm": -3, "startofprev": -2, "nospeech": -1}


def byte_alphabet() -> dict[int, str]:
    """Byte -> the printable character that stands for it in byte-level vocabularies (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_TO_LATIN1 = {ord(character): byte for byte, character in byte_alphabet().items()}


class WhisperTokenizer:
    """Text to token ids and back.

    Attributes:
        vocab_size: of the model that these ids belong to, timestamps included.
        multilingual: False for `.en` vocabularies, which have no language and task tokens in use.
        sot, eot, sot_prev, sot_lm, no_speech, no_timestamps, timestamp_begin: ids of the special tokens.
        transcribe, translate: ids of the task tokens; None where the model is English only.
        language_tokens: language code -> id; empty where the model is English only.
        special_tokens: openai/whisper's name -> id of every special token from `eot` up to `no_timestamps`.
    """

    def __init__(
        self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], added: Mapping[int, tuple[str, bool]]
    ) -> None:
        """Build from parts.

        Args:
            vocabulary: byte-level token -> id.
            merges: BPE merges, the most frequent first.
            added: id -> (token, special) of the added tokens.

        Raises:
            ModelFormatError: the special tokens are missing or contradict each other, or text ids are missing.
        """
        self._vocabulary = dict(vocabulary)
        self._merges = list(merges)
        names = {token: number for token, number in vocabulary.items() if token.startswith("<|")}
        names |= {token: number for number, (token, _) in added.items()}
        self.eot = _require(names, "<|endoftext|>")
        self.no_timestamps = _require(names, "<|notimestamps|>")
        self.timestamp_begin = self.no_timestamps + 1
        self.sot = names.get("<|startoftranscript|>", self.eot + 1)
        self.sot_lm = names.get("<|startoflm|>", self.no_timestamps + _TAIL["startoflm"])
        self.sot_prev = names.get("<|startofprev|>", self.no_timestamps + _TAIL["startofprev"])
        no_speech = names.get("<|nospeech|>", names.get("<|nocaptions|>"))
        self.no_speech = self.no_timestamps + _TAIL["nospeech"] if no_speech is None else no_speech
        self.multilingual = self.eot != _ENGLISH_ONLY_EOT
        translate = names.get("<|translate|>", self.no_timestamps + _TAIL["translate"])
        transcribe = names.get("<|transcribe|>", self.no_timestamps + _TAIL["transcribe"])
        self.translate: int | None = translate if self.multilingual else None
        self.transcribe: int | None = transcribe if self.multilingual else None
        languages = self._find_languages(names, min(translate, transcribe))
        self.language_tokens = languages if self.multilingual else {}
        self.special_tokens = {
            "<|endoftext|>": self.eot,
            "<|startoftranscript|>": self.sot,
            **{f"<|{code}|>": number for code, number in languages.items()},
            "<|translate|>": translate,
            "<|transcribe|>": transcribe,
            "<|startoflm|>": self.sot_lm,
            "<|startofprev|>": self.sot_prev,
            "<|nospeech|>": self.no_speech,
            "<|notimestamps|>": self.no_timestamps,
        }
        self._check_specials(names)
        self._special_names = {number: name for name, number in (self.special_tokens | names).items()}
        timestamps_end = self.timestamp_begin + TIMESTAMPS
        # Fine-tuned models may have words of their own behind the timestamps.
        self._added_text = {
            number: token for number, (token, special) in added.items() if number >= timestamps_end and not special
        }
        self.vocab_size = max([timestamps_end, *(number + 1 for number in added)])
        self._text = self._text_table()

    @classmethod
    def from_folder(cls, folder: Path) -> WhisperTokenizer:
        """Read ``tokenizer.json``, or else ``vocab.json`` and ``merges.txt``, with what names the added tokens.

        Raises:
            ModelFormatError: neither is there, or one of them is damaged.
        """
        try:
            return cls(*read_tokenizer(Path(folder)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(folder, error) from error

    def _find_languages(self, names: Mapping[str, int], end: int) -> dict[str, int]:
        """Language code -> id: what lies between `sot` and the task tokens, named by the file or by its position."""
        by_id = {number: name for name, number in names.items()}
        first = self.sot + 1
        by_position = dict(enumerate(LANGUAGES, first)) if end - first <= len(LANGUAGES) else {}
        found: dict[str, int] = {}
        for number in range(first, end):
            code = by_id[number].strip("<|>") if number in by_id else by_position.get(number)
            if code is not None:
                found["he" if code == "iw" else code] = number  # old files have Hebrew's former code
        return found

    def _check_specials(self, names: Mapping[str, int]) -> None:
        """Raise ModelFormatError where two special tokens share an id or the timestamps are not where they belong."""
        if len(set(self.special_tokens.values())) != len(self.special_tokens) or min(self.special_tokens.values()) < 0:
            raise ModelFormatError(
                f"special tokens of the tokenizer contradict each other: {self.special_tokens}",
                hint="this is not one of Whisper's vocabularies, or its files are from different models",
                code="tokenizer_damaged",
            )
        start = names.get("<|0.00|>", self.timestamp_begin)
        if start != self.timestamp_begin or self.eot > self.sot:
            raise ModelFormatError(
                f"timestamps begin at {start} and not right after <|notimestamps|> = {self.no_timestamps}",
                hint="take the tokenizer files of the model that this one was made from",
                code="tokenizer_damaged",
            )

    def _text_table(self) -> list[str]:
        """Byte-level token of each id below `eot`."""
        table: list[str | None] = [None] * self.eot
        for token, number in self._vocabulary.items():
            if 0 <= number < self.eot:
                table[number] = token
        # The multilingual vocabulary's last text id, 50256, is the empty string, which some files leave out.
        if table and table[-1] is None:
            table[-1] = ""
        holes = [number for number, token in enumerate(table) if token is None]
        if holes or not table:
            raise ModelFormatError(
                f"the tokenizer's vocabulary lacks {len(holes)} of {self.eot} text tokens, the first is {holes[:1]}",
                hint="pull or import the model again",
                code="tokenizer_damaged",
            )
        return [token for token in table if token is not None]

    def sot_sequence(self, language: str | None, task: str, timestamps: bool) -> tuple[int, ...]:
        """What the decoder starts with: start of transcript, language, task, and <|notimestamps|> if none are wanted.

        English-only vocabularies know neither language nor task: for them `language` is None or "en".

        Raises:
            UsageError: a language or task that the model lacks, or no language for a multilingual one.
        """
        if task not in ("transcribe", "translate"):
            raise UsageError(f"unknown task {task!r}", hint="transcribe or translate")
        end = () if timestamps else (self.no_timestamps,)
        if self.translate is None or self.transcribe is None:
            if language not in (None, "en"):
                raise UnsupportedOptionError(
                    f"this model is English only, {language!r} was asked for",
                    hint="take a model without .en in its name",
                )
            if task != "transcribe":
                raise UnsupportedOptionError(
                    "this model is English only and can't translate", hint="take a model without .en in its name"
                )
            return (self.sot, *end)
        if language is None:
            raise UsageError("a multilingual model needs a language", hint="name one, or detect it first")
        if language not in self.language_tokens:
            raise UsageError(
                f"this model does not know the language {language!r}",
                hint=f"it knows: {' '.join(self.language_tokens)}",
                code="unknown_language",
            )
        chosen = self.transcribe if task == "transcribe" else self.translate
        return (self.sot, self.language_tokens[language], chosen, *end)

    @cached_property
    def _encoder(self) -> Tokenizer:
        from tokenizers import Tokenizer, models, pre_tokenizers

        # Without the added tokens: text that looks like "<|endoftext|>" is text here, as with openai/whisper.
        vocabulary = {token: number for token, number in self._vocabulary.items() if number < self.eot}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=self._merges))
        # The package's stubs lack this attribute's setter type.
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Nothing is added, and no part of the text is read as a special token."""
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text alone: special tokens and timestamps are left out, bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: a negative id.
        """
        return b"".join(self._bytes_of(number, specials=False) for number in ids).decode("utf-8", errors="replace")

    def decode_with_timestamps(self, ids: Iterable[int]) -> str:
        """As `decode`, but timestamps stand as ``<|1.08|>`` and special tokens by their names."""
        return b"".join(self._bytes_of(number, specials=True) for number in ids).decode("utf-8", errors="replace")

    def _bytes_of(self, number: int, specials: bool) -> bytes:
        if number < 0:
            raise ValueError(f"token ids are not negative: {number}")
        if number < self.eot:
            return self._text[number].translate(_TO_LATIN1).encode("latin-1")
        if number in self._added_text:
            return self._added_text[number].encode()
        if not specials:
            return b""
        if number < self.timestamp_begin:
            return self._special_names.get(number, f"<|{number}|>").encode()
        return f"<|{(number - self.timestamp_begin) * TIMESTAMP_SECONDS:.2f}|>".encode()

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Ids that write what nobody says: speaker tags, notes in brackets, music signs. Sorted.

        openai/whisper's rule: each symbol that is one token, with and without a space before it; of the music signs,
        which may be several tokens, the first. "-" and "'" are suppressed only where they begin a word.
        """
        music = "♩♪♫♬♭♮♯"
        symbols = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', *_SYMBOL_RUNS.split(), *music]
        found = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in symbols:
            for ids in (self.encode(symbol), self.encode(" " + symbol)):
                if len(ids) == 1 or symbol in music:
                    found.add(ids[0])
        return tuple(sorted(found))

    @cached_property
    def suppress_tokens(self) -> tuple[int, ...]:
        """What openai/whisper never lets through by default: non-speech tokens and every special but `eot` and times.

        Language tokens and `no_timestamps` are not among them: the timestamp rules deal with the latter.
        """
        names = ("translate", "transcribe", "startoftranscript", "startofprev", "startoflm")
        specials = [self.special_tokens[f"<|{name}|>"] for name in names]
        return tuple(sorted({*self.non_speech_tokens, *specials, self.no_speech}))

    @cached_property
    def blank_tokens(self) -> tuple[int, ...]:
        """What a window may not begin with: a space, or the end."""
        return (*self.encode(" "), self.eot)


_SYMBOL_RUNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"


def _require(names: Mapping[str, int], token: str) -> int:
    if token not in names:
        raise ModelFormatError(
            f"the tokenizer has no token {token}",
            hint="this is not one of Whisper's tokenizers; take the files of the model that this one was made from",
            code="tokenizer_damaged",
        )
    return names[token]
