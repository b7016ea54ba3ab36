"""``voxport verify``: two sides do the same work; do they say the same words, and how close are they?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.inputs import every_recording
from voxport.cli.outputs import check_folder
from voxport.cli.parser import integer_from
from voxport.cli.progress import Progress
from voxport.cli.terminal import write_stdout
from voxport.cli.verify_job import VerifyJob
from voxport.errors import AudioError, DecodingError, OutputError, UsageError, VoxportError
from voxport.formats import json_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from voxport.models import ASRModel
    from voxport.sides import Side
    from voxport.verify.policies import Policy, Verdict

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Run a model on two sides over the same recordings: the same features, the same tokens before each
position. Tells whether the words are the same, how close the numbers are, and, where they are not,
in which module the error is made and what it looks like."""

EPILOG = """\
A side is [ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...][@MODEL], ENGINE voxport or transformers:
  npu:1:float16    transformers/cpu:float32    cpu:bfloat16+threads=1    cpu:float32@./finetuned
  keys: batch, threads, precision=strict, graph=yes, recipe=FILE, attention=eager|sdpa (transformers)

examples:
  voxport verify --model whisper-base --candidate npu:float16 clips/*.wav
  voxport verify --model whisper-base --candidate cpu:bfloat16 --policy exact \\
      --reference transformers/cpu:bfloat16 a.wav
  voxport verify --model whisper-base --save ref.trace clips/*.wav                    on one machine
  voxport verify --model whisper-base --against ref.trace --candidate npu clips/*.wav on another
  voxport verify --model whisper-base --save ref.json --private clips/*.wav           telling no word
  voxport verify --model whisper-base --candidate npu:float16 --advise mixed.toml clips/*.wav
  voxport verify --explain                       every metric and policy, defined

policies: words (default), exact, medasr-writeup, whisper-writeup, cann, msprobe, or FILE.toml

exit codes:
  0  the candidate passes the policy
  1  it fails
  2  wrong usage, or a side can't run"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "verify",
        help="two sides, the same work: the same words, and how close",
        usage="voxport verify --candidate SIDE AUDIO... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
    )
    parser.set_defaults(func=run)
    parser.add_argument("inputs", nargs="*", metavar="AUDIO", help='file, folder, or "quoted/*.glob"')
    sides = parser.add_argument_group("what is compared")
    sides.add_argument(
        "--model", default="whisper-base", help="name, Hugging Face id or folder (default: whisper-base)"
    )
    sides.add_argument("--candidate", metavar="SIDE", help="the side to be verified")
    sides.add_argument(
        "--reference", metavar="SIDE", help="what it is held against (default: transformers/cpu:float32)"
    )
    sides.add_argument("--save", metavar="TRACE", help="write what the reference does to a file; no candidate runs")
    sides.add_argument(
        "--private",
        action="store_true",
        help="with --save: hashes and statistics only, nothing that tells what was said",
    )
    sides.add_argument("--against", metavar="TRACE", help="hold the candidate against such a file, made elsewhere")
    sides.add_argument("--language", metavar="L", help="spoken language (default: the reference detects it)")
    sides.add_argument("--no_timestamps", action="store_true", help="decode without timestamps (Whisper)")
    judging = parser.add_argument_group("how it is judged")
    judging.add_argument("--policy", help="what counts as the same (default: words)")
    judging.add_argument(
        "--advise",
        metavar="RECIPE",
        help="if it fails: find a small set of modules that must stay in float32, and write it as a recipe",
    )
    judging.add_argument(
        "--look_at",
        type=integer_from(0, "--look_at"),
        default=2,
        metavar="N",
        help="look at the stages of the first windows of N recordings (default: 2; 0 = end to end only)",
    )
    output = parser.add_argument_group("what comes out")
    output.add_argument("--clips", action="store_true", help="show every window of every recording")
    output.add_argument("--stages", action="store_true", help="show every stage")
    output.add_argument("--json", action="store_true", help="everything that was found, as one JSON object")
    output.add_argument("--explain", action="store_true", help="define every metric and policy, and stop")
    general = parser.add_argument_group("general")
    general.add_argument("--source", help="where to get the model if it is not here")
    general.add_argument("--offline", action="store_true", help="never touch the network")
    general.add_argument("-q", "--quiet", action="store_true", help="no progress")
    general.add_argument("-h", "--help", action="help", help="show this help")


def run(arguments: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    if arguments.explain:
        from voxport.verify.rendering import explain_metrics

        write_stdout("\n".join(explain_metrics()) + "\n")
        return 0
    _check_usage(arguments)
    from voxport.sides import Side
    from voxport.verify import get_policy

    policy = get_policy(arguments.policy or "words")
    if policy.stages and not arguments.look_at and arguments.candidate is not None:
        raise UsageError(f"the policy {policy.name} needs the stages", hint="leave --look_at 0 out")
    candidate = None if arguments.candidate is None else Side.parse(arguments.candidate)
    job = VerifyJob(
        recordings=every_recording(arguments.inputs, "verify"),
        load=lambda side, **options: _load(side, arguments, **options),
        look_at=arguments.look_at,
        language=arguments.language,
        timestamps=not arguments.no_timestamps,
        progress=Progress(enabled=not arguments.quiet),
    )
    try:
        return _run(arguments, candidate, policy, job)
    except DecodingError as error:  # a candidate's is a finding
        raise _unreadable(error, "the reference") from error
    except (AudioError, OutputError) as error:
        raise _unreadable(error) from error
    finally:
        job.progress.clear()


def _run(arguments: argparse.Namespace, candidate: Side | None, policy: Policy, job: VerifyJob) -> int:
    from voxport.verify.private import is_private, render_private
    from voxport.verify.rendering import render

    if candidate is None:
        job.save(arguments.reference, Path(arguments.save), private=arguments.private)
        return 0
    if arguments.against is not None and is_private(Path(arguments.against)):
        if arguments.policy is not None or arguments.advise is not None:
            raise UsageError(
                "a private trace allows for one policy only: the same tokens, and statistics that are as close as "
                "rounding leaves them",
                hint="leave --policy and --advise out; verify --explain says more",
            )
        private, verdict = job.compare_private(candidate, Path(arguments.against))
        _tell(arguments, verdict, private.to_dict(), render_private(private, verdict, all_stages=arguments.stages))
        return 0 if verdict.ok else 1
    recipe = None if arguments.advise is None else Path(arguments.advise)
    against = None if arguments.against is None else Path(arguments.against)
    outcome, advice = job.compare(candidate, arguments.reference, against, policy, recipe)
    verdict = policy.judge(outcome)
    found = {**outcome.to_dict(), **({} if advice is None else {"advice": advice})}
    _tell(arguments, verdict, found, render(outcome, verdict, all_stages=arguments.stages, all_clips=arguments.clips))
    return 0 if verdict.ok else 1


def _tell(arguments: argparse.Namespace, verdict: Verdict, found: dict[str, Any], lines: Iterable[str]) -> None:
    if arguments.json:
        write_stdout(json_line({"verdict": asdict(verdict), **found}))
    else:
        write_stdout("\n".join(lines) + "\n")


def _check_usage(arguments: argparse.Namespace) -> None:
    if (arguments.candidate is None) == (arguments.save is None):
        raise UsageError("verify needs --candidate SIDE, or --save TRACE alone", hint="e.g. --candidate npu:float16")
    if arguments.against is not None and (arguments.reference is not None or arguments.save is not None):
        raise UsageError("--against takes the place of --reference and goes with a --candidate")
    if arguments.private and arguments.save is None:
        raise UsageError("--private is about what --save writes", hint="--against sees by itself what a trace is")
    if arguments.advise is not None and arguments.candidate is None:
        raise UsageError("--advise is about a candidate", hint="name one with --candidate")
    if arguments.advise is not None and not arguments.look_at:
        raise UsageError("--advise needs the stages", hint="leave --look_at 0 out")
    for path in (arguments.save, arguments.advise):
        if path is None:
            continue
        if not path or Path(path).is_dir():
            raise UsageError(f"{path!r} is no file that can be written")
        try:
            check_folder(Path(path).parent, hint=None)
        except OutputError as error:
            raise _unreadable(error) from error
    if arguments.against is not None and (arguments.language is not None or arguments.no_timestamps):
        raise UsageError("--against decodes as its trace was made", hint="leave --language and --no_timestamps out")


def _unreadable(error: VoxportError, name: str = "") -> UsageError:
    """Exit code 1 says that the candidate fails, and nothing else."""
    about = f"{name}: " if name and name not in error.message else ""
    return UsageError(f"{about}{error.message}", hint=error.hint, code=error.code)


def _load(side: Side, arguments: argparse.Namespace, **options: Any) -> ASRModel:
    from voxport.models.hub.progress import terminal_progress

    return side.load(
        arguments.model,
        source=arguments.source,
        progress=terminal_progress(quiet=arguments.quiet),
        **{"offline": arguments.offline, **options},
    )
