"""``README.md`` and ``README.zh.md``: one layout, in two languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2

from voxport.report.commands import commands_of, weight_commands, weights_from
from voxport.report.language import language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.report.content import Content
    from voxport.report.figures import Figure
    from voxport.report.measurements import Measurements

__all__ = ["cell", "figure_file", "markdown"]

FAMILIES = {"whisper": "Whisper", "lasr_ctc": "MedASR"}


def markdown(
    measured: Measurements, content: Content, code: str, files: Sequence[str], figures: Sequence[Figure] = ()
) -> str:
    """The report as Markdown.

    Args:
        measured: the run.
        content: what it says.
        code: of the language.
        files: those that lie beside it, by their names in the folder.
        figures: in the same language.
    """
    words = language(code)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("voxport.report", "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    chip = "" if content.chip == content.device else f" ({content.chip})"
    return environment.get_template("README.md.j2").render(
        content=content,
        summary=measured.summary,
        verdict=measured.verify["verdict"],
        tags=_tags(content),
        languages="[en, zh]",
        device_name=f"{content.device.upper()}{chip}",
        weights=weight_commands(measured),
        weights_from=weights_from(measured),
        commands=commands_of(measured),
        files=files,
        figures={one.name: {"file": figure_file(one, code), "figure": one} for one in figures},
        statement=words.statement,
        heading=words.heading,
        column=words.column,
        text=words.text,
        label=words.label,
    )


def figure_file(figure: Figure, code: str) -> str:
    """Its name in the report's folder."""
    return f"figures/{figure.name}{'' if code == 'en' else f'.{code}'}.svg"


def _tags(content: Content) -> list[str]:
    """A simulated device is no hardware."""
    tags = ["voxport", "speech-recognition", FAMILIES.get(content.family, content.family)]
    return [*tags, content.device.upper()] if content.hardware else tags


def cell(value: Any) -> str:
    """Text that breaks no table, and is no markup."""
    text = " ".join(str(value).split()).replace("\\", "\\\\")
    for mark in "|<>*_`[]":
        text = text.replace(mark, f"\\{mark}")
    return text
