"""From measurements to the folder that a person publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.report.content import content_of
from voxport.report.figures import figures
from voxport.report.language import LANGUAGES
from voxport.report.logs import logs
from voxport.report.markdown import figure_file, markdown
from voxport.report.script_files import script_files
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.report.measurements import Measurements

__all__ = ["make_report"]


def make_report(measured: Measurements, folder: Path, *, with_figures: bool = True) -> list[str]:
    """Write everything; returns the files' names in the folder.

    Raises:
        OutputError: a file can't be written.
        MissingDependencyError: there is no matplotlib to draw figures `with_figures`.
    """
    content = content_of(measured, with_figures=with_figures)
    drawn = {code: figures(measured, code) if with_figures else [] for code in LANGUAGES}
    results = [f"results/{name}" for name in measured.write(folder / "results")]
    scripts = script_files(measured)
    told = {f"logs/{name}": text for name, text in logs(measured, content).items()}
    names = {code: "README.md" if code == "en" else f"README.{code}.md" for code in LANGUAGES}
    pictures = {figure_file(one, code): one.svg for code, found in drawn.items() for one in found}
    files = [*names.values(), *scripts, *results, *pictures, *told]
    texts = scripts | told | pictures
    for code, name in names.items():
        texts[name] = markdown(measured, content, code, files, drawn[code])
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return files
