"""OpenAI's Whisper, and its fine-tuned and distilled kin, on our own plain-torch modules.

- `model`: `WhisperModel`, the model contract.
- `net`: the network.
- `checkpoint`: a published folder to a network.
"""

from voxport.models.whisper.model import WhisperModel

__all__ = ["WhisperModel"]
