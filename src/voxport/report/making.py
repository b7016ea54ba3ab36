"""From measurements to the folder that a person publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.report.content import content_of
from voxport.report.language import LANGUAGES
from voxport.report.logs import logs
from voxport.report.markdown import markdown
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


def make_report(measured: Measurements, folder: Path, *, audio: Sequence[RecordedAudio] = ()) -> list[str]:
    """Write everything; returns the files' names in the folder. What an earlier report left there goes.

    Args:
        measured: the run.
        folder: where; it need not be there.
        audio: the sound of each window, for the page alone; empty = it is not embedded.

    Raises:
        OutputError: a file can't be written; the folder is then as it was.
    """
    with whole_folder(folder) as place:
        return _write(measured, place, audio)


def _write(measured: Measurements, folder: Path, audio: Sequence[RecordedAudio]) -> list[str]:
    """All files but `SUMS`; returns their names and that one's."""
    content = content_of(measured)
    results = [f"results/{name}" for name in measured.write(folder / "results")] + [SUMS]
    scripts = script_files(measured)
    told = {f"logs/{name}": text for name, text in logs(measured, content).items()}
    names = {code: "README.md" if code == "en" else f"README.{code}.md" for code in LANGUAGES}
    files = [*names.values(), PAGE, *scripts, *results, *told]
    texts = scripts | told
    for code, name in names.items():
        texts[name] = markdown(measured, content, code, files)
    texts[PAGE] = page(measured, content, files=files, figures={}, audio=audio)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return files
