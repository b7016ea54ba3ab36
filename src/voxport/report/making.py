"""From measurements to the folder that a person publishes."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from voxport.report.content import content_of
from voxport.report.figures import figures
from voxport.report.language import LANGUAGES
from voxport.report.logs import logs
from voxport.report.markdown import figure_file, markdown
from voxport.report.page import page
from voxport.report.script_files import script_files
from voxport.report.staging import whole_folder
from voxport.report.sums import SUMS
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from voxport.report.measurements import Measurements
    from voxport.report.recorded_audio import RecordedAudio

__all__ = ["make_report"]

PAGE = "report.html"


def make_report(
    measured: Measurements, folder: Path, *, with_figures: bool = True, audio: Sequence[RecordedAudio] = ()
) -> list[str]:
    """Write everything; returns the files' names in the folder. What an earlier report left there goes.

    Args:
        measured: the run.
        folder: where; it need not be there.
        with_figures: draw them, with matplotlib.
        audio: the sound of each window, for the page alone; empty = it is not embedded.

    Raises:
        OutputError: a file can't be written; the folder is then as it was.
        MissingDependencyError: there is no matplotlib to draw figures `with_figures`.
    """
    with whole_folder(folder) as place:
        return _write(measured, place, with_figures=with_figures, audio=audio)


def _write(measured: Measurements, folder: Path, *, with_figures: bool, audio: Sequence[RecordedAudio]) -> list[str]:
    """All files but `SUMS`; returns their names and that one's."""
    content = content_of(measured, with_figures=with_figures)
    drawn = {code: figures(measured, code) if with_figures else [] for code in LANGUAGES}
    results = [f"results/{name}" for name in measured.write(folder / "results")] + [SUMS]
    scripts = script_files(measured)
    told = {f"logs/{name}": text for name, text in logs(measured, content).items()}
    names = {code: "README.md" if code == "en" else f"README.{code}.md" for code in LANGUAGES}
    options = measured.summary["options"]
    policy = {PurePath(options["policy"]).name: text} if (text := options.get("policy_file")) else {}
    pictures = {figure_file(one, code): one.svg for code, found in drawn.items() for one in found}
    files = [*names.values(), PAGE, *scripts, *policy, *results, *pictures, *told]
    texts = scripts | policy | told | pictures
    for code, name in names.items():
        texts[name] = markdown(measured, content, code, files, drawn[code])
    texts[PAGE] = page(measured, content, files=files, figures=drawn, audio=audio)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return files
