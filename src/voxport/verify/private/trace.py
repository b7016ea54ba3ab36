"""The file: what a reference did, as hashes and statistics.

It holds no samples, features, activations, logits, tokens, text or file names. Of each window there is a sha256 of the
samples, by which the other machine finds its own; a hash of the tokens, keyed with the samples, so that nobody without
the recording can try out sentences; and of each stage that depends on the sound alone how many numbers it gave, how
many of them were not finite, their mean, their root mean square and the largest magnitude. Stages that read the tokens
are left out: whoever has the weights could compute some of them for any sentence. Whoever has a recording can tell
whether it is one of these.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from voxport.errors import UsageError
from voxport.models.stages import Inspectable
from voxport.types import DecodingOptions
from voxport.verify.arrays import as_array
from voxport.verify.outcome import SideFacts
from voxport.verify.trace import samples_hash
from voxport.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from voxport.types import Audio, FloatArray
    from voxport.verify.comparing import Loaded, Window, Work

__all__ = [
    "VERSION",
    "PrivateTrace",
    "Statistics",
    "behind_tokens",
    "is_private",
    "listen",
    "save_private",
    "tokens_hash",
]

VERSION = 1
FORMAT = "voxport private trace"


@dataclass(frozen=True)
class Statistics:
    """Of one stage's result in one window.

    Attributes:
        count: numbers.
        non_finite: how many are NaN or infinite.
        mean, rms: of the finite ones; rms is the root mean square.
        largest: magnitude of the finite ones.
    """

    count: int
    non_finite: int
    mean: float
    rms: float
    largest: float

    @classmethod
    def of(cls, values: FloatArray) -> Statistics:
        """Of an array, with nine digits."""
        flat = values.reshape(-1)
        finite = flat[np.isfinite(flat)].astype(np.float64)
        if not finite.size:
            return cls(flat.size, flat.size, 0.0, 0.0, 0.0)
        figures = (finite.mean(), math.sqrt(finite @ finite / finite.size), np.abs(finite).max())
        return cls(flat.size, flat.size - finite.size, *(float(f"{figure:.9g}") for figure in figures))


def save_private(
    path: Path,
    reference: Loaded,
    windows: Sequence[Window],
    work: Work,
    progress: Callable[[int, int, str], None],
) -> None:
    """Let the reference do its work and write what may be told of it, as JSON, atomically.

    Raises:
        OutputError: it can't be written.
    """
    model: Any = reference.model
    entries = []
    looked: set[str] = set()
    for index, window in enumerate(windows):
        progress(index, len(windows), window.file)
        look_at = window.file not in looked and len(looked) < work.look_at and isinstance(model, Inspectable)
        looked |= {window.file} if look_at else set()
        tokens, stages = listen(reference, window, work, None if look_at else ())
        entries.append(
            {
                "samples": samples_hash(window.audio),
                "tokens": tokens_hash(window.audio, tokens),
                "stages": {name: list(asdict(one).values()) for name, one in stages.items()},
            }
        )
    info = {"family": model.info.family, "identity": model.info.identity}  # a name may be a path, and tell of somebody
    content = {
        "format": FORMAT,
        "version": VERSION,
        "facts": asdict(replace(reference.facts(), side=str(replace(reference.side, model=None, recipe=None)))),
        "info": info,
        "options": asdict(work.options),
        "windows": entries,
    }
    write_atomically(path, json.dumps(content) + "\n")


def is_private(path: Path) -> bool:
    """Whether a file is such a trace; others begin with a length."""
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


class PrivateTrace:
    """What another machine's reference let be known.

    Raises:
        UsageError: it is damaged, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["version"] != VERSION:
                raise UsageError(
                    f"{path} is a {content['format']} of version {content['version']}, this voxport reads {VERSION}",
                    hint="make it again with this version",
                )
            self.facts = SideFacts(**content["facts"])
            self.family = str(content["info"]["family"])
            self.identity = str(content["info"]["identity"])
            self.options = DecodingOptions.from_dict(content["options"])
            self._windows: dict[str, tuple[str, dict[str, Statistics]]] = {
                entry["samples"]: (
                    entry["tokens"],
                    {name: Statistics(*figures) for name, figures in entry["stages"].items()},
                )
                for entry in content["windows"]
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is no trace: {error}", hint="make one with verify --save --private") from error

    def window(self, audio: Audio) -> tuple[str, Mapping[str, Statistics]]:
        """Hash of the tokens, and statistics by stage.

        Raises:
            UsageError: these samples are not in the trace.
        """
        found = self._windows.get(samples_hash(audio))
        if found is None:
            raise UsageError(
                f"a window of {audio.duration:.1f} s is not in the trace {self.path}",
                hint="the very same recordings are needed",
            )
        return found


def listen(
    side: Loaded, window: Window, work: Work, names: Sequence[str] | None
) -> tuple[Sequence[int], dict[str, Statistics]]:
    """What a side says, and statistics of the named stages; None = all that depend on the sound alone."""
    model: Any = side.model
    features = model.features([window.audio])
    with side.side.running():
        (heard,) = model.decode(model.encode(features), work.options)
        if names is None:
            hidden = behind_tokens(model)
            names = [stage.name for stage in model.stages() if stage.name not in hidden]
        if not names:
            return heard.tokens, {}
        found = model.capture(names, features, work.forced(model, heard))
        return heard.tokens, {name: Statistics.of(as_array(found[name])) for name in names}


def behind_tokens(model: Inspectable) -> set[str]:
    """Stages that depend on the tokens, directly or through others."""
    found = {"tokens"}
    for stage in model.stages():
        if not found.isdisjoint(stage.reads):
            found.add(stage.name)
    return found


def tokens_hash(audio: Audio, tokens: Sequence[int]) -> str:
    """Keyed with the samples (another digest of them than the one in the trace)."""
    key = hashlib.sha256(b"voxport private tokens\n" + audio.samples.astype("<f4").tobytes()).digest()
    return hmac.new(key, ",".join(map(str, tokens)).encode(), hashlib.sha256).hexdigest()
