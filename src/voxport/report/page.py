"""``report.html``: the report in one file that loads nothing, in all languages, with the words that differ marked."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Protocol

import jinja2
from markupsafe import Markup

from voxport.report.all_languages import AllLanguages
from voxport.report.commands import commands_of, weight_commands, weights_from
from voxport.report.language import LANGUAGES, language
from voxport.report.word_marks import marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from voxport.report.content import Clip, Content, Row
    from voxport.report.measurements import Measurements
    from voxport.report.recorded_audio import RecordedAudio
    from voxport.report.word_marks import Piece

__all__ = ["Figure", "page"]

IN_ACCURACY = ("error_per_layer", "logit_differences")
IN_PERFORMANCE = ("latency", "rtf_over_length", "speed_up", "memory_over_time")
GLANCE = (
    ("accuracy", "wer"),
    ("accuracy", "text_identical"),
    ("accuracy", "max_probability"),
    ("performance", "end_to_end.rtfx"),
    ("performance", "speed_up.end_to_end"),
)
"""(table, row) of what stands beside the verdict."""


class Figure(Protocol):
    """A picture: `svg` is a whole ``<svg>`` element that loads nothing, with the title drawn in it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def svg(self) -> str: ...


@dataclass(frozen=True)
class Shown:
    """One window as the page shows it.

    Attributes:
        number: from 1, in the order of the recordings.
        state: "failed", "differs" (in words), "form" (case or punctuation only) or "same".
        reference, candidate: the texts in pieces.
        audio: its sound as an address, or None.
    """

    number: int
    clip: Clip
    state: str
    reference: Sequence[Piece]
    candidate: Sequence[Piece]
    audio: str | None

    @property
    def same_tokens(self) -> int:
        """None below zero: a candidate may say more that is wrong than the reference says at all."""
        return max(0, self.clip.tokens[1] - self.clip.tokens[0])


def page(
    measured: Measurements,
    content: Content,
    *,
    files: Sequence[str],
    figures: Mapping[str, Sequence[Figure]],
    audio: Sequence[RecordedAudio],
) -> str:
    """The report as HTML.

    Args:
        measured: the run.
        content: what it says.
        files: those that lie beside it, by their names in the folder.
        figures: language -> its figures; languages without any show none.
        audio: the sound of each window, in their order; empty = it is not embedded.

    Raises:
        ValueError: sound for another number of windows.
    """
    if audio and len(audio) != len(content.clips):
        raise ValueError(f"sound of {len(audio)} windows for a report of {len(content.clips)}")
    style, script = (_template(name).strip() for name in ("report.css", "report.js"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("voxport.report", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    clips = sorted(_shown(content.clips, audio), key=_worst_first)
    drawn = _by_name(figures)
    chip = "" if content.chip == content.device else f" ({content.chip})"
    return environment.get_template("report.html.j2").render(
        content=content,
        summary=measured.summary,
        verdict=measured.verify["verdict"],
        asks=measured.verify["asks"],
        sides={name: measured.verify[name]["side"] for name in ("reference", "candidate")},
        device_name=f"{content.device.upper()}{chip}",
        glance=_glance(content),
        performance=_groups(content.performance),
        clips=clips,
        differing=sum(shown.state != "same" for shown in clips),
        figures={
            "accuracy": [drawn[name] for name in IN_ACCURACY if name in drawn],
            "performance": [drawn[name] for name in IN_PERFORMANCE if name in drawn],
            "others": [one for name, one in drawn.items() if name not in IN_ACCURACY + IN_PERFORMANCE],
        },
        sound=sum(len(one.data) for one in audio),
        spoken=_spoken_language(measured),
        weights=weight_commands(measured),
        weights_from=weights_from(measured),
        commands=commands_of(measured),
        files=files,
        say=AllLanguages(),
        languages={code: language(code).words["page"] for code in LANGUAGES},
        title=language("en").heading("title", model=content.model, device=f"{content.device.upper()}{chip}"),
        style=Markup(style),
        script=Markup(script),
        security=_security(script),
        svg=Markup,
    )


def _template(name: str) -> str:
    return (resources.files("voxport.report") / "templates" / name).read_text(encoding="utf-8")


def _security(script: str) -> str:
    """The policy that a browser enforces: nothing is loaded, and this script alone runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(clips: Iterable[Clip], audio: Sequence[RecordedAudio]) -> Iterator[Shown]:
    for index, clip in enumerate(clips):
        if clip.failure is not None:
            state, pieces = "failed", marked(clip.reference, clip.reference)
        else:
            pieces = marked(clip.reference, clip.candidate)
            marks = {piece.mark for side in pieces for piece in side}
            state = "same" if marks <= {"equal"} else "form" if marks <= {"equal", "form"} else "differs"
        yield Shown(index + 1, clip, state, *pieces, audio[index].uri if audio else None)


def _worst_first(shown: Shown) -> tuple[int, int, int]:
    return ("failed", "differs", "form", "same").index(shown.state), -shown.clip.words[0], shown.number


def _glance(content: Content) -> list[Row]:
    rows = {(table, row.key): row for table in ("accuracy", "performance") for row in getattr(content, table)}
    return [rows[place] for place in GLANCE if place in rows]


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Neighbours whose keys begin alike."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0].key.partition(".")[0] == row.key.partition(".")[0]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _by_name(figures: Mapping[str, Sequence[Figure]]) -> dict[str, dict[str, Figure]]:
    """Name -> language -> figure."""
    found: dict[str, dict[str, Figure]] = {}
    for code in LANGUAGES:
        for figure in figures.get(code, ()):
            found.setdefault(figure.name, {})[code] = figure
    return found


def _spoken_language(measured: Measurements) -> str:
    """The tag of what is said, for a browser's fonts and voices; empty = not known."""
    given = measured.summary["options"]["language"] or ""
    if not given and (
        measured.summary["model"]["family"] == "lasr_ctc" or measured.summary["model"]["name"].endswith(".en")
    ):
        return "en"
    return given if re.fullmatch("[a-z]{2,3}", given) else ""
