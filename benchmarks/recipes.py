"""Recipes: does verify find a small set of modules that must stay in float32, and does it hold for other recordings?

    python benchmarks/recipes.py

Two kinds of candidates that fail. *Overflow*: Whisper checkpoints that say the same in float32, the residual stream of
their decoder made larger by a power of two, so that it passes float16's range, as MedASR's published weights do.
*Rounding*: the genuine weights in bfloat16, held to the write-ups' limit (no probability may differ by 1 %, all tokens
equal). The recipe is found on some recordings and tried on others. Exit status 1 if a candidate does not fail without a
recipe, or no recipe is found, or an overflow's recipe fails on the other recordings.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
from recordings import DEFAULT_MANIFEST, read_manifest
from weights import pull

FOUND_ON = ("jfk", "LJ001-0001")
SCALE = 2.0**12


@dataclass(frozen=True)
class Row:
    """One candidate.

    Attributes:
        model, dtype, kind, policy: which, and what it must pass.
        without: the first requirement that it fails without a recipe, None = it passes.
        kept, near_range, modules, trials: of the recipe.
        passes: with the recipe, on the recordings on which it was found.
        others: on the others: (recordings, whether it passes, words that differ, words).
    """

    model: str
    dtype: str
    kind: str
    policy: str
    without: str | None
    kept: int
    near_range: int
    modules: int
    trials: int
    passes: bool
    others: tuple[int, bool, int, int]


def louder(folder: Path, target: Path) -> Path:
    """The same model with a larger residual stream in its decoder: norms hear no difference, so float32 says the same.

    Everything that is added to the stream is multiplied by a power of two, which rounds nothing; the output projection,
    which shares its matrix with the embedding, gets the matrix as it was.
    """
    from safetensors.torch import load_file, save_file

    target.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors" and file.is_file():
            shutil.copy(file, target)
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"].clone()
    for name in tensors:
        if ".decoder." in name and any(part in name for part in ("embed_", "out_proj", "fc2")):
            tensors[name] = tensors[name] * SCALE
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


def verify(*arguments: str) -> dict[str, Any]:
    """``voxport verify`` in a process of its own."""
    command = [sys.executable, "-m", "voxport", "verify", "--json", "--quiet", "--language", "en", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"verify ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(
    model: str, folder: Path, dtype: str, kind: str, policy: str, clips: tuple[list[str], list[str]], place: Path
) -> Row:
    recipe = str(place / "recipe.toml")
    common = ["--model", str(folder), "--policy", policy]
    before = verify(*common, "--candidate", f"cpu:{dtype}", "--look_at", "0", *clips[0])
    failed = [check["name"] for check in before["verdict"]["checks"] if not check["ok"]]
    after = verify(*common, "--candidate", f"cpu:{dtype}", "--advise", recipe, *clips[0])
    advice = after.get("advice", {})
    others = verify(*common, "--candidate", f"cpu:{dtype}+recipe={recipe}", "--look_at", "0", *clips[1])
    edits = [window["word_edits"] for window in others["windows"]]
    return Row(
        model,
        dtype,
        kind,
        policy,
        failed[0] if failed else None,
        len(advice.get("float32", ())),
        advice.get("near_range", 0),
        advice.get("modules", 0),
        advice.get("trials", 0),
        after["verdict"]["ok"],
        (len(clips[1]), others["verdict"]["ok"], sum(edit for edit, _ in edits), sum(count for _, count in edits)),
    )


def report(rows: list[Row], clips: tuple[list[str], list[str]]) -> str:
    lines = [
        "# Recipes",
        "",
        f"Found on {', '.join(FOUND_ON)}; tried on {len(clips[1])} others; against transformers on the CPU in float32.",
        "",
        "| model | dtype | what | policy | fails without | modules kept | near the range | trials | with it | others |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        _, ok, edits, words = row.others
        lines.append(
            f"| {row.model} | {row.dtype} | {row.kind} | {row.policy} | {row.without or 'passes'} "
            f"| {row.kept} of {row.modules} | {row.near_range} | {row.trials} | {'passes' if row.passes else 'fails'} "
            f"| {'pass' if ok else 'fail'}, {edits} of {words} words differ |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="whisper-tiny.en,whisper-base", help="names of Whisper models")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST)
    parser.add_argument("--others", type=int, default=8, help="recordings on which a recipe is tried")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    recordings = [
        one
        for one in read_manifest(arguments.manifest)
        if one.kind == "real" and one.language == "en" and one.seconds < 25
    ]
    clips = (
        [str(one.file) for one in recordings if one.name in FOUND_ON],
        [str(one.file) for one in recordings if one.name not in FOUND_ON][:: len(recordings) // arguments.others][
            : arguments.others
        ],
    )
    rows = []
    for name in arguments.models.split(","):
        folder = Path(pull(name, Path(sys.executable)))
        with tempfile.TemporaryDirectory() as place:
            sys.stderr.write(f"{name} overflow\n")
            loud = louder(folder, Path(place) / "loud")
            rows.append(measure(name, loud, "float16", "overflow", "words", clips, Path(place)))
        with tempfile.TemporaryDirectory() as place:
            sys.stderr.write(f"{name} rounding\n")
            rows.append(measure(name, folder, "bfloat16", "rounding", "whisper-writeup", clips, Path(place)))
        sys.stderr.write(f"{rows[-2:]}\n")
    text = report(rows, clips)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "recipes.md").write_text(text, encoding="utf-8")
    value = {"machine": machine.describe(), "rows": [asdict(row) for row in rows]}
    (arguments.results / "recipes.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(text)
    held = [row for row in rows if row.kind == "rounding" or row.others[1]]
    return 0 if all(row.without and row.passes for row in rows) and len(held) == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
