"""A score told to people and, with every clip, to programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from voxport.score.bootstrap import FEWEST, LEVEL, SMALL
from voxport.score.excerpts import differences, display_width, excerpt_lines
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.score.alignment import Counts
    from voxport.score.clips import Dataset
    from voxport.score.hypotheses import Origin
    from voxport.score.matching import Matched
    from voxport.score.scoring import Row, Score, ScoredClip

__all__ = ["SCHEMA_VERSION", "Report"]

SCHEMA_VERSION = 1
"""Of the JSON object; raised when a field changes its meaning or goes."""

SHOWN_NAMES = 5
_SHORT = {"words": "WER", "characters": "CER"}


@dataclass(frozen=True)
class Report:
    """All that is told of one score.

    Attributes:
        source: the file of the hypotheses, None = heard now.
        fail_above: the limit of the rates, 0.05 is 5 %; None = there is none.
    """

    dataset: Dataset
    score: Score
    matched: Matched
    source: str | None = None
    fail_above: float | None = None

    @property
    def complete(self) -> bool:
        """Every clip is scored."""
        return not self.matched.failed and not self.matched.missing

    @property
    def within_limit(self) -> bool:
        """No total is above the limit; where nothing could be measured, nothing was shown to be below it."""
        if self.fail_above is None:
            return True
        rates = [row.counts.rate for row in self.score.totals]
        return bool(rates) and all(rate is not None and rate <= self.fail_above for rate in rates)

    @property
    def origins(self) -> Counter[Origin]:
        """Who heard how many clips."""
        return Counter(heard.origin for heard in self.matched.heard.values())

    # For programs ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `--json`, documented in docs/guides/score.md."""
        score, options = self.score, self.score.options
        return {
            "schema": SCHEMA_VERSION,
            "voxport": __version__,
            "data": {
                "name": self.dataset.name,
                "layout": self.dataset.layout,
                "clips": len(self.dataset.clips),
                "notes": list(self.dataset.notes),
            },
            "hypotheses": {
                "source": self.source,
                "made_by": [{**asdict(origin), "clips": count} for origin, count in self.origins.items()],
                "simulated": any(origin.simulated for origin in self.origins),
                "random_weights": any(origin.random_weights for origin in self.origins),
            },
            "normalizers": score.normalizers,
            "unit": options.unit,
            "bootstrap": {
                "level": LEVEL,
                "resamples": options.resamples,
                "seed": options.seed,
                "resample_by": options.resample_by,
            },
            "totals": [_row_dict(row) for row in score.totals],
            "groups": {key: [_row_dict(row) for row in rows] for key, rows in score.groups.items()},
            "silent": {
                "clips": len(score.silent),
                "clips_with_words": sum(one.counts.insertions > 0 for one in score.silent),
                "invented": score.invented,
                "seconds": _seconds(score.silent),
            },
            "confusions": {
                "substitutions": [
                    {"reference": said, "hypothesis": heard, "count": count}
                    for (said, heard), count in score.confusions.substitutions.most_common()
                ],
                "deletions": [{"unit": one, "count": count} for one, count in score.confusions.deletions.most_common()],
                "insertions": [
                    {"unit": one, "count": count} for one, count in score.confusions.insertions.most_common()
                ],
            },
            "clips": [_clip_dict(one) for one in (*score.clips, *score.silent)],
            "failed": [{"id": name, "error": one.error} for name, one in self.matched.failed.items()],
            "missing": [clip.id for clip in self.matched.missing],
            "extra": [heard.names[0] for heard in self.matched.extra],
            "repeated": [heard.names[0] for heard in self.matched.repeated],
            "matched_by_name": self.matched.by_name,
            "notes": self._notes(),
            "fail_above": self.fail_above,
            "ok": self.complete and self.within_limit,
        }

    # For people ------------------------------------------------------------------------------------------------------

    def lines(self, width: int, worst: int, worst_by: str = "rate", frequent: int = 5) -> Iterator[str]:
        """The report as text.

        Args:
            width: columns of the terminal.
            worst: so many clips with their differences.
            worst_by: "rate", or "errors" for the clips with most of them.
            frequent: so many of each kind of confusion.
        """
        yield from self._head()
        for unit in ("words", "characters"):
            yield from self._table(unit)
        yield from self._silent(worst)
        yield from self._frequent(frequent, width)
        yield from self._worst(worst, worst_by, width)
        notes = self._notes()
        if notes:
            yield ""
            yield from (f"note: {note}" for note in notes)
        if self.fail_above is not None:
            yield ""
            yield f"limit: {100 * self.fail_above:g} %, {'kept' if self.within_limit else 'EXCEEDED'}"

    def _head(self) -> Iterator[str]:
        clips = self.dataset.clips
        scored = len(self.score.clips) + len(self.score.silent)
        of = "" if scored == len(clips) else f" of {len(clips)}"
        data = f"{self.dataset.name} ({self.dataset.layout})"
        yield f"data:       {data}, {scored}{of} {_plural(len(clips), 'clip')} scored"
        for origin, count in self.origins.items():
            some = f"{count} {_plural(count, 'clip')} by " if len(self.origins) > 1 else ""
            yield f"heard by:   {some}{_origin(origin)}"
        if self.source is not None:
            yield f"hypotheses: {self.source}"
        for name, languages in self.score.normalizers.items():
            codes = ", ".join(f"{language} {count}" for language, count in sorted(languages.items()))
            yield f"normalizer: {name} ({codes})"
        options = self.score.options
        if options.resamples:
            drawn = f"groups of the same {options.resample_by}" if options.resample_by else "clips"
            yield (
                f"intervals:  {100 * LEVEL:g} %, percentile bootstrap over {drawn}, "
                f"{options.resamples} resamples, seed {options.seed}"
            )

    def _table(self, unit: str) -> Iterator[str]:
        totals = [row for row in self.score.totals if row.unit == unit]
        if not totals:
            return
        groups = {key: [row for row in rows if row.unit == unit] for key, rows in self.score.groups.items()}
        intervals = any(row.interval for rows in (totals, *groups.values()) for row in rows)
        header = ["", "clips", unit, f"{_SHORT[unit]} %", *(["95 % interval"] if intervals else [])]
        header += ["sub", "del", "ins", *(["CER %"] if unit == "words" else [])]
        cells: list[list[str]] = [header, *(_cells(row, intervals) for row in totals)]
        for key, rows in groups.items():
            if rows:
                cells.append([f"by {key}"])
                for row in rows:
                    name, *numbers = _cells(row, intervals)
                    cells.append([f"  {name}", *numbers])
        yield ""
        yield from _aligned(cells)

    def _silent(self, most: int) -> Iterator[str]:
        silent = self.score.silent
        if not silent:
            return
        seconds = _seconds(silent)
        length = "" if seconds is None else f", {seconds:.0f} s"
        with_words = [one for one in silent if one.counts.insertions]
        yield ""
        yield (
            f"nobody speaks (empty reference, in no rate above): {len(silent)} {_plural(len(silent), 'clip')}{length}; "
            f"{self.score.invented} {_plural(self.score.invented, 'word')} invented in {len(with_words)} of them"
        )
        for one in with_words[:most]:
            yield f"  {one.clip.id}: {one.hypothesis.strip()[:200]}"

    def _frequent(self, most: int, width: int) -> Iterator[str]:
        confusions = self.score.confusions
        substitutions = [
            (f"{said} -> {heard}", count) for (said, heard), count in confusions.substitutions.most_common(most)
        ]
        kinds = {
            "said -> heard": substitutions,
            "missed": confusions.deletions.most_common(most),
            "added": confusions.insertions.most_common(most),
        }
        if not most or not any(kinds.values()):
            return
        yield ""
        yield "most frequent"
        for name, found in kinds.items():
            if found:
                line = f"  {name:<14} " + ", ".join(f"{text} ({count})" for text, count in found)
                yield from wrap(line, width, subsequent_indent=" " * 17, break_on_hyphens=False)

    def _worst(self, most: int, worst_by: str, width: int) -> Iterator[str]:
        wrong = [one for one in self.score.clips if one.counts.errors]
        if worst_by == "errors":
            wrong.sort(key=lambda one: -one.counts.errors)
        if not most or not wrong:
            return
        yield ""
        shown = min(most, len(wrong))
        right = len(self.score.clips) - len(wrong)
        yield f"worst clips first ({shown} of {len(wrong)} with errors; {right} without any)"
        for place, one in enumerate(wrong[:most], start=1):
            counts = one.counts
            yield (
                f"{place:>3}. {one.clip.id}  {_SHORT[one.unit]} {_percent(counts.rate)} % ({counts.errors} of "
                f"{counts.length}: {counts.substitutions} sub, {counts.deletions} del, {counts.insertions} ins)"
            )
            if not one.hypothesis_units:
                yield "       nothing was heard"
            else:
                yield from (f"     {line}" for line in excerpt_lines(one, width - 5))

    def _notes(self) -> list[str]:
        matched = self.matched
        notes = [*self.dataset.notes, *self.score.notes]
        rows = [row for rows in (self.score.totals, *self.score.groups.values()) for row in rows]
        drawn = self.score.options.resample_by or "clips"
        if any(row.interval and row.interval.small for row in rows):
            notes.append(f"~ drawn from fewer than {SMALL} ({drawn}): the interval is too narrow, take it as a hint")
        if self.score.options.resamples and any(row.interval is None and row.counts.errors for row in rows):
            notes.append(f"no interval with fewer than {FEWEST} to draw from ({drawn})")
        if any(row.clips >= FEWEST and not row.counts.errors for row in rows):
            notes.append("rows without any error have no interval: it would be 0 to 0, which no data can show")
        if matched.missing:
            names = [clip.id for clip in matched.missing]
            notes.append(f"{len(names)} {_plural(len(names), 'clip')} without a hypothesis, NOT scored: {_some(names)}")
        if matched.failed:
            names = list(matched.failed)
            notes.append(f"{len(names)} {_plural(len(names), 'clip')} failed, NOT scored: {_some(names)}")
        if matched.extra:
            names = [heard.names[0] for heard in matched.extra]
            notes.append(f"{len(names)} {_plural(len(names), 'hypothesis', 'hypotheses')} of no clip: {_some(names)}")
        if matched.repeated:
            names = [heard.names[0] for heard in matched.repeated]
            notes.append(
                f"{len(names)} {_plural(len(names), 'line repeats', 'lines repeat')} a hypothesis: {_some(names)}"
            )
        if matched.by_name:
            notes.append(f"{matched.by_name} hypotheses were matched by file name, their paths are others")
        return notes + [note for origin in self.origins for note in _origin_notes(origin)]


def _origin(origin: Origin) -> str:
    if origin.model is None:
        return "unknown (the hypotheses do not say)"
    identity = f" ({origin.identity[:12]})" if origin.identity else ""
    simulated = f" (SIMULATED: {origin.simulated})" if origin.simulated else ""
    parts = [f"{origin.model}{identity}{f' on {origin.side}' if origin.side else ''}{simulated}"]
    if origin.random_weights:
        parts.append("RANDOM WEIGHTS")
    return ", ".join([*parts, *([origin.options] if origin.options else [])])


def _origin_notes(origin: Origin) -> Iterator[str]:
    if origin.random_weights:
        yield f"{origin.model} has random weights: what it says, and these rates, mean nothing"
    if origin.simulated:
        yield f"heard on a simulated {origin.simulated}, a CPU: words may differ on the real device"


def _cells(row: Row, intervals: bool) -> list[str]:
    counts = row.counts
    cells = [row.name, str(row.clips), str(counts.length), _percent(counts.rate)]
    if intervals:
        found = row.interval
        cells.append("-" if found is None else f"{'~ ' * found.small}{_percent(found.low)} - {_percent(found.high)}")
    cells += [str(counts.substitutions), str(counts.deletions), str(counts.insertions)]
    return [*cells, *([_percent(row.characters.rate)] if row.unit == "words" else [])]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns: names to the left, numbers to the right. A row of one cell is a heading."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(display_width(row[column]) for row in full) for column in range(len(full[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        yield "  ".join([row[0] + " " * (widths[0] - display_width(row[0])), *cells]).rstrip()


def _row_dict(row: Row) -> dict[str, Any]:
    found = row.interval
    return {
        "name": row.name,
        "unit": row.unit,
        "clips": row.clips,
        "seconds": row.seconds,
        "wer": row.counts.rate if row.unit == "words" else None,
        "cer": row.characters.rate,
        **_counts_dict(row.counts),
        "interval": None if found is None else [found.low, found.high],
        "interval_drawn_from": None if found is None else found.drawn,
        "characters": _counts_dict(row.characters),
    }


def _counts_dict(counts: Counts) -> dict[str, Any]:
    return {
        "rate": counts.rate,
        "errors": counts.errors,
        "length": counts.length,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "hits": counts.hits,
    }


def _clip_dict(one: ScoredClip) -> dict[str, Any]:
    joint = " " if one.unit == "words" else ""
    return {
        "id": one.clip.id,
        "audio": one.clip.audio,
        "offset": one.clip.offset,
        "seconds": one.clip.seconds,
        "language": one.clip.language,
        "unit": one.unit,
        "normalizer": one.normalizer,
        **_counts_dict(one.counts),
        "characters": _counts_dict(one.characters),
        "reference": one.clip.reference,
        "hypothesis": one.hypothesis,
        "reference_normalized": joint.join(one.reference_units),
        "hypothesis_normalized": joint.join(one.hypothesis_units),
        "differences": list(differences(one)),
    }


def _seconds(clips: Sequence[ScoredClip]) -> float | None:
    seconds = [one.clip.seconds for one in clips]
    return None if None in seconds else sum(filter(None, seconds))


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return one if count == 1 else many or f"{one}s"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
