"""The argument parser that all subcommands share: forgiving about spelling, strict about values, plain in errors."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from voxport.cli.terminal import write_stdout
from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["CommandParser", "integer_from", "nearest", "points_of"]


class CommandParser(argparse.ArgumentParser):
    """An `argparse` parser, except that

    - every long option may be spelled with ``_`` or ``-`` (``--output_dir`` is ``--output-dir``); help shows the
      spelling it was registered with;
    - options and inputs may stand in any order, unless the last of the inputs takes the rest (``argparse.REMAINDER``);
    - options can't be abbreviated, so that a later option can't change what a script means;
    - a mistake raises `UsageError`, with the nearest right word as its hint.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings["formatter_class"] = HelpFormatter  # one look for all commands
        super().__init__(**settings)
        self._positionals.title = "arguments"
        self.alternatives: dict[str, CommandParser] = {}
        self.color = False  # of Python 3.14's parser: the same plain help on every version

    def add_subparsers(self, **settings: Any) -> Any:
        settings.setdefault("prog", self.prog)  # without the options and inputs of this one's usage
        return super().add_subparsers(**settings)

    def add_alternative(self, word: str, **settings: Any) -> CommandParser:
        """A parser of its own for calls whose first argument is this word; an input of that name is ``./word``."""
        self.alternatives[word] = CommandParser(prog=f"{self.prog} {word}", **settings)
        return self.alternatives[word]

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        if args and args[0] in self.alternatives:
            return self.alternatives[args[0]].parse_known_args(args[1:], namespace)
        if args is not None and self._subparsers is None:
            args = self._in_order(args)
        known, rest = super().parse_known_args(args, namespace)
        # Said here and not by the parser above, which knows none of this subcommand's options.
        if rest:
            self._refuse(rest[0])
        return known, rest

    def error(self, message: str) -> NoReturn:
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            raise UsageError(f"{missing} is missing", hint=f"{self.format_usage().strip()}; `--help` tells more")
        raise UsageError(message, hint=f"`{self.prog} --help` shows what can be given")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        name = action.option_strings[-1] if action.option_strings else (action.metavar or action.dest)
        choices = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            hint = f"the commands are: {', '.join(choices)}"
            if "transcribe" in choices and (value == "-" or Path(value).exists()):
                hint = f"to transcribe it: {self.prog} transcribe {value}"
            raise UsageError(f"unknown command {value!r}", hint=nearest(value, choices) or hint)
        hint = nearest(value, choices) or f"it can be: {', '.join(choices)}"
        raise UsageError(f"{name} can't be {value!r}", hint=hint)

    def _print_message(self, message: str, file: Any = None) -> None:
        # The original hides that help could not be written.
        write_stdout(message)

    def _in_order(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with options first, each in the spelling it was registered with, and the inputs after them."""
        spellings = {name.replace("_", "-"): name for name in self._option_string_actions if name.startswith("--")}
        options: list[str] = []
        inputs: list[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                inputs += rest
                break
            if argument == "-" or not argument.startswith("-"):
                inputs.append(argument)
                if any(action.nargs == argparse.REMAINDER for action in self._actions):
                    inputs += rest
                    break
                continue
            name, equals, value = argument.partition("=")
            if name.startswith("--"):
                argument = spellings.get(name.replace("_", "-"), name) + equals + value
            options.append(argument)
            if equals or not self._wants_value(argument):
                continue
            if not rest or re.match(r"-[^\d.]", rest[0]):  # nothing, or another option; "-" and "-1" are values
                raise UsageError(f"{argument} needs a value", hint=f"`{self.prog} --help` says which")
            options.append(rest.pop(0))
        hidden = any(name.startswith("-") and name != "-" for name in inputs)
        return [*options, *["--"] * hidden, *inputs]

    def _wants_value(self, argument: str) -> bool:
        """Whether the option's value is the next argument. Short options may be joined: ``-qf srt``."""
        actions = self._option_string_actions
        if argument.startswith("--"):
            return argument in actions and actions[argument].nargs is None
        for place, letter in enumerate(argument[1:], start=2):
            action = actions.get(f"-{letter}")
            if action is None:
                return False
            if action.nargs is None:
                return place == len(argument)
        return False

    def _refuse(self, argument: str) -> NoReturn:
        if not argument.startswith("-"):
            raise UsageError(f"unexpected argument {argument!r}", hint=f"see `{self.prog} --help`")
        name = argument.partition("=")[0]
        known = [option for option in self._option_string_actions if option.startswith("--")]
        alike = [option for option in known if re.fullmatch(r"-[a-z]", name) and option.startswith(f"-{name}")]
        alike.sort(key=len)
        hint = f"did you mean {' or '.join(alike)}?" if alike else nearest(name, known)
        hint = hint or f"`{self.prog} --help` lists the options"
        raise UsageError(f"unknown option {name!r}", hint=hint)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Options as ``-o, --output_dir DIR``, with their default, no wider than 100 columns; alike on every Python."""

    def __init__(self, prog: str, **settings: Any) -> None:
        width = min(shutil.get_terminal_size().columns, 100) - 1
        super().__init__(prog, max_help_position=32, width=width)

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage or usage_line(self._prog, actions), actions, groups, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        return option_invocation(action)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return help_text(action)


def usage_line(prog: str, actions: Iterable[argparse.Action]) -> str:
    """``prog INPUT... [options]``: the options are listed below it in any case."""
    names = [positional_name(action) for action in actions if not action.option_strings]
    return " ".join([prog, *names, "[options]"])


def positional_name(action: argparse.Action) -> str:
    """``INPUT...`` where several can be given."""
    name = str(action.metavar or action.dest)
    return f"{name}..." if action.nargs in ("+", "*") else name


def option_invocation(action: argparse.Action) -> str:
    """``-o, --output_dir DIR``; without a short option it is indented to stand under the long ones."""
    names = ", ".join(action.option_strings)
    value = ""
    if action.nargs != 0:
        value = " " + str(action.metavar or (_braces(action.choices) if action.choices else action.dest.upper()))
    return f"{names}{value}" if action.option_strings[0][1] != "-" else f"    {names}{value}"


def help_text(action: argparse.Action) -> str:
    """The help of an option with its default, where it has one worth saying."""
    text = action.help or ""
    shown = action.option_strings and action.default not in (None, False, True, argparse.SUPPRESS)
    return f"{text} (default: {action.default})" if shown and "default" not in text else text


def integer_from(lowest: int, option: str, *, highest: int = 1024) -> Callable[[str], int]:
    """An argument type: a whole number from `lowest` to `highest`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise UsageError(f"{option} can't be {text!r}", hint=f"it is a whole number from {lowest} on") from None
        if not lowest <= value <= highest:
            limit = f"at least {lowest}" if value < lowest else f"at most {highest}"
            raise UsageError(f"{option} can't be {value}", hint=f"it must be {limit}")
        return value

    return parse


def points_of(text: str) -> tuple[float, ...]:
    """The type of ``--points``: numbers with commas between.

    Raises:
        UsageError: it is something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--points can't be {text!r}", hint="numbers with commas between: 1,2,5,10") from None


def nearest(word: str, words: Iterable[str]) -> str | None:
    """A hint naming the word that was probably meant, or None."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {close[0]}?" if close else None


def _braces(choices: Iterable[Any]) -> str:
    return "{" + ",".join(str(choice) for choice in choices) + "}"
