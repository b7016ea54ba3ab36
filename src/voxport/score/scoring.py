"""Clips and what was heard in them -> counts, rates with their intervals, and what went wrong."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from voxport.score.alignment import Confusions, Counts, Edit, align, count_characters
from voxport.score.bootstrap import Interval, interval
from voxport.score.units import Unit, default_normalizer, loses_marks, split, unit_of
from voxport.text import get_normalizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.score.clips import Clip

__all__ = ["Row", "Score", "ScoredClip", "ScoringOptions", "evaluate", "score_clip"]

ALL = "all"
NO_VALUE = "(none)"


@dataclass(frozen=True)
class ScoringOptions:
    """How to score.

    Attributes:
        normalizer: name of one for all clips, None = by the language and the model's family.
        unit: "words", "characters", or "auto" for characters where a language puts no spaces between words.
        group_by: keys to make a table of each; ``a+b`` crosses two.
        resamples, seed: of the bootstrap; 0 resamples = no intervals.
        resample_by: a key whose values are drawn together in the bootstrap (speaker), None = clips.
        family: of the model that heard, where it is known.
    """

    normalizer: str | None = None
    unit: Literal["auto", "words", "characters"] = "auto"
    group_by: Sequence[str] = ()
    resamples: int = 1000
    seed: int = 0
    resample_by: str | None = None
    family: str | None = None


@dataclass(frozen=True)
class ScoredClip:
    """One clip with its alignment.

    Attributes:
        hypothesis: as it was heard, before the normaliser.
        unit: what `counts` counts.
        reference_units, hypothesis_units: after the normaliser.
        counts: errors in the unit.
        characters: errors in characters; the same as `counts` where those are the unit.
    """

    clip: Clip
    hypothesis: str
    normalizer: str
    unit: Unit
    reference_units: tuple[str, ...]
    hypothesis_units: tuple[str, ...]
    edits: tuple[Edit, ...]
    counts: Counts
    characters: Counts


@dataclass(frozen=True)
class Row:
    """A line of the table: some clips of one unit, pooled."""

    name: str
    unit: Unit
    clips: int
    seconds: float | None
    counts: Counts
    characters: Counts
    interval: Interval | None


@dataclass(frozen=True)
class Score:
    """What came out.

    Attributes:
        options: how it was scored.
        clips: those with a reference, the worst first.
        silent: those whose reference has no words: nothing should be heard in them. They are in no rate.
        totals: one row for words, one for characters, as there are.
        groups: key -> its rows.
        confusions: over `clips`.
        normalizers: name -> the languages it was used for, with their numbers of clips.
        notes: what a reader should know of the numbers.
    """

    options: ScoringOptions
    clips: Sequence[ScoredClip]
    silent: Sequence[ScoredClip]
    totals: Sequence[Row]
    groups: dict[str, list[Row]]
    confusions: Confusions
    normalizers: dict[str, dict[str, int]]
    notes: list[str] = field(default_factory=list)

    @property
    def invented(self) -> int:
        """Units heard where nobody speaks."""
        return sum(one.counts.insertions for one in self.silent)


def score_clip(clip: Clip, hypothesis: str, options: ScoringOptions) -> ScoredClip:
    """Normalise both texts, part them into units and align them."""
    name = options.normalizer or default_normalizer(clip.language, options.family)
    normalize = get_normalizer(name)
    unit = unit_of(clip) if options.unit == "auto" else options.unit
    said, heard = normalize(clip.reference), normalize(hypothesis)
    reference, guess = split(said, unit), split(heard, unit)
    edits, counts = align(reference, guess)
    characters = counts if unit == "characters" else count_characters(said, heard)
    return ScoredClip(clip, hypothesis, name, unit, reference, guess, edits, counts, characters)


def evaluate(heard: Iterable[tuple[Clip, str]], options: ScoringOptions | None = None) -> Score:
    """Score all clips that were heard.

    Args:
        heard: clips, each with what was heard in it.

    Raises:
        UsageError: an unknown normaliser.
    """
    options = options or ScoringOptions()
    scored = [score_clip(clip, text, options) for clip, text in heard]
    spoken = [one for one in scored if one.reference_units]
    confusions = Confusions()
    for one in spoken:
        confusions.add(one.reference_units, one.hypothesis_units, one.edits)
    return Score(
        options=options,
        clips=sorted(spoken, key=lambda one: (-(one.counts.rate or 0.0), -one.counts.errors, one.clip.id)),
        silent=sorted((one for one in scored if not one.reference_units), key=lambda one: -one.counts.insertions),
        totals=_rows({ALL: spoken}, options),
        groups={key: _rows(_grouped(spoken, key), options) for key in options.group_by},
        confusions=confusions,
        normalizers=_normalizers(scored),
        notes=list(_notes(scored)),
    )


def _rows(groups: dict[str, list[ScoredClip]], options: ScoringOptions) -> list[Row]:
    """Words first, then characters: rates of the two don't add up."""
    units: tuple[Unit, ...] = ("words", "characters")
    return [
        _row(name, unit, members, options)
        for unit in units
        for name, clips in groups.items()
        if (members := [one for one in clips if one.unit == unit])
    ]


def _row(name: str, unit: Unit, clips: Sequence[ScoredClip], options: ScoringOptions) -> Row:
    key = options.resample_by
    seconds = [one.clip.seconds for one in clips]
    return Row(
        name=name,
        unit=unit,
        clips=len(clips),
        seconds=None if None in seconds else sum(filter(None, seconds)),
        counts=sum((one.counts for one in clips), Counts()),
        characters=sum((one.characters for one in clips), Counts()),
        interval=interval(
            [one.counts.errors for one in clips],
            [one.counts.length for one in clips],
            resamples=options.resamples,
            seed=options.seed,
            clusters=None if key is None else [_cluster(one.clip, key) for one in clips],
        ),
    )


def _cluster(clip: Clip, key: str) -> str:
    """Clips without the key are each on their own."""
    return clip.keys.get(key) or f"\0{clip.id}"


def _grouped(clips: Sequence[ScoredClip], key: str) -> dict[str, list[ScoredClip]]:
    groups: defaultdict[str, list[ScoredClip]] = defaultdict(list)
    for one in clips:
        groups[", ".join(one.clip.keys.get(part) or NO_VALUE for part in key.split("+"))].append(one)
    return dict(sorted(groups.items(), key=lambda group: _numbers_in_order(group[0])))


def _numbers_in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts "2" before "10"."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", name)]


def _normalizers(scored: Sequence[ScoredClip]) -> dict[str, dict[str, int]]:
    used: dict[str, dict[str, int]] = {}
    for one in scored:
        languages = used.setdefault(one.normalizer, {})
        language = one.clip.language or "unknown"
        languages[language] = languages.get(language, 0) + 1
    return used


def _notes(scored: Sequence[ScoredClip]) -> Iterable[str]:
    emptied = sum(not one.reference_units and bool(one.clip.reference.strip()) for one in scored)
    if emptied:
        yield (
            f"the normaliser leaves nothing of {_of(emptied, 'reference')} (only hesitations, brackets or symbols): "
            "counted as clips in which nobody speaks"
        )
    unknown = sum(one.clip.language is None and bool(one.reference_units) for one in scored)
    if unknown and any(one.normalizer == "whisper-basic" and one.clip.language is None for one in scored):
        yield (
            f"{_of(unknown, 'clip')} of unknown language: whisper-basic; --language en gives English its own normaliser"
        )
    cut = sum(one.normalizer == "whisper-basic" and loses_marks(one.clip.reference) for one in scored)
    if cut:
        yield (
            f"whisper-basic cuts letters from their marks in {_of(cut, 'reference')} (Indic scripts, Thai, ...): "
            "words are broken there; --normalizer none keeps them whole"
        )


def _of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
