"""Where the errors of a long recording lie: inside a clip, or where one clip was joined to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import jiwer

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Found:
    """What was made of one clip.

    Attributes:
        substituted, lost, added: words.
        lost_at_cut: lost words of runs that touch the clip's first or last word.
        doubled_at_cut: words added before the first or behind the last word that say again what stands beside them.
        details: each run of lost or added words, "[reference -> said]" with a mark where it is at a cut.
    """

    substituted: int = 0
    lost: int = 0
    added: int = 0
    lost_at_cut: int = 0
    doubled_at_cut: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def errors(self) -> int:
        return self.substituted + self.lost + self.added


def attribute(references: list[list[str]], said: list[str]) -> list[Found]:
    """Align what was said with the clips' words, one after the other, and give every error to a clip.

    Words added between two clips belong to the earlier one. A substitution of several words for fewer is the aligner's
    business: it makes substitutions and deletions of it. But words that are only written together or apart ("yellow
    pad" and "yellowpad") are neither lost nor added: each counts as substituted.

    Args:
        references: each clip's words, none empty.
        said: the words of the whole recording.

    Returns:
        One `Found` for each clip.
    """
    if not references or not all(references):
        raise ValueError("every clip needs at least one word")
    words = [word for clip in references for word in clip]
    owner = [number for number, clip in enumerate(references) for _ in clip]
    first: dict[int, int] = {}
    for position, number in enumerate(owner):
        first.setdefault(number, position)
    last = {number: first[number] + len(clip) - 1 for number, clip in enumerate(references)}
    found = [Found() for _ in references]
    if not said:
        for number, clip in enumerate(references):
            found[number] = Found(lost=len(clip), lost_at_cut=len(clip), details=[f"[{' '.join(clip)} -> ∅] at a cut"])
        return found
    for chunk in _differences(words, said):
        if chunk.type == "substitute":
            for position in range(chunk.ref_start_idx, chunk.ref_end_idx):
                found[owner[position]].substituted += 1
        elif chunk.type == "delete":
            _delete(found, words, owner, first, last, chunk.ref_start_idx, chunk.ref_end_idx)
        elif chunk.type == "insert":
            position = chunk.ref_start_idx
            number = owner[max(0, position - 1)]
            new = said[chunk.hyp_start_idx : chunk.hyp_end_idx]
            at_cut = position in (0, len(words)) or owner[position] != owner[position - 1]
            again = _repeats(said, chunk.hyp_start_idx, chunk.hyp_end_idx)
            found[number].added += len(new)
            found[number].doubled_at_cut += len(new) if at_cut and again else 0
            mark = " at a cut" if at_cut else ""
            found[number].details.append(f"[∅ -> {' '.join(new)}]{mark}{' doubled' if again else ''}")
    return found


def _differences(words: list[str], said: list[str]) -> Iterator[jiwer.AlignmentChunk]:
    """What differs, in order; what differs in its spaces only comes as one substitution."""
    chunks = jiwer.process_words(" ".join(words), " ".join(said)).alignments[0]
    for equal, group in groupby(chunks, key=lambda chunk: chunk.type == "equal"):
        if equal:
            continue
        run = list(group)
        old, new = (run[0].ref_start_idx, run[-1].ref_end_idx), (run[0].hyp_start_idx, run[-1].hyp_end_idx)
        if "".join(words[slice(*old)]) == "".join(said[slice(*new)]):
            yield jiwer.AlignmentChunk("substitute", *old, *new)
        else:
            yield from run


def _delete(
    found: list[Found],
    words: list[str],
    owner: list[int],
    first: dict[int, int],
    last: dict[int, int],
    begin: int,
    end: int,
) -> None:
    """A run of lost words, shared out among the clips that it crosses."""
    while begin < end:
        number = owner[begin]
        stop = min(end, last[number] + 1)
        at_cut = begin == first[number] or stop == last[number] + 1
        found[number].lost += stop - begin
        found[number].lost_at_cut += stop - begin if at_cut else 0
        found[number].details.append(f"[{' '.join(words[begin:stop])} -> ∅]{' at a cut' if at_cut else ''}")
        begin = stop


def _repeats(said: list[str], begin: int, end: int) -> bool:
    """Whether said[begin:end] stands there once more, right before or right behind."""
    new, length = said[begin:end], end - begin
    return new in (said[max(0, begin - length) : begin], said[end : end + length])
