"""``voxport verify``: two sides do the same work; do they say the same words, and how close are they?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.cli.inputs import find_recordings
from voxport.cli.outputs import check_folder
from voxport.cli.parser import integer_from
from voxport.cli.progress import Progress
from voxport.cli.terminal import warn, write_stdout
from voxport.errors import AudioError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from voxport.models.recipe import Recipe
    from voxport.sides import Side
    from voxport.verify.comparing import Loaded, Window, Work
    from voxport.verify.outcome import Outcome
    from voxport.verify.policies import Policy

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
    sides.add_argument("--against", metavar="TRACE", help="hold the candidate against such a file, made elsewhere")
    sides.add_argument("--language", metavar="L", help="spoken language (default: the reference detects it)")
    sides.add_argument("--no_timestamps", action="store_true", help="decode without timestamps (Whisper)")
    judging = parser.add_argument_group("how it is judged")
    judging.add_argument("--policy", default="words", help="what counts as the same (default: words)")
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
    from voxport.verify.rendering import explain_metrics, render

    if arguments.explain:
        write_stdout("\n".join(explain_metrics()) + "\n")
        return 0
    if (arguments.candidate is None) == (arguments.save is None):
        raise UsageError("verify needs --candidate SIDE, or --save TRACE alone", hint="e.g. --candidate npu:float16")
    if arguments.against is not None and (arguments.reference is not None or arguments.save is not None):
        raise UsageError("--against takes the place of --reference and goes with a --candidate")
    if not arguments.inputs:
        raise UsageError("verify needs recordings", hint="name some files or a folder of real speech")
    from voxport.sides import Side
    from voxport.verify import get_policy

    policy = get_policy(arguments.policy)
    _check_advice(arguments)
    if arguments.save is not None:
        check_folder(Path(arguments.save).parent)
    if policy.stages and not arguments.look_at and arguments.candidate is not None:
        raise UsageError(f"the policy {policy.name} needs the stages", hint="leave --look_at 0 out")
    candidate = None if arguments.candidate is None else Side.parse(arguments.candidate)
    recordings = _recordings(arguments.inputs)
    progress = Progress(enabled=not arguments.quiet)
    try:
        outcome, advice = _work(arguments, candidate, recordings, policy, progress)
    except AudioError as error:
        raise _unreadable(error) from error
    finally:
        progress.clear()
    if outcome is None:
        return 0
    verdict = policy.judge(outcome)
    if arguments.json:
        from dataclasses import asdict

        value = {"verdict": asdict(verdict), **outcome.to_dict(), **({} if advice is None else {"advice": advice})}
        write_stdout(json.dumps(_finite(value), ensure_ascii=False) + "\n")
    else:
        write_stdout("\n".join(render(outcome, verdict, all_stages=arguments.stages)) + "\n")
    return 0 if verdict.ok else 1


def _check_advice(arguments: argparse.Namespace) -> None:
    if arguments.advise is None:
        return
    if arguments.candidate is None:
        raise UsageError("--advise is about a candidate", hint="name one with --candidate")
    if not arguments.look_at:
        raise UsageError("--advise needs the stages", hint="leave --look_at 0 out")
    check_folder(Path(arguments.advise).parent)


def _work(
    arguments: argparse.Namespace,
    candidate: Side | None,
    recordings: list[str],
    policy: Policy,
    progress: Progress,
) -> tuple[Outcome | None, dict[str, Any] | None]:
    """Compare, and advise where that is asked for; or write what the reference does where there is no candidate."""
    from voxport.sides import Side, default_reference
    from voxport.types import DecodingOptions
    from voxport.verify import Comparison, Loaded, RecordedModel, Work, save_trace, windows_of

    def show(done: int, total: int, file: str) -> None:
        progress.status(f"window {done + 1} of {total}  {file}")

    told: str | None = None
    if arguments.against is not None:
        recorded = RecordedModel(Path(arguments.against))
        reference = Loaded(Side.parse(recorded.facts.side), recorded)
        options = recorded.options
    else:
        side, told = (Side.parse(arguments.reference), None) if arguments.reference else default_reference()
        options = DecodingOptions(
            language=arguments.language, timestamps=not arguments.no_timestamps, no_speech_threshold=None
        )
        reference = Loaded(side, _load(side, arguments, progress))
    if told:
        warn(told)
    work = Work(options, look_at=arguments.look_at)
    if candidate is None:
        save_trace(Path(arguments.save), reference, windows_of(recordings, reference.model), work, show)
        return None, None
    loaded = Loaded(candidate, _load(candidate, arguments, progress))
    windows = windows_of(recordings, loaded.model)
    notes = [told] if told else []
    outcome = Comparison(reference, loaded, work, show).run(windows, notes)
    if arguments.advise is None or policy.judge(outcome).ok:
        return outcome, None
    advised, advice = _advise(arguments, outcome, reference, windows, work, policy, progress)
    if advised is None:
        return replace(outcome, notes=(*outcome.notes, advice["text"])), advice
    loaded = Loaded(advised, _load(advised, arguments, progress))
    return Comparison(reference, loaded, work, show).run(windows, [*notes, advice["text"]]), advice


def _advise(
    arguments: argparse.Namespace,
    failed: Outcome,
    reference: Loaded,
    windows: Sequence[Window],
    work: Work,
    policy: Policy,
    progress: Progress,
) -> tuple[Side | None, dict[str, Any]]:
    """Write a recipe with which the candidate passes; the side that it makes, and what to tell."""
    from voxport.sides import Side
    from voxport.verify import Loaded, advise

    side = Side.parse(arguments.candidate)
    if side.engine != "voxport" or side.recipe is not None or failed.candidate.dtype == "float32":
        raise UsageError(
            f"there is nothing to advise for {side}: a recipe is for voxport's own engine in float16 or bfloat16"
        )

    def load(recipe: Recipe) -> Loaded:
        return Loaded(side, side.load(arguments.model, source=arguments.source, offline=True, recipe=recipe))

    advice = advise(reference, load, windows, work, policy, failed, progress.status)
    if advice.recipe is None:
        text = f"no recipe: it fails even with all {advice.modules} modules in float32, so precision is not the cause"
        return None, {"recipe": None, "modules": advice.modules, "trials": advice.trials, "text": text}
    found = {
        "model": failed.model,
        "weights": failed.reference.identity,
        "candidate": str(side),
        "reference": failed.reference.side,
        "policy": policy.name,
        "windows": str(len(windows)),
        "kept": f"{len(advice.recipe.float32)} of {advice.modules} modules",
    }
    replace(advice.recipe, found=tuple(found.items())).write(Path(arguments.advise))
    text = (
        f"without a recipe it fails; {arguments.advise} keeps {len(advice.recipe.float32)} of {advice.modules} modules "
        f"in float32, {advice.near_range} of them since their values come near the end of float16's range "
        f"({advice.trials} trials)"
    )
    told = {
        "recipe": arguments.advise,
        "float32": list(advice.recipe.float32),
        "near_range": advice.near_range,
        "modules": advice.modules,
        "trials": advice.trials,
        "text": text,
    }
    return replace(side, recipe=arguments.advise), told


def _recordings(inputs: list[str]) -> list[str]:
    """Every one must be readable: a comparison of what is left would prove less than it says."""
    found = find_recordings(inputs)
    for recording in found:
        if recording.error is not None:
            raise _unreadable(recording.error, recording.name)
    if "-" in inputs:
        raise UsageError("verify reads recordings twice, standard input only once", hint="write it to a file first")
    return [recording.name for recording in found]


def _unreadable(error: AudioError, name: str = "") -> UsageError:
    """Exit code 1 says that the candidate fails, and nothing else."""
    about = f"{name}: " if name and name not in error.message else ""
    return UsageError(f"{about}{error.message}", hint=error.hint, code=error.code)


def _load(side: Any, arguments: argparse.Namespace, progress: Progress) -> Any:
    from voxport.models.hub.progress import terminal_progress

    progress.status(f"loading {side}")
    model = side.load(
        arguments.model,
        source=arguments.source,
        offline=arguments.offline,
        progress=terminal_progress(quiet=arguments.quiet),
    )
    progress.clear()
    return model


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
