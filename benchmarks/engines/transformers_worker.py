"""The transformers pipeline as a worker: greedy, one temperature, nothing conditioned on earlier text."""

from __future__ import annotations

import sys
from typing import Any

from protocol import SAMPLE_RATE, Engine, main


class Transformers(Engine):
    """Long recordings go through its sequential algorithm (no ``chunk_length_s``), as its documentation advises."""

    packages = ("transformers", "torch", "numpy", "tokenizers")
    modes = ("text", "window")

    def load(self, model: str, dtype: str, threads: int) -> None:
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        self._torch = torch
        self._pipeline: Any = pipeline("automatic-speech-recognition", model, dtype=getattr(torch, dtype), device="cpu")
        self._model: Any = self._pipeline.model
        self._multilingual = bool(getattr(self._model.generation_config, "is_multilingual", True))

    def threads(self) -> int:
        return int(self._torch.get_num_threads())

    def run(self, audio: Any, language: str, mode: str) -> str:
        # English-only checkpoints refuse these two.
        options: dict[str, Any] = {"language": language, "task": "transcribe"} if self._multilingual else {}
        if mode == "window":
            batch = self._pipeline.feature_extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
            features = batch.input_features.to(self._model.dtype)
            with self._torch.inference_mode():
                tokens = self._model.generate(features, num_beams=1, do_sample=False, **options)
            return str(self._pipeline.tokenizer.decode(tokens[0], skip_special_tokens=True))
        options |= {"num_beams": 1, "do_sample": False, "temperature": 0.0, "condition_on_prev_tokens": False}
        inputs = {"raw": audio, "sampling_rate": SAMPLE_RATE}
        return str(self._pipeline(inputs, return_timestamps=True, generate_kwargs=options)["text"])


if __name__ == "__main__":
    sys.exit(main(Transformers()))
