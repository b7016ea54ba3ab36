"""The commands that a report names: how to get the weights, and how to measure everything again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxport.report.measurements import Measurements

__all__ = ["Commands", "commands_of", "weight_commands", "weights_from"]

Commands = dict[str, str]

RANDOM = {"lasr_ctc": "medasr"}
"""Model type -> its name for ``voxport models import --random``."""


def weights_from(measured: Measurements) -> str:
    """Where the weights come from, as a key of the wording: ``weights_hub``, ``weights_random``, ``weights_folder``."""
    model = measured.summary["model"]
    if model["sources"]:
        return "weights_hub"
    return "weights_random" if model["random_weights"] and model["family"] in RANDOM else "weights_folder"


def weight_commands(measured: Measurements) -> list[str]:
    """One for each source that has the model, voxport's own first."""
    model = measured.summary["model"]
    name, sources = model["name"], model["sources"]
    where = weights_from(measured)
    if where == "weights_random":
        return [f"voxport models import --random {RANDOM[model['family']]} {shlex.quote(name)}"]
    if where == "weights_folder":
        return [f"voxport models show {shlex.quote(name)}"]
    found = [f"voxport models pull {name}"]
    if "huggingface" in sources:
        found.append(f"hf download {sources['huggingface']} --local-dir {name}")
    if "modelscope" in sources:
        found.append(f"modelscope download --model {sources['modelscope']} --local_dir {name}")
    if "atomgit" in sources:
        found.append(f"git clone https://atomgit.com/{sources['atomgit']} {name}")
    return found


def commands_of(measured: Measurements) -> Commands:
    """``inference``, ``accuracy``, ``performance``, and with references ``errors``: one command or several lines."""
    summary, options = measured.summary, measured.summary["options"]
    model = f"--model {shlex.quote(summary['model']['name'])}"
    files = " ".join(shlex.quote(one["file"]) for one in summary["recordings"])
    side = measured.bench["sides"][0]
    spoken = f" --language {options['language']}" if options["language"] else ""
    device, dtype = side["device"], side["dtype"]
    first = shlex.quote(summary["recordings"][0]["file"])
    if summary["model"]["family"] == "whisper":
        inference = f"python inference.py {first} --device {device} --dtype {dtype}"
    else:
        path = shlex.quote(summary["model"]["name"])
        inference = f"python inference.py --model_path {path} --audio {first} --device {device}"
    found = {
        "inference": inference,
        "accuracy": f"voxport verify {model} --candidate {summary['candidate']} --reference {summary['reference']} "
        f"--policy {options['policy']}{spoken} {files}",
        "performance": f"voxport bench {model} --side {summary['candidate']} --against {summary['reference']} "
        f"--warmup {options['warmup']} --iterations {options['iterations']}{_sweep(measured)}{spoken} {files}",
    }
    if measured.score is not None:
        score = f"voxport score --manifest {shlex.quote(options['manifest'])} {model}"
        found["errors"] = "\n".join(f"{score} --side {summary[name]}{spoken}" for name in ("candidate", "reference"))
    return found


def _sweep(measured: Measurements) -> str:
    found = measured.bench["sweep"]
    if found is None:
        return ""
    points = ",".join(format(point["x"], "g") for point in found["points"])
    return f" --sweep {found['by']} --points {points} --sweep_iterations {found['iterations']}"
