"""Text to token ids and back. `tokenizers` is loaded when something is encoded; no torch."""

from voxport.tokenizer.files import read_tokenizer
from voxport.tokenizer.languages import LANGUAGES, language_code
from voxport.tokenizer.lasr import LasrTokenizer
from voxport.tokenizer.whisper import TIMESTAMP_SECONDS, TIMESTAMPS, WhisperTokenizer, byte_alphabet

__all__ = [
    "LANGUAGES",
    "TIMESTAMPS",
    "TIMESTAMP_SECONDS",
    "LasrTokenizer",
    "WhisperTokenizer",
    "byte_alphabet",
    "language_code",
    "read_tokenizer",
]
