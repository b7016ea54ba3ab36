"""faster-whisper as a worker: greedy, one temperature, nothing conditioned on earlier text, its defaults otherwise."""

from __future__ import annotations

import sys
from typing import Any

from protocol import Engine, main

GREEDY: dict[str, Any] = {"beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False}
ONE_WINDOW: dict[str, Any] = {
    "without_timestamps": True,
    "vad_filter": False,
    "no_speech_threshold": None,
    "log_prob_threshold": None,
    "compression_ratio_threshold": None,
}
BATCH_SIZE = 8


class FasterWhisper(Engine):
    """Modes: ``text`` = no voice activity detection (its default); ``vad`` = vad_filter; ``batched`` = its
    BatchedInferencePipeline with its defaults (VAD, no timestamps inside a window, batch 8)."""

    packages = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy")
    modes = ("text", "vad", "batched", "window", "default")

    def load(self, model: str, dtype: str, threads: int) -> None:
        from faster_whisper import WhisperModel

        self._threads = threads
        self._model = WhisperModel(model, device="cpu", compute_type=dtype, cpu_threads=threads, local_files_only=True)
        self._batched: Any = None
        chosen = self._model.model.compute_type  # "int8_float32" for "int8": the rest is in float32
        if chosen.partition("_")[0] != dtype:
            raise ValueError(f"asked for {dtype}, and CTranslate2 chose {chosen}")

    def threads(self) -> int:
        return self._threads  # CTranslate2 does not tell; the CPU seconds of each run show it

    def run(self, audio: Any, language: str, mode: str) -> str:
        if mode == "batched":
            if self._batched is None:
                from faster_whisper import BatchedInferencePipeline

                self._batched = BatchedInferencePipeline(model=self._model)
            segments, _ = self._batched.transcribe(audio, language=language, batch_size=BATCH_SIZE, **GREEDY)
        else:
            options = ONE_WINDOW if mode == "window" else {"vad_filter": mode in ("vad", "default")}
            segments, _ = self._model.transcribe(audio, language=language, **GREEDY, **options)
        return "".join(segment.text for segment in segments)

    def words(self, audio: Any, language: str, mode: str) -> list[tuple[str, float, float, float]]:
        """Modes: ``plain``, ``vad``."""
        segments, _ = self._model.transcribe(
            audio, language=language, word_timestamps=True, vad_filter=mode == "vad", **GREEDY
        )
        return [
            (word.word, float(word.start), float(word.end), float(word.probability))
            for segment in segments
            for word in segment.words or ()
        ]


if __name__ == "__main__":
    sys.exit(main(FasterWhisper()))
