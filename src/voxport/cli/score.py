"""``voxport score``: are the words right."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.parser import integer_from
from voxport.cli.terminal import write_stdout
from voxport.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from voxport.score import Dataset, Matched, ScoringOptions

__all__ = ["add_parser", "run"]

NORMALIZERS = ("whisper-english", "whisper-basic", "google-medasr", "none")

DESCRIPTION = """\
Are the words right: word and character error rates on your own data, with intervals,
per group, and what went wrong, the worst clips first."""

EPILOG = """\
examples:
  voxport score --manifest data.jsonl --hyp heard.jsonl        score what was heard before
  voxport score --manifest data.jsonl --model whisper-small    transcribe it now, and score
  voxport score --data LibriSpeech/test-clean --model whisper-base --side npu:float16
  voxport score --data data_aishell --where subset=test --model whisper-base --save_hyp zh.jsonl
  voxport score --manifest data.jsonl --hyp heard.jsonl --group_by speaker --bootstrap_by speaker
  voxport score --manifest data.jsonl --hyp heard.jsonl --fail_above 5 --json > score.json

A manifest has one JSON object a line: {"audio_filepath": "a.wav", "text": "what was said"}, maybe
with id, lang, duration, offset, and whatever clips are to be grouped by. Paths are relative to its
folder. Hypotheses have pred_text or text beside an id or audio_filepath; it may be the output of
`voxport transcribe --json`.

normalizers, which both texts go through before they are compared:
  whisper-english  English: no case, no punctuation; numbers, contractions, spellings made alike
  whisper-basic    other languages: no case, no punctuation
  google-medasr    MedASR: Google's own; {period} is "period"
  none             case and punctuation count

exit codes:
  0  every clip is scored, and no rate is above the limit
  1  some clips failed or have no hypothesis (the others are scored), or a rate is above the limit
  2  wrong usage, a manifest that can't be used, or the machine or the model is not ready
  130  interrupted; what --save_hyp keeps is there, and the same command goes on from it"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "score",
        help="are the words right: error rates on your own data",
        usage="voxport score --manifest PATH (--hyp FILE | --model M [--side SIDE]) [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    _add_data_options(parser.add_argument_group("what was said"))
    _add_hearing_options(parser.add_argument_group("what was heard: exactly one of --hyp and --model"))
    _add_counting_options(parser.add_argument_group("how it is counted"))
    _add_output_options(parser.add_argument_group("what comes out"))


def _add_data_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--manifest",
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="JSON lines, or a folder of LibriSpeech or AISHELL as it is unpacked",
    )
    group.add_argument(
        "--text_key", metavar="KEY", help="the manifest's key of what was said (default: text, reference, ...)"
    )
    group.add_argument("--language", metavar="L", help="language of the clips whose manifest names none: en or english")
    group.add_argument(
        "--where", action="append", metavar="KEY=VALUE", help="only clips like this (or KEY!=VALUE); may be repeated"
    )
    group.add_argument(
        "--limit", type=integer_from(1, "--limit", highest=10**9), metavar="N", help="only the first N of them"
    )


def _add_hearing_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--hyp", type=Path, metavar="FILE", help="JSON lines of what was heard")
    group.add_argument("--model", help="transcribe now: a name (`voxport models list`), a hub id, or a local folder")
    group.add_argument(
        "--side",
        metavar="SIDE",
        help="where it runs: [ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...], e.g. npu:1:float16 (default: auto)",
    )
    group.add_argument(
        "--save_hyp", type=Path, metavar="FILE", help="keep what is heard there, and don't hear again what it holds"
    )
    group.add_argument(
        "--detect_language", action="store_true", help="the model finds the language; else it is told where it is known"
    )
    group.add_argument("--no-vad", action="store_true", help="do not look for speech first: hear everything")
    group.add_argument("--source", help="where to get the model if it is not here (default: tried in order)")
    group.add_argument("--offline", action="store_true", help="never touch the network")


def _add_counting_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--normalizer",
        "--normaliser",
        choices=NORMALIZERS,
        metavar="NAME",
        help=f"{', '.join(NORMALIZERS)} (default: by language and model)",
    )
    group.add_argument(
        "--unit",
        choices=["auto", "words", "characters"],
        default="auto",
        metavar="UNIT",
        help="words, characters, or auto: characters for zh, ja, yue, th, lo, my, km, bo (default: auto)",
    )
    group.add_argument(
        "--group_by",
        action="append",
        metavar="KEY,...",
        help="a table by each key; KEY+KEY crosses two (default: by language where there are several)",
    )
    group.add_argument(
        "--bootstrap",
        type=integer_from(0, "--bootstrap", highest=10**6),
        default=1000,
        metavar="N",
        help="resamples for the intervals (of 95 per cent), 0 = none",
    )
    group.add_argument(
        "--bootstrap_by", metavar="KEY", help="resample groups of clips, e.g. speaker, instead of single clips"
    )
    group.add_argument(
        "--seed", type=integer_from(0, "--seed", highest=2**63), default=0, metavar="N", help="of the resampling"
    )


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--worst",
        type=integer_from(0, "--worst", highest=10**9),
        default=10,
        metavar="N",
        help="show N clips with what went wrong",
    )
    group.add_argument(
        "--worst_by",
        choices=["rate", "errors"],
        default="rate",
        metavar="rate|errors",
        help="which are the worst: those with the highest rate, or with most errors",
    )
    group.add_argument("--json", action="store_true", help="one JSON object with every clip and all of its differences")
    group.add_argument(
        "--fail_above", type=_percent, metavar="PERCENT", help="exit with 1 if WER (CER for characters) is above it"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no progress; errors still show")
    group.add_argument("-h", "--help", action="help", help="show this help")


def _percent(text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise UsageError(f"--fail_above can't be {text!r}", hint="it is per cent from 0 on: 5 is 5 %")
    return value / 100


def run(arguments: argparse.Namespace) -> int:
    """Score; returns the exit code. What can be checked is checked before a model is loaded."""
    _check(arguments)
    from voxport.score import evaluate, match, read_dataset, read_hypotheses, select, with_language
    from voxport.score.report import Report

    dataset = with_language(read_dataset(arguments.manifest, arguments.text_key), arguments.language)
    dataset = select(dataset, arguments.where or (), arguments.limit)
    options = _options(arguments, dataset)
    if arguments.hyp is not None:
        heard = match(dataset.clips, read_hypotheses(arguments.hyp, arguments.manifest), arguments.hyp.parent)
    else:
        heard = _hear(arguments, dataset)
    texts = {name: one.text for name, one in heard.heard.items() if one.text is not None}
    families = {one.origin.family for one in heard.heard.values()}
    options = replace(options, family=families.pop() if len(families) == 1 else None)
    score = evaluate([(clip, texts[clip.id]) for clip in dataset.clips if clip.id in texts], options)
    report = Report(dataset, score, heard, arguments.hyp and str(arguments.hyp), arguments.fail_above)
    if arguments.json:
        from voxport.formats import json_line

        write_stdout(json_line(report.to_dict()))
    else:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 160)
        write_stdout("\n".join(report.lines(width, arguments.worst, arguments.worst_by)) + "\n")
    return 0 if report.complete and report.within_limit else 1


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.hyp is None) == (arguments.model is None):
        hint = "--hyp FILE scores what was heard before, --model NAME transcribes now"
        both = arguments.hyp is not None
        given = "--hyp and --model are both given" if both else "neither --hyp nor --model is given"
        raise UsageError(given, hint=hint)
    hearing = {"--side": arguments.side, "--save_hyp": arguments.save_hyp, "--source": arguments.source}
    hearing |= {"--detect_language": arguments.detect_language, "--no-vad": arguments.no_vad}
    wanted = [name for name, value in hearing.items() if value]
    if arguments.hyp is not None and wanted:
        raise UsageError(f"{wanted[0]} is for transcribing now, with --model", hint="leave it out with --hyp")
    save = arguments.save_hyp
    if save is not None and save.exists() and arguments.manifest.exists() and save.samefile(arguments.manifest):
        raise UsageError("--save_hyp is the manifest itself", hint="name another file, it would be written over")
    if arguments.model is not None:
        from voxport.sides import Side

        side = Side.parse(arguments.side or "auto")
        if side.model is not None:
            raise UsageError(f"{arguments.side!r} names a model", hint="give it with --model")


def _options(arguments: argparse.Namespace, dataset: Dataset) -> ScoringOptions:
    from voxport.score import ScoringOptions
    from voxport.score.clips import check_key
    from voxport.score.manifest import LANGUAGE_KEYS

    keys = [key for given in arguments.group_by or () for key in given.split(",") if key]
    if not keys:
        values = {key: {clip.keys[key] for clip in dataset.clips if clip.keys.get(key)} for key in LANGUAGE_KEYS}
        keys = [key for key in LANGUAGE_KEYS if len(values[key]) > 1][:1]
    by = arguments.bootstrap_by
    for part in [part for key in keys for part in key.split("+")] + ([by] if by else []):
        check_key(dataset, part)
    return ScoringOptions(
        normalizer=arguments.normalizer,
        unit=arguments.unit,
        group_by=tuple(dict.fromkeys(keys)),
        resamples=arguments.bootstrap,
        seed=arguments.seed,
        resample_by=by,
    )


def _hear(arguments: argparse.Namespace, dataset: Dataset) -> Matched:
    """Transcribe the clips now."""
    from voxport.cli.score_job import ScoreJob
    from voxport.models.hub.progress import terminal_progress
    from voxport.score.listening import Listener
    from voxport.sides import Side

    side = Side.parse(arguments.side or "auto")

    def load() -> Listener:
        model = side.load(
            arguments.model,
            source=arguments.source,
            offline=arguments.offline,
            progress=terminal_progress(quiet=arguments.quiet),
        )
        return Listener(model, side, detect=arguments.detect_language, vad=not arguments.no_vad)

    return ScoreJob(dataset.clips, load, save=arguments.save_hyp, quiet=arguments.quiet).work()
