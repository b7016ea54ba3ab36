"""The error rates of both sides on the same data, as ``voxport score --json`` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.errors import OutputError, VoxportError
from voxport.score import Heard, Matched, ScoringOptions, evaluate, read_dataset, with_language
from voxport.score.listening import Listener, check_recordings
from voxport.score.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voxport.models.hub.progress import Progress
    from voxport.report.options import ReportOptions
    from voxport.score import Dataset
    from voxport.sides import Side

__all__ = ["score_sides"]


def score_sides(
    options: ReportOptions,
    sides: Mapping[str, Side],
    progress: Progress | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Each side hears all clips of `options.manifest`; name -> its rates.

    Raises:
        VoxportError: one that every clip would meet alike. A clip that fails is in the rates' list of failures.
    """
    assert options.manifest is not None
    dataset = with_language(read_dataset(options.manifest, None), options.language)
    return {name: _rates(side, dataset, options, progress, tell) for name, side in sides.items()}


def _rates(
    side: Side, dataset: Dataset, options: ReportOptions, progress: Progress | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    tell(f"loading {side} ...")
    listener = Listener(
        side.load(options.model, source=options.source, offline=options.offline, progress=progress), side
    )
    listener.check(dataset.clips)
    heard: dict[str, Heard] = {}
    failed = {
        name: Heard(None, error=error.to_dict(), names=(name,))
        for name, error in check_recordings(dataset.clips).items()
    }
    with side.running():
        for index, clip in enumerate(dataset.clips, start=1):
            if clip.id in failed:
                continue
            tell(f"are the words right: {side}, clip {index} of {len(dataset.clips)}  {clip.id}")
            try:
                heard[clip.id] = listener.hear(clip).heard
            except VoxportError as error:
                if error.exit_code != 1 or isinstance(error, OutputError):
                    raise
                failed[clip.id] = Heard(None, error=error.to_dict(), names=(clip.id,))
    texts = [(clip, one.text) for clip in dataset.clips if (one := heard.get(clip.id)) and one.text is not None]
    score = evaluate(texts, ScoringOptions(family=listener.model.info.family))
    return Report(dataset, score, Matched(heard, failed, (), (), ())).to_dict()
