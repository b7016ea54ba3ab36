"""How many operations our decoding dispatches to an NPU, and how often it waits for it, beside transformers'.

    python benchmarks/npu_operations.py

Both run on the simulated NPU (voxport.testing), which counts. It says nothing about speed on an NPU but this: decoding
there is bound by the host, which dispatches operation after operation, so fewer of them are less work. Exit status 1 if
Whisper's step dispatches more than half of the operations of transformers' `generate` in float16, which is what
``--dtype auto`` means on an NPU, or waits for the device inside a step. torch_npu's fused operations count as one, as
they are; the simulation has two of them (npu_add_layer_norm, and npu_ffn, which knows no float32).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from setup_engines import DEFAULT_ROOT
from weights import locate, random_medasr

SHARE = 0.5
"""Operations of a step that ours may dispatch at most, of transformers'."""

JUDGED = "float16"
"""The dtype in which it may: Whisper's default on an NPU."""

DTYPES = (JUDGED, "float32")
CLIP, WINDOW = "long-lj001", 28.9
"""The recording, and how many seconds of it: a window of speech that ends with a sentence's part, so that `generate`,
which looks for more behind the last timestamp, decodes once too."""


@dataclass(frozen=True)
class Counted:
    """What one engine dispatched.

    Attributes:
        model, engine, dtype: names.
        timestamps: whether times were decoded; for MedASR None.
        batch: windows.
        tokens: that the longest row gave, the end of text among them; for transformers the decoder's calls, one for
            each; for MedASR None.
        encoder: operations of the encoder's forward, or of the whole network.
        operations: of all steps together, prompt included.
        waits: how often the host waited for the device meanwhile.
        equal: whether both engines said the same.
    """

    model: str
    engine: str
    dtype: str
    timestamps: bool | None
    batch: int
    tokens: int | None
    encoder: int
    operations: int
    waits: int
    equal: bool = True

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


def whisper(folder: Path, name: str, dtype: str, samples: Any, batch: int, *, timestamps: bool) -> list[Counted]:
    """The same windows, greedy, by both engines."""
    import torch
    import transformers

    from voxport import testing
    from voxport.models import load_model
    from voxport.types import Audio, DecodingOptions

    model: Any = load_model(str(folder), "npu:0", dtype)
    windows = [Audio(samples)] * batch
    options = DecodingOptions(language="en", timestamps=timestamps, no_speech_threshold=None)
    features = model.features(windows)
    model.decode(model.encode(features), options)  # what is made once is made
    with testing.count_operations() as encoding:
        encoded = model.encode(features)
    with testing.count_operations() as decoding:
        hypotheses = model.decode(encoded, options)
    ours = [list(one.tokens) for one in hypotheses]

    published: Any = transformers.WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    published = published.to("npu:0").eval()
    mel = torch.from_numpy(features.mel).to("npu:0", getattr(torch, dtype))
    arguments: dict[str, Any] = {"return_timestamps": timestamps}
    if model.tokenizer.multilingual:
        arguments |= {"language": "en", "task": "transcribe"}
    with torch.inference_mode():
        published.generate(mel, **arguments)
        calls = 0

        def called(*_: object) -> None:
            nonlocal calls
            calls += 1

        hook = published.model.decoder.register_forward_hook(called)
        with testing.count_operations() as their_encoding:
            published.get_encoder()(mel)
        with testing.count_operations() as whole:
            tokens = published.generate(mel, **arguments).tolist()
        hook.remove()
    eot = model.tokenizer.eot
    words = [[[token for token in row if token < eot] for row in rows] for rows in (ours, tokens)]
    equal = words[0] == words[1]
    if not equal and dtype == "float32":
        raise SystemExit(f"{name}: the engines say different tokens on the simulated NPU")

    def counted(engine: str, steps: int, encoder: int, operations: int, waits: int) -> Counted:
        return Counted(name, engine, dtype, timestamps, batch, steps, encoder, operations, waits, equal)

    longest = max(map(len, ours)) + 1
    rest = whole.total - their_encoding.total
    return [
        counted("voxport", longest, encoding.total, decoding.total, decoding.synchronisations),
        counted(f"transformers {transformers.__version__}", calls, their_encoding.total, rest, whole.synchronisations),
    ]


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
    counts = [Counted(name, "voxport", "float32", None, batch, None, encoding.total, decoding.total, waits)]
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
    waits = whole.synchronisations
    counts.append(Counted(name, engine, "float32", None, batch, None, encoding.total, rest, waits))
    return counts


def pairs(counts: list[Counted]) -> list[tuple[Counted, Counted]]:
    """Ours and theirs, which take turns in `counts`."""
    return list(zip(counts[::2], counts[1::2], strict=True))


def failures(counts: list[Counted]) -> list[str]:
    """Requirements that are missed, in words."""
    found = []
    for ours, theirs in pairs(counts):
        if ours.tokens is None:
            continue
        label = f"{ours.model}, {ours.dtype}, {'with' if ours.timestamps else 'without'} times, batch {ours.batch}"
        share = ours.per_token / theirs.per_token
        if ours.dtype == JUDGED and share > SHARE:
            found.append(f"{label}: {share:.2f} of transformers' operations")
        if ours.waits_per_token >= 1:
            found.append(f"{label}: it waits inside steps")
    return found


def report(counts: list[Counted], missed: list[str]) -> str:
    engine = counts[1].engine
    lines = [
        "# Operations on an NPU",
        "",
        "Counted on the **simulated** NPU, which runs on the CPU: how many operations the host dispatches, and how",
        f"often it waits for it. One window of {WINDOW:g} s of speech, greedy. Decoding on an NPU is bound by the",
        "host, so this is the nearest thing to its speed that can be had without one. It is no measurement of an NPU.",
        "",
        "## Whisper, a token",
        "",
        f"ours / {engine} with sdpa; operations and waits of all steps, the prompt's among them, by tokens.",
        "",
        "| model | dtype | times | batch | tokens | operations a token | share | waits a token |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for ours, theirs in pairs(counts):
        if ours.tokens is None:
            continue
        tokens = f"{ours.tokens} / {theirs.tokens}{'' if ours.equal else ', different words'}"
        lines.append(
            f"| {ours.model} | {ours.dtype} | {'yes' if ours.timestamps else 'no'} | {ours.batch} | {tokens}"
            f" | {ours.per_token:.1f} / {theirs.per_token:.1f} | {ours.per_token / theirs.per_token:.3f}"
            f" | {ours.waits_per_token:.2f} / {theirs.waits_per_token:.2f} |"
        )
    lines += [
        "",
        "## In all",
        "",
        f"ours / {engine}: the encoder's forward, or that of MedASR's whole network, and what CTC needs behind it.",
        "",
        "| model | dtype | batch | network | tokens of its frames | waits |",
        "|---|---|---|---|---|---|",
    ]
    for ours, theirs in pairs(counts):
        if ours.timestamps:
            continue
        network = f"{ours.encoder} / {theirs.encoder}"
        behind = f"{ours.operations} / {theirs.operations}" if ours.tokens is None else "-"
        waits = f"{ours.waits} / {theirs.waits}" if ours.tokens is None else "-"
        lines.append(f"| {ours.model} | {ours.dtype} | {ours.batch} | {network} | {behind} | {waits} |")
    verdict = "; ".join(missed) or "every requirement is met"
    lines += [
        "",
        f"Required: in {JUDGED}, Whisper's default on an NPU, at most {SHARE:g} of transformers' operations; in no",
        f"dtype a wait in each step. **{verdict}.**",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    arguments = parse()
    import soundfile

    from voxport import testing

    testing.activate(devices=1)
    clip = next(one for one in read_manifest(arguments.manifest) if one.name == CLIP)
    samples, rate = soundfile.read(clip.file, dtype="float32")
    samples = samples[: round(WINDOW * rate)]
    python = Path(sys.executable)
    counts: list[Counted] = []
    for name in arguments.models.split(","):
        folder = locate(name, python)
        for dtype, timestamps, batch in itertools.product(
            DTYPES, (False, True), map(int, arguments.batches.split(","))
        ):
            sys.stderr.write(f"{name} {dtype} batch {batch}{' times' if timestamps else ''}\n")
            counts += whisper(folder, Path(name).name, dtype, samples, batch, timestamps=timestamps)
    for batch in map(int, arguments.batches.split(",")):
        sys.stderr.write(f"medasr batch {batch}\n")
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
