"""What changed in how close the candidate is: the verdict and its checks, metrics, words, modules with errors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.score.alignment import align
from voxport.verify.text_edits import edit_distance, words

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Accuracy", "CheckChange", "FindingChange", "MetricChange", "WindowChange", "compare_accuracy"]

METRICS = {
    "logits": ("max_abs", "mean_abs", "mean_relative", "rmse", "relative_l2", "cosine"),
    "probabilities": ("max_probability", "kl", "top1"),
}
ONE_IS_BEST = ("cosine", "top1")
COUNTED = {"token_edits": "token_edits", "word_edits": "wer", "character_edits": "cer"}
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_PIECES = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True)
class MetricChange:
    """A metric's worst of all windows in both, or a share of words.

    Attributes:
        key: of the wording.
        first, second: None = no number.
        ratio: of the errors, second / first; of what is best at 1 the error is the distance from 1. None where one of
            both is 0 or no number.
    """

    key: str
    first: float | None
    second: float | None
    ratio: float | None


@dataclass(frozen=True)
class CheckChange:
    """A requirement that was met and no longer is, or the other way round."""

    name: str
    ok: bool
    first: float | None
    second: float | None
    limit: float | None


@dataclass(frozen=True)
class WindowChange:
    """A window in which the candidate says something else.

    Attributes:
        file, start: which.
        first, second: what it said.
        edits: words by which either differs from the second report's reference.
        length: words of that.
        differences: (before, now), the words that are not the same.
        failures: why it gave nothing, or None, in both.
    """

    file: str
    start: float
    first: str
    second: str
    edits: tuple[int, int]
    length: int
    differences: tuple[tuple[str, str], ...]
    failures: tuple[str | None, str | None]


@dataclass(frozen=True)
class FindingChange:
    """A module in which an error is made now and was not, or the other way round."""

    module: str
    cause: str
    appeared: bool


@dataclass(frozen=True)
class Accuracy:
    """Attributes:
    policies: their names.
    passes: the verdicts.
    same_policy: whether one policy with the same limits judged both.
    checks: that flipped, of those that both have.
    metrics: all that both have.
    windows: in which the candidate's words or tokens changed.
    compared: windows that both reports have.
    left_out: windows that only one has.
    references_changed: windows in which the reference says something else.
    findings: that appeared or vanished in windows whose stages both looked at.
    """

    policies: tuple[str, str]
    passes: tuple[bool, bool]
    same_policy: bool
    checks: tuple[CheckChange, ...]
    metrics: tuple[MetricChange, ...]
    windows: tuple[WindowChange, ...]
    compared: int
    left_out: int
    references_changed: int
    findings: tuple[FindingChange, ...]


def compare_accuracy(first: dict[str, Any], second: dict[str, Any]) -> Accuracy:
    """Of two outcomes of verify over the same recordings."""
    windows = [{(one["file"], one["start"]): one for one in verify["windows"]} for verify in (first, second)]
    common = [key for key in windows[1] if key in windows[0]]
    pairs = [(windows[0][key], windows[1][key]) for key in common]
    verdicts = first["verdict"], second["verdict"]
    return Accuracy(
        policies=(verdicts[0]["policy"], verdicts[1]["policy"]),
        passes=(verdicts[0]["ok"], verdicts[1]["ok"]),
        same_policy=verdicts[0]["policy"] == verdicts[1]["policy"] and first["asks"] == second["asks"],
        checks=tuple(_checks(*verdicts)),
        metrics=tuple(_metrics([one for one, _ in pairs], [other for _, other in pairs])),
        windows=tuple(_windows(pairs)),
        compared=len(common),
        left_out=sum(len(one) - len(common) for one in windows),
        references_changed=sum(one["text"][0] != other["text"][0] for one, other in pairs),
        findings=tuple(_findings(pairs)),
    )


def _checks(first: dict[str, Any], second: dict[str, Any]) -> Iterator[CheckChange]:
    before = {_without_count(check["name"]): check for check in first["checks"]}
    for check in second["checks"]:
        old = before.get(_without_count(check["name"]))
        if old is not None and old["ok"] != check["ok"]:
            yield CheckChange(check["name"], check["ok"], old["value"], check["value"], check["limit"])


def _without_count(name: str) -> str:
    """Some checks' names tell how many there were."""
    return re.sub(r", of \d+$| \(\d+\)$", "", name)


def _metrics(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Iterator[MetricChange]:
    for part, names in METRICS.items():
        for name in names:
            values = [
                [window[part][name] for window in windows if window[part] is not None] for windows in (first, second)
            ]
            if not all(values):
                continue
            best_is_one = name in ONE_IS_BEST
            worst = [_worst(one, smallest=best_is_one) for one in values]
            errors = [None if one is None else 1 - one if best_is_one else one for one in worst]
            yield MetricChange(name, worst[0], worst[1], _ratio(*errors))
    for name, key in COUNTED.items():
        shares = [
            sum(window[name][0] for window in windows) / max(1, sum(window[name][1] for window in windows))
            for windows in (first, second)
        ]
        yield MetricChange(key, shares[0], shares[1], _ratio(*shares))


def _worst(values: list[float | None], *, smallest: bool) -> float | None:
    """JSON's null, which was no number, is the worst."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < len(values):
        return None
    return min(numbers) if smallest else max(numbers)


def _ratio(first: float | None, second: float | None) -> float | None:
    return second / first if first and second else None


def _windows(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[WindowChange]:
    for one, other in pairs:
        said = one["text"][1], other["text"][1]
        failures = one["failure"], other["failure"]
        if said[0] == said[1] and one["tokens"][1] == other["tokens"][1] and failures[0] == failures[1]:
            continue
        reference = words(other["text"][0])
        yield WindowChange(
            file=other["file"],
            start=other["start"],
            first=said[0].strip(),
            second=said[1].strip(),
            edits=(edit_distance(reference, words(said[0])), edit_distance(reference, words(said[1]))),
            length=len(reference),
            differences=tuple(_differences(*said)),
            failures=failures,
        )


def _differences(first: str, second: str) -> Iterator[tuple[str, str]]:
    """Runs of words, or of characters of scripts without spaces, as they are written."""
    before, after = _PIECES.findall(first), _PIECES.findall(second)
    at, reached = 0, 0
    for edit in (*align(before, after)[0], None):
        if edit is not None and edit.kind != "equal":
            continue
        until, end = (len(before), len(after)) if edit is None else (edit.reference[0], edit.hypothesis[0])
        if at < until or reached < end:
            yield _joined(before[at:until]), _joined(after[reached:end])
        at, reached = (until, end) if edit is None else (edit.reference[1], edit.hypothesis[1])


def _joined(pieces: list[str]) -> str:
    return re.sub(rf"(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])", "", " ".join(pieces))


def _findings(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[FindingChange]:
    both = [(one, other) for one, other in pairs if one["stages"] and other["stages"]]
    before, after = (
        {found["module"]: found["cause"] for pair in both for found in pair[index]["findings"]} for index in (0, 1)
    )
    yield from (FindingChange(module, cause, True) for module, cause in after.items() if module not in before)
    yield from (FindingChange(module, cause, False) for module, cause in before.items() if module not in after)
