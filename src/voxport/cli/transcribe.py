"""``voxport transcribe``: recordings in, their words out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.inputs import Recording, find_recordings
from voxport.cli.job import Job
from voxport.cli.outputs import check_folder
from voxport.cli.parser import integer_from
from voxport.cli.progress import Progress
from voxport.cli.results import JSONLines, ResultFiles, Results, TextStream
from voxport.cli.search_options import add_prompt_options, add_search_options, search_options
from voxport.cli.signals import EXIT_INTERRUPTED
from voxport.devices import DTYPES, PRECISIONS
from voxport.errors import UnsupportedOptionError, UsageError
from voxport.formats import FORMATS, SUBTITLE_FORMATS
from voxport.subtitles import WORDS_HINT, SubtitleOptions
from voxport.types import APPENDED, LANGUAGE_DETECTION_SEGMENTS, PREPENDED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from voxport.models import ASRModel

__all__ = ["add_parser", "run"]

DEFAULT_MODEL = "whisper-base"

DESCRIPTION = """\
Transcribe recordings: wav flac mp3 m4a ogg opus webm mp4, any usual rate, up to 24 hours.
The text appears on standard output while the work goes on; with -o it goes to files."""

EPILOG = """\
examples:
  voxport transcribe talk.mp3                          the words
  voxport transcribe -f srt talk.mp3 > talk.srt        subtitles
  voxport transcribe -f srt --max_line_width 42 --max_line_count 2 talk.mp3 > talk.srt
  voxport transcribe -f all -o out/ recordings/ b.wav  files in every format: out/NAME.txt, ...
  voxport transcribe --json *.wav | jq -r .text        one JSON object a line for each input
  voxport transcribe --language de --task translate rede.ogg
  ffmpeg -i film.mkv -f wav - | voxport transcribe -

Several inputs on standard output: txt puts an empty line between them, tsv names the file in a
first column; srt, vtt and all need -o. Inputs of the same name get different result files.
Ctrl-C keeps what is done: finished files, and NAME.partial.FORMAT of the one under way.
Options may be spelled with _ or -: --output_dir is --output-dir."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "transcribe",
        help="recordings in, their words out",
        usage="voxport transcribe INPUT... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help='file, folder (searched at any depth), "quoted/*.glob", or - for stdin',
    )
    _add_output_options(parser.add_argument_group("what comes out"))
    _add_word_options(parser.add_argument_group("words with times"))
    _add_subtitle_options(parser.add_argument_group("how subtitles (srt, vtt) are cut"))
    _add_recognition_options(parser.add_argument_group("how it is heard"))
    add_prompt_options(parser.add_argument_group("what the model is told (Whisper)"))
    add_search_options(parser.add_argument_group("how the words are searched for (Whisper)"))
    _add_machine_options(parser.add_argument_group("model and machine"))
    general = parser.add_argument_group("general")
    general.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary; errors still show")
    general.add_argument("-h", "--help", action="help", help="show this help")


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-f",
        "--output_format",
        metavar="FORMAT",
        choices=[*FORMATS, "all"],
        help=f"{', '.join(FORMATS)}, or all (default: txt)",
    )
    group.add_argument(
        "-o", "--output_dir", metavar="DIR", help="write files to this folder, one for each input and format"
    )
    group.add_argument(
        "--json", action="store_true", help="one JSON object a line for each input, in order, failed ones too"
    )
    group.add_argument(
        "--format_dictation",
        action="store_true",
        help="MedASR: {period}, {new paragraph}, [FINDINGS] and the like become a formatted report",
    )


def _add_word_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--word_timestamps",
        action="store_true",
        help="give each word its times and probability (json; subtitles begin and end with words); MedASR always does",
    )
    group.add_argument(
        "--prepend_punctuations",
        metavar="SIGNS",
        default=PREPENDED,
        help="signs that are part of the word after them (default: openai/whisper's)",
    )
    group.add_argument(
        "--append_punctuations",
        metavar="SIGNS",
        default=APPENDED,
        help="signs that are part of the word before them (default: openai/whisper's)",
    )


def _add_subtitle_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max_line_width",
        type=integer_from(1, "--max_line_width"),
        metavar="N",
        help="columns of a line; Chinese and Japanese characters take two (default: no limit)",
    )
    group.add_argument(
        "--max_line_count",
        type=integer_from(1, "--max_line_count"),
        metavar="N",
        help="lines shown together, with --max_line_width (default: no limit)",
    )
    group.add_argument(
        "--max_words_per_line",
        type=integer_from(1, "--max_words_per_line"),
        metavar="N",
        help="words shown together, instead of --max_line_width; switches --word_timestamps on",
    )
    group.add_argument(
        "--highlight_words",
        action="store_true",
        help="underline each word while it is said; switches --word_timestamps on",
    )


def _add_recognition_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--language",
        metavar="L",
        help="spoken language: en or english, ...; auto-per-window for several in one recording (default: detected)",
    )
    group.add_argument(
        "--language_detection_segments",
        type=integer_from(1, "--language_detection_segments"),
        default=LANGUAGE_DETECTION_SEGMENTS,
        metavar="N",
        help="windows at the beginning that the language is detected by (default: %(default)s)",
    )
    group.add_argument(
        "--task",
        choices=["transcribe", "translate"],
        metavar="TASK",
        default="transcribe",
        help="transcribe, or translate into English",
    )
    group.add_argument(
        "--channels",
        type=_channels,
        default="mix",
        metavar="mix|split|N",
        help="mix them, transcribe each on its own, or only number N (from 0)",
    )
    group.add_argument("--no-vad", action="store_true", help="do not look for speech first: hear everything")


def _add_machine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name (`voxport models list`), a Hugging Face id, or a local folder"
    )
    group.add_argument(
        "--device", default="auto", help="auto, cpu, cuda[:N], npu[:N], or several, one model each: npu:0,1"
    )
    group.add_argument(
        "--dtype", choices=["auto", *DTYPES], default="auto", metavar="DTYPE", help=f"auto, {', '.join(DTYPES)}"
    )
    group.add_argument(
        "--threads",
        type=integer_from(1, "--threads"),
        metavar="N",
        help="CPU threads (default: the physical cores of one NUMA node)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="default",
        metavar="PRECISION",
        help="default, or strict: float32 without the device's shortcuts (TF32, HF32, approximate GELU)",
    )
    group.add_argument(
        "--graph",
        action="store_true",
        help="NPU: compile Whisper's decoder steps into graphs (torchair; not measured, slow to start)",
    )
    group.add_argument(
        "--recipe", metavar="FILE", help="modules that stay in float32, as `voxport verify --advise` found them"
    )
    group.add_argument(
        "--batch_size",
        type=integer_from(1, "--batch_size"),
        metavar="N",
        help="windows decoded together (default: what suits the model, at most 8)",
    )
    group.add_argument("--source", help="where to get the model if it is not here (default: tried in order)")
    group.add_argument("--offline", action="store_true", help="never touch the network")


def _channels(text: str) -> str | int:
    if text in ("mix", "split"):
        return text
    if text.isascii() and text.isdecimal():
        return int(text)
    hint = "mix = all as one, split = each on its own, a number = that channel only, counted from 0"
    raise UsageError(f"--channels can't be {text!r}", hint=hint)


def run(arguments: argparse.Namespace) -> int:
    """Transcribe; returns the exit code. What can be checked is checked before a model, and torch, is loaded."""
    _check_destination(arguments)
    subtitles = _subtitles(arguments)

    from voxport.devices import get_devices
    from voxport.pipeline import PipelineOptions

    options = PipelineOptions(
        language=arguments.language,
        language_detection_segments=arguments.language_detection_segments,
        task=arguments.task,
        vad=not arguments.no_vad,
        channels=arguments.channels,
        format_dictation=arguments.format_dictation,
        word_timestamps=arguments.word_timestamps or subtitles.needs_words,
        prepend_punctuations=arguments.prepend_punctuations,
        append_punctuations=arguments.append_punctuations,
        batch_size=arguments.batch_size,
        **search_options(arguments),
    )
    get_devices(arguments.device)
    recordings = find_recordings(arguments.inputs)
    job = Job(
        recordings=recordings,
        options=options,
        results=_destinations(arguments, recordings, subtitles),
        progress=Progress(enabled=not arguments.quiet),
        load=lambda: _with_words(_load(arguments), wanted=options.word_timestamps),
        quiet=arguments.quiet,
    )
    code = job.work()
    if not arguments.quiet and code != EXIT_INTERRUPTED:
        job.summarise()
    return code


def _load(arguments: argparse.Namespace) -> list[ASRModel]:
    from voxport.models import load_models
    from voxport.models.hub.progress import terminal_progress

    return load_models(
        arguments.model,
        arguments.device,
        arguments.dtype,
        threads=arguments.threads,
        precision=arguments.precision,
        graph=arguments.graph,
        recipe=arguments.recipe,
        offline=arguments.offline,
        source=arguments.source,
        progress=terminal_progress(quiet=arguments.quiet),
    )


def _check_destination(arguments: argparse.Namespace) -> None:
    """Refuse what has no place to go."""
    chosen = arguments.output_format
    if arguments.output_dir is not None:
        if not arguments.output_dir:
            raise UsageError("the output folder is empty", hint="`-o .` is the current folder")
        check_folder(Path(arguments.output_dir))
    elif chosen == "all":
        raise UsageError("-f all makes several files", hint="say where to with -o DIR")
    elif arguments.json and chosen not in (None, "json"):
        raise UsageError(
            f"--json and -f {chosen} can't both have standard output",
            hint=f"leave one out, or write the {chosen} files to a folder with -o DIR",
        )


def _subtitles(arguments: argparse.Namespace) -> SubtitleOptions:
    """How subtitles are cut; refused where there are none, or where words have no times to cut by."""
    options = SubtitleOptions(
        max_line_width=arguments.max_line_width,
        max_line_count=arguments.max_line_count,
        max_words_per_line=arguments.max_words_per_line,
        highlight_words=arguments.highlight_words,
    )
    objects = arguments.json and arguments.output_dir is None  # instead of a format
    chosen = arguments.output_format or ("json" if objects else "txt")
    if options != SubtitleOptions() and chosen not in (*SUBTITLE_FORMATS, "all"):
        named = [f"--{field.name}" for field in fields(options) if getattr(options, field.name)]
        hint = f"choose -f srt, vtt or all{', and -o DIR beside --json' if objects else ''}"
        raise UsageError(f"{chosen} has no subtitles for {named[0]}", hint=hint)
    if options.needs_words and arguments.format_dictation:
        hint = "leave one out; --max_line_width breaks the lines of a report too"
        raise UsageError("the words of a formatted report have no times to cut subtitles by", hint=hint)
    return options


def _with_words(models: list[ASRModel], *, wanted: bool) -> list[ASRModel]:
    if wanted and "word_timestamps" not in models[0].supports:
        raise UnsupportedOptionError(
            f"{models[0].name} gives no times of words for --word_timestamps, --max_words_per_line, --highlight_words",
            hint=WORDS_HINT,
        )
    return models


def _destinations(
    arguments: argparse.Namespace, recordings: Sequence[Recording], subtitles: SubtitleOptions
) -> list[Results]:
    """Where results go, by the options; the order is that in which they are written."""
    names = [recording.name for recording in recordings]
    chosen = arguments.output_format or "txt"
    formats = FORMATS if chosen == "all" else [chosen]
    results: list[Results] = []
    if arguments.output_dir is not None:
        results.append(ResultFiles(names, Path(arguments.output_dir), formats, subtitles=subtitles))
    elif chosen in SUBTITLE_FORMATS and len(names) > 1:
        hint = "write a file for each with -o DIR"
        raise UsageError(f"{len(names)} inputs don't go into one {chosen} stream", hint=hint)
    elif chosen != "json" and not arguments.json:
        results.append(TextStream(names, chosen, split=arguments.channels == "split", subtitles=subtitles))
    if arguments.json or (chosen == "json" and arguments.output_dir is None):
        results.append(JSONLines(names))
    return results
