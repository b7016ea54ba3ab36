"""The model contract, the families that fulfil it, and how one is loaded."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from voxport.devices import DTYPES, PRECISIONS, get_device, get_devices
from voxport.devices.host import import_torch, set_threads
from voxport.errors import ModelFormatError, UsageError
from voxport.models.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from voxport.devices import Device, Precision
    from voxport.models.hub.progress import Progress
    from voxport.types import Audio, DecodingOptions, Hypothesis, ModelInfo, Segment

__all__ = [
    "FAMILIES",
    "ASRModel",
    "JoiningModel",
    "PlacingModel",
    "WindowJoiner",
    "can_join",
    "load_model",
    "load_models",
    "model_family",
]

FAMILIES: dict[str, str] = {
    "lasr_ctc": "voxport.models.lasr:LasrModel",
    "whisper": "voxport.models.whisper:WhisperModel",
}
"""Hugging Face ``model_type`` -> "module:Class". A new family is one file and one line here."""


@runtime_checkable
class ASRModel(Protocol):
    """What a model must be able to do; `Features` and `Encoded` are opaque to callers.

    Attributes:
        name: as it was asked for.
        info: which weights these are.
        device: where it runs.
        dtype: "float32", "float16" or "bfloat16".
        float32_modules: paths of modules that are in float32 all the same, by their family's rules or by a recipe.
        sample_rate: that `features` expects, Hz.
        max_seconds: longest window.
        min_seconds: a shorter one can't have words.
        window_seconds: length of the windows that long recordings are best cut into.
        context_seconds: seconds at either end of such a window that are heard for the context only; 0 = windows stand
            on their own, else this is a `JoiningModel`.
        languages: codes it was trained on.
        supports: names of optional abilities: "timestamps", "word_timestamps", "always_words" (words have times
            unasked), "punctuation" (signs are joined to words as asked for), "translate", "language_detection",
            "no_speech", "dictation", "search" (beams, samples and temperatures), "prompt", "hotwords", "token_places".
        batch_size: windows that are decoded together unless the caller says otherwise.
    """

    name: str
    info: ModelInfo
    device: Device
    dtype: str
    float32_modules: tuple[str, ...]
    sample_rate: int
    max_seconds: float
    min_seconds: float
    window_seconds: float
    context_seconds: float
    languages: frozenset[str]
    supports: frozenset[str]
    batch_size: int

    def check(self, options: DecodingOptions) -> None:
        """Refuse, before any work, options that this model lacks.

        Raises:
            UnsupportedOptionError: with what there is.
        """
        ...

    def features(self, audio: Sequence[Audio]) -> Any:
        """Windows to model input: on the CPU, float32, deterministic. A batch, in the order given.

        Raises:
            AudioError: a window is longer than `max_seconds` or has another rate (code ``audio_window``).
        """
        ...

    def encode(self, features: Any) -> Any:
        """One device forward over the batch."""
        ...

    def decode(self, encoded: Any, options: DecodingOptions) -> list[Hypothesis]:
        """The words of each window of the batch.

        Raises:
            UnsupportedOptionError: the options ask for something this family lacks.
            DecodingError: the model gave non-finite values.
        """
        ...

    def detect_language(self, encoded: Any) -> list[dict[str, float]]:
        """How likely each language is in each window: code -> probability among all; only where `supports` has it."""
        ...

    def logits(self, encoded: Any, tokens: Sequence[Sequence[int]] | None = None) -> np.ndarray:
        """Teacher-forced logits, float32, shape (batch, positions, vocabulary).

        `tokens`: per window the whole decoder input, prompt included (equal lengths); None for families that need none.
        """
        ...


class PlacingModel(ASRModel, Protocol):
    """A model that knows where in a window it heard what it says; `supports` has "token_places"."""

    def token_places(
        self, encoded: Any, hypotheses: Sequence[Hypothesis | None], options: DecodingOptions
    ) -> list[list[tuple[float, ...]] | None]:
        """Where in its window (seconds) each token of each segment was heard, signs and timestamps left out.

        Args:
            encoded: the windows.
            hypotheses: what `decode` gave for each; None for those that are not asked about.
            options: that they were decoded by.

        Returns:
            For each window one tuple for each segment. None where it was not asked, or can't be told.
        """
        ...


class JoiningModel(ASRModel, Protocol):
    """A model that tells frame by frame what it hears, so that windows which overlap can be joined.

    Attributes:
        frame_seconds: from one frame to the next. Windows that overlap begin at multiples of it.
    """

    frame_seconds: float

    def paths(self, encoded: Any) -> list[Any]:
        """What is heard in each window, opaque to callers.

        Raises:
            DecodingError: the model gave non-finite values.
        """
        ...

    def joiner(self) -> WindowJoiner:
        """Begin a recording."""
        ...


class WindowJoiner(Protocol):
    """Windows of one recording in order of time, its segments out, on the recording's clock."""

    def feed(self, path: Any, start: float, seam: float | None) -> list[Segment]:
        """Take what was heard in the window that begins at `start` (seconds); give the segments that are complete.

        `seam`: where it takes over from the window before, which it overlaps; None if they are apart.
        """
        ...

    def finish(self) -> list[Segment]:
        """End the recording: the segments not given yet."""
        ...


def can_join(model: ASRModel) -> bool:
    """Whether the pipeline can take this model: windows that overlap need one that can join them."""
    return not model.context_seconds or hasattr(model, "joiner")


def load_model(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    *,
    source: str | None = None,
    offline: bool = False,
    threads: int | None = None,
    precision: Precision = "default",
    graph: bool = False,
    recipe: str | Path | Recipe | None = None,
    progress: Progress | None = None,
) -> ASRModel:
    """Load a model, fetching it first if it is not here. See `voxport.load_model` for the arguments.

    Args:
        recipe: modules that stay in float32, as a file or read already; it also gives the dtype of the others.
        progress: told of downloads; None keeps silent.

    Raises:
        UsageError, DeviceError, ModelError.
    """
    get_device(device)  # one, and it is there
    (model,) = load_models(
        name,
        device,
        dtype,
        source=source,
        offline=offline,
        threads=threads,
        precision=precision,
        graph=graph,
        recipe=recipe,
        progress=progress,
    )
    return model


def load_models(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    *,
    source: str | None = None,
    offline: bool = False,
    threads: int | None = None,
    precision: Precision = "default",
    graph: bool = False,
    recipe: str | Path | Recipe | None = None,
    progress: Progress | None = None,
) -> list[ASRModel]:
    """One replica of a model on each of the devices ("npu:0,1"); otherwise as `load_model`."""
    if not isinstance(name, str):
        raise UsageError(f"a model's name is text, not {name!r}", hint="e.g. whisper-base, or a folder's path")
    if dtype not in ("auto", *DTYPES):
        raise UsageError(f"unknown dtype {dtype!r}", hint=f"dtypes are: auto, {', '.join(DTYPES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}", hint=f"precisions are: {', '.join(PRECISIONS)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    kept = _recipe(recipe, dtype, precision)
    if kept is not None:
        dtype = kept.dtype
    devices = get_devices(device)
    from voxport.models import hub

    resolved = hub.resolve(name, source=source, offline=offline, progress=progress)
    import_torch()
    set_threads(threads)
    family = model_family(resolved.path)
    module, _, attribute = FAMILIES[family].partition(":")
    loader = getattr(import_module(module), attribute)
    models: list[ASRModel] = []
    for chosen in devices:
        given = chosen.default_dtype(family) if dtype == "auto" else dtype
        if precision == "strict" and given != "float32":
            if dtype != "auto":
                raise UsageError("--precision strict is about float32", hint="leave --dtype out, or use float32")
            given = "float32"
        try:
            chosen.check_dtype(given)
            chosen.set_precision(precision)
            if graph:
                chosen.set_graph()
            models.append(loader.from_folder(resolved.path, chosen, given, name=name, recipe=kept))
        except (RuntimeError, MemoryError) as error:  # a device that is held by another process, or full
            known = chosen.explain(error)
            if known is None:
                raise
            raise known from error
    return models


def _recipe(recipe: str | Path | Recipe | None, dtype: str, precision: str) -> Recipe | None:
    if isinstance(recipe, (str, Path)):
        recipe = Recipe.read(Path(recipe))
    if recipe is None:
        return None
    if precision == "strict":
        raise UsageError("--precision strict is about float32, a recipe about fewer bits", hint="leave one of them out")
    if dtype not in ("auto", recipe.dtype):
        raise UsageError(f"the recipe was made for {recipe.dtype}, not for {dtype}", hint="leave the dtype out")
    return recipe


def model_family(folder: Path) -> str:
    """The model type that the config.json of a folder names, one of `FAMILIES`.

    Raises:
        ModelFormatError: there is none, or voxport does not know it.
    """
    path = folder / "config.json"
    try:
        family = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"{path} can't be read: {error}", hint="is it a model folder?") from error
    if family not in FAMILIES:
        raise ModelFormatError(
            f"{folder} is a model of type {family!r}", hint=f"voxport runs: {', '.join(sorted(FAMILIES))}"
        )
    return str(family)
