"""faster-whisper as a worker: nothing conditioned on earlier text, its defaults otherwise."""

from __future__ import annotations

import sys
from typing import Any

from protocol import BEAM, SEED, Engine, main

GREEDY: dict[str, Any] = {"beam_size": 1, "temperature": 0.0}
NAMES = {"logprob_threshold": "log_prob_threshold"}
ONE_WINDOW: dict[str, Any] = {
    "without_timestamps": True,
    "vad_filter": False,
    "no_speech_threshold": None,
    "log_prob_threshold": None,
    "compression_ratio_threshold": None,
}
BATCH_SIZE = 8


def options(decoding: str, mode: str) -> dict[str, Any]:
    """Arguments of its ``transcribe``."""
    chosen = GREEDY if decoding == "greedy" else {NAMES.get(name, name): value for name, value in BEAM.items()}
    if mode == "window":
        chosen = chosen | ONE_WINDOW | {"temperature": 0.0}
    elif mode != "batched":
        chosen = chosen | {"vad_filter": mode in ("vad", "default")}
    return chosen | {"condition_on_previous_text": False}


class FasterWhisper(Engine):
    """Modes: ``text`` = no voice activity detection (its default); ``vad`` = vad_filter; ``batched`` = its
    BatchedInferencePipeline with its defaults (VAD, no timestamps inside a window, batch 8)."""

    packages = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy")
    modes = ("text", "vad", "batched", "window", "default")

    def load(self, model: str, dtype: str, threads: int) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        # A thread's generator takes the seed when it is first used, so this can't be done anew for every recording.
        ctranslate2.set_random_seed(SEED)
        self._threads = threads
        self._model = WhisperModel(model, device="cpu", compute_type=dtype, cpu_threads=threads, local_files_only=True)
        self._batched: Any = None
        chosen = self._model.model.compute_type  # "int8_float32" for "int8": the rest is in float32
        if chosen.partition("_")[0] != dtype:
            raise ValueError(f"asked for {dtype}, and CTranslate2 chose {chosen}")

    def threads(self) -> int:
        return self._threads  # CTranslate2 does not tell; the CPU seconds of each run show it

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        chosen = options(decoding, mode)
        if mode == "batched":
            if self._batched is None:
                from faster_whisper import BatchedInferencePipeline

                self._batched = BatchedInferencePipeline(model=self._model)
            segments, _ = self._batched.transcribe(audio, language=language, batch_size=BATCH_SIZE, **chosen)
        else:
            segments, _ = self._model.transcribe(audio, language=language, **chosen)
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
