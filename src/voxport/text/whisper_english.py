"""Whisper's normaliser for English: contractions, titles, numbers and spellings are written in one way.

After openai/whisper's ``whisper/normalizers/english.py``, Copyright (c) 2022 OpenAI, MIT License
(``data/LICENSE.openai-whisper``).
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from voxport.text.whisper_basic import without_asides, without_symbols_and_diacritics
from voxport.text.whisper_numbers import normalize_numbers

__all__ = ["normalize_whisper_english"]

_SPELLINGS = Path(__file__).parents[1] / "data/english_spellings.json"
"""British -> American, as listed on tysto.com/uk-us-spelling-list.html."""

_HESITATIONS = re.compile(r"\b(hmm|mm|mhm|mmm|uh|um)\b")
_SPACE_BEFORE_APOSTROPHE = re.compile(r"\s+'")

# In this order: "won't" comes before "n't".
_REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bwon't\b", "will not"), (r"\bcan't\b", "can not"), (r"\blet's\b", "let us"), (r"\bain't\b", "aint"),
        (r"\by'all\b", "you all"), (r"\bwanna\b", "want to"), (r"\bgotta\b", "got to"), (r"\bgonna\b", "going to"),
        (r"\bi'ma\b", "i am going to"), (r"\bimma\b", "i am going to"), (r"\bwoulda\b", "would have"),
        (r"\bcoulda\b", "could have"), (r"\bshoulda\b", "should have"), (r"\bma'am\b", "madam"),
        # Titles.
        (r"\bmr\b", "mister "), (r"\bmrs\b", "missus "), (r"\bst\b", "saint "), (r"\bdr\b", "doctor "),
        (r"\bprof\b", "professor "), (r"\bcapt\b", "captain "), (r"\bgov\b", "governor "), (r"\bald\b", "alderman "),
        (r"\bgen\b", "general "), (r"\bsen\b", "senator "), (r"\brep\b", "representative "),
        (r"\bpres\b", "president "), (r"\brev\b", "reverend "), (r"\bhon\b", "honorable "),
        (r"\basst\b", "assistant "), (r"\bassoc\b", "associate "), (r"\blt\b", "lieutenant "), (r"\bcol\b", "colonel "),
        (r"\bjr\b", "junior "), (r"\bsr\b", "senior "), (r"\besq\b", "esquire "),
        # Perfect tenses; "'s done" could be either.
        (r"'d been\b", " had been"), (r"'s been\b", " has been"), (r"'d gone\b", " had gone"),
        (r"'s gone\b", " has gone"), (r"'d done\b", " had done"), (r"'s got\b", " has got"),
        (r"n't\b", " not"), (r"'re\b", " are"), (r"'s\b", " is"), (r"'d\b", " would"), (r"'ll\b", " will"),
        (r"'t\b", " not"), (r"'ve\b", " have"), (r"'m\b", " am"),
    )
]  # fmt: skip

_COMMA_IN_NUMBER = re.compile(r"(\d),(\d)")
_FULL_STOP = re.compile(r"\.([^0-9]|$)")
_SYMBOL_BEFORE_NO_NUMBER = re.compile(r"[.$¢€£]([^0-9])")
_PERCENT_AFTER_NO_NUMBER = re.compile(r"([^0-9])%")


def normalize_whisper_english(text: str) -> str:
    """Lower case, no punctuation; "won't" is "will not", "Mr." "mister", "twenty-one" "21", "colour" "color".

    Word for word Whisper's `EnglishTextNormalizer`, but that no space is left at the ends. It forgives much that is
    spelling, but also drops hesitations ("um") and whatever stands in brackets, takes "oh" for 0, and reads "'s" as
    "is" always.
    """
    text = without_asides(text.lower())
    text = _HESITATIONS.sub("", text)
    text = _SPACE_BEFORE_APOSTROPHE.sub("'", text)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _COMMA_IN_NUMBER.sub(r"\1\2", text)
    text = _FULL_STOP.sub(r" \1", text)
    text = without_symbols_and_diacritics(text, keep=".%$¢€£")
    text = normalize_numbers(text)
    spellings = _spellings()
    text = " ".join(spellings.get(word, word) for word in text.split())
    text = _SYMBOL_BEFORE_NO_NUMBER.sub(r" \1", text)
    text = _PERCENT_AFTER_NO_NUMBER.sub(r"\1 ", text)
    return " ".join(text.split())


@cache
def _spellings() -> dict[str, str]:
    spellings: dict[str, str] = json.loads(_SPELLINGS.read_text(encoding="utf-8"))
    return spellings
