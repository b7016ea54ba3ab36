"""How many operations our decoding dispatches to an NPU, and how often it waits for it, beside transformers'.

    python benchmarks/npu_operations.py

Both run on the simulated NPU (voxport.testing), which counts. It says nothing about speed on an NPU but this: decoding
there is bound by the host, which dispatches operation after operation, so fewer of them are less work. Exit status 1 if
Whisper's step dispatches more than half of the operations of transformers' `generate`, or waits for the device inside a
step.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from setup_engines import DEFAULT_ROOT
from weights import pull, random_medasr

SHARE = 0.5
"""Operations of a step that ours may dispatch at most, of transformers'."""

WINDOW = 11.0


@dataclass(frozen=True)
class Counted:
    """What one engine dispatched.

    Attributes:
        model, engine: names.
        batch: windows.
        tokens: steps of the decoder; for MedASR None.
        encoder: operations of the encoder's forward, or of the whole network.
        operations: of all steps together, prompt included.
        waits: how often the host waited for the device meanwhile.
    """

    model: str
    engine: str
    batch: int
    tokens: int | None
    encoder: int
    operations: int
    waits: int

    @property
    def per_token(self) -> float:
        return self.operations / (self.tokens or 1)

    @property
    def waits_per_token(self) -> float:
        return self.waits / (self.tokens or 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="whisper-tiny.en,whisper-base", help="names or folders of Whisper")
    parser.add_argument("--medasr", type=Path, help="a MedASR folder; default: random weights of its shape")
    parser.add_argument("--environments", type=Path, default=DEFAULT_ROOT, help="where those are kept")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--batches", default="1,4")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    return parser.parse_args()


def whisper(folder: Path, samples: Any, batch: int) -> list[Counted]:
    """The same windows, greedy, without timestamps, by both engines; the tokens must be equal."""
    import torch
    import transformers

    from voxport import testing
    from voxport.models import load_model
    from voxport.types import Audio, DecodingOptions

    model: Any = load_model(str(folder), "npu:0", "float32")
    windows = [Audio(samples)] * batch
    options = DecodingOptions(language="en", timestamps=False, no_speech_threshold=None)
    features = model.features(windows)
    model.decode(model.encode(features), options)  # what is made once is made
    with testing.count_operations() as encoding:
        encoded = model.encode(features)
    with testing.count_operations() as decoding:
        hypotheses = model.decode(encoded, options)
    ours = [list(one.tokens) for one in hypotheses]
    steps = len(ours[0]) + 1  # the end of text
    counts = [Counted(folder.name, "voxport", batch, steps, encoding.total, decoding.total, decoding.synchronisations)]

    published: Any = transformers.WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    published = published.to("npu:0").eval()
    mel = torch.from_numpy(features.mel).to("npu:0")
    arguments = {"language": "en", "task": "transcribe"} if model.tokenizer.multilingual else {}
    with torch.inference_mode():
        published.generate(mel, return_timestamps=False, **arguments)
        with testing.count_operations() as encoding:
            published.get_encoder()(mel)
        with testing.count_operations() as whole:
            tokens = published.generate(mel, return_timestamps=False, **arguments).tolist()
    theirs = [[token for token in row if token < model.tokenizer.eot] for row in tokens]
    if theirs != ours:
        raise SystemExit(f"{folder.name}: the engines say different tokens on the simulated NPU")
    name = f"transformers {transformers.__version__}"
    rest = whole.total - encoding.total
    counts.append(Counted(folder.name, name, batch, steps, encoding.total, rest, whole.synchronisations))
    return counts


def medasr(folder: Path, samples: Any, batch: int) -> list[Counted]:
    """One forward of the network by both engines, and the tokens of its frames."""
    import torch
    import transformers

    from voxport import testing
    from voxport.models import load_model
    from voxport.types import Audio

    model: Any = load_model(str(folder), "npu:0", "float32")
    features = model.features([Audio(samples)] * batch)
    model.paths(model.encode(features))
    with testing.count_operations() as encoding:
        encoded = model.encode(features)
    with testing.count_operations() as decoding:
        model.paths(encoded)
    name, waits = "medasr (random weights)", decoding.synchronisations
    counts = [Counted(name, "voxport", batch, None, encoding.total, decoding.total, waits)]
    published: Any = transformers.LasrForCTC.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    published = published.to("npu:0").eval()
    mel = torch.from_numpy(features.mel).to("npu:0")
    with torch.inference_mode():
        published.generate(mel)
        with testing.count_operations() as encoding:
            published(input_features=mel)
        with testing.count_operations() as whole:
            published.generate(mel).tolist()
    engine = f"transformers {transformers.__version__}"
    rest = whole.total - encoding.total
    counts.append(Counted(name, engine, batch, None, encoding.total, rest, whole.synchronisations))
    return counts


def failures(counts: list[Counted]) -> list[str]:
    """Requirements that are missed, in words; ours and theirs take turns in `counts`."""
    found = []
    for ours, theirs in zip(counts[::2], counts[1::2], strict=True):
        if ours.tokens is None:
            continue
        share = ours.per_token / theirs.per_token
        if share > SHARE:
            found.append(f"{ours.model}, batch {ours.batch}: {share:.2f} of transformers' operations")
        if ours.waits_per_token >= 1:
            found.append(f"{ours.model}, batch {ours.batch}: it waits inside steps")
    return found


def report(counts: list[Counted], missed: list[str]) -> str:
    lines = [
        "# Operations on an NPU",
        "",
        "Counted on the **simulated** NPU, which runs on the CPU: how many operations the host dispatches, and how",
        f"often it waits for it. One window of {WINDOW:g} s in float32, greedy, without timestamps; both engines say",
        "the same tokens. Decoding on an NPU is bound by the host, so this is the nearest thing to its speed that",
        "can be had without one. It is no measurement of an NPU.",
        "",
        "| model | batch | engine | encoder | steps | operations a step | waits a step |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in counts:
        steps = "-" if one.tokens is None else str(one.tokens)
        each = f"{one.operations} in all" if one.tokens is None else f"{one.per_token:.1f}"
        waits = f"{one.waits} in all" if one.tokens is None else f"{one.waits_per_token:.2f}"
        lines.append(f"| {one.model} | {one.batch} | {one.engine} | {one.encoder} | {steps} | {each} | {waits} |")
    verdict = "; ".join(missed) or "every requirement is met"
    lines += ["", f"Required: at most {SHARE:g} of transformers' operations, no wait in each step. **{verdict}.**"]
    return "\n".join(lines) + "\n"


def main() -> int:
    arguments = parse()
    import soundfile

    from voxport import testing

    testing.activate(devices=1)
    clip = next(one for one in read_manifest(arguments.manifest) if one.name == "jfk")
    samples, rate = soundfile.read(clip.file, dtype="float32")
    samples = samples[: round(WINDOW * rate)]
    python = Path(sys.executable)
    counts: list[Counted] = []
    for batch in map(int, arguments.batches.split(",")):
        for name in arguments.models.split(","):
            counts += whisper(Path(name) if Path(name).is_dir() else Path(pull(name, python)), samples, batch)
        counts += medasr(arguments.medasr or random_medasr(arguments.environments, python), samples, batch)
    missed = failures(counts)
    text = report(counts, missed)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "npu_operations.md").write_text(text, encoding="utf-8")
    value = {"simulated": "npu", "machine": machine.describe(), "counts": [asdict(one) for one in counts]}
    (arguments.results / "npu_operations.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
