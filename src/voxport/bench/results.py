"""Laps become figures: the JSON object of a measurement, its version, and reading it again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from voxport.bench.stages import DEFINITIONS
from voxport.bench.statistics import Ratio, compare_paired, summarise
from voxport.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from voxport.bench.roofline import Ceilings
    from voxport.bench.stages import Work
    from voxport.bench.subject import Subject
    from voxport.bench.timing import Samples

__all__ = [
    "KIND",
    "SCHEMA_VERSION",
    "SCOPES",
    "STAGES",
    "TITLES",
    "comparison",
    "definitions",
    "per_second",
    "read_result",
    "side_result",
]

KIND = "voxport bench"
SCHEMA_VERSION = 1
"""Of the JSON object. Fields may be added; it is raised when one goes or changes its meaning."""

SCOPES = ("model", "end_to_end")
STAGES = ("features", "encode", "decode", "prefill", "token")
TITLES = {
    "model": "model only",
    "end_to_end": "end to end",
    "features": "features",
    "encode": "encode",
    "decode": "decode",
    "prefill": "prefill",
    "token": "per token",
}

Rounds = list[list[float]]


def stage_rounds(samples: Samples, work: Work) -> dict[str, Rounds]:
    """Name of a stage -> its seconds, round by round and call by call; stages that the side lacks are left out."""
    found = {name: samples.rounds(name) for name in ("features", "encode", "decode", "prefill") if name in samples}
    if "prefill" in found:
        found["token"] = [
            [(long - short) / (count - 1) for long, short, count in zip(longs, shorts, work.counts, strict=True)]
            for longs, shorts in zip(found["decode"], found["prefill"], strict=True)
        ]
    return found


def scope_rounds(samples: Samples) -> dict[str, Rounds]:
    """Name of a scope -> its seconds, likewise."""
    model = [
        [encode + decode for encode, decode in zip(encodes, decodes, strict=True)]
        for encodes, decodes in zip(samples.rounds("encode"), samples.rounds("decode"), strict=True)
    ]
    return {"model": model, "end_to_end": samples.rounds("end_to_end")}


def side_result(
    subject: Subject, work: Work, samples: Samples, ceilings: Ceilings | None, operations: int | None, step: int | None,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Everything about one side.

    Args:
        subject, work: the side and what it did.
        samples: its laps.
        ceilings: of its device, None where they weren't measured.
        operations: of the encoder in one round, None where nobody counted.
        step: bytes that a decoder's step reads, None likewise.
        seed: of the resampling.
    """
    stages = stage_rounds(samples, work)
    scopes = scope_rounds(samples)
    batch = len(work.groups[0])
    return {
        **subject.description(),
        "batch": batch,
        "pipeline_batch": work.pipeline_batch or work.model.batch_size,
        "window_seconds": [[window.duration for window in group] for group in work.groups],
        "tokens_counted": list(work.counts),
        "tokens_heard": [[len(one.tokens) for one in group] for group in work.hypotheses],
        "text_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in work.texts],
        "scopes": {
            "model": _scope(scopes["model"], work.window_seconds(), batch, seed),
            "end_to_end": _scope(scopes["end_to_end"], work.clip_seconds(), 1, seed),
        },
        "stages": {
            name: {"latency": summarise(rounds, seed).to_dict(), "rounds": rounds} for name, rounds in stages.items()
        },
        "cold_start": subject.cold.to_dict(),
        "memory": None if subject.memory is None else subject.memory.to_dict(),
        "roofline": _roofline(stages, ceilings, operations, step),
    }


def _scope(rounds: Rounds, audio_seconds: float, batch: int, seed: int) -> dict[str, Any]:
    """One scope: latency of a call, and what follows from it."""
    latency = summarise(rounds, seed)
    rtf = sum(map(sum, rounds)) / (audio_seconds * len(rounds)) if audio_seconds else None
    interval = latency.mean_interval
    return {
        "latency": latency.to_dict(),
        "audio_seconds": audio_seconds,
        "rtf": rtf,
        "rtfx": 1 / rtf if rtf else None,
        "clips_per_second": batch / latency.mean,
        "clips_per_second_interval": None if interval is None else [batch / interval.high, batch / interval.low],
        "rounds": rounds,
    }


def _roofline(
    stages: dict[str, Rounds], ceilings: Ceilings | None, operations: int | None, step: int | None
) -> dict[str, Any] | None:
    """What was achieved beside what the device can do."""
    if ceilings is None:
        return None
    found: dict[str, Any] = {"ceilings": ceilings.to_dict(), "encode": None, "token": None}
    if operations:
        seconds = summarise([[sum(one)] for one in stages["encode"]]).median
        found["encode"] = {
            "operations": operations,
            "flops": operations / seconds,
            "of_ceiling": operations / seconds / ceilings.flops,
        }
    if step and "token" in stages:
        seconds = summarise(stages["token"]).median
        if seconds > 0:
            speed = step / seconds
            found["token"] = {
                "bytes": step,
                "bytes_per_second": speed,
                "of_ceiling": speed / ceilings.bytes_per_second,
            }
    return found


def per_second(side: dict[str, Any], name: str) -> list[float]:
    """Round by round the seconds that a scope or a stage took for a second of audio; of ``token`` for one window."""
    end_to_end = name == "end_to_end"
    found = side["scopes"].get(name) or side["stages"][name]
    sums = [sum(one) for one in found["rounds"]]
    if name == "token":
        return [total / len(one) / side["batch"] for total, one in zip(sums, found["rounds"], strict=True)]
    audio = side["scopes"]["end_to_end" if end_to_end else "model"]["audio_seconds"]
    return [total / audio for total in sums] if audio else sums


def comparison(ours: dict[str, Any], other: dict[str, Any], seed: int) -> dict[str, Any]:
    """The other side's time over ours, for all that both have; and whether they say the same."""
    names = [*SCOPES, *(name for name in STAGES if name in ours["stages"] and name in other["stages"])]
    same = [a == b for a, b in zip(ours["text_sha256"], other["text_sha256"], strict=True)]
    return {
        "side": ours["label"],
        "against": other["label"],
        "speed_up": {name: _ratio_dict(_ratio(ours, other, name, seed)) for name in names},
        "same_text": sum(same),
        "clips": len(same),
    }


def _ratio(ours: dict[str, Any], other: dict[str, Any], name: str, seed: int) -> Ratio | None:
    """None where noise made a difference of two times negative."""
    theirs, mine = per_second(other, name), per_second(ours, name)
    if min(*theirs, *mine) <= 0:
        return None
    return compare_paired(theirs, mine, seed)


def _ratio_dict(ratio: Ratio | None) -> dict[str, Any] | None:
    return None if ratio is None else ratio.to_dict()


def definitions(*, whole: bool) -> dict[str, str]:
    """Name of a figure -> what it means."""
    left_out = "end_to_end" if whole else "end_to_end_windows"
    return {name: text for name, text in DEFINITIONS.items() if name != left_out}


def read_result(path: Path) -> dict[str, Any]:
    """A measurement's JSON object.

    Raises:
        UsageError: it can't be read, is something else, or of another version.
    """
    hint = "`voxport bench ... -o FILE.json` writes such a file"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no JSON: {error}"
        raise UsageError(f"can't read {str(path)!r}: {reason}", hint=hint) from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise UsageError(f"{str(path)!r} is no result of voxport bench", hint=hint)
    if found.get("schema") != SCHEMA_VERSION:
        raise UsageError(
            f"{str(path)!r} has schema {found.get('schema')!r}, this voxport reads {SCHEMA_VERSION}",
            hint="measure again with this voxport",
        )
    return found
