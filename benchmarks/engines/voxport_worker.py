"""voxport as a worker."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from protocol import BEAM, SAMPLE_RATE, SEED, Engine, main

if TYPE_CHECKING:
    from collections.abc import Iterator


def options(decoding: str) -> dict[str, Any]:
    """Arguments of ``transcribe``."""
    return {} if decoding == "greedy" else {**BEAM, "seed": SEED}


class Voxport(Engine):
    """``text`` and ``default`` are the same options (its defaults); they differ in what the clock covers."""

    packages = ("voxport", "torch", "numpy", "tokenizers", "av")
    modes = ("text", "window", "default")

    def load(self, model: str, dtype: str, threads: int) -> None:
        import torch

        import voxport

        self._voxport: Any = voxport
        self._model: Any = voxport.load_model(model, device="cpu", dtype=dtype, offline=True, threads=threads)
        self._torch = torch
        self._stages: dict[str, float] | None = None

    def threads(self) -> int:
        return int(self._torch.get_num_threads())

    def stages(self) -> dict[str, float] | None:
        return self._stages

    def logits(self, audio: Any) -> Any:
        from voxport.types import Audio

        encoded = self._model.encode(self._model.features([Audio(audio, SAMPLE_RATE)]))
        return self._model.logits(encoded)[0]

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        if mode == "window":
            return self._window(audio, language, decoding)
        source = audio if mode == "default" else (audio, SAMPLE_RATE)
        transcript = self._voxport.transcribe(source, model=self._model, language=language, **options(decoding))
        self._stages = dict(transcript.timings)
        return str(transcript.text)

    def watch(self, file: str, language: str, decoding: str) -> Iterator[tuple[float, float, str]]:
        for segment in self._voxport.iter_segments(file, model=self._model, language=language, **options(decoding)):
            yield segment.start, segment.end, segment.text

    def words(self, audio: Any, language: str, mode: str) -> list[tuple[str, float, float, float]]:
        """Modes: ``default``; ``published`` = by the published alignment heads alone."""
        self._model._words.finding = mode == "default"
        transcript = self._voxport.transcribe(
            (audio, SAMPLE_RATE), model=self._model, language=language, word_timestamps=True
        )
        return [(word.word, word.start, word.end, word.probability) for word in transcript.words]

    def _window(self, audio: Any, language: str, decoding: str) -> str:
        from voxport.types import Audio, DecodingOptions

        chosen = {"beam_size": BEAM["beam_size"]} if decoding == "beam" else {}
        options = DecodingOptions(timestamps=False, language=language, no_speech_threshold=None, **chosen)
        begin = time.perf_counter()
        features = self._model.features([Audio(audio, SAMPLE_RATE)])
        featured = time.perf_counter()
        encoded = self._model.encode(features)
        encoded_at = time.perf_counter()
        hypothesis = self._model.decode(encoded, options)[0]
        decoded = time.perf_counter()
        self._stages = {"features": featured - begin, "encode": encoded_at - featured, "decode": decoded - encoded_at}
        return str(hypothesis.text)


if __name__ == "__main__":
    sys.exit(main(Voxport()))
