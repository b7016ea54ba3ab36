"""What was heard: read from a file of JSON lines, and written to one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from voxport.formats import json_line
from voxport.score.clips import scalar_text
from voxport.score.json_lines import LineError, first_text, read_objects, refuse
from voxport.score.manifest import AUDIO_KEYS, ID_KEYS, OFFSET_KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.score.clips import Clip

__all__ = ["Heard", "Origin", "read_hypotheses", "saved_line"]

HYPOTHESIS_KEYS = ("pred_text", "hypothesis", "hyp", "prediction")
TEXT_KEYS = (*HYPOTHESIS_KEYS, "text", "transcript")


@dataclass(frozen=True)
class Origin:
    """Who heard it. Anything may be unknown.

    Attributes:
        model, family, identity: its name, its Hugging Face type, and the sha256 over its weights.
        side: where and how it ran, e.g. "cpu:float32".
        simulated: the name of a simulated device, or None.
        random_weights: True for a model whose text means nothing.
        options: what it was told, e.g. "vad".
        voxport: the version.
    """

    model: str | None = None
    family: str | None = None
    identity: str | None = None
    side: str | None = None
    simulated: str | None = None
    random_weights: bool = False
    options: str | None = None
    voxport: str | None = None


@dataclass(frozen=True)
class Heard:
    """What was heard in one clip.

    Attributes:
        text: None where it failed.
        error: ``{code, message, hint}`` where it failed.
        names: what the line calls the clip, the surest name first.
        where: the line it stands in.
        offset: where in the recording it begins, None = the line does not say.
        language: that was detected.
    """

    text: str | None
    origin: Origin = field(default_factory=Origin)
    error: dict[str, str | None] | None = None
    names: tuple[str, ...] = ()
    where: str = ""
    offset: float | None = None
    language: str | None = None


def read_hypotheses(path: Path, manifest: Path | None = None) -> list[Heard]:
    """The lines of a file: NeMo's (``audio_filepath``, ``pred_text``), ``voxport transcribe --json``'s, `saved_line`'s,
    or any with an id or a recording and a text.

    Args:
        manifest: where the references are from. If it is the same file, its ``text`` is what was said, not heard.

    Raises:
        UsageError: lines that can't be used, named by number, or there are none.
    """
    same = manifest is not None and manifest.exists() and path.exists() and manifest.samefile(path)
    keys = HYPOTHESIS_KEYS if same else TEXT_KEYS
    found: list[Heard] = []
    faults: list[tuple[int, str]] = []
    for number, entry in read_objects(path):
        try:
            if isinstance(entry, LineError):
                raise entry
            found.append(_heard(entry, number, keys))
        except LineError as error:
            faults.append((number, str(error)))
    if not found and not faults:
        faults.append((1, "there is nothing in this file"))
    refuse(path, faults, 'one object a line: {"audio_filepath": "a.wav", "pred_text": "what was heard"}')
    return found


def _heard(entry: dict[str, Any], number: int, keys: tuple[str, ...]) -> Heard:
    text = first_text(entry, keys)
    error = entry.get("error")
    if text is None and not isinstance(error, dict):
        raise LineError(f"says nothing of what was heard ({', '.join(keys)}); it has: {', '.join(list(entry)[:8])}")
    names = [scalar_text(entry[key]) for key in ID_KEYS if entry.get(key) not in (None, "")]
    audio = first_text(entry, AUDIO_KEYS)
    names += [audio[1]] if audio and audio[1] else []
    if not names:
        raise LineError(f"does not say which clip ({', '.join((*ID_KEYS[:1], *AUDIO_KEYS))})")
    offset = next((entry[key] for key in OFFSET_KEYS if isinstance(entry.get(key), (int, float))), None)
    language = entry.get("language")
    return Heard(
        text=None if text is None or error else text[1],
        origin=_origin(entry),
        error={key: scalar_text(error.get(key)) for key in ("code", "message", "hint")}
        if isinstance(error, dict)
        else None,
        names=tuple(name for name in names if name),
        where=f"line {number}",
        offset=offset,
        language=language if isinstance(language, str) else None,
    )


def _origin(entry: dict[str, Any]) -> Origin:
    own = entry.get("made_by")
    if isinstance(own, dict):
        texts = {one.name: scalar_text(own.get(one.name)) for one in fields(Origin) if one.name != "random_weights"}
        return Origin(**texts, random_weights=own.get("random_weights") is True)
    model = entry.get("model")
    if not isinstance(model, dict):
        return Origin(model=model if isinstance(model, str) else None)
    side = f"{entry.get('device')}:{entry.get('dtype')}" if entry.get("device") else None
    return Origin(
        model=scalar_text(model.get("name")),
        family=scalar_text(model.get("family")),
        identity=scalar_text(model.get("identity")),
        side=side,
        simulated=scalar_text(entry.get("simulated")),
        random_weights=model.get("random_weights") is True,
    )


def saved_line(clip: Clip, heard: Heard) -> str:
    """One line of a file that `read_hypotheses` reads, and `read_manifest` too: reference and hypothesis, as NeMo has
    them.
    """
    entry: dict[str, Any] = {"id": clip.id, "audio_filepath": None if clip.path is None else str(clip.path.absolute())}
    if clip.offset is not None:
        entry |= {"offset": clip.offset, "duration": clip.seconds}
    elif clip.seconds is not None:
        entry["duration"] = clip.seconds
    entry |= {"text": clip.reference, "pred_text": heard.text, "lang": clip.language, "language": heard.language}
    return json_line({**entry, "made_by": asdict(heard.origin)})
