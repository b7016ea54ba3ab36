"""Front ends: samples to what a model's encoder takes. numpy only, one file per family.

- `whisper`: Whisper's log-mel spectrogram.
- `lasr`: MedASR's (`lasr_ctc`).
"""
