"""Where results go while a run is under way: text as it comes, JSON lines, or files. One class each, all alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from voxport.cli.outputs import output_stems
from voxport.cli.terminal import write_stdout
from voxport.formats import SegmentFormatter, failure_object, json_line, render
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.errors import VoxportError
    from voxport.subtitles import SubtitleOptions
    from voxport.types import Segment, Transcript

__all__ = ["JSONLines", "ResultFiles", "Results", "TextStream"]


class Results(Protocol):
    """Takes the results of the recordings, which are numbered in the order of the inputs and come in that order.

    All methods raise `OutputError` where a result can't be written.
    """

    def begin(self, index: int) -> None:
        """A recording starts."""

    def segment(self, segment: Segment) -> None:
        """A piece of it is done."""

    def finish(self, index: int, transcript: Transcript) -> None:
        """All of it is done."""

    def fail(self, index: int, error: VoxportError, partial: Transcript | None = None) -> str | None:
        """It failed, perhaps after a part was done. Returns where that part was kept, or None."""


class TextStream:
    """Segments on standard output as windows finish.

    Several recordings follow one another: in txt with an empty line between them, in tsv under one header with the
    file in the first column.
    """

    def __init__(self, names: Sequence[str], output_format: str, *, split: bool, subtitles: SubtitleOptions) -> None:
        self._names = names
        self._format = output_format
        self._split = split
        self._subtitles = subtitles
        self._formatter: SegmentFormatter | None = None
        self._wrote_header = False
        self._break_due = False
        self._wrote_text = False

    def begin(self, index: int) -> None:
        several = len(self._names) > 1
        file = self._names[index] if several and self._format == "tsv" else None
        self._formatter = SegmentFormatter(self._format, split=self._split, file=file, subtitles=self._subtitles)
        self._break_due = self._format == "txt" and self._wrote_text
        if not self._wrote_header:
            write_stdout(self._formatter.header())
            self._wrote_header = True

    def segment(self, segment: Segment) -> None:
        if self._formatter is None:
            raise RuntimeError("a segment before the recording's beginning")
        text = self._formatter.segment(segment)
        if not text:
            return
        write_stdout("\n" + text if self._break_due else text)
        self._break_due = False
        self._wrote_text = True

    def finish(self, index: int, transcript: Transcript) -> None:
        self._end()

    def fail(self, index: int, error: VoxportError, partial: Transcript | None = None) -> str | None:
        self._end()
        return None if partial is None else "what is printed above"

    def _end(self) -> None:
        if self._formatter is not None:
            write_stdout(self._formatter.footer())
        self._formatter = None


class JSONLines:
    """One JSON object a line for each recording, as each is done."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def begin(self, index: int) -> None:
        pass

    def segment(self, segment: Segment) -> None:
        pass

    def finish(self, index: int, transcript: Transcript) -> None:
        write_stdout(json_line(transcript.to_dict()))

    def fail(self, index: int, error: VoxportError, partial: Transcript | None = None) -> str | None:
        write_stdout(json_line(failure_object(self._names[index], error, partial)))
        return None if partial is None else "its JSON object"


class ResultFiles:
    """One file for each recording and format. What was done of an interrupted one goes to ``NAME.partial.FORMAT``."""

    def __init__(
        self, names: Sequence[str], folder: Path, formats: Sequence[str], *, subtitles: SubtitleOptions
    ) -> None:
        self._folder = folder
        self._subtitles = subtitles
        self._formats = formats
        self._stems = output_stems(names, taken=_inputs_in_the_way(names, folder, formats))

    def begin(self, index: int) -> None:
        pass

    def segment(self, segment: Segment) -> None:
        pass

    def finish(self, index: int, transcript: Transcript) -> None:
        self._write(self._stems[index], transcript)

    def fail(self, index: int, error: VoxportError, partial: Transcript | None = None) -> str | None:
        if partial is None:
            return None
        stem = f"{self._stems[index]}.partial"
        while stem in self._stems:
            stem += "-2"
        return ", ".join(str(path) for path in self._write(stem, partial))

    def _write(self, stem: str, transcript: Transcript) -> list[Path]:
        paths = []
        for output_format in self._formats:
            path = self._folder / f"{stem}.{output_format}"
            write_atomically(path, render(transcript, output_format, subtitles=self._subtitles))
            paths.append(path)
        return paths


def _inputs_in_the_way(names: Sequence[str], folder: Path, formats: Sequence[str]) -> list[str]:
    """Stems whose result file would overwrite one of the inputs (a recording that is called ``talk.json``)."""
    target = folder.resolve()
    paths = [Path(name) for name in names if name != "-"]
    return [
        path.stem
        for path in paths
        if path.suffix.lower().lstrip(".") in formats and path.absolute().parent.resolve() == target
    ]
