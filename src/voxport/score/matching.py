"""Which hypothesis belongs to which clip. Every one of either is accounted for."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voxport.score.clips import Clip
    from voxport.score.hypotheses import Heard

__all__ = ["Matched", "match"]

DEEPEST_ENDING = 4


@dataclass(frozen=True)
class Matched:
    """Clips and hypotheses brought together; every one of either is in one of these.

    Attributes:
        heard: clip id -> what was heard.
        failed: clip id -> the line that tells of a failure.
        missing: clips without a line.
        extra: lines that belong to no clip.
        repeated: lines that say the same of a clip as another one.
        by_name: how many were matched by the file's name, or the end of its path, alone.
    """

    heard: dict[str, Heard]
    failed: dict[str, Heard]
    missing: Sequence[Clip]
    extra: Sequence[Heard]
    repeated: Sequence[Heard]
    by_name: int = 0


def match(clips: Sequence[Clip], lines: Sequence[Heard], folder: Path | None = None) -> Matched:
    """Bring clips and lines together: by id, by path, by a path that is the end of the other; what is left by file
    name, or as much of the path's end as tells all of them apart (the data lay elsewhere on the other machine).

    Args:
        folder: of the file with the lines, which its paths may be relative to.

    Raises:
        UsageError: a line could mean several clips, two lines say different things of one clip, or nothing matches.
    """
    index = _Index(clips, folder)
    pairs: list[tuple[Heard, Clip]] = []
    left: list[Heard] = []
    for line in lines:
        clip = index.find(line)
        if clip is None:
            left.append(line)
        else:
            pairs.append((line, clip))
    taken = {clip.id for _, clip in pairs}
    by_ending = _by_ending([clip for clip in clips if clip.id not in taken], left)
    pairs += by_ending
    if not pairs:
        raise UsageError(
            f"none of the {len(lines)} hypotheses belongs to a clip: {lines[0].names[0]!r} is none of "
            f"{', '.join(repr(clip.id) for clip in clips[:3])}{', ...' if len(clips) > 3 else ''}",
            hint="they are matched by id, by path, or by file name",
        )
    chosen, repeated = _chosen(pairs)
    matched = {id(line) for line, _ in pairs}
    return Matched(
        heard={name: line for name, line in chosen.items() if line.text is not None},
        failed={name: line for name, line in chosen.items() if line.text is None},
        missing=[clip for clip in clips if clip.id not in chosen],
        extra=[line for line in lines if id(line) not in matched],
        repeated=repeated,
        by_name=len(by_ending),
    )


def _chosen(pairs: Iterable[tuple[Heard, Clip]]) -> tuple[dict[str, Heard], list[Heard]]:
    """One line for each clip, and those that only repeat it."""
    chosen: dict[str, Heard] = {}
    repeated: list[Heard] = []
    for line, clip in pairs:
        first = chosen.setdefault(clip.id, line)
        if first is line:
            continue
        if first.text != line.text:
            raise UsageError(
                f"{first.where} and {line.where} of the hypotheses say different things of {clip.id}",
                hint="leave one of them in the file",
            )
        repeated.append(line)
    return chosen, repeated


class _Index:
    """Clips by all the names that a line may use for them."""

    def __init__(self, clips: Sequence[Clip], folder: Path | None) -> None:
        self._folder = folder or Path()
        self._exact: defaultdict[str, dict[str, Clip]] = defaultdict(dict)
        self._written: defaultdict[str, dict[str, Clip]] = defaultdict(dict)
        self._endings: defaultdict[str, dict[str, Clip]] = defaultdict(dict)
        for clip in clips:
            self._exact[clip.id][clip.id] = clip
            if clip.audio:
                self._written[str(PurePath(clip.audio))][clip.id] = clip
            if clip.path is not None:
                path = clip.path.absolute().resolve()
                self._exact[str(path)][clip.id] = clip
                for ending in _endings(path):
                    self._endings[ending][clip.id] = clip

    def find(self, line: Heard) -> Clip | None:
        """The clip that the line is about; None if there is none.

        Raises:
            UsageError: there are several.
        """
        for found in self._candidates(line):
            if len(found) > 1:
                found = [clip for clip in found if line.offset is not None and clip.offset == line.offset] or found
            if len(found) > 1:
                raise UsageError(
                    f"{line.where} of the hypotheses ({line.names[0]!r}) could be "
                    f"{' or '.join(clip.id for clip in found[:3])}{' or ...' if len(found) > 3 else ''}",
                    hint='give clips an "id", in the manifest and in the hypotheses',
                )
            if found:
                return found[0]
        return None

    def _candidates(self, line: Heard) -> Iterator[list[Clip]]:
        """The surest first."""
        for name in line.names:
            yield list(self._exact.get(name, {}).values())
        for name in line.names:
            for place in (Path(name), self._folder / name):
                yield list(self._exact.get(str(place.absolute().resolve()), {}).values())
        for name in line.names:
            yield list(self._endings.get(str(PurePath(name)), {}).values())
            for ending in _endings(PurePath(name)):
                yield list(self._written.get(ending, {}).values())


def _by_ending(clips: Sequence[Clip], lines: Sequence[Heard]) -> list[tuple[Heard, Clip]]:
    """Pairs by the shortest end of the path that tells all clips, and all lines, apart."""
    named = [(PurePath(clip.audio or clip.id), clip) for clip in clips]
    for depth in range(DEEPEST_ENDING + 1):
        by_key = {_ending(path, depth, clip.offset): clip for path, clip in named}
        keys = [[_ending(PurePath(name), depth, line.offset) for name in line.names] for line in lines]
        counts = Counter(key for line_keys in keys for key in set(line_keys))
        if len(by_key) < len(named) or any(counts[key] > 1 for key in by_key):
            continue
        pairs = []
        for line, line_keys in zip(lines, keys, strict=True):
            key = next((key for key in line_keys if key in by_key), None)
            if key is not None:
                pairs.append((line, by_key[key]))
        return pairs
    return []


def _ending(path: PurePath, depth: int, offset: float | None) -> tuple[str, float | None]:
    """The last parts of a path; at depth 0 the file's name without suffix."""
    return (path.stem if depth == 0 else "/".join(path.parts[-depth:])), offset


def _endings(path: PurePath) -> Iterator[str]:
    """All ends of a path: ``a/b/c.wav``, ``b/c.wav``, ``c.wav``."""
    parts = path.parts
    for begin in range(len(parts)):
        yield str(PurePath(*parts[begin:]))
