"""Rows of an accuracy table and their verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scoring import Normalizer, Score, differences, emitted_words, score, symbols, unit

if TYPE_CHECKING:
    from recordings import Recording

RELATIVE_MARGIN = 0.02
ERROR_MARGIN = 3
LEAST_UNITS = 100
NONSPEECH = "nonspeech"
REPEATING = frozenset({"real+noise", "real+band", "longform", "longform-joined", "telephone-joined"})
"""Kinds that say again what recordings of other kinds say: left out of a sum over rows."""


@dataclass
class Row:
    """One kind and language of recordings under one model.

    Attributes:
        name: e.g. "real en medical".
        kind: of its recordings.
        unit: "words", "characters" or "digits"; "emitted words" for non-speech.
        recordings: how many.
        scores: column -> errors over all recordings of the row.
        best: the best column that counts, or None.
        required: whether the verdict counts (at least `LEAST_UNITS` in the reference, or non-speech).
        ok: ours is good enough; None where there is nothing to compare.
        differing: recordings whose normalised texts differ between ours and the best, with every difference; for
            non-speech, those of which ours says anything.
    """

    name: str
    kind: str
    unit: str
    recordings: int
    scores: dict[str, Score]
    best: str | None = None
    required: bool = False
    ok: bool | None = None
    differing: dict[str, dict[str, list[str]]] = field(default_factory=dict)


Texts = dict[str, dict[str, str]]
"""Column -> recording's name -> text."""


def judge(recordings: list[Recording], texts: Texts, ours: str, counting: list[str], normalizer: Normalizer) -> Row:
    """One row: all `recordings` are of the same kind and language.

    Args:
        recordings: of the row.
        texts: what each column's engine said.
        ours: our column.
        counting: the peers' columns that the requirement compares with.
        normalizer: see `Normalizer`.
    """
    first = recordings[0]
    silent = first.kind == NONSPEECH
    units: dict[str, dict[str, str]] = {column: {} for column in texts}
    references: dict[str, str] = {}
    scores = {}
    for recording in recordings:
        references[recording.name] = symbols(recording.text, recording.language, recording.group, normalizer)
    for column, said in texts.items():
        total = Score()
        for recording in recordings:
            text = said[recording.name]
            if silent:
                total += Score(insertions=emitted_words(text))
                continue
            units[column][recording.name] = symbols(text, recording.language, recording.group, normalizer)
            total += score(references[recording.name], units[column][recording.name])
        scores[column] = total
    counted = "emitted words" if silent else unit(first.language, first.group)
    row = Row(first.row, first.kind, counted, len(recordings), scores)
    _verdict(row, ours, counting, silent)
    if silent and ours in texts:
        spoken = {recording.name: texts[ours][recording.name] for recording in recordings}
        row.differing = {
            name: {"ours": [said.strip()], "best": []} for name, said in spoken.items() if emitted_words(said)
        }
    elif ours in texts and row.best is not None:
        row.differing = _differing(references, units[ours], units[row.best])
    return row


def total(rows: list[Row]) -> dict[str, Score]:
    """Column -> errors over all rows of speech that no other row repeats, whatever their units."""
    chosen = [row for row in rows if row.kind not in REPEATING and row.kind != NONSPEECH]
    columns = chosen[0].scores if chosen else {}
    return {column: sum((row.scores[column] for row in chosen), Score()) for column in columns}


def _verdict(row: Row, ours: str, counting: list[str], silent: bool) -> None:
    """Fill `best`, `required` and `ok`."""
    peers = [column for column in counting if column in row.scores]
    row.best = min(peers, key=lambda column: row.scores[column].errors, default=None)
    if ours not in row.scores:
        return
    row.required = silent or row.scores[ours].length >= LEAST_UNITS
    if silent:
        row.ok = row.scores[ours].errors == 0
    elif row.best is not None:
        best = row.scores[row.best].errors
        row.ok = row.scores[ours].errors - best <= max(RELATIVE_MARGIN * best, ERROR_MARGIN)


def _differing(
    references: dict[str, str], ours: dict[str, str], best: dict[str, str]
) -> dict[str, dict[str, list[str]]]:
    """Recording -> {"ours": errors that the best did not make, "best": errors that ours did not make}."""
    found = {}
    for name, reference in references.items():
        if ours[name] == best[name]:
            continue
        mine, theirs = differences(reference, ours[name]), differences(reference, best[name])
        found[name] = {
            "ours": [difference for difference in mine if difference not in theirs],
            "best": [difference for difference in theirs if difference not in mine],
        }
    return found
