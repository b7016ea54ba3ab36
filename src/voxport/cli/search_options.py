"""How Whisper's words are searched for, on the command line: the names are openai/whisper's."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.parser import integer_from
from voxport.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["add_prompt_options", "add_search_options", "search_options"]

LEAST_INCREMENT = 0.01
"""Of temperatures on fallback: each is another decoding of a doubtful window, a hundred at most."""

_COMMENT = re.compile(r"(^|\s)#.*")
"""From a ``#`` at a line's beginning or behind white space on: C# is a term."""


def add_search_options(group: argparse._ArgumentGroup) -> None:
    """Add them to a group of a parser."""
    group.add_argument(
        "--beam_size",
        type=integer_from(1, "--beam_size", highest=100),
        metavar="N",
        help="texts followed side by side (default: 1, greedy; 5 with --hotwords)",
    )
    group.add_argument(
        "--patience", type=_number("--patience"), default=1.0, metavar="X", help="search on until N times X texts ended"
    )
    group.add_argument(
        "--length_penalty",
        type=_number("--length_penalty"),
        metavar="A",
        help="0 to 1: longer texts win by more (default: by the mean log probability)",
    )
    group.add_argument(
        "--temperature",
        type=_number("--temperature"),
        default=0.0,
        metavar="T",
        help="0 takes the likeliest text, above it texts are drawn",
    )
    group.add_argument(
        "--temperature_increment_on_fallback",
        type=_number_or_none("--temperature_increment_on_fallback"),
        metavar="T",
        help="decode a doubtful window again at a temperature higher by this, up to 1, e.g. 0.2 (default: never)",
    )
    group.add_argument(
        "--best_of",
        type=integer_from(1, "--best_of", highest=100),
        default=5,
        metavar="N",
        help="texts drawn above temperature 0, the likeliest is taken",
    )
    group.add_argument(
        "--compression_ratio_threshold",
        type=_number_or_none("--compression_ratio_threshold"),
        default=2.4,
        metavar="X",
        help="doubtful: a text that compresses better, or none",
    )
    group.add_argument(
        "--logprob_threshold",
        type=_number_or_none("--logprob_threshold"),
        default=-1.0,
        metavar="X",
        help="doubtful: a mean log probability below, or none",
    )
    group.add_argument(
        "--no_speech_threshold",
        type=_number_or_none("--no_speech_threshold"),
        default=0.6,
        metavar="P",
        help="no words: a no-speech probability above and a text below --logprob_threshold, or none",
    )
    group.add_argument(
        "--seed", type=integer_from(0, "--seed", highest=2**31), default=0, metavar="N", help="of what is drawn"
    )


def add_prompt_options(group: argparse._ArgumentGroup) -> None:
    """Add what the model is told beforehand to a group of a parser."""
    group.add_argument(
        "--initial_prompt", metavar="TEXT", help="text that is taken to stand before every window: names, style"
    )
    group.add_argument(
        "--condition_on_previous_text",
        action="store_true",
        help="tell each window what was said before it; one after the other, so slower",
    )
    group.add_argument(
        "--hotwords",
        metavar="A,B|@FILE",
        help="terms that the search is drawn to: with commas between, or a file's lines",
    )
    group.add_argument(
        "--hotword_weight",
        type=_number("--hotword_weight"),
        metavar="X",
        help="how strongly: natural-log units for each token (default: 2)",
    )


def search_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of `voxport.pipeline.PipelineOptions`.

    Raises:
        UsageError: a file of hotwords can't be read, or options contradict each other.
    """
    given = {
        name: getattr(arguments, name)
        for name in (
            "beam_size",
            "patience",
            "length_penalty",
            "best_of",
            "compression_ratio_threshold",
            "logprob_threshold",
            "no_speech_threshold",
            "seed",
            "initial_prompt",
            "condition_on_previous_text",
        )
    }
    given["temperature"] = _temperatures(arguments.temperature, arguments.temperature_increment_on_fallback)
    given["hotwords"] = _terms(arguments.hotwords)
    if arguments.hotword_weight is not None:
        if not given["hotwords"]:
            raise UsageError("--hotword_weight needs --hotwords", hint="name the terms too")
        given["hotword_weight"] = arguments.hotword_weight
    return given


def _temperatures(first: float, increment: float | None) -> tuple[float, ...]:
    """openai/whisper's: from the first to 1 in steps."""
    if increment is None:
        return (first,)
    if not LEAST_INCREMENT <= increment < math.inf:
        hint = f"a number from {LEAST_INCREMENT} on, e.g. 0.2; leave it out to decode once"
        raise UsageError(f"--temperature_increment_on_fallback can't be {increment:g}", hint=hint)
    # Above 1 there is no further step, and what can't be a temperature `PipelineOptions` refuses.
    count = int((1.0 + 1e-6 - first) / increment) if 0.0 <= first <= 1.0 else 0
    return (first, *(round(first + step * increment, 6) for step in range(1, count + 1)))


def _terms(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    terms = text.split(",")
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
            hint = "a text file with one term a line"
            raise UsageError(f"--hotwords {text}: {reason}", hint=hint) from error
        terms = [_COMMENT.sub("", line) for line in lines]
    if not any(term.strip() for term in terms):
        raise UsageError(f"--hotwords {text}: there is no term in it", hint="--hotwords 'lisinopril,metoprolol'")
    return tuple(terms)


def _number(option: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"{option} can't be {text!r}", hint="it is a number") from None

    return parse


def _number_or_none(option: str) -> Callable[[str], float | None]:
    number = _number(option)
    return lambda text: None if text.lower() == "none" else number(text)
