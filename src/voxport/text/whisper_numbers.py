"""English number words to figures, as Whisper's English normaliser does: "one hundred and two" -> 102, "$20 million".

After openai/whisper's ``whisper/normalizers/english.py``, Copyright (c) 2022 OpenAI, MIT License
(``data/LICENSE.openai-whisper``): the same words come out, faults too, so that figures can be compared.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["normalize_numbers"]

ZEROS = frozenset({"o", "oh", "zero"})
ONES = {
    name: value
    for value, name in enumerate(
        (
            "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
        ),
        start=1,
    )
}  # fmt: skip
TENS = {
    name: 10 * value
    for value, name in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
MULTIPLIERS = {"hundred": 100} | {
    name: 1000**power
    for power, name in enumerate(
        (
            "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion",
            "octillion", "nonillion", "decillion",
        ),
        start=1,
    )
}  # fmt: skip

_IRREGULAR = {"zeroth": (0, "th"), "first": (1, "st"), "second": (2, "nd"), "third": (3, "rd"), "fifth": (5, "th"),
              "twelfth": (12, "th")}  # fmt: skip
# Plurals and ordinals: name -> (value, what is written behind it).
ONES_SUFFIXED = (
    {"sixes" if name == "six" else f"{name}s": (value, "s") for name, value in ONES.items()}
    | _IRREGULAR
    | {
        name + ("h" if name.endswith("t") else "th"): (value, "th")
        for name, value in ONES.items()
        if value > 3 and value not in (5, 12)
    }
)
TENS_SUFFIXED = {name.replace("y", "ies"): (value, "s") for name, value in TENS.items()} | {
    name.replace("y", "ieth"): (value, "th") for name, value in TENS.items()
}
MULTIPLIERS_SUFFIXED = {f"{name}s": (value, "s") for name, value in MULTIPLIERS.items()} | {
    f"{name}th": (value, "th") for name, value in MULTIPLIERS.items()
}

SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
CURRENCIES = {
    "pound": "£", "pounds": "£", "euro": "€", "euros": "€", "dollar": "$", "dollars": "$", "cent": "¢", "cents": "¢",
}  # fmt: skip
_PREFIXES = frozenset([*SIGNS.values(), *CURRENCIES.values()])
_PER_CENT = ("per", "percent")
_SPECIALS = ("and", "double", "triple", "point")
_DECIMALS = frozenset([*ONES, *TENS, *ZEROS])
_WORDS = frozenset(
    {*ZEROS, *ONES, *ONES_SUFFIXED, *TENS, *TENS_SUFFIXED, *MULTIPLIERS, *MULTIPLIERS_SUFFIXED}
    | {*SIGNS, *CURRENCIES, *_PER_CENT, *_SPECIALS}
)

_FIGURE = re.compile(r"^\d+(\.\d+)?$")


def normalize_numbers(text: str) -> str:
    """Number words as figures, currencies and per cent as signs; "one" and "ones" stay words.

    Args:
        text: lower case, without punctuation other than ``.%$¢€£``.
    """
    words = _Reader(_prepared(text).split()).read()
    return _finished(" ".join(words))


class _Reader:
    """Reads words from the left; a number under way is kept until a word ends it.

    The number is an int while its words add up, a str of digits once they follow one another ("nineteen eighty"), None
    where there is none.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._prefix: str | None = None
        self._number: int | str | None = None
        self._skip = False

    def read(self) -> Iterator[str]:
        for index, word in enumerate(self._words):
            if self._skip:
                self._skip = False
                continue
            before = self._words[index - 1] if index else None
            after = self._words[index + 1] if index + 1 < len(self._words) else None
            bare = word[1:] if word[0] in _PREFIXES else word
            if _FIGURE.match(bare) and (value := _fraction(bare)) is not None:
                yield from self._figure(word, bare, value)
            elif word not in _WORDS:
                yield from self._flush()
                yield self._out(word)
            else:
                yield from self._number_word(word, before, after)
        yield from self._flush()

    def _number_word(self, word: str, before: str | None, after: str | None) -> Iterator[str]:
        if word in ZEROS:
            self._number = f"{self._number or ''}0"
        elif word in ONES:
            self._number = self._with_ones(ONES[word], before)
        elif word in ONES_SUFFIXED:
            value, suffix = ONES_SUFFIXED[word]
            yield self._out(f"{self._with_ones(value, before)}{suffix}")
        elif word in TENS:
            self._number = self._with_tens(TENS[word])
        elif word in TENS_SUFFIXED:
            value, suffix = TENS_SUFFIXED[word]
            yield self._out(f"{self._with_tens(value)}{suffix}")
        elif word in MULTIPLIERS:
            yield from self._multiply(MULTIPLIERS[word])
        elif word in MULTIPLIERS_SUFFIXED:
            value, suffix = MULTIPLIERS_SUFFIXED[word]
            yield from self._multiply(value)
            yield self._out(f"{self._number}{suffix}")
        elif word in SIGNS:
            yield from self._sign(word, after)
        elif word in CURRENCIES:
            yield from self._currency(word)
        elif word in _PER_CENT:
            yield from self._per_cent(word, after)
        elif after not in _WORDS and not _is_figure(after):
            yield from self._flush()
            yield self._out(word)
        else:
            yield from self._special(word, before, after)

    def _out(self, text: str) -> str:
        """What is done, with the sign that stood before it."""
        text = f"{self._prefix or ''}{text}"
        self._number = self._prefix = None
        return text

    def _flush(self) -> Iterator[str]:
        if self._number is not None:
            yield self._out(str(self._number))

    def _figure(self, word: str, bare: str, value: Fraction) -> Iterator[str]:
        if isinstance(self._number, str) and self._number.endswith("."):
            self._number += word  # decimals, parts of an address
            return
        yield from self._flush()
        if bare != word:
            self._prefix = word[0]
        self._number = value.numerator if value.denominator == 1 else bare

    def _with_ones(self, value: int, before: str | None) -> int | str:
        number = self._number
        if number is None:
            return value
        if isinstance(number, str) or before in ONES:
            if before in TENS and value < 10:  # "nineteen eighty four": the zero makes way
                return f"{str(number)[:-1]}{value}"
            return f"{number}{value}"
        return number + value if number % (10 if value < 10 else 100) == 0 else f"{number}{value}"

    def _with_tens(self, value: int) -> int | str:
        number = self._number
        if number is None:
            return value
        return f"{number}{value}" if isinstance(number, str) or number % 100 else number + value

    def _multiply(self, factor: int) -> Iterator[str]:
        number = self._number
        if number is None:
            self._number = factor
        elif isinstance(number, str):
            value = _fraction(number)
            if value is not None and (value * factor).denominator == 1:
                self._number = (value * factor).numerator
            else:
                yield self._out(number)
                self._number = factor
        else:
            thousands, rest = divmod(number, 1000)
            self._number = thousands * 1000 + rest * factor

    def _sign(self, word: str, after: str | None) -> Iterator[str]:
        yield from self._flush()
        if after in _WORDS or _is_figure(after):
            self._prefix = SIGNS[word]
        else:
            yield self._out(word)

    def _currency(self, word: str) -> Iterator[str]:
        if self._number is None:
            yield self._out(word)
        else:
            self._prefix = CURRENCIES[word]
            yield from self._flush()

    def _per_cent(self, word: str, after: str | None) -> Iterator[str]:
        if self._number is None:
            yield self._out(word)
        elif word == "percent":
            yield self._out(f"{self._number}%")
        elif after == "cent":
            yield self._out(f"{self._number}%")
            self._skip = True
        else:
            yield from self._flush()
            yield self._out(word)

    def _special(self, word: str, before: str | None, after: str | None) -> Iterator[str]:
        """Words that mean something between numbers only."""
        if word == "and":
            if before not in MULTIPLIERS:
                yield from self._flush()
                yield self._out(word)
        elif word == "point":
            if after in _DECIMALS or _is_figure(after):
                self._number = f"{self._number or ''}."
        elif after in ONES or after in ZEROS:
            self._number = f"{self._number or ''}{str(ONES.get(after or '', 0)) * (2 if word == 'double' else 3)}"
            self._skip = True
        else:
            yield from self._flush()
            yield self._out(word)


def _is_figure(word: str | None) -> bool:
    return word is not None and _FIGURE.match(word) is not None


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except ValueError:  # also where Python refuses to read thousands of digits
        return None


def _prepared(text: str) -> str:
    """ "and a half" is "point five" after a number; letters and figures are parted, but not in "1960s" and "2nd"."""
    parts = []
    pieces = re.split(r"\band\s+a\s+half\b", text)
    for index, piece in enumerate(pieces):
        if not piece.strip():
            continue
        parts.append(piece)
        if index < len(pieces) - 1:
            last = piece.split()[-1]
            parts.append("point five" if last in _DECIMALS or last in MULTIPLIERS else "and a half")
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", " ".join(parts))
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)


def _finished(text: str) -> str:
    """Written: "$2 and ¢7" is "$2.07", "$0.7" is "¢7"; 1 is written "one"."""
    text = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)
