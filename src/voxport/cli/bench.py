"""``voxport bench``: how fast, beside what, and how sure; ``voxport bench diff``: what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.inputs import find_recordings
from voxport.cli.parser import integer_from, points_of
from voxport.cli.progress import Progress
from voxport.cli.terminal import warn, write_stdout
from voxport.cli.transcribe import DEFAULT_MODEL
from voxport.devices import DTYPES
from voxport.errors import AudioError, UsageError
from voxport.writing import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from voxport.bench import BenchOptions

__all__ = ["add_parser", "run", "run_diff"]

DESCRIPTION = """\
How fast a model runs: model only, and end to end from samples to text; stage by stage; beside
another side in turns, with 95 % intervals; cold start, memory, what the device can do at best."""

EPILOG = """\
a side is [ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...][@MODEL], keys: batch, threads, recipe=FILE
and others
examples:
  voxport bench --model whisper-base --side cpu --against transformers/cpu:float32 talk.wav
  voxport bench --model medasr --device npu --dtype float32 --warmup 3 --iterations 10 dictation.wav
  voxport bench --side cpu:bfloat16+threads=2 --sweep length -o growth.json -o growth.svg talk.wav
  voxport bench diff before.json after.json     what changed beyond the noise

Every figure is defined in docs/guides/bench.md, and in the JSON object. Measure on a machine that
does nothing else; what disturbed it is said."""

DIFF_DESCRIPTION = """\
What changed from one measurement to another, beyond the noise of both, and which conditions differ.
Measurements of different work (other recordings, batches, tokens) are refused."""

OUTPUT_SUFFIXES = (".json", ".svg", ".txt")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help="how fast, beside what, and how sure",
        usage="voxport bench AUDIO... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument("inputs", nargs="+", metavar="AUDIO", help="recordings, as for transcribe")
    _add_side_options(parser.add_argument_group("what is measured"))
    _add_measuring_options(parser.add_argument_group("how it is measured"))
    _add_output_options(parser.add_argument_group("what comes out"))
    general = parser.add_argument_group("general")
    general.add_argument("--source", help="where to get the model if it is not here (default: tried in order)")
    general.add_argument("--offline", action="store_true", help="never touch the network")
    general.add_argument("-q", "--quiet", action="store_true", help="no progress; warnings and errors still show")
    general.add_argument("-h", "--help", action="help", help="show this help")
    _add_diff(parser)


def _add_side_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name (`voxport models list`), a Hugging Face id, or a local folder"
    )
    group.add_argument("--side", metavar="SIDE", help="what is measured, see below (default: auto)")
    group.add_argument("--against", metavar="SIDE", help="the other side, measured in turns in the same run")
    group.add_argument("--device", help="in place of --side: auto, cpu, cuda[:N], npu[:N]")
    group.add_argument(
        "--dtype", choices=["auto", *DTYPES], metavar="DTYPE", help=f"with --device: auto, {', '.join(DTYPES)}"
    )
    group.add_argument(
        "--batch_size",
        type=integer_from(1, "--batch_size"),
        metavar="N",
        help="windows in a call, where a side doesn't say +batch=N (default: 1)",
    )
    group.add_argument("--language", metavar="L", help="spoken language (default: detected, as part of decoding)")
    group.add_argument("--no-vad", action="store_true", help="end to end: do not look for speech first")
    group.add_argument(
        "--tokens",
        type=integer_from(2, "--tokens"),
        metavar="N",
        help="model only: decode exactly N tokens a window (default: what is said there; random weights: 40)",
    )


def _add_measuring_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--warmup", type=integer_from(0, "--warmup"), default=3, metavar="N", help="untimed iterations first"
    )
    group.add_argument(
        "--iterations",
        type=integer_from(1, "--iterations", highest=100_000),
        default=10,
        metavar="N",
        help="timed iterations; each hears every recording once",
    )
    group.add_argument(
        "--sweep", choices=["length", "batch"], metavar="WHAT", help="how the cost grows: over length, or batch"
    )
    group.add_argument(
        "--points",
        type=points_of,
        metavar="X,Y,...",
        help="of the sweep: seconds (default: 1 to 60), or windows (1 to 8)",
    )
    group.add_argument(
        "--sweep_iterations",
        type=integer_from(1, "--sweep_iterations", highest=100_000),
        metavar="N",
        help="timed iterations at each point of the sweep (default: as --iterations)",
    )
    group.add_argument(
        "--seed",
        type=integer_from(0, "--seed", highest=2**31),
        default=0,
        metavar="N",
        help="of the order of turns and of the intervals",
    )
    group.add_argument(
        "--profile", metavar="FILE", help="trace one iteration more with torch's or torch_npu's profiler"
    )


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="everything, as one JSON object on standard output")
    group.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="FILE",
        help="write a file, by its suffix: .json, .txt, or .svg (of a sweep); can be given several times",
    )


def _add_diff(parser: Any) -> None:
    diff = parser.add_alternative(
        "diff", usage="voxport bench diff A.json B.json [options]", description=DIFF_DESCRIPTION, add_help=False
    )
    diff.set_defaults(func=run_diff)
    diff.add_argument("first", metavar="A.json", help="a result of `voxport bench -o`")
    diff.add_argument("second", metavar="B.json", help="another one")
    diff.add_argument("--json", action="store_true", help="as one JSON object")
    diff.add_argument("-h", "--help", action="help", help="show this help")


def run(arguments: argparse.Namespace) -> int:
    """Measure; returns the exit code. What can be checked is checked before torch is loaded."""
    from voxport.bench import BenchOptions, choose_side
    from voxport.bench import run as measure
    from voxport.models.hub.progress import terminal_progress
    from voxport.sides import Side

    outputs = _outputs(arguments)
    options = BenchOptions(
        model=arguments.model,
        side=choose_side(arguments.side, arguments.device, arguments.dtype),
        against=None if arguments.against is None else Side.parse(arguments.against),
        warmup=arguments.warmup,
        iterations=arguments.iterations,
        batch=arguments.batch_size,
        tokens=arguments.tokens,
        language=arguments.language,
        vad=not arguments.no_vad,
        sweep=arguments.sweep,
        points=arguments.points,
        sweep_iterations=arguments.sweep_iterations,
        profile=None if arguments.profile is None else Path(arguments.profile),
        seed=arguments.seed,
        source=arguments.source,
        offline=arguments.offline,
    )
    recordings = _recordings(arguments.inputs)
    progress = Progress(enabled=not arguments.quiet)
    try:
        result = measure(options, recordings, progress=terminal_progress(quiet=arguments.quiet), tell=progress.status)
    finally:
        progress.clear()
    _write(result, arguments, outputs, options)
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    """Compare two results; returns the exit code."""
    from voxport.bench import compare_results, diff_text, read_result

    difference = compare_results(read_result(Path(arguments.first)), read_result(Path(arguments.second)))
    if arguments.json:
        write_stdout(json.dumps(difference.to_dict(), indent=2, ensure_ascii=False) + "\n")
    else:
        write_stdout(diff_text(difference))
    return 0


def _recordings(inputs: Sequence[str]) -> list[str]:
    """Their names; one that isn't there ends it: figures would be about something else."""
    found = find_recordings(inputs)
    for recording in found:
        if recording.error is not None:
            error = recording.error
            raise AudioError(f"{recording.name}: {error.message}", hint=error.hint, code=error.code)
    return [recording.name for recording in found]


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    """The files to write, refused before any work where they can't be meant."""
    paths = [Path(name) for name in arguments.output or ()]
    for path in paths:
        if path.suffix not in OUTPUT_SUFFIXES:
            raise UsageError(
                f"-o {str(path)!r}: the suffix says what is written", hint=f"it is one of {', '.join(OUTPUT_SUFFIXES)}"
            )
        if path.suffix == ".svg" and arguments.sweep is None:
            raise UsageError("the picture (.svg) is of a sweep", hint="add --sweep length or --sweep batch")
        if path.is_dir() or not path.absolute().parent.is_dir():
            what = "is a folder" if path.is_dir() else "is in a folder that isn't there"
            raise UsageError(f"-o {str(path)!r} {what}", hint="-o takes a file, in a folder that exists")
    return paths


def _write(
    result: dict[str, Any], arguments: argparse.Namespace, outputs: Sequence[Path], options: BenchOptions
) -> None:
    from voxport.bench import report_text, sweep_svg

    whole = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {
        ".json": lambda: whole,
        ".txt": lambda: report_text(result),
        ".svg": lambda: sweep_svg(result),
    }
    for path in outputs:
        write_atomically(path, texts[path.suffix]())
    if arguments.json:
        for note in result["notes"]:
            warn(note)
        for finding in result["noise"]["findings"]:
            warn(f"noisy machine: {finding}")
    write_stdout(whole if arguments.json else report_text(result))
