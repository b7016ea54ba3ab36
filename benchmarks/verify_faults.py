"""Whether verify finds a fault and names the module it sits in: one fault at a time, at a random module, many seeds.

    python benchmarks/verify_faults.py

A fault is put into one stage of the candidate's table (`voxport.models.stages`), in float32. It *counts* when it moves
the logits by more than ten times of what rounding does between voxport and transformers. Of those that count all must
fail under the policy ``exact``, and in 95 % the worst finding must be the module itself (for a layer that is left out:
a module of that layer). Stages without the fault compute what they computed before, so that is not done again for each
seed; tests/test_verify_faults.py goes the whole way. Exit status 1 if either is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from setup_engines import DEFAULT_ROOT
from weights import locate, random_medasr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

NAMED = 0.95
COUNTS = 10.0
"""Times rounding."""

KINDS = {
    "weight_scaled": "a weight scaled by 2 %",
    "heads_swapped": "two attention heads swapped",
    "norm_epsilon": "a norm's epsilon 1e-3",
    "tanh_gelu": "GELU's tanh form",
    "hf32": "factors with 11 bits of mantissa",
    "overflow": "values beyond half of the largest are infinite",
    "mask": "a mask off by one",
    "layer_skipped": "a layer left out",
}


class Faulty:
    """A model with one fault in its table."""

    def __init__(self, model: Any, stages: list[Any], altered: dict[str, dict[str, Any]]) -> None:
        self._model, self._stages, self._altered = model, stages, altered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stages(self) -> list[Any]:
        return self._stages

    def given(self, features: Any, tokens: Any) -> Any:
        return self._model.given(features, tokens)

    def parameter(self, path: str) -> dict[str, Any]:
        return {**self._model.parameter(path), **self._altered.get(path, {})}

    def capture(self, names: Collection[str], features: Any, tokens: Any) -> dict[str, Any]:
        import torch

        from voxport.models.stages import run_stages

        with torch.inference_mode():
            return run_stages(self._stages, self.given(features, tokens), names)

    def logits(self, encoded: Any, tokens: Any = None) -> Any:
        """Of the features that stand in for what is encoded."""
        last = self._stages[-1].name
        return self.capture([last], encoded, tokens)[last].float().cpu().numpy()

    def encode(self, features: Any) -> Any:
        return features


def places(kind: str, stages: Sequence[Any]) -> list[str]:
    """Stages that can have it; for a layer that is left out, the layers."""
    if kind == "layer_skipped":
        return sorted({layer_of(stage.name) for stage in stages} - {""})
    chosen: dict[str, Callable[[Any], bool]] = {
        "weight_scaled": lambda one: one.kind in ("linear", "convolution"),
        "hf32": lambda one: one.kind in ("linear", "convolution"),
        "heads_swapped": lambda one: one.kind == "attention",
        "mask": lambda one: one.kind == "attention",
        "norm_epsilon": lambda one: one.kind == "norm",
        "tanh_gelu": lambda one: one.kind == "activation" and one.name.startswith("model."),
        "overflow": lambda one: one.kind in ("linear", "convolution", "residual"),
    }
    return [stage.name for stage in stages if chosen[kind](stage)]


def layer_of(name: str) -> str:
    """ "model.encoder.layers.3" of "model.encoder.layers.3.fc1"."""
    parts = name.split(".")
    return ".".join(parts[: parts.index("layers") + 2]) if "layers" in parts else ""


def inject(kind: str, place: str, model: Any, random: Any) -> Faulty:
    """`model` with the fault at `place`."""
    altered: dict[str, dict[str, Any]] = {}
    stages = []
    for stage in model.stages():
        if kind == "layer_skipped":
            inside = layer_of(stage.name) == place
            skipped = inside and (stage.kind == "residual" or stage.name.endswith(".norm_out"))
            stages.append(replace(stage, compute=lambda x, *_: x) if skipped else stage)
        elif stage.name == place:
            stages.append(replace(stage, compute=fault(kind, stage, model, random, altered)))
        else:
            stages.append(stage)
    return Faulty(model, stages, altered)


def fault(kind: str, stage: Any, model: Any, random: Any, altered: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    """What the stage computes instead."""
    import torch
    import torch.nn.functional as F

    right = stage.compute
    parameters = model.parameter(stage.module) if stage.module else {}
    if kind == "weight_scaled":
        altered[stage.module] = {"weight": parameters["weight"] * 1.02}
        bias = parameters.get("bias")

        def scaled(*inputs: Any) -> Any:
            result = right(*inputs)
            offset = 0 if bias is None else (bias[:, None] if stage.name.startswith("model.encoder.conv") else bias)
            return (result - offset) * 1.02 + offset

        return scaled
    if kind == "heads_swapped":
        first, second = random.choice(stage.heads, 2, replace=False).tolist()

        def swapped(*inputs: Any) -> Any:
            heads = right(*inputs).unflatten(-1, (stage.heads, -1)).clone()
            heads[..., [first, second], :] = heads[..., [second, first], :]
            return heads.flatten(-2)

        return swapped
    if kind == "norm_epsilon":
        altered[stage.module] = {"eps": torch.tensor(1e-3, dtype=torch.float64)}
        norm = model.net.get_submodule(stage.module)

        def other(x: Any) -> Any:
            before, norm.eps = norm.eps, 1e-3
            try:
                return right(x)
            finally:
                norm.eps = before

        return other
    if kind == "tanh_gelu":
        return lambda x: F.gelu(x, approximate="tanh")
    if kind == "hf32":

        def few(value: Any) -> Any:
            mantissa, exponent = torch.frexp(value)
            return torch.ldexp(torch.round(mantissa * 2**11) / 2**11, exponent)

        weight = model.net.get_submodule(stage.module).weight

        def rounded(x: Any) -> Any:
            before = weight.data.clone()
            weight.data.copy_(few(before))
            try:
                return right(few(x))
            finally:
                weight.data.copy_(before)

        return rounded
    if kind == "overflow":

        def beyond(*inputs: Any) -> Any:
            result = right(*inputs).clone()
            limit = result.abs().max() / 2
            return torch.where(result.abs() > limit, torch.copysign(torch.full_like(result, torch.inf), result), result)

        return beyond
    return lambda q, k, v: right(*masked(stage.name, q, k, v))


def masked(name: str, q: Any, k: Any, v: Any) -> tuple[Any, Any, Any]:
    """As if each position saw the one behind it instead of its own (decoder), or the last key were hidden."""
    import torch

    if ".decoder." in name and name.endswith("self_attn"):

        def following(x: Any) -> Any:
            return torch.cat([x[:, 1:], x[:, -1:]], 1)

        return q, following(k), following(v)
    return q, k[:, :-1], v[:, :-1]


@dataclass(frozen=True)
class Result:
    """One fault.

    Attributes:
        family, kind, seed, place: which.
        moved: relative L2 of the logits against those without it.
        counts: whether that is more than `COUNTS` times rounding.
        failed: whether ``exact`` fails.
        named: the worst finding's module.
        right: whether that is the place.
        cause: that was found.
    """

    family: str
    kind: str
    seed: int
    place: str
    moved: float
    counts: bool
    failed: bool
    named: str
    right: bool
    cause: str


class Bench:
    """A clean candidate against the published implementation, once; then faults."""

    def __init__(self, family: str, folder: Path, samples: Any, seconds: float, tokens: int) -> None:
        from voxport.sides import Side
        from voxport.types import Audio, DecodingOptions
        from voxport.verify.looking import look

        self.family = family
        sides: list[Any] = [Side.parse(text).load(str(folder)) for text in ("transformers/cpu:float32", "cpu:float32")]
        self.reference, self.model = sides
        self.features = self.reference.features([Audio(samples[: round(seconds * 16_000)])])
        self.tokens = None
        if family == "whisper":
            heard = self.model.decode(self.model.encode(self.features), DecodingOptions(no_speech_threshold=None))[0]
            self.tokens = [[*self.model.prompt("en", "transcribe", True), *heard.tokens][:tokens]]
        self.stages = self.model.stages()
        self.clean = {
            result.name: result for result in look(self.reference, self.model, self.features, self.tokens, "float32")
        }
        names = [stage.name for stage in self.stages]
        self.theirs = self.reference.capture(names, self.features, self.tokens)
        self.ours = self.model.capture(names, self.features, self.tokens)
        self.last = names[-1]
        self.rounding = self.clean[self.last].passed["relative_l2"]

    def try_one(self, kind: str, seed: int) -> Result:
        import numpy as np
        import torch

        from voxport.metrics import Sums
        from voxport.verify import limits
        from voxport.verify.arrays import as_array
        from voxport.verify.causes import Case, explain
        from voxport.verify.localising import suspects
        from voxport.verify.outcome import StageResult

        random = np.random.default_rng([seed, list(KINDS).index(kind)])
        place = str(random.choice(places(kind, self.stages)))
        faulty = inject(kind, place, self.model, random)
        changed = [
            (new, old) for new, old in zip(faulty.stages(), self.stages, strict=True) if new.compute is not old.compute
        ]
        given = self.model.given(self.features, self.tokens)
        results = dict(self.clean)
        found = {}
        with torch.inference_mode():
            for stage, _ in changed:
                inputs = [given.get(one, self.theirs.get(one)) for one in stage.reads]
                found[stage.name] = (inputs, stage.compute(*inputs))
                made = Sums().add(as_array(found[stage.name][1]), as_array(self.theirs[stage.name])).metrics()
                results[stage.name] = StageResult(stage.name, stage.kind, {}, made)
            logits = self.rerun(faulty, {stage.name for stage, _ in changed}, given)
        moved = Sums().add(as_array(logits), as_array(self.theirs[self.last])).metrics()
        error = float("inf") if moved["non_finite"] else moved["relative_l2"]
        worst = suspects([results[stage.name] for stage in self.stages], "float32")
        failed = bool(worst) or not error <= limits.LOGITS["float32"]
        named = worst[0].name if worst else ""
        cause = ""
        if named in found:
            table = {stage.name: stage for stage in faulty.stages()}
            module = table[named].module
            both = [{} if module is None else side.parameter(module) for side in (self.reference, faulty)]
            cause = explain(Case(table[named], found[named][0], self.theirs[named], found[named][1], *both))[0]
        right = layer_of(named) == place if kind == "layer_skipped" else named == place
        counts = error > COUNTS * self.rounding
        return Result(self.family, kind, seed, place, error, counts, failed, named, right, cause)

    def rerun(self, faulty: Faulty, changed: set[str], given: dict[str, Any]) -> Any:
        """The logits; only what lies behind the fault is computed again."""
        fresh: dict[str, Any] = {}
        for stage in faulty.stages():
            if stage.name in changed or any(one in fresh for one in stage.reads):
                inputs = [given[one] if one in given else fresh.get(one, self.ours[one]) for one in stage.reads]
                fresh[stage.name] = stage.compute(*inputs)
        return fresh.get(self.last, self.ours[self.last])


def table(results: list[Result]) -> list[str]:
    lines = [
        "| family | fault | seeds | counted | fail under exact | module named | causes given |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in dict.fromkeys(one.family for one in results):
        for kind in KINDS:
            some = [one for one in results if (one.family, one.kind) == (family, kind)]
            if not some:
                continue
            counted = [one for one in some if one.counts]
            causes = Counter(one.cause or "none" for one in counted)
            shown = ", ".join(f"{cause} {number}" for cause, number in causes.most_common(3))
            lines.append(
                f"| {family} | {KINDS[kind]} | {len(some)} | {len(counted)} | {sum(one.failed for one in counted)}"
                f" | {sum(one.right for one in counted)} | {shown} |"
            )
    return lines


def failures(results: list[Result]) -> list[str]:
    counted = [one for one in results if one.counts]
    found = [f"{one.family}, {one.kind}, seed {one.seed} at {one.place} passes" for one in counted if not one.failed]
    share = sum(one.right for one in counted) / max(1, len(counted))
    if share < NAMED:
        found.append(f"the module is named in {share:.1%} only")
    return found


def report(results: list[Result], rounding: dict[str, float], missed: list[str]) -> str:
    counted = [one for one in results if one.counts]
    wrong = [one for one in counted if not one.right]
    right = len(counted) - len(wrong)
    lines = [
        "# Faults that verify is to find",
        "",
        "One fault at a time, at a random module, float32, against transformers on the CPU. A fault counts when the",
        f"logits move by more than {COUNTS:g} times what rounding does: "
        + ", ".join(f"{family} {value:.2g}" for family, value in rounding.items())
        + " (relative L2).",
        "",
        *table(results),
        "",
        f"Of {len(results)} faults {len(counted)} count; of these {sum(one.failed for one in counted)} fail under",
        f"`exact`, and in {right} ({right / max(1, len(counted)):.1%}) the worst finding is the module itself.",
        "",
        "Misses:" if wrong else "No misses.",
        *(
            f"- {one.family}, {KINDS[one.kind]}, seed {one.seed}: in {one.place}, named {one.named or 'none'}"
            for one in wrong
        ),
        "",
        f"**{'; '.join(missed) or 'every requirement is met'}.**",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whisper", default="whisper-tiny.en", help="name or folder")
    parser.add_argument("--medasr", type=Path, help="a MedASR folder; default: random weights of its shape")
    parser.add_argument("--environments", type=Path, default=DEFAULT_ROOT, help="where those are kept")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--families", default="whisper,medasr")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    import soundfile

    clip = next(one for one in read_manifest(arguments.manifest) if one.name == "jfk")
    samples, _ = soundfile.read(clip.file, dtype="float32")
    python = Path(sys.executable)
    results: list[Result] = []
    rounding: dict[str, float] = {}
    for family in arguments.families.split(","):
        if family == "whisper":
            name = arguments.whisper
            folder = locate(name, python)
        else:
            folder = arguments.medasr or random_medasr(arguments.environments, python)
        bench = Bench(family, folder, samples, 11.0 if family == "whisper" else 4.0, 16)
        rounding[family] = bench.rounding
        for kind in KINDS:
            if not places(kind, bench.stages):
                continue
            results += [bench.try_one(kind, seed) for seed in range(arguments.seeds)]
            sys.stderr.write(f"{family} {kind} done\n")
    missed = failures(results)
    text = report(results, rounding, missed)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "verify_faults.md").write_text(text, encoding="utf-8")
    value = {"machine": machine.describe(), "rounding": rounding, "results": [asdict(one) for one in results]}
    (arguments.results / "verify_faults.json").write_text(json.dumps(value, indent=0) + "\n", encoding="utf-8")
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
