"""``voxport report``: the adaptation report of a model on a device, from measurements of one run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.inputs import every_recording
from voxport.cli.outputs import check_folder
from voxport.cli.parser import integer_from, points_of
from voxport.cli.progress import Progress
from voxport.cli.report_check import add_check
from voxport.cli.report_diff import add_diff
from voxport.cli.signals import deferred
from voxport.cli.terminal import note, write_stdout
from voxport.errors import OutputError, UsageError
from voxport.formats import json_line

if TYPE_CHECKING:
    import argparse

    from voxport.report import Measurements

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Make the report that goes with a model brought to an accelerator: environment, weights, inference,
accuracy with its verdict, speed, logs, known problems, and what was not measured; in English and
in Chinese. Everything in it is measured now: doctor, verify and bench, and score with --manifest."""

EPILOG = """\
A side is [ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...][@MODEL], see `voxport verify --help`.

examples:
  voxport report --model whisper-medium --candidate npu:float16 clips/*.wav -o whisper-medium-npu
  voxport report --model ./medasr --candidate npu --policy medasr-writeup \\
      --manifest clips/manifest.jsonl clips/*.wav -o medasr-npu --zip
  voxport report diff before after.zip          what changed, and whether it is worse
  voxport report check medasr-npu.zip           whether its files are as they were written

exit codes:
  0  the candidate passes the policy
  1  it fails; the report is there and says so
  2  wrong usage, or a side can't run
  130  interrupted; an earlier report in DIR is as it was"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "report",
        help="the adaptation report of a model on a device",
        usage="voxport report --candidate SIDE AUDIO... -o DIR [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument("inputs", nargs="*", metavar="AUDIO", help='file, folder, or "quoted/*.glob"')
    about = parser.add_argument_group("what it is about")
    about.add_argument(
        "--model", default="whisper-base", help="name, Hugging Face id or folder (default: whisper-base)"
    )
    about.add_argument("--candidate", metavar="SIDE", help="the side that is reported on")
    about.add_argument(
        "--reference", metavar="SIDE", help="what it is held against (default: transformers/cpu:float32)"
    )
    about.add_argument("--policy", default="words", help="what the candidate must pass (default: words)")
    about.add_argument("--language", metavar="L", help="spoken language (default: the reference detects it)")
    about.add_argument(
        "--manifest", type=Path, metavar="DATA", help="what was said, as `voxport score` takes it: error rates too"
    )
    effort = parser.add_argument_group("how much is measured")
    effort.add_argument(
        "--warmup", type=integer_from(0, "--warmup"), default=3, metavar="N", help="untimed rounds (default: 3)"
    )
    effort.add_argument(
        "--iterations", type=integer_from(1, "--iterations"), default=10, metavar="N", help="timed (default: 10)"
    )
    effort.add_argument(
        "--look_at",
        type=integer_from(1, "--look_at"),
        default=2,
        metavar="N",
        help="look at the stages of N recordings (default: 2)",
    )
    effort.add_argument(
        "--points",
        type=points_of,
        metavar="X,Y,...",
        help="seconds of audio at which the time is measured over length (default: 1,5,10,30)",
    )
    effort.add_argument("--no-sweep", action="store_true", help="do not measure the time over length")
    output = parser.add_argument_group("what comes out")
    output.add_argument("-o", "--output", metavar="DIR", help="folder of the report; an earlier one there is replaced")
    output.add_argument("--zip", action="store_true", help="DIR.zip beside it too, to be sent: the report's files only")
    output.add_argument(
        "--embed-audio", action="store_true", help="the recordings too, in report.html: people's voices"
    )
    output.add_argument("--no-figures", action="store_true", help="draw no figures (they need matplotlib)")
    output.add_argument("--json", action="store_true", help="the files and the verdict, as one JSON object")
    general = parser.add_argument_group("general")
    general.add_argument("--source", help="where to get the model if it is not here")
    general.add_argument("--offline", action="store_true", help="never touch the network")
    general.add_argument("-q", "--quiet", action="store_true", help="no progress")
    general.add_argument("-h", "--help", action="help", help="show this help")
    add_diff(parser)
    add_check(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and write; returns the exit code."""
    if arguments.candidate is None:
        raise UsageError("report needs --candidate SIDE", hint="e.g. --candidate npu:float16")
    if arguments.output is None:
        raise UsageError("report needs a folder", hint="-o DIR")
    folder = Path(arguments.output)
    check_folder(folder, hint="-o takes a folder")
    from voxport.models.hub.progress import terminal_progress
    from voxport.report import ReportOptions, make_report, measure
    from voxport.report.figures import require_matplotlib
    from voxport.report.options import POINTS
    from voxport.report.packing import pack, zip_path
    from voxport.report.preflight import check
    from voxport.report.recorded_audio import recorded_audio
    from voxport.report.sums import SUMS, digest_of
    from voxport.sides import Side

    if arguments.zip:
        check_folder(zip_path(folder).parent, hint=None)
    if not arguments.no_figures:
        require_matplotlib()
    if arguments.no_sweep and arguments.points is not None:
        raise UsageError("--points are those of the sweep that --no-sweep leaves out")
    options = ReportOptions(
        model=arguments.model,
        candidate=Side.parse(arguments.candidate),
        reference=None if arguments.reference is None else Side.parse(arguments.reference),
        policy=arguments.policy,
        warmup=arguments.warmup,
        iterations=arguments.iterations,
        language=arguments.language,
        look_at=arguments.look_at,
        manifest=arguments.manifest,
        points=None if arguments.no_sweep else arguments.points or POINTS,
        source=arguments.source,
        offline=arguments.offline,
    )
    check(options)
    recordings = every_recording(arguments.inputs, "report")
    progress = Progress(enabled=not arguments.quiet)
    try:
        measured = measure(options, recordings, progress=terminal_progress(quiet=arguments.quiet), tell=progress.status)
    finally:
        progress.clear()
    try:
        audio = recorded_audio(measured.verify["windows"], recordings) if arguments.embed_audio else ()
        with deferred():
            files = make_report(measured, folder, with_figures=not arguments.no_figures, audio=audio)
            packed = str(pack(folder)) if arguments.zip else None
    except Exception:
        _keep(measured, folder)
        raise
    verdict, digest = measured.verify["verdict"], digest_of(folder)
    if arguments.json:
        found = {"folder": str(folder), "files": files, "zip": packed, "sha256": digest, "verdict": verdict}
        write_stdout(json_line(found))
    else:
        word = "PASS" if verdict["ok"] else "FAIL"
        paths = [*(str(folder / name) for name in files), *([packed] if packed else [])]
        write_stdout("\n".join([f"{word} ({verdict['policy']})", *paths, f"sha256 of {SUMS}: {digest}"]) + "\n")
    return 0 if verdict["ok"] else 1


def _keep(measured: Measurements, folder: Path) -> None:
    """What took minutes to measure, where the report of it can't be made; the error is told by whoever raised it."""
    place = folder.with_name(f"{folder.resolve().name}.measurements")
    with suppress(OutputError):  # the same disk may be full
        measured.write(place)
        note(
            "kept",
            f"what was measured is in {place}: voxport.report.Measurements.read and make_report go on from there",
        )
