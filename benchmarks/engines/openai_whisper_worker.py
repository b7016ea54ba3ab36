"""openai-whisper as a worker: nothing conditioned on earlier text, its defaults otherwise."""

from __future__ import annotations

import sys
from typing import Any

from protocol import BEAM, SEED, Engine, main


class OpenAIWhisper(Engine):
    """The model is a ``.pt`` file, loaded in float32 (fp16=False is what it does on a CPU anyway)."""

    packages = ("openai-whisper", "torch", "numpy", "tiktoken")
    modes = ("text", "window")

    def load(self, model: str, dtype: str, threads: int) -> None:
        import torch
        import whisper

        if dtype != "float32":
            raise ValueError("openai-whisper runs in float32 on a CPU")
        torch.set_num_threads(threads)
        self._whisper: Any = whisper
        self._model = whisper.load_model(model, device="cpu")

    def threads(self) -> int:
        import torch

        return torch.get_num_threads()

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        import torch

        whisper = self._whisper
        torch.manual_seed(SEED)
        if mode == "window":
            mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(audio), self._model.dims.n_mels)
            beams = BEAM["beam_size"] if decoding == "beam" else None
            options = whisper.DecodingOptions(language=language, without_timestamps=True, fp16=False, beam_size=beams)
            return str(whisper.decode(self._model, mel, options).text)
        chosen = {"temperature": 0.0} if decoding == "greedy" else BEAM
        result = whisper.transcribe(
            self._model,
            audio,
            language=language,
            condition_on_previous_text=False,
            fp16=False,
            verbose=None,
            **chosen,
        )
        return str(result["text"])


if __name__ == "__main__":
    sys.exit(main(OpenAIWhisper()))
