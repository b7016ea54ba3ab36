"""Data sets where they lie: a manifest, or the folders of LibriSpeech and AISHELL as they are unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.audio import AUDIO_SUFFIXES
from voxport.errors import UsageError
from voxport.score.clips import Clip, Dataset
from voxport.score.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["read_dataset"]

AISHELL_TRANSCRIPTS = "aishell_transcript*.txt"


def read_dataset(path: Path, text_key: str | None = None) -> Dataset:
    """The clips of a manifest (a file), or of a LibriSpeech or AISHELL tree (a folder, or any folder inside it).

    Raises:
        UsageError: nothing of the kind is there, or it can't be read.
    """
    if not path.exists():
        raise UsageError(f"{str(path)!r} is not there", hint="give a manifest (JSON lines), or a data set's folder")
    if not path.is_dir():
        return read_manifest(path, text_key)
    try:
        transcripts = sorted(path.rglob("*.trans.txt"))
        if transcripts:
            return _librispeech(path, transcripts)
        transcript = _aishell_transcript(path)
        if transcript is not None:
            return _aishell(path, transcript)
    except OSError as error:
        raise UsageError(f"can't read {error.filename or path}: {error.strerror or error}") from error
    manifests = sorted(item.name for item in path.iterdir() if item.suffix in (".jsonl", ".json"))
    hint = "LibriSpeech has SPEAKER-CHAPTER.trans.txt files, AISHELL a transcript/aishell_transcript_v0.8.txt"
    if manifests:
        hint = f"a manifest is a file: {path / manifests[0]}"
    raise UsageError(f"{str(path)!r} is neither LibriSpeech nor AISHELL", hint=hint)


def _librispeech(root: Path, transcripts: Iterable[Path]) -> Dataset:
    """``SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`` with ``SPEAKER-CHAPTER-NUMBER THE WORDS`` a line."""
    clips: list[Clip] = []
    sexes = _speakers(root)
    missing = 0
    seen: set[str] = set()
    for transcript in transcripts:
        folder = transcript.parent
        recordings = _recordings(folder.iterdir())
        for number, name, words in _lines(transcript):
            speaker, _, rest = name.partition("-")
            path = recordings.get(name)
            if path is None:
                missing += 1
                continue
            if name in seen:
                raise UsageError(f"{name} is transcribed twice, the second time in {transcript}, line {number}")
            seen.add(name)
            keys = {"subset": folder.parents[1].name, "speaker": speaker, "chapter": rest.partition("-")[0]}
            if speaker in sexes:
                keys["sex"] = sexes[speaker]
            clips.append(_whole(name, words, path, root, "en", keys, f"{transcript.name}, line {number}"))
    return _dataset(root, "LibriSpeech", clips, _missing_note(missing))


def _speakers(root: Path) -> dict[str, str]:
    """Speaker -> "M" or "F", from SPEAKERS.TXT at the top of the data set, where it is."""
    for folder in (root, root / "LibriSpeech", *list(root.resolve().parents)[:3]):
        file = folder / "SPEAKERS.TXT"
        if file.is_file():
            rows = (line.split("|") for line in file.read_text("utf-8", "replace").splitlines() if line[:1] != ";")
            return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    return {}


def _aishell_transcript(path: Path) -> Path | None:
    """The transcript that belongs to this folder: below it, or beside the ``wav`` that it is or lies in."""
    inside = sorted(path.rglob(AISHELL_TRANSCRIPTS))
    if inside:
        return inside[0]
    resolved = path.resolve()
    for folder in (resolved, *list(resolved.parents)[:3]):
        if folder.name == "wav":
            beside = sorted((folder.parent / "transcript").glob(AISHELL_TRANSCRIPTS))
            return beside[0] if beside else None
    return None


def _aishell(root: Path, transcript: Path) -> Dataset:
    """``wav/SUBSET/SPEAKER/ID.wav`` with one transcript for all: ``ID 这 是 文本`` a line, words parted by spaces."""
    inside = root.resolve().is_relative_to(transcript.parents[1].resolve()) and root.resolve() != transcript.parents[1]
    wavs = root if inside and "wav" in root.resolve().parts else transcript.parents[1] / "wav"
    recordings = _recordings(wavs.rglob("*"))
    clips: list[Clip] = []
    seen: set[str] = set()
    for number, name, words in _lines(transcript):
        path = recordings.get(name)
        if path is None:
            continue  # the transcript covers all subsets
        if name in seen:
            raise UsageError(f"{name} is transcribed twice, the second time in {transcript}, line {number}")
        seen.add(name)
        keys = {"subset": path.parents[1].name, "speaker": path.parent.name}
        clips.append(_whole(name, words, path, root, "zh", keys, f"{transcript.name}, line {number}"))
    if not clips and any(wavs.glob("*.tar.gz")):
        hint = f"cd {wavs} && for f in *.tar.gz; do tar xf $f; done"
        raise UsageError(f"the recordings in {wavs} are packed still", hint=hint)
    silent = len(recordings) - len(clips)
    note = f"{silent} recordings have no transcript and are left out" if silent else None
    return _dataset(root, "AISHELL", clips, note)


def _whole(name: str, words: str, path: Path, root: Path, language: str, keys: dict[str, str], where: str) -> Clip:
    written = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return Clip(name, words, written, path, language=language, keys={"lang": language, **keys}, where=where)


def _dataset(root: Path, layout: str, clips: list[Clip], note: str | None) -> Dataset:
    if not clips:
        raise UsageError(
            f"{str(root)!r} looks like {layout}, but no transcript has its recording",
            hint="recordings (flac, wav, ...) are looked for where the data set has them, under their own names",
        )
    return Dataset(str(root), layout, clips, [note] if note else [])


def _missing_note(missing: int) -> str | None:
    return f"{missing} transcripts have no recording and are left out" if missing else None


def _recordings(paths: Iterable[Path]) -> dict[str, Path]:
    """Recordings by their names without suffix."""
    return {path.stem: path for path in sorted(paths) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()}


def _lines(transcript: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, name and words of each line."""
    try:
        text = transcript.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{transcript} is no UTF-8 text") from error
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, words = line.strip().partition(" ")
        if name:
            yield number, name, words.strip()
