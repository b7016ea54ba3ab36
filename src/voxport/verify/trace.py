"""What a reference did, in a file, so that another machine can be held against it.

One safetensors file: features, logits and stages as tensors, the rest as JSON in its metadata. It holds hashes of the
weights, of each window's samples and of the options, and is refused where they differ. It reveals what was said: who
may not hear the recordings must not have it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from voxport.errors import OutputError, UsageError
from voxport.models.stages import Inspectable, Stage
from voxport.types import DecodingOptions, FloatArray, Hypothesis, ModelInfo
from voxport.verify.outcome import SideFacts
from voxport.writing import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from torch import Tensor

    from voxport.types import Audio
    from voxport.verify.comparing import Loaded, Window, Work

__all__ = ["VERSION", "RecordedModel", "save_trace"]

VERSION = 1
_KEY = "voxport.trace"


def save_trace(
    path: Path,
    reference: Loaded,
    windows: Sequence[Window],
    work: Work,
    progress: Callable[[int, int, str], None],
) -> None:
    """Let the reference do its work and write what it did. The file is written atomically.

    Raises:
        OutputError: it can't be written.
    """
    model: Any = reference.model
    tensors: dict[str, Tensor] = {}
    entries: list[dict[str, Any]] = []
    looked: set[str] = set()
    names = [stage.name for stage in model.stages()]
    for index, window in enumerate(windows):
        progress(index, len(windows), window.file)
        features = model.features([window.audio])
        with reference.side.running():
            encoded = model.encode(features)
            (heard,) = model.decode(encoded, work.options)
            tokens = work.forced(model, heard)
            logits = model.logits(encoded, tokens)[0]
        tensors[f"{index}/features"] = torch.from_numpy(features.mel).contiguous()
        tensors[f"{index}/logits"] = torch.from_numpy(logits).contiguous()
        look_at = window.file not in looked and len(looked) < work.look_at and isinstance(model, Inspectable)
        if look_at:
            looked.add(window.file)
            found = model.capture(names, features, tokens)
            tensors |= {f"{index}/stage/{name}": value.cpu().contiguous() for name, value in found.items()}
        entries.append(
            {
                "samples": samples_hash(window.audio),
                "file": window.file,
                "frames": list(getattr(features, "frames", ())),
                "durations": list(features.durations),
                "text": heard.text,
                "tokens": list(heard.tokens),
                "language": heard.language,
                "forced": tokens,
                "stages": look_at,
            }
        )
    content = {
        "version": VERSION,
        "facts": asdict(reference.facts()),
        "info": asdict(model.info),
        "options": asdict(work.options),
        "windows": entries,
    }
    _write(path, tensors, json.dumps(content))


def _write(path: Path, tensors: dict[str, Tensor], content: str) -> None:
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_KEY: content})
        except SafetensorError as error:
            raise OutputError(f"the trace {path} can't be written: {error}") from error


def samples_hash(audio: Audio) -> str:
    """sha256 of the samples (float32) and their rate."""
    return hashlib.sha256(f"{audio.sample_rate}\n".encode() + audio.samples.astype("<f4").tobytes()).hexdigest()


@dataclass(frozen=True)
class RecordedFeatures:
    """Features of some recorded windows, as any model of the family takes them."""

    mel: FloatArray
    frames: tuple[int, ...]
    durations: tuple[float, ...]
    indices: tuple[int, ...]


class RecordedDevice:
    """Stands in for the device on which the trace was made."""

    def __init__(self, facts: SideFacts) -> None:
        self._facts = facts
        self.simulated = facts.simulated

    def __str__(self) -> str:
        return self._facts.device

    def synchronize(self) -> None:
        """Nothing runs."""

    def describe(self) -> dict[str, Any]:
        return self._facts.environment

    def explain(self, error: BaseException) -> None:
        """Nothing runs, so nothing fails."""


class RecordedModel:
    """A reference that has done its work already: answers from a trace, for the windows that are in it.

    Args:
        path: of `save_trace`.
        other_weights: whether a candidate may have others.

    Raises:
        UsageError: it is no trace, damaged, or of another version.
    """

    sample_rate = 16_000

    def __init__(self, path: Path, *, other_weights: bool = False) -> None:
        self.path = path
        self._other_weights = other_weights
        try:
            opened: Any = safe_open
            self._file = opened(path, framework="pt")
            content = json.loads((self._file.metadata() or {})[_KEY])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UsageError(f"{path} is no trace: {error}", hint="make one with verify --save") from error
        if content.get("version") != VERSION:
            raise UsageError(
                f"{path} is a trace of version {content.get('version')}, this voxport reads version {VERSION}",
                hint="make it again with this version",
            )
        self.facts = SideFacts(**content["facts"])
        self.info = ModelInfo(**content["info"])
        self.name = self.info.name
        self.dtype = self.facts.dtype
        self.device = RecordedDevice(self.facts)
        self.options = DecodingOptions.from_dict(content["options"])
        self._entries: list[dict[str, Any]] = content["windows"]
        self._by_samples = {entry["samples"]: index for index, entry in enumerate(self._entries)}

    def require(self, identity: str) -> None:
        """Refuse a candidate with other weights.

        Raises:
            UsageError: they are others.
        """
        if identity != self.info.identity and not self._other_weights:
            raise UsageError(
                f"the trace {self.path} was made with other weights ({self.info.identity[:12]}, not {identity[:12]})",
                hint="the same model in the same files is needed",
            )

    def check(self, options: DecodingOptions) -> None:
        if options != self.options:
            raise UsageError(f"the trace {self.path} was made with other options: {self.options}")

    def features(self, audio: Sequence[Audio]) -> RecordedFeatures:
        """Of the same samples.

        Raises:
            UsageError: one of them is not in the trace.
        """
        indices = []
        for window in audio:
            index = self._by_samples.get(samples_hash(window))
            if index is None:
                raise UsageError(
                    f"a window of {window.duration:.1f} s is not in the trace {self.path}",
                    hint="the very same recordings are needed",
                )
            indices.append(index)
        mels = [self._file.get_tensor(f"{index}/features").numpy() for index in indices]
        if len({mel.shape for mel in mels}) > 1:
            raise UsageError("a trace has windows of different lengths", hint="leave +batch= out of the candidate")
        entries = [self._entries[index] for index in indices]
        frames = tuple(frame for entry in entries for frame in entry["frames"])
        durations = tuple(duration for entry in entries for duration in entry["durations"])
        mel = torch.cat([torch.from_numpy(one) for one in mels]).numpy()
        return RecordedFeatures(mel, frames, durations, tuple(indices))

    def encode(self, features: RecordedFeatures) -> RecordedFeatures:
        return features

    def decode(self, encoded: RecordedFeatures, options: DecodingOptions) -> list[Hypothesis]:
        entries = [self._entries[index] for index in encoded.indices]
        return [Hypothesis(one["text"], tuple(one["tokens"]), (), one["language"]) for one in entries]

    def forced(self, features: RecordedFeatures) -> list[list[int]] | None:
        """The decoder's input of one window."""
        found: list[list[int]] | None = self._entries[features.indices[0]]["forced"]
        return found

    def logits(self, encoded: RecordedFeatures, tokens: Sequence[Sequence[int]] | None = None) -> FloatArray:
        (index,) = encoded.indices
        logits: FloatArray = self._file.get_tensor(f"{index}/logits")[None].numpy()
        return logits

    def stages(self) -> list[Stage]:
        """None can be computed: the candidate's table is used."""
        return []

    def given(self, features: Any, tokens: Any) -> dict[str, Tensor]:
        return {}

    def parameter(self, path: str) -> dict[str, Tensor]:
        """Weights are not recorded: a wrong one is located, and not compared."""
        return {}

    def has_stages(self, audio: Audio) -> bool:
        index = self._by_samples.get(samples_hash(audio))
        return index is not None and bool(self._entries[index]["stages"])

    def capture(self, names: Collection[str], features: RecordedFeatures, tokens: Any) -> dict[str, Tensor]:
        (index,) = features.indices
        return {name: self._file.get_tensor(f"{index}/stage/{name}") for name in names}
