"""transformers as a worker: the family that the folder's config.json names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from protocol import BEAM, SAMPLE_RATE, SEED, Engine, main

GREEDY: dict[str, Any] = {"num_beams": 1, "do_sample": False, "temperature": 0.0}
COMPRESSION_RATIO = 1.35
"""Its documentation's counterpart of the text's 2.4: it compresses tokens instead."""


def beam_options() -> dict[str, Any]:
    """Arguments of ``generate``. It knows no best of several samples: it draws one at each temperature."""
    return {
        "num_beams": BEAM["beam_size"],
        "temperature": BEAM["temperature"],
        "compression_ratio_threshold": COMPRESSION_RATIO,
        "logprob_threshold": BEAM["logprob_threshold"],
        "no_speech_threshold": BEAM["no_speech_threshold"],
    }


class Whisper:
    """Its pipeline: nothing conditioned on earlier text.

    Long recordings go through its sequential algorithm (no ``chunk_length_s``), as its documentation advises.
    """

    def __init__(self, folder: str, dtype: Any) -> None:
        from transformers import pipeline

        self._pipeline: Any = pipeline("automatic-speech-recognition", folder, dtype=dtype, device="cpu")
        self._model: Any = self._pipeline.model
        self._multilingual = bool(getattr(self._model.generation_config, "is_multilingual", True))

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        import torch

        torch.manual_seed(SEED)
        # English-only checkpoints refuse these two.
        options: dict[str, Any] = {"language": language, "task": "transcribe"} if self._multilingual else {}
        if mode == "window":
            beams = BEAM["beam_size"] if decoding == "beam" else 1
            batch = self._pipeline.feature_extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
            features = batch.input_features.to(self._model.dtype)
            with torch.inference_mode():
                tokens = self._model.generate(features, num_beams=beams, do_sample=False, **options)
            return str(self._pipeline.tokenizer.decode(tokens[0], skip_special_tokens=True))
        options |= GREEDY if decoding == "greedy" else beam_options()
        options |= {"condition_on_prev_tokens": False}
        inputs = {"raw": audio, "sampling_rate": SAMPLE_RATE}
        return str(self._pipeline(inputs, return_timestamps=True, generate_kwargs=options)["text"])

    def logits(self, audio: Any) -> Any:
        raise ValueError("Whisper's logits depend on tokens")


class Lasr:
    """MedASR's: sdpa attention, and no attention mask, since nothing is padded. One window only."""

    def __init__(self, folder: str, dtype: Any) -> None:
        # By their own names: in transformers 5.0 AutoTokenizer gives another class, which joins no repeated tokens.
        from transformers import LasrFeatureExtractor, LasrForCTC, LasrTokenizer

        self._extractor: Any = LasrFeatureExtractor.from_pretrained(folder)
        self._tokenizer: Any = LasrTokenizer.from_pretrained(folder)
        # In evaluation mode, as from_pretrained leaves it.
        self._model: Any = LasrForCTC.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        import torch

        if (mode, decoding) != ("window", "greedy"):
            raise ValueError(f"LASR has no mode {mode!r} with decoding {decoding!r} here")
        with torch.inference_mode():
            tokens = self._model.generate(self._features(audio))
        return str(self._tokenizer.decode(tokens[0], skip_special_tokens=True))

    def logits(self, audio: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(input_features=self._features(audio)).logits[0].float().numpy()

    def _features(self, audio: Any) -> Any:
        batch = self._extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return batch.input_features.to(self._model.dtype)


class Transformers(Engine):
    packages = ("transformers", "torch", "numpy", "tokenizers")
    modes = ("text", "window")

    def load(self, model: str, dtype: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        kind = json.loads((Path(model) / "config.json").read_text())["model_type"]
        self._model: Whisper | Lasr = (Lasr if kind == "lasr_ctc" else Whisper)(model, getattr(torch, dtype))

    def threads(self) -> int:
        import torch

        return torch.get_num_threads()

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        return self._model.run(audio, language, mode, decoding)

    def logits(self, audio: Any) -> Any:
        return self._model.logits(audio)


if __name__ == "__main__":
    sys.exit(main(Transformers()))
