"""A formatted report from text with the dictation marks of Google's MedASR: ``{period}``, ``[FINDINGS]``.

The model spells its commands from ordinary pieces and there is no public list of them: a command that is not in
`COMMANDS` stays in the text as it is. No word that was dictated is lost.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["COMMANDS", "DictationFormatter", "Mark", "format_dictation"]


class Mark(NamedTuple):
    """What a command writes, and how it sits in the text. Beside a line break there is no space either way.

    `ends_sentence` is None where the mark makes no difference to it: a quote that opens after a sentence end opens
    with a capital.
    """

    writes: str
    space_before: bool
    space_after: bool
    ends_sentence: bool | None


COMMANDS: dict[str, Mark] = {
    # command                  writes  space before, after  ends a sentence
    "period": Mark(".", False, True, True),
    "full stop": Mark(".", False, True, True),
    "question mark": Mark("?", False, True, True),
    "exclamation mark": Mark("!", False, True, True),
    "exclamation point": Mark("!", False, True, True),
    "comma": Mark(",", False, True, False),
    "colon": Mark(":", False, True, False),
    "semicolon": Mark(";", False, True, False),
    "hyphen": Mark("-", False, False, False),
    "dash": Mark("-", False, False, False),
    "slash": Mark("/", False, False, False),
    "open paren": Mark("(", True, False, None),
    "open parenthesis": Mark("(", True, False, None),
    "close paren": Mark(")", False, True, None),
    "close parenthesis": Mark(")", False, True, None),
    "open quote": Mark('"', True, False, None),
    "close quote": Mark('"', False, True, None),
    "new line": Mark("\n", False, False, True),
    "newline": Mark("\n", False, False, True),
    "next line": Mark("\n", False, False, True),
    "new paragraph": Mark("\n\n", False, False, True),
    "next paragraph": Mark("\n\n", False, False, True),
}
"""Every known command, in lower case with single spaces."""

_PUNCTUATION = frozenset(",.;:?!")  # what attaches to the word before it, and is not written twice in a row
# Behind one of these a section's name is a word of the sentence: "the [DIAGNOSES] include".
_ARTICLES = {"a", "an", "the", "no", "this", "that", "these", "those"}
_POSSESSIVES = {"his", "her", "its", "my", "our", "their", "your"}
_PREPOSITIONS = {"as", "at", "by", "for", "from", "in", "into", "of", "on", "per", "see", "to", "under", "with"}
_LEADING = _ARTICLES | _POSSESSIVES | _PREPOSITIONS | {"and", "or"}

# One token after another, without gaps. A bracket that is not closed within 40 characters, or before another one
# opens, is text. Python's wider notion of white space would take a no-break space away: ASCII.
_TOKEN = re.compile(
    r"""
      (?P<space> \s+ )
    | \{ (?P<command> [^\]\[{}]{0,40} ) \}
    | \[ (?P<tag> [^\]\[{}]{0,40} ) \]
    | (?P<unclosed> [\[{] ) (?= [^\]\[{}]{0,40} \Z )
    | (?P<mark> (?<= [\]}] ) [,.;:?!] (?! [,.;:?!] ) )   # "[FINDINGS]:Right"
    | (?P<word> [\[{] | [^\s\[{]+ )
    """,
    re.ASCII | re.VERBOSE,
)
_RUN = re.compile(r"\s+", re.ASCII)
_SECTION = re.compile(r"[^\W\d_] (?: [^\W\d_] | [ &/'-] )*", re.VERBOSE)


def format_dictation(text: str) -> str:
    """The whole `text` of one recording as a report, without white space at its ends.

    Line breaks that are in the text already stay, at most two in a row; other runs of white space become one space.
    """
    formatter = DictationFormatter()
    return formatter.feed(text) + formatter.finish()


class DictationFormatter:
    """One recording's text, segment by segment; use a new one for each recording.

    What `feed` and `finish` return, joined, is the report; it does not depend on where the text was cut.
    """

    def __init__(self) -> None:
        self._held = ""  # from a bracket on that the next segment may close
        self._written: list[str] = []  # by this call
        self._last = ""  # the last character of the report so far
        self._breaks = 0  # line breaks before what comes next
        self._space = False  # a space before the next word
        self._glued = False  # the last mark clings to what comes next, whatever the space in the text
        self._inside = False  # in a sentence that goes on with its next word: no section begins here
        self._capital = False  # the next word begins with a capital

    def feed(self, text: str) -> str:
        """Take the next segment, which begins with a new word; returns what of the report no later one can change."""
        self._held = _RUN.sub(_shortest, f"{self._held} {text}")
        return self._take(final=False)

    def finish(self) -> str:
        """The rest of the report."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> str:
        text, self._held = self._held, ""
        for token in _TOKEN.finditer(text):
            kind = token.lastgroup
            if kind == "unclosed" and not final:
                self._held = text[token.start() :]
                break
            if kind == "space":
                self._white_space(token[0])
            elif kind == "command":
                self._command(token)
            elif kind == "tag":
                self._tag(token)
            elif token[0] in _PUNCTUATION:
                self._punctuation(token[0])
            else:
                self._word(token[0])
        written, self._written = self._written, []
        return "".join(written)

    def _white_space(self, run: str) -> None:
        if "\n" in run:
            self._break(len(run))
        else:
            self._space = not self._glued

    def _command(self, token: re.Match[str]) -> None:
        mark = COMMANDS.get(" ".join(token["command"].lower().split()))
        if mark is None:
            self._write(token[0], space=self._space)
        elif mark.writes.isspace():
            self._break(len(mark.writes))
            self._capital = True
        else:
            repeated = self._repeats(mark.writes)
            if not repeated:
                self._write(mark.writes, space=mark.space_before and not self._glued)
            self._space, self._glued = mark.space_after, not mark.space_after
            self._inside = False
            # A mark that is there already may yet be said to end a sentence, and a heading's colon ends none.
            if mark.ends_sentence or (mark.ends_sentence is False and not repeated):
                self._capital = mark.ends_sentence

    def _tag(self, token: re.Match[str]) -> None:
        name = " ".join(token["tag"].split())
        if not (_SECTION.fullmatch(name) and name.isupper()):
            self._word(token[0])
        elif not (self._inside or self._glued or self._last == "("):
            self._break(2)
            self._write(f"{name}:", space=False)
            self._space = self._capital = True
        else:
            self._write(name.lower(), space=self._space or self._last.isalnum())
            self._space = token.string[token.end() : token.end() + 1].isalnum()

    def _punctuation(self, mark: str) -> None:
        """A mark of the text itself, on its own."""
        if not self._repeats(mark):
            self._write(mark, space=False)
            self._inside = self._capital = False

    def _word(self, word: str) -> None:
        self._write(word[0].upper() + word[1:] if self._capital else word, space=self._space)
        self._capital = False
        self._inside = word.lower() in _LEADING

    def _repeats(self, mark: str) -> bool:
        return mark in _PUNCTUATION and mark == self._last and not self._breaks

    def _break(self, count: int) -> None:
        self._breaks = min(self._breaks + count, 2)
        self._inside = False

    def _write(self, text: str, *, space: bool) -> None:
        if self._last:
            self._written.append("\n" * self._breaks or " " * space)
        self._written.append(text)
        self._last = text[-1]
        self._breaks = 0
        self._space = self._glued = False


def _shortest(run: re.Match[str]) -> str:
    """White space as it counts here: one space, or one or two line breaks."""
    return "\n" * min(run[0].count("\n"), 2) or " "
