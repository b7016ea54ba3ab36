"""The only pipeline: recording -> regions -> batches of windows -> transcript.

- `options`: what a caller may ask for.
- `regions`: the recording as it streams in, cut at pauses.
- `schedule`: which windows are decoded together, and in which order results come out.
- `transcription`: all of it for one recording.
"""

from voxport.pipeline.options import PipelineOptions
from voxport.pipeline.transcription import Transcription

__all__ = ["PipelineOptions", "Transcription"]
