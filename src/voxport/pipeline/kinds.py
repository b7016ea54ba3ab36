"""What kind of value each option is: checked, and made a plain one of Python's, before its range is."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "plain_value"]


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        wanted: what it must be, in words.
        plain: makes a plain value of one that is; raises TypeError, ValueError or OverflowError for any other.
    """

    wanted: str
    plain: Callable[[Any], Any]

    def or_none(self) -> Kind:
        """The same, and None."""
        return Kind(f"{self.wanted}, or None", lambda value: None if value is None else self.plain(value))


def _truth(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError
    return bool(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # bytes of the command line that are no UTF-8 come as lone surrogates, which no tokenizer takes
    return value


def _channels(value: Any) -> int | str:
    return _text(value) if isinstance(value, str) else _whole(value)


def _several(value: Any, plain: Callable[[Any], Any]) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes)):
        raise TypeError
    return tuple(plain(one) for one in value)


def _temperatures(value: Any) -> float | tuple[float, ...]:
    return _several(value, _number) if isinstance(value, Iterable) else _number(value)


def _terms(value: Any) -> tuple[str, ...]:
    return _several(value, _text)


TRUTH = Kind("True or False", _truth)
WHOLE = Kind("a whole number", _whole)
NUMBER = Kind("a number", _number)
TEXT = Kind("text", _text)

KINDS: dict[str, Kind] = {
    "language": TEXT.or_none(),
    "language_detection_segments": WHOLE,
    "task": TEXT,
    "vad": TRUTH,
    "channels": Kind("'mix', 'split' or a channel's number", _channels),
    "format_dictation": TRUTH,
    "word_timestamps": TRUTH,
    "prepend_punctuations": TEXT,
    "append_punctuations": TEXT,
    "batch_size": WHOLE.or_none(),
    "beam_size": WHOLE.or_none(),
    "patience": NUMBER,
    "length_penalty": NUMBER.or_none(),
    "best_of": WHOLE,
    "temperature": Kind("a number, or a list of them", _temperatures),
    "compression_ratio_threshold": NUMBER.or_none(),
    "logprob_threshold": NUMBER.or_none(),
    "no_speech_threshold": NUMBER.or_none(),
    "seed": WHOLE,
    "initial_prompt": TEXT.or_none(),
    "condition_on_previous_text": TRUTH,
    "hotwords": Kind("a list of terms, e.g. ['lisinopril', 'Dr. Osei']", _terms),
    "hotword_weight": NUMBER,
}
"""Of every field of `PipelineOptions`."""


def plain_value(name: str, value: Any) -> Any:
    """The value of the option `name` as a plain one: numpy's numbers become Python's, lists tuples.

    Raises:
        UsageError: it is of another kind, or text that can't be written as UTF-8.
    """
    kind = KINDS[name]
    try:
        return kind.plain(value)
    except UnicodeEncodeError:
        hint = "give it in UTF-8; the terminal or the script has another encoding"
        raise UsageError(f"{name} is not UTF-8 text: {reprlib.repr(value)}", hint=hint) from None
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} must be {kind.wanted}, not {reprlib.repr(value)}") from None
