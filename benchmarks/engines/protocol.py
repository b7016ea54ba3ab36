"""What every engine's worker speaks: one JSON object a line on standard input, one answer a line on standard output.

Requests, by their ``op``:

* ``load``: ``{model, dtype, threads}`` -> ``{versions, threads, seconds, memory}``.
* ``run``: ``{file, language, mode, decoding?}`` -> ``{text, seconds, cpu_seconds, memory}`` (and ``stages``: seconds by
  stage, if known). Its peak of memory is that since the model was loaded.
* ``watch``: ``{file, language, decoding}`` -> ``{segments, seconds, memory}``: a file at the defaults as it is heard:
  ``[start, end, text]`` of each segment, and ``[position, peak]`` every `WATCH_SECONDS` of the recording: the most
  bytes in memory since the one before.
* ``words``: ``{file, language, mode}`` -> ``{words, seconds}``: a recording's words with times, each
  ``[word, start, end, probability]``. Modes are an engine's own.
* ``logits``: ``{file, output}`` -> ``{shape}``: the logits of a recording as one window, float32 (T, V), written to
  ``output`` (.npy). For families whose logits depend on the audio only.
* ``quit``.

The clock of ``run`` starts when what the mode names lies ready and stops when the text is there:

* ``text``: a whole recording to text with timestamps, without conditioning on the text before. From samples in memory.
* ``vad``: the same with the engine's own voice activity detection.
* ``window``: the recording as one window, Whisper's at most 30 s: no voice activity detection, no timestamps, no
  no-speech rule. From samples in memory.
* ``default``: as a user runs it, with voice activity detection and timestamps. From the file.
* ``batched``: with voice activity detection and several windows at once. From the file.

``decoding`` says how words are chosen: ``greedy`` (temperature 0, one beam, no fallback; the default), or ``beam`` with
the values of `BEAM`: five beams at temperature 0, and where the text repeats itself or is improbable, the best of five
samples at the next higher temperature. A window (mode ``window``) has beams only, and no fallback. Engines are
seeded with `SEED` before every recording, CTranslate2 before the first.

A worker runs in the environment of its engine, so this module needs nothing but the standard library until audio is
read. Answers to a request that failed are ``{"error": "..."}``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_RATE = 16_000
MODES = ("text", "vad", "window", "default", "batched")
FROM_FILE = frozenset({"default", "batched"})
DECODINGS = ("greedy", "beam")
BEAM: dict[str, Any] = {
    "beam_size": 5,
    "patience": 1.0,
    "best_of": 5,
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 2.4,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}
"""Under openai-whisper's names; the defaults of its command line."""
SEED = 0
WATCH_SECONDS = 60.0


class Engine:
    """Base of an engine's adapter.

    Attributes:
        packages: distributions whose versions are reported.
        modes: which of `MODES` it can do.
    """

    packages: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("text", "window")

    def load(self, model: str, dtype: str, threads: int) -> None:
        """Load the weights; raises what the engine raises."""
        raise NotImplementedError

    def threads(self) -> int:
        """How many compute threads the engine says it uses, after `load`."""
        raise NotImplementedError

    def prepare(self, file: str, mode: str) -> Any:
        """What `run` takes, made outside the clock: the path itself for the modes in `FROM_FILE`, else samples."""
        return file if mode in FROM_FILE else read_samples(file)

    def run(self, audio: Any, language: str, mode: str, decoding: str) -> str:
        """The text of one recording; `decoding` is one of `DECODINGS`."""
        raise NotImplementedError

    def words(self, audio: Any, language: str, mode: str) -> list[tuple[str, float, float, float]]:
        """The words of samples: text, start and end in seconds, probability."""
        raise ValueError("this engine gives no words with times here")

    def logits(self, audio: Any) -> Any:
        """The logits of samples as one window, a float32 array (T, V)."""
        raise ValueError("this engine gives no logits")

    def watch(self, file: str, language: str, decoding: str) -> Iterator[tuple[float, float, str]]:
        """Start, end (seconds) and text of each segment as they come."""
        raise ValueError("this engine can't be watched")

    def stages(self) -> dict[str, float] | None:
        """Seconds by stage of the last `run`, or None."""
        return None


def read_samples(file: str) -> Any:
    """A file as mono float32 samples at 16 kHz, shape (n,): the same samples for every engine."""
    import numpy as np
    import soundfile

    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def memory() -> dict[str, int]:
    """Bytes of this process in memory: ``now``, and at its ``peak`` since it started or `forget_peak` was called.

    Empty where there is no /proc. `resource.getrusage` counts the same peak, but can't forget it.
    """
    path = Path("/proc/self/status")
    if not path.exists():
        return {}
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return {name: 1024 * int(lines[key].split()[0]) for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}


def forget_peak() -> None:
    """Begin to count the peak anew, where the system lets us: loading a model may take more than running it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of the distributions named; one that is absent is left out."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def answer(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Do one request."""
    if request["op"] == "load":
        begin = time.perf_counter()
        engine.load(request["model"], request["dtype"], request["threads"])
        seconds = time.perf_counter() - begin
        held = memory()
        forget_peak()
        versions_found = versions(engine.packages)
        return {"versions": versions_found, "threads": engine.threads(), "seconds": seconds, "memory": held}
    if request["op"] == "run":
        if request["mode"] not in engine.modes:
            raise ValueError(f"this engine has no mode {request['mode']!r}; it has {', '.join(engine.modes)}")
        decoding = request.get("decoding", DECODINGS[0])
        if decoding not in DECODINGS:
            raise ValueError(f"unknown decoding {decoding!r}; there are {', '.join(DECODINGS)}")
        audio = engine.prepare(request["file"], request["mode"])
        cpu, begin = time.process_time(), time.perf_counter()
        text = engine.run(audio, request["language"], request["mode"], decoding)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
        times = {"seconds": seconds, "cpu_seconds": cpu_seconds, "stages": engine.stages()}
        return {"text": text, **times, "memory": memory()}
    if request["op"] == "watch":
        return watched(engine, request["file"], request["language"], request.get("decoding", DECODINGS[0]))
    if request["op"] == "words":
        audio = read_samples(request["file"])
        begin = time.perf_counter()
        words = engine.words(audio, request["language"], request["mode"])
        return {"words": [list(word) for word in words], "seconds": time.perf_counter() - begin}
    if request["op"] == "logits":
        import numpy as np

        logits = engine.logits(engine.prepare(request["file"], "window"))
        np.save(request["output"], logits)
        return {"shape": list(logits.shape)}
    raise ValueError(f"unknown op {request['op']!r}")


def watched(engine: Engine, file: str, language: str, decoding: str) -> dict[str, Any]:
    """See ``watch``."""
    segments: list[tuple[float, float, str]] = []
    held: list[tuple[float, int]] = []
    begin, position = time.perf_counter(), 0.0
    forget_peak()
    for segment in engine.watch(file, language, decoding):
        segments.append(segment)
        if segment[1] >= position + WATCH_SECONDS:
            position = segment[1]
            held.append((position, memory().get("peak", 0)))
            forget_peak()
    seconds = time.perf_counter() - begin
    if segments:
        held.append((segments[-1][1], memory().get("peak", 0)))
    return {"segments": segments, "seconds": seconds, "memory": held}


def serve(engine: Engine, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until ``quit`` or the end of input."""
    for line in requests:
        request = json.loads(line)
        if request["op"] == "quit":
            return
        try:
            result = answer(engine, request)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is told to the other side, which stops
            result = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(result, ensure_ascii=False) + "\n")
        answers.flush()


def main(engine: Engine) -> int:
    """The worker's command line: a server, or with ``--once`` one clip from start to text (for cold starts)."""
    parser = argparse.ArgumentParser(description="One speech recognition engine as a worker (JSON lines).")
    parser.add_argument("--once", metavar="CLIP", help="print the text of one clip and end")
    parser.add_argument("--model", help="with --once")
    parser.add_argument("--dtype", default="float32", help="with --once")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="with --once")
    parser.add_argument("--language", default="en", help="with --once")
    parser.add_argument("--mode", default="text", choices=MODES, help="with --once")
    parser.add_argument("--decoding", default=DECODINGS[0], choices=DECODINGS, help="with --once")
    arguments = parser.parse_args()
    if arguments.once:
        engine.load(arguments.model, arguments.dtype, arguments.threads)
        audio = engine.prepare(arguments.once, arguments.mode)
        print(engine.run(audio, arguments.language, arguments.mode, arguments.decoding).strip())
        return 0
    # Libraries may print: give them standard error, and keep standard output for the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(engine, sys.stdin, answers)
    return 0
