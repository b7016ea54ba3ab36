"""voxport runs open speech-recognition models on the accelerator you have, and proves what it says there.

    import voxport

    transcript = voxport.transcribe("dictation.wav", model="whisper-base")
    print(transcript.text)

Importing this package loads no torch: that happens with the first model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.errors import VoxportError
from voxport.types import Audio, DecodingOptions, Hypothesis, ModelInfo, Segment, Transcript, Word
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from voxport.audio import AudioInput
    from voxport.models import ASRModel
    from voxport.pipeline import Transcription

__all__ = [
    "Audio",
    "DecodingOptions",
    "Hypothesis",
    "ModelInfo",
    "Segment",
    "Transcript",
    "VoxportError",
    "Word",
    "__version__",
    "iter_segments",
    "load_model",
    "transcribe",
]


def load_model(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    *,
    source: str | None = None,
    offline: bool = False,
    threads: int | None = None,
    precision: Literal["default", "strict"] = "default",
    graph: bool = False,
    recipe: str | Path | None = None,
) -> ASRModel:
    """Load a model, fetching it first if it is not here.

    Args:
        name: a known name ("whisper-base"), a hub id ("openai/whisper-base") or a folder.
        device: "auto", "cpu", "cuda", "cuda:0", "npu", "npu:1".
        dtype: "auto", "float32", "float16" or "bfloat16"; what "auto" means is the device's business.
        source: fetch from this source only; None tries all in their order.
        offline: never touch the network.
        threads: of the host's processor, for the whole process; None = the physical cores of one NUMA node.
        precision: "strict" computes float32 without the device's shortcuts (TF32, HF32, approximate GELU).
        graph: on an NPU, compile the decoder's steps into graphs (Whisper; torchair; not measured).
        recipe: file that names the modules that stay in float32 (`voxport verify --advise` makes one); it also gives
            the dtype of the others.

    Raises:
        ModelError: the model can't be had or read.
        DeviceError: the device is not there.
        UsageError: an argument is off.
    """
    from voxport import models

    return models.load_model(
        name,
        device,
        dtype,
        source=source,
        offline=offline,
        threads=threads,
        precision=precision,
        graph=graph,
        recipe=recipe,
    )


def transcribe(audio: AudioInput, *, model: ASRModel | str = "whisper-base", **options: Any) -> Transcript:
    """The words of a recording.

    Args:
        audio: a path, "-" (standard input), bytes, a binary file object, an ``(array, rate)`` pair or an `Audio`.
        model: from `load_model`, or a name, which is then loaded for this one call; on several devices ("npu:0,1") one
            replica each, among which windows are shared out.
        **options: `device`, `dtype`, `source`, `offline`, `threads`, `precision`, `graph`, `recipe` as in `load_model`
            (with a name only), and the fields of `voxport.pipeline.PipelineOptions`: `language`,
            `language_detection_segments`, `task`, `vad`, `channels`, `format_dictation`, `batch_size`; for Whisper
            `word_timestamps`, `beam_size`, `temperature`, `initial_prompt`, `hotwords` and others.

    Raises:
        VoxportError: see `voxport.errors` for the tree.
    """
    transcription = _start(audio, model, options)
    for _ in transcription:
        pass
    return transcription.result()


def iter_segments(audio: AudioInput, *, model: ASRModel | str = "whisper-base", **options: Any) -> Iterator[Segment]:
    """The segments of a recording, as they come. Arguments and errors as for `transcribe`."""
    yield from _start(audio, model, options)


def _start(audio: AudioInput, model: ASRModel | str, options: dict[str, Any]) -> Transcription:
    from voxport.errors import UsageError
    from voxport.pipeline import PipelineOptions, Transcription

    names = ("device", "dtype", "source", "offline", "threads", "precision", "graph", "recipe")
    loading = {key: options.pop(key) for key in names if key in options}
    try:
        pipeline_options = PipelineOptions(**options)
    except TypeError as error:
        raise UsageError(f"transcribe: {str(error).rpartition('.__init__() ')[2]}") from error
    if isinstance(model, str):
        from voxport.models import load_models

        return Transcription(audio, load_models(model, **loading), pipeline_options)
    if not hasattr(model, "decode"):
        raise UsageError(
            f"no model: {model!r}", hint="a name, a folder's path as text, or what `voxport.load_model` gave"
        )
    if loading:
        raise UsageError(f"{', '.join(loading)} belong to loading; the model given is loaded already")
    return Transcription(audio, model, pipeline_options)
