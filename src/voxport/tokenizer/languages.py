"""The languages that Whisper knows, by code and by name. After openai/whisper's `tokenizer.py` (MIT)."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LANGUAGES", "language_code"]

LANGUAGES: dict[str, str] = {
    "en": "english", "zh": "chinese", "de": "german", "es": "spanish", "ru": "russian", "ko": "korean", "fr": "french",
    "ja": "japanese", "pt": "portuguese", "tr": "turkish", "pl": "polish", "ca": "catalan", "nl": "dutch",
    "ar": "arabic", "sv": "swedish", "it": "italian", "id": "indonesian", "hi": "hindi", "fi": "finnish",
    "vi": "vietnamese", "he": "hebrew", "uk": "ukrainian", "el": "greek", "ms": "malay", "cs": "czech",
    "ro": "romanian", "da": "danish", "hu": "hungarian", "ta": "tamil", "no": "norwegian", "th": "thai", "ur": "urdu",
    "hr": "croatian", "bg": "bulgarian", "lt": "lithuanian", "la": "latin", "mi": "maori", "ml": "malayalam",
    "cy": "welsh", "sk": "slovak", "te": "telugu", "fa": "persian", "lv": "latvian", "bn": "bengali", "sr": "serbian",
    "az": "azerbaijani", "sl": "slovenian", "kn": "kannada", "et": "estonian", "mk": "macedonian", "br": "breton",
    "eu": "basque", "is": "icelandic", "hy": "armenian", "ne": "nepali", "mn": "mongolian", "bs": "bosnian",
    "kk": "kazakh", "sq": "albanian", "sw": "swahili", "gl": "galician", "mr": "marathi", "pa": "punjabi",
    "si": "sinhala", "km": "khmer", "sn": "shona", "yo": "yoruba", "so": "somali", "af": "afrikaans", "oc": "occitan",
    "ka": "georgian", "be": "belarusian", "tg": "tajik", "sd": "sindhi", "gu": "gujarati", "am": "amharic",
    "yi": "yiddish", "lo": "lao", "uz": "uzbek", "fo": "faroese", "ht": "haitian creole", "ps": "pashto",
    "tk": "turkmen", "nn": "nynorsk", "mt": "maltese", "sa": "sanskrit", "lb": "luxembourgish", "my": "myanmar",
    "bo": "tibetan", "tl": "tagalog", "mg": "malagasy", "as": "assamese", "tt": "tatar", "haw": "hawaiian",
    "ln": "lingala", "ha": "hausa", "ba": "bashkir", "jw": "javanese", "su": "sundanese", "yue": "cantonese",
}  # fmt: skip
"""Code -> name, in the order of the language tokens. Whisper knows the first 99, large-v3 and turbo all 100."""

_ALIASES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}


def language_code(name: str, *, others: Sequence[str] = ()) -> str:
    """The code of a language given by code or English name, in any case: "en", "English", "castilian".

    Args:
        others: words that the caller takes as well, for the hint.

    Raises:
        UsageError: no such language; the hint names the nearest ones.
    """
    wanted = name.strip().lower()
    if wanted in LANGUAGES:
        return wanted
    by_name = {language: code for code, language in LANGUAGES.items()} | _ALIASES
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, [*others, *by_name, *LANGUAGES], n=3)
    base = re.split("[-_]", wanted)[0]
    if base != wanted and base in LANGUAGES:
        near = [base]
    hint = f"did you mean {' or '.join(near)}?" if near else "give a code such as en, or an English name"
    raise UsageError(f"unknown language {name!r}", hint=hint, code="unknown_language")
